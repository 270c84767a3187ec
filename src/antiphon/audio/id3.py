"""ID3v2.4: text at the head of an MP3 file. Writes only."""

from __future__ import annotations

from collections.abc import Mapping

TEXT_FRAMES = {
    "title": "TIT2",
    "artist": "TPE1",
    "album": "TALB",
    "comment": "COMM",
    "date": "TDRC",
    "genre": "TCON",
    "tracknumber": "TRCK",
    "copyright": "TCOP",
}
UTF_8 = b"\x03"


def id3_tag(texts: Mapping[str, str]) -> bytes:
    """The tag with one frame for each text, keys as in TEXT_FRAMES (id3.org, ID3v2.4.0)."""
    frames = b"".join(_frame(TEXT_FRAMES[key], text) for key, text in texts.items())
    return b"ID3\x04\x00\x00" + _syncsafe(len(frames)) + frames


def _frame(name: str, text: str) -> bytes:
    # A comment has a language and a short description, which is empty, before its text.
    body = UTF_8 + (b"und\x00" if name == "COMM" else b"") + text.encode()
    return name.encode() + _syncsafe(len(body)) + b"\x00\x00" + body


def _syncsafe(number: int) -> bytes:
    """28 bits in four bytes whose top bit is 0, so that no byte looks like an MPEG frame."""
    return bytes(number >> shift & 0x7F for shift in (21, 14, 7, 0))
