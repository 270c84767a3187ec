"""The remote engine with servers that fail: what is tried again, what ends, who sees the key."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from email.utils import formatdate

import pytest
from test_remote_engine import CLIP, GREEDY, PATIENCE, ask

from antiphon.errors import ConfigError, EngineError
from antiphon.listen.engines import Answer, Question
from antiphon.listen.engines.remote import RemoteEngine, load
from antiphon.listen.engines.remote_address import read_address, read_key, read_proxy
from antiphon.listen.engines.remote_calls import Call
from antiphon.listen.engines.remote_transport import MAX_REPLY_BYTES, Transport
from openai_server import (
    Behaviour,
    OpenAiServer,
    Talk,
    answers,
    delta,
    hangs,
    resets,
    running_server,
    says,
    says_whole,
    streams,
)

pytestmark = pytest.mark.integration

FULL = {"error": {"message": "Too many requests", "type": "rate_limit"}}
WORD = b'data: {"choices":[{"delta":{"content":"A"}}]}\n\n'
HURRIED = replace(PATIENCE, silence_seconds=0.2)


@pytest.fixture
def server() -> Iterator[OpenAiServer]:
    with running_server() as running:
        yield running


@pytest.fixture
def engine(server: OpenAiServer) -> RemoteEngine:
    return load(server.address, patience=HURRIED, timeout_seconds=5)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long it was waited between tries; the waits themselves are left out."""
    waited: list[float] = []
    pause = Call.pause

    def note(call: Call, seconds: float) -> None:
        if seconds:
            waited.append(seconds)
        pause(call, 0.0)

    monkeypatch.setattr(Call, "pause", note)
    return waited


@pytest.mark.parametrize(
    "fault",
    [*(answers(status, FULL) for status in (408, 409, 429, 500, 502, 503)), resets, lambda _: None],
)
def test_what_passes_is_tried_again(
    server: OpenAiServer, engine: RemoteEngine, fault: Behaviour
) -> None:
    server.script = [fault, fault]
    assert ask(engine, "?") == ["A piece."]
    assert len(server.asked) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422])
def test_what_does_not_pass_is_not(server: OpenAiServer, engine: RemoteEngine, status: int) -> None:
    server.usual = answers(status, {"detail": "Not like this"})
    with pytest.raises(EngineError, match=f"answers {status}: Not like this"):
        ask(engine, "?")
    assert len(server.asked) == 1


def test_a_server_that_says_it_is_no_use_is_believed(
    server: OpenAiServer, engine: RemoteEngine
) -> None:
    server.usual = answers(503, FULL, x_should_retry="false")
    with pytest.raises(EngineError, match="answers 503: Too many requests$"):
        ask(engine, "?")
    assert len(server.asked) == 1


def test_429_for_ever_ends(server: OpenAiServer, engine: RemoteEngine, pauses: list[float]) -> None:
    server.usual = answers(429, FULL)
    with pytest.raises(EngineError, match=r"answers 429: Too many requests \(tried 5 times\)"):
        ask(engine, "?")
    assert len(server.asked) == 5
    assert pauses == [0.01, 0.02, 0.04, 0.08]


def test_the_pauses_have_full_jitter(server: OpenAiServer, pauses: list[float]) -> None:
    draws = iter([0.5, 0.0, 1.0, 0.25, 0.0])
    patience = replace(PATIENCE, wait_seconds=0.1, jitter=lambda: next(draws))
    server.usual = answers(503, FULL)
    with pytest.raises(EngineError, match="503"):
        ask(load(server.address, patience=patience), "?")
    assert pauses == pytest.approx([0.05, 0.4, 0.2])  # a pause of 0 is none


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("0.3", 0.3), ("2", 2.0), ("9999", 3.0), ("soon", 0.01), ("-5", 0.01)],
)
def test_retry_after_is_kept_within_bounds(
    server: OpenAiServer, pauses: list[float], header: str, seconds: float
) -> None:
    engine = load(server.address, patience=replace(PATIENCE, longest_wait_seconds=3.0))
    server.script = [answers(429, FULL, Retry_After=header)]
    ask(engine, "?")
    assert pauses == [seconds]


def test_retry_after_may_be_a_date(server: OpenAiServer, pauses: list[float]) -> None:
    engine = load(server.address, patience=PATIENCE)
    server.script = [answers(503, FULL, Retry_After=formatdate(time.time() + 30, usegmt=True))]
    ask(engine, "?")
    assert 25 < pauses[0] <= 30


def test_no_wait_goes_beyond_the_deadline(server: OpenAiServer) -> None:
    engine = load(server.address, patience=PATIENCE, timeout_seconds=1)
    server.usual = answers(429, FULL, Retry_After="20")
    start = time.monotonic()
    with pytest.raises(EngineError, match=r"429.*tried 1 times"):
        ask(engine, "?")
    assert time.monotonic() - start < 0.5


def send_half(talk: Talk) -> None:
    data = json.dumps({"choices": []}).encode()
    talk.headers(Content_Type="application/json", Content_Length="1000")
    talk.send(data)


def send_without_end(talk: Talk) -> None:
    talk.stream()
    with suppress(OSError):
        while True:
            talk.send(b"data: " + b"x" * 1_000_000)


def speak_something_else(talk: Talk) -> None:
    talk.send(b"220 smtp.example ESMTP\r\n")


BROKEN: list[tuple[Behaviour, str]] = [
    (streams(WORD), "without a finish_reason.*after 1 characters"),
    (streams(WORD, b"data: [DONE]\n\n"), "without a finish_reason"),
    (says("A piece.", finish=None), "without a finish_reason"),
    (says_whole("A piece.", finish=None), "without a finish_reason"),
    (streams(), "without a finish_reason"),
    (send_half, "broke off after 15 of 1,000 bytes"),
    (send_without_end, "larger than 16 MB"),
    (speak_something_else, "is not HTTP"),
    (streams(WORD, b'data: {"choi\n\n'), 'answers {"choi in place of JSON'),
    (streams(WORD, b"data: [1]\n\n"), "expected a JSON object"),
    (answers(200, b"\xff\xfe{}"), "in place of JSON"),
    (answers(200, b"[" * 100_000), "in place of JSON"),
    (answers(200, b"<!DOCTYPE html><html>Log in", "text/html"), "a page of HTML in place of JSON"),
    (answers(200, {}), "no choices with a message"),
    (answers(200, {"choices": []}), "no choices with a message"),
    (answers(200, {"choices": [{"finish_reason": "stop"}]}), "no choices with a message"),
    (streams(b'data: {"choices":[{"finish_reason":"stop"}]}\n\n'), "no choices with a delta"),
    (says_whole(["A", "piece"]), "expected a string"),
    (says("A", "content_filter"), "ended the answer by 'content_filter'"),
    (says("A", "tool_calls"), "ended the answer by 'tool_calls'"),
    (streams(WORD, b'data: {"error":{"code":500,"message":"out of memory"}}\n\n'), "out of memory"),
    (streams(WORD, b'error: {"code":500,"message":"out of memory"}\n\n'), "out of memory"),
    (answers(200, {"error": "the model crashed"}), "the server failed: the model crashed"),
]


@pytest.mark.parametrize(("fault", "message"), BROKEN)
def test_what_is_no_answer_is_an_error(
    server: OpenAiServer, engine: RemoteEngine, fault: Behaviour, message: str
) -> None:
    server.script = [fault]
    with pytest.raises(EngineError, match=message) as info:
        ask(engine, "?")
    assert len(str(info.value)) < 600
    assert "\n" not in str(info.value)
    assert ask(engine, "?") == ["A piece."]  # the engine goes on


def test_the_bound_on_an_answer_is_far_above_a_real_one() -> None:
    assert len(json.dumps(delta("word"))) * 2_048 * 10 < MAX_REPLY_BYTES


def silent_stream(talk: Talk) -> None:
    talk.stream()
    talk.send(WORD)
    talk.hang()


def dripped_headers(talk: Talk) -> None:
    with suppress(OSError):
        for byte in b"HTTP/1.1 200 OK\r\n" + b"X-Slow: yes\r\n" * 1_000:
            talk.send(bytes([byte]))
            talk.wait(0.02)


def dripped_comments(talk: Talk) -> None:
    talk.stream()
    with suppress(OSError):
        for _ in range(1_000):
            talk.send(b": still here\n\n")
            talk.wait(0.02)


@pytest.mark.parametrize(
    ("fault", "seconds", "message"),
    [
        (hangs, 0.5, "was not done in time"),
        (silent_stream, 0.2, "said nothing for 0.2 s"),
        (dripped_headers, 0.5, "was not done in time"),
        (dripped_comments, 0.5, "was not done in time"),
    ],
)
def test_a_server_that_hangs_is_left(
    server: OpenAiServer, fault: Behaviour, seconds: float, message: str
) -> None:
    engine = load(server.address, patience=HURRIED, timeout_seconds=0.5)
    server.usual = fault
    start = time.monotonic()
    with pytest.raises(EngineError, match=message):
        ask(engine, "?")
    assert seconds <= time.monotonic() - start < seconds + 0.5


def test_a_server_that_is_not_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(EngineError, match=r"cannot be reached.*refused.*tried 5 times"):
        load(f"http://127.0.0.1:{port}", patience=PATIENCE)


def test_a_name_that_is_none() -> None:
    with pytest.raises(EngineError, match="cannot be reached"):
        load("http://nothing.invalid", patience=PATIENCE)


def test_a_connection_that_does_not_come_about(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http.client.HTTPConnection, "connect", lambda _: time.sleep(1))
    start = time.monotonic()
    with pytest.raises(EngineError, match=r"does not take the connection within 0\.2 s"):
        load("http://127.0.0.1:9", patience=replace(PATIENCE, connect_seconds=0.2))
    assert time.monotonic() - start < 0.6


def test_one_failure_of_several_ends_the_others(server: OpenAiServer, engine: RemoteEngine) -> None:
    def behave(talk: Talk) -> None:
        if talk.asked.text != "bad":
            talk.hang()
        talk.wait(0.2)
        answers(400, FULL)(talk)

    server.script, server.usual = [says("First.")], behave
    start = time.monotonic()
    with pytest.raises(EngineError, match="answers 400"):
        ask(engine, "first", "slow", "bad", "slow", "slow")
    assert time.monotonic() - start < 1
    assert wait_until(lambda: len(server.gone_after) == 3)


def wait_until(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + 2
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


def cancelled_after(
    engine: RemoteEngine, ready: Callable[[], bool], *texts: str
) -> tuple[list[Answer], float]:
    """The answers, and how long after the cancel they came."""
    cancelled: list[float] = []

    def cancel() -> None:
        wait_until(ready)
        cancelled.append(time.monotonic())
        engine.cancel()

    thread = threading.Thread(target=cancel)
    thread.start()
    found = engine.answer(CLIP, [Question(text) for text in texts], GREEDY)
    seconds = time.monotonic() - cancelled[0]
    thread.join()
    return found, seconds


def endless(talk: Talk) -> None:
    talk.stream()
    for number in range(1_000):
        talk.event(delta(f"{number} "))
        talk.wait(0.01)
    raise AssertionError("it was listened to the end")


def test_cancelling_before_the_first_byte(server: OpenAiServer, engine: RemoteEngine) -> None:
    server.script = [hangs]
    found, seconds = cancelled_after(engine, lambda: bool(server.asked), "a", "b")
    assert seconds < 0.5
    assert [(answer.text, answer.finish) for answer in found] == [("", "cancelled")] * 2
    assert wait_until(lambda: bool(server.gone_after))  # so the server stops computing
    assert ask(engine, "?") == ["A piece."]


def test_cancelling_a_stream_keeps_what_came(server: OpenAiServer, engine: RemoteEngine) -> None:
    server.script = [endless]
    told: list[str] = []

    def on_token(piece: str) -> None:
        told.append(piece)
        if len(told) == 5:
            engine.cancel()

    (answer,) = engine.answer(CLIP, [Question("?")], GREEDY, on_token)
    assert answer.finish == "cancelled"
    assert answer.text == "0 1 2 3 4"


def test_cancelling_many_questions(server: OpenAiServer, engine: RemoteEngine) -> None:
    server.script, server.usual = [says("First.")], hangs
    found, seconds = cancelled_after(engine, lambda: server.most_at_once == 4, *"abcdefgh")
    assert seconds < 0.5
    assert [answer.finish for answer in found] == ["stop", *["cancelled"] * 7]
    assert found[0].text == "First."


def test_cancelling_a_pause_between_tries(server: OpenAiServer) -> None:
    engine = load(server.address, patience=replace(PATIENCE, wait_seconds=30.0))
    server.usual = answers(503, FULL)
    found, seconds = cancelled_after(engine, lambda: bool(server.asked), "?")
    assert seconds < 0.5
    assert found[0].finish == "cancelled"


def test_cancelling_while_it_connects(
    engine: RemoteEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = threading.Event()

    def connect(_: object) -> None:
        begun.set()
        time.sleep(1)

    monkeypatch.setattr(http.client.HTTPConnection, "connect", connect)
    found, seconds = cancelled_after(engine, begun.is_set, "?")
    assert seconds < 0.5
    assert found[0].finish == "cancelled"


def test_an_error_in_on_token_hangs_up(server: OpenAiServer, engine: RemoteEngine) -> None:
    server.script = [endless]

    def fail(piece: str) -> None:
        raise ZeroDivisionError("a bug of the caller's")

    with pytest.raises(ZeroDivisionError):
        engine.answer(CLIP, [Question("?")], GREEDY, fail)
    assert ask(engine, "?") == ["A piece."]


LLAMA_OVERFLOW = {
    "error": {
        "code": 400,
        "message": "request (15773 tokens) exceeds the available context size (4096 tokens)",
        "type": "exceed_context_size_error",
        "n_prompt_tokens": 15_773,
        "n_ctx": 4_096,
    }
}
VLLM_OVERFLOW = {
    "object": "error",
    "message": "This model's maximum context length is 8192 tokens. However, you requested 9000",
    "type": "BadRequestError",
    "code": 400,
}


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (answers(400, LLAMA_OVERFLOW), "are 15773 tokens, .* holds 4096; .*--ctx-size"),
        (streams(b"data: " + json.dumps(LLAMA_OVERFLOW).encode() + b"\n\n"), "15773.*4096"),
        (answers(400, VLLM_OVERFLOW), "too long for the model.*8192.*9000"),
        (answers(400, {"error": VLLM_OVERFLOW}), "too long for the model.*8192.*9000"),
    ],
)
def test_a_context_that_is_too_small_is_named(
    server: OpenAiServer, engine: RemoteEngine, fault: Behaviour, message: str
) -> None:
    server.usual = fault
    with pytest.raises(ConfigError, match=message):
        ask(engine, "?")
    assert len(server.asked) == 1


KEY = "sesame-42"


def test_the_key_is_sent_and_never_shown(
    server: OpenAiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTIPHON_REMOTE_KEY", f" {KEY}\n")
    engine = load(server.address, patience=PATIENCE)
    server.usual = answers(401, {"error": {"message": f"Incorrect API key provided: {KEY}\x1b[2J"}})
    with pytest.raises(EngineError, match="not accepted") as info:
        ask(engine, "?")
    assert f"Bearer {KEY}" == server.asked[0].headers["Authorization"]
    assert f"Bearer {KEY}" == server.gets[0][1]["Authorization"]
    assert "provided: ***" in str(info.value)
    for shown in (str(info.value), repr(info.value), repr(engine), repr(engine.info)):
        assert KEY not in shown
        assert "\x1b" not in shown


def test_openai_s_key_is_openai_s(server: OpenAiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    engine = load(server.address, patience=PATIENCE)
    server.usual = answers(401, {"detail": "No key"})
    with pytest.raises(EngineError, match="comes from ANTIPHON_REMOTE_KEY, which is not set"):
        ask(engine, "?")
    assert "Authorization" not in server.asked[0].headers
    assert read_key(read_address("https://api.openai.com/v1")) == KEY
    for other in ("http://api.openai.com/v1", "https://api.openai.com.evil.example"):
        assert read_key(read_address(other)) is None
    monkeypatch.setenv("ANTIPHON_REMOTE_KEY", "mine")
    assert read_key(read_address("https://api.openai.com/v1")) == "mine"


def test_a_key_that_is_none_is_refused_unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTIPHON_REMOTE_KEY", f"{KEY}\r\nX-Other: 1")
    with pytest.raises(ConfigError, match="ANTIPHON_REMOTE_KEY holds spaces") as info:
        load("http://127.0.0.1:9")
    assert KEY not in str(info.value)


def test_a_redirect_is_not_followed(server: OpenAiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTIPHON_REMOTE_KEY", KEY)
    with running_server() as other:
        engine = load(server.address, patience=PATIENCE)
        target = f"{other.address}/v1/chat/completions"
        server.usual = answers(307, b"", Location=target)
        with pytest.raises(EngineError, match=rf"redirects \(307\) to {target}, .*not followed"):
            ask(engine, "?")
        assert other.asked == []
        server.models = answers(302, b"", Location=f"{other.address}/v1/models")
        with pytest.raises(EngineError, match="302"):
            load(server.address, patience=PATIENCE)
        assert other.gets == []


def test_a_proxy_is_for_what_is_not_this_machine(
    server: OpenAiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = server.address.removeprefix("http://")
    monkeypatch.setenv("http_proxy", f"http://me:p%40ss@{place}")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert ask(load("http://models.example:8000/v1", patience=PATIENCE), "?") == ["A piece."]
    assert server.gets[0][0] == "http://models.example:8000/v1/models"
    assert server.asked[0].path == "http://models.example:8000/v1/chat/completions"
    assert server.asked[0].headers["Host"] == "models.example:8000"
    assert server.asked[0].headers["Proxy-Authorization"] == "Basic bWU6cEBzcw=="
    for url in ("http://localhost:1", "http://127.0.1.1", "http://[::1]:80", "http://a.localhost"):
        assert Transport(read_address(url), PATIENCE)._proxy is None
    monkeypatch.setenv("no_proxy", "models.example")
    assert read_proxy(read_address("http://models.example:8000")) is None
    monkeypatch.setenv("http_proxy", "socks5://me:sesame@proxy:1080")
    monkeypatch.delenv("no_proxy")
    with pytest.raises(ConfigError, match="of the kind 'socks5'") as info:
        load("http://models.example")
    assert "sesame" not in str(info.value)


def test_a_tunnel_through_a_proxy_does_not_show_it_the_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ANTIPHON_REMOTE_KEY", KEY)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    seen: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as proxy:

        def refuse() -> None:
            line, _ = proxy.accept()
            with line:
                seen.append(line.recv(4_096))
                line.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")

        thread = threading.Thread(target=refuse)
        thread.start()
        monkeypatch.setenv("https_proxy", f"127.0.0.1:{proxy.getsockname()[1]}")
        with pytest.raises(EngineError, match="Tunnel connection failed: 403"):
            load("https://models.example", patience=PATIENCE)
        thread.join()
    assert seen[0].startswith(b"CONNECT models.example:443 HTTP/1.")
    assert KEY.encode() not in seen[0]


def test_tls_is_checked(server: OpenAiServer) -> None:
    address = server.address.replace("http://", "https://")
    with pytest.raises(EngineError, match="cannot be reached"):
        load(address, patience=PATIENCE)
    assert server.gets == []
