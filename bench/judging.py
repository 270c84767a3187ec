"""Measured against true: the scores of one piece, ours and the peer's. Knows no sound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import mir_eval
import numpy as np

from antiphon.facts import Facts, Spans
from antiphon.score import Score
from peer import Reading

Scores = Mapping[str, float]  # by name, 0..1

TEMPO_TOLERANCE = 0.04
OCTAVES = (1.0, 2.0, 0.5, 3.0, 1 / 3)


def judge(score: Score, facts: Facts, speed: float) -> Scores:
    """All that the truth is known of; what was not measured counts as wrong.

    `speed`: how much faster than the score the sound plays.
    """
    true_beats = np.array(score.beat_times_seconds()) / speed
    return {
        **judge_tempo(score, facts.tempo.bpm, speed),
        **judge_key(score, facts.key.name),
        **judge_outline(score, facts.chords, facts.downbeats.times_seconds, facts.sections, speed),
        "is 4/4": float(score.beats_per_bar == 4),
        "metre": float(facts.metre.beats_per_bar == score.beats_per_bar),
        "beats": beat_f(true_beats, facts.beats.times_seconds),
    }


def judge_peer(score: Score, reading: Reading, speed: float) -> Scores:
    """Tempo, beats and key as the peer heard them in the same sound."""
    true_beats = np.array(score.beat_times_seconds()) / speed
    return {
        **judge_tempo(score, reading.bpm, speed),
        **judge_key(score, reading.key),
        "beats": beat_f(true_beats, reading.beats_seconds),
    }


def judge_outline(
    score: Score,
    chords: Spans,
    downbeats_seconds: Sequence[float] | None,
    sections: Spans,
    speed: float,
) -> Scores:
    """Chords, downbeats and sections."""
    true_beats = np.array(score.beat_times_seconds()) / speed
    return {
        "chords": chord_overlap(score, chords, speed),
        "downbeats": beat_f(true_beats[:: score.beats_per_bar], downbeats_seconds),
        "sections 3 s": boundary_f(score, sections, speed, 3.0, trim=False),
        "sections 0.5 s": boundary_f(score, sections, speed, 0.5, trim=False),
        "inner edges 3 s": boundary_f(score, sections, speed, 3.0, trim=True),
    }


def judge_tempo(score: Score, bpm: float | None, speed: float) -> Scores:
    true_bpm = score.tempo_bpm * speed
    return {
        "tempo": float(is_same_tempo(bpm, true_bpm)),
        "tempo octave": float(is_same_tempo(bpm, true_bpm, OCTAVES)),
    }


def is_same_tempo(bpm: float | None, other: float, factors: Sequence[float] = (1.0,)) -> bool:
    """Within 4 % of `other`, or of it times one of `factors`."""
    return bpm is not None and any(
        abs(bpm / (other * factor) - 1.0) <= TEMPO_TOLERANCE for factor in factors
    )


def judge_key(score: Score, name: str | None) -> Scores:
    assert score.key is not None, "pieces of the bench have a key"
    return {"key": float(name == score.key.name), "key weighted": key_score(score.key.name, name)}


def key_score(reference: str, estimate: str | None) -> float:
    """1 for the same key, less for its fifth, relative and parallel (MIREX)."""
    return 0.0 if estimate is None else float(mir_eval.key.weighted_score(reference, estimate))


def beat_f(reference: np.ndarray, estimate: Sequence[float] | None) -> float:
    """F-measure at 70 ms, from the first beat on."""
    return 0.0 if not estimate else mir_eval.beat.f_measure(reference, np.array(estimate))


def chord_overlap(score: Score, chords: Spans, speed: float) -> float:
    """Share of the time with the right major or minor chord, of the time that has one.

    The chords of the score must follow each other without gaps, as the arranger's do.
    """
    if not chords.spans:
        return 0.0
    edges = [score.beat_to_seconds(span.start_beat) for span in score.chords]
    edges.append(score.beat_to_seconds(score.total_beats))
    truth = np.stack([edges[:-1], edges[1:]], axis=1) / speed
    measured, measured_labels = mir_eval.util.adjust_intervals(
        np.array([(span.start_seconds, span.end_seconds) for span in chords.spans]),
        [span.label for span in chords.spans],
        truth.min(),
        truth.max(),
        "N",
        "N",
    )
    merged, true_labels, found_labels = mir_eval.util.merge_labeled_intervals(
        truth, [span.chord.label for span in score.chords], measured, measured_labels
    )
    right = mir_eval.chord.majmin(true_labels, found_labels)
    durations = mir_eval.util.intervals_to_durations(merged)
    return float(mir_eval.chord.weighted_accuracy(right, durations))


def boundary_f(
    score: Score, sections: Spans, speed: float, window_seconds: float, *, trim: bool
) -> float:
    """F-measure of the edges of sections; `trim` leaves out the first and the last."""
    if not sections.spans:
        return 0.0
    bars = [(section.start_bar, section.start_bar + section.bars) for section in score.sections]
    truth = np.array(bars) * score.bar_to_seconds(1) / speed
    found = np.array([(span.start_seconds, span.end_seconds) for span in sections.spans])
    found, _ = mir_eval.util.adjust_intervals(found, None, 0.0, truth.max())
    # A section that begins at the very end is cut to nothing.
    found = found[found[:, 1] > found[:, 0]]
    _, _, f = mir_eval.segment.detection(truth, found, window=window_seconds, trim=trim)
    return float(f)
