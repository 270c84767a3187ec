"""Loops: bars that go over from their end into their beginning.

A bar like the last one is played before them, and one like the first after them. So they begin with
what rings on from their end, and end as if they went on; the last moments are faded into those that
went before the beginning, which fit to it. Knows no model. C channels, T samples.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from antiphon.audio import FloatArray
from antiphon.compose.requests import Loop
from antiphon.score import ChordSpan, Note, Score, Section, Track

LEAD_BARS = 1  # before a loop, and as many after it
FADE_SECONDS = 0.03


def unrolled(score: Score) -> Score:
    """The loop that `score` is, with its last bar before it and its first after it."""
    lead, bars = LEAD_BARS, score.bars
    copies = [  # of the loop: how many bars later, and which of it count
        (lead - bars, range(bars - lead, bars)),
        (lead, range(bars)),
        (lead + bars, range(lead)),
    ]
    return replace(
        score,
        bars=bars + 2 * lead,
        sections=_sections(score),
        chords=tuple(
            replace(span, start_beat=span.start_beat + by * score.beats_per_bar)
            for by, counted in copies
            for span in _chords_in(score, counted)
        ),
        tracks=tuple(
            replace(
                track,
                notes=tuple(
                    replace(note, start_beat=note.start_beat + by * score.beats_per_bar)
                    for by, counted in copies
                    for note in _notes_in(track, score.beats_per_bar, counted)
                ),
            )
            for track in score.tracks
        ),
    )


def _sections(score: Score) -> tuple[Section, ...]:
    moved = [
        replace(section, start_bar=section.start_bar + LEAD_BARS) for section in score.sections
    ]
    if moved:  # the bars before and after count to their neighbours
        first, last = moved[0], moved[-1]
        moved[-1] = replace(last, bars=last.bars + LEAD_BARS)
        first = moved[0]
        moved[0] = replace(
            first, start_bar=first.start_bar - LEAD_BARS, bars=first.bars + LEAD_BARS
        )
    return tuple(moved)


def _chords_in(score: Score, bars: range) -> list[ChordSpan]:
    """The parts of the chords that lie in some bars."""
    start, end = (float(bar * score.beats_per_bar) for bar in (bars.start, bars.stop))
    found = []
    for span in score.chords:
        first = max(span.start_beat, start)
        last = min(span.start_beat + span.duration_beats, end)
        if last > first:
            found.append(replace(span, start_beat=first, duration_beats=last - first))
    return found


def _notes_in(track: Track, beats_per_bar: int, bars: range) -> list[Note]:
    """The notes that begin in some bars."""
    start, end = bars.start * beats_per_bar, bars.stop * beats_per_bar
    return [note for note in track.notes if start <= note.start_beat < end]


class LoopCut:
    """Cuts a loop out of what is played, block by block."""

    def __init__(self, loop: Loop, samples: int, sample_rate: int) -> None:
        """The loop is `samples` long."""
        self._start, self._end = loop.lead_samples, loop.lead_samples + samples
        self._fade = min(round(FADE_SECONDS * sample_rate), loop.lead_samples, samples)
        self._before: list[FloatArray] = []
        self._at = 0

    def take(self, block: FloatArray) -> FloatArray:
        """What of a block [C, T] belongs to the loop."""
        first, last = self._at, self._at + block.shape[1]
        self._at = last

        def part(start: int, stop: int) -> FloatArray:
            low, high = max(start, first), min(stop, last)
            return block[:, low - first : max(high, low) - first]

        self._before.append(part(self._start - self._fade, self._start))
        fading = self._end - self._fade
        kept, faded = part(self._start, fading), part(fading, self._end)
        if faded.shape[1]:
            before = np.concatenate(self._before, axis=1)
            begun = max(fading, first) - fading
            place = slice(begun, begun + faded.shape[1])
            steps = np.arange(1, self._fade + 1, dtype=np.float32)
            rise = (steps / np.float32(self._fade))[place]
            faded = faded * (1 - rise) + before[:, place] * rise
        return np.concatenate([kept, faded], axis=1)
