"""Shares and correlations with their 95 % bootstrap intervals (Efron & Tibshirani 1993)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000
_LEVELS = (0.025, 0.975)
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A figure of `count` cases, and where 95 % of its resamples lie; None without any case."""

    value: float | None
    low: float | None
    high: float | None
    count: int


def mean_of(values: Sequence[float]) -> Estimate:
    """The mean of some values, such as the share of those that are 1."""
    return estimate(np.asarray(values, np.float64)[:, None], lambda rows: float(rows.mean()))


def correlation_of(asked: Sequence[float], found: Sequence[float]) -> Estimate:
    """Pearson's correlation; 0 where one of them never changes."""
    return estimate(np.stack([asked, found], axis=1).astype(np.float64), _correlation)


def estimate(rows: Values, figure: Callable[[Values], float]) -> Estimate:
    """A figure of rows [N, …], drawn from again with the same seed each time."""
    if not len(rows):
        return Estimate(None, None, None, 0)
    random = np.random.default_rng(0)
    draws = random.integers(0, len(rows), (RESAMPLES, len(rows)))
    low, high = np.quantile([figure(rows[chosen]) for chosen in draws], _LEVELS)
    return Estimate(figure(rows), float(low), float(high), len(rows))


def _correlation(rows: Values) -> float:
    asked, found = (column - column.mean() for column in rows.T)
    size = float(np.sqrt((asked @ asked) * (found @ found)))
    return float(asked @ found) / size if size > 0 else 0.0
