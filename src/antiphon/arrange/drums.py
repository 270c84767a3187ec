"""Drums: a groove per section, fills at the ends of phrases, crashes after them."""

from __future__ import annotations

from random import Random

from antiphon.arrange.figures import (
    STEPS_PER_BEAT,
    Step,
    Tone,
    pick_by_intensity,
    read_figure,
)
from antiphon.arrange.form import PHRASE_BARS
from antiphon.arrange.parts import Part
from antiphon.arrange.styles import DRUM_PITCHES

HIT_BEATS = 0.25
_WEIGHT = {"X": 1.15, "x": 1.0, "?": 0.8, "o": 0.5}


def play_drums(part: Part) -> list[Tone]:
    """One part; the last bar of an ending is a single hit."""
    groove = _choose_groove(part)
    fill_bars = _fill_bars(part)
    tones: list[Tone] = []
    for bar in range(part.played_bars):
        start = part.bar_starts[bar]
        fill = _choose_fill(part, bar) if bar in fill_bars else {}
        fill_beats = fill_length(fill, part.beats_per_bar)
        groove_end = part.beats_per_bar - fill_beats
        for voice, steps in groove.items():
            for step in steps[bar % len(steps)]:
                if step.start_beat < groove_end:
                    tones.append(_hit(part, voice, start + step.start_beat, step.token))
        for voice, figure in fill.items():
            # Of a fill longer than the bar the end is played.
            end = figure.replace(" ", "")[-STEPS_PER_BEAT * fill_beats :]
            for step in read_figure(end, fill_beats)[0]:
                tones.append(_hit(part, voice, start + groove_end + step.start_beat, step.token))
    if part.plan.style.crash and part.start_bar and part.intensity > 0.35:
        tones.append(_hit(part, "crash", part.start_beat, "x"))
    if part.has_final_chord:
        closing = ("kick", "crash") if part.plan.style.crash else ("kick", "ride")
        for voice in closing:
            tones.append(_hit(part, voice, part.bar_starts[-1], "x"))
    return tones


def _choose_groove(part: Part) -> dict[str, tuple[tuple[Step, ...], ...]]:
    """Its voices as steps per bar, with the `?` hits drawn once, so that a groove stays itself."""
    rng = part.stream("groove")
    groove = pick_by_intensity(part.plan.style.grooves[part.metre], part.busyness, rng)
    voices = {}
    for voice, figure in groove.items():
        bars = read_figure(figure, part.beats_per_bar)
        # Of a groove of one bar, the second and fourth bar draw their own.
        voices[voice] = tuple(_draw(bar, rng) for bar in (bars * 2 if len(bars) == 1 else bars))
    return voices


def _draw(bar: tuple[Step, ...], rng: Random) -> tuple[Step, ...]:
    return tuple(step for step in bar if step.token != "?" or rng.random() < 0.5)


def _fill_bars(part: Part) -> set[int]:
    """The last bar of every second phrase, and of the part."""
    if part.label == "intro" and part.bars < PHRASE_BARS:
        return set()
    ends = set(range(2 * PHRASE_BARS - 1, part.played_bars, 2 * PHRASE_BARS))
    return ends | ({part.played_bars - 1} if part.played_bars > 1 else set())


def _choose_fill(part: Part, bar: int) -> dict[str, str]:
    rng = part.stream("fill", part.repeat, bar)
    fills = part.plan.style.fills
    if not fills or rng.random() > 0.35 + 0.7 * part.intensity:
        return {}
    return rng.choice(fills)


def fill_length(fill: dict[str, str], beats_per_bar: int) -> int:
    """Its beats, a bar at most."""
    steps = max((len(figure.replace(" ", "")) for figure in fill.values()), default=0)
    return min(steps // STEPS_PER_BEAT, beats_per_bar)


def _hit(part: Part, voice: str, beat: float, token: str) -> Tone:
    strength = (0.55 + 0.45 * part.intensity) * _WEIGHT[token]
    return Tone(beat, HIT_BEATS, DRUM_PITCHES[voice], strength)
