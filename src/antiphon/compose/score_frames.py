"""A score as numbers for each code frame: what the score adapter reads. Knows no model.

Letters: F code frames, W numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from antiphon.controls import SECTIONS
from antiphon.score import Score, Track

VERSION = 1  # raise it when the same score gives other numbers: adapters are trained on one
_ROOT, _CHORD, _MELODY = slice(0, 12), slice(12, 24), slice(24, 36)  # by pitch class
_ONSET, _SOUNDING, _DRUMS, _LEVEL = 36, 37, 38, 39
_KICK, _SNARE = 40, 41
_PHASES = slice(42, 48)  # sine and cosine of the half beat, the beat and the bar
_SECTION = slice(48, 48 + len(SECTIONS))
WIDTH = 48 + len(SECTIONS)

_KICKS, _SNARES = (35, 36), (37, 38, 39, 40)  # General MIDI
_MELODIES = ("melody", "counter")
Frames = NDArray[np.float32]


def score_frames(score: Score, frame_rate: float, count: int) -> Frames:
    """`count` frames [F, W] of a score, each of -1 to 1; beyond its end all are zero.

    Of each frame, at its middle: the pitch classes of the chord and its root, the melody's pitch
    class, whether it sounds and where it begins, whether drums play in this bar and where kick and
    snare fall, how loud the bar is played, where in half beat, beat and bar the frame is, and
    which section.
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
        frames[held, _CHORD] = _classes(span.chord.pitch_classes)
        frames[held, _ROOT] = _classes((span.chord.root,))
    for track in score.tracks:
        if track.is_drums:
            _mark_drums(frames, track, score, frame_at)
        elif track.role in _MELODIES:
            _mark_melody(frames, track, frame_at)
    for beat, level in zip(*_bar_levels(score), strict=True):
        frames[frame_at(beat) : frame_at(beat + score.beats_per_bar), _LEVEL] = level
    for number, length in enumerate((0.5, 1.0, float(score.beats_per_bar))):
        angle = 2 * math.pi * (beats / length)
        frames[:, _PHASES.start + 2 * number] = np.sin(angle)
        frames[:, _PHASES.start + 2 * number + 1] = np.cos(angle)
    for section in score.sections:
        first = section.start_bar * score.beats_per_bar
        last = first + section.bars * score.beats_per_bar
        if section.label in SECTIONS:
            column = _SECTION.start + SECTIONS.index(section.label)
            frames[frame_at(first) : frame_at(last), column] = 1.0
    frames[~inside] = 0.0
    return frames


def _classes(pitch_classes: tuple[int, ...]) -> Frames:
    row = np.zeros(12, np.float32)
    row[list(pitch_classes)] = 1.0
    return row


def _mark_melody(frames: Frames, track: Track, frame_at: Callable[[float], int]) -> None:
    for note in track.notes:
        first = frame_at(note.start_beat)
        last = max(first + 1, frame_at(note.start_beat + note.duration_beats))
        frames[first:last, _MELODY] = _classes((note.pitch % 12,))
        frames[first:last, _SOUNDING] = 1.0
        frames[first : first + 1, _ONSET] = 1.0


def _mark_drums(
    frames: Frames, track: Track, score: Score, frame_at: Callable[[float], int]
) -> None:
    for note in track.notes:
        bar = int(note.start_beat // score.beats_per_bar) * score.beats_per_bar
        frames[frame_at(bar) : frame_at(bar + score.beats_per_bar), _DRUMS] = 1.0
        for pitches, column in ((_KICKS, _KICK), (_SNARES, _SNARE)):
            if note.pitch in pitches:
                at = frame_at(note.start_beat)
                frames[at : at + 1, column] = 1.0


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
