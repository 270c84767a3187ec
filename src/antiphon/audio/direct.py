"""Decode in this process: a range of a recording, with limits and damage watched all along."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from antiphon.audio.damage import Damage, DamageMeter, length_problem
from antiphon.audio.decoding import Decoding
from antiphon.audio.limits import Limits
from antiphon.audio.sniffing import identify
from antiphon.audio.sources import OpenSource
from antiphon.audio.stream import AudioStream
from antiphon.audio.waveform import FloatArray
from antiphon.errors import (
    AudioDecodeError,
    AudioTooShortError,
    DependencyError,
    StorageError,
)


class DirectStream(AudioStream):
    """A recording decoded in this process; takes the source over, also when it cannot be opened."""

    def __init__(
        self,
        source: OpenSource,
        start_seconds: float,
        duration_seconds: float | None,
        limits: Limits,
    ) -> None:
        self._source = source
        self._name = source.name
        self._limits = limits
        self._decoding: Decoding | None = None
        try:
            self._decoding = self._open()
            self._plan(self._decoding, start_seconds, duration_seconds)
        except BaseException:
            self.close()
            raise
        self._meter = DamageMeter(self.channels)
        self._blocks = self._walk(self._decoding)

    def _open(self) -> Decoding:
        file, name = self._source.file, self._name
        try:
            return Decoding(file, identify(file))
        except AudioDecodeError as error:
            raise AudioDecodeError(f"{name} cannot be decoded: {error}") from error
        except DependencyError as error:
            raise DependencyError(f"{name} cannot be decoded: {error}") from error
        except OSError as error:
            raise StorageError(f"{name} cannot be read: {error.strerror or error}") from error

    def _plan(
        self, decoding: Decoding, start_seconds: float, duration_seconds: float | None
    ) -> None:
        """Fix the range in frames, and refuse on the header's word what exceeds the limits."""
        self.sample_rate = rate = decoding.sample_rate
        self.channels = decoding.channels
        self.declared_seconds = decoding.declared_seconds
        self._limits.check_format(self._name, rate, self.channels)
        self._start = round(start_seconds * rate)
        self._wanted = None if duration_seconds is None else max(1, round(duration_seconds * rate))
        if decoding.frames is not None:
            if 0 < decoding.frames <= self._start:
                raise AudioTooShortError(
                    f"start_seconds is {start_seconds}, but {self._name} ends at "
                    f"{decoding.frames / rate:.1f} s"
                )
            to_come = decoding.frames - self._start
            if self._wanted is not None:
                to_come = min(to_come, self._wanted)
            self._limits.check_length(self._name, to_come, rate, self.channels)
        self._expected_seconds: float | None = None
        if self.declared_seconds is not None:
            self._expected_seconds = self.declared_seconds - self._start / rate
            if self._wanted is not None:
                self._expected_seconds = min(self._expected_seconds, self._wanted / rate)

    def blocks(self) -> Iterator[FloatArray]:
        return self._blocks

    def _walk(self, decoding: Decoding) -> Iterator[FloatArray]:
        meter = self._meter
        for block in decoding.blocks(self._start, self._expected_seconds):
            if self._wanted is not None and block.shape[1] > self._wanted - meter.frames:
                block = np.ascontiguousarray(block[:, : self._wanted - meter.frames])
            meter.clean(block)
            self._limits.check_length(self._name, meter.frames, self.sample_rate, self.channels)
            yield block
            if meter.frames == self._wanted:
                break
        if not meter.frames:
            problems = self.damage().problems
            kind = AudioDecodeError if problems else AudioTooShortError
            raise kind("; ".join([f"{self._name} holds no sound (0 samples)", *problems]))

    def damage(self) -> Damage:
        assert self._decoding is not None
        meter = self._meter
        problems = list(self._decoding.problems)
        seconds = meter.frames / self.sample_rate
        if self._expected_seconds is not None:
            problem = length_problem(seconds, self._expected_seconds)
            problems += [problem] if problem else []
        if lost := self._decoding.lost_packets:
            problems.append(f"packets that could not be decoded, left out: {lost:,}")
        if meter.nan_samples:
            count = f"{meter.nan_samples:,}"
            problems.append(f"samples that are no numbers or no sound, replaced by 0: {count}")
        return Damage(
            decoded_seconds=seconds,
            declared_seconds=self.declared_seconds,
            problems=tuple(problems),
            nan_samples=meter.nan_samples,
            clipped_samples=meter.clipped_samples,
        )

    def close(self) -> None:
        if self._decoding is not None:
            self._decoding.close()
        self._source.close()
