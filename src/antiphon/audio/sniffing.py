"""What a file is, by its first bytes; its name says nothing. Decodes nothing.

Only kinds named here ever reach a decoder, each with its own demuxer: a playlist, an archive or
random bytes never make one guess.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, TypeAlias

from antiphon.errors import AudioDecodeError

_FrameBytes: TypeAlias = Callable[[bytes, int], int]

SEARCH_BYTES = 65_536  # how far a header is looked for behind junk
CHAIN_FRAMES = 3  # frames in a row that make bytes MPEG audio: random bytes hold many sync words

_MAGIC: tuple[tuple[re.Pattern[bytes], str], ...] = tuple(
    (re.compile(pattern, re.DOTALL), kind)
    for pattern, kind in (
        (rb"RIFF....WAVE|RIFX....WAVE|RF64....WAVE|BW64....WAVE", "wav"),
        (rb"fLaC\x00", "flac"),
        (rb"OggS\x00", "ogg"),
        (rb"FORM....AIF[FC]", "aiff"),
        (rb"\.snd\x00|dns\.", "au"),
        (rb"caff\x00", "caf"),
        (rb"riff\x2e\x91\xcf\x11", "w64"),
        (rb"....ftyp", "mov"),
        (rb"\x1a\x45\xdf\xa3", "matroska"),
        (rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "asf"),
        (rb"wvpk", "wv"),
        (rb"MAC \x00?", "ape"),
    )
)
# Kinds whose header is looked for behind junk: their magic is long enough not to occur by chance.
_BURIED = re.compile(rb"RIFF....WAVE|fLaC\x00\x00\x00\x22|OggS\x00\x02|FORM....AIF[FC]", re.DOTALL)

_NOT_AUDIO: tuple[tuple[re.Pattern[bytes], str], ...] = tuple(
    (re.compile(pattern, re.DOTALL | re.IGNORECASE), what)
    for pattern, what in (
        (rb"PK\x03\x04|PK\x05\x06", "a ZIP archive"),
        (rb"\x1f\x8b\x08", "a gzip archive"),
        (rb"7z\xbc\xaf\x27\x1c|Rar!\x1a\x07|BZh[1-9]|\xfd7zXZ\x00", "an archive"),
        (rb"%PDF-", "a PDF document"),
        (rb"\x89PNG\r\n|\xff\xd8\xff|GIF8[79]a|RIFF....WEBP", "a picture"),
        (rb"RIFF....AVI ", "an AVI video"),
        (rb"MThd", "a MIDI file (notes, not sound)"),
        (rb"\x7fELF|MZ\x90\x00", "a program"),
        (rb"SQLite format 3\x00", "a database"),
        (rb"version https://git-lfs", "a Git LFS pointer, not the file itself"),
        (rb"(\xef\xbb\xbf)?\s*#EXTM3U|(\xef\xbb\xbf)?\s*\[playlist\]", "a playlist"),
        (rb"(\xef\xbb\xbf)?\s*(<!doctype html|<html)", "a web page (HTML)"),
        (rb"(\xef\xbb\xbf)?\s*(<svg|<\?xml)", "an XML or SVG document"),
    )
)


@dataclass(frozen=True)
class Identity:
    """The kind of file, named as FFmpeg's demuxer is, and where in the file its header stands."""

    kind: str
    offset: int = 0


def identify(file: BinaryIO) -> Identity:
    """What `file` holds; raises AudioDecodeError for anything that is not known to be audio.

    The message is the bare reason, to stand behind the file's name.
    """
    head = _read_at(file, 0, SEARCH_BYTES)
    if not head:
        raise AudioDecodeError("it is empty (0 bytes)")
    for pattern, what in _NOT_AUDIO:
        if pattern.match(head):
            raise AudioDecodeError(f"it is {what}, not audio")
    tag = id3_bytes(head)
    if tag:
        head = _read_at(file, tag, SEARCH_BYTES)
    kind = _kind_at_start(head)
    if kind:
        # Decoders of MPEG audio and FLAC step over an ID3 tag themselves.
        return Identity(kind, 0 if kind in ("mp3", "flac", "aac") else tag)
    buried = _buried(head)
    if buried is None and tag == 0 and _is_text(head[:512]):
        raise AudioDecodeError("it is a text file, not audio")
    if buried is None:
        start = " ".join(f"{byte:02x}" for byte in head[:8]) or "nothing"
        raise AudioDecodeError(
            f"it is no audio file that is known here (it begins with {start}); "
            "expected WAV, FLAC, MP3, OGG, Opus, AIFF, M4A, WebM, WMA or their like"
        )
    return Identity(buried.kind, buried.offset + tag)


def id3_bytes(head: bytes) -> int:
    """The length in bytes of an ID3v2 tag at the start, 0 if there is none."""
    if len(head) < 10 or head[:3] != b"ID3" or max(head[6:10]) > 127:
        return 0
    size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
    return 10 + size + (10 if head[5] & 0x10 else 0)


def find_mpeg_audio(data: bytes) -> int | None:
    """Where in `data` the first frame of MPEG-1/2 audio stands, None if there is none."""
    return _find_chain(data, _mpeg_frame_bytes)


def _kind_at_start(head: bytes) -> str | None:
    for pattern, kind in _MAGIC:
        if pattern.match(head):
            return kind
    # Encoders pad the ID3 tag with zeros that some do not count in.
    bare = head.lstrip(b"\x00")
    if _is_chain(bare, 0, _mpeg_frame_bytes):
        return "mp3"
    if _is_chain(bare, 0, _adts_frame_bytes):
        return "aac"
    return None


def _buried(head: bytes) -> Identity | None:
    """The first header that stands behind junk."""
    match = _BURIED.search(head)
    mpeg = find_mpeg_audio(head[: match.start()] if match else head)
    if mpeg is not None:
        return Identity("mp3", mpeg)
    if match is None:
        return None
    kind = _kind_at_start(match.group())
    assert kind is not None  # both tables hold the same magic
    return Identity(kind, match.start())


def _find_chain(data: bytes, frame_bytes: _FrameBytes) -> int | None:
    at = data.find(b"\xff")
    while at >= 0:
        if _is_chain(data, at, frame_bytes):
            return at
        at = data.find(b"\xff", at + 1)
    return None


def _is_chain(data: bytes, at: int, frame_bytes: _FrameBytes) -> bool:
    """Whether frames follow one another from `at`, each where the last one says it ends."""
    for _ in range(CHAIN_FRAMES):
        length = frame_bytes(data, at)
        if not length:
            return False
        at += length
        if at >= len(data):
            return True
    return True


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


def _mpeg_frame_bytes(data: bytes, at: int) -> int:
    """The length of the MPEG audio frame at `at` by its header (ISO 11172-3, 2.4.2.3); 0: none."""
    head = data[at : at + 4]
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return 0
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3  # layer 3 is I, 2 is II, 1 is III
    bitrate, rate = head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or layer == 0 or bitrate in (0, 15) or rate == 3:
        return 0
    kbps = (_KBPS_V1 if version == 3 else _KBPS_V2)[layer][bitrate - 1]
    hz = _MPEG_RATES[version][rate]
    padding = head[2] >> 1 & 1
    if layer == 3:
        return (12_000 * kbps // hz + padding) * 4
    samples = 576 if layer == 1 and version != 3 else 1152
    return samples // 8 * 1000 * kbps // hz + padding


def _adts_frame_bytes(data: bytes, at: int) -> int:
    """The length of the ADTS (raw AAC) frame at `at` (ISO 14496-3, 1.A.2.2); 0: none."""
    head = data[at : at + 7]
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0 or head[2] >> 2 & 15 > 12:
        return 0
    length = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    return length if length > 7 else 0


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:  # not merely a character cut in two
            return False
        text = head[: error.start].decode("utf-8")
    return all(character.isprintable() or character.isspace() for character in text)


def _read_at(file: BinaryIO, position: int, count: int) -> bytes:
    file.seek(position)
    return file.read(count)
