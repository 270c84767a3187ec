"""Moods and dancing by rule: music whose mood nobody would dispute, and what certainty rests on."""

from __future__ import annotations

from dataclasses import replace

import pytest
from invented_facts import invented_facts
from invented_heard import invented_heard

from antiphon.controls import MOODS
from antiphon.description import Heard, Presence, Tag
from antiphon.facts import Facts, KeyEstimate, Tempo, Timbre
from antiphon.listen.moods import NO_DANCE_GENRE, VALENCE_TRUST, dance, moods

pytestmark = pytest.mark.unit


def measured(bpm: float, key: str, hertz: float = 2000.0) -> Facts:
    return replace(
        invented_facts(0),
        tempo=Tempo(bpm, 0.9),
        key=KeyEstimate(key, 0.9),
        timbre=Timbre(hertz, 0.3),
    )


def heard(genre: str, energy: str, drums: bool) -> Heard:
    return Heard(
        genre=(Tag(genre, 0.9),),
        drums=Presence(drums, 0.9),
        energy=energy,
        energy_confidence=0.9,
    )


@pytest.mark.parametrize(
    ("what", "facts", "fitting", "unfitting"),
    [
        (
            heard("classical", "low", drums=False), measured(60, "D minor", 900),
            {"calm", "sad", "solemn", "melancholic"}, {"happy", "energetic", "tense"},
        ),
        (
            heard("house", "high", drums=True), measured(126, "F major", 3000),
            {"energetic", "happy", "bright"}, {"calm", "sad", "dark", "tense"},
        ),
        (
            heard("metal", "high", drums=True), measured(160, "E minor", 1100),
            {"energetic", "tense", "dark"}, {"calm", "happy", "relaxed"},
        ),
        (
            heard("reggae", "medium", drums=True), measured(80, "G major"),
            {"relaxed"}, {"energetic", "sad", "tense", "solemn"},
        ),
    ],
)  # fmt: skip
def test_moods_of_clear_cases(
    what: Heard, facts: Facts, fitting: set[str], unfitting: set[str]
) -> None:
    names = {tag.name for tag in moods(what, facts)}
    assert fitting <= names
    assert not unfitting & names


def test_moods_are_of_the_controls_and_the_surest_come_first() -> None:
    for seed in range(300):
        facts = invented_facts(seed)
        tags = moods(invented_heard(seed, facts), facts)
        assert {tag.name for tag in tags} <= set(MOODS) - {"romantic", "playful"}
        confidences = [tag.confidence for tag in tags]
        assert confidences == sorted(confidences, reverse=True)
        assert all(0 < confidence <= 1 for confidence in confidences)


def test_opposite_moods_never_fit_together() -> None:
    opposites = [{"happy", "sad"}, {"calm", "energetic"}, {"dark", "bright"}, {"tense", "relaxed"},
                 {"happy", "melancholic"}, {"calm", "tense"}]  # fmt: skip
    for seed in range(300):
        facts = invented_facts(seed)
        names = {tag.name for tag in moods(invented_heard(seed, facts), facts)}
        assert not any(pair <= names for pair in opposites), names


def test_a_mood_is_as_certain_as_the_least_certain_it_rests_on() -> None:
    facts = replace(measured(60, "D minor"), key=KeyEstimate("D minor", 0.7))
    by_name = {tag.name: tag.confidence for tag in moods(heard("jazz", "low", drums=False), facts)}
    assert by_name["calm"] == 0.9  # rests on energy alone
    assert by_name["sad"] == pytest.approx(VALENCE_TRUST * 0.7)


def test_moods_need_to_know_the_energy() -> None:
    silent_on_energy = replace(heard("jazz", "low", drums=False), energy=None)
    assert moods(silent_on_energy, measured(60, "D minor")) == ()


def test_what_may_not_be_music_has_no_mood_and_is_not_danced_to() -> None:
    noise = replace(heard("house", "high", drums=True), music=Presence(False, 0.6))
    assert moods(noise, measured(124, "F major")) == ()
    assert dance(noise, measured(124, "F major")) is None


@pytest.mark.parametrize(
    ("what", "bpm", "expected"),
    [
        (heard("house", "high", drums=True), 124, Presence(True, 0.9)),
        (heard("rock", "high", drums=True), 124, Presence(True, NO_DANCE_GENRE)),
        (heard("house", "high", drums=False), 124, Presence(False, 0.9)),
        (heard("ambient", "medium", drums=True), 124, Presence(False, 0.9)),
        (heard("folk", "low", drums=True), 100, Presence(False, 0.9)),
        (heard("rock", "high", drums=True), 170, None),  # neither forbids nor invites
        (Heard(), 124, None),
    ],
)
def test_dance(what: Heard, bpm: float, expected: Presence | None) -> None:
    assert dance(what, measured(bpm, "C major")) == expected
