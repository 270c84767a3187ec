"""What our own MIDI files tell beyond the standard, as text events, and what both sides agree on.

`antiphon score {...}`, `antiphon track {...}`, `antiphon chord C:maj7`. Other programs skip them.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

TICKS_PER_BEAT = 960
DRUM_CHANNEL = 9
VOLUME_CONTROLLER, PAN_CONTROLLER = 7, 10
NO_CHORD = "N"  # Harte's label for silence

_PREFIX = "antiphon"
_UNITY_VOLUME = 100  # General MIDI's default volume is our 0 dB
_SILENT_DB = -120.0


@dataclass(frozen=True)
class ScoreTold:
    """Of a Score, what MIDI has no event for, and the tempo unrounded."""

    tempo_bpm: float
    genre: str | None
    seed: int | None


@dataclass(frozen=True)
class TrackTold:
    """Of a Track, what MIDI has no event for, and pan and gain unrounded."""

    instrument: str
    role: str
    pan: float
    gain_db: float


def tell(told: ScoreTold | TrackTold) -> str:
    word = "score" if isinstance(told, ScoreTold) else "track"
    return f"{_PREFIX} {word} {json.dumps(asdict(told))}"


def tell_chord(label: str) -> str:
    return f"{_PREFIX} chord {label}"


def told_in(text: str) -> tuple[str, str] | None:
    """`score`, `track` or `chord` and what follows it, if the text is one of ours."""
    prefix, _, rest = text.partition(" ")
    word, _, value = rest.partition(" ")
    return (word, value) if prefix == _PREFIX and word in ("score", "track", "chord") else None


def volume_of(gain_db: float) -> int:
    """Controller 7; its level is 40 log10 of its value (General MIDI level 2)."""
    return min(round(_UNITY_VOLUME * 10 ** (gain_db / 40)), 127)


def gain_of(volume: int) -> float:
    from math import log10

    return 40 * log10(volume / _UNITY_VOLUME) if volume else _SILENT_DB


def controller_of(pan: float) -> int:
    """Controller 10, 1 left ... 127 right; 64 is the middle."""
    return round(64 + 63 * pan)


def pan_of(controller: int) -> float:
    return max((controller - 64) / 63, -1.0)
