"""What is noticed in chords and levels, against pieces made so that the answer is known."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from invented_facts import invented_facts

from antiphon.facts import Dynamics, Facts, Loudness, Span, Tempo, Timbre
from antiphon.listen.observations import (
    Course,
    chord_symbol,
    chord_uses,
    course_of_level,
    energy,
    fades_out,
    loudest_seconds,
    recurring_progression,
)
from antiphon.notation import CHORD_QUALITIES

pytestmark = pytest.mark.unit

STEP = 0.5


def chords(labels: str, seconds: float = 2.0) -> list[Span]:
    return [
        Span(at * seconds, (at + 1) * seconds, label) for at, label in enumerate(labels.split())
    ]


def majors(roots: str) -> list[Span]:
    return chords(" ".join(f"{root}:maj" for root in roots.split()))


def levels(*stretches: tuple[float, float]) -> Dynamics:
    """Stretches of (seconds, level in dB)."""
    steps = [level for seconds, level in stretches for _ in range(round(seconds / STEP))]
    return Dynamics(STEP, tuple(steps))


@pytest.mark.parametrize(
    ("label", "symbol"),
    [
        ("C:maj", "C"),
        ("F#:min", "F#m"),
        ("Bb:7", "Bb7"),
        ("G:min7", "Gm7"),
        ("B:hdim7", "Bm7b5"),
        ("Eb:maj9", "Ebmaj9"),
        ("N", None),
        ("X", None),
        ("C:maj/3", None),
    ],
)
def test_chord_symbol(label: str, symbol: str | None) -> None:
    assert chord_symbol(label) == symbol


def test_every_quality_of_the_notation_has_a_symbol_of_its_own() -> None:
    symbols = {chord_symbol(f"C:{quality}") for quality in CHORD_QUALITIES}
    assert None not in symbols
    assert len(symbols) == len(CHORD_QUALITIES)


def test_chord_uses_are_shares_of_the_time_that_has_chords() -> None:
    spans = [Span(0, 6, "C:maj"), Span(6, 8, "A:min"), Span(8, 20, "N"), Span(20, 22, "A:min")]
    uses = chord_uses(spans)
    assert [(use.symbol, use.share) for use in uses] == [("C", 0.6), ("Am", 0.4)]
    assert chord_uses([Span(0, 5, "N")]) == []


@pytest.mark.parametrize(
    ("roots", "progression"),
    [
        ("C G A F " * 3, "C G A F"),
        ("C C G G A A F F " * 3, "C G A F"),
        ("D " + "C G A F " * 4 + "B E", "C G A F"),
        ("C F " * 3, "C F"),
        ("C F C G " * 3, "C F C G"),
        ("C F G B " * 2, None),  # twice is not yet a rule
        ("C F G B E " + "C F G B D " + "C F G B A", None),  # never right after itself
        ("C F " * 3 + "D E G A B D A E B G A D E G B A", None),  # too little of the piece
        ("C " * 12, None),
        ("C D E F G A B Bb Eb " * 3, None),  # longer than anyone hears as one
        ("", None),
    ],
)
def test_recurring_progression(roots: str, progression: str | None) -> None:
    found = recurring_progression(majors(roots))
    assert found == (tuple(progression.split()) if progression else None)


def test_recurring_progression_is_heard_through_wrong_chords() -> None:
    dice = random.Random(3)
    labels = ["A:min", "F:maj", "C:maj", "G:maj"] * 12
    for at in dice.sample(range(len(labels)), 6):
        labels[at] = "E:min"
    found = recurring_progression(chords(" ".join(labels)))
    assert found is not None
    assert sorted(found) == ["Am", "C", "F", "G"]


def test_random_chords_have_no_recurring_progression() -> None:
    for seed in range(50):
        dice = random.Random(seed)
        roots = " ".join(dice.choice("CDEFGAB") for _ in range(60))
        assert recurring_progression(majors(roots)) is None, roots


@pytest.mark.parametrize(
    ("dynamics", "course"),
    [
        (levels((30, -20)), "steady"),
        (levels((10, -20), (10, -19), (10, -20)), "steady"),
        (levels((10, -30), (10, -25), (10, -20)), "rising"),
        (levels((10, -20), (10, -25), (10, -30)), "falling"),
        (levels((10, -20), (10, -12), (10, -20)), "swelling"),
        (levels((10, -12), (10, -20), (10, -12)), "dipping"),
        (levels((10, -20), (10, -18), (10, -17.2)), None),  # audible, but no plain shape
        (levels((9, -20)), None),  # too short to have one
        (levels((30, -120)), None),
        (levels(*[(1, -20), (2, -120)] * 10), None),  # ticks: mostly gaps
        (Dynamics(STEP, ()), None),
    ],
)
def test_course_of_level(dynamics: Dynamics, course: Course | None) -> None:
    assert course_of_level(dynamics) == course


def test_loudest_moment() -> None:
    found = loudest_seconds(levels((40, -25), (5, -12), (60, -25)))
    assert found == pytest.approx(42.5, abs=STEP)
    assert loudest_seconds(levels((100, -25))) is None  # nothing stands out
    assert loudest_seconds(levels((5, -25), (5, -12))) is None  # nowhere to stand out from
    assert loudest_seconds(Dynamics(STEP, ())) is None


@pytest.mark.parametrize(
    ("dynamics", "fades"),
    [
        (levels((40, -20), (2, -23), (2, -29), (2, -36), (2, -44)), True),
        (levels((48, -20)), False),
        (levels((46, -20), (2, -60)), False),  # cut off, not faded
        (levels((40, -60), (2, -63), (2, -69), (2, -76), (2, -84)), False),  # heard by nobody
        (levels((2, -23), (2, -29), (2, -36), (2, -44)), False),
        (Dynamics(STEP, ()), False),
    ],
)
def test_fade_out(dynamics: Dynamics, fades: bool) -> None:
    assert fades_out(dynamics) == fades


def facts_of(lufs: float | None, percussive: float | None, bpm: float | None) -> Facts:
    return replace(
        invented_facts(0),
        loudness=Loudness(lufs, None, None),
        timbre=Timbre(None, percussive),
        tempo=Tempo(bpm),
    )


@pytest.mark.parametrize(
    ("lufs", "percussive", "bpm", "expected"),
    [
        (-8.0, 0.6, 140.0, "high"),
        (-16.0, 0.3, 100.0, "moderate"),
        (-28.0, 0.05, 60.0, "low"),
        (-8.0, None, None, "high"),
        (None, 0.9, 140.0, None),  # without loudness there is no saying
    ],
)
def test_energy(
    lufs: float | None, percussive: float | None, bpm: float | None, expected: str | None
) -> None:
    assert energy(facts_of(lufs, percussive, bpm), tempo_is_sure=True) == expected


def test_energy_never_falls_when_it_gets_louder_or_more_percussive() -> None:
    order = ("low", "moderate", "high")
    for percussive in (0.0, 0.3, 0.9):
        by_loudness = [
            energy(facts_of(lufs, percussive, None), tempo_is_sure=False)
            for lufs in range(-40, 0, 2)
        ]
        ranks = [order.index(str(one)) for one in by_loudness]
        assert ranks == sorted(ranks)
