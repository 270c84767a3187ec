"""One engine for many processes: shared, restarted, and never left behind."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pytest

from antiphon.errors import ConfigError, EngineError, ModelError
from antiphon.listen.engine_host import EngineClient, HostAddress, hosted
from antiphon.listen.engines import ListenerEngine, Message, Question, Sampling
from antiphon.listen.engines.fake import FakeEngine
from antiphon.listen.windows import Clip

pytestmark = pytest.mark.integration

CLIP = Clip(np.zeros(1600, np.float32))


def say(clip: Clip | None, text: str) -> str:
    if text == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if text == "who":
        return str(os.getpid())
    if text == "fail":
        raise EngineError("it failed")
    if text == "bug":
        raise ZeroDivisionError("a bug")
    return f"about {text}"


def engine() -> ListenerEngine:
    return FakeEngine(say, model="shared")


def broken() -> ListenerEngine:
    raise ModelError("weights.gguf is damaged; fetch it again")


def slow_engine() -> ListenerEngine:
    return FakeEngine("word " * 5 + "end", seconds_per_word=0.05)


def ask(address: HostAddress, text: str) -> str:
    client = EngineClient(address)
    try:
        (answer,) = client.answer(CLIP, [Question(text)], Sampling())
        return answer.text
    finally:
        client.close()


def test_several_share_one_engine_in_a_process_of_its_own() -> None:
    with hosted(engine) as address, ThreadPoolExecutor(4) as pool:
        assert address.info.model == "shared"
        pids = set(pool.map(partial(ask, address), ["who"] * 8))
        assert len(pids) == 1
        assert int(pids.pop()) != os.getpid()
        client = EngineClient(address)
        (reply,) = client.chat([[Message("user", "x")]], Sampling())
        assert reply.text == "about x"
        assert client.raw(None, "y", Sampling()).text == "about y"
        client.close()


def test_errors_come_through_and_the_engine_goes_on() -> None:
    with hosted(engine) as address:
        with pytest.raises(EngineError, match="it failed"):
            ask(address, "fail")
        with pytest.raises(EngineError, match="ZeroDivisionError: a bug"):
            ask(address, "bug")
        assert ask(address, "this") == "about this"
        with pytest.raises(ConfigError, match="does not stream"):
            EngineClient(address).answer(CLIP, [Question("x")], Sampling(), print)


def test_what_loading_raises_is_raised() -> None:
    with pytest.raises(ModelError, match="weights.gguf is damaged"), hosted(broken):
        pass


def test_a_dead_engine_costs_one_answer() -> None:
    with hosted(engine) as address:
        before = ask(address, "who")
        with pytest.raises(EngineError, match="ended while it answered"):
            ask(address, "die")
        assert ask(address, "who") != before


def test_an_engine_that_dies_again_and_again_is_given_up() -> None:
    with hosted(engine) as address:
        for _ in range(4):
            with pytest.raises(EngineError, match="ended while it answered"):
                ask(address, "die")
        with pytest.raises(EngineError, match=r"again and again.*enough memory"):
            ask(address, "this")


@pytest.mark.parametrize("pause_seconds", [0.0, 0.0005, 0.05])
def test_leaving_while_it_is_started_anew_waits_for_nothing(pause_seconds: float) -> None:
    with hosted(engine) as address:
        with pytest.raises(EngineError):
            ask(address, "die")
        time.sleep(pause_seconds)
        started = time.monotonic()
    assert time.monotonic() - started < 5.0


def test_a_long_name_of_the_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / ("long" * 25)
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    with hosted(engine) as address:
        assert ask(address, "x") == "about x"


def test_a_worker_that_goes_frees_the_engine() -> None:
    with hosted(slow_engine) as address, ThreadPoolExecutor(1) as pool:
        client = EngineClient(address)
        waiting = pool.submit(client.answer, CLIP, [Question("x") for _ in range(200)], Sampling())
        time.sleep(0.5)
        client.cancel()
        started = time.monotonic()
        assert ask(address, "x") == "word word word word word end"
        assert time.monotonic() - started < 10.0  # 200 answers take 60 s
        with pytest.raises(EngineError):
            waiting.result(timeout=5.0)


def test_nothing_is_left_behind() -> None:
    with hosted(engine) as address:
        pid = int(ask(address, "who"))
        assert psutil.pid_exists(pid)
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    assert not os.path.exists(address.place)
