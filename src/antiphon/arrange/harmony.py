"""Chords: functional progressions by weighted moves between Roman numerals. Knows no instrument."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from random import Random

from antiphon.arrange.figures import weighted
from antiphon.arrange.form import PHRASE_BARS
from antiphon.arrange.plan import Plan
from antiphon.arrange.styles import read_data
from antiphon.controls import SectionPlan
from antiphon.errors import ConfigError
from antiphon.notation import MAJOR_SCALE, Chord, Key, Mode
from antiphon.plain import read_json
from antiphon.score import ChordSpan

_CHORUS_BARS = 12
_ROMAN = ("I", "II", "III", "IV", "V", "VI", "VII")
_NUMERAL = re.compile(r"(sub|b)?([iv]+|[IV]+)(o|7)?(?:/(.+))?")
_ENDING_RHYTHM = "1111"

Bars = list[list[str]]  # the numerals of each bar


@dataclass(frozen=True)
class Grammar:
    """Moves between numerals in one mode; see the head of grammars.yaml."""

    opens: dict[str, float]
    moves: dict[str, dict[str, float]]
    half: dict[str, float]
    close: tuple[tuple[str, ...], ...]
    thirds: tuple[tuple[str, ...], ...] = ()

    def __post_init__(self) -> None:
        """Raise ConfigError for a numeral that cannot be read or that leads nowhere."""
        for origin, moves in self.moves.items():
            for numeral in (origin, *moves):
                parse_numeral(numeral)
                if numeral not in self.moves:
                    raise ConfigError(
                        f"{origin} moves to {numeral}, which has no moves of its own; add some"
                    )
        reached = {numeral for moves in self.moves.values() for numeral in moves}
        for goal in (*self.half, *(formula[0] for formula in self.close)):
            if goal not in reached:
                raise ConfigError(f"a phrase ends with {goal}, to which nothing moves; add a move")

    @property
    def tonic(self) -> str:
        return self.close[0][-1]


@dataclass(frozen=True)
class _Grammars:
    by_name: dict[str, dict[Mode, Grammar]]


@cache
def load_grammars() -> dict[str, dict[Mode, Grammar]]:
    """By name and mode. Raises ConfigError when grammars.yaml is not as `Grammar` says."""
    text = json.dumps({"by_name": read_data("grammars.yaml")})
    return read_json(_Grammars, text, "grammars.yaml").by_name


@cache
def parse_numeral(numeral: str) -> tuple[int, str]:
    """Semitones above the tonic, and `maj`, `min`, `dim`, `dom` (a major triad that wants to move
    on by a fifth, and so takes a minor seventh), `dom7` (never without it) or `triad` (never with
    one).

    Raises ConfigError for anything else.
    """
    match = _NUMERAL.fullmatch(numeral)
    if match is None or match[2].upper() not in _ROMAN:
        raise ConfigError(f"numeral {numeral!r} is not understood; expected one like I, bVII, V/ii")
    prefix, roman, suffix, target = match.groups()
    if target is not None:
        return (parse_numeral(target)[0] + 7) % 12, "dom"
    if prefix == "sub":  # the tritone substitute of the dominant
        return 1, "dom"
    root = (MAJOR_SCALE[_ROMAN.index(roman.upper())] - (prefix == "b")) % 12
    if suffix == "o":
        return root, "dim"
    if suffix == "7":
        return root, "dom7"
    if roman == "V":
        return root, "dom"
    if numeral == "bVII":  # with a seventh it would be the dominant of the relative major
        return root, "triad"
    return root, "maj" if roman.isupper() else "min"


def realise(numeral: str, key: Key, sevenths: float, ninths: float, rng: Random) -> Chord:
    """The chord of a numeral in a key, grown to a seventh or ninth by the given chances; to a ninth
    only if it belongs to the key."""
    offset, family = parse_numeral(numeral)
    root = (key.tonic + offset) % 12
    if numeral == "i":  # with a seventh it holds the whole tonic triad of the relative major
        sevenths, ninths = sevenths / 2, ninths / 2
    seventh = rng.random() < sevenths
    ninth = rng.random() < ninths and (root + 2) % 12 in key.scale
    quality = {
        "maj": "maj9" if ninth else "maj7" if seventh else "maj",
        "min": "min9" if ninth else "min7" if seventh else "min",
        "dom": "9" if ninth else "7" if seventh else "maj",
        "dom7": "9" if ninth else "7",
        "triad": "maj",
        "dim": "hdim7" if seventh else "dim",
    }[family]
    return Chord(root, quality)


def write_harmony(plan: Plan) -> tuple[tuple[ChordSpan, ...], ...]:
    """The chords of each section, in beats from the start of the piece."""
    harmony = plan.style.harmony
    numerals = write_numerals(plan)
    colours: dict[str, Chord] = {}
    sections: list[tuple[ChordSpan, ...]] = []
    start = 0.0
    for bars in numerals:
        spans: list[ChordSpan] = []
        for bar in bars:
            for length, numeral in zip(_split_bar(plan.beats_per_bar, len(bar)), bar, strict=True):
                if numeral not in colours:
                    # One colour per numeral and piece: a C major seventh stays one.
                    rng = plan.stream("colour", numeral)
                    colours[numeral] = realise(
                        numeral, plan.key, harmony.sevenths, harmony.ninths, rng
                    )
                spans.append(ChordSpan(start, length, colours[numeral]))
                start += length
        sections.append(_merge(spans))
    return tuple(sections)


def _split_bar(beats: int, parts: int) -> list[float]:
    """Two chords share a bar of three as 2 + 1."""
    if parts == 1:
        return [float(beats)]
    first = (beats + 1) // 2
    return [float(first), float(beats - first)]


def _merge(spans: list[ChordSpan]) -> tuple[ChordSpan, ...]:
    """Neighbours with the same chord as one."""
    merged: list[ChordSpan] = []
    for span in spans:
        if merged and merged[-1].chord == span.chord:
            before = merged.pop()
            length = before.duration_beats + span.duration_beats
            span = ChordSpan(before.start_beat, length, span.chord)
        merged.append(span)
    return tuple(merged)


def write_numerals(plan: Plan) -> list[Bars]:
    """The numerals of every bar of every section.

    Sections of one label share their phrases, a solo goes over the verse, an intro often prepares
    what follows it, and the last bar of the piece is the tonic.
    """
    labels = [section.label for section in plan.sections]
    grammar = load_grammars()[plan.style.harmony.grammar][plan.key.mode]
    rng = plan.stream("harmony", "sources")
    sources = {label: label for label in labels}
    if "verse" in labels:
        sources["solo"] = "verse"
    if labels[0] == "intro" and len(labels) > 1 and rng.random() < 0.6:
        sources["intro"] = rng.choice([labels[1], labels[-1 if labels[-1] != "ending" else -2]])
    written: dict[str, tuple[Bars, Bars]] = {}
    numerals: list[Bars] = []
    for place, section in enumerate(plan.sections):
        source = sources[section.label]
        draw = plan.stream("harmony", source)
        if grammar.thirds and section.label != "ending":
            bars = _write_choruses(grammar, section.bars, draw)
        else:
            if source not in written:
                written[source] = _write_phrases(plan, grammar, source, draw)
            bars = _join(section, *written[source])
        if place == len(labels) - 1:
            bars[-1] = [grammar.tonic]
        numerals.append(bars)
    return numerals


def _write_phrases(plan: Plan, grammar: Grammar, label: str, rng: Random) -> tuple[Bars, Bars]:
    """An open phrase and the closed one that answers it; a loop is its own answer."""
    harmony = plan.style.harmony
    if label == "ending":
        closed = write_phrase(grammar, _ENDING_RHYTHM, rng, closed=True)
        return closed, closed
    rhythm = rng.choice(harmony.rhythms)
    opened = write_phrase(grammar, rhythm, rng, closed=False)
    if rng.random() < harmony.loop:
        return opened, opened
    # A cadence wants two chords after the first.
    closing_rhythm = rhythm if sum(map(int, rhythm)) > 2 else "1011"
    return opened, write_phrase(grammar, closing_rhythm, rng, closed=True, begin=opened)


def _join(section: SectionPlan, opened: Bars, closed: Bars) -> Bars:
    """Open and closed phrases in turn, the last one closed but for an intro, which leads on; odd
    bars are a tag that repeats the end."""
    count, odd = divmod(section.bars, PHRASE_BARS)
    if section.label == "intro":
        closed = opened
    bars: Bars = []
    for index in range(count):
        bars += closed if index == count - 1 or index % 2 else opened
    return bars + (closed[-odd:] if odd else [])


def _write_choruses(grammar: Grammar, bars: int, rng: Random) -> Bars:
    """Twelve-bar choruses; a shorter stretch keeps the beginning and the turnaround."""
    chorus: Bars = [bar.split("_") for third in grammar.thirds for bar in rng.choice(third).split()]
    whole, rest = divmod(bars, _CHORUS_BARS)
    head = max(rest - PHRASE_BARS, 0)
    tail = rest - head
    return chorus * whole + chorus[:head] + (chorus[-tail:] if tail else [])


def write_phrase(
    grammar: Grammar, rhythm: str, rng: Random, *, closed: bool, begin: Bars | None = None
) -> Bars:
    """Numerals for the bars of a phrase, as many to each as `rhythm` says; 0 goes on with the chord
    before. A consequent begins like its antecedent `begin`."""
    counts = [int(count) for count in rhythm]
    slots = sum(counts)
    if slots == 1:
        return [[grammar.tonic]] * len(counts)
    if closed:
        fitting = [formula for formula in grammar.close if len(formula) < slots]
        end = list(rng.choice(fitting)) if fitting else [grammar.tonic]
    else:
        end = [weighted(grammar.half, rng)]
    likewise = begin is not None and rng.random() < 0.8
    first = begin[0][0] if begin and likewise else weighted(grammar.opens, rng)
    numerals = walk(grammar, first, slots - len(end), end[0], rng) + end
    bars: Bars = []
    for count in counts:
        taken, numerals = numerals[:count], numerals[count:]
        bars.append(taken or bars[-1][-1:])
    return bars


def walk(grammar: Grammar, first: str, length: int, goal: str, rng: Random) -> list[str]:
    """`length` numerals from `first` by the grammar's moves, the last of which may move to `goal`.

    Drawn exactly from the Markov chain conditioned on its end (backward weights, forward draws).
    Where `goal` cannot be reached from `first`, another opening is taken.
    """
    if length <= 0:
        return []
    # reach[k][x]: the weight of all ways from x to the goal in k moves.
    reach: list[dict[str, float]] = [{goal: 1.0}]
    for _ in range(length):
        ways = {
            origin: sum(weight * reach[-1].get(to, 0.0) for to, weight in moves.items())
            for origin, moves in grammar.moves.items()
        }
        reach.append({origin: weight for origin, weight in ways.items() if weight > 0})
    if first not in reach[length]:
        first = weighted({x: w * grammar.opens.get(x, 0.05) for x, w in reach[length].items()}, rng)
    numerals = [first]
    for left in range(length - 1, 0, -1):
        moves = grammar.moves[numerals[-1]]
        numerals.append(
            weighted({to: w * reach[left].get(to, 0.0) for to, w in moves.items()}, rng)
        )
    return numerals
