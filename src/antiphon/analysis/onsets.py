"""Log-mel spectrogram to onset strength: how much starts at each moment. Knows no tempo."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from antiphon.analysis.features import MEL_FLOOR_DB, MEL_RATE

FloatArray = NDArray[np.float32]

RANGE_DB = 60.0  # below the loudest frames; what starts deeper down is noise or reverb
LAG_FRAMES = 2  # 23 ms: half the window, so that a hit is not compared with its own rise
MEAN_SECONDS = 1.0
LOW_BANDS = slice(0, 4)  # to about 200 Hz: kick and bass
HIGH_BANDS = slice(28, 40)  # from about 4.5 kHz: snare wires and cymbals
_CHUNK_FRAMES = 20_000


@dataclass(frozen=True, eq=False)
class Onsets:
    """Onset strength at MEL_RATE, all [F]: standard deviation 1, at least 0, 0 where nothing starts.

    full: over all bands; low: kick and bass; high: snare wires and cymbals.
    is_empty: nothing starts anywhere (silence, or a tone that never changes).
    """

    full: FloatArray
    low: FloatArray
    high: FloatArray
    is_empty: bool


def onset_strength(log_mel: NDArray[np.float16]) -> Onsets:
    """Half-wave rectified spectral flux with a maximum filter over bands [F, M] -> [F].

    The maximum filter keeps vibrato and glides from counting as onsets (Böck & Widmer 2013).
    """
    frames = len(log_mel)
    full, low, high = (np.zeros(frames, np.float32) for _ in range(3))
    if frames > LAG_FRAMES:
        floor_db = max(float(np.percentile(log_mel.max(axis=1), 99)) - RANGE_DB, MEL_FLOOR_DB)
        for start in range(LAG_FRAMES, frames, _CHUNK_FRAMES):
            stop = min(start + _CHUNK_FRAMES, frames)
            level = np.maximum(log_mel[start - LAG_FRAMES : stop].astype(np.float32), floor_db)
            before = scipy.ndimage.maximum_filter1d(level[:-LAG_FRAMES], 3, axis=1)
            rise = np.maximum(level[LAG_FRAMES:] - before, 0.0)
            full[start:stop] = rise.mean(axis=1)
            low[start:stop] = rise[:, LOW_BANDS].mean(axis=1)
            high[start:stop] = rise[:, HIGH_BANDS].mean(axis=1)
    is_empty = float(full.max(initial=0.0)) < 0.5  # dB per lag, mean of all bands
    return Onsets(_standardise(full), _standardise(low), _standardise(high), is_empty)


def _standardise(strength: FloatArray) -> FloatArray:
    local_mean = scipy.ndimage.uniform_filter1d(strength, round(MEAN_SECONDS * MEL_RATE))
    above = np.maximum(strength - local_mean, 0.0)
    return np.asarray(above / max(float(above.std()), 1e-6), np.float32)
