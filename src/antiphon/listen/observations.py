"""What a listener would notice in the facts as a whole: the chords that recur, how the level moves.

Pure functions of facts; knows no wording.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from antiphon.errors import ConfigError
from antiphon.facts import Dynamics, Facts, Span
from antiphon.notation import Chord

Course = Literal["rising", "falling", "swelling", "dipping", "steady"]
Energy = Literal["low", "moderate", "high"]

# Chord symbols as on a lead sheet, by the qualities of `antiphon.notation`.
_SYMBOLS = {
    "maj": "",
    "min": "m",
    "min7": "m7",
    "min9": "m9",
    "hdim7": "m7b5",
}
_MAX_PROGRESSION = 8
_MIN_ROUNDS = 3
_CLEARLY_MORE = 1.2
_MIN_COVERAGE = 0.5  # share of the chord changes that belong to the progression

# A listener notices about 3 dB; less than 2 dB between thirds of a piece is "the same".
_GAP_DB, _MOST_GAPS = -60.0, 0.2  # a level is no course where a fifth of it is silence
_STEADY_DB = 2.0
_NOTICED_DB = 3.0
_CLEAR_DB = 4.0
_SHORTEST_COURSE_SECONDS = 10.0
_LOUDEST_WINDOW_SECONDS = 5.0
_FADE_SECONDS = 8.0
_FADE_STEP_DB = 2.0  # per quarter of the fade
_FADE_TOTAL_DB = 12.0
_FADE_START_DB = -50.0


@dataclass(frozen=True)
class ChordUse:
    """A chord symbol and its share of the time that has chords."""

    symbol: str
    share: float


def chord_symbol(label: str) -> str | None:
    """`F#m7` for `F#:min7`; None for no chord, or a label that is not understood."""
    try:
        Chord.parse(label)
    except ConfigError:
        return None
    root, _, quality = label.partition(":")
    return root + _SYMBOLS.get(quality, quality)


def chord_uses(spans: Sequence[Span]) -> list[ChordUse]:
    """Chords by the time they sound, the most used first."""
    seconds: dict[str, float] = {}
    for span in spans:
        if (symbol := chord_symbol(span.label)) is not None:
            seconds[symbol] = seconds.get(symbol, 0.0) + span.end_seconds - span.start_seconds
    total = sum(seconds.values())
    if total <= 0:
        return []
    most_first = sorted(seconds.items(), key=lambda item: -item[1])
    return [ChordUse(symbol, sounding / total) for symbol, sounding in most_first]


def recurring_progression(spans: Sequence[Span]) -> tuple[str, ...] | None:
    """The succession of 2 to 8 chords that goes round for most of the piece, if one does.

    It comes at least three times, at least twice right after itself, and covers half of the chord
    changes. Of rotations the one that sounds first is taken, of lengths the shortest unless a
    longer one covers clearly more.
    """
    changes = _chord_changes(spans)
    best: tuple[str, ...] | None = None
    best_covered = 0
    for length in range(2, _MAX_PROGRESSION + 1):
        longest = max(_rounds(changes, length).items(), key=lambda item: item[1], default=None)
        if longest is not None and longest[1] * length > _CLEARLY_MORE * best_covered:
            best, best_covered = longest[0], longest[1] * length
    return best if best_covered >= _MIN_COVERAGE * len(changes) else None


def course_of_level(dynamics: Dynamics) -> Course | None:
    """How the mean level moves over three thirds; None when it is none of the simple shapes, or
    mostly gaps."""
    gaps = sum(level < _GAP_DB for level in dynamics.level_db)
    if gaps > _MOST_GAPS * len(dynamics.level_db):
        return None
    if len(dynamics.level_db) * dynamics.step_seconds < _SHORTEST_COURSE_SECONDS:
        return None
    thirds = np.array_split(_power(dynamics), 3)
    first, middle, last = (float(10 * np.log10(third.mean())) for third in thirds)
    if max(first, middle, last) - min(first, middle, last) <= _STEADY_DB:
        return "steady"
    if middle - max(first, last) >= _NOTICED_DB:
        return "swelling"
    if min(first, last) - middle >= _NOTICED_DB:
        return "dipping"
    if last - first >= _CLEAR_DB:
        return "rising"
    if first - last >= _CLEAR_DB:
        return "falling"
    return None


def loudest_seconds(dynamics: Dynamics) -> float | None:
    """Where the loudest five seconds have their middle; None when nothing stands out."""
    power = _power(dynamics)
    window = round(_LOUDEST_WINDOW_SECONDS / dynamics.step_seconds)
    if window < 1 or len(power) < 6 * window:
        return None
    sums = np.cumsum(np.concatenate([[0.0], power]))
    means = (sums[window:] - sums[:-window]) / window
    at = int(means.argmax())
    if 10 * np.log10(means[at] / power.mean()) < _NOTICED_DB:
        return None
    return (at + window / 2) * dynamics.step_seconds


def fades_out(dynamics: Dynamics) -> bool:
    """Whether the last eight seconds grow quieter step by step to the end."""
    steps = round(_FADE_SECONDS / dynamics.step_seconds)
    if steps < 4 or len(dynamics.level_db) < 3 * steps:
        return False
    quarters = [
        float(10 * np.log10(quarter.mean()))
        for quarter in np.array_split(_power(dynamics)[-steps:], 4)
    ]
    drops = -np.diff(quarters)
    return bool(
        quarters[0] > _FADE_START_DB
        and drops.min() >= _FADE_STEP_DB
        and drops.sum() >= _FADE_TOTAL_DB
    )


def energy(facts: Facts, *, tempo_is_sure: bool) -> Energy | None:
    """A class of measured energy: the mean of loudness, percussive share and tempo, each 0 to 2.

    None where loudness was not measured; the others count if they were.
    """
    if facts.loudness.integrated_lufs is None:
        return None
    points = [_grade(facts.loudness.integrated_lufs, -19.0, -12.0)]
    if facts.timbre.percussive_share is not None:
        points.append(_grade(facts.timbre.percussive_share, 0.2, 0.45))
    if tempo_is_sure and facts.tempo.bpm is not None:
        points.append(_grade(facts.tempo.bpm, 85.0, 120.0))
    mean = sum(points) / len(points)
    return "high" if mean >= 1.4 else "moderate" if mean >= 0.7 else "low"


def _grade(value: float, middle: float, high: float) -> int:
    return (value >= middle) + (value >= high)


def _chord_changes(spans: Sequence[Span]) -> list[str]:
    """Chord symbols in order, without repeats and without stretches that have no chord."""
    changes: list[str] = []
    for span in spans:
        symbol = chord_symbol(span.label)
        if symbol is not None and changes[-1:] != [symbol]:
            changes.append(symbol)
    return changes


def _rounds(changes: Sequence[str], length: int) -> dict[tuple[str, ...], int]:
    """How often each succession of `length` chords comes round, overlaps not counted.

    In order of first appearance; without those that come too rarely or repeat a shorter one.
    """
    counts: dict[tuple[str, ...], int] = {}
    follows_itself: dict[tuple[str, ...], int] = {}
    ends: dict[tuple[str, ...], int] = {}
    for at in range(len(changes) - length + 1):
        succession = tuple(changes[at : at + length])
        end = ends.get(succession, -1)
        if at < end or succession[0] == succession[-1] or _repeats_a_part(succession):
            continue
        counts[succession] = counts.get(succession, 0) + 1
        follows_itself[succession] = follows_itself.get(succession, 0) + (at == end)
        ends[succession] = at + length
    return {
        succession: count
        for succession, count in counts.items()
        if count >= _MIN_ROUNDS and follows_itself[succession] >= _MIN_ROUNDS - 1
    }


def _repeats_a_part(succession: tuple[str, ...]) -> bool:
    length = len(succession)
    return any(
        succession == succession[:part] * (length // part)
        for part in range(2, length // 2 + 1)
        if length % part == 0
    )


def _power(dynamics: Dynamics) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """[F] mean square per step."""
    return 10.0 ** (np.asarray(dynamics.level_db, dtype=np.float64) / 10.0)
