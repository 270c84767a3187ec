"""Read sound from a path, bytes or a file object: bounded, streamed, with a damage report.

One door for every caller: what may be decoded, how much of it and behind which wall is decided
here and nowhere else.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from antiphon.audio.damage import Damage
from antiphon.audio.direct import DirectStream
from antiphon.audio.limits import BYTES_PER_SAMPLE, Limits
from antiphon.audio.resampling import Resampler
from antiphon.audio.sources import Source, open_source
from antiphon.audio.stream import AudioStream
from antiphon.audio.waveform import FloatArray, Waveform
from antiphon.errors import AudioLimitError, ConfigError

DEFAULT_LIMITS = Limits()
MAX_TRUSTED_BYTES = 512 * 2**20  # allocated on the header's word; more only as it is decoded


@dataclass(frozen=True)
class Recording:
    """What was read, and what was wrong with it."""

    waveform: Waveform
    damage: Damage


def open_stream(
    source: Source,
    *,
    start_seconds: float = 0.0,
    duration_seconds: float | None = None,
    limits: Limits = DEFAULT_LIMITS,
    isolated: bool = False,
) -> AudioStream:
    """Open a recording, or a part of it (to the sample), for reading block by block.

    `source` is a path, the bytes of a file, or a binary file object, which is read from its
    beginning. With `isolated`, decoding happens in a child process under the limits' caps on time
    and memory: what crashes or exhausts it becomes an AudioDecodeError here.

    Raises StorageError for a path that cannot be read, AudioDecodeError for what is not audio,
    AudioLimitError on the header's word, AudioTooShortError for a start past the end,
    DependencyError for a format that needs the `codecs` extra, ConfigError for a bad argument.
    """
    if not (math.isfinite(start_seconds) and start_seconds >= 0):
        raise ConfigError(f"start_seconds is {start_seconds}; expected 0 or more")
    if duration_seconds is not None and not 0 < duration_seconds < math.inf:
        raise ConfigError(f"duration_seconds is {duration_seconds}; expected more than 0")
    if isolated:
        from antiphon.audio.isolated import IsolatedStream

        return IsolatedStream(source, start_seconds, duration_seconds, limits)
    return DirectStream(open_source(source, limits), start_seconds, duration_seconds, limits)


def read(
    source: Source,
    *,
    sample_rate: int | None = None,
    mono: bool = False,
    start_seconds: float = 0.0,
    duration_seconds: float | None = None,
    limits: Limits = DEFAULT_LIMITS,
    isolated: bool = False,
) -> Recording:
    """Read a recording, or a part of it, into memory: samples [C, T], [1, T] with `mono`.

    `mono` takes the mean of the channels, `sample_rate` resamples (soxr HQ); both while the file
    is decoded, so that only the result is held. Arguments and errors otherwise as `open_stream`.
    """
    with open_stream(
        source,
        start_seconds=start_seconds,
        duration_seconds=duration_seconds,
        limits=limits,
        isolated=isolated,
    ) as stream:
        rate = stream.sample_rate if sample_rate is None else sample_rate
        channels = 1 if mono else stream.channels
        resampler = Resampler(stream.sample_rate, rate, channels)
        seconds = duration_seconds or stream.declared_seconds or 0.0
        samples = _Growing(channels, math.ceil(seconds * rate) + 1)
        for block in _mixed(stream.blocks(), mono):
            samples.append(resampler.process(block))
        samples.append(resampler.flush())
        return Recording(Waveform(samples.take(), rate), stream.damage())


def _mixed(blocks: Iterator[FloatArray], mono: bool) -> Iterator[FloatArray]:
    for block in blocks:
        yield block.mean(axis=0, keepdims=True) if mono and block.shape[0] > 1 else block


class _Growing:
    """One array [C, T], filled block by block, that never holds the sound twice."""

    def __init__(self, channels: int, frames: int) -> None:
        most = MAX_TRUSTED_BYTES // (BYTES_PER_SAMPLE * channels)
        self._data = np.empty((channels, min(frames, most)), np.float32)
        self._filled = 0

    def append(self, block: FloatArray) -> None:
        end = self._filled + block.shape[1]
        if end > self._data.shape[1]:
            self._grow(max(end, self._data.shape[1] * 3 // 2))
        self._data[:, self._filled : end] = block
        self._filled = end

    def _grow(self, frames: int) -> None:
        channels = self._data.shape[0]
        try:
            larger = np.empty((channels, frames), np.float32)
        except MemoryError as error:
            raise AudioLimitError(
                f"no memory for {frames:,} frames of {channels} channels; read a part of it "
                "(start_seconds, duration_seconds), mono, or as a stream"
            ) from error
        larger[:, : self._filled] = self._data[:, : self._filled]
        self._data = larger

    def take(self) -> FloatArray:
        """The filled part, [C, T], contiguous: the rows are moved together in place."""
        channels = self._data.shape[0]
        flat = self._data.reshape(-1)
        for channel in range(1, channels):
            at = channel * self._filled
            flat[at : at + self._filled] = self._data[channel, : self._filled]
        return flat[: channels * self._filled].reshape(channels, self._filled)
