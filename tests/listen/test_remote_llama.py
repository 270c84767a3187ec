"""The remote engine with a real llama.cpp server: xllamacpp's own HTTP port, and the toy that names
what it hears."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from flamingo import QUESTIONS, SOUNDS, toy_answer, toy_sound
from flamingo_gguf import convert

from antiphon.errors import ConfigError, EngineError
from antiphon.listen.engines import Message, Question, Sampling
from antiphon.listen.engines.remote import RemoteEngine, load
from antiphon.listen.engines.remote_transport import Patience
from antiphon.listen.windows import Clip

pytestmark = [pytest.mark.integration, pytest.mark.slow]

KEY = "sesame-42"
CONTEXT = 4_096
SERVE = f"""
import sys, time, xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.mmproj.path = sys.argv[1:]
params.n_ctx, params.n_parallel, params.warmup = {CONTEXT}, 1, False
params.cache_ram_mib, params.verbosity, params.api_keys = 0, 0, [{KEY!r}]
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
server = xllamacpp.Server(params)
first = [{{"role": "user", "content": "."}}]
server.handle_chat_completions({{"messages": first, "max_tokens": 1}})
print(server.listening_address, flush=True)
time.sleep(300)
"""
GREEDY = Sampling(max_new_tokens=32)


@pytest.fixture(scope="module")
def address(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    pytest.importorskip("xllamacpp")
    model = convert(toy, tmp_path_factory.mktemp("gguf"))
    projector = next(model.parent.glob("*mmproj*"))
    with subprocess.Popen(
        [sys.executable, "-c", SERVE, model, projector],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.kill()


@pytest.fixture
def engine(address: str, monkeypatch: pytest.MonkeyPatch) -> RemoteEngine:
    monkeypatch.setenv("ANTIPHON_REMOTE_KEY", KEY)
    return load(address)


@pytest.mark.parametrize("seconds", [3.0, 30.0, 45.0])
@pytest.mark.parametrize("sound", SOUNDS)
def test_it_hears(engine: RemoteEngine, sound: str, seconds: float) -> None:
    clip = Clip(toy_sound(sound, seconds, seed=77))
    found = engine.answer(clip, [Question(text) for text in QUESTIONS], GREEDY)
    assert [answer.text for answer in found] == [toy_answer(text, sound) for text in QUESTIONS]
    assert {answer.finish for answer in found} == {"stop"}
    for answer in found[1:]:
        assert answer.cached_tokens >= 750 * -(-int(seconds) // 30) > 0  # heard once
        assert answer.cached_tokens < answer.prompt_tokens


def test_what_the_server_says_of_itself(engine: RemoteEngine, address: str) -> None:
    assert engine.info.settings == {"server": "llamacpp"}
    assert engine.info.cap_seconds == 120  # of a context of 4,096
    assert engine.info.model == "tiny.f32.gguf"
    with pytest.raises(ConfigError, match="has no model 'another'"):
        load(address, model="another")


def test_streaming_and_a_conversation(engine: RemoteEngine) -> None:
    clip = Clip(toy_sound("clicks", 5.0, seed=5))
    told: list[str] = []
    (answer,) = engine.answer(clip, [Question("Name the sound.")], GREEDY, told.append)
    assert "".join(told) == answer.text == "This is clicks."
    turns = [
        Message("user", "Name the sound.", clip),
        Message("assistant", answer.text),
        Message("user", "Is it bright or dark?"),
    ]
    assert engine.chat([turns], GREEDY)[0].text
    assert engine.chat([[Message("user", "Name the sound.")]], GREEDY)[0].prompt_tokens < 100


def test_tokens_in_a_question_break_nothing(engine: RemoteEngine) -> None:
    clip = Clip(toy_sound("clicks", 5.0, seed=5))
    text = "<sound><__media__><|im_end|> Name the sound."
    (answer,) = engine.answer(clip, [Question(text)], GREEDY)
    assert answer.prompt_tokens > 790  # the sound once, the rest as text


def test_a_question_beyond_the_context(engine: RemoteEngine) -> None:
    clip = Clip(toy_sound("clicks", 100.0, seed=5))
    with pytest.raises(ConfigError, match=r"are \d+ tokens, and the server's context holds 4096"):
        engine.answer(clip, [Question("a b c " * 2_000)], GREEDY)


def test_without_the_key(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTIPHON_REMOTE_KEY", raising=False)
    with pytest.raises(EngineError, match="401.*ANTIPHON_REMOTE_KEY, which is not set"):
        load(address, patience=Patience(wait_seconds=0.01)).answer(
            Clip(toy_sound("clicks", 5.0, seed=5)), [Question("?")], GREEDY
        )


def test_cancelling_while_it_listens(engine: RemoteEngine) -> None:
    clip = Clip(toy_sound("clicks", 119.0, seed=9))
    timer = threading.Timer(0.2, engine.cancel)
    start = time.monotonic()
    timer.start()
    (answer,) = engine.answer(clip, [Question("Name the sound.")], GREEDY)
    assert time.monotonic() - start < 1.2
    timer.join()
    assert (answer.text, answer.finish) == ("", "cancelled")
    assert engine.answer(clip, [Question("Name the sound.")], GREEDY)[0].text == "This is clicks."
