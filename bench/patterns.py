"""A second song generator: twelve plain styles out of fixed patterns, to Score.

It shares no rule with the arranger and writes worse music, on purpose: what is fitted on both has
not learned the habits of one. Knows no sound.
"""

from __future__ import annotations

import random

from antiphon.notation import Chord, Key
from antiphon.score import ChordSpan, Note, Score, Section, Track
from pattern_styles import (
    BASS,
    CADENCE,
    COMP,
    DRAWN_COMPS,
    DRUMS,
    FILL,
    FORMS,
    LATE,
    LEADS,
    MAJOR_ONLY,
    MINOR_ONLY,
    PROGRESSIONS,
    SEVENTHS,
    SHORT_SECTIONS,
    SIXTEENTHS,
    STYLES,
    TRIADS,
    Step,
    Style,
    section_bars,
)


class _Song:
    """One song being written; bars are appended in order."""

    def __init__(self, style: Style, seed: int) -> None:
        self.rng = rng = random.Random(seed * 7919 + 13)
        self.style = style
        self.beats_per_bar = 3 if rng.random() < style.waltz_chance else 4
        self.key = Key(rng.randrange(12), rng.choice(("major", "minor")))
        self.comp = style.comp or rng.choice(DRAWN_COMPS)
        self.drawn = {beat for beat in SIXTEENTHS if rng.random() < 0.5}
        self.motif = [(rng.choice((0.5, 1, 1.5, 2)), rng.randrange(7)) for _ in range(6)]
        self.lowest_bass = rng.choice((33, 36, 38))
        self.has_drums = rng.random() < style.drums_chance
        self.notes: dict[str, list[Note]] = {"chords": [], "bass": [], "lead": [], "drums": []}

    def add(self, part: str, beat: float, length: float, pitch: int, velocity: float) -> None:
        self.notes[part].append(Note(beat, length, pitch, max(1, min(127, round(velocity)))))

    def chord(self, degree: int) -> Chord:
        scale = self.key.scale
        root, third, fifth = (scale[(degree + step) % 7] for step in (0, 2, 4))
        quality = TRIADS[(third - root) % 12, (fifth - root) % 12]
        if degree == 4 and self.key.mode == "minor" and self.rng.random() < 0.8:
            quality = "maj"  # the leading note
        if degree == 4 and self.style.sevenths != "none" and quality == "maj":
            quality = "7"
        elif self.style.sevenths == "all":
            quality = SEVENTHS[quality]
        return Chord(root, quality)

    def write_bar(self, start: int, bar: int, label: str, chord: Chord) -> None:
        """Bar number `bar` of a section, beginning at beat `start`."""
        self.write_bass(start, chord)
        self.write_comp(start, chord)
        if label != "intro":
            self.write_lead(start, bar, label, chord)
        if self.has_drums and (label != "ending" or self.rng.random() < 0.3):
            self.write_drums(start, bar, label)

    def write_bass(self, start: int, chord: Chord) -> None:
        root = self.lowest_bass + (chord.root - self.lowest_bass) % 12
        if self.style.bass == "walking":
            tones = (0, (chord.pitch_classes[1] - chord.root) % 12, 7, self.rng.choice((5, 9, 11)))
            steps = tuple(Step(beat, 0.9, 90, tone) for beat, tone in enumerate(tones))
        elif self.style.bass == "drawn":
            beats = [
                b for b in SIXTEENTHS if not b or (b in self.drawn and self.rng.random() < 0.7)
            ]
            steps = tuple(Step(b, 0.22, 82 if b else 100, 12 if b % 2 == 1.5 else 0) for b in beats)
        else:
            steps = BASS[self.style.bass]
        for step in steps:
            if step.beat < self.beats_per_bar:
                pitch = root + step.above_root
                self.add("bass", start + step.beat, step.length, pitch, step.velocity)

    def write_comp(self, start: int, chord: Chord) -> None:
        voices = [55 + (pitch - 55) % 12 for pitch in chord.pitch_classes]
        for number, step in enumerate(COMP[self.comp]):
            if step.beat >= self.beats_per_bar:
                break
            sounding = voices
            if self.comp == "arpeggio":
                sounding = [voices[number % len(voices)] + (12 if number % 4 == 3 else 0)]
            length = min(step.length, self.beats_per_bar - step.beat)
            for pitch in sounding:
                self.add("chords", start + step.beat, length, pitch, step.velocity)

    def write_lead(self, start: int, bar: int, label: str, chord: Chord) -> None:
        """The motif, from its beginning in even bars: chord tones on the beat, else the scale."""
        octave = 12 if label == "chorus" else 0
        index = self.rng.randrange(6) if bar % 2 else 0
        beat = 0.0
        while beat < self.beats_per_bar:
            length, tone = self.motif[index % 6]
            length = min(length, self.beats_per_bar - beat)
            tones = self.key.scale if beat % 1 else chord.pitch_classes
            pitch = 72 + (tones[(tone + bar) % len(tones)] - 72) % 12
            swung = int(beat) + LATE if self.style.drums == "swing" and beat % 1 else beat
            if self.rng.random() < 0.85:
                self.add("lead", start + swung, length * 0.9, pitch + octave, 95)
            beat += length
            index += 1

    def write_drums(self, start: int, bar: int, label: str) -> None:
        pattern = self.style.drums
        if self.beats_per_bar == 3 and pattern != "waltz":
            pattern = "three"
        played = {
            "always": True,
            "full": label not in SHORT_SECTIONS,
            "chorus": label == "chorus",
            "calm": label != "chorus",
            "even": bar % 2 == 0,
            "odd": bar % 2 == 1,
            "rarely": self.rng.random() < 0.3,
            "drawn": True,
        }
        for stroke in DRUMS[pattern]:
            for beat in stroke.beats if played[stroke.when] else ():
                if stroke.when != "drawn" or beat in self.drawn:
                    self.strike(start + beat, stroke.drum, stroke.velocity)
        is_last = bar == section_bars(label) - 1
        for beat, drum in FILL if is_last and self.beats_per_bar == 4 else ():
            self.strike(start + beat, drum, 95)

    def strike(self, beat: float, drum: int, velocity: int) -> None:
        self.add("drums", beat, 0.2, drum, velocity + self.rng.gauss(0, 6))


def make_song(style_name: str, seed: int) -> Score:
    """A song of `style_name`, one of STYLES; the same seed gives the same song."""
    style = STYLES[style_name]
    song = _Song(style, seed)
    rng = song.rng
    tempo_bpm = round(rng.uniform(*style.tempo_bpm), rng.choice((0, 1)))
    choices = [*PROGRESSIONS, MAJOR_ONLY if song.key.mode == "major" else MINOR_ONLY]
    verse, chorus = rng.sample(choices, 2)
    harmony = {
        "intro": verse,
        "verse": verse,
        "chorus": chorus,
        "bridge": rng.choice(choices),
        "ending": CADENCE,
    }
    sections: list[Section] = []
    chords: list[ChordSpan] = []
    for label in rng.choice(FORMS):
        sections.append(Section(label, len(chords), section_bars(label)))
        for bar in range(section_bars(label)):
            start = len(chords) * song.beats_per_bar
            chord = song.chord(harmony[label][bar % 4])
            chords.append(ChordSpan(start, song.beats_per_bar, chord))
            song.write_bar(start, bar, label, chord)
    programs = {"chords": style.programs[0], "bass": style.programs[1], "lead": rng.choice(LEADS)}
    tracks = tuple(
        Track(
            part,
            programs.get(part, 0),
            tuple(sorted(notes, key=lambda note: note.start_beat)),
            is_drums=part == "drums",
        )
        for part, notes in song.notes.items()
        if notes
    )
    return Score(
        tempo_bpm=tempo_bpm,
        beats_per_bar=song.beats_per_bar,
        key=song.key,
        bars=len(chords),
        sections=tuple(sections),
        chords=tuple(chords),
        tracks=tracks,
        genre=style_name,
        seed=seed,
    )
