"""What was asked for against what was measured, wish by wish."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest

from antiphon.analysis import Adherence, adherence
from antiphon.controls import Controls
from antiphon.facts import (
    KeyEstimate,
    Metre,
    Tempo,
)
from antiphon.notation import Key
from bare_facts import bare_facts

pytestmark = pytest.mark.unit

UNHEARD = bare_facts(duration_seconds=30.0)
HEARD = replace(
    UNHEARD, tempo=Tempo(120.0, 0.9), metre=Metre(4, 0.9), key=KeyEstimate("C# minor", 0.9)
)


def test_what_was_not_asked_for_is_not_judged() -> None:
    assert adherence(Controls(), HEARD) == {}
    assert adherence(Controls(genre="jazz", instruments=("piano",), energy="high"), HEARD) == {}


@pytest.mark.parametrize(
    ("asked", "ok"),
    [(120.0, True), (116.0, True), (124.9, True), (115.0, False), (126.0, False), (60.0, False),
     (240.0, False)],
)  # fmt: skip
def test_tempo_within_4_percent_of_the_asked_and_never_its_half_or_double(
    asked: float, ok: bool
) -> None:
    assert adherence(Controls(tempo_bpm=asked), HEARD) == {"tempo": Adherence(asked, 120.0, ok)}


@pytest.mark.parametrize(
    ("asked", "ok"),
    [("C# minor", True), ("Db minor", True), ("E major", False), ("C# major", False)],
)
def test_key_is_exact_but_not_a_question_of_spelling(asked: str, ok: bool) -> None:
    wanted = Key.parse(asked)
    judged = adherence(Controls(key=wanted), HEARD)
    assert judged == {"key": Adherence(wanted.name, "C# minor", ok)}


@pytest.mark.parametrize(("asked", "beats", "ok"), [("4/4", 4, True), ("3/4", 3, False)])
def test_metre_by_its_beats(asked: str, beats: int, ok: bool) -> None:
    assert adherence(Controls(metre=asked), HEARD) == {"metre": Adherence(beats, 4, ok)}


@pytest.mark.parametrize(
    ("asked", "ok"), [(30.0, True), (30.5, True), (29.4, False), (60.0, False)]
)
def test_duration_within_half_a_second(asked: float, ok: bool) -> None:
    judged = adherence(Controls(duration_seconds=asked), HEARD)
    assert judged == {"duration": Adherence(asked, 30.0, ok)}


def test_what_could_not_be_measured_is_not_ok() -> None:
    asked = Controls(tempo_bpm=120, key=Key(1, "minor"), metre="4/4")
    judged = adherence(asked, UNHEARD)
    assert {name: (a.measured, a.ok) for name, a in judged.items()} == {
        "tempo": (None, False),
        "key": (None, False),
        "metre": (None, False),
    }


def test_all_wishes_at_once_are_plain_json() -> None:
    asked = Controls(tempo_bpm=121, key=Key(1, "minor"), metre="4/4", duration_seconds=30)
    judged = {name: asdict(wish) for name, wish in adherence(asked, HEARD).items()}
    assert json.loads(json.dumps(judged, allow_nan=False)) == {
        "tempo": {"requested": 121, "measured": 120.0, "ok": True},
        "key": {"requested": "C# minor", "measured": "C# minor", "ok": True},
        "metre": {"requested": 4, "measured": 4, "ok": True},
        "duration": {"requested": 30, "measured": 30.0, "ok": True},
    }
