"""Chords: functional progressions by weighted moves between Roman numerals. Knows no instrument."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from random import Random

from antiphon.arrange.figures import stream, weighted
from antiphon.arrange.plan import Plan
from antiphon.arrange.styles import read_data
from antiphon.controls import SectionPlan
from antiphon.notation import MAJOR_SCALE, Chord, Key, Mode
from antiphon.plain import read_json
from antiphon.score import ChordSpan

PHRASE_BARS = 4
_ROMAN = ("I", "II", "III", "IV", "V", "VI", "VII")
_NUMERAL = re.compile(r"(sub|b)?([iv]+|[IV]+)(o|7)?(?:/(.+))?")


@dataclass(frozen=True)
class Grammar:
    """Moves between numerals in one mode; see the head of grammars.yaml."""

    opens: dict[str, float]
    moves: dict[str, dict[str, float]]
    half: dict[str, float]
    close: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Grammars:
    by_name: dict[str, dict[Mode, Grammar]]


@cache
def load_grammars() -> dict[str, dict[Mode, Grammar]]:
    text = json.dumps({"by_name": read_data("grammars.yaml")})
    return read_json(Grammars, text, "grammars.yaml").by_name


def parse_numeral(numeral: str) -> tuple[int, str]:
    """Semitones above the tonic, and `maj`, `min`, `dim` or `dom` (a major triad that wants to
    move on by a fifth, and so takes a minor seventh)."""
    match = _NUMERAL.fullmatch(numeral)
    assert match is not None, f"grammars.yaml has the numeral {numeral!r}"
    prefix, roman, suffix, target = match.groups()
    if target is not None:
        return (parse_numeral(target)[0] + 7) % 12, "dom"
    if prefix == "sub":  # the tritone substitute of the dominant
        return 1, "dom"
    root = (MAJOR_SCALE[_ROMAN.index(roman.upper())] - (prefix == "b")) % 12
    if suffix == "o":
        return root, "dim"
    if suffix == "7" or roman == "V" or numeral == "bVII":
        return root, "dom7" if suffix == "7" else "dom"
    return root, "maj" if roman.isupper() else "min"


def realise(numeral: str, key: Key, sevenths: float, ninths: float, rng: Random) -> Chord:
    """The chord of a numeral in a key, grown to a seventh or ninth by the given chances."""
    offset, family = parse_numeral(numeral)
    seventh, ninth = rng.random() < sevenths, rng.random() < ninths
    quality = {
        "maj": "maj9" if ninth else "maj7" if seventh else "maj",
        "min": "min9" if ninth else "min7" if seventh else "min",
        "dom": "9" if ninth else "7" if seventh else "maj",
        "dom7": "9" if ninth else "7",
        "dim": "hdim7" if seventh else "dim",
    }[family]
    return Chord((key.tonic + offset) % 12, quality)


def write_harmony(plan: Plan) -> tuple[tuple[ChordSpan, ...], ...]:
    """The chords of each section, in beats from the start of the piece."""
    harmony = plan.style.harmony
    colours: dict[str, Chord] = {}
    phrases: dict[str, list[list[list[str]]]] = {}
    spans: list[tuple[ChordSpan, ...]] = []
    bar = 0
    for number, section in enumerate(plan.sections):
        rng = stream(plan.seed, "harmony", section.label)
        last = number == len(plan.sections) - 1
        bars = _section_numerals(plan, section, phrases, rng, last=last)
        chords: list[ChordSpan] = []
        for offset, numerals in enumerate(bars):
            start = float((bar + offset) * plan.beats_per_bar)
            for length, numeral in zip(
                _split_bar(plan.beats_per_bar, len(numerals)), numerals, strict=True
            ):
                if numeral not in colours:
                    # One colour per numeral and piece: a C major seventh stays one.
                    colour = stream(plan.seed, "colour", numeral)
                    colours[numeral] = realise(
                        numeral, plan.key, harmony.sevenths, harmony.ninths, colour
                    )
                chords.append(ChordSpan(start, length, colours[numeral]))
                start += length
        spans.append(_merge(chords))
        bar += section.bars
    return tuple(spans)


def _split_bar(beats: int, parts: int) -> list[float]:
    """Two chords share a bar of three as 2 + 1."""
    if parts == 1:
        return [float(beats)]
    first = (beats + 1) // 2
    return [float(first), float(beats - first)]


def _merge(chords: list[ChordSpan]) -> tuple[ChordSpan, ...]:
    merged: list[ChordSpan] = []
    for span in chords:
        if merged and merged[-1].chord == span.chord:
            before = merged.pop()
            span = ChordSpan(
                before.start_beat, before.duration_beats + span.duration_beats, span.chord
            )
        merged.append(span)
    return tuple(merged)


def _section_numerals(
    plan: Plan,
    section: SectionPlan,
    phrases: dict[str, list[list[list[str]]]],
    rng: Random,
    *,
    last: bool,
) -> list[list[str]]:
    """The numerals of each bar: open and closed phrases in turn, the last one closed; odd bars are
    a tag that repeats the end."""
    grammar = load_grammars()[plan.style.harmony.grammar][plan.key.mode]
    if section.label not in phrases:
        rhythm = rng.choice(plan.style.harmony.rhythms)
        opened = write_phrase(grammar, rhythm, rng, closed=False)
        closed = write_phrase(grammar, rhythm, rng, closed=True, begin=opened)
        phrases[section.label] = [opened, closed]
    opened, closed = phrases[section.label]
    count, odd = divmod(section.bars, PHRASE_BARS)
    bars: list[list[str]] = []
    for index in range(count):
        bars += closed if index == count - 1 or index % 2 else opened
    if odd:
        bars += closed[-odd:]
    if section.label == "ending" or last:
        bars[-1] = [_tonic(plan.key)]
    return bars


def _tonic(key: Key) -> str:
    return "I" if key.mode == "major" else "i"


def write_phrase(
    grammar: Grammar,
    rhythm: str,
    rng: Random,
    *,
    closed: bool,
    begin: list[list[str]] | None = None,
) -> list[list[str]]:
    """Numerals for the four bars of a phrase; a consequent begins like its antecedent."""
    counts = [int(count) for count in rhythm]
    slots = sum(counts)
    if closed:
        fitting = [formula for formula in grammar.close if len(formula) < max(slots, 2)]
        end = list(rng.choice(fitting or [grammar.close[0][-1:]]))[-slots:]
    else:
        end = [weighted(grammar.half, rng)]
    known = [numeral for bar in (begin or [])[:2] for numeral in bar]
    first = known[0] if known and rng.random() < 0.8 else weighted(grammar.opens, rng)
    numerals = walk(grammar, first, slots - len(end), end[0], rng) + end
    bars: list[list[str]] = []
    for count in counts:
        taken, numerals = numerals[:count], numerals[count:]
        bars.append(taken or bars[-1][-1:])
    return bars


def walk(grammar: Grammar, first: str, length: int, goal: str, rng: Random) -> list[str]:
    """`length` numerals from `first` by the grammar's moves, the last of which may move to `goal`.

    Drawn exactly from the Markov chain conditioned on its end (backward weights, forward draws).
    """
    if length <= 0:
        return []
    # reach[k][x]: the weight of all ways from x to the goal in k moves.
    reach: list[dict[str, float]] = [{goal: 1.0}]
    for _ in range(length):
        reach.append(
            {
                origin: weight
                for origin, moves in grammar.moves.items()
                if (weight := sum(w * reach[-1].get(to, 0.0) for to, w in moves.items())) > 0
            }
        )
    if first not in reach[length]:
        first = weighted({x: w * grammar.opens.get(x, 0.05) for x, w in reach[length].items()}, rng)
    numerals = [first]
    for left in range(length - 1, 0, -1):
        moves = grammar.moves[numerals[-1]]
        numerals.append(
            weighted({to: w * reach[left].get(to, 0.0) for to, w in moves.items()}, rng)
        )
    return numerals
