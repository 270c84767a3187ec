"""Chord instruments: rhythm figures over led voicings, sustained pads, broken-chord riffs."""

from __future__ import annotations

from antiphon.arrange.band import Player
from antiphon.arrange.bass import fit, nearest_root
from antiphon.arrange.figures import Step, Tone, pick_by_intensity, read_figure
from antiphon.arrange.parts import Part
from antiphon.arrange.styles import Metre
from antiphon.arrange.voicing import Voicing, lead_voices
from antiphon.notation import Chord

_CENTRES = {
    "acoustic guitar": 57, "electric guitar": 57, "distorted guitar": 55, "piano": 60,
    "electric piano": 60, "organ": 62, "harp": 64, "accordion": 62, "mallets": 67,
}  # fmt: skip
_CHORUS_LIFT = 3


def play_chords(part: Part, player: Player, *, with_bass: bool) -> list[Tone]:
    """Chords in the style's rhythm; without a bass they also carry the roots."""
    figures = part.plan.style.chords[_metre(part)]
    rng = part.stream("comping", player.instrument)
    figure = pick_by_intensity(figures, part.intensity, rng)
    voicings = _voicings(part, player, with_bass=with_bass)
    tones = _play_figure(part, player, figure, voicings)
    return tones if with_bass else [*_left_hand(part, player), *tones]


def play_pad(part: Part, player: Player, *, with_bass: bool) -> list[Tone]:
    """Every chord held for as long as it lasts."""
    voicings = _voicings(part, player, with_bass=with_bass)
    tones = [
        Tone(span.start_beat, span.duration_beats, fit(pitch, player.low, player.high), 0.55)
        for span, voicing in zip(part.chords, voicings, strict=True)
        for pitch in voicing
    ]
    return tones if with_bass else [*_left_hand(part, player), *tones]


def play_riff(part: Part, player: Player) -> list[Tone]:
    """A figure of single chord tones."""
    rng = part.stream("riff", player.instrument)
    figure = pick_by_intensity(part.plan.style.riff[_metre(part)], part.intensity, rng)
    return _play_figure(part, player, figure, _voicings(part, player, with_bass=True, lift=7))


def _metre(part: Part) -> Metre:
    return "3/4" if part.beats_per_bar == 3 else "4/4"


def _voicings(part: Part, player: Player, *, with_bass: bool, lift: int = 0) -> list[Voicing]:
    centre = _CENTRES.get(player.instrument, 63) + lift + part.plan.register // 2
    if part.label in ("chorus", "solo"):
        centre += _CHORUS_LIFT
    chords = [span.chord for span in part.chords]
    if player.instrument == "distorted guitar" and player.role == "chords":
        return [power_chord(chord) for chord in chords]
    return lead_voices(chords, centre, rootless=with_bass)


def power_chord(chord: Chord) -> Voicing:
    """Root, fifth, octave, and the third on top so that the chord keeps its mode."""
    root = 40 + (chord.root - 40) % 12
    third, fifth = chord.pitch_classes[1:3]
    octave = root + 12
    return (root, root + (fifth - root) % 12, octave, octave + (third - octave) % 12)


def _left_hand(part: Part, player: Player) -> list[Tone]:
    root = 36
    tones: list[Tone] = []
    for span in part.chords:
        root = nearest_root(span.chord, root)
        tones.append(
            Tone(span.start_beat, span.duration_beats, fit(root, player.low, player.high), 0.7)
        )
    return tones


def _play_figure(part: Part, player: Player, figure: str, voicings: list[Voicing]) -> list[Tone]:
    bars = read_figure(figure, part.beats_per_bar)
    voicing_at = dict(zip((span.start_beat for span in part.chords), voicings, strict=True))
    tones: list[Tone] = []
    for bar in range(part.played_bars):
        start = part.bar_starts[bar]
        changes = part.changes_between(start, start + part.beats_per_bar)
        for step in _cut(bars[bar % len(bars)], [beat - start for beat in changes]):
            beat = start + step.start_beat
            voicing = voicing_at[part.span_at(beat).start_beat]
            strength = (0.5 + 0.4 * part.intensity) * (1.15 if step.token == "X" else 1.0)
            for pitch in _pitches(voicing, step.token):
                tones.append(
                    Tone(beat, step.length_beats, fit(pitch, player.low, player.high), strength)
                )
    if part.has_final_chord:
        for pitch in voicings[-1]:
            tones.append(
                Tone(
                    part.bar_starts[-1],
                    float(part.beats_per_bar),
                    fit(pitch, player.low, player.high),
                    0.7,
                )
            )
    return tones


def _cut(steps: tuple[Step, ...], changes: list[float]) -> list[Step]:
    """A note held over a chord change is struck again with the new chord."""
    cut: list[Step] = []
    for step in steps:
        start, end = step.start_beat, step.start_beat + step.length_beats
        for change in changes:
            if start < change < end:
                cut.append(Step(start, change - start, step.token))
                start = change
        cut.append(Step(start, end - start, step.token))
    return cut


def _pitches(voicing: Voicing, token: str) -> Voicing:
    """All of a chord for `x`, one voice for a digit (above the highest it goes on an octave up)."""
    if not token.isdigit():
        return voicing
    octaves, place = divmod(int(token) - 1, len(voicing))
    return (voicing[place] + 12 * octaves,)
