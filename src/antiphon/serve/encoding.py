"""Sound that comes piece by piece, encoded piece by piece: what a client can play before the end.

From 16-bit PCM. WAV and PCM are ours; the rest is libsndfile's, which writes to a pipe of ours:
what it would mend at the beginning when all is known, the length above all, stays unknown.
"""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np

from antiphon.audio.mpeg import mpeg_frame_bytes
from antiphon.errors import ConfigError

WAV_HEADER_BYTES = 44
_UNKNOWN = 0xFFFF_FFFF
_FRAMES_AT_ONCE = 4_096  # Vorbis in one long call ends the process
_OPUS_RATE = 48_000
_LIBSNDFILE = {
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
}
MEDIA_TYPES = {
    "wav": "audio/wav", "pcm": "audio/pcm", "mp3": "audio/mpeg", "flac": "audio/flac",
    "ogg": "audio/ogg", "opus": "audio/ogg",
}  # fmt: skip


def wav_header(sample_rate: int, channels: int) -> bytes:
    """Of a 16-bit WAV whose end nobody knows."""
    frame = 2 * channels
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF", _UNKNOWN, b"WAVE", b"fmt ", 16, 1, channels, sample_rate, sample_rate * frame,
        frame, 16, b"data", _UNKNOWN - WAV_HEADER_BYTES + 8,
    )  # fmt: skip


class Encoder:
    """One stream. `encode` takes PCM of whole frames and gives what can be sent; `finish` the
    rest."""

    def __init__(self, form: str, sample_rate: int, channels: int) -> None:
        """Raises ConfigError for a form that is none of MEDIA_TYPES."""
        if form not in MEDIA_TYPES:
            raise ConfigError(f"format is {form!r}; expected one of {', '.join(MEDIA_TYPES)}")
        self._channels = channels
        self._head = wav_header(sample_rate, channels) if form == "wav" else b""
        self._counts_frames = form == "mp3"
        self._file: Any = None
        if form in _LIBSNDFILE:
            import soundfile

            from antiphon.audio import Resampler

            container, subtype = _LIBSNDFILE[form]
            rate = _OPUS_RATE if form == "opus" else sample_rate
            self._resampler = Resampler(sample_rate, rate, channels)
            self._sink = _Sink()
            self._file = soundfile.SoundFile(
                self._sink, "w", rate, channels, subtype, format=container
            )

    def encode(self, pcm: bytes) -> bytes:
        if self._file is None:
            head, self._head = self._head, b""
            return head + pcm
        samples = np.frombuffer(pcm, "<i2").reshape(-1, self._channels).T / np.float32(32_768)
        self._write(self._resampler.process(samples.astype(np.float32)))
        return self._taken()

    def finish(self) -> bytes:
        if self._file is None:
            return self._head
        self._write(self._resampler.flush())
        self._file.close()
        return self._taken()

    def _taken(self) -> bytes:
        data = self._sink.take()
        if self._counts_frames and data:
            # LAME's first frame says how many come: of a stream, too few, and players end there.
            self._counts_frames = False
            length = mpeg_frame_bytes(data, 0)
            if b"Info" in data[:length] or b"Xing" in data[:length]:
                data = data[length:]
        return data

    def _write(self, samples: np.ndarray) -> None:
        for at in range(0, samples.shape[1], _FRAMES_AT_ONCE):
            self._file.write(np.ascontiguousarray(samples[:, at : at + _FRAMES_AT_ONCE].T))


def samples_of(wav: bytes) -> bytes:
    """The 16-bit samples alone of a WAV that we wrote."""
    import soundfile

    samples, _ = soundfile.read(io.BytesIO(wav), dtype="int16", always_2d=True)
    return np.ascontiguousarray(samples, "<i2").tobytes()


class _Sink:
    """A file that forgets what was taken from it: what is written behind its end is new, what is
    written before it is too late."""

    def __init__(self) -> None:
        self._new: list[bytes] = []
        self._place = self._end = 0

    def take(self) -> bytes:
        data, self._new = b"".join(self._new), []
        return data

    def write(self, data: bytes) -> int:
        data = bytes(data)
        late = self._end - self._place  # how much of it lies in what is gone
        if late < len(data):
            self._new.append(data[max(0, late) :])
        self._place += len(data)
        self._end = max(self._end, self._place)
        return len(data)

    def read(self, count: int) -> bytes:
        return b""

    def seek(self, position: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._end}[whence]
        self._place = start + position
        return self._place

    def tell(self) -> int:
        return self._place
