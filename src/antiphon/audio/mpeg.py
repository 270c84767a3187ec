"""The headers of MPEG audio: ID3 tags, frames of MPEG-1/2 layers I to III, frames of raw AAC.

Knows bytes, no files.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

CHAIN_FRAMES = 3  # in a row make bytes MPEG audio: random bytes hold many sync words

FrameBytes: TypeAlias = Callable[[bytes, int], int]

_MPEG_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_KBPS_V1 = {
    3: (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    2: (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    1: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
}
_KBPS_V2 = {
    3: (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    2: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    1: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


class MpegFrame(NamedTuple):
    """What the header of one frame says."""

    bytes: int
    samples: int
    hz: int
    kbps: int


def mpeg_frame(data: bytes, at: int) -> MpegFrame | None:
    """The MPEG audio frame whose header stands at `at` (ISO 11172-3, 2.4.2.3), None without one."""
    head = data[at : at + 4]
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3  # layer 3 is I, 2 is II, 1 is III
    bitrate, rate = head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or layer == 0 or bitrate in (0, 15) or rate == 3:
        return None
    kbps = (_KBPS_V1 if version == 3 else _KBPS_V2)[layer][bitrate - 1]
    hz = _MPEG_RATES[version][rate]
    padding = head[2] >> 1 & 1
    if layer == 3:
        return MpegFrame((12_000 * kbps // hz + padding) * 4, 384, hz, kbps)
    samples = 576 if layer == 1 and version != 3 else 1152
    return MpegFrame(samples // 8 * 1000 * kbps // hz + padding, samples, hz, kbps)


def mpeg_frame_bytes(data: bytes, at: int) -> int:
    """The length of the MPEG audio frame at `at`, 0 if there is none."""
    frame = mpeg_frame(data, at)
    return frame.bytes if frame else 0


def id3_bytes(head: bytes) -> int:
    """The length in bytes of an ID3v2 tag at the start, 0 if there is none."""
    if len(head) < 10 or head[:3] != b"ID3" or max(head[6:10]) > 127:
        return 0
    size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
    return 10 + size + (10 if head[5] & 0x10 else 0)


def find_mpeg_audio(data: bytes) -> int | None:
    """Where in `data` the first frame of MPEG-1/2 audio stands, None if there is none."""
    at = data.find(b"\xff")
    while at >= 0:
        if is_chain(data, at, mpeg_frame_bytes):
            return at
        at = data.find(b"\xff", at + 1)
    return None


def is_chain(data: bytes, at: int, frame_bytes: FrameBytes) -> bool:
    """Whether frames follow one another from `at`, each where the last one says it ends."""
    for count in range(CHAIN_FRAMES):
        if at >= len(data):
            return count > 1  # a short recording
        length = frame_bytes(data, at)
        if not length:
            return False
        at += length
    return True


def adts_frame_bytes(data: bytes, at: int) -> int:
    """The length of the ADTS (raw AAC) frame at `at` (ISO 14496-3, 1.A.2.2); 0: none."""
    head = data[at : at + 7]
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0 or head[2] >> 2 & 15 > 12:
        return 0
    length = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    return length if length > 7 else 0
