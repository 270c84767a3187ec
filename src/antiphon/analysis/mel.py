"""Mel filters, and how far two sounds are from each other by their log-mel spectra."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from antiphon.analysis.features import Framer
from antiphon.errors import AudioError

FloatArray = NDArray[np.float32]

DISTANCE_WINDOWS = (512, 1024, 2048)  # samples; the hop is a quarter
DISTANCE_BANDS = 80
DISTANCE_FLOOR = 1e-5  # of magnitudes in which a full-scale sine is 1: -100 dB
_LOWEST_HZ = 20.0


def hann(window: int) -> FloatArray:
    """The periodic Hann window [window]."""
    return np.asarray(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window), np.float32)


def mel_filters(bands: int, window: int, sample_rate: int) -> FloatArray:
    """Triangles [window / 2 + 1, bands] from 20 Hz to half the sample rate, unit sum each, evenly
    spaced on the mel scale (O'Shaughnessy's formula).

    Each is at least a bin wide to either side: low bands of a short window would be empty.
    """
    lowest, highest = (2595.0 * np.log10(1.0 + hz / 700.0) for hz in (_LOWEST_HZ, sample_rate / 2))
    edges_hz = 700.0 * (10.0 ** (np.linspace(lowest, highest, bands + 2) / 2595.0) - 1.0)
    bin_hz = sample_rate / window
    low = np.maximum(np.diff(edges_hz[:-1]), bin_hz)
    high = np.maximum(np.diff(edges_hz[1:]), bin_hz)
    distance = np.arange(window // 2 + 1)[:, None] * bin_hz - edges_hz[1:-1]
    filters = np.maximum(1.0 - np.where(distance < 0, -distance / low, distance / high), 0.0)
    return np.asarray(filters / filters.sum(axis=0), np.float32)


def mel_distance(a: FloatArray, b: FloatArray, sample_rate: int) -> float:
    """The mean absolute difference of ln(mel + 1e-5) of two mono sounds [T]: 0 or more, nepers.

    80 bands of magnitudes, the mean over windows of 512, 1024 and 2048 samples (the scales of the
    mel losses of neural codecs, as Zeghidour et al. 2021).
    Raises AudioError for sounds that are not mono, empty or of different lengths.
    """
    if a.ndim != 1 or a.shape != b.shape or len(a) == 0:
        raise AudioError(
            f"the sounds have the shapes {a.shape} and {b.shape}; expected two of one [samples]"
        )
    return float(np.mean([_distance(a, b, sample_rate, window) for window in DISTANCE_WINDOWS]))


def _distance(a: FloatArray, b: FloatArray, sample_rate: int, window: int) -> float:
    total, count = 0.0, 0
    both = (_log_mel(sound, sample_rate, window) for sound in (a, b))
    for one, other in zip(*both, strict=True):
        total += float(np.abs(one - other).sum(dtype=np.float64))
        count += one.size
    return total / count


def _log_mel(sound: FloatArray, sample_rate: int, window: int) -> Iterator[FloatArray]:
    """Yield batches [n, DISTANCE_BANDS] of frames, the first centred on the first sample."""
    taper = hann(window)
    taper *= 2 / taper.sum()  # a full-scale sine has magnitude 1 in its bin
    filters = mel_filters(DISTANCE_BANDS, window, sample_rate)
    framer = Framer(window, window // 4)
    for frames in chain(framer.push(sound), framer.flush()):
        magnitude = np.abs(scipy.fft.rfft(frames * taper, axis=1))
        yield np.log(magnitude @ filters + np.float32(DISTANCE_FLOOR))
