"""What a file is, by its first bytes; its name says nothing. Decodes nothing.

Only kinds named here ever reach a decoder, each with its own demuxer: a playlist, an archive or
random bytes never make one guess.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import BinaryIO

from antiphon.audio.mpeg import (
    adts_frame_bytes,
    find_mpeg_audio,
    id3_bytes,
    is_chain,
    mpeg_frame_bytes,
)
from antiphon.errors import AudioDecodeError

SEARCH_BYTES = 65_536  # how far a header is looked for behind junk

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
        (rb"MAC ", "ape"),
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
        (rb"MThd", "a MIDI file"),
        (rb"\x7fELF|MZ\x90\x00", "a program"),
        (rb"SQLite format 3\x00", "a database"),
        (rb"version https://git-lfs", "a Git LFS pointer"),
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
        if not head:
            size = file.seek(0, io.SEEK_END)
            raise AudioDecodeError(
                f"it begins with an ID3 tag of {tag:,} bytes, and the file ends after {size:,}: "
                "expected sound behind the tag"
            )
    kind = _kind_at_start(head)
    if kind:
        # Decoders of MPEG audio and FLAC step over an ID3 tag themselves.
        return Identity(kind, 0 if kind in ("mp3", "flac", "aac") else tag)
    buried = _buried(head)
    if buried is None and tag == 0 and _is_text(head[:512]):
        raise AudioDecodeError("it is a text file, not audio")
    if buried is None:
        start = " ".join(f"{byte:02x}" for byte in head[:8])
        raise AudioDecodeError(
            f"it is no audio file that is known here (it begins with {start}); "
            "expected WAV, FLAC, MP3, OGG, Opus, AIFF, M4A, WebM, WMA or their like"
        )
    return Identity(buried.kind, buried.offset + tag)


def _kind_at_start(head: bytes) -> str | None:
    for pattern, kind in _MAGIC:
        if pattern.match(head):
            return kind
    # Encoders pad the ID3 tag with zeros that some do not count in.
    bare = head.lstrip(b"\x00")
    if is_chain(bare, 0, mpeg_frame_bytes):
        return "mp3"
    if is_chain(bare, 0, adts_frame_bytes):
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
