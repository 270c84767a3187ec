"""A server on this machine that speaks OpenAI's protocol, as well or as badly as it is told to."""

from __future__ import annotations

import json
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Behaviour = Callable[["Talk"], None]
USAGE = {
    "prompt_tokens": 790,
    "completion_tokens": 5,
    "prompt_tokens_details": {"cached_tokens": 768},
}


@dataclass(frozen=True)
class Asked:
    """One POST; `sound` is the base64 in it."""

    path: str
    headers: Mapping[str, str]
    body: dict[str, Any]
    start: float  # of time.monotonic()

    @property
    def parts(self) -> list[Any]:
        content = self.body["messages"][-1]["content"]
        assert isinstance(content, list)
        return content

    @property
    def text(self) -> str:
        return str(self.parts[-1]["text"])


@dataclass
class OpenAiServer:
    """`script` is used up first, then `usual`; both may be changed while it runs."""

    models: Any = field(default_factory=lambda: listing("tiny"))
    script: list[Behaviour] = field(default_factory=list)
    usual: Behaviour = lambda talk: says("A piece.")(talk)
    asked: list[Asked] = field(default_factory=list)
    gets: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)
    most_at_once: int = 0
    errors: list[BaseException | None] = field(default_factory=list)
    gone_after: list[float] = field(default_factory=list)  # seconds until a client hung up
    address: str = ""
    stopped: threading.Event = field(default_factory=threading.Event)
    _busy: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, asked: Asked) -> Behaviour:
        with self._lock:
            self.asked.append(asked)
            return self.script.pop(0) if self.script else self.usual

    def count(self, more: int) -> None:
        """Of the questions that have no answer yet."""
        with self._lock:
            self._busy += more
            self.most_at_once = max(self.most_at_once, self._busy)


class Talk:
    """What a behaviour has in its hands."""

    def __init__(self, handler: _Handler, server: OpenAiServer, asked: Asked) -> None:
        self.asked = asked
        self.is_answered = False
        self._handler = handler
        self._server = server

    def headers(self, status: int = 200, **headers: str) -> None:
        # Before the client can know of it: its next question must not seem to come too early.
        self.answered()
        self._handler.send_response(status)
        for name, value in headers.items():
            self._handler.send_header(name.replace("_", "-"), value)
        self._handler.end_headers()

    def answered(self) -> None:
        if not self.is_answered:
            self.is_answered = True
            self._server.count(-1)

    def send(self, data: bytes) -> None:
        self._handler.wfile.write(data)
        self._handler.wfile.flush()

    def whole(self, status: int, data: bytes, kind: str, **headers: str) -> None:
        self.headers(status, Content_Type=kind, Content_Length=str(len(data)), **headers)
        self.send(data)

    def stream(self) -> None:
        self.headers(Content_Type="text/event-stream; charset=utf-8")

    def event(self, value: object) -> None:
        self.send(b"data: " + json.dumps(value).encode() + b"\n\n")

    def wait(self, seconds: float) -> None:
        self._server.stopped.wait(seconds)

    def hang(self, seconds: float = 10.0) -> None:
        """Until the client hangs up."""
        line = self._handler.connection
        line.settimeout(0.01)
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self._server.stopped.is_set():
            try:
                if not line.recv(1):
                    break
            except TimeoutError:
                continue
            except OSError:
                break
        self._server.gone_after.append(time.monotonic() - self.asked.start)

    def cut(self) -> None:
        """Close with a reset."""
        line = self._handler.connection
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._handler.rfile.close()
        line.close()
        raise ConnectionAbortedError


def listing(*names: str, owner: str = "someone", **more: Any) -> dict[str, Any]:
    return {"object": "list", "data": [{"id": n, "owned_by": owner, **more} for n in names]}


def delta(content: str | None = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    said = {} if content is None else {"content": content}
    return {"choices": [{"index": 0, "delta": {**said, **more}, "finish_reason": finish}]}


def pieces(text: str) -> list[str]:
    return [word if at == 0 else f" {word}" for at, word in enumerate(text.split(" "))]


def says(
    text: str,
    finish: str | None = "stop",
    *,
    usage: Any = USAGE,
    done: bool = True,
    pause: float = 0.0,
    before: float = 0.0,
) -> Behaviour:
    """The text as a stream of words."""

    def behave(talk: Talk) -> None:
        talk.wait(before)
        talk.stream()
        talk.event(delta(role="assistant"))
        for word in pieces(text):
            talk.event(delta(word))
            talk.wait(pause)
        talk.event(delta(finish=finish))
        if usage is not None:
            talk.event({"choices": [], "usage": usage})
        if done:
            talk.send(b"data: [DONE]\n\n")

    return behave


def says_whole(text: Any, finish: str | None = "stop", **more: Any) -> Behaviour:
    """The text as one JSON object, as from a server that cannot stream."""
    message = {"role": "assistant", "content": text, **more}
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return answers(200, {"choices": [choice], "usage": USAGE})


def answers(
    status: int, body: Any = None, kind: str = "application/json", **headers: str
) -> Behaviour:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return lambda talk: talk.whole(status, data, kind, **headers)


def streams(*blocks: bytes, pause: float = 0.0) -> Behaviour:
    """These bytes after the headers of a stream."""

    def behave(talk: Talk) -> None:
        talk.stream()
        for block in blocks:
            talk.send(block)
            talk.wait(pause)

    return behave


def hangs(talk: Talk) -> None:
    talk.hang()


def resets(talk: Talk) -> None:
    talk.cut()


@contextmanager
def running_server() -> Iterator[OpenAiServer]:
    ours = OpenAiServer()
    server = _Server(("127.0.0.1", 0), _Handler)
    server.ours = ours
    ours.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield ours
    finally:
        ours.stopped.set()
        server.shutdown()
        server.server_close()
        thread.join()
    assert not ours.errors, ours.errors


class _Server(ThreadingHTTPServer):
    ours: OpenAiServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):  # a client that hangs up is what some tests are about
            self.ours.errors.append(error)


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        ours = self.server.ours
        ours.gets.append((self.path, dict(self.headers)))
        if callable(ours.models):
            ours.count(1)
            ours.models(Talk(self, ours, Asked(self.path, {}, {}, time.monotonic())))
            return
        data = json.dumps(ours.models).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_POST(self) -> None:
        ours, start = self.server.ours, time.monotonic()
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        asked = Asked(self.path, dict(self.headers), body, start)
        ours.count(1)
        talk = Talk(self, ours, asked)
        try:
            ours.take(asked)(talk)
        finally:
            talk.answered()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the tests look at `asked`."""
