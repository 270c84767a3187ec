"""Features to onset strength: how much starts at each moment. Knows no tempo."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from antiphon.analysis.features import MEL_FLOOR_DB, MEL_RATE, NOTE_RATE, Features

FloatArray = NDArray[np.float32]

RANGE_DB = 60.0  # below the loudest frames; what starts deeper down is noise or reverb
SOUNDING_DB = 45.0  # below the loud frames; beyond, a listener hears the tail of what has ended
SOUNDING_REACH_SECONDS = 0.25
LAG_FRAMES = 2  # 23 ms: half the window, so that a hit is not compared with its own rise
MEAN_SECONDS = 1.0
LOW_BANDS = slice(0, 4)  # to about 200 Hz: kick and bass
HIGH_BANDS = slice(28, 40)  # from about 4.5 kHz: snare wires and cymbals
# Mean over bands. The sixth largest of 20 s is 0.7 dB in slow pads, 1 dB in soft choirs, above 3 dB
# with drums; held chords ripple by 0.3 dB, with some hiss by 0.55 dB.
MIN_RISE_DB = 0.6
MIN_GAP_FRAMES = 8  # 93 ms between two that are counted
NOTE_WEIGHT = 1.5  # of note onsets against struck ones; chorales need 1 and more
REACH_FRAMES = 2  # an onset this near counts for a beat
_CHUNK_FRAMES = 20_000


@dataclass(frozen=True, eq=False)
class Envelope:
    """Onset strength [F] at MEL_RATE: at least 0, standard deviation 1, local mean taken off."""

    strength: FloatArray
    nearby: FloatArray  # the largest strength within REACH_FRAMES

    def at(self, frames: NDArray[np.floating]) -> FloatArray:
        """The largest strength near each of `frames` [N] (real frame numbers)."""
        index = np.clip(np.round(frames).astype(np.intp), 0, len(self.nearby) - 1)
        return self.nearby[index]

    def peaks_per_second(self, threshold: float) -> float:
        """How many local maxima above `threshold` there are in a second."""
        is_peak = (self.strength == self.nearby) & (self.strength > threshold)
        return float(np.count_nonzero(is_peak)) / len(self.strength) * MEL_RATE


@dataclass(frozen=True, eq=False)
class Onsets:
    """Onset strength of everything, of notes, of kick and bass, of snare wires and cymbals."""

    full: Envelope
    notes: Envelope
    low: Envelope
    high: Envelope
    count: int  # of those that a listener could point at; a sound that never changes has one


def onset_strength(features: Features) -> Onsets:
    """Half-wave rectified spectral flux in mel bands, with a maximum filter over bands that keeps
    vibrato from counting as onsets (Böck & Widmer 2013), and in narrow bands for soft notes."""
    log_mel = features.log_mel
    frames = len(log_mel)
    struck, low, high = (np.zeros(frames, np.float32) for _ in range(3))
    floor_db = loudness_floor_db(log_mel)
    for start in range(LAG_FRAMES, frames, _CHUNK_FRAMES):
        stop = min(start + _CHUNK_FRAMES, frames)
        level = np.maximum(log_mel[start - LAG_FRAMES : stop].astype(np.float32), floor_db)
        before = scipy.ndimage.maximum_filter1d(level[:-LAG_FRAMES], 3, axis=1)
        rise = np.maximum(level[LAG_FRAMES:] - before, 0.0)  # [n, M] dB in 23 ms
        struck[start:stop] = rise.mean(axis=1)
        low[start:stop] = rise[:, LOW_BANDS].mean(axis=1)
        high[start:stop] = rise[:, HIGH_BANDS].mean(axis=1)
    note_times = np.arange(len(features.note_rise)) / NOTE_RATE
    note_rise = np.interp(np.arange(frames) / MEL_RATE, note_times, features.note_rise)
    struck_strength, notes = _strength(struck), _strength(note_rise.astype(np.float32))
    return Onsets(
        full=_envelope(_unit_deviation(struck_strength + NOTE_WEIGHT * notes)),
        notes=_envelope(notes),
        low=_envelope(_strength(low)),
        high=_envelope(_strength(high)),
        count=_count(struck),
    )


def loudness_floor_db(log_mel: NDArray[np.float16]) -> float:
    """RANGE_DB below the loud frames: the level under which nothing is taken for music."""
    if not len(log_mel):
        return MEL_FLOOR_DB
    loud_db = float(np.percentile(log_mel.max(axis=1).astype(np.float32), 99))
    return max(loud_db - RANGE_DB, MEL_FLOOR_DB)


def sounding(log_mel: NDArray[np.float16]) -> NDArray[np.bool_]:
    """Which frames [F] have music in them or a quarter of a second away."""
    loudest = log_mel.max(axis=1).astype(np.float32)
    is_loud = loudest > float(np.percentile(loudest, 99)) - SOUNDING_DB
    reach = 2 * round(SOUNDING_REACH_SECONDS * MEL_RATE) + 1
    return np.asarray(scipy.ndimage.maximum_filter1d(is_loud, reach))


def _count(rise_db: FloatArray) -> int:
    largest_near = scipy.ndimage.maximum_filter1d(rise_db, 2 * MIN_GAP_FRAMES + 1)
    return int(np.count_nonzero((rise_db == largest_near) & (rise_db >= MIN_RISE_DB)))


def _strength(rise: FloatArray) -> FloatArray:
    """What exceeds the local mean, at standard deviation 1."""
    local_mean = scipy.ndimage.uniform_filter1d(rise, round(MEAN_SECONDS * MEL_RATE))
    return _unit_deviation(np.maximum(rise - local_mean, 0.0))


def _unit_deviation(values: FloatArray) -> FloatArray:
    return np.asarray(values / max(float(values.std()), 1e-6), np.float32)


def _envelope(strength: FloatArray) -> Envelope:
    return Envelope(strength, scipy.ndimage.maximum_filter1d(strength, 2 * REACH_FRAMES + 1))
