"""arrange.harmony: grammars, cadences and the draw of progressions."""

from collections import Counter
from itertools import product
from random import Random

import pytest

from antiphon.arrange.harmony import (
    Grammar,
    load_grammars,
    parse_numeral,
    realise,
    walk,
    write_numerals,
    write_phrase,
)
from antiphon.arrange.plan import make_plan
from antiphon.controls import GENRES, Controls, SectionPlan
from antiphon.errors import ConfigError
from antiphon.notation import ALL_KEYS, Chord, Key

pytestmark = pytest.mark.unit

TINY = Grammar(
    opens={"I": 1},
    moves={"I": {"IV": 2, "V": 1, "vi": 1}, "IV": {"V": 3, "I": 1}, "V": {"I": 1, "vi": 1},
           "vi": {"IV": 1, "V": 1}},
    half={"V": 1},
    close=(("V", "I"),),
)  # fmt: skip


def test_a_walk_is_drawn_from_the_chain_conditioned_on_its_end() -> None:
    """Against all paths of three chords from I that may go on to V, weighed one by one."""
    weights: dict[tuple[str, ...], float] = {}
    for path in product(TINY.moves, repeat=2):
        steps = ["I", *path, "V"]
        weight = 1.0
        for here, there in zip(steps, steps[1:], strict=False):
            weight *= TINY.moves[here].get(there, 0)
        if weight:
            weights[("I", *path)] = weight
    rng = Random(1)
    draws = 6000
    counts = Counter(tuple(walk(TINY, "I", 3, "V", rng)) for _ in range(draws))
    assert set(counts) == set(weights)
    for path, weight in weights.items():
        expected = weight / sum(weights.values())
        assert counts[path] / draws == pytest.approx(expected, abs=0.025)


def test_a_goal_out_of_reach_takes_another_opening() -> None:
    line = Grammar({"I": 1}, {"I": {"IV": 1}, "IV": {"V": 1}, "V": {"I": 1}}, {"V": 1}, (("I",),))
    # From I the dominant follows after two moves, not after one.
    assert walk(line, "I", 1, "V", Random(1)) == ["IV"]


@pytest.mark.parametrize("name", load_grammars())
@pytest.mark.parametrize("mode", ["major", "minor"])
def test_phrases_of_every_grammar_follow_its_moves_and_end_as_they_should(
    name: str, mode: str
) -> None:
    grammar = load_grammars()[name][mode]  # type: ignore[index]
    rng = Random(3)
    for rhythm in ("1111", "1010", "1122", "2222", "1000", "2121"):
        for closed in (False, True):
            bars = write_phrase(grammar, rhythm, rng, closed=closed)
            assert len(bars) == 4
            line = [numeral for bar in bars for numeral in bar]
            for here, there in zip(line, line[1:], strict=False):
                in_cadence = any(
                    (here, there) in zip(formula, formula[1:], strict=False)
                    for formula in grammar.close
                )
                assert here == there or there in grammar.moves[here] or in_cadence
            if closed:
                assert line[-1] == grammar.tonic
            elif rhythm != "1000":
                assert line[-1] in grammar.half


@pytest.mark.parametrize(
    ("numeral", "semitones", "family"),
    [
        ("I", 0, "maj"), ("ii", 2, "min"), ("bVII", 10, "triad"), ("viio", 11, "dim"),
        ("V", 7, "dom"), ("V/V", 2, "dom"), ("V/ii", 9, "dom"), ("I7", 0, "dom7"),
        ("subV", 1, "dom"), ("bII", 1, "maj"), ("V/iv", 0, "dom"),
    ],
)  # fmt: skip
def test_numerals(numeral: str, semitones: int, family: str) -> None:
    assert parse_numeral(numeral) == (semitones, family)


@pytest.mark.parametrize("numeral", ["", "H", "IIII", "b", "V/x", "iV"])
def test_what_is_no_numeral(numeral: str) -> None:
    with pytest.raises(ConfigError, match="is not understood; expected one like"):
        parse_numeral(numeral)


def test_chords_of_numerals_in_c_and_a() -> None:
    c_major, a_minor = Key.parse("C major"), Key.parse("A minor")
    rng = Random(1)
    assert realise("V/ii", c_major, 1, 0, rng) == Chord.parse("A:7")
    assert realise("IV", c_major, 1, 1, rng) == Chord.parse("F:maj9")
    assert realise("bVI", a_minor, 0, 0, rng) == Chord.parse("F:maj")
    assert realise("V7", a_minor, 0, 0, rng) == Chord.parse("E:7")
    # The ninth of E in A minor would be F sharp.
    assert realise("V7", a_minor, 1, 1, rng) == Chord.parse("E:7")


def test_triads_without_accidentals_belong_to_the_key() -> None:
    for key in ALL_KEYS:
        numerals = (
            ("I", "ii", "iii", "IV", "V", "vi", "viio")
            if key.mode == "major"
            else ("i", "iio", "bIII", "iv", "v", "bVI", "bVII")
        )
        for numeral in numerals:
            chord = realise(numeral, key, 0, 0, Random(1))
            assert set(chord.pitch_classes) <= set(key.scale)


def test_a_move_to_nowhere_is_refused() -> None:
    with pytest.raises(ConfigError, match="I moves to V, which has no moves of its own"):
        Grammar({"I": 1}, {"I": {"V": 1}}, {"V": 1}, (("I",),))
    with pytest.raises(ConfigError, match="a phrase ends with IV, to which nothing moves"):
        Grammar({"I": 1}, {"I": {"V": 1}, "V": {"I": 1}}, {"IV": 1}, (("I",),))


def test_a_blues_is_twelve_bars_with_the_subdominant_in_the_fifth() -> None:
    for seed in range(20):
        controls = Controls(genre="blues", sections=(SectionPlan("verse", 24),))
        plan = make_plan(controls, seed)
        (bars,) = write_numerals(plan)
        assert [bar[0].rstrip("7").lower() for bar in bars[4::12]] == ["iv", "iv"]
        assert bars[:12] == bars[12:23] + [bars[11]]


def test_sections_of_one_label_share_their_chords_and_a_solo_takes_the_verse() -> None:
    labels = ("verse", "chorus", "verse", "solo", "verse")
    for seed, genre in enumerate(GENRES):
        sections = tuple(SectionPlan(label, 8) for label in labels)
        numerals = write_numerals(make_plan(Controls(genre=genre, sections=sections), seed))
        assert numerals[0] == numerals[2] == numerals[3]
        assert numerals[4][:7] == numerals[0][:7]


@pytest.mark.parametrize("genre", GENRES)
def test_seeds_give_different_progressions(genre: str) -> None:
    sections = (SectionPlan("verse", 8), SectionPlan("chorus", 8))
    progressions = {
        str(write_numerals(make_plan(Controls(genre=genre, sections=sections), seed)))
        for seed in range(200)
    }
    assert len(progressions) > 160
