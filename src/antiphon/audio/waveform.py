"""Waveform: sound in memory. Knows no file and no codec."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float32]


def with_channels(samples: FloatArray, channels: int) -> FloatArray:
    """[C, n] -> [channels, n]: mixed down, or the same on every side."""
    if samples.shape[0] == channels:
        return samples
    return np.repeat(samples.mean(axis=0, keepdims=True), channels, axis=0)


@dataclass(frozen=True, eq=False)
class Waveform:
    """Sound as float32 samples [C, T], full scale at 1.0, with its rate in Hz."""

    samples: FloatArray
    sample_rate: int

    def __post_init__(self) -> None:
        shape = np.shape(self.samples)
        if len(shape) != 2 or shape[0] < 1:
            raise ValueError(f"samples have shape {shape}; expected [channels, frames]")
        if self.samples.dtype != np.float32:
            raise ValueError(f"samples are {self.samples.dtype}; expected float32")
        if self.sample_rate <= 0:
            raise ValueError(f"sample rate is {self.sample_rate} Hz; expected a positive number")

    @property
    def channels(self) -> int:
        return int(self.samples.shape[0])

    @property
    def frames(self) -> int:
        return int(self.samples.shape[1])

    @property
    def duration_seconds(self) -> float:
        return self.frames / self.sample_rate

    def mono(self) -> Waveform:
        """The mean of all channels, [1, T]."""
        if self.channels == 1:
            return self
        return Waveform(self.samples.mean(axis=0, keepdims=True), self.sample_rate)
