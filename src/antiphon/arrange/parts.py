"""A part: one section with all a player needs to know about it."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from random import Random

from antiphon.arrange.figures import stream
from antiphon.arrange.harmony import write_harmony
from antiphon.arrange.plan import Plan
from antiphon.notation import Chord
from antiphon.score import ChordSpan

# What a section adds to the intensity of the piece.
_LIFT = {"intro": -0.2, "verse": -0.08, "chorus": 0.2, "bridge": -0.12, "solo": 0.12, "ending": 0.0}


@dataclass(frozen=True)
class Part:
    """`repeat` counts the parts of the same label before this one; `intensity` runs 0 ... 1."""

    plan: Plan
    label: str
    start_bar: int
    bars: int
    repeat: int
    is_last: bool
    intensity: float
    chords: tuple[ChordSpan, ...]

    @property
    def beats_per_bar(self) -> int:
        return self.plan.beats_per_bar

    @property
    def start_beat(self) -> float:
        return float(self.start_bar * self.beats_per_bar)

    @property
    def end_beat(self) -> float:
        return float((self.start_bar + self.bars) * self.beats_per_bar)

    @property
    def bar_starts(self) -> tuple[float, ...]:
        return tuple(self.start_beat + bar * self.beats_per_bar for bar in range(self.bars))

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
        return self.chords[max(bisect_right(self._chord_starts, beat + 1e-9) - 1, 0)]

    def chord_at(self, beat: float) -> Chord:
        return self.span_at(beat).chord

    def next_chord(self, beat: float) -> Chord:
        """The chord after the one that sounds at `beat` (the same one at the end)."""
        place = bisect_right(self._chord_starts, beat + 1e-9)
        return self.chords[min(place, len(self.chords) - 1)].chord

    def changes_between(self, start: float, end: float) -> list[float]:
        """Chord starts with `start` <= beat < `end`."""
        return [beat for beat in self._chord_starts if start - 1e-9 <= beat < end - 1e-9]

    def stream(self, *purpose: object) -> Random:
        """Randomness that sections of one label share: what a label plays, it plays again."""
        return stream(self.plan.seed, *purpose, self.label)


def make_parts(plan: Plan) -> tuple[Part, ...]:
    seen: dict[str, int] = {}
    parts: list[Part] = []
    start_bar = 0
    for number, (section, chords) in enumerate(
        zip(plan.sections, write_harmony(plan), strict=True)
    ):
        repeat = seen.get(section.label, 0)
        seen[section.label] = repeat + 1
        lift = _LIFT[section.label] + 0.05 * min(repeat, 2)
        parts.append(
            Part(
                plan=plan,
                label=section.label,
                start_bar=start_bar,
                bars=section.bars,
                repeat=repeat,
                is_last=number == len(plan.sections) - 1,
                intensity=min(max(plan.intensity + lift, 0.05), 1.0),
                chords=chords,
            )
        )
        start_bar += section.bars
    return tuple(parts)
