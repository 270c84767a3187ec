"""What a container says of itself that libsndfile hides: length, its end mark, sound beyond it.

libsndfile reads a file that was cut short without a word, an Ogg stream with pages missing too,
and of joined files the first. Reads headers only, decodes nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from antiphon.audio.sniffing import SEARCH_BYTES, Identity, find_mpeg_audio, id3_bytes

STREAMED_SIZES = (0, 0x7FFFFFFF, 0xFFFFFFFF)  # what writers put in that never learned the length
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
        return Claim(declares_length=head[36:40] == b"VBRI")
    (flags,) = struct.unpack(">I", head[tag + 4 : tag + 8].ljust(4, b"\0"))
    if not flags & 1:
        return Claim(declares_length=False)
    if flags & 2:
        (declared_bytes,) = struct.unpack(">I", head[tag + 12 : tag + 16].ljust(4, b"\0"))
        end = start + declared_bytes
        if declared_bytes and end < size:
            next_start, next_head = _first_frame(file, end)
            if find_mpeg_audio(next_head) == 0:
                return Claim(
                    beyond=f"another recording is joined to it at byte {next_start:,}",
                    declares_length=False,
                )
    return Claim()


def _first_frame(file: BinaryIO, position: int) -> tuple[int, bytes]:
    """Position of the first MPEG frame at or behind `position`, and what follows it."""
    file.seek(position)
    position += id3_bytes(file.read(10))
    file.seek(position)
    head = file.read(SEARCH_BYTES)
    at = find_mpeg_audio(head) or 0
    return position + at, head[at:]


BOS, EOS = 2, 4  # flags of an Ogg page (RFC 3533, section 6)


def _ogg_claim(file: BinaryIO, offset: int, size: int) -> Claim:
    """Walk the pages: is there an end mark, are pages missing, does a second stream follow?"""
    position = offset
    last_flags = 0
    next_page: dict[int, int] = {}  # by stream: the number its next page should have
    missing = 0
    chained = False
    while position < size:
        file.seek(position)
        head = file.read(27 + 255)
        if len(head) < 27 or head[:4] != b"OggS":
            position = _next_page(file, position + 1)
            if position < 0:
                break
            continue
        flags, serial, number, segments = struct.unpack("<5xB8xII4xB", head[:27])
        if flags & BOS:
            chained |= bool(last_flags & EOS)
        elif serial in next_page and number > next_page[serial]:
            missing += number - next_page[serial]
        next_page[serial] = number + 1
        last_flags = flags
        position += 27 + segments + sum(head[27 : 27 + segments])
    problems = []
    if missing:
        problems.append(f"{missing:,} Ogg pages are damaged or missing")
    if not last_flags & EOS:
        problems.append("the Ogg stream has no end mark: it was probably cut short")
    beyond = "another stream is joined to it" if chained else None
    return Claim(declares_length=not chained, beyond=beyond, problems=tuple(problems))


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
