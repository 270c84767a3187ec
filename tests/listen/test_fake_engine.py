"""The public fake keeps the promises of the seam."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from antiphon.errors import ConfigError, EngineError
from antiphon.listen.engines import ListenerEngine, Message, Question, Sampling
from antiphon.listen.engines.fake import FakeEngine
from antiphon.listen.windows import Clip, audio_tokens

pytestmark = pytest.mark.unit

CLIP = Clip(np.full(480_000, 0.1, np.float32))
GREEDY = Sampling()


def test_texts_come_in_order_and_begin_again() -> None:
    engine: ListenerEngine = FakeEngine(["One.", "Two."])
    found = engine.answer(CLIP, [Question(text) for text in "abc"], GREEDY)
    assert [answer.text for answer in found] == ["One.", "Two.", "One."]


def test_a_function_hears_the_clip_and_the_question() -> None:
    def say(clip: Clip | None, text: str) -> str:
        return f"{text} {clip.duration_seconds if clip else 0:g} s"

    engine = FakeEngine(say)
    assert engine.answer(CLIP, [Question("<sound>?")], GREEDY)[0].text == "< sound>? 30 s"
    assert engine.chat([[Message("user", "Hello")]], GREEDY)[0].text == "Hello 0 s"
    turns = [Message("user", "x", CLIP), Message("assistant", "y"), Message("user", "And?")]
    assert engine.chat([turns], GREEDY)[0].text == "And? 30 s"
    assert engine.raw(CLIP, "<sound>What", GREEDY).text == "< sound>What 30 s"


def test_calls_are_noted() -> None:
    engine = FakeEngine()
    schema = {"type": "object"}
    engine.answer(CLIP, [Question("a"), Question("b", 5, schema)], Sampling(seed=3))
    (call,) = engine.calls
    assert (call.method, call.texts, call.clips) == ("answer", ("a", "b"), (CLIP, CLIP))
    assert (call.sampling.seed, call.schemas) == (3, (None, schema))


def test_the_sound_is_read_once() -> None:
    engine = FakeEngine()
    first, second = engine.answer(CLIP, [Question("a"), Question("b c")], GREEDY)
    assert (first.prompt_tokens, first.cached_tokens) == (751, 0)
    assert (second.prompt_tokens, second.cached_tokens) == (752, audio_tokens(480_000))
    (other,) = engine.chat([[Message("user", "a b c")]], GREEDY)
    assert (other.prompt_tokens, other.cached_tokens) == (3, 0)


def test_words_are_told_as_they_come_without_thoughts() -> None:
    engine = FakeEngine("<think>A drum.</think> It is rock.")
    told: list[str] = []
    (answer,) = engine.answer(CLIP, [Question("?")], GREEDY, told.append)
    assert told == ["It", " is", " rock."]
    assert (answer.text, answer.thoughts) == ("It is rock.", "A drum.")
    with pytest.raises(ConfigError, match="on_token was given for 2"):
        engine.answer(CLIP, [Question("?")] * 2, GREEDY, told.append)


def test_how_an_answer_ends() -> None:
    engine = FakeEngine("one two three")
    assert engine.answer(CLIP, [Question("?")], Sampling(max_new_tokens=3))[0].finish == "stop"
    (cut,) = engine.answer(CLIP, [Question("?", 2)], GREEDY)
    assert (cut.text, cut.finish) == ("one two", "length")
    for looping in (FakeEngine("again " * 100), FakeEngine("So.", finish="repetition")):
        assert looping.answer(CLIP, [Question("?")], GREEDY)[0].finish == "repetition"


def test_cancelling_ends_a_call_at_once() -> None:
    engine = FakeEngine("one two three", seconds_per_word=30.0)
    engine.cancel()  # of nothing
    timer = threading.Timer(0.1, engine.cancel)
    timer.start()
    start = time.monotonic()
    found = engine.answer(CLIP, [Question("a"), Question("b")], GREEDY)
    timer.join()
    assert time.monotonic() - start < 1
    assert [(answer.text, answer.finish) for answer in found] == [("", "cancelled")] * 2
    assert FakeEngine("x").answer(CLIP, [Question("?")], GREEDY)[0].finish == "stop"


def test_an_error_from_the_call_on_that_it_is_wanted_of() -> None:
    engine = FakeEngine(error=EngineError("out of memory"), error_after=1)
    engine.answer(CLIP, [Question("?")], GREEDY)
    with pytest.raises(EngineError, match="out of memory"):
        engine.answer(CLIP, [Question("?")], GREEDY)
    assert len(engine.calls) == 2


def test_what_cannot_be_asked() -> None:
    engine = FakeEngine(cap_seconds=20)
    with pytest.raises(ConfigError, match="hears 20 s at once"):
        engine.answer(CLIP, [Question("?")], GREEDY)
    engine = FakeEngine()
    with pytest.raises(ConfigError, match="has 2 recordings"):
        engine.chat([[Message("user", "a", CLIP), Message("user", "b", CLIP)]], GREEDY)
    with pytest.raises(ConfigError, match="ends with"):
        engine.chat([[Message("assistant", "a")]], GREEDY)
    with pytest.raises(ConfigError, match="has 2 <sound>; expected 1"):
        engine.raw(CLIP, "<sound><sound>", GREEDY)
    with pytest.raises(ConfigError, match="24,001 tokens; expected 24,000"):
        engine.answer(CLIP, [Question("word " * 24_001)], GREEDY)
    with pytest.raises(ConfigError, match="max_new_tokens is 3000"):
        engine.answer(CLIP, [Question("?", 3_000)], GREEDY)
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.answer(CLIP, [Question("?")], GREEDY)


def test_what_it_says_of_itself() -> None:
    info = FakeEngine(model="toy", licence="CC0", cap_seconds=60, settings={"step": 1}).info
    assert (info.engine, info.model, info.licence) == ("fake", "toy", "CC0")
    assert (info.cap_seconds, info.settings) == (60, {"step": 1})
