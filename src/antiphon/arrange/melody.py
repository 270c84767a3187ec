"""Melody: motifs that are repeated, moved and closed; chord tones where the beat is strong."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from antiphon.arrange.band import Player
from antiphon.arrange.figures import Step, Tone, read_figure, weighted
from antiphon.arrange.parts import Part
from antiphon.notation import Chord, Key

PHRASE_BARS = 4
_CENTRES = {"intro": 0, "verse": -2, "chorus": 4, "bridge": 1, "solo": 3, "ending": 0}
# How the bars of a phrase use the motifs a and b; c closes.
_OPEN_FORMS = ("aabc", "aaba", "abac", "abaa", "abcb")
_PENTATONIC = {"major": (0, 2, 4, 7, 9), "minor": (0, 3, 5, 7, 10)}
_BLUES = {"major": (0, 2, 3, 4, 7, 9), "minor": (0, 3, 5, 6, 7, 10)}


@dataclass(frozen=True)
class Motif:
    """A bar of melody without its harmony: a rhythm, and a walk in scale steps."""

    rhythm: tuple[Step, ...]
    contour: tuple[int, ...]


def is_strong(beat_in_bar: float, beats_per_bar: int) -> bool:
    """The first beat, and the third of four."""
    return beat_in_bar == 0 or (beats_per_bar == 4 and beat_in_bar == 2)


def play_melody(part: Part, player: Player, *, dense: bool = False) -> list[Tone]:
    """The tune of a part; parts of one label share their motifs, later ones vary them."""
    rng = part.stream("melody")
    varied = part.stream("melody variation", part.repeat)
    motifs = {name: make_motif(part, rng, dense=dense) for name in "ab"}
    centre = _centre(part, player, rng)
    tones: list[Tone] = []
    form, arch = "", [0] * PHRASE_BARS
    for bar in range(part.bars):
        place = bar % PHRASE_BARS
        if place == 0:
            # The answering phrase takes up the motifs again.
            form = form if bar and rng.random() < 0.6 else rng.choice(_OPEN_FORMS)
            arch = _arch(rng)
        closing = bar == part.bars - 1 or place == PHRASE_BARS - 1
        final = bar == part.bars - 1
        motif = motifs.get(form[place]) or make_motif(part, rng, dense=dense)
        if closing:
            motif = _cadence(part, motif)
        elif part.repeat and varied.random() < 0.35:
            motif = _vary(motif, varied)
        elif varied.random() < part.plan.style.melody.rest:
            continue
        tones += _sing(part, player, motif, bar, centre, arch[place], tones, varied, final=final)
    return tones


def make_motif(part: Part, rng: Random, *, dense: bool) -> Motif:
    """A bar's rhythm out of the style's one-beat cells, and steps with a leap now and then."""
    melody = part.plan.style.melody
    cells: list[str] = []
    for _ in range(part.beats_per_bar):
        weights = {
            cell: weight * _density_weight(cell, part.intensity + 0.35 * dense)
            for cell, weight in melody.cells.items()
        }
        cells.append(weighted(weights, rng))
    figure = "".join(cells)
    if not figure.strip("-."):
        figure = "x" + "-" * (len(figure) - 1)
    rhythm = read_figure(figure, part.beats_per_bar)[0]
    return Motif(rhythm, _contour(len(rhythm), melody.leap, rng))


def _density_weight(cell: str, intensity: float) -> float:
    notes = sum(character not in "-." for character in cell)
    return 2.0 ** ((notes - 1) * 2.0 * (intensity - 0.5))


def _contour(length: int, leap: float, rng: Random) -> tuple[int, ...]:
    direction = rng.choice((-1, 1))
    place, places = 0, []
    for _ in range(length):
        places.append(place)
        draw = rng.random()
        if draw < leap:
            # A leap is filled in by what follows in the other direction.
            place += direction * rng.choice((3, 4))
            direction = -direction
        elif draw < leap + 0.2:
            place += 2 * direction
        elif draw < leap + 0.32:
            pass
        else:
            place += direction
        if rng.random() < 0.25 or abs(place) > 4:
            direction = -1 if place > 0 else 1
    return tuple(places)


def _arch(rng: Random) -> list[int]:
    """Where each bar of a phrase lies, in scale steps from its centre: most phrases rise first."""
    return rng.choice(
        ([0, 1, 2, 0], [0, 2, 3, 0], [0, 0, 2, -1], [2, 1, 0, -1], [0, -1, 1, 0], [-1, 1, 3, 1])
    )


def _vary(motif: Motif, rng: Random) -> Motif:
    """One long note becomes two, or one step turns the other way."""
    long = [i for i, step in enumerate(motif.rhythm) if step.length_beats >= 1]
    if long and rng.random() < 0.6:
        i = rng.choice(long)
        start, length, token = motif.rhythm[i]
        halves = (Step(start, length / 2, token), Step(start + length / 2, length / 2, token))
        neighbour = motif.contour[i] + rng.choice((-1, 1))
        return Motif(
            (*motif.rhythm[:i], *halves, *motif.rhythm[i + 1 :]),
            (*motif.contour[: i + 1], neighbour, *motif.contour[i + 1 :]),
        )
    i = rng.randrange(len(motif.contour))
    contour = list(motif.contour)
    contour[i] += rng.choice((-2, -1, 1, 2))
    return Motif(motif.rhythm, tuple(contour))


def _cadence(part: Part, motif: Motif) -> Motif:
    """The start of the motif, then one long note and a breath."""
    beats = part.beats_per_bar
    arrival = 0.0 if part.has_final_chord or beats == 3 else 2.0
    early = [step for step in motif.rhythm if step.start_beat < arrival]
    early = [
        Step(s.start_beat, min(s.length_beats, arrival - s.start_beat), s.token) for s in early
    ]
    last = Step(arrival, beats - arrival - (0.0 if part.has_final_chord else 0.5), "x")
    return Motif((*early, last), (*motif.contour[: len(early)], 0))


def _centre(part: Part, player: Player, rng: Random) -> int:
    comfortable = player.low + round(0.52 * (player.high - player.low))
    centre = min(max(comfortable, 60), 76)
    centre += _CENTRES[part.label] + part.plan.register
    return min(max(centre, player.low + 5), player.high - 5)


def chord_scale(key: Key, chord: Chord, scale: str) -> frozenset[int]:
    """Pitch classes that fit: the scale, corrected where the chord leaves it."""
    if scale == "diatonic":
        classes = set(key.scale)
    else:
        steps = (_PENTATONIC if scale == "pentatonic" else _BLUES)[key.mode]
        classes = {(key.tonic + step) % 12 for step in steps}
    chord_tones = set(chord.pitch_classes)
    strangers = chord_tones - set(key.scale)
    clashing = {(tone + shift) % 12 for tone in strangers for shift in (-1, 1)} - chord_tones
    return frozenset((classes - clashing) | chord_tones)


def _sing(
    part: Part,
    player: Player,
    motif: Motif,
    bar: int,
    centre: int,
    height: int,
    before: list[Tone],
    rng: Random,
    *,
    final: bool,
) -> list[Tone]:
    """Put a motif onto the harmony of a bar."""
    style = part.plan.style.melody
    tones: list[Tone] = []
    legato = min(style.legato * part.plan.legato, 1.0)
    for number, (step, place) in enumerate(zip(motif.rhythm, motif.contour, strict=True)):
        beat = part.bar_starts[bar] + step.start_beat
        chord = part.chord_at(beat)
        previous = (tones or before or [Tone(0, 0, centre, 0)])[-1].pitch
        # A scale step is 12/7 semitones on average.
        goal = centre + round((place + height) * 12 / 7)
        strong = is_strong(step.start_beat, part.beats_per_bar) or step.length_beats >= 1.5
        if final and number == len(motif.rhythm) - 1:
            allowed = frozenset({part.chords[-1].chord.root})
        elif strong and rng.random() < 0.96:
            allowed = frozenset(chord.pitch_classes[:4])
        else:
            allowed = chord_scale(part.plan.key, chord, style.scale)
        pitch = _nearest(goal, previous, allowed, player)
        strength = (0.62 + 0.35 * part.intensity) * (1.06 if strong else 0.95)
        tones.append(Tone(beat, step.length_beats * legato, pitch, strength))
    return tones


def _nearest(goal: int, previous: int, allowed: frozenset[int], player: Player) -> int:
    """The allowed pitch nearest the goal, at most a sixth from the note before."""
    goal = min(max(goal, previous - 9, player.low), previous + 9, player.high)
    options = [
        pitch
        for pitch in range(max(goal - 11, player.low), min(goal + 11, player.high) + 1)
        if pitch % 12 in allowed
    ]
    return min(options, key=lambda pitch: (abs(pitch - goal) + 0.2 * abs(pitch - previous), pitch))
