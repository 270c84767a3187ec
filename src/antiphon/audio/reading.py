"""Read sound from a path, bytes or a file object: bounded, streamed, with a damage report.

One door for every caller: what is decoded, how much of it and with which protection is decided
here and nowhere else.
"""

from __future__ import annotations

import io
import math
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np

from antiphon.audio.damage import Damage, DamageMeter, length_problem
from antiphon.audio.limits import Limits
from antiphon.audio.resampling import Resampler
from antiphon.audio.sndfile import SoundFileDecoder
from antiphon.audio.stream import AudioStream
from antiphon.audio.waveform import FloatArray, Waveform
from antiphon.errors import AudioDecodeError, AudioTooShortError, ConfigError, StorageError

Source: TypeAlias = str | os.PathLike[str] | bytes | BinaryIO


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
    limits: Limits = Limits(),  # noqa: B008 (frozen)
    isolated: bool = False,
) -> AudioStream:
    """Open a recording for reading block by block; see `AudioStream`."""
    _check_range(start_seconds, duration_seconds)
    if isolated:
        raise NotImplementedError("isolated")
    file, name = _open(source)
    return _DirectStream(file, name, start_seconds, duration_seconds, limits)


def read(
    source: Source,
    *,
    sample_rate: int | None = None,
    mono: bool = False,
    start_seconds: float = 0.0,
    duration_seconds: float | None = None,
    limits: Limits = Limits(),  # noqa: B008 (frozen)
    isolated: bool = False,
) -> Recording:
    """Read a recording, or a part of it, into memory."""
    with open_stream(
        source,
        start_seconds=start_seconds,
        duration_seconds=duration_seconds,
        limits=limits,
        isolated=isolated,
    ) as stream:
        rate = sample_rate or stream.sample_rate
        resampler = Resampler(stream.sample_rate, rate, 1 if mono else stream.channels)
        parts = []
        for block in stream.blocks():
            part = block.mean(axis=0, keepdims=True) if mono and stream.channels > 1 else block
            parts.append(resampler.process(part))
        parts.append(resampler.flush())
        return Recording(Waveform(np.concatenate(parts, axis=1), rate), stream.damage())


def _check_range(start_seconds: float, duration_seconds: float | None) -> None:
    if not (math.isfinite(start_seconds) and start_seconds >= 0):
        raise ConfigError(f"start_seconds is {start_seconds}; expected 0 or more")
    if duration_seconds is not None and not (
        math.isfinite(duration_seconds) and duration_seconds > 0
    ):
        raise ConfigError(f"duration_seconds is {duration_seconds}; expected more than 0")


def _open(source: Source) -> tuple[BinaryIO, str]:
    """The source as a seekable binary file, and its name for messages."""
    if isinstance(source, bytes):
        return io.BytesIO(source), f"the audio ({len(source):,} bytes)"
    if not isinstance(source, (str, os.PathLike)):
        return source, "the audio"
    path = Path(source)
    name = "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(path))
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise StorageError(f"{name} is a folder; expected an audio file")
        if not stat.S_ISREG(mode):
            raise StorageError(f"{name} is not a regular file")
        return path.open("rb"), name
    except FileNotFoundError as error:
        raise StorageError(f"{name} does not exist") from error
    except OSError as error:
        raise StorageError(f"{name} cannot be read: {error.strerror}") from error


class _DirectStream(AudioStream):
    """Decodes in this process."""

    def __init__(
        self,
        file: BinaryIO,
        name: str,
        start_seconds: float,
        duration_seconds: float | None,
        limits: Limits,
    ) -> None:
        self._name = name
        self._limits = limits
        self._file = file
        self._decoder = SoundFileDecoder(file, name)
        self.sample_rate = self._decoder.sample_rate
        self.channels = self._decoder.channels
        limits.check_format(name, self.sample_rate, self.channels)
        frames = self._decoder.frames
        self.declared_seconds = None if frames is None else frames / self.sample_rate
        self._start = round(start_seconds * self.sample_rate)
        self._wanted = (
            None if duration_seconds is None else max(1, round(duration_seconds * self.sample_rate))
        )
        self._expected: int | None = None
        if frames is not None:
            if self._start >= frames > 0:
                raise AudioTooShortError(
                    f"start_seconds {start_seconds} is past the end of {name} "
                    f"({self.declared_seconds:.1f} s)"
                )
            self._expected = frames - self._start
            if self._wanted is not None:
                self._expected = min(self._expected, self._wanted)
            limits.check_length(name, self._expected, self.sample_rate, self.channels)
        self._meter = DamageMeter(self.channels)
        self._problems: list[str] = []

    def blocks(self) -> Iterator[FloatArray]:
        meter = self._meter
        try:
            for block in self._decoder.blocks(self._start):
                if self._wanted is not None:
                    block = block[:, : self._wanted - meter.frames]
                meter.clean(block)
                self._limits.check_length(self._name, meter.frames, self.sample_rate, self.channels)
                yield np.ascontiguousarray(block)
                if meter.frames == self._wanted:
                    break
        except AudioDecodeError as error:
            if not meter.frames:
                raise
            self._problems.append(str(error))
        if not meter.frames:
            raise AudioTooShortError(f"{self._name} holds no sound (0 samples)")

    def damage(self) -> Damage:
        meter = self._meter
        problems = list(self._problems)
        seconds = meter.frames / self.sample_rate
        if self._expected is not None:
            problem = length_problem(seconds, self._expected / self.sample_rate)
            problems += [problem] if problem else []
        if meter.nan_samples:
            problems.append(f"{meter.nan_samples:,} samples that are no numbers replaced by 0")
        return Damage(
            seconds,
            self.declared_seconds,
            tuple(problems),
            meter.nan_samples,
            meter.clipped_samples,
        )

    def close(self) -> None:
        self._decoder.close()
        self._file.close()
