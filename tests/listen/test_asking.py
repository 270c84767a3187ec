"""Texts of a model: within their limits, joined over parts, checked against what was measured."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from antiphon.facts import Facts, KeyEstimate, Loudness, Metre, Span, Spans, Tempo
from antiphon.listen.asking import (
    Asked,
    answer_question,
    cut_to_sentence,
    cut_to_words,
    facts_within,
    hint_of,
    write_texts,
)
from antiphon.listen.claims import Policy
from antiphon.listen.describer import count_words
from antiphon.listen.engines import Question, Sampling
from antiphon.listen.engines.fake import FakeEngine
from antiphon.listen.prompts import Prompt
from antiphon.listen.windows import SAMPLE_RATE, Clip
from bare_facts import bare_facts

pytestmark = pytest.mark.unit

FACTS = replace(
    bare_facts(duration_seconds=60.0),
    tempo=Tempo(120.0, 0.9),
    key=KeyEstimate("G major", 0.9),
    metre=Metre(4, 0.9),
    loudness=Loudness(-9.8, -1.0, 5.0),
    sections=Spans((Span(0.0, 20.0, "A"), Span(20.0, 40.0, "B"), Span(40.0, 60.0, "A")), 0.8),
)
LONG = "One two three four. Five six seven eight. Nine ten eleven twelve."


def clip(start: float = 0.0, seconds: float = 60.0) -> Clip:
    return Clip(np.zeros(round(seconds * SAMPLE_RATE), np.float32), start)


def texts_of(
    engine: FakeEngine,
    *,
    policy: Policy = "annotate",
    prompts: dict[str, Prompt] | None = None,
    clips: tuple[Clip, ...] = (),
    hint_facts: bool = False,
    facts: Facts = FACTS,
) -> dict[str, Asked]:
    return write_texts(
        engine,
        clips or (clip(),),
        prompts or {"full": Prompt("Describe it.")},
        Sampling(),
        facts,
        policy,
        hint_facts=hint_facts,
    )


def test_all_kinds_come_from_one_call() -> None:
    engine = FakeEngine(lambda heard, text: f"About {text}")
    prompts = {"full": Prompt("this"), "brief": Prompt("that", max_tokens=9)}
    texts = texts_of(engine, prompts=prompts)
    assert {kind: asked.text for kind, asked in texts.items()} == {
        "full": "About this", "brief": "About that"
    }  # fmt: skip
    (call,) = engine.calls
    assert call.texts == ("this", "that")


def test_a_text_over_its_limit_is_asked_for_again_and_then_cut() -> None:
    prompts = {"a": Prompt("Say it.", max_words=5), "b": Prompt("Say more.")}
    obedient = FakeEngine(lambda _, text: "Short now." if "at most 5 words" in text else LONG)
    texts = texts_of(obedient, prompts=prompts)
    assert texts["a"].text == "Short now."
    assert texts["a"].notes == ("a: asked again for a shorter text",)
    assert texts["b"].text == LONG
    assert [len(call.texts) for call in obedient.calls] == [2, 1]

    stubborn = texts_of(FakeEngine(LONG), prompts=prompts)["a"]
    assert stubborn.text == "One two three four."
    assert stubborn.notes[-1] == "a: cut to 5 words"


def test_a_loop_is_asked_for_again_by_another_way_and_flagged() -> None:
    loop = "and on and on " * 200
    engine = FakeEngine([loop, "At last a text."])
    asked = texts_of(engine)["full"]
    assert asked.text == "At last a text."
    assert asked.notes == ("full: asked again because it repeated itself",)
    first, second = engine.calls
    assert second.sampling.temperature > first.sampling.temperature
    assert second.sampling.seed != first.sampling.seed
    assert "full: it repeats itself" in texts_of(FakeEngine(loop))["full"].notes


def test_what_ends_early_ends_with_a_sentence_and_says_so() -> None:
    asked = texts_of(FakeEngine("A sentence. And half of", finish="length"))["full"]
    assert asked.text == "A sentence."
    assert asked.notes == ("full: cut at its limit of tokens",)
    assert texts_of(FakeEngine(""))["full"].notes == ("full: the model wrote nothing",)


@pytest.mark.parametrize(
    ("policy", "has_wrong", "has_right"),
    [("annotate", True, False), ("correct", False, True), ("drop", False, False)],
)
def test_policies(policy: Policy, has_wrong: bool, has_right: bool) -> None:
    text = "A bright song with guitars. It runs at 97 BPM in G major."
    asked = texts_of(FakeEngine(text), policy=policy)["full"]
    assert asked.text.startswith("A bright song with guitars.")
    assert ("97" in asked.text) is has_wrong
    assert ("120" in asked.text) is has_right
    assert [(c.kind, c.quantity, c.said, c.verdict) for c in asked.claims] == [
        ("full", "tempo", "97 BPM", "contradicted"), ("full", "key", "G major", "confirmed")
    ]  # fmt: skip


def test_without_a_policy_nothing_is_checked() -> None:
    assert texts_of(FakeEngine("It runs at 97 BPM."), policy="off")["full"].claims == ()


def test_the_marks_of_a_correction_may_exceed_the_limit_and_it_is_said() -> None:
    prompts = {"a": Prompt("Say it.", max_words=5)}
    asked = texts_of(FakeEngine("A 97 BPM rock song."), policy="correct", prompts=prompts)["a"]
    assert asked.text == "A 120 BPM (measured) rock song."
    assert asked.notes == ("a: over 5 words by the marks of what was corrected",)


def test_what_is_cancelled_is_not_gone_on_with() -> None:
    engine = FakeEngine("One two three four five six.", finish="cancelled")
    clips = (clip(0.0, 30.0), clip(30.0, 30.0))
    asked = texts_of(engine, clips=clips, prompts={"a": Prompt("x", max_words=2)})["a"]
    assert len(engine.calls) == 1
    assert "a: cancelled before its end" in asked.notes


def test_an_answer_keeps_to_its_schema_whatever_the_policy() -> None:
    asked = answer_question(
        FakeEngine('{"bpm": 97}'),
        (clip(),),
        Question("Tempo?", schema={"type": "object"}),
        Sampling(),
        FACTS,
        "correct",
        hint_facts=False,
        on_token=None,
    )
    assert asked.text == '{"bpm": 97}'
    assert [c.verdict for c in asked.claims] == ["contradicted"]


def test_a_kind_with_a_schema_is_asked_for_by_it_and_left_whole() -> None:
    schema = {"type": "object"}
    engine = FakeEngine('{"mood": "calm. At 97 BPM"}', finish="length")
    texts = texts_of(
        engine, policy="correct", prompts={"s": Prompt("As JSON.", schema=schema), "t": Prompt("t")}
    )
    assert engine.calls[0].schemas == (schema, None)
    assert texts["s"].text == '{"mood": "calm. At 97 BPM"}'
    assert [c.verdict for c in texts["s"].claims] == ["contradicted"]
    assert texts["s"].notes == (
        "s: cut at its limit of tokens",
        "s: contradicted values stand: correct does not touch JSON",
    )
    assert "97" not in texts["t"].text


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ('{"mood": "ca', "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("null", "not JSON"),
        ('"sorry"', "no JSON object"),
        ("42", "no JSON object"),
        ('{"genre": "x"}', "has no 'mood'"),
    ],
)
def test_what_does_not_keep_to_its_schema_is_flagged(text: str, note: str) -> None:
    schema = {"type": "object", "required": ["genre", "mood"]}
    prompts = {"s": Prompt("As JSON.", schema=schema)}
    asked = texts_of(FakeEngine(text), prompts=prompts)["s"]
    assert asked.text == text
    assert f"s: {note}, as its schema asks" in asked.notes


def test_json_of_several_parts_is_one_list() -> None:
    answers = iter(['{"mood": "calm"}', "{"])
    asked = texts_of(
        FakeEngine(lambda heard, text: next(answers)),
        prompts={"s": Prompt("As JSON.", schema={"type": "object"})},
        clips=(clip(0.0, 30.0), clip(30.0, 30.0)),
    )["s"]
    assert json.loads(asked.text) == [
        {"start_seconds": 0.0, "stop_seconds": 30.0, "answer": {"mood": "calm"}},
        {"start_seconds": 30.0, "stop_seconds": 60.0, "answer": "{"},
    ]
    assert asked.notes == ("s: 0:30: not JSON, as its schema asks",)


def test_one_part_that_is_not_the_beginning_is_headed_by_its_times() -> None:
    asked = texts_of(FakeEngine("Fine."), clips=(clip(30.0, 30.0),))["full"]
    assert asked.text == "0:30-1:00: Fine."


def test_nothing_left_is_said() -> None:
    asked = texts_of(FakeEngine("It runs at 97 BPM."), policy="drop")["full"]
    assert asked.text == ""
    assert asked.notes == (
        "full: nothing is left: every sentence had a claim that measuring contradicts",
    )


def test_hints_hold_the_measured_values_and_only_those_that_are_sure() -> None:
    engine = FakeEngine()
    texts_of(engine, hint_facts=True)
    (prompt,) = engine.calls[0].texts
    assert prompt.startswith("Describe it.")
    for value in ("120 BPM", "G major", "4 beats per bar", "-9.8 LUFS", "length 1:00"):
        assert value in prompt
    unsure = replace(FACTS, tempo=Tempo(120.0, 0.2), key=KeyEstimate(None))
    assert "BPM" not in hint_of(unsure)
    assert "key" not in hint_of(unsure)


def test_parts_are_headed_by_their_times_and_checked_by_their_own() -> None:
    clips = (clip(0.0, 30.0), clip(30.0, 30.0))
    answers = iter(["The chorus starts at 0:20.", "The chorus starts at 0:10, at 97 BPM."])
    engine = FakeEngine(lambda heard, text: next(answers))
    asked = texts_of(engine, clips=clips)["full"]
    assert asked.text == (
        "0:00-0:30: The chorus starts at 0:20. 0:30-1:00: The chorus starts at 0:10, at 97 BPM."
    )
    assert [(c.quantity, c.verdict) for c in asked.claims] == [
        ("time", "confirmed"), ("time", "confirmed"), ("tempo", "contradicted")
    ]  # fmt: skip
    assert len(engine.calls) == 2


def test_facts_within_a_clip() -> None:
    part = facts_within(FACTS, clip(30.0, 30.0))
    assert part.duration_seconds == 60.0  # of the recording: a text speaks of that
    assert part.sections.spans == (Span(0.0, 10.0, "B"), Span(10.0, 30.0, "A"))
    assert facts_within(FACTS, clip()) is FACTS


def test_one_answer_streams_and_is_checked() -> None:
    pieces: list[str] = []
    asked = answer_question(
        FakeEngine("<think>hm</think>In E minor."),
        (clip(),),
        Question("Which key?"),
        Sampling(),
        FACTS,
        "annotate",
        hint_facts=False,
        on_token=pieces.append,
    )
    assert asked.text == "".join(pieces).strip() == "In E minor."
    assert asked.thoughts == "hm"
    assert [c.verdict for c in asked.claims] == ["contradicted"]


@pytest.mark.parametrize("cut", [cut_to_sentence, lambda text: cut_to_words(text, 4)])
def test_cutting_leaves_whole_sentences(cut: Callable[[str], str]) -> None:
    assert cut("One two three. Four five") == "One two three."


def test_an_abbreviation_ends_no_sentence() -> None:
    text = "It was written by J. S. Bach. It runs at approx. 90 BPM and never stops"
    assert cut_to_sentence(text) == "It was written by J. S. Bach."
    assert cut_to_words(text, 14) == "It was written by J. S. Bach."


def test_a_first_sentence_that_is_too_long_is_cut_by_words() -> None:
    for most in range(1, 12):
        text = cut_to_words("a b-c, d e; f g h i j k", most)
        assert count_words(text) <= most
        assert text.endswith(".") or not text
