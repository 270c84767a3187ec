"""The feel: swing, and the small unevenness of hands. Turns the players' tones into notes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from random import Random

from antiphon.arrange.figures import Tone
from antiphon.arrange.plan import Plan
from antiphon.score import Note

MAX_SHIFT_SECONDS = 0.008
LOUDEST = 118  # velocity of a tone of strength 1
VELOCITY_SPREAD = 6
_EVEN = 0.5
# A multiple of the sixteenth and its triplet; the ticks of a MIDI file, so that nothing is lost.
TICKS_PER_BEAT = 960


@dataclass(frozen=True)
class Feel:
    """Swing delays the second half of each `swing_unit_beats` to `swing_ratio` of it;
    0.5 is even."""

    tempo_bpm: float
    total_beats: float
    swing_unit_beats: float
    swing_ratio: float
    shift_seconds: float

    @classmethod
    def of(cls, plan: Plan) -> Feel:
        unit = {"none": 1.0, "eighths": 1.0, "sixteenths": 0.5}[plan.style.swing]
        ratio = _EVEN
        if plan.style.swing == "eighths":
            # 2:1 at medium tempo, towards even at fast ones (Friberg and Sundström 2002).
            ratio = min(max(2 / 3 - (plan.tempo_bpm - 140) * 0.0009, 0.56), 0.68)
        elif plan.style.swing == "sixteenths":
            ratio = 0.57
        return cls(
            tempo_bpm=plan.tempo_bpm,
            total_beats=float(plan.bars * plan.beats_per_bar),
            swing_unit_beats=unit,
            swing_ratio=ratio,
            shift_seconds=plan.style.human_ms / 1000,
        )

    def swing(self, beat: float) -> float:
        """Where an evenly written beat is played."""
        if self.swing_ratio == _EVEN:
            return beat
        unit, ratio = self.swing_unit_beats, self.swing_ratio
        whole, part = divmod(beat, unit)
        part /= unit
        bent = 2 * ratio * part if part <= 0.5 else ratio + (2 * part - 1) * (1 - ratio)
        return (whole + bent) * unit

    def perform(self, tones: Iterable[Tone], rng: Random) -> tuple[Note, ...]:
        """Notes in order. All that start together are shifted together; none rings past the end,
        nor into the next one of its pitch, which a synthesizer would cut off with it."""
        end_tick = round(self.total_beats * TICKS_PER_BEAT)
        ticks_per_second = self.tempo_bpm / 60 * TICKS_PER_BEAT
        starts: dict[float, int] = {}
        played: dict[tuple[int, int], tuple[int, int]] = {}  # start, pitch -> end, velocity
        for start_beat, length, pitch, strength in tones:
            start = starts.get(start_beat)
            if start is None:
                shift = rng.gauss(0.0, self.shift_seconds / 2)
                shift = min(max(shift, -MAX_SHIFT_SECONDS), MAX_SHIFT_SECONDS) * ticks_per_second
                start = round(self.swing(start_beat) * TICKS_PER_BEAT + shift)
                start = starts[start_beat] = min(max(start, 0), end_tick - 1)
            end = round(self.swing(start_beat + length) * TICKS_PER_BEAT)
            velocity = round(LOUDEST * strength + rng.uniform(-VELOCITY_SPREAD, VELOCITY_SPREAD))
            played[start, pitch] = min(max(end, start + 1), end_tick), min(max(velocity, 1), 127)
        notes: list[Note] = []
        next_start: dict[int, int] = {}
        for (start, pitch), (end, velocity) in sorted(played.items(), reverse=True):
            end = min(end, next_start.get(pitch, end))
            next_start[pitch] = start
            beats = (end - start) / TICKS_PER_BEAT
            notes.append(Note(start / TICKS_PER_BEAT, beats, pitch, velocity))
        return tuple(reversed(notes))
