"""Voicings: which octave each chord tone sounds in, led smoothly from chord to chord."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from antiphon.notation import Chord

Voicing = tuple[int, ...]


def lead_voices(
    chords: Sequence[Chord], centre: int, *, rootless: bool, previous: Voicing = ()
) -> list[Voicing]:
    """One voicing per chord, lowest first: close or drop-two, moved as little as possible and kept
    near `centre`."""
    voicings: list[Voicing] = []
    for chord in chords:
        options = candidates(sounding(chord, rootless=rootless), centre)
        previous = min(options, key=lambda voicing: _cost(voicing, previous, centre))
        voicings.append(previous)
    return voicings


def sounding(chord: Chord, *, rootless: bool) -> tuple[int, ...]:
    """Pitch classes to play: of ninth chords four, without the root if a bass has it, or else
    without the fifth."""
    root, third, fifth, *extensions = chord.pitch_classes
    if len(extensions) < 2:
        return chord.pitch_classes
    return (third, fifth, *extensions) if rootless else (root, third, *extensions)


@cache
def candidates(pitch_classes: tuple[int, ...], centre: int) -> tuple[Voicing, ...]:
    """Close positions over every tone and octave near the centre, and their drop-two forms."""
    found: list[Voicing] = []
    for bottom in range(centre - 12, centre + 4):
        if bottom % 12 not in pitch_classes:
            continue
        close = tuple(sorted(bottom + (pitch_class - bottom) % 12 for pitch_class in pitch_classes))
        found.append(close)
        if len(close) >= 4:
            found.append(tuple(sorted((*close[:-2], close[-2] - 12, close[-1]))))
    return tuple(found)


def _cost(voicing: Voicing, previous: Voicing, centre: int) -> float:
    middle = sum(voicing) / len(voicing)
    # Seconds at the bottom are mud.
    mud = 3.0 if voicing[1] - voicing[0] < 3 and voicing[0] < 55 else 0.0
    cost = 0.35 * abs(middle - centre) + mud
    if previous:
        cost += sum(min(abs(pitch - other) for other in previous) for pitch in voicing)
        cost += 0.5 * abs(voicing[-1] - previous[-1])
    return cost


def power_chord(chord: Chord) -> Voicing:
    """Root, fifth and octave as on the low strings of a guitar, and the third on top, so that the
    chord keeps its mode."""
    root = 40 + (chord.root - 40) % 12
    third, fifth = chord.pitch_classes[1:3]
    octave = root + 12
    return (root, root + (fifth - root) % 12, octave, octave + (third - octave) % 12)


def fit(pitch: int, low: int, high: int) -> int:
    """Moved by octaves into a range of at least an octave."""
    while pitch < low:
        pitch += 12
    while pitch > high:
        pitch -= 12
    return pitch
