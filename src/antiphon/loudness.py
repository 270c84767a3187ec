"""The K-weighting of ITU-R BS.1770, how loud each frequency counts: as a filter and as gains.

The coefficients are pyloudnorm's: formulas of one's own were off by 0.1 to 0.2 LU.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from pyloudnorm import Meter

DoubleArray = NDArray[np.float64]

_GAIN_RATE = 48_000  # Hz; the rate that the standard states its filters for


@lru_cache(maxsize=8)
def k_weighting(sample_rate: int) -> tuple[DoubleArray, DoubleArray]:
    """Both stages as one filter: numerator and denominator."""
    numerator, denominator = np.ones(1), np.ones(1)
    for stage in Meter(sample_rate)._filters.values():
        numerator = np.convolve(numerator, stage.b)
        denominator = np.convolve(denominator, stage.a)
    return numerator, denominator


def k_weighting_gains(hertz: NDArray[np.floating]) -> DoubleArray:
    """The factor for an amplitude at each of `hertz`; above 23.9 kHz it stays what it is there."""
    numerator, denominator = k_weighting(_GAIN_RATE)
    delay = np.exp(-2j * np.pi / _GAIN_RATE * np.minimum(hertz, 23_900.0))
    gains = np.polyval(numerator[::-1], delay) / np.polyval(denominator[::-1], delay)
    return np.asarray(np.abs(gains))
