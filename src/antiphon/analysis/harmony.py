"""Tuning, chords and key from fine pitch-class salience. Knows no samples and no rhythm.

Chords and keys are transposable: one linear model per quality looks at the pitch classes as seen
from each of the twelve roots, so what is fitted in one key holds in all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from antiphon.analysis.features import CHROMA_RATE, MEL_RATE, PITCH_BINS, Features
from antiphon.analysis.linear import DoubleArray, load_model, log_softmax
from antiphon.notation import ALL_KEYS

FloatArray = NDArray[np.float32]
Number = TypeVar("Number", bound=np.generic)

SEMITONE_WIDTH = 0.2  # semitones; how far from its place a peak still counts for a pitch class
CHORD_CHANGE_COST = 3.0  # nats; what a change of chord must explain
CHANGE_FRAMES = 4  # chroma frames compared before and after a moment, 0.37 s
SKIPPED_FRAMES = 2  # those whose window holds the moment itself
FLOOR_CLASS = 3
_CHUNK_ROWS = 1024
VARIETY_FRAMES = 5  # 0.47 s: longer than a vibrato's period

# Albrecht & Shanahan 2013, "The use of large corpora to train a new type of key-finding
# algorithm", table 2: how often each degree sounds, from the tonic upwards.
MAJOR_PROFILE = (0.238, 0.006, 0.111, 0.006, 0.137, 0.094, 0.016, 0.214, 0.009, 0.080, 0.008, 0.081)
MINOR_PROFILE = (0.220, 0.006, 0.104, 0.123, 0.019, 0.103, 0.012, 0.214, 0.062, 0.022, 0.061, 0.052)


@dataclass(frozen=True, eq=False)
class Chroma:
    """Pitch-class salience at CHROMA_RATE in the recording's own tuning: treble, bass [G, 12].

    cents: deviation from A4 = 440 Hz; concentration: 0..1, how closely the peaks keep to one
    tempered scale. Music stays above 0.1, speech and noise below 0.05.
    """

    treble: FloatArray
    bass: FloatArray
    cents: float
    concentration: float


def tuned_chroma(features: Features) -> Chroma:
    """Find the tuning as a circular mean and fold the fine bins into twelve pitch classes."""
    vector = features.tuning_vector.sum()
    cents = float(np.angle(vector)) / (2.0 * np.pi) * 100.0
    weight = float(features.peak_weight.sum())
    concentration = float(abs(vector)) / weight if weight > 0 else 0.0
    step = PITCH_BINS / 12
    bins = np.arange(PITCH_BINS)[:, None]
    centres = (np.arange(12) + cents / 100.0) * step
    distance = (bins - centres + PITCH_BINS / 2) % PITCH_BINS - PITCH_BINS / 2
    fold = np.exp(-0.5 * (distance / (SEMITONE_WIDTH * step)) ** 2).astype(np.float32)
    treble, bass = (
        np.concatenate([rows.astype(np.float32) @ fold for rows in _chunks(salience)])
        for salience in (features.treble, features.bass)
    )
    return Chroma(treble, bass, cents, concentration)


def pitch_class_count(chroma: Chroma) -> float:
    """How many pitch classes sound, 1..12: the exponential of their entropy above the floor.

    What the fourth weakest class has is noise: no scale fills more than nine. A tone has 1 to 2,
    its overtones with it up to 3.2; music 4.1 and more.
    """
    mean = chroma.treble.mean(axis=0, dtype=float)
    above = np.maximum(mean - np.sort(mean)[FLOOR_CLASS], 0.0)
    share = above / max(float(above.sum()), 1e-12)
    return float(np.exp(-(share * np.log(np.maximum(share, 1e-12))).sum()))


def variety(chroma: Chroma) -> float:
    """Mean distance, 1 - cosine, of half-second pitch classes from those of the whole, 0..1.

    A single sound that is held or repeated, whatever its overtones and the noise around it, has
    0.02 and less; music 0.06 and more, one-chord vamps too.
    """
    rows = chroma.treble.astype(float)
    rows = np.maximum(rows - np.median(rows, axis=1, keepdims=True), 0.0)  # the noise of a moment
    mean = _unit(rows.mean(axis=0))
    rows = scipy.ndimage.uniform_filter1d(rows, VARIETY_FRAMES, axis=0)
    salience = float(np.linalg.norm(rows, axis=1).sum())
    return 1.0 - float((rows @ mean).sum()) / salience if salience > 0 else 0.0


class HarmonicChange:
    """How different the pitch classes are after a moment from those before, 0..1."""

    def __init__(self, chroma: Chroma) -> None:
        unit = chroma.treble / (np.linalg.norm(chroma.treble, axis=1, keepdims=True) + 1e-3)
        self._sums = np.concatenate([np.zeros((1, 12)), np.cumsum(unit, axis=0, dtype=float)])

    def at(self, mel_frames: DoubleArray) -> DoubleArray:
        """1 - cosine between the chroma before and after each of `mel_frames` [N]."""
        frame = np.round(mel_frames * (CHROMA_RATE / MEL_RATE)).astype(np.intp)
        before = self._mean(frame - 1 - CHANGE_FRAMES, frame - 1)
        after = self._mean(frame + SKIPPED_FRAMES, frame + SKIPPED_FRAMES + CHANGE_FRAMES)
        return np.asarray(1.0 - (before * after).sum(axis=1))

    def _mean(self, start: NDArray[np.intp], stop: NDArray[np.intp]) -> DoubleArray:
        last = len(self._sums) - 1
        total = self._sums[np.clip(stop, 0, last)] - self._sums[np.clip(start, 0, last)]
        return np.asarray(total / (np.linalg.norm(total, axis=1, keepdims=True) + 1e-3))


def mean_between(
    rows: NDArray[np.floating], rate: float, times_seconds: DoubleArray
) -> DoubleArray:
    """Mean of rows [G, D] between consecutive times [N + 1] -> [N, D]; row g is at g / rate s."""
    first = np.zeros((1, rows.shape[1]))
    sums = np.concatenate([first, np.cumsum(rows, axis=0, dtype=np.float64)])
    position = np.clip(times_seconds * rate + 0.5, 0, len(rows))
    whole = np.floor(position).astype(np.intp)
    after = np.minimum(whole + 1, len(sums) - 1)
    integral = sums[whole] + (position - whole)[:, None] * (sums[after] - sums[whole])
    width = np.maximum(np.diff(position), 1e-3)[:, None]
    return np.asarray(np.diff(integral, axis=0) / width)


@dataclass(frozen=True, eq=False)
class ChordPath:
    """One chord per segment. `states` [N]: root + 12 * (minor); `probabilities` [N, 24];
    treble, bass [N, 12]: the segments' unit chroma."""

    states: NDArray[np.intp]
    probabilities: DoubleArray
    treble: DoubleArray
    bass: DoubleArray

    @property
    def confidence(self) -> float:
        """Mean probability of the chosen chords."""
        return float(self.probabilities[np.arange(len(self.states)), self.states].mean())


def chord_path(chroma: Chroma, times_seconds: DoubleArray) -> ChordPath:
    """The likeliest major or minor triad of each segment between `times_seconds` [N + 1]."""
    treble, bass = segment_chroma(chroma, times_seconds)
    log_probabilities = np.concatenate(
        [
            chord_log_probabilities(chord_evidence(*rows))
            for rows in zip(_chunks(treble), _chunks(bass), strict=True)
        ]
    )
    states = _smoothest_path(log_probabilities, CHORD_CHANGE_COST)
    return ChordPath(states, np.exp(log_probabilities), treble, bass)


def segment_chroma(chroma: Chroma, times_seconds: DoubleArray) -> tuple[DoubleArray, DoubleArray]:
    """Unit treble and bass chroma [N, 12] of the segments between `times_seconds` [N + 1]."""
    treble, bass = (
        _unit(mean_between(rows, CHROMA_RATE, times_seconds))
        for rows in (chroma.treble, chroma.bass)
    )
    return treble, bass


def chord_evidence(treble: DoubleArray, bass: DoubleArray) -> DoubleArray:
    """Unit chroma [N, 12] twice -> the same as seen from each root [N, 12 roots, 24 and a 1]."""
    seen = [
        np.concatenate([np.roll(treble, -root, axis=1), np.roll(bass, -root, axis=1)], axis=1)
        for root in range(12)
    ]
    evidence = np.stack(seen, axis=1)
    return np.concatenate([evidence, np.ones((*evidence.shape[:2], 1))], axis=2)


def chord_log_probabilities(evidence: DoubleArray) -> DoubleArray:
    """[N, 12, 25] -> [N, 24], major roots first."""
    scores = load_model("chord").score(evidence)  # [N, 12, 2]
    return log_softmax(scores.transpose(0, 2, 1).reshape(len(scores), 24))


def key_probabilities(chroma: Chroma, chords: ChordPath) -> DoubleArray:
    """Probability of each of ALL_KEYS [24]."""
    scores = load_model("key").score(key_evidence(chroma, chords))  # [12, 2]
    return np.asarray(np.exp(log_softmax(scores.T.reshape(24))))


def key_evidence(chroma: Chroma, chords: ChordPath) -> DoubleArray:
    """What speaks for each tonic [12, D]; the same numbers rotated, so all keys are judged alike.

    Mean treble and bass chroma, how long each chord sounds, the chords at the start and the end,
    the correlation with both key profiles, and a 1.
    """
    treble, bass = (_unit(rows.mean(axis=0, dtype=float)) for rows in (chroma.treble, chroma.bass))
    held = np.bincount(chords.states, minlength=24) / len(chords.states)
    first = np.bincount(chords.states[:4], minlength=24) / len(chords.states[:4])
    last = np.bincount(chords.states[-4:], minlength=24) / len(chords.states[-4:])
    rows = []
    for tonic in range(12):
        profile_fit = [
            _correlation(np.roll(treble, -tonic), np.array(profile))
            for profile in (MAJOR_PROFILE, MINOR_PROFILE)
        ]
        turned = [
            np.roll(part.reshape(-1, 12), -tonic, axis=1).ravel()
            for part in (treble, bass, held, first, last)
        ]
        rows.append(np.concatenate([*turned, profile_fit, [1.0]]))
    return np.array(rows)


def key_names_by_probability(probabilities: DoubleArray) -> list[tuple[str, float]]:
    """Keys with their probabilities, likeliest first."""
    order = np.argsort(-probabilities)
    return [(ALL_KEYS[index].name, float(probabilities[index])) for index in order]


def _smoothest_path(log_probabilities: DoubleArray, change_cost: float) -> NDArray[np.intp]:
    """Viterbi where staying is free and every change costs the same."""
    count, states = log_probabilities.shape
    score = log_probabilities[0]
    came_from = np.zeros((count, states), np.intp)
    own = np.arange(states)
    for step in range(1, count):
        best = int(score.argmax())
        stays = score >= score[best] - change_cost
        came_from[step] = np.where(stays, own, best)
        score = np.maximum(score, score[best] - change_cost) + log_probabilities[step]
    path = np.empty(count, np.intp)
    path[-1] = int(score.argmax())
    for step in range(count - 1, 0, -1):
        path[step - 1] = came_from[step, path[step]]
    return path


def _chunks(rows: NDArray[Number]) -> Iterator[NDArray[Number]]:
    """`rows` piece by piece, so that what is computed from them stays small for hours of sound."""
    yield rows[:_CHUNK_ROWS]
    for start in range(_CHUNK_ROWS, len(rows), _CHUNK_ROWS):
        yield rows[start : start + _CHUNK_ROWS]


def _unit(rows: DoubleArray) -> DoubleArray:
    return np.asarray(rows / (np.linalg.norm(rows, axis=-1, keepdims=True) + 1e-3))


def _correlation(a: DoubleArray, b: DoubleArray) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float((a @ b) / (np.sqrt((a @ a) * (b @ b)) + 1e-12))
