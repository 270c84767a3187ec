"""A user's own score, ours or a MIDI file, made ready to be followed: what it does not say of key,
chords and roles is read from its notes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from antiphon.analysis.harmony import MAJOR_PROFILE, MINOR_PROFILE
from antiphon.errors import ConfigError
from antiphon.files import storage_error
from antiphon.notation import ALL_KEYS, CHORD_QUALITIES, Chord, Key
from antiphon.score import ChordSpan, Note, Score, Section, Track

MAX_FILE_BYTES = 64 * 2**20
_MIDI_SUFFIXES = (".mid", ".midi")
_QUALITIES = ("maj", "min", "7", "min7", "maj7", "dim")  # the likelier before the rarer
_OTHER_TONES = 0.6  # what a tone beside the chord costs, of what one in it gives
_LARGE_CHORD = 0.1  # of all tones, what a fourth tone in the chord must explain
_BASS = 0.3  # more for a root that is the lowest tone
_LOW_PITCH = 52  # on average below it: a bass
_ONE_VOICE = 1.3  # notes at a time, at most, of what is sung

Weights = NDArray[np.float64]


def read_score(path: Path) -> Score:
    """The score in a file: .json as `--score` writes it, or a MIDI file.

    Raises ConfigError for a file that holds none, or none that can be played; StorageError.
    """
    if path.suffix.lower() in _MIDI_SUFFIXES:
        from antiphon.midi import read_midi

        return completed(read_midi(path))
    try:
        size = path.stat().st_size
        data = path.read_bytes() if size <= MAX_FILE_BYTES else b""
    except OSError as error:
        raise storage_error("read", path, error) from error
    if not data:
        raise ConfigError(
            f"score {str(path)!r} has {size:,} bytes; expected a score in JSON, of 1 to "
            f"{MAX_FILE_BYTES:,} bytes"
        )
    if data.startswith(b"MThd"):
        raise ConfigError(f"score {str(path)!r} is a MIDI file; expected a name that ends in .mid")
    try:
        score = Score.from_json(data)
    except ConfigError as error:
        raise ConfigError(f"score {str(path)!r}: {error}") from error
    return playable(score, f"score {str(path)!r}")


def playable(score: Score, named: str) -> Score:
    """The score, completed; `named` names it in messages. Raises ConfigError for one without
    notes."""
    if not any(track.notes for track in score.tracks):
        raise ConfigError(f"{named} has no notes; expected some to be played")
    return completed(score)


def completed(score: Score) -> Score:
    """The same score; a key, chords, sections and roles are found where it has none."""
    pitched = [note for track in score.tracks if not track.is_drums for note in track.notes]
    chords, key = score.chords, score.key
    if pitched and not chords:
        chords = _chords(score, pitched)
    if pitched and key is None:
        key = _key(pitched)
    sections = score.sections or (Section("verse", 0, score.bars),)
    tracks = score.tracks
    if not any(track.role for track in tracks):
        tracks = _with_roles(tracks)
    return replace(score, key=key, chords=chords, sections=sections, tracks=tracks)


def _sounding(notes: Sequence[Note], start: float = 0.0, end: float = np.inf) -> Weights:
    """How long each pitch class sounds between two beats, [12]."""
    weights = np.zeros(12)
    for note in notes:
        last = min(note.start_beat + note.duration_beats, end)
        weights[note.pitch % 12] += max(last - max(note.start_beat, start), 0.0)
    return weights


def _key(notes: Sequence[Note]) -> Key:
    """The key whose profile the notes fit best (Albrecht & Shanahan 2013)."""
    sounding = _sounding(notes)
    profiles = {"major": np.array(MAJOR_PROFILE), "minor": np.array(MINOR_PROFILE)}

    def fit(key: Key) -> float:
        profile = np.roll(profiles[key.mode], key.tonic)
        return float(sounding @ (profile - profile.mean()) / np.linalg.norm(profile))

    return max(ALL_KEYS, key=fit)


def _chords(score: Score, notes: Sequence[Note]) -> tuple[ChordSpan, ...]:
    """A chord for each half of a bar of an even number of beats, or each bar; none in rests."""
    length = score.beats_per_bar / 2 if score.beats_per_bar % 2 == 0 else score.beats_per_bar
    ordered = sorted(notes, key=lambda note: note.start_beat)
    spans: list[ChordSpan] = []
    for number in range(round(score.total_beats / length)):
        start = number * length
        inside = [
            note
            for note in ordered
            if note.start_beat < start + length and note.start_beat + note.duration_beats > start
        ]
        if not inside:
            continue
        chord = _chord(_sounding(inside, start, start + length), min(n.pitch for n in inside) % 12)
        last = spans[-1] if spans else None
        if last and last.chord == chord and last.start_beat + last.duration_beats == start:
            spans[-1] = replace(last, duration_beats=last.duration_beats + length)
        else:
            spans.append(ChordSpan(start, length, chord))
    return tuple(spans)


def _chord(sounding: Weights, lowest: int) -> Chord:
    shares = sounding / max(sounding.sum(), 1e-9)

    def fit(chord: Chord) -> float:
        inside = shares[list(chord.pitch_classes)].sum()
        large = _LARGE_CHORD * (len(CHORD_QUALITIES[chord.quality]) > 3)
        return float(inside - _OTHER_TONES * (1 - inside) - large + _BASS * (chord.root == lowest))

    return max((Chord(root, name) for name in _QUALITIES for root in range(12)), key=fit)


def _with_roles(tracks: tuple[Track, ...]) -> tuple[Track, ...]:
    """The lowest is the bass, the highest of one voice the melody, the others play chords."""
    pitches = {
        number: float(np.mean([note.pitch for note in track.notes]))
        for number, track in enumerate(tracks)
        if track.notes and not track.is_drums
    }
    roles = {number: "drums" if track.is_drums else "chords" for number, track in enumerate(tracks)}
    lowest = min(pitches, key=lambda number: pitches[number], default=None)
    if lowest is not None and pitches[lowest] < _LOW_PITCH:
        roles[lowest] = "bass"
    singers = [n for n in pitches if roles[n] != "bass" and _voices(tracks[n]) <= _ONE_VOICE]
    if singers:
        roles[max(singers, key=lambda number: pitches[number])] = "melody"
    return tuple(replace(track, role=roles[number]) for number, track in enumerate(tracks))


def _voices(track: Track) -> float:
    """How many notes sound at a time, on average over the times at which any begins."""
    starts = {round(note.start_beat, 3) for note in track.notes}
    return len(track.notes) / max(len(starts), 1)
