"""Bass: figures of chord degrees, or walking; always the root where the chord changes."""

from __future__ import annotations

from random import Random

from antiphon.arrange.band import Player
from antiphon.arrange.figures import Step, Tone, pick_by_intensity, read_figure
from antiphon.arrange.parts import Part
from antiphon.arrange.styles import WALKING, Metre
from antiphon.notation import Chord

# Token -> place in the chord's pitch classes; 8 is the root an octave up.
_DEGREES = {"1": 0, "X": 0, "8": 0, "3": 1, "5": 2, "7": 3}
_LOWEST_ROOT, _HIGHEST_ROOT = 28, 41


def play_bass(part: Part, player: Player) -> list[Tone]:
    metre: Metre = "3/4" if part.beats_per_bar == 3 else "4/4"
    rng = part.stream("bass")
    figures = part.plan.style.bass[metre]
    main = pick_by_intensity(figures, part.intensity, rng)
    other = pick_by_intensity(figures, part.intensity, rng)
    tones: list[Tone] = []
    root = 33
    for bar in range(part.played_bars):
        figure = other if bar % 4 == 3 else main
        start = part.bar_starts[bar]
        if figure == WALKING:
            steps = [Step(float(beat), 1.0, "w") for beat in range(part.beats_per_bar)]
        else:
            bars = read_figure(figure, part.beats_per_bar)
            steps = list(bars[bar % len(bars)])
        changes = part.changes_between(start, start + part.beats_per_bar)
        for step in _with_roots(steps, [beat - start for beat in changes]):
            beat = start + step.start_beat
            chord = part.chord_at(beat)
            if step.token == "1":
                root = nearest_root(chord, root)
            if step.token == "w":
                pitch = _walk(part, beat, tones[-1].pitch if tones else root, rng)
            else:
                pitch = _degree(chord, step.token, nearest_root(chord, root))
            accent = 1.0 if step.start_beat in (0.0, 2.0) else 0.92
            strength = (0.6 + 0.4 * part.intensity) * accent
            tones.append(
                Tone(beat, step.length_beats, fit(pitch, player.low, player.high), strength)
            )
    if part.has_final_chord:
        pitch = fit(nearest_root(part.chords[-1].chord, root), player.low, player.high)
        tones.append(Tone(part.bar_starts[-1], float(part.beats_per_bar), pitch, 0.8))
    return tones


def nearest_root(chord: Chord, previous: int) -> int:
    """The root in the low octave of the bass, by the shorter way from the one before."""
    options = [
        pitch for pitch in range(_LOWEST_ROOT, _HIGHEST_ROOT + 1) if pitch % 12 == chord.root
    ]
    return min(options, key=lambda pitch: abs(pitch - previous))


def fit(pitch: int, low: int, high: int) -> int:
    """Moved by octaves into a range of at least an octave."""
    while pitch < low:
        pitch += 12
    while pitch > high:
        pitch -= 12
    return pitch


def _with_roots(steps: list[Step], changes: list[float]) -> list[Step]:
    """The steps with a root at every chord change; a note held over a change ends there."""
    for change in changes:
        kept = [
            Step(s.start_beat, min(s.length_beats, change - s.start_beat), s.token)
            if s.start_beat < change < s.start_beat + s.length_beats
            else s
            for s in steps
            if s.start_beat != change
        ]
        here = next((s for s in steps if s.start_beat == change), None)
        following = min((s.start_beat for s in steps if s.start_beat > change), default=change + 1)
        length = here.length_beats if here else min(following - change, 1.0)
        steps = sorted([*kept, Step(change, length, "1")])
    return steps


def _degree(chord: Chord, token: str, root: int) -> int:
    if token == "8":
        return root + 12
    pitch_classes = chord.pitch_classes
    place = _DEGREES[token]
    # A triad has no seventh to play: its octave.
    if place >= len(pitch_classes):
        return root + 12
    return root + (pitch_classes[place] - root) % 12


def _walk(part: Part, beat: float, previous: int, rng: Random) -> int:
    """The next quarter of a walking line: before a change a step into the coming root, otherwise
    chord tones and scale steps that keep going in one direction."""
    span = part.span_at(beat)
    coming = part.next_chord(beat)
    if beat + 1 >= span.start_beat + span.duration_beats - 1e-9 and coming != span.chord:
        target = nearest_root(coming, previous)
        approaches = (target - 1, target + 1, target + 2, target - 2, target + 7)
        weights = (4, 3, 1 + (target + 2) % 12 * 0, 2, 1)
        return rng.choices(approaches, weights)[0]
    tones = [
        pitch
        for pitch in range(previous - 7, previous + 8)
        if pitch % 12 in span.chord.pitch_classes and pitch != previous and 28 <= pitch <= 52
    ]
    steps = [
        pitch
        for pitch in (previous - 2, previous - 1, previous + 1, previous + 2)
        if pitch % 12 in part.plan.key.scale and 28 <= pitch <= 52
    ]
    # The middle of the register pulls, so that lines turn round by themselves.
    options = tones + steps
    weights = [1 / (1 + abs(pitch - 38) * 0.15 + abs(pitch - previous) * 0.2) for pitch in options]
    return rng.choices(options, weights)[0]
