"""Bars of plain band music whose beats are known: how many beats, and which is the first."""

from __future__ import annotations

import itertools
from functools import lru_cache

import numpy as np
import pytest
from sounds import beat_times, features_of, groove

from antiphon.analysis.features import MEL_RATE
from antiphon.analysis.harmony import ChordPath, chord_path, tuned_chroma
from antiphon.analysis.metre import (
    HYPOTHESES,
    MIN_BEATS,
    RECURRENCE_BEATS,
    Bars,
    bar_lines_seconds,
    beat_events,
    downbeats,
    find_bars,
    metre_evidence,
)
from antiphon.analysis.onsets import Onsets, onset_strength

pytestmark = pytest.mark.unit


@lru_cache
def heard(beats_per_bar: int, bpm: float) -> tuple[np.ndarray, Onsets, ChordPath]:
    """True beat frames of 16 s, onsets, and a chord for each beat."""
    times = beat_times(bpm, 16.0)
    features = features_of(groove(times, 16.0, beats_per_bar))
    path = chord_path(tuned_chroma(features), np.append(times, 16.0))
    return times * MEL_RATE, onset_strength(features), path


def without_first(path: ChordPath, count: int) -> ChordPath:
    return ChordPath(
        path.states[count:], path.probabilities[count:], path.treble[count:], path.bass[count:]
    )


@pytest.mark.parametrize("beats_per_bar", [3, 4])
@pytest.mark.parametrize("bpm", [80.0, 120.0, 170.0])
def test_bars_of_a_plain_band(beats_per_bar: int, bpm: float) -> None:
    beats, onsets, path = heard(beats_per_bar, bpm)
    bars = find_bars(beats, onsets, path)
    assert bars is not None
    assert (bars.beats_per_bar, bars.downbeat) == (beats_per_bar, 0)
    assert 0.5 < bars.downbeat_confidence <= bars.metre_confidence <= 1.0


@pytest.mark.parametrize(("beats_per_bar", "left_out"), [(3, 1), (3, 2), (4, 1), (4, 2), (4, 3)])
def test_a_pick_up_moves_the_first_downbeat(beats_per_bar: int, left_out: int) -> None:
    beats, onsets, path = heard(beats_per_bar, 120.0)
    bars = find_bars(beats[left_out:], onsets, without_first(path, left_out))
    assert bars is not None
    assert bars.beats_per_bar == beats_per_bar
    assert bars.downbeat == beats_per_bar - left_out
    first = downbeats(beats[left_out:], bars)[0]
    assert first == pytest.approx(beats[beats_per_bar])


def test_too_few_beats_are_no_bars() -> None:
    beats, onsets, path = heard(4, 120.0)
    spare = len(beats) - MIN_BEATS
    assert find_bars(beats[spare:], onsets, without_first(path, spare)) is not None
    assert find_bars(beats[spare + 1 :], onsets, without_first(path, spare + 1)) is None


def test_evidence_is_a_row_for_each_hypothesis_and_sees_no_gain() -> None:
    events = np.random.default_rng(0).random((40, 7)) * 3
    evidence = metre_evidence(events)
    assert evidence.shape[0] == len(HYPOTHESES)
    assert HYPOTHESES == ((3, 0), (3, 1), (3, 2), (4, 0), (4, 1), (4, 2), (4, 3))
    np.testing.assert_allclose(metre_evidence(events * 1e3 + 5.0), evidence, atol=0.3)


def test_what_happens_at_a_beat() -> None:
    """In the plain band: onsets everywhere, kick and a new chord on the first of four."""
    beats, onsets, path = heard(4, 120.0)
    full, low, high, chord_change, treble, bass, probability = beat_events(beats, onsets, path).T
    assert full.min() > 1.0
    assert low[::4].min() > 2 * low[1::4].max()
    assert high[1::2].min() > high[::4].max()  # the snare
    # Every bar has a root of its own.
    assert chord_change.tolist() == [
        float(beat > 0 and beat % 4 == 0) for beat in range(len(beats))
    ]
    for change in (treble, bass, probability):
        assert change[0] == 0.0
        assert change[4::4].min() > 5 * change[1:4].max()


def test_what_recurs_after_four_beats_speaks_for_four() -> None:
    events = np.zeros((48, 7))
    events[::4, 2] = 1.0
    evidence = metre_evidence(events)
    recurrence = evidence[:, 5 * 7 : 10 * 7].reshape(7, len(RECURRENCE_BEATS), 7)
    assert not recurrence[:3].any()  # the hypotheses of three
    for row in recurrence[3:]:
        assert row[RECURRENCE_BEATS.index(4), 2] > 0.7
        assert row[RECURRENCE_BEATS.index(8), 2] > 0.7
        assert row[RECURRENCE_BEATS.index(3), 2] < 0.0


@pytest.mark.parametrize("beats_per_bar", [3, 4])
def test_evidence_of_a_phase_is_that_of_the_next_when_all_happens_a_beat_later(
    beats_per_bar: int,
) -> None:
    """Turned round, so that the bars fill the beats exactly and nothing is lost at the ends."""
    events = np.random.default_rng(1).random((48, 7))
    rows, later = metre_evidence(events), metre_evidence(np.roll(events, 1, axis=0))
    profile = slice(0, 5 * 7)  # what recurs after some beats does change at the seam
    for index, (beats, phase) in enumerate(HYPOTHESES):
        if beats == beats_per_bar:
            moved = HYPOTHESES.index((beats, (phase + 1) % beats))
            np.testing.assert_allclose(later[moved, profile], rows[index, profile], atol=1e-9)


def lines(first: float, bar_seconds: float, bars: int, end: float) -> np.ndarray:
    """Bar lines of `bars` whole bars of four beats from `first`."""
    beats = (first + bar_seconds / 4 * np.arange(4 * bars)) * MEL_RATE
    return bar_lines_seconds(beats, Bars(4, 0, 1.0, 1.0), end)


def test_bar_lines_of_whole_bars() -> None:
    assert lines(0.0, 2.0, 4, 8.0) == pytest.approx([0, 2, 4, 6, 8])


def test_a_short_head_and_tail_join_their_neighbours() -> None:
    assert lines(0.5, 2.0, 4, 9.0) == pytest.approx([0, 2.5, 4.5, 6.5, 9.0])


def test_a_long_head_and_tail_are_bars_of_their_own() -> None:
    assert lines(1.5, 2.0, 4, 11.0) == pytest.approx([0, 1.5, 3.5, 5.5, 7.5, 9.5, 11.0])
    assert lines(0.0, 2.0, 2, 9.2) == pytest.approx([0, 2, 4, 6, 8, 9.2])  # no beats at the end


def test_one_downbeat_is_one_bar() -> None:
    beats = np.array([10.0, 20.0, 30.0, 40.0])
    assert bar_lines_seconds(beats, Bars(4, 3, 1.0, 1.0), 5.0).tolist() == [0.0, 5.0]


def test_bar_lines_always_rise_from_zero_to_the_end() -> None:
    dice = np.random.default_rng(2)
    for _ in range(300):
        beats = dice.uniform(0, 3) + np.cumsum(dice.uniform(0.4, 0.6, dice.integers(8, 60)))
        end = beats[-1] + dice.uniform(0.01, 20.0)
        per_bar = int(dice.choice([3, 4]))
        bars = Bars(per_bar, int(dice.integers(per_bar)), 1.0, 1.0)
        found = bar_lines_seconds(beats * MEL_RATE, bars, end)
        assert found[0] == 0.0
        assert found[-1] == end
        lengths = np.diff(found)
        usual = 0.5 * per_bar
        assert (lengths > 0.4 * usual).all()
        assert (lengths[1:-1] < 1.3 * usual).all()


def test_downbeats_are_every_bars_first_beats() -> None:
    beats = np.arange(10.0)
    assert downbeats(beats, Bars(3, 1, 1.0, 1.0)).tolist() == [1, 4, 7]
    gaps = [b - a for a, b in itertools.pairwise(downbeats(beats, Bars(4, 2, 1.0, 1.0)))]
    assert gaps == [4.0]
