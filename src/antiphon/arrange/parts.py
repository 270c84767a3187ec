"""A part: one section with all a player needs to know about it."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from random import Random

from antiphon.arrange.harmony import write_harmony
from antiphon.arrange.plan import Plan
from antiphon.arrange.styles import Metre
from antiphon.notation import Chord
from antiphon.score import ChordSpan

# What a section adds to the intensity of the piece, and to the register in semitones.
_LIFT = {"intro": -0.2, "verse": -0.1, "chorus": 0.2, "bridge": -0.15, "solo": 0.12, "ending": 0.0}
_LIFT_PER_REPEAT = 0.08
_REGISTER = {"intro": 0, "verse": -2, "chorus": 4, "bridge": 1, "solo": 4, "ending": 0}


@dataclass(frozen=True)
class Part:
    """`repeat` counts the parts of the same label before this one.

    `intensity` runs 0 ... 1; `first_intensity` is that of the first part of the label.
    """

    plan: Plan
    label: str
    start_bar: int
    bars: int
    repeat: int
    is_last: bool
    first_intensity: float
    chords: tuple[ChordSpan, ...]

    @property
    def metre(self) -> Metre:
        return self.plan.metre

    @property
    def beats_per_bar(self) -> int:
        return self.plan.beats_per_bar

    @property
    def register(self) -> int:
        """Semitones by which mood and section move everybody but the bass."""
        return self.plan.register + _REGISTER[self.label]

    @property
    def intensity(self) -> float:
        """Each repeat of a label is played a little more intensely."""
        return min(self.first_intensity + _LIFT_PER_REPEAT * min(self.repeat, 2), 1.0)

    @property
    def busyness(self) -> float:
        """How busy figures should be, 0 ... 1: less when the tempo is fast for the style, because
        figures are written for its own tempo, and the same in all parts of a label, so that they
        play the same figures."""
        low, high = self.plan.style.tempo_bpm
        usual = math.sqrt(low * high)
        return self.first_intensity * min(max(usual / self.plan.tempo_bpm, 0.4), 1.25)

    @cached_property
    def bar_starts(self) -> tuple[float, ...]:
        first = self.start_bar * self.beats_per_bar
        return tuple(float(first + bar * self.beats_per_bar) for bar in range(self.bars))

    @property
    def start_beat(self) -> float:
        return self.bar_starts[0]

    @property
    def has_final_chord(self) -> bool:
        """Whether the last bar is one held chord: a real ending."""
        return self.is_last and self.label == "ending"

    @property
    def played_bars(self) -> int:
        """Bars in which time is kept: all but the held chord of an ending."""
        return self.bars - self.has_final_chord

    @cached_property
    def _chord_starts(self) -> list[float]:
        return [span.start_beat for span in self.chords]

    def span_at(self, beat: float) -> ChordSpan:
        return self.chords[max(bisect_right(self._chord_starts, beat) - 1, 0)]

    def chord_at(self, beat: float) -> Chord:
        return self.span_at(beat).chord

    def chord_after(self, beat: float) -> Chord:
        """The chord after the one that sounds at `beat`; at the end of the part the same one."""
        place = bisect_right(self._chord_starts, beat)
        return self.chords[min(place, len(self.chords) - 1)].chord

    def is_strong(self, beat: float) -> bool:
        """The first beat of a bar, and the third of four."""
        in_bar = (beat - self.start_beat) % self.beats_per_bar
        return in_bar == 0 or (self.beats_per_bar == 4 and in_bar == 2)

    def changes_in_bar(self, bar: int) -> list[float]:
        """Where in a bar chords start, in beats from its bar line."""
        start = self.bar_starts[bar]
        return [
            beat - start
            for beat in self._chord_starts
            if start <= beat < start + self.beats_per_bar
        ]

    def stream(self, *purpose: object) -> Random:
        """Randomness that sections of one label share: what a label plays, it plays again."""
        return self.plan.stream(*purpose, self.label)


def make_parts(plan: Plan) -> tuple[Part, ...]:
    """The sections of the plan with their harmony."""
    seen: dict[str, int] = {}
    parts: list[Part] = []
    start_bar = 0
    for section, chords in zip(plan.sections, write_harmony(plan), strict=True):
        repeat = seen.get(section.label, 0)
        seen[section.label] = repeat + 1
        parts.append(
            Part(
                plan=plan,
                label=section.label,
                start_bar=start_bar,
                bars=section.bars,
                repeat=repeat,
                is_last=start_bar + section.bars == plan.bars,
                first_intensity=min(max(plan.intensity + _LIFT[section.label], 0.05), 1.0),
                chords=chords,
            )
        )
        start_bar += section.bars
    return tuple(parts)
