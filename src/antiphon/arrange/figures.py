"""The small language of rhythm figures, shared by drums, bass, chords and melody.

A figure is text, four characters to the beat, spaces ignored: `-` holds the note before it, `.` is
a rest, any other character starts a note and says which. Knows no pitch and no style.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from random import Random
from typing import NamedTuple, TypeVar

STEPS_PER_BEAT = 4
HOLD, REST = "-", "."

T = TypeVar("T")


class Step(NamedTuple):
    """A note of a figure: where it starts in the bar, how long it lasts, and its character."""

    start_beat: float
    length_beats: float
    token: str


class Tone(NamedTuple):
    """A note as the players write it, before swing and the human touch."""

    start_beat: float
    length_beats: float
    pitch: int
    strength: float  # 0 ... 1


def stream(seed: int, *purpose: object) -> Random:
    """A random stream seeded by text, which `random` digests with SHA-512: the same everywhere."""
    return Random("/".join(str(part) for part in (seed, *purpose)))


@cache
def read_figure(figure: str, beats_per_bar: int) -> tuple[tuple[Step, ...], ...]:
    """The steps of each of its bars; a hold does not cross a bar line."""
    text = figure.replace(" ", "")
    bar_length = STEPS_PER_BEAT * beats_per_bar
    return tuple(
        tuple(_read_bar(text[first : first + bar_length]))
        for first in range(0, len(text), bar_length)
    )


def _read_bar(text: str) -> list[Step]:
    steps: list[Step] = []
    for position, token in enumerate(text):
        if token in (HOLD, REST):
            continue
        held = 1
        while position + held < len(text) and text[position + held] == HOLD:
            held += 1
        steps.append(Step(position / STEPS_PER_BEAT, held / STEPS_PER_BEAT, token))
    return steps


def pick_by_intensity(options: Sequence[T], intensity: float, rng: Random) -> T:
    """One of `options`, which go from sparse to busy, near the place `intensity` (0 ... 1) has."""
    place = intensity * len(options) + rng.uniform(-0.6, 0.6)
    return options[min(max(int(place), 0), len(options) - 1)]


def weighted(options: dict[T, float], rng: Random) -> T:
    """A key of `options`, as often as its weight says."""
    return rng.choices(list(options), list(options.values()))[0]
