"""Score: tempo, metre, key, sections, chords and notes as frozen data, and strict JSON.

Positions and lengths are in beats from the first bar line; a beat is a quarter note, the tempo is
one number. Knows no style, no sound and no MIDI file.
"""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property

from antiphon.errors import ConfigError
from antiphon.notation import Chord, Key
from antiphon.plain import read_json

MAX_TRACKS = 64
MAX_NOTES = 1_000_000
_DRAWN_SEEDS = 1_000_000


@dataclass(frozen=True)
class Note:
    """One note; `pitch` is a MIDI number (60 = middle C), on a drum track a General MIDI drum."""

    start_beat: float
    duration_beats: float
    pitch: int
    velocity: int

    def __post_init__(self) -> None:
        _require_finite("note start", self.start_beat, minimum=0.0)
        _require_finite("note duration", self.duration_beats, minimum=0.0, inclusive=False)
        _require_range("note pitch", self.pitch, 0, 127)
        _require_range("note velocity", self.velocity, 1, 127)


@dataclass(frozen=True)
class Track:
    """Notes of one instrument, ordered by start.

    `instrument` is a name of `controls.INSTRUMENTS` (any text is accepted from MIDI files),
    `program` the General MIDI program 0-127, on a drum track the GS kit, `pan` -1 left ... 1 right,
    `gain_db` up to 40.
    """

    instrument: str
    program: int
    notes: tuple[Note, ...]
    is_drums: bool = False
    role: str = ""
    pan: float = 0.0
    gain_db: float = 0.0

    def __post_init__(self) -> None:
        _require_range("program", self.program, 0, 127)
        _require_finite("pan", self.pan, minimum=-1.0)
        if self.pan > 1.0:
            raise ConfigError(f"pan is {self.pan:g}; expected -1 (left) to 1 (right)")
        _require_finite("gain", self.gain_db, minimum=-120.0)
        if self.gain_db > 40.0:
            raise ConfigError(f"gain is {self.gain_db:g} dB; expected at most 40 dB")


@dataclass(frozen=True)
class Section:
    """A part of the form, from `start_bar` (counted from 0) for `bars` bars."""

    label: str
    start_bar: int
    bars: int

    def __post_init__(self) -> None:
        _require_range("section start", self.start_bar, 0, None)
        _require_range("section length in bars", self.bars, 1, None)


@dataclass(frozen=True)
class ChordSpan:
    """A chord from `start_beat` for `duration_beats`."""

    start_beat: float
    duration_beats: float
    chord: Chord

    def __post_init__(self) -> None:
        _require_finite("chord start", self.start_beat, minimum=0.0)
        _require_finite("chord duration", self.duration_beats, minimum=0.0, inclusive=False)


@dataclass(frozen=True)
class Score:
    """A piece: `bars` bars of `beats_per_bar` quarter notes at one tempo, in one key.

    Sections and chords neither overlap nor leave the piece; notes may ring past its end.
    Raises ConfigError when the parts contradict each other.
    """

    tempo_bpm: float
    beats_per_bar: int
    key: Key | None
    bars: int
    sections: tuple[Section, ...] = ()
    chords: tuple[ChordSpan, ...] = ()
    tracks: tuple[Track, ...] = ()
    genre: str | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        _require_finite("tempo", self.tempo_bpm, minimum=10.0)
        if self.tempo_bpm > 500:
            raise ConfigError(f"tempo is {self.tempo_bpm:g} BPM; expected 10 to 500 BPM")
        _require_range("beats per bar", self.beats_per_bar, 1, 32)
        _require_range("number of bars", self.bars, 1, None)
        if len(self.tracks) > MAX_TRACKS:
            raise ConfigError(f"score has {len(self.tracks)} tracks; expected {MAX_TRACKS} at most")
        note_count = sum(len(track.notes) for track in self.tracks)
        if note_count > MAX_NOTES:
            raise ConfigError(f"score has {note_count} notes; expected {MAX_NOTES} at most")
        _require_disjoint(
            "section",
            [(s.start_bar, s.start_bar + s.bars, s.label) for s in self.sections],
            end=self.bars,
            unit="bar",
        )
        _require_disjoint(
            "chord",
            [(c.start_beat, c.start_beat + c.duration_beats, c.chord.label) for c in self.chords],
            end=self.total_beats,
            unit="beat",
        )

    @property
    def seconds_per_beat(self) -> float:
        return 60.0 / self.tempo_bpm

    @property
    def total_beats(self) -> float:
        return float(self.bars * self.beats_per_bar)

    @cached_property
    def duration_seconds(self) -> float:
        """To the last bar line, or to the end of the last note if that comes later."""
        last = max((n.start_beat + n.duration_beats for n in self.notes()), default=0.0)
        return self.beat_to_seconds(max(self.total_beats, last))

    def beat_to_seconds(self, beat: float) -> float:
        return beat * self.seconds_per_beat

    def seconds_to_beat(self, seconds: float) -> float:
        return seconds / self.seconds_per_beat

    def bar_to_seconds(self, bar: float) -> float:
        return self.beat_to_seconds(bar * self.beats_per_bar)

    def seconds_to_bar(self, seconds: float) -> float:
        return self.seconds_to_beat(seconds) / self.beats_per_bar

    def beat_times_seconds(self) -> tuple[float, ...]:
        """The time of every beat of every bar."""
        return tuple(self.beat_to_seconds(beat) for beat in range(self.bars * self.beats_per_bar))

    def beginning(self, bars: int) -> Score:
        """Its first `bars` bars, or all of it: what begins in them, which may ring past their end.

        Raises ConfigError for less than one bar.
        """
        bars = min(bars, self.bars)
        end = float(bars * self.beats_per_bar)
        return replace(
            self,
            bars=bars,
            sections=tuple(
                replace(section, bars=min(section.bars, bars - section.start_bar))
                for section in self.sections
                if section.start_bar < bars
            ),
            chords=tuple(
                replace(span, duration_beats=min(span.duration_beats, end - span.start_beat))
                for span in self.chords
                if span.start_beat < end
            ),
            tracks=tuple(
                replace(track, notes=tuple(n for n in track.notes if n.start_beat < end))
                for track in self.tracks
            ),
        )

    def notes(self) -> Iterator[Note]:
        """All notes, track by track."""
        for track in self.tracks:
            yield from track.notes

    def to_json(self) -> str:
        """Strict JSON (no NaN): keys as in the dataclasses, key and chords by name."""
        data = asdict(self)
        data["key"] = None if self.key is None else self.key.name
        for span, raw in zip(self.chords, data["chords"], strict=True):
            raw["chord"] = span.chord.label
        return json.dumps(data, allow_nan=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> Score:
        """Read what `to_json` wrote. Unknown keys and wrong types raise ConfigError."""
        return read_json(cls, text, "score")


def drawn_seed() -> int:
    """A seed for somebody who gave none, short enough to be read out."""
    return secrets.randbelow(_DRAWN_SEEDS)


def _require_finite(name: str, value: float, *, minimum: float, inclusive: bool = True) -> None:
    high_enough = value >= minimum if inclusive else value > minimum
    if not (math.isfinite(value) and high_enough):
        bound = f"{'at least' if inclusive else 'more than'} {minimum:g}"
        raise ConfigError(f"{name} is {value}; expected a finite number, {bound}")


def _require_range(name: str, value: int, low: int, high: int | None) -> None:
    if value < low or (high is not None and value > high):
        bound = f"at least {low}" if high is None else f"{low} to {high}"
        raise ConfigError(f"{name} is {value}; expected {bound}")


def _require_disjoint(
    name: str, spans: Sequence[tuple[float, float, str]], *, end: float, unit: str
) -> None:
    previous_end = 0.0
    for start, stop, label in spans:
        if start < previous_end - 1e-6:
            raise ConfigError(
                f"{name} {label!r} starts at {unit} {start:g}, before the one in front of it ends "
                f"({unit} {previous_end:g}); expected {name}s in order that do not overlap"
            )
        if stop > end + 1e-6:
            raise ConfigError(
                f"{name} {label!r} ends at {unit} {stop:g}; the piece has {end:g} {unit}s"
            )
        previous_end = stop
