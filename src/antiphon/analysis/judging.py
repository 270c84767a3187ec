"""Controls against Facts: was what was asked for measured? Knows no sound."""

from __future__ import annotations

from dataclasses import dataclass

from antiphon.controls import Controls
from antiphon.facts import Facts

TEMPO_TOLERANCE = 0.04  # relative, as in MIREX and mir_eval
DURATION_TOLERANCE_SECONDS = 0.5


@dataclass(frozen=True)
class Adherence:
    """One wish: what was asked, what was measured (None: not measurable), whether they agree."""

    requested: float | int | str
    measured: float | int | str | None
    ok: bool


def adherence(controls: Controls, facts: Facts) -> dict[str, Adherence]:
    """Compare every control that a measurement can judge; controls not given are left out.

    tempo (BPM, within 4 %; half or double time is not ok), key (exact), metre (beats per bar),
    duration (seconds, within 0.5).
    """
    result: dict[str, Adherence] = {}
    if controls.tempo_bpm is not None:
        bpm = facts.tempo.bpm
        close = bpm is not None and abs(bpm / controls.tempo_bpm - 1) <= TEMPO_TOLERANCE
        result["tempo"] = Adherence(controls.tempo_bpm, bpm, close)
    if controls.key is not None:
        name = facts.key.name
        result["key"] = Adherence(controls.key.name, name, name == controls.key.name)
    if controls.beats_per_bar is not None:
        beats = facts.metre.beats_per_bar
        result["metre"] = Adherence(controls.beats_per_bar, beats, beats == controls.beats_per_bar)
    if controls.duration_seconds is not None:
        seconds = facts.duration_seconds
        close = abs(seconds - controls.duration_seconds) <= DURATION_TOLERANCE_SECONDS
        result["duration"] = Adherence(controls.duration_seconds, seconds, close)
    return result
