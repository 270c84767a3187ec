"""What goes into a model as text, and what comes out of it."""

from __future__ import annotations

import time

import pytest

from antiphon.listen.engines.texts import Telling, plain_text, repeats, split_thoughts

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    "token",
    [
        "<sound>",
        "<|im_start|>",
        "<|im_end|>",
        "<|sound_bos|>",
        "<|endoftext|>",
        "<think>",
        "</think>",
        "<__media__>",
        "<__media_a727et1aTWj0WhrgPdz6oRy0tt22RQQn__>",
    ],
)
def test_no_token_is_left_and_the_text_can_be_read(token: str) -> None:
    for text in (token, f"a{token}b", f"<{token}>", token * 3, f"{token[:3]}{token}{token[3:]}"):
        plain = plain_text(text)
        assert token not in plain
        assert plain.replace("< ", "<") == text
        assert plain_text(plain) == plain


@pytest.mark.parametrize(
    "text", ["", "3 < 4 > 2", "a<b", "->", "I <3 it", "<\nsound>", "für Élise"]
)
def test_other_text_is_left_as_it_is(text: str) -> None:
    assert plain_text(text) == text


@pytest.mark.parametrize("text", ["<" * 2_000_000, "<" + "a" * 2_000_000, "<sound>" * 300_000])
def test_two_megabytes_take_no_time(text: str) -> None:
    start = time.perf_counter()
    plain_text(text)
    assert time.perf_counter() - start < 1


@pytest.mark.parametrize(
    ("said", "text", "thoughts"),
    [
        (" Rock. ", "Rock.", None),
        ("<think>A drum.</think>Rock.", "Rock.", "A drum."),
        ("\n<think>\nA drum.\n</think>\n\nRock.\n", "Rock.", "A drum."),
        ("A drum.</think>Rock.", "Rock.", "A drum."),  # the chat template began them
        ("<think>A drum, and then", "", "A drum, and then"),
        ("<think></think>Rock.", "Rock.", None),
        ("I <think> it is rock.", "I <think> it is rock.", None),
        ("", "", None),
    ],
)
def test_thoughts_are_split_off(said: str, text: str, thoughts: str | None) -> None:
    assert split_thoughts(said) == (text, thoughts)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1_000])
@pytest.mark.parametrize(
    "said",
    [
        "Rock.",
        "<think>A drum.</think>Rock.",
        " \n<think>A <b>drum</b>.</thin </think> \n Rock and roll.",
        "<thin air>",
        "<think>A drum",
        "<",
        "  I think.",
        "",
    ],
)
def test_what_is_told_in_pieces_is_the_text(said: str, size: int) -> None:
    telling = Telling()
    told = [telling.feed(said[at : at + size]) for at in range(0, len(said), size)]
    assert ("".join(told) + telling.end()).rstrip() == split_thoughts(said)[0]


def test_text_is_told_at_once() -> None:
    telling = Telling()
    for piece in ("A ", "piece", "<think>"):
        assert telling.feed(piece) == piece


@pytest.mark.parametrize(
    "text",
    [
        "!" * 240,
        "It is calm. " + "The guitar plays. " * 20,
        "The guitar plays. " * 20 + "The gui",
        "A verse of its own. " + "A sentence of some length. And a second one, longer. " * 6,
        '{"genre": "rock"' + "\n" * 500,
    ],
)
def test_a_loop_is_noticed(text: str) -> None:
    assert repeats(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "la " * 60,
        "The chords are C, G, Am, F, C, G, Am, F, C, G, Am, F.",
        "The verse: C G Am F | C G Am F | C G Am F | C G Am F. The bridge: Dm G Em Am.",
        " ".join(str(number) for number in range(1_500)),
        "The guitar plays. " * 20 + "Then it stops, and a piano takes over until the end.",
        "A sentence that is said three times, which people do now and then, for emphasis. " * 3,
    ],
)
def test_what_is_said_more_than_once_is_no_loop(text: str) -> None:
    assert not repeats(text)


def test_looking_for_loops_takes_no_time() -> None:
    start = time.perf_counter()
    for text in ("ab" * 2_000 + "c", "a" * 100_000 + "b", "abcdefghij" * 300 + "!"):
        repeats(text)
    assert time.perf_counter() - start < 0.5
