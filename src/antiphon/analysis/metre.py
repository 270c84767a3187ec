"""Beats to bars: how many beats each has, and which beat is the first. Knows no samples.

For every hypothesis (three or four beats, and each phase) the mean of what happens on beat one,
two, three is looked at by a fitted linear model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from antiphon.analysis.features import MEL_RATE
from antiphon.analysis.harmony import ChordPath
from antiphon.analysis.linear import DoubleArray, load_model, log_softmax
from antiphon.analysis.onsets import Onsets

Number = TypeVar("Number", bound=np.generic)

HYPOTHESES = tuple((beats, phase) for beats in (3, 4) for phase in range(beats))
RECURRENCE_BEATS = (2, 3, 4, 6, 8)
MIN_BEATS = 8


@dataclass(frozen=True)
class Bars:
    """`downbeat` is the index of the first beat that begins a bar."""

    beats_per_bar: int
    downbeat: int
    metre_confidence: float
    downbeat_confidence: float


def find_bars(beat_frames: DoubleArray, onsets: Onsets, chords: ChordPath) -> Bars | None:
    """The likeliest bars for beats [N] whose segments have `chords` [N], None for too few beats."""
    if len(beat_frames) < MIN_BEATS:
        return None
    evidence = metre_evidence(beat_events(beat_frames, onsets, chords))
    probabilities = np.exp(log_softmax(load_model("metre").score(evidence)))
    chosen = int(probabilities.argmax())
    beats_per_bar, downbeat = HYPOTHESES[chosen]
    same_metre = [h[0] == beats_per_bar for h in HYPOTHESES]
    return Bars(
        beats_per_bar,
        downbeat,
        float(probabilities[same_metre].sum()),
        float(probabilities[chosen]),
    )


def beat_events(beat_frames: DoubleArray, onsets: Onsets, chords: ChordPath) -> DoubleArray:
    """What happens at each beat [N, 7]: onsets (all, low, high), chord change, change of treble,
    of bass and of chord probabilities."""
    changes = [
        (chords.states[1:] != chords.states[:-1]).astype(float),
        1.0 - (chords.treble[1:] * chords.treble[:-1]).sum(axis=1),
        1.0 - (chords.bass[1:] * chords.bass[:-1]).sum(axis=1),
        np.abs(np.diff(chords.probabilities, axis=0)).sum(axis=1) / 2.0,
    ]
    envelopes = (onsets.full, onsets.low, onsets.high)
    return np.stack(
        [envelope.at(beat_frames).astype(float) for envelope in envelopes]
        + [np.concatenate([[0.0], change]) for change in changes],
        axis=1,
    )


def metre_evidence(events: DoubleArray) -> DoubleArray:
    """Events [N, E] to what speaks for each of HYPOTHESES [7, D].

    Per event its mean on beats one and two (of three), or one, two and three (of four), each with
    weights of its own; and how events recur after some beats, which only tells three from four.
    """
    events = (events - events.mean(axis=0)) / (events.std(axis=0) + 0.05)
    width = events.shape[1]
    recurrence = np.array([_recurrence(events, beats) for beats in RECURRENCE_BEATS])
    rows = []
    for beats_per_bar, phase in HYPOTHESES:
        profile = np.array(
            # A phase counted round: beats before the first downbeat end the bar in front of it.
            [
                _mean(events[(phase + beat) % beats_per_bar :: beats_per_bar], width)
                for beat in range(beats_per_bar)
            ]
        )
        three, four = np.zeros((2, width)), np.zeros((3, width))
        if beats_per_bar == 3:
            three = profile[:2]
        else:
            four = profile[:3]
        is_four = float(beats_per_bar == 4)
        rows.append(
            np.concatenate([three.ravel(), four.ravel(), is_four * recurrence.ravel(), [is_four]])
        )
    return np.array(rows)


def downbeats(beats: NDArray[Number], bars: Bars) -> NDArray[Number]:
    """Of a row with an entry for each beat, those of the beats that begin a bar."""
    return beats[bars.downbeat :: bars.beats_per_bar]


def bar_lines_seconds(beat_frames: DoubleArray, bars: Bars, end_seconds: float) -> DoubleArray:
    """Start of every bar and the end of the last one, from 0 to `end_seconds`.

    What comes before the first downbeat and after the last whole bar joins its neighbour when it
    is shorter than half a bar, else it is a bar of its own.
    """
    lines = downbeats(beat_frames, bars) / MEL_RATE
    if len(lines) < 2:
        return np.array([0.0, end_seconds])
    bar_seconds = float(np.median(np.diff(lines)))
    head = [0.0] if lines[0] > bar_seconds / 2 else []
    while end_seconds - lines[-1] > 1.5 * bar_seconds:
        lines = np.append(lines, lines[-1] + bar_seconds)
    if end_seconds - lines[-1] > bar_seconds / 2:
        lines = np.append(lines, end_seconds)
    lines[-1] = end_seconds
    if not head:
        lines[0] = 0.0
    return np.concatenate([head, lines])


def _mean(rows: DoubleArray, width: int) -> DoubleArray:
    return rows.mean(axis=0) if len(rows) else np.zeros(width)


def _recurrence(events: DoubleArray, beats: int) -> DoubleArray:
    if len(events) <= beats:
        return np.zeros(events.shape[1])
    return np.asarray((events[beats:] * events[:-beats]).mean(axis=0))
