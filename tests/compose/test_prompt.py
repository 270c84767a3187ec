"""MusicGen's text from controls and back, and flags joined with a text."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from antiphon.compose.prompt import CARRIED, UNCARRIED, combine, parse, render, uncarried
from antiphon.compose.understanding import understand
from antiphon.controls import (
    GENRES,
    INSTRUMENTS,
    METRES,
    MOODS,
    OPTION_NAMES,
    Controls,
    SectionPlan,
)
from antiphon.errors import ConfigError
from antiphon.notation import ALL_KEYS

pytestmark = pytest.mark.unit

CARRIED_CONTROLS = st.builds(
    Controls,
    genre=st.none() | st.sampled_from(GENRES),
    moods=st.lists(st.sampled_from(MOODS), unique=True, max_size=4).map(tuple),
    tempo_bpm=st.none() | st.floats(40, 240),
    key=st.none() | st.sampled_from(ALL_KEYS),
    instruments=st.lists(st.sampled_from(INSTRUMENTS), unique=True, max_size=4).map(tuple),
)
DESCRIPTIONS = st.one_of(
    st.text(max_size=60),
    st.lists(
        st.sampled_from(["warm", ".", " ", ". ", "genre: skronk", "bpm: 20", ": ", "key", "\n"])
    ).map("".join),
)


def test_the_text_is_musicgens() -> None:
    controls = Controls.from_options(
        {
            "tempo": 120,
            "key": "C minor",
            "genre": "jazz",
            "mood": ["calm", "sad"],
            "instruments": ["piano", "bass"],
        }
    )
    fields = "bpm: 120.0. key: c minor. genre: jazz. moods: calm, sad. instrument: piano, bass"
    assert render("warm evening", controls) == f"warm evening. {fields}"
    assert render("warm evening.", controls) == f"warm evening. {fields}"
    assert render("", controls) == fields
    assert render("x", Controls(tempo_bpm=92.5)) == "x. bpm: 92.5"


@given(DESCRIPTIONS)
def test_without_controls_the_description_is_unchanged(description: str) -> None:
    assert render(description, Controls()) == description
    assert render(description, Controls(metre="3/4", bars=8)) == description


@given(DESCRIPTIONS, CARRIED_CONTROLS)
def test_what_is_rendered_is_parsed_back(description: str, controls: Controls) -> None:
    assume(parse(description).controls == Controls())  # it does not look like fields itself
    parsed = parse(render(description, controls))
    assert parsed.controls == controls
    kept = description if controls == Controls() else description.rstrip(".")
    assert parsed.description == kept


@pytest.mark.parametrize(
    ("text", "description", "options"),
    [
        ("genre: jazz. bpm: 90.0", "", {"genre": "jazz", "tempo": 90}),
        ("slow. moods: sad. key: a minor", "slow", {"mood": "sad", "key": "A minor"}),
        ("x. bpm: 90.0. bpm: 120.0", "x. bpm: 90.0", {"tempo": 120}),
        ("x. bpm: 900.0", "x. bpm: 900.0", {}),
        ("x. genre: skronk. bpm: 90.0", "x. genre: skronk", {"tempo": 90}),
        ("x. moods: . bpm: 90.0", "x. moods: ", {"tempo": 90}),
    ],
)  # fmt: skip
def test_only_fields_at_the_end_are_controls(
    text: str, description: str, options: dict[str, object]
) -> None:
    parsed = parse(text)
    assert (parsed.description, parsed.controls) == (description, Controls.from_options(options))


def test_what_the_text_cannot_carry_is_named() -> None:
    everything = Controls(
        genre="rock",
        metre=METRES[0],
        without=("drums",),
        energy="low",
        sections=(SectionPlan("verse", 8),),
        intro=True,
        ending=True,
    )
    assert uncarried(everything) == ("metre", "without", "energy", "sections", "intro", "ending")
    assert uncarried(Controls(bars=4)) == ("bars",)
    assert uncarried(Controls()) == ()
    assert {*CARRIED, *UNCARRIED} == set(OPTION_NAMES)


@given(CARRIED_CONTROLS)
def test_the_text_is_understood_as_what_it_says(controls: Controls) -> None:
    options = understand(render("", controls)).options
    assert Controls.from_options(options).tempo_bpm == (
        None if controls.tempo_bpm is None else pytest.approx(controls.tempo_bpm, abs=1e-3)
    )
    assert Controls.from_options(options).key == controls.key
    assert Controls.from_options(options).genre == controls.genre
    assert set(Controls.from_options(options).moods) == set(controls.moods)
    assert set(Controls.from_options(options).instruments) == set(controls.instruments)


@pytest.mark.parametrize(
    ("flags", "text", "expected", "sentence"),
    [
        (
            {"tempo": 90},
            "jazz, 120 bpm",
            {"genre": "jazz", "tempo": 90},
            "the flag says tempo 90, the text says tempo 120; the flag's tempo 90 holds",
        ),
        (
            {"without": "drums"},
            "jazz with drums",
            {"genre": "jazz", "without": "drums"},
            "the flag says without drums, the text says instruments drums; "
            "the flag's without drums holds",
        ),
        (
            {"instruments": "drums"},
            "no drums",
            {"instruments": "drums"},
            "the flag says instruments drums, the text says without drums; "
            "the flag's instruments drums holds",
        ),
        (
            {"bars": 8},
            "30 seconds of funk",
            {"genre": "funk", "bars": 8},
            "the flag says bars 8, the text says duration 30; the flag's bars 8 holds",
        ),
        (
            {"sections": "verse:8,chorus:8"},
            "16 bars",
            {"sections": "verse:8,chorus:8"},
            "the flag says sections verse:8, chorus:8, the text says bars 16; "
            "the flag's sections verse:8, chorus:8 holds",
        ),
        (
            {"key": "Am"},
            "in C major",
            {"key": "A minor"},
            "the flag says key A minor, the text says key C major; the flag's key A minor holds",
        ),
    ],
)
def test_flags_win_and_the_loss_is_told(
    flags: dict[str, object], text: str, expected: dict[str, object], sentence: str
) -> None:
    combined = combine(flags, understand(text))
    assert combined.controls == Controls.from_options(expected)
    assert combined.contradictions == (sentence,)


def test_what_agrees_or_adds_up_is_no_contradiction() -> None:
    flags = {"tempo": 92, "instruments": ["piano"], "mood": "sad", "genre": None, "intro": False}
    combined = combine(flags, understand("dark lofi, 92 bpm, drums, with an intro"))
    assert combined.contradictions == ()
    assert combined.controls == Controls.from_options(
        {
            "tempo": 92,
            "genre": "hip-hop",
            "instruments": ["piano", "drums"],
            "mood": ["sad", "dark"],
            "intro": True,
        }
    )


def test_a_wrong_flag_is_an_error_whatever_the_text() -> None:
    with pytest.raises(ConfigError, match=r"tempo is 900 BPM; expected 40 to 240 BPM"):
        combine({"tempo": 900}, understand("jazz"))
