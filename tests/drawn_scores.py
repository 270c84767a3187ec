"""Scores as hypothesis draws them: every field, also what the arranger would never write."""

from __future__ import annotations

from hypothesis import strategies as st

from antiphon.notation import ALL_KEYS, CHORD_QUALITIES, Chord
from antiphon.score import ChordSpan, Note, Score, Section, Track

TICK_BEATS = 1 / 960
_printable = st.characters(exclude_categories=("C", "Z"), include_characters=" ")
_names = st.text(_printable, max_size=12)


@st.composite
def _notes(draw: st.DrawFn) -> tuple[Note, ...]:
    """Notes on ticks, in order, none starting while its pitch still sounds."""
    notes: list[Note] = []
    free_from: dict[int, int] = {}
    for _ in range(draw(st.integers(0, 8))):
        pitch = draw(st.integers(0, 127))
        start = free_from.get(pitch, 0) + draw(st.integers(0, 4000))
        length = draw(st.integers(1, 4000))
        free_from[pitch] = start + length
        velocity = draw(st.integers(1, 127))
        notes.append(Note(start / 960, length / 960, pitch, velocity))
    return tuple(sorted(notes, key=lambda note: (note.start_beat, note.pitch, note.duration_beats)))


@st.composite
def _tracks(draw: st.DrawFn) -> Track:
    return Track(
        instrument=draw(_names),
        program=draw(st.integers(0, 127)),
        notes=draw(_notes()),
        is_drums=draw(st.booleans()),
        role=draw(_names),
        pan=draw(st.floats(-1, 1)),
        gain_db=draw(st.floats(-40, 4)),
    )


@st.composite
def _spans(draw: st.DrawFn, total: int) -> list[tuple[int, int]]:
    """Spans of whole numbers below `total` that follow each other with or without gaps."""
    edges = sorted(draw(st.sets(st.integers(0, total), max_size=6)))
    keep = draw(st.lists(st.booleans(), min_size=len(edges), max_size=len(edges)))
    return [(start, end) for start, end, kept in zip(edges, edges[1:], keep, strict=False) if kept]


@st.composite
def scores(draw: st.DrawFn) -> Score:
    beats_per_bar, bars = draw(st.integers(1, 12)), draw(st.integers(1, 40))
    chord = st.builds(Chord, st.integers(0, 11), st.sampled_from(sorted(CHORD_QUALITIES)))
    label = st.text(_printable, min_size=1, max_size=12)
    return Score(
        tempo_bpm=draw(st.floats(10, 500)),
        beats_per_bar=beats_per_bar,
        key=draw(st.sampled_from([None, *ALL_KEYS])),
        bars=bars,
        sections=tuple(
            Section(draw(label), start, end - start) for start, end in draw(_spans(bars))
        ),
        chords=tuple(
            ChordSpan(float(start), float(end - start), draw(chord))
            for start, end in draw(_spans(bars * beats_per_bar))
        ),
        tracks=tuple(draw(st.lists(_tracks(), max_size=4))),
        genre=draw(st.none() | _names),
        seed=draw(st.none() | st.integers(-(2**40), 2**40)),
    )
