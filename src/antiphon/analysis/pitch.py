"""Fundamental frequency of a single voice over time, by YIN. Knows no notes.

de Cheveigné & Kawahara 2002, "YIN, a fundamental frequency estimator for speech and music".
"""

from __future__ import annotations

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from antiphon.analysis.features import SAMPLE_RATE, Framer

FloatArray = NDArray[np.float32]

HOP = 256  # samples = 11.6 ms
MIN_HZ, MAX_HZ = 55.0, 1760.0  # A1 to A6
LONGEST_LAG = int(SAMPLE_RATE / MIN_HZ) + 2
SHORTEST_LAG = int(SAMPLE_RATE / MAX_HZ)
WINDOW = 1024  # samples compared, 46 ms: at least two periods of 55 Hz together with the lag
THRESHOLD = 0.15  # aperiodicity below which a lag is taken at once (the paper's 0.1 to 0.15)
VOICED = 0.25  # aperiodicity above which there is no voice
MIN_RMS = 10.0 ** (-60.0 / 20.0)


class PitchTracker:
    """Push mono samples [T] at SAMPLE_RATE; a frame every HOP samples, centred on it."""

    def __init__(self) -> None:
        self._framer = Framer(WINDOW + LONGEST_LAG, HOP)
        self._hz: list[FloatArray] = []
        self._aperiodicity: list[FloatArray] = []

    def push(self, samples: FloatArray) -> None:
        for frames in self._framer.push(samples):
            self._take(frames)

    def finish(self) -> tuple[FloatArray, FloatArray]:
        """Frequency in Hz [F] (NaN where there is no voice) and aperiodicity [F], 0 is periodic."""
        for frames in self._framer.flush():
            self._take(frames)
        return np.concatenate(self._hz), np.concatenate(self._aperiodicity)

    def _take(self, frames: FloatArray) -> None:
        difference = _normalised_difference(frames.astype(np.float64))  # [n, LONGEST_LAG]
        search = difference[:, SHORTEST_LAG:-1]
        is_dip = (search <= difference[:, SHORTEST_LAG - 1 : -2]) & (
            search < difference[:, SHORTEST_LAG + 1 :]
        )
        good = is_dip & (search < THRESHOLD)
        lag = np.where(good.any(axis=1), good.argmax(axis=1), search.argmin(axis=1)) + SHORTEST_LAG
        row = np.arange(len(frames))
        left, centre, right = (difference[row, lag + shift] for shift in (-1, 0, 1))
        curve = left - 2.0 * centre + right
        shift = np.where(curve > 1e-9, 0.5 * (left - right) / np.maximum(curve, 1e-9), 0.0)
        hz = SAMPLE_RATE / (lag + np.clip(shift, -1.0, 1.0))
        loud = np.sqrt(np.square(frames).mean(axis=1)) > MIN_RMS
        hz[(centre > VOICED) | ~loud] = np.nan
        self._hz.append(hz.astype(np.float32))
        self._aperiodicity.append(centre.astype(np.float32))


def _normalised_difference(frames: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cumulative mean normalised difference function [n, LONGEST_LAG] (equation 8)."""
    size = scipy.fft.next_fast_len(WINDOW + LONGEST_LAG + WINDOW)
    spectrum = scipy.fft.rfft(frames, size, axis=1)
    head = scipy.fft.rfft(frames[:, :WINDOW], size, axis=1)
    correlation = scipy.fft.irfft(spectrum * head.conj(), size, axis=1)[:, :LONGEST_LAG]
    energy = np.cumsum(np.square(frames), axis=1)
    energy = np.concatenate([np.zeros((len(frames), 1)), energy], axis=1)
    lagged = energy[:, WINDOW : WINDOW + LONGEST_LAG] - energy[:, :LONGEST_LAG]
    difference = np.maximum(lagged[:, :1] + lagged - 2.0 * correlation, 0.0)
    lag = np.arange(1, LONGEST_LAG)
    mean = np.cumsum(difference[:, 1:], axis=1) / lag
    normalised = np.ones_like(difference)
    normalised[:, 1:] = difference[:, 1:] / np.maximum(mean, 1e-12)
    return np.asarray(normalised)
