"""Onset strength to tempo and beats. Knows no bars and no sound.

A comb over the autocorrelation finds a period that fits; beats are tracked at it and at its 2:3
relatives; every metrical level of those (halves, doubles, thirds, triples) becomes a candidate,
and a fitted linear model says which of them is the beat.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.fft
import scipy.ndimage
from numpy.typing import NDArray

from antiphon.analysis.features import MEL_RATE
from antiphon.analysis.harmony import HarmonicChange
from antiphon.analysis.linear import DoubleArray, load_model, log_softmax
from antiphon.analysis.onsets import Onsets

FloatArray = NDArray[np.float32]

MIN_BPM, MAX_BPM = 38.0, 245.0
MIN_BEATS = 6

WINDOW_SECONDS = 12.0  # of the autocorrelation: three bars of a slow 4/4
PRIOR_BPM, PRIOR_OCTAVES = 110.0, 0.9  # where the comb looks first; the level is chosen later
COMB_WEIGHTS = (1.0, 0.5, 0.33, 0.25)
TIGHTNESS = 800.0  # penalty on squared log deviation from the period (Ellis 2007)

# A 3-3-2 rhythm pulls the comb to one and a half beats, a run of sixteenths to three of them.
RELATIVES = (2.0 / 3.0, 1.5, 0.75, 4.0 / 3.0)
RELATIVE_COMB = 0.3  # of the best; keeps the truth in 98.5 of 100 pieces, all of them in 99
LEVELS = ((1, 3), (1, 2), (1, 1), (2, 1), (3, 1))  # beats per tracked beat, as a fraction
SAME_TEMPO = 0.03
NEAR_BEATS = 0.1  # of a period: how far from a chosen beat its onset may lie (deviation)


@dataclass(frozen=True, eq=False)
class BeatCandidate:
    """A possible beat: its frames [N], its tempo and what speaks for it (see `_evidence`)."""

    frames: DoubleArray
    bpm: float
    evidence: DoubleArray  # [D]


@dataclass(frozen=True, eq=False)
class Pulse:
    """The chosen beat and its rivals.

    tempo_probability: of the chosen tempo, whatever its phase; phase_probability: of these beats
    among those of that tempo; rivals: other tempi with their probabilities, likeliest first.
    clarity: autocorrelation of the onsets at the beat or the bar, 1 for a perfect repetition.
    """

    beat_frames: DoubleArray
    bpm: float
    tempo_probability: float
    phase_probability: float
    rivals: tuple[tuple[float, float], ...]
    clarity: float


def find_pulse(onsets: Onsets, change: HarmonicChange) -> Pulse | None:
    """The beat and its rivals, or None where fewer than MIN_BEATS beats can be placed."""
    autocorrelation = onset_autocorrelation(onsets.full.strength)
    candidates = beat_candidates(onsets, change, autocorrelation)
    if not candidates:
        return None
    scores = load_model("tempo").score(np.array([c.evidence for c in candidates]))
    probabilities = np.exp(log_softmax(scores))
    chosen = candidates[int(probabilities.argmax())]
    beats = _follow(chosen, onsets)
    by_tempo: list[list[float]] = []  # [BPM, probability], likeliest first
    for index in np.argsort(-probabilities):
        bpm, probability = candidates[index].bpm, float(probabilities[index])
        known = next((t for t in by_tempo if abs(t[0] / bpm - 1.0) <= SAME_TEMPO), None)
        if known is None:
            by_tempo.append([bpm, probability])
        else:
            known[1] += probability
    (_, tempo_probability), *rivals = by_tempo
    lags = np.array([1.0, 2.0, 4.0]) * 60.0 * MEL_RATE / chosen.bpm
    return Pulse(
        beats,
        _tempo_of(beats),
        tempo_probability,
        float(probabilities.max()) / tempo_probability,
        tuple((bpm, probability) for bpm, probability in sorted(rivals, key=lambda r: -r[1])),
        float(np.interp(lags, np.arange(len(autocorrelation)), autocorrelation).max()),
    )


def beat_candidates(
    onsets: Onsets, change: HarmonicChange, autocorrelation: DoubleArray
) -> list[BeatCandidate]:
    """Every metrical level and phase that the tracked beats suggest."""
    found: list[BeatCandidate] = []
    events_per_second = (
        onsets.full.peaks_per_second(0.8),
        onsets.low.peaks_per_second(1.0),
        onsets.high.peaks_per_second(1.0),
    )
    for comb_bpm in _comb_tempi(autocorrelation):
        tracked = track_beats(onsets.full.strength, 60.0 * MEL_RATE / comb_bpm)
        known_bpm = [candidate.bpm for candidate in found]
        for times, per in LEVELS:
            for beats in _at_level(tracked, times, per, onsets):
                if len(beats) < MIN_BEATS:
                    continue
                bpm = _tempo_of(beats)
                known = any(abs(bpm / other - 1.0) <= SAME_TEMPO for other in known_bpm)
                if MIN_BPM <= bpm <= MAX_BPM and not known:
                    evidence = _evidence(
                        beats, bpm, onsets, change, autocorrelation, events_per_second
                    )
                    found.append(BeatCandidate(beats, bpm, evidence))
    return found


def track_beats(strength: FloatArray, period_frames: float) -> DoubleArray:
    """Beat frames [N] by dynamic programming (Ellis 2007) at a period in frames.

    A beat's predecessor is at least half a period back, so half a period of frames is solved at
    once: a thirtieth of the time of a loop over frames.
    """
    shortest, longest = max(1, round(period_frames / 2)), round(2 * period_frames)
    lags = np.arange(longest, shortest - 1, -1)
    penalty = (-TIGHTNESS * np.log(lags / period_frames) ** 2).astype(np.float32)
    reach = np.arange(-round(period_frames), round(period_frames) + 1)
    bell = np.exp(-0.5 * (reach * 32.0 / period_frames) ** 2)
    local = np.convolve(strength, bell, "same").astype(np.float32)
    frames = len(strength)
    if len(local) != frames:  # `same` follows the longer input
        return np.empty(0)
    best = np.zeros(frames + longest, np.float32)  # best[longest + t]: best score ending at t
    previous = np.full(frames, -1, np.intp)
    # A view, so it shows what the loop writes; row t holds the scores of t's predecessors.
    reachable = np.lib.stride_tricks.sliding_window_view(best, len(lags))
    for start in range(0, frames, shortest):
        count = min(shortest, frames - start)
        scores = reachable[start : start + count] + penalty  # [count, lags]
        choice = scores.argmax(axis=1)
        best[longest + start : longest + start + count] = (
            local[start : start + count] + scores[np.arange(count), choice]
        )
        previous[start : start + count] = np.arange(start, start + count) - lags[choice]
    tail = max(0, frames - round(period_frames))
    frame = tail + int(best[longest + tail :].argmax())
    beats = [frame]
    while previous[frame] >= 0:
        frame = int(previous[frame])
        beats.append(frame)
    return np.array(beats[::-1], float)


def refine_beats(beats: DoubleArray, strength: FloatArray) -> DoubleArray:
    """Move each beat to the vertex of the onset peak it sits on, at most one frame away."""
    inner = np.clip(beats.astype(np.intp), 1, len(strength) - 2)
    left, centre, right = (strength[inner + shift].astype(float) for shift in (-1, 0, 1))
    curve = left - 2.0 * centre + right
    is_peak = (curve < -1e-3) & (centre >= left) & (centre >= right)
    offset = np.where(is_peak, 0.5 * (left - right) / np.where(is_peak, curve, -1.0), 0.0)
    return np.asarray(beats + np.clip(offset, -0.5, 0.5))


def onset_autocorrelation(strength: FloatArray) -> DoubleArray:
    """Mean normalised autocorrelation over half-overlapping windows, indexed by lag in frames."""
    window = round(WINDOW_SECONDS * MEL_RATE)
    padded = np.pad(strength, (0, max(0, window - len(strength))))
    views = np.lib.stride_tricks.sliding_window_view(padded, window)[:: window // 2]
    total = np.zeros(window)
    for view in views:
        spectrum = scipy.fft.rfft(view - view.mean(), 2 * window)
        correlation = scipy.fft.irfft(np.abs(spectrum) ** 2)[:window]
        total += correlation / (correlation[0] + 1e-9)
    unbiased = 1.0 - 0.999 * np.arange(window) / window
    return np.asarray(total / len(views) / unbiased)


def _comb_tempi(autocorrelation: DoubleArray) -> list[float]:
    """The tempo whose multiples of the period recur most, and those RELATIVES of it that do too."""
    bpm = np.geomspace(MIN_BPM, MAX_BPM, 1500)
    lag = 60.0 * MEL_RATE / bpm
    frames = np.arange(len(autocorrelation))
    comb = np.zeros(len(bpm))
    for times, weight in enumerate(COMB_WEIGHTS, start=1):
        comb += weight * np.interp(times * lag, frames, autocorrelation)
    prior = np.exp(-0.5 * (np.log2(bpm / PRIOR_BPM) / PRIOR_OCTAVES) ** 2)
    best = int((np.maximum(comb, 0.0) * prior).argmax())
    tempi = [float(bpm[best])]
    for relative in RELATIVES:
        near = np.abs(bpm / (bpm[best] * relative) - 1.0) < SAME_TEMPO
        if near.any() and comb[near].max() >= RELATIVE_COMB * comb[best]:
            tempi.append(float(bpm[best] * relative))
    return tempi


def _at_level(tracked: DoubleArray, times: int, per: int, onsets: Onsets) -> Iterator[DoubleArray]:
    """The tracked beats thinned to one in `per` (at the strongest phase) or split in `times`, and
    the same half a beat later: off-beats are often louder than beats."""
    if times > 1 and len(tracked) > 1:
        index = np.arange((len(tracked) - 1) * times + 1) / times
        beats = np.interp(index, np.arange(len(tracked)), tracked)
    else:
        phases = [tracked[phase::per] for phase in range(min(per, len(tracked)))]
        beats = max(
            phases,
            key=lambda frames: float((onsets.full.at(frames) + onsets.low.at(frames)).mean()),
        )
    yield beats
    yield (beats[:-1] + beats[1:]) / 2.0


def _follow(candidate: BeatCandidate, onsets: Onsets) -> DoubleArray:
    """Track once more at the candidate's tempo, hearing only what lies near its beats."""
    strength = onsets.full.strength
    period = 60.0 * MEL_RATE / candidate.bpm
    inside = candidate.frames[(candidate.frames >= 0) & (candidate.frames < len(strength))]
    near = np.zeros(len(strength), np.float32)
    near[np.round(inside).astype(np.intp).clip(0, len(strength) - 1)] = 1.0
    near = scipy.ndimage.gaussian_filter1d(near, NEAR_BEATS * period)
    near /= max(float(near.max()), 1e-9)
    return refine_beats(track_beats(strength * near, period), strength)


def _tempo_of(beats: DoubleArray) -> float:
    """BPM by a straight line through the beats."""
    slope = np.polyfit(np.arange(len(beats)), beats, 1)[0]
    return float(60.0 * MEL_RATE / slope)


def _evidence(
    beats: DoubleArray,
    bpm: float,
    onsets: Onsets,
    change: HarmonicChange,
    autocorrelation: DoubleArray,
    events_per_second: tuple[float, float, float],
) -> DoubleArray:
    """What tells the beat from its multiples [D]; the order is that of the fitted weights."""
    steps = np.diff(beats)
    on_beat, half, thirds, quarters = (
        np.concatenate([beats[:-1] + share * steps for share in shares])
        for shares in ((0.0,), (1 / 2,), (1 / 3, 2 / 3), (1 / 4, 3 / 4))
    )
    octaves = float(np.log2(bpm / PRIOR_BPM))
    evidence = [octaves, octaves**2]
    for envelope in (onsets.full, onsets.notes, onsets.low, onsets.high):
        strength, between = envelope.at(on_beat), envelope.at(half)
        evidence += [_log(strength.mean()), _log(between.mean())]
        evidence += [_log(_bar_mean(strength)), _log(_bar_mean(between))]
        evidence += [_recurrence(strength, 1), _recurrence(strength, 2)]
    strength = onsets.full.at(on_beat)
    evidence += [_recurrence(strength, 3), _recurrence(strength, 4)]
    evidence += [_log(onsets.full.at(frames).mean()) for frames in (thirds, quarters)]
    evidence += [_log(rate * 60.0 / bpm) for rate in events_per_second]
    for frames in (on_beat, half):
        changed = change.at(frames)
        evidence += [_log(changed.mean(), 0.02), _log(_bar_mean(changed), 0.02)]
    lags = np.array([0.5, 1.0, 2.0, 3.0, 4.0, 8.0]) * 60.0 * MEL_RATE / bpm
    evidence += np.interp(lags, np.arange(len(autocorrelation)), autocorrelation).tolist()
    return np.array(evidence)


def _bar_mean(values: NDArray[np.floating]) -> float:
    """Mean over every third or fourth beat, whichever and wherever it is largest: what a downbeat
    would have."""
    place = np.arange(len(values)) % 12  # holds both the place in three and the place in four
    sums, counts = np.bincount(place, values, 12), np.bincount(place, minlength=12)
    return max(
        float((sums.reshape(-1, beats).sum(axis=0) / counts.reshape(-1, beats).sum(axis=0)).max())
        for beats in (3, 4)
    )


def _log(value: float | np.floating, floor: float = 0.1) -> float:
    return float(np.log(value + floor))


def _recurrence(values: FloatArray, beats: int) -> float:
    """Correlation of a beat's strength with that of the beat `beats` later."""
    if len(values) < beats + 3:
        return 0.0
    centred = values - values.mean()
    return float((centred[:-beats] * centred[beats:]).mean() / ((centred**2).mean() + 1e-6))
