"""What prompts are understood to ask for: hand-written truths, and what no text may do."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from antiphon.compose.understanding import Understanding, understand
from antiphon.compose.understanding.lexicon import cut, lexicon, meanings
from antiphon.controls import GENRES, INSTRUMENTS, Controls

pytestmark = pytest.mark.unit

PROMPTS = yaml.safe_load((Path(__file__).parent / "prompts.yaml").read_text(encoding="utf-8"))


def unordered(options: object) -> dict[str, object]:
    """Options as controls have them, lists in alphabetical order."""
    assert isinstance(options, dict)
    return {
        name: sorted(value) if isinstance(value, list) else value
        for name, value in Controls.from_options(options).to_dict().items()
    }


def marked(row: dict[str, object]) -> object:
    marks = pytest.mark.xfail(reason=str(row["missed"])) if "missed" in row else ()
    return pytest.param(row["prompt"], row["is"], marks=marks, id=str(row["prompt"])[:50])


@pytest.mark.parametrize(("prompt", "expected"), [marked(row) for row in PROMPTS])
def test_a_prompt_is_understood_as_a_musician_means_it(prompt: str, expected: object) -> None:
    assert unordered(dict(understand(prompt).options)) == unordered(expected)


def test_there_are_many_different_prompts() -> None:
    assert len({row["prompt"] for row in PROMPTS}) == len(PROMPTS) >= 260


def test_pieces_name_their_words_and_the_rest_is_unknown() -> None:
    text = "Rainy lo-fi hip hop, 92 bpm, no drums, warm rhodes"
    understood = understand(text)
    assert [str(reading) for reading in understood.readings] == [
        "lo-fi hip hop -> genre hip-hop",
        "92 bpm -> tempo 92",
        "drums -> without drums",
        "rhodes -> instruments electric piano",
    ]
    assert all(
        text[reading.start : reading.end] == reading.words for reading in understood.readings
    )
    assert understood.unknown == ("Rainy", "warm")
    assert understood.notes == ()


def test_instruments_stand_in_the_order_they_are_named() -> None:
    assert understand("strings, drums and a piano").options["instruments"] == (
        "strings", "drums", "piano",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("slow fast", "the text says 'slow' and 'fast'; said first, 'slow' holds"),
        ("slow, 170 bpm", "the text says '170 bpm' and 'slow'; being exact, '170 bpm' holds"),
        ("C major, D minor", "the text says 'C major' and 'D minor'; said first, 'C major' holds"),
        ("jazz, then techno", "the text says 'jazz' and 'techno'; said first, 'jazz' holds"),
        ("piano, no piano", "the text says 'piano' and no 'piano'; said first, 'piano' holds"),
        ("no piano, piano", "the text says no 'piano' and 'piano'; said first, no 'piano' holds"),
        ("guitar, no guitar", "the text says 'guitar' and no 'guitar'; said first, 'guitar' holds"),
        ("8 bars, 30 secs", "the text says '8 bars' and '30 secs'; said first, '8 bars' holds"),
        ("chill and energetic", "the text says 'chill' and 'energetic'; said first, 'chill' holds"),
        ("not jazz", "'jazz' is refused; no control can say so, it stays text"),
        ("no loud drums", "'drums' is refused; no control can say so, it stays text"),
        ("metre 6/8", "metre '6/8' is not taken; expected 3/4 or 4/4"),
        (
            "900 bpm",
            "'900 bpm' cannot be; expected 40 to 240 BPM, and 240 is the nearest",
        ),
        (
            "10 hours",
            "'10 hours' is not taken as the duration: it is 36000 seconds; "
            "expected 1 to 1800 seconds",
        ),
        (
            "3000 bars",
            "'3000 bars' is not taken as the bars: it is 3000 bars; expected 1 to 2000 bars",
        ),
    ],
)  # fmt: skip
def test_contradictions_and_what_cannot_be_are_noted(text: str, note: str) -> None:
    assert understand(text).notes == (note,)


@pytest.mark.parametrize(
    "text", ["a slow blues at 66 bpm", "funky house", "blues rock", "piano, piano"]
)
def test_what_agrees_is_not_noted(text: str) -> None:
    assert understand(text).notes == ()


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("no drums or bass", {"drums", "bass"}),
        ("no drums, bass or piano", {"drums", "bass", "piano"}),
        ("no drums, bass and piano", {"drums"}),
        ("without drums, bass and piano", {"drums", "bass", "piano"}),
        ("without drums, piano", {"drums"}),
        ("without: drums, piano", {"drums", "piano"}),
        ("no drums/bass", {"drums", "bass"}),
        ("no drums. piano", {"drums"}),
        ("no drums but piano", {"drums"}),
        ("sax-free", {"saxophone"}),
        ("not instrumental", set()),
        ("instrumental with a choir", set()),
        ("don\u2019t use a piano", {"piano"}),
    ],
)
def test_how_far_a_refusal_reaches(text: str, refused: set[str]) -> None:
    assert set(dict(understand(text).options).get("without", ())) == refused  # type: ignore[arg-type]


ANYTHING = st.text(max_size=200)
PARTS = [
    *("no", "without", "92", "bpm", "/", "-", ",", ".", ":", "drums", "guitar", "Am", "A", "minor"),
    *("3/4", "8", "bars", "two", "half", "a", "minute", "80s", "house", "in", "the", "key", "of"),
    *("900", "and", "or", "not", "piano-less", "tempo", "at", "🎹", "r&b", "w/o", "slow", "1:30"),
    *("long", "\u202e", "\x00", "\n", "energy", "low", "instrumental", "choir", "free", "intro"),
]
FRAGMENTS = st.lists(st.sampled_from(PARTS)).map(" ".join)


@given(st.one_of(ANYTHING, FRAGMENTS))
def test_any_text_is_read_and_what_is_understood_is_valid(text: str) -> None:
    understood = understand(text)
    Controls.from_options(understood.options)
    assert understand(text) == understood
    for reading in understood.readings:
        assert text[reading.start : reading.end] == reading.words
    assert all(word in text for word in understood.unknown)
    json.dumps(dict(understood.options))


@pytest.mark.parametrize(
    "part",
    [
        "slow jazz no drums, ", "no ", "a-", "without piano, bass, ", "1", "1 ", "10 to ", "🎹",
        " ", "one hundred and ", "in a key of ", "tempo: is of at : ", "half a ", "Am, ", "\n",
        "(", "x", "three-", "no sad ", "the ", "1:", "b ", "A ",
    ],
)  # fmt: skip
def test_long_texts_take_time_in_proportion(part: str) -> None:
    understand("warm up")  # the lexicon is read once
    start = time.process_time()
    understand(part * 10_000)  # several words each; about half a second
    assert time.process_time() - start < 3.0


def test_the_empty_text_asks_for_nothing() -> None:
    assert understand("") == Understanding("", {})


def test_the_lexicon_says_what_the_controls_know() -> None:
    known = lexicon()
    for option, table in (
        ("genre", known.genre),
        ("genre", known.genre_hint),
        ("mood", known.mood),
        ("energy", known.energy),
        ("tempo", known.tempo),
        ("metre", known.metre),
        ("instruments", known.instruments),
        ("without", known.without),
        ("without", known.refusable),
    ):
        for value in table:
            Controls.from_options({option: value})
    assert set(known.genre) == set(GENRES)
    assert set(known.instruments) == set(INSTRUMENTS)
    for family in known.families.values():
        assert {*family.members, *family.by_genre.values()} <= set(INSTRUMENTS)
        assert set(family.by_genre.values()) <= set(family.members)
        assert set(family.by_genre) <= set(GENRES)


def test_every_name_of_a_control_means_itself() -> None:
    for genre in GENRES:
        assert understand(genre).options == {"genre": genre}
    for instrument in INSTRUMENTS:
        assert understand(instrument).options == {"instruments": (instrument,)}


def test_no_phrase_means_two_values_of_one_control() -> None:
    for phrase, found in meanings().items():
        senses = [meaning.sense for meaning in found if meaning.sense != "instruments"]
        assert len(senses) == len(set(senses)), phrase
        assert not ({"nothing", "refusing"} & set(senses) and len(found) > 1), phrase


def test_words_are_cut_where_they_stand() -> None:
    assert [(w.name, w.gap) for w in cut("Lo-fi R&B, don’t — drum & bass")] == [
        ("lo", ""), ("fi", "-"), ("r&b", ""), ("don't", ","), ("drum", "—"), ("and", ""),
        ("bass", ""),
    ]  # fmt: skip
