"""The feel: swing, and the small unevenness of hands. Turns the players' tones into notes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from random import Random

from antiphon.arrange.figures import Tone
from antiphon.arrange.plan import Plan
from antiphon.score import Note

MAX_SHIFT_SECONDS = 0.008
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
        ratio = 0.5
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
        unit, ratio = self.swing_unit_beats, self.swing_ratio
        whole, part = divmod(beat, unit)
        part /= unit
        bent = 2 * ratio * part if part <= 0.5 else ratio + (2 * part - 1) * (1 - ratio)
        return (whole + bent) * unit

    def perform(self, tones: Iterable[Tone], rng: Random) -> tuple[Note, ...]:
        """Notes in order; of several at one time and pitch one stays; none rings past the end."""
        notes: dict[tuple[int, int], Note] = {}
        end_tick = round(self.total_beats * TICKS_PER_BEAT)
        beats_per_second = self.tempo_bpm / 60
        shifts: dict[float, float] = {}
        for tone in tones:
            if tone.start_beat not in shifts:
                seconds = rng.gauss(0.0, self.shift_seconds / 2)
                seconds = min(max(seconds, -MAX_SHIFT_SECONDS), MAX_SHIFT_SECONDS)
                shifts[tone.start_beat] = seconds * beats_per_second
            start = self.swing(tone.start_beat) + shifts[tone.start_beat]
            end = self.swing(tone.start_beat + tone.length_beats)
            start_tick = min(max(round(start * TICKS_PER_BEAT), 0), end_tick - 1)
            length = min(max(round(end * TICKS_PER_BEAT) - start_tick, 1), end_tick - start_tick)
            velocity = round(118 * tone.strength + rng.gauss(0.0, 3.5))
            notes[start_tick, tone.pitch] = Note(
                start_tick / TICKS_PER_BEAT,
                length / TICKS_PER_BEAT,
                tone.pitch,
                min(max(velocity, 1), 127),
            )
        return tuple(notes[place] for place in sorted(notes))
