"""Controls against what was measured and heard: was it kept? Knows no sound."""

from __future__ import annotations

from dataclasses import dataclass

from antiphon.controls import Controls
from antiphon.description import Heard
from antiphon.facts import Facts

TEMPO_TOLERANCE = 0.04  # relative, as in MIREX and mir_eval
DURATION_TOLERANCE_SECONDS = 0.5
LOUDNESS_TOLERANCE_LU = 1.0
_DRUMS = "drums"


@dataclass(frozen=True)
class Adherence:
    """One wish: what was asked, what was measured (None: not measurable), whether they agree."""

    requested: float | int | str | bool
    measured: float | int | str | bool | None
    ok: bool


def adherence(
    controls: Controls,
    facts: Facts,
    heard: Heard | None = None,
    *,
    loudness_lufs: float | None = None,
) -> dict[str, Adherence]:
    """Compare every control that a measurement can judge; controls not given are left out.

    tempo (BPM, within 4 %; half or double time is not ok), key (exact), metre (beats per bar),
    duration (seconds, within 0.5); `loudness_lufs` (within 1 LU). With what a trained listener
    `heard`: genre (the likeliest one), drums (True where they were asked for, False where they were
    refused).
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
    if loudness_lufs is not None:
        lufs = facts.loudness.integrated_lufs
        close = lufs is not None and abs(lufs - loudness_lufs) <= LOUDNESS_TOLERANCE_LU
        result["loudness"] = Adherence(loudness_lufs, lufs, close)
    return result if heard is None else result | _by_ear(controls, heard)


def _by_ear(controls: Controls, heard: Heard) -> dict[str, Adherence]:
    result: dict[str, Adherence] = {}
    if controls.genre is not None:
        name = heard.genre[0].name if heard.genre else None
        result["genre"] = Adherence(controls.genre, name, name == controls.genre)
    if _DRUMS in (*controls.instruments, *controls.without):
        asked = _DRUMS in controls.instruments
        # Of what is no music nobody knows.
        there = None if heard.drums is None else heard.drums.present
        result["drums"] = Adherence(asked, there, there == asked)
    return result
