"""A score as numbers for each code frame: what the score adapter reads. Knows no model.

Letters: F code frames, W numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from antiphon.controls import INSTRUMENTS, SECTIONS
from antiphon.score import Note, Score, Track

VERSION = 2  # raise it when the same score gives other numbers: adapters are trained on one
PITCHED = tuple(name for name in INSTRUMENTS if name != "drums")
# What stands for an instrument that has no name of ours: by eights of General MIDI's programs.
_FAMILIES = (
    "piano", "mallets", "organ", "acoustic guitar", "bass", "strings", "strings", "brass",
    "clarinet", "flute", "synth lead", "synth pad", "synth pad", "acoustic guitar", "mallets",
    "synth pad",
)  # fmt: skip
LOWEST_PITCH, PITCHES = 28, 72  # MIDI numbers with a column of their own: E1 to D#7
# General MIDI's drums; what is none of these is in the last column.
_DRUM_KINDS = (
    (35, 36), (37, 38, 39, 40), (42, 44, 46), (49, 51, 52, 53, 55, 57, 59),
    (41, 43, 45, 47, 48, 50),
)  # fmt: skip
_OTHER_DRUM = len(_DRUM_KINDS)
_MELODIES = ("melody", "counter")
Frames = NDArray[np.float32]
FrameAt = Callable[[float], int]


def _columns() -> Iterator[slice]:
    """Of the groups of numbers, one after the other."""
    first = 0
    for size in (12, 12, 12, 2, 2, _OTHER_DRUM + 1, 6, len(SECTIONS), PITCHES, PITCHES):
        yield slice(first, first + size)
        first += size
    yield slice(first, first + 3 * len(PITCHED))


(
    ROOT, CHORD, MELODY,  # by pitch class
    TUNE,  # whether the melody begins, and sounds
    BAR,  # whether drums play in it, and how loud it is
    DRUMS,  # how hard each kind is hit
    PHASES,  # sine and cosine of the half beat, the beat and the bar
    SECTION,
    SOUNDING, BEGINNING,  # how loud each pitch is, and where it begins
    PLAYERS,  # of each instrument: how loud, where it begins, how high it plays
) = _columns()  # fmt: skip
WIDTH = PLAYERS.stop


def score_frames(score: Score, frame_rate: float, count: int) -> Frames:
    """`count` frames [F, W] of a score, each of -1 to 1; beyond its end all are zero.

    Of each frame, at its middle: the pitch classes of the chord and its root, the melody's pitch
    class, whether it sounds and where it begins, whether drums play in this bar and which are hit,
    how loud the bar is played, where in half beat, beat and bar the frame is, which section, which
    pitches sound and begin, and which instruments play, how loud and how high.
    """
    seconds = (np.arange(count) + 0.5) / frame_rate
    beats = seconds / score.seconds_per_beat
    inside = beats < score.total_beats
    frames = np.zeros((count, WIDTH), np.float32)

    def frame_at(beat: float) -> int:
        """The frame in which a beat falls."""
        return int(score.beat_to_seconds(beat) * frame_rate + 1e-6)

    for span in score.chords:
        held = slice(frame_at(span.start_beat), frame_at(span.start_beat + span.duration_beats))
        frames[held, CHORD] = _classes(span.chord.pitch_classes)
        frames[held, ROOT] = _classes((span.chord.root,))
    for track in score.tracks:
        if track.is_drums:
            _mark_drums(frames, track, score, frame_at)
            continue
        _mark_notes(frames, track, frame_at)
        if track.role in _MELODIES:
            _mark_melody(frames, track, frame_at)
    for beat, level in zip(*_bar_levels(score), strict=True):
        frames[frame_at(beat) : frame_at(beat + score.beats_per_bar), BAR.stop - 1] = level
    for number, length in enumerate((0.5, 1.0, float(score.beats_per_bar))):
        angle = 2 * math.pi * (beats / length)
        frames[:, PHASES.start + 2 * number] = np.sin(angle)
        frames[:, PHASES.start + 2 * number + 1] = np.cos(angle)
    for section in score.sections:
        first = section.start_bar * score.beats_per_bar
        last = first + section.bars * score.beats_per_bar
        if section.label in SECTIONS:
            column = SECTION.start + SECTIONS.index(section.label)
            frames[frame_at(first) : frame_at(last), column] = 1.0
    frames[~inside] = 0.0
    return frames


def _classes(pitch_classes: tuple[int, ...]) -> Frames:
    row = np.zeros(12, np.float32)
    row[list(pitch_classes)] = 1.0
    return row


def _span(note: Note, frame_at: FrameAt) -> slice:
    """The frames in which a note sounds, one at least."""
    first = frame_at(note.start_beat)
    return slice(first, max(first + 1, frame_at(note.start_beat + note.duration_beats)))


def _mark_melody(frames: Frames, track: Track, frame_at: FrameAt) -> None:
    for note in track.notes:
        held = _span(note, frame_at)
        frames[held, MELODY] = _classes((note.pitch % 12,))
        frames[held.start : held.start + 1, TUNE.start] = 1.0
        frames[held, TUNE.stop - 1] = 1.0


def _mark_notes(frames: Frames, track: Track, frame_at: FrameAt) -> None:
    """Which pitches sound, and of its instrument the loudest and the highest note."""
    gain = 10.0 ** (track.gain_db / 20.0)
    player = PLAYERS.start + 3 * PITCHED.index(_name_of(track))
    for note in track.notes:
        held = _span(note, frame_at)
        began = slice(held.start, held.start + 1)
        level = min(1.0, gain * note.velocity / 127.0)
        column = _column(note.pitch)
        _raise_to(frames, held, SOUNDING.start + column, level)
        _raise_to(frames, began, BEGINNING.start + column, level)
        _raise_to(frames, held, player, level)
        _raise_to(frames, began, player + 1, level)
        _raise_to(frames, held, player + 2, (column + 1) / PITCHES)


def _name_of(track: Track) -> str:
    """One of PITCHED."""
    if track.instrument in PITCHED:
        return track.instrument
    from antiphon.midi.reading import instrument_of

    name = instrument_of(track.program)
    return name if name in PITCHED else _FAMILIES[track.program // 8]


def _column(pitch: int) -> int:
    """Of a pitch, or where it has none, of the nearest one that it is octaves apart from."""
    below, above = LOWEST_PITCH - pitch, pitch - (LOWEST_PITCH + PITCHES - 1)
    octaves = math.ceil(max(below, 0) / 12) - math.ceil(max(above, 0) / 12)
    return pitch + 12 * octaves - LOWEST_PITCH


def _mark_drums(frames: Frames, track: Track, score: Score, frame_at: FrameAt) -> None:
    gain = 10.0 ** (track.gain_db / 20.0)
    for note in track.notes:
        bar = int(note.start_beat // score.beats_per_bar) * score.beats_per_bar
        frames[frame_at(bar) : frame_at(bar + score.beats_per_bar), BAR.start] = 1.0
        kinds = [number for number, some in enumerate(_DRUM_KINDS) if note.pitch in some]
        at = frame_at(note.start_beat)
        column = DRUMS.start + (kinds[0] if kinds else _OTHER_DRUM)
        _raise_to(frames, slice(at, at + 1), column, min(1.0, gain * note.velocity / 127.0))


def _raise_to(frames: Frames, held: slice, column: int, value: float) -> None:
    frames[held, column] = np.maximum(frames[held, column], value)


def _bar_levels(score: Score) -> tuple[list[float], list[float]]:
    """The first beat of each bar, and how loud it is played: the root of the summed squares of its
    velocities, 1 for sixteen at full strength or more."""
    power = np.zeros(score.bars)
    for note in score.notes():
        bar = int(note.start_beat // score.beats_per_bar)
        if bar < score.bars:
            power[bar] += (note.velocity / 127) ** 2
    starts = [float(bar * score.beats_per_bar) for bar in range(score.bars)]
    return starts, np.minimum(np.sqrt(power / 16), 1.0).tolist()
