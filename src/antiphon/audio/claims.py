"""What a container says of itself that libsndfile hides: length, its end mark, sound beyond it.

libsndfile reads a file that was cut short without a word, an Ogg stream with pages missing too,
and of joined files the first. Reads headers only, decodes nothing.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from antiphon.audio.mpeg import find_mpeg_audio, id3_bytes, mpeg_frame
from antiphon.audio.sniffing import SEARCH_BYTES, Identity

STREAMED_SIZES = (0, 0x7FFFFFFF, 0xFFFFFFFF)  # what writers put in that never learned the length
WALK_BYTES = 1 << 20
MAX_TAIL_BYTES = 4_096  # of text tags behind the last MPEG frame
MAX_CHUNKS = 1_000  # of a RIFF or AIFF file before its sound; more is an attack


@dataclass(frozen=True)
class Claim:
    """`seconds` is what the header declares, None when it says nothing that can be relied on.

    `beyond` tells why libsndfile would miss sound that the file holds, and FFmpeg would not.
    """

    seconds: float | None = None
    declares_length: bool = True  # False: the decoder's own number is a guess
    beyond: str | None = None
    problems: tuple[str, ...] = ()


def read_claim(file: BinaryIO, identity: Identity) -> Claim:
    """The claim of a file that `identify` has named."""
    size = file.seek(0, 2)
    if identity.kind == "wav":
        return _wav_claim(file, identity.offset, size)
    if identity.kind == "aiff":
        return _aiff_claim(file, identity.offset)
    if identity.kind == "mp3":
        return _mp3_claim(file, identity.offset, size)
    if identity.kind == "ogg":
        return _ogg_claim(file, identity.offset, size)
    return Claim(declares_length=identity.kind != "aac")


def _chunks(file: BinaryIO, position: int, order: str) -> Iterator[tuple[bytes, int, int]]:
    """Name, position and size of each chunk from `position` on."""
    for _ in range(MAX_CHUNKS):
        file.seek(position)
        head = file.read(8)
        if len(head) < 8:
            return
        name, size = struct.unpack(order + "4sI", head)
        yield name, position + 8, size
        position += 8 + size + size % 2


def _wav_claim(file: BinaryIO, offset: int, size: int) -> Claim:
    file.seek(offset)
    magic = file.read(4)
    if magic not in (b"RIFF", b"RIFX"):
        return Claim()  # 64-bit sizes stand elsewhere
    order = "<" if magic == b"RIFF" else ">"
    bytes_per_second = 0
    for name, position, chunk_bytes in _chunks(file, offset + 12, order):
        if name == b"fmt ":
            file.seek(position + 8)
            (bytes_per_second,) = struct.unpack(order + "I", file.read(4).ljust(4, b"\0"))
        if name == b"data":
            if chunk_bytes in STREAMED_SIZES and size > position:
                beyond = "its header declares no sound" if chunk_bytes == 0 else None
                return Claim(declares_length=False, beyond=beyond)
            return Claim(chunk_bytes / bytes_per_second if bytes_per_second else None)
    return Claim()


def _aiff_claim(file: BinaryIO, offset: int) -> Claim:
    for name, position, _ in _chunks(file, offset + 12, ">"):
        if name == b"COMM":
            file.seek(position)
            head = file.read(18)
            if len(head) < 18:
                break
            frames, exponent, mantissa = struct.unpack(">2xI2xHQ", head)
            # The rate is an 80-bit float (IEEE 754 extended).
            rate = mantissa * 2.0 ** ((exponent & 0x7FFF) - 16383 - 63) if exponent < 17000 else 0
            return Claim(frames / rate if rate else None)
    return Claim()


def _mp3_claim(file: BinaryIO, offset: int, size: int) -> Claim:
    start, head = _first_frame(file, offset)
    tag = next((at for name in (b"Xing", b"Info") if (at := head.find(name, 0, 64)) >= 0), -1)
    if tag < 0:
        return Claim() if head[36:40] == b"VBRI" else _mp3_claim_by_walking(file, start, size)
    flags, _, declared_bytes = struct.unpack(">III", head[tag + 4 : tag + 16].ljust(12, b"\0"))
    if flags & 3 != 3:  # the number of frames and the number of bytes
        return Claim(declares_length=bool(flags & 1))
    end = start + declared_bytes
    if start < end < size:
        next_start, next_head = _first_frame(file, end)
        if find_mpeg_audio(next_head) == 0:
            beyond = f"another recording is joined to it at byte {next_start:,}"
            return Claim(declares_length=False, beyond=beyond)
    return Claim()


def _first_frame(file: BinaryIO, position: int) -> tuple[int, bytes]:
    """Position of the first MPEG frame at or behind `position`, and what follows it."""
    file.seek(position)
    position += id3_bytes(file.read(10))
    file.seek(position)
    head = file.read(SEARCH_BYTES)
    at = find_mpeg_audio(head) or 0
    return position + at, head[at:]


def _mp3_claim_by_walking(file: BinaryIO, position: int, size: int) -> Claim:
    """The claim of a file whose first frame does not tell the length: that of all its frames.

    mpg123 takes the first frame's bit rate for that of the file, and libsndfile stops at the
    length that follows from it.
    """
    samples = 0
    first = None
    while True:
        file.seek(position)
        data = file.read(WALK_BYTES)
        at = 0
        while frame := mpeg_frame(data, at):
            first = first or frame
            if frame.kbps != first.kbps:
                beyond = "it has a variable bit rate and does not declare its length"
                return Claim(declares_length=False, beyond=beyond)
            samples += frame.samples
            at += frame.bytes
        if not at:
            break
        position += at
    if first is None or size - position > MAX_TAIL_BYTES:
        return Claim(declares_length=False)
    return Claim(samples / first.hz)


BOS, EOS = 2, 4  # flags of an Ogg page (RFC 3533, section 6)
_REVERSED_BITS = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def _ogg_claim(file: BinaryIO, offset: int, size: int) -> Claim:
    """Walk the pages: is there an end mark, are pages damaged, does a second stream follow?"""
    position = offset
    last_flags = 0
    damaged = 0
    chained = False
    while position < size:
        page = _read_page(file, position)
        if page is None:
            damaged += 1
            position = _next_page(file, position + 1)
            if position < 0:
                break
            continue
        flags = page[5]
        chained |= bool(flags & BOS and last_flags & EOS)
        last_flags = flags
        position += len(page)
    ended = bool(last_flags & EOS)
    problems = []
    if damaged and ended:
        problems.append(f"damaged in {damaged:,} places (Ogg pages whose checksum is wrong)")
    if not ended:
        problems.append("the Ogg stream has no end mark: it was probably cut short")
    beyond = "another stream is joined to it" if chained else None
    return Claim(declares_length=not chained, beyond=beyond, problems=tuple(problems))


def _read_page(file: BinaryIO, position: int) -> bytes | None:
    """The Ogg page at `position`, None if there is none or its checksum is wrong."""
    file.seek(position)
    page = file.read(27 + 255)
    if len(page) < 27 or not page.startswith(b"OggS"):
        return None
    length = 27 + page[26] + sum(page[27 : 27 + page[26]])
    page = page[:length] + file.read(max(0, length - len(page)))
    return page if len(page) == length and _has_right_checksum(page) else None


def _has_right_checksum(page: bytes) -> bool:
    """Whether bytes 22 to 25 of an Ogg page are the CRC-32 of the rest.

    It is zlib's polynomial with the bits the other way round, no start value and no end value.
    """
    checksum = int.from_bytes(page[22:26], "little")
    bare = page[:22] + bytes(4) + page[26:]
    reverse = zlib.crc32(bare.translate(_REVERSED_BITS), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{reverse:032b}"[::-1], 2) == checksum


def _next_page(file: BinaryIO, position: int) -> int:
    """Where the next Ogg page begins, -1 if there is none."""
    overlap = b""
    file.seek(position)
    while data := file.read(SEARCH_BYTES):
        at = (overlap + data).find(b"OggS")
        if at >= 0:
            return position - len(overlap) + at
        position += len(data)
        overlap = data[-3:]
    return -1
