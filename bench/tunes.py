"""Music without drums, for fitting: chorales, fiddle tunes, airs and piano studies.

The arranger always has a rhythm section or an accompaniment; most of what a stranger's recording
can lack is lacking here. Harmony is a walk through the functions of one key.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from antiphon.notation import Chord, Key
from antiphon.score import ChordSpan, Note, Score, Track

STYLES = ("chorale", "reel", "air", "study")

_TEMPI_BPM = {"chorale": (58, 116), "reel": (80, 140), "air": (60, 130), "study": (56, 132)}
_PROGRAMS = {
    "chorale": (19, 52, 48, 0, 20, 60),
    "reel": (40, 73, 21, 0, 22, 105),
    "air": (73, 40, 68, 0, 24, 71),
    "study": (0, 0, 46, 6, 24),
}
# What follows a degree (0 = tonic), with repeats for what follows often.
_NEXT_DEGREE = {
    0: (3, 4, 5, 1, 4, 0),
    1: (4, 4, 6),
    2: (5, 3),
    3: (0, 4, 1, 4),
    4: (0, 0, 5, 3),
    5: (1, 3, 4),
    6: (0,),
}
_TRIADS = {(4, 7): "maj", (3, 7): "min", (3, 6): "dim", (4, 8): "aug"}
_REEL_BEATS = ((0.25,) * 4, (0.25,) * 4, (0.5, 0.25, 0.25), (0.5, 0.5), (0.25, 0.25, 0.5))
_AIR_BEATS = ((1.0,), (0.5, 0.5), (1.5, 0.5), (2.0,), (0.75, 0.25))


@dataclass(frozen=True)
class _Frame:
    """What a tune is drawn on."""

    rng: random.Random
    key: Key
    beats_per_bar: int
    bars: int

    def chord(self, degree: int) -> Chord:
        """The triad on a degree; the fifth degree is major also in minor keys."""
        scale = self.key.scale
        steps = tuple((scale[(degree + step) % 7] - scale[degree]) % 12 for step in (2, 4))
        quality = "maj" if degree == 4 else _TRIADS[steps]
        return Chord(scale[degree], quality)

    def harmony(self, beats_each: int) -> list[ChordSpan]:
        """A chord every `beats_each` beats; each four bars end on the tonic or the dominant."""
        spans, degree = [], 0
        total = self.bars * self.beats_per_bar
        for start in range(0, total, beats_each):
            length = min(beats_each, total - start)
            closes = (start + length) % (4 * self.beats_per_bar) == 0
            last = start + length == total
            if closes:
                degree = 0 if last or self.rng.random() < 0.6 else 4
            spans.append(ChordSpan(float(start), float(length), self.chord(degree)))
            degree = self.rng.choice(_NEXT_DEGREE[degree])
        return spans


def make_tune(style: str, seed: int) -> Score:
    """A tune in one of STYLES; the same for the same seed."""
    rng = random.Random(f"{style} {seed}")
    key = Key(rng.randrange(12), rng.choice(("major", "major", "minor")))
    frame = _Frame(rng, key, rng.choice((4, 4, 3)), rng.choice((16, 24, 32)))
    beats_each = {"chorale": 1, "reel": 2, "air": frame.beats_per_bar}.get(
        style, rng.choice((2, 4))
    )
    if frame.beats_per_bar == 3 and style != "chorale":
        beats_each = 3
    harmony = frame.harmony(beats_each)
    voices = {"chorale": _chorale, "study": _study}.get(style, _melody)(frame, harmony, style)
    program = rng.choice(_PROGRAMS[style])
    low, high = _TEMPI_BPM[style]
    return Score(
        tempo_bpm=round(rng.uniform(low, high), 1),
        beats_per_bar=frame.beats_per_bar,
        key=key,
        bars=frame.bars,
        # A lone melody only suggests its chords, so they are no truth to fit on.
        chords=tuple(harmony) if style in ("chorale", "study") else (),
        tracks=tuple(Track(style, program, tuple(notes)) for notes in voices),
        genre=style,
        seed=seed,
    )


def _nearest(pitch: int, pitch_classes: tuple[int, ...]) -> int:
    """The pitch of one of the pitch classes nearest to `pitch`."""
    return min(
        (p for p in range(pitch - 6, pitch + 7) if p % 12 in pitch_classes),
        key=lambda p: (abs(p - pitch), p),
    )


def _chorale(frame: _Frame, harmony: list[ChordSpan], style: str) -> list[list[Note]]:
    """Four voices, a chord a beat, passing eighths, a held chord at the end of each phrase."""
    voices: list[list[Note]] = []
    for voice, home in enumerate((72, 65, 58, 46)):
        notes, pitch, held_until = [], home, 0.0
        for index, span in enumerate(harmony):
            if span.start_beat < held_until:
                continue
            classes = (span.chord.root,) if voice == 3 else span.chord.pitch_classes
            drift = frame.rng.choice((-2, -1, 0, 1, 2)) + (home - pitch) // 4
            pitch = _nearest(pitch + drift, classes)
            phrase_end = (span.start_beat + 2) % (4 * frame.beats_per_bar) == 0
            beats = 2.0 if phrase_end else 1.0
            held_until = span.start_beat + beats
            if beats == 1.0 and frame.rng.random() < 0.2 and index + 1 < len(harmony):
                passing = _nearest(pitch + frame.rng.choice((-2, 2)), frame.key.scale)
                notes.append(Note(span.start_beat, 0.48, pitch, 84))
                notes.append(Note(span.start_beat + 0.5, 0.48, passing, 80))
            else:
                notes.append(Note(span.start_beat, beats * 0.97, pitch, 84))
        voices.append(notes)
    return voices


def _melody(frame: _Frame, harmony: list[ChordSpan], style: str) -> list[list[Note]]:
    """One voice: beats split by the style's figures, chord notes on the beat, steps between."""
    figures = _REEL_BEATS if style == "reel" else _AIR_BEATS
    notes, pitch, beat = [], 74, 0.0
    total = frame.bars * frame.beats_per_bar
    while beat < total:
        phrase_left = 4 * frame.beats_per_bar - beat % (4 * frame.beats_per_bar)
        figure = (1.0,) if phrase_left <= 1.0 else frame.rng.choice(figures)
        for length in figure:
            length = min(length, total - beat)
            if length <= 0:
                break
            chord = next(s.chord for s in reversed(harmony) if s.start_beat <= beat)
            classes = chord.pitch_classes if beat % 1 == 0 else frame.key.scale
            drift = frame.rng.choice((-4, -2, -1, 1, 2, 4)) + (74 - pitch) // 5
            pitch = _nearest(pitch + drift, classes)
            accent = 96 if beat % frame.beats_per_bar == 0 else 86 if beat % 1 == 0 else 78
            notes.append(Note(beat, length * 0.95, pitch, accent))
            beat += length
    return [notes]


def _study(frame: _Frame, harmony: list[ChordSpan], style: str) -> list[list[Note]]:
    """Broken chords over a bass note at each change."""
    split = frame.rng.choice((2, 2, 3, 4))
    order = frame.rng.choice(((0, 1, 2, 1), (0, 2, 1, 2), (0, 1, 2, 3), (2, 1, 0, 1)))
    upper, lower = [], []
    for span in harmony:
        root = _nearest(45, (span.chord.root,))
        lower.append(Note(span.start_beat, span.duration_beats * 0.95, root, 88))
        chord = sorted(_nearest(64, (c,)) for c in span.chord.pitch_classes)
        chord.append(chord[0] + 12)
        for step in range(int(span.duration_beats * split)):
            pitch = chord[order[step % len(order)]]
            start = span.start_beat + step / split
            upper.append(Note(start, 0.9 / split, pitch, 84 if step % split == 0 else 74))
    return [upper, lower]
