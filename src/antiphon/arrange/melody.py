"""Melody: motifs that are repeated, moved and closed; chord tones where the beat is strong."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from antiphon.arrange.band import Player
from antiphon.arrange.figures import Step, Tone, read_figure, weighted
from antiphon.arrange.form import PHRASE_BARS
from antiphon.arrange.parts import Part
from antiphon.arrange.voicing import fit
from antiphon.notation import Chord, Key

# How the bars of a phrase use the motifs a and b; c is made anew, and the last bar closes.
_FORMS = ("aabc", "aaba", "abac", "abab", "aaca", "abcb")
_SOLO_FORMS = ("accb", "cacc", "abcc", "ccac")
# Where the bars of a phrase lie, in scale steps above its centre: most rise before they fall
# (Huron, The melodic arch in Western folksongs, 1996).
_ARCHES = ((0, 1, 2, 0), (0, 2, 3, 0), (0, 0, 2, -1), (2, 1, 0, -1), (0, -1, 1, 0), (-1, 1, 3, 1))
_PENTATONIC = {"major": (0, 2, 4, 7, 9), "minor": (0, 3, 5, 7, 10)}
_BLUES = {"major": (0, 2, 3, 4, 7, 9), "minor": (0, 3, 5, 6, 7, 10)}
_SEMITONES_PER_STEP = 12 / 7
_LARGEST_LEAP = 9
_COUNTER_CENTRE = 62
_SURE_CHORD_TONE = 0.95  # on strong beats; the rest are suspensions
_LOWEST_CENTRE, _HIGHEST_CENTRE = 66, 72  # above the chords


@dataclass(frozen=True)
class Motif:
    """A bar of melody without its harmony: a rhythm, and a height for each note in scale steps."""

    rhythm: tuple[Step, ...]
    heights: tuple[int, ...]
    closes: bool = False  # whether its last note comes to rest


def play_melody(part: Part, player: Player, *, solo: bool = False) -> list[Tone]:
    """The tune of a part. Parts of one label share their motifs; later ones vary them."""
    rng = part.stream("melody", solo)
    variation = part.stream("melody", "variation", part.repeat)
    forms = _SOLO_FORMS if solo else _FORMS
    motifs = {name: make_motif(part, rng, solo=solo) for name in "ab"}
    form, arch = rng.choice(forms), rng.choice(_ARCHES)
    tones: list[Tone] = []
    for bar in range(part.bars):
        place = bar % PHRASE_BARS
        if bar and place == 0 and rng.random() < 0.5:
            form, arch = rng.choice(forms), rng.choice(_ARCHES)
        motif = motifs.get(form[place]) or make_motif(part, rng, solo=solo)
        last = bar == part.bars - 1
        rests = variation.random() < part.plan.style.melody.rest
        if last or place == PHRASE_BARS - 1:
            motif = _close(part, motif, last=last)
        elif rests and not solo:
            continue
        elif part.repeat and variation.random() < 0.35:
            motif = _vary(motif, variation)
        height = arch[place] * (2 if solo else 1)
        previous = tones[-1].pitch if tones else centre_of(part, player)
        tones += _sing(part, player, motif, bar, height, previous, variation)
    return tones


def play_second(part: Part, player: Player, lead: list[Tone]) -> list[Tone]:
    """A second voice below the tune, a third or more away, note against note."""
    tones: list[Tone] = []
    for tone in lead:
        chord = part.chord_at(tone.start_beat)
        allowed = set(chord.pitch_classes)
        if tone.pitch % 12 not in allowed:
            allowed = chord_scale(part.plan.key, chord, "diatonic")
        below = [p for p in range(tone.pitch - 9, tone.pitch - 2) if p % 12 in allowed]
        pitch = fit(max(below), player.low, player.high)
        tones.append(Tone(tone.start_beat, tone.length_beats, pitch, tone.strength * 0.85))
    return tones


def play_counter(part: Part, player: Player) -> list[Tone]:
    """A line of long notes through the thirds and sevenths of the chords, the tones that tell one
    chord from the next; a second desk takes roots and fifths."""
    first = 1 if player.desk % 2 == 0 else 0
    previous = min(centre_of(part, player), _COUNTER_CENTRE)
    strength = 0.5 + 0.35 * part.intensity
    tones: list[Tone] = []
    for span in part.chords:
        pitch = _nearest(previous, previous, set(span.chord.pitch_classes[first::2]), player)
        tones.append(Tone(span.start_beat, 0.95 * span.duration_beats, pitch, strength))
        previous = pitch
    return tones


def make_motif(part: Part, rng: Random, *, solo: bool) -> Motif:
    """A bar's rhythm out of the style's one-beat cells, and steps with a leap now and then."""
    melody = part.plan.style.melody
    busyness = part.busyness + (0.35 if solo else 0.0)
    weights = {cell: weight * _preference(cell, busyness) for cell, weight in melody.cells.items()}
    figure = "".join(weighted(weights, rng) for _ in range(part.beats_per_bar))
    if not figure.strip("-."):
        figure = "x" + "-" * (len(figure) - 1)
    rhythm = read_figure(figure, part.beats_per_bar)[0]
    return Motif(rhythm, _walk(len(rhythm), melody.leap, rng))


def _preference(cell: str, busyness: float) -> float:
    """Cells with many notes for busy parts, those with few or none for quiet ones."""
    notes = sum(character not in "-." for character in cell)
    return float(4.0 ** ((notes - 1) * (busyness - 0.5)))


def _walk(length: int, leap: float, rng: Random) -> tuple[int, ...]:
    direction = rng.choice((-1, 1))
    height = 0
    heights: list[int] = []
    for _ in range(length):
        heights.append(height)
        draw = rng.random()
        if draw < leap:
            # A leap is filled in by what follows in the other direction.
            height += direction * rng.choice((3, 4))
            direction = -direction
        elif draw < leap + 0.2:
            height += 2 * direction
        elif draw > leap + 0.3:
            height += direction
        if rng.random() < 0.25 or abs(height) > 4:
            direction = -1 if height > 0 else 1
    return tuple(heights)


def _vary(motif: Motif, rng: Random) -> Motif:
    """One long note becomes two, or one note goes elsewhere."""
    long = [place for place, step in enumerate(motif.rhythm) if step.length_beats >= 1]
    if long and rng.random() < 0.6:
        place = rng.choice(long)
        start, length, token = motif.rhythm[place]
        halves = (Step(start, length / 2, token), Step(start + length / 2, length / 2, token))
        neighbour = motif.heights[place] + rng.choice((-1, 1))
        return Motif(
            (*motif.rhythm[:place], *halves, *motif.rhythm[place + 1 :]),
            (*motif.heights[: place + 1], neighbour, *motif.heights[place + 1 :]),
        )
    place = rng.randrange(len(motif.heights))
    heights = list(motif.heights)
    heights[place] += rng.choice((-2, -1, 1, 2))
    return Motif(motif.rhythm, tuple(heights))


def _close(part: Part, motif: Motif, *, last: bool) -> Motif:
    """The start of the motif, then one long note, and a breath unless it is the final chord."""
    beats = part.beats_per_bar
    held = last and part.has_final_chord
    arrival = 0.0 if held or beats == 3 else 2.0
    early = [
        Step(step.start_beat, min(step.length_beats, arrival - step.start_beat), step.token)
        for step in motif.rhythm
        if step.start_beat < arrival
    ]
    long = Step(arrival, beats - arrival - (0.0 if held else 0.5), "x")
    return Motif((*early, long), (*motif.heights[: len(early)], 0), closes=True)


def centre_of(part: Part, player: Player) -> int:
    """The pitch around which a player sings in a part."""
    comfortable = round(0.48 * player.low + 0.52 * player.high)
    centre = min(max(comfortable, _LOWEST_CENTRE), _HIGHEST_CENTRE) + part.register
    return min(max(centre, player.low + 6), player.high - 6)


def chord_scale(key: Key, chord: Chord, scale: str) -> set[int]:
    """Pitch classes that fit a chord: the scale, corrected where the chord leaves it."""
    if scale == "diatonic":
        classes = set(key.scale)
    else:
        steps = (_PENTATONIC if scale == "pentatonic" else _BLUES)[key.mode]
        classes = {(key.tonic + step) % 12 for step in steps}
    chord_tones = set(chord.pitch_classes)
    strangers = chord_tones - set(key.scale)
    clashing = {(tone + shift) % 12 for tone in strangers for shift in (-1, 1)} - chord_tones
    return (classes - clashing) | chord_tones


def _sing(
    part: Part, player: Player, motif: Motif, bar: int, height: int, previous: int, rng: Random
) -> list[Tone]:
    """Put a motif onto the harmony of a bar."""
    style = part.plan.style.melody
    legato = min(style.legato * part.plan.legato, 1.0)
    centre = centre_of(part, player)
    tones: list[Tone] = []
    for place, step in enumerate(motif.rhythm):
        beat = part.bar_starts[bar] + step.start_beat
        chord = part.chord_at(beat)
        strong = part.is_strong(beat)
        if motif.closes and place == len(motif.rhythm) - 1:
            allowed = {_resting_tone(part.plan.key, chord)}
        elif (strong or step.length_beats >= 1.5) and rng.random() < _SURE_CHORD_TONE:
            allowed = set(chord.pitch_classes[:4])
        else:
            allowed = chord_scale(part.plan.key, chord, style.scale)
        goal = centre + round((motif.heights[place] + height) * _SEMITONES_PER_STEP)
        previous = _nearest(goal, previous, allowed, player)
        strength = (0.62 + 0.35 * part.intensity) * (1.06 if strong else 0.96)
        tones.append(Tone(beat, step.length_beats * legato, previous, strength))
    return tones


def _resting_tone(key: Key, chord: Chord) -> int:
    """Where a phrase comes to rest: the tonic or else the fifth of the key, if the chord has it."""
    fifth = (key.tonic + 7) % 12
    tones = chord.pitch_classes[:3]
    return key.tonic if key.tonic in tones else fifth if fifth in tones else chord.root


def _nearest(goal: int, previous: int, allowed: set[int], player: Player) -> int:
    """The allowed pitch nearest the goal, about a sixth from the note before at most."""
    goal = min(max(goal, previous - _LARGEST_LEAP), previous + _LARGEST_LEAP)
    goal = min(max(goal, player.low), player.high)
    options = [
        pitch
        for pitch in range(max(goal - 11, player.low), min(goal + 11, player.high) + 1)
        if pitch % 12 in allowed
    ]

    def cost(pitch: int) -> float:
        # Nearness to the note before makes steps of leaps; standing still is what it must not make.
        near = 0.5 * abs(pitch - previous) + 1.2 * (pitch == previous != goal)
        return abs(pitch - goal) + near

    return min(options, key=cost)
