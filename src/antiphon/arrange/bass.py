"""Bass: figures of chord degrees, or walking; always the root where the chord changes."""

from __future__ import annotations

from random import Random

from antiphon.arrange.band import Player
from antiphon.arrange.figures import Step, Tone, pick_by_intensity, read_figure
from antiphon.arrange.parts import Part
from antiphon.arrange.styles import WALKING
from antiphon.notation import Chord

# Token -> place among the chord's pitch classes; `8` is the root an octave up.
_DEGREES = {"1": 0, "3": 1, "5": 2, "7": 3}
_ROOTS_SPAN = 13  # semitones in which roots are looked for, from the lowest note up
_WALK_SPAN = 24
_MIDDLE_OF_ROOTS = 6


def play_bass(part: Part, player: Player) -> list[Tone]:
    """One part: a main figure, another one in every fourth bar."""
    rng = part.stream("bass")
    figures = part.plan.style.bass[part.metre]
    main = pick_by_intensity(figures, part.busyness, rng)
    other = pick_by_intensity(figures, part.busyness, rng)
    tones: list[Tone] = []
    root = player.low + _MIDDLE_OF_ROOTS
    for bar in range(part.played_bars):
        start = part.bar_starts[bar]
        steps = _steps(other if bar % 4 == 3 else main, part.beats_per_bar, bar)
        for step in _with_roots(steps, part.changes_in_bar(bar)):
            beat = start + step.start_beat
            chord = part.chord_at(beat)
            root = nearest_root(chord, root, player.low)
            if step.token == "w":
                pitch = _walk(part, player, beat, tones[-1].pitch if tones else root, rng)
            else:
                pitch = _degree(chord, step.token, root)
            accent = 1.0 if step.start_beat in (0.0, 2.0) else 0.92
            strength = (0.6 + 0.4 * part.intensity) * accent
            tones.append(Tone(beat, step.length_beats, pitch, strength))
    if part.has_final_chord:
        pitch = nearest_root(part.chords[-1].chord, root, player.low)
        tones.append(Tone(part.bar_starts[-1], float(part.beats_per_bar), pitch, 0.8))
    return tones


def nearest_root(chord: Chord, previous: int, lowest: int) -> int:
    """The root in the octave above `lowest`, by the shorter way from the note before."""
    options = [p for p in range(lowest, lowest + _ROOTS_SPAN) if p % 12 == chord.root]
    return min(options, key=lambda pitch: abs(pitch - previous))


def _steps(figure: str, beats_per_bar: int, bar: int) -> list[Step]:
    if figure == WALKING:
        return [Step(float(beat), 1.0, "w") for beat in range(beats_per_bar)]
    bars = read_figure(figure, beats_per_bar)
    return list(bars[bar % len(bars)])


def _with_roots(steps: list[Step], changes: list[float]) -> list[Step]:
    """The steps with a root at every chord change; a note held over a change ends there."""
    for change in changes:
        here = next((s.length_beats for s in steps if s.start_beat == change), None)
        following = min((s.start_beat for s in steps if s.start_beat > change), default=change + 1)
        root = Step(change, here or min(following - change, 1.0), "1")
        before = [
            Step(s.start_beat, min(s.length_beats, change - s.start_beat), s.token)
            for s in steps
            if s.start_beat < change
        ]
        steps = [*before, root, *(s for s in steps if s.start_beat > change)]
    return steps


def _degree(chord: Chord, token: str, root: int) -> int:
    pitch_classes = chord.pitch_classes
    place = len(pitch_classes) if token == "8" else _DEGREES[token]
    # A triad has no seventh to play: its octave.
    if place >= len(pitch_classes):
        return root + 12
    return root + (pitch_classes[place] - root) % 12


def _walk(part: Part, player: Player, beat: float, previous: int, rng: Random) -> int:
    """The next quarter of a walking line: before a change a step or a fifth into the coming root,
    otherwise chord tones, or scale steps on weak beats, drawn to the middle of the register."""
    span = part.span_at(beat)
    coming = part.chord_after(beat)
    lowest, highest = player.low, player.low + _WALK_SPAN
    if beat + 1 >= span.start_beat + span.duration_beats and coming != span.chord:
        target = nearest_root(coming, previous, player.low)
        approaches = {target - 1: 4.0, target + 1: 3.0, target + 2: 1.0, target + 7: 1.0}
        inside = {p: w for p, w in approaches.items() if lowest <= p <= highest}
        return rng.choices(list(inside), list(inside.values()))[0]
    near = range(max(previous - 7, lowest), min(previous + 7, highest) + 1)
    options = [p for p in near if p % 12 in span.chord.pitch_classes and p != previous]
    if not part.is_strong(beat):
        scale = part.plan.key.scale
        options += [p for p in near if p % 12 in scale and 0 < abs(p - previous) <= 2]
    middle = player.low + 10
    weights = [1 / (1 + 0.15 * abs(p - middle) + 0.2 * abs(p - previous)) for p in options]
    return rng.choices(options, weights)[0]
