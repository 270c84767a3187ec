"""Decode WAV, FLAC, OGG, MP3, AIFF, AU, CAF and W64 with libsndfile, block by block."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import soundfile

from antiphon.audio.stream import BLOCK_FRAMES
from antiphon.audio.waveform import FloatArray
from antiphon.errors import AudioDecodeError

# libsndfile's word for "unknown" is the largest 64-bit number (a FLAC that was streamed).
UNKNOWN_FRAMES = 2**62


class SoundFileDecoder:
    """One open file; `frames` is None when the header does not say how many there are."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._name = name
        try:
            # The descriptor, not the path: a name that is not UTF-8 opens, and libsndfile cannot
            # take the suffix for the format (it decodes any bytes that are called .vox).
            self._file = soundfile.SoundFile(_descriptor(file), closefd=False)
        except (soundfile.SoundFileError, TypeError) as error:
            raise AudioDecodeError(f"{name} cannot be decoded: {_reason(error)}") from error
        self.sample_rate = int(self._file.samplerate)
        self.channels = int(self._file.channels)
        frames = int(self._file.frames)
        self.frames = frames if 0 <= frames < UNKNOWN_FRAMES else None
        self.problems: list[str] = []

    def blocks(self, start_frame: int) -> Iterator[FloatArray]:
        """Blocks [C, n] from `start_frame`; raises AudioDecodeError where the file breaks."""
        scratch = np.empty((BLOCK_FRAMES, self.channels), np.float32)
        try:
            if start_frame:
                self._file.seek(start_frame)
            while True:
                frames = self._file.read(out=scratch)  # [n, C]
                if not len(frames):
                    return
                yield frames.T.copy(order="C")  # [C, n]
        except soundfile.SoundFileError as error:
            raise AudioDecodeError(f"{self._name} is damaged: {_reason(error)}") from error

    def close(self) -> None:
        self._file.close()


def _descriptor(file: BinaryIO) -> int | BinaryIO:
    """The file's descriptor when it has one, else the object itself."""
    try:
        return file.fileno()
    except (AttributeError, OSError):
        return file


def _reason(error: Exception) -> str:
    """libsndfile's own words, without the object's repr that soundfile puts before them."""
    text = getattr(error, "error_string", "") or str(error)
    return text.removeprefix("Error : ").strip().rstrip(".") or "unknown error"
