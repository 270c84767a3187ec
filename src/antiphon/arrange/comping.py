"""Chord instruments: rhythm figures over led voicings, sustained pads, broken-chord riffs."""

from __future__ import annotations

from antiphon.arrange.band import Player
from antiphon.arrange.bass import nearest_root
from antiphon.arrange.figures import Step, Tone, pick_by_intensity, read_figure
from antiphon.arrange.parts import Part
from antiphon.arrange.voicing import Voicing, fit, lead_voices, power_chord

_CENTRES = {
    "acoustic guitar": 57, "electric guitar": 57, "piano": 60, "electric piano": 60, "harp": 64,
    "mallets": 67,
}  # fmt: skip
_USUAL_CENTRE = 62
_RIFF_LIFT, _DESK_LIFT = 7, 5
_LOWEST_LEFT_HAND = 33
_ROOT_STRENGTH = 0.7


def play_chords(part: Part, player: Player, *, with_roots: bool) -> list[Tone]:
    """Chords in the style's rhythm; `with_roots` when there is no bass to play them."""
    rng = part.stream("comping", player.instrument)
    figure = pick_by_intensity(part.plan.style.chords[part.metre], part.busyness, rng)
    voicings = _voicings(part, player, rootless=not with_roots)
    if not with_roots:
        return _play_figure(part, player, figure, voicings)
    roots = _roots(part, player)
    above = [_above(root, voicing) for root, voicing in zip(roots, voicings, strict=True)]
    return [*_hold(part, roots, _ROOT_STRENGTH), *_play_figure(part, player, figure, above)]


def play_pad(part: Part, player: Player, *, with_roots: bool) -> list[Tone]:
    """Every chord held for as long as it lasts."""
    strength = 0.42 + 0.25 * part.intensity
    voicings = _voicings(part, player, rootless=not with_roots)
    tones: list[Tone] = []
    if with_roots:
        roots = _roots(part, player)
        tones = _hold(part, roots, _ROOT_STRENGTH)
        voicings = [_above(root, voicing) for root, voicing in zip(roots, voicings, strict=True)]
    for span, voicing in zip(part.chords, voicings, strict=True):
        for pitch in _in_range(voicing, player):
            tones.append(Tone(span.start_beat, span.duration_beats, pitch, strength))
    return tones


def play_riff(part: Part, player: Player) -> list[Tone]:
    """A figure of single chord tones above the chords."""
    rng = part.stream("riff", player.instrument)
    figure = pick_by_intensity(part.plan.style.riff[part.metre], part.busyness, rng)
    voicings = _voicings(part, player, rootless=False, lift=_RIFF_LIFT)
    return _play_figure(part, player, figure, voicings)


def _voicings(part: Part, player: Player, *, rootless: bool, lift: int = 0) -> list[Voicing]:
    chords = [span.chord for span in part.chords]
    if player.instrument == "distorted guitar" and player.role == "chords":
        return [power_chord(chord) for chord in chords]
    centre = _CENTRES.get(player.instrument, _USUAL_CENTRE) + lift + _DESK_LIFT * player.desk
    return lead_voices(chords, centre + part.register // 2, rootless=rootless)


def _in_range(voicing: Voicing, player: Player) -> Voicing:
    """By octaves into the player's range, two voices that meet there becoming one."""
    return tuple(sorted({fit(pitch, player.low, player.high) for pitch in voicing}))


def _roots(part: Part, player: Player) -> list[int]:
    """The roots of all chords in the lowest octave that sounds well on the instrument."""
    lowest = max(player.low, _LOWEST_LEFT_HAND)
    roots: list[int] = []
    for span in part.chords:
        roots.append(nearest_root(span.chord, roots[-1] if roots else lowest, lowest))
    return roots


def _hold(part: Part, pitches: list[int], strength: float) -> list[Tone]:
    return [
        Tone(span.start_beat, span.duration_beats, pitch, strength)
        for span, pitch in zip(part.chords, pitches, strict=True)
    ]


def _above(root: int, voicing: Voicing) -> Voicing:
    """A right hand that stays above the left."""
    return tuple(sorted(pitch if pitch > root else pitch + 12 for pitch in voicing))


def _play_figure(part: Part, player: Player, figure: str, voicings: list[Voicing]) -> list[Tone]:
    bars = read_figure(figure, part.beats_per_bar)
    starts = [span.start_beat for span in part.chords]
    voicing_at = {
        start: _in_range(voicing, player) for start, voicing in zip(starts, voicings, strict=True)
    }
    legato = min(part.plan.legato, 1.0)
    tones: list[Tone] = []
    for bar in range(part.played_bars):
        for step in _struck_anew(bars[bar % len(bars)], part.changes_in_bar(bar)):
            beat = part.bar_starts[bar] + step.start_beat
            accent = 1.15 if step.token == "X" else 1.0 if step.start_beat == 0 else 0.93
            strength = (0.48 + 0.4 * part.intensity) * accent
            for pitch in _pitches(voicing_at[part.span_at(beat).start_beat], step.token):
                pitch = fit(pitch, player.low, player.high)
                tones.append(Tone(beat, step.length_beats * legato, pitch, strength))
    if part.has_final_chord:
        last = part.bar_starts[-1]
        for pitch in voicing_at[part.span_at(last).start_beat]:
            tones.append(Tone(last, float(part.beats_per_bar), pitch, 0.7))
    return tones


def _struck_anew(steps: tuple[Step, ...], changes: list[float]) -> list[Step]:
    """A note held over a chord change is struck again with the new chord."""
    struck: list[Step] = []
    for start, length, token in steps:
        end = start + length
        for change in changes:
            if start < change < end:
                struck.append(Step(start, change - start, token))
                start = change
        struck.append(Step(start, end - start, token))
    return struck


def _pitches(voicing: Voicing, token: str) -> Voicing:
    """All of a chord for `x`, one voice for a digit (above the highest it goes on an octave up)."""
    if not token.isdigit():
        return voicing
    octaves, place = divmod(int(token) - 1, len(voicing))
    return (voicing[place] + 12 * octaves,)
