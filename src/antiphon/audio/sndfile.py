"""Decode WAV, FLAC, OGG, MP3, AIFF, AU, CAF and W64 with libsndfile, block by block."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import soundfile

from antiphon.audio.stream import BLOCK_FRAMES
from antiphon.audio.waveform import FloatArray
from antiphon.errors import AudioDecodeError

KINDS = ("wav", "flac", "ogg", "mp3", "aiff", "au", "caf", "w64")

# libsndfile's word for "unknown" is the largest 64-bit number (a FLAC that was streamed).
UNKNOWN_FRAMES = 2**62

# Decoded and thrown away before a start: an MP3 frame may hold parts of up to 511 bytes before it,
# and the first ones after a seek come out silent.
PREROLL_FRAMES = 16 * 1152


class _Sequential(soundfile.SoundFile):  # type: ignore[misc]
    """A file read in order: soundfile would seek after every read, to where it is already.

    That costs time in MP3 and fails at the end of a FLAC that does not declare its length.
    """

    def seekable(self) -> bool:
        return False

    @property
    def can_seek(self) -> bool:
        return bool(super().seekable())


class SoundFileDecoder:
    """One open file; `frames` is None when the header does not say how many there are.

    AudioDecodeError, from here and from `blocks`, carries libsndfile's reason and nothing else.
    """

    def __init__(self, file: BinaryIO, declares_length: bool) -> None:
        file.seek(0)
        try:
            self._file = _Sequential(_handle(file), closefd=False)
        except (soundfile.SoundFileError, TypeError) as error:
            raise AudioDecodeError(_reason(error)) from error
        self.sample_rate = int(self._file.samplerate)
        self.channels = int(self._file.channels)
        frames = int(self._file.frames)
        self.frames = frames if declares_length and 0 <= frames < UNKNOWN_FRAMES else None
        self.lost_packets = 0

    def blocks(self, start_frame: int) -> Iterator[FloatArray]:
        """Blocks [C, n] from `start_frame`; raises AudioDecodeError where the file breaks."""
        scratch = np.empty((BLOCK_FRAMES, self.channels), np.float32)
        try:
            if start_frame:
                self._go_to(start_frame, scratch)
            while len(frames := self._file.read(out=scratch)):  # [n, C]
                yield frames.T.copy(order="C")  # [C, n]
        except soundfile.SoundFileError as error:
            raise AudioDecodeError(_reason(error)) from error

    def close(self) -> None:
        self._file.close()

    def _go_to(self, frame: int, scratch: FloatArray) -> None:
        if self.frames is not None and self._file.can_seek:
            before = max(0, frame - PREROLL_FRAMES)
            self._file.seek(before)
            frame -= before
        # libsndfile seeks no further than the length that it guessed, and in GSM not at all.
        while frame and (skipped := len(self._file.read(out=scratch[:frame]))):
            frame -= skipped


def _handle(file: BinaryIO) -> int | BinaryIO:
    """The descriptor of a plain file, else the object itself.

    Never the path: a name that is not UTF-8 would not open, and libsndfile would take the suffix
    for the format (it decodes any bytes that are called .vox). A buffered or compressed file
    object has a descriptor too, but other bytes come out of it.
    """
    if isinstance(file, io.FileIO) and os.name == "posix":
        return file.fileno()
    return file


def _reason(error: Exception) -> str:
    """libsndfile's own words, without the object's repr that soundfile puts before them."""
    text = str(getattr(error, "error_string", "") or error)
    return text.removeprefix("Error : ").strip().rstrip(".") or "unknown error"
