"""HTTP to one server: what is asked again and when, how long it is waited for, how it is cut off.

Knows no model. Redirects are not followed: the key, and the user's recording, would go with them.
"""

from __future__ import annotations

import http.client
import json
import random
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime

from antiphon.listen.engines.remote_address import (
    KEY_VARIABLE,
    Address,
    read_key,
    read_proxy,
)
from antiphon.listen.engines.remote_calls import Call, Line, RemoteError, reason

MAX_REPLY_BYTES = 16 << 20  # 2,048 tokens are 1 MB of events
_BLOCK_BYTES = 1 << 16
_SHOWN_CHARACTERS = 300
_PASSING = frozenset({408, 409, 429})  # and 5xx
_POLL_SECONDS = 0.02
_LOOK_UP_SECONDS = 30.0  # for what a server answers without computing


@dataclass(frozen=True)
class Patience:
    """How long a server is waited for, and how often it is asked.

    `total_seconds` is for one question with all tries of it, `silence_seconds` the longest pause
    once an answer has begun. The pause before try n + 1 is `jitter()` (0 to 1) of `wait_seconds`
    2^(n - 1), at most `longest_wait_seconds`; a `Retry-After` is kept, up to the same.
    """

    total_seconds: float = 600.0
    connect_seconds: float = 10.0
    silence_seconds: float = 60.0
    tries: int = 5
    wait_seconds: float = 1.0
    longest_wait_seconds: float = 60.0
    jitter: Callable[[], float] = field(default=random.random, compare=False)


class Reply:
    """An answer of the server, from its headers on."""

    def __init__(
        self, response: http.client.HTTPResponse, line: Line, silence_seconds: float
    ) -> None:
        self.status = response.status
        self.headers = response.headers
        self._response = response
        self._line = line
        self._silence_seconds = silence_seconds

    def blocks(self) -> Iterator[bytes]:
        """What has come, as it comes. Raises RemoteError, Cancelled."""
        length = self._response.length  # None where it is sent in chunks, or until the end
        received = 0
        while True:
            try:
                block = self._response.read1(_BLOCK_BYTES)
            except (OSError, http.client.HTTPException, ValueError) as error:
                self._line.check(error)
            self._line.check()
            if not block:
                break
            received += len(block)
            if received > MAX_REPLY_BYTES:
                raise RemoteError(
                    f"the answer is larger than {MAX_REPLY_BYTES >> 20} MB, which is more than any "
                    "text of 2,048 tokens; is this a server of models?"
                )
            self._line.socket.settimeout(self._silence_seconds)
            yield block
        if length is not None and received < length:
            raise RemoteError(f"the answer broke off after {received:,} of {length:,} bytes")

    def close(self) -> None:
        self._line.close()


class Transport:
    """Requests to one server, each over a connection of its own.

    Nothing is kept between them: a server that went away and came back is the same server.
    """

    def __init__(self, address: Address, patience: Patience | None = None) -> None:
        self.address = address
        self._patience = patience or Patience()
        self._key = read_key(address)
        self._proxy = None if address.is_loopback else read_proxy(address)

    def get_json(self, path: str, call: Call) -> object:
        """Raises RemoteError, Cancelled."""
        with self.ask("GET", path, (), call, _LOOK_UP_SECONDS) as reply:
            data = b"".join(reply.blocks())
        try:
            return json.loads(data)
        except ValueError as error:
            raise RemoteError(
                f"{self.address}{path} answers {self.shown(data)} in place of JSON; expected an "
                "OpenAI-compatible server"
            ) from error

    @contextmanager
    def ask(
        self,
        method: str,
        path: str,
        parts: Sequence[bytes],
        call: Call,
        total_seconds: float | None = None,
    ) -> Iterator[Reply]:
        """Send a body in `parts`; the answer, of status 200, is cut off on leaving.

        Asks again where the line broke before there was an answer, and at the statuses 408, 409,
        429 and 5xx unless `x-should-retry: false` comes with them. Raises RemoteError, Cancelled.
        """
        total = min(self._patience.total_seconds, total_seconds or self._patience.total_seconds)
        reply = self._ask(method, path, parts, call, time.monotonic() + total)
        try:
            yield reply
        finally:
            reply.close()

    def shown(self, body: object) -> str:
        """What a server said, for a message: short, on one line, without the key."""
        text = _said(body)
        if self._key:
            text = text.replace(self._key, "***")
        text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
        return text[:_SHOWN_CHARACTERS] + ("…" if len(text) > _SHOWN_CHARACTERS else "")

    def _ask(
        self, method: str, path: str, parts: Sequence[bytes], call: Call, deadline: float
    ) -> Reply:
        patience = self._patience
        tries = 0
        while True:
            try:
                return self._try(method, path, parts, call, deadline)
            except RemoteError as error:
                tries += 1
                if error.again_after is None:
                    raise
                pause = patience.jitter() * patience.wait_seconds * 2 ** (tries - 1)
                pause = min(max(pause, error.again_after), patience.longest_wait_seconds)
                if tries >= patience.tries or time.monotonic() + pause > deadline:
                    message = f"{error} (tried {tries} times)"
                    raise RemoteError(message, status=error.status, body=error.body) from error
            call.pause(pause)

    def _try(
        self, method: str, path: str, parts: Sequence[bytes], call: Call, deadline: float
    ) -> Reply:
        connection = self._dial(call, deadline)
        line = Line(connection, self.address, call, deadline)
        try:
            call.add(line)
            reply = self._request(line, method, path, parts)
            if reply.status != http.HTTPStatus.OK:
                raise self._refusal(reply)
        except BaseException:
            line.close()
            raise
        return reply

    def _dial(self, call: Call, deadline: float) -> http.client.HTTPConnection:
        """Connect in a thread of its own: a name server that does not answer cannot be cut off."""
        connection = self._connection()
        done, abandoned = threading.Event(), threading.Event()
        failures: list[Exception] = []

        def connect() -> None:
            try:
                connection.connect()
            except (OSError, http.client.HTTPException, ValueError) as error:
                failures.append(error)
            done.set()
            if abandoned.is_set():
                connection.close()

        threading.Thread(target=connect, name="antiphon-connect", daemon=True).start()
        limit = min(time.monotonic() + self._patience.connect_seconds, deadline)
        while not done.wait(_POLL_SECONDS):
            if call.is_cancelled or time.monotonic() > limit:
                break
        if done.is_set() and not failures:
            return connection
        abandoned.set()
        connection.close()
        call.pause(0.0)
        if not failures or isinstance(failures[0], TimeoutError):
            raise RemoteError(
                f"{self.address} does not take the connection within "
                f"{self._patience.connect_seconds:g} s; is the address right?"
            )
        raise RemoteError(
            f"{self.address} cannot be reached: {reason(failures[0])}; is the server running?",
            again_after=0.0 if isinstance(failures[0], ConnectionError) else None,
        ) from failures[0]

    def _connection(self) -> http.client.HTTPConnection:
        address, seconds = self.address, self._patience.connect_seconds
        host, port = (self._proxy.host, self._proxy.port) if self._proxy else (
            address.host, address.port
        )  # fmt: skip
        if address.scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=seconds)
        connection = http.client.HTTPSConnection(
            host, port, timeout=seconds, context=ssl.create_default_context()
        )
        if self._proxy:
            connection.set_tunnel(address.host, address.port, dict(self._proxy.headers))
        return connection

    def _request(self, line: Line, method: str, path: str, parts: Sequence[bytes]) -> Reply:
        headers = {
            "User-Agent": "antiphon",
            "Accept": "application/json, text/event-stream",
            "Accept-Encoding": "identity",
            "Connection": "close",
        }
        target = self.address.path + path
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        if self._proxy and self.address.scheme == "http":
            headers |= self._proxy.headers
            target = f"{self.address}{path}"
        if parts:
            headers |= {
                "Content-Type": "application/json",
                "Content-Length": str(sum(map(len, parts))),
            }
        try:
            # A server that refuses a body may say why before it has read all of it.
            with suppress(BrokenPipeError, ConnectionResetError):
                line.connection.request(method, target, list(parts) or None, headers)
            line.response = response = line.connection.getresponse()
        except (OSError, http.client.HTTPException, ValueError) as error:
            line.check(error)
            raise
        line.check()
        return Reply(response, line, self._patience.silence_seconds)

    def _refusal(self, reply: Reply) -> RemoteError:
        status, headers = reply.status, reply.headers
        if 300 <= status < 400:
            elsewhere = self.shown(headers.get("Location", "nowhere"))
            return RemoteError(
                f"{self.address} redirects ({status}) to {elsewhere}, which is not followed; "
                "give that address if you trust it",
                status=status,
            )
        data = b""
        with suppress(RemoteError):  # the status is what counts
            for block in reply.blocks():
                data += block
                if len(data) >= _BLOCK_BYTES:
                    break
        try:
            body: object = json.loads(data)
        except ValueError:
            body = data
        message = f"{self.address} answers {status}: {self.shown(body)}"
        if status in (401, 403):
            message += f"; the key comes from {KEY_VARIABLE}, which is " + (
                "not accepted" if self._key else "not set"
            )
        may_pass = status in _PASSING or status >= 500
        if headers.get("x-should-retry", "").strip().lower() == "false" or not may_pass:
            return RemoteError(message, status=status, body=body)
        wait = _retry_after(headers.get("Retry-After", ""))
        return RemoteError(message, status=status, body=body, again_after=wait)


def _retry_after(value: str) -> float:
    """Seconds from now; 0 where the header is missing or nonsense."""
    value = value.strip()
    if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", value):
        return float(value)
    try:
        return max(parsedate_to_datetime(value).timestamp() - time.time(), 0.0)
    except ValueError:
        return 0.0


def _said(body: object) -> str:
    """The message in an error's JSON: OpenAI's form, vLLM's older one, FastAPI's, or what it is."""
    if isinstance(body, bytes):
        text = body[: 4 * _SHOWN_CHARACTERS].decode("utf-8", "replace").strip()
        if text[:1] == "<":
            return "a page of HTML"
        return text or "nothing"
    if isinstance(body, dict):
        for name in ("error", "message", "detail"):
            if body.get(name):
                return _said(body[name])
    return body if isinstance(body, str) else json.dumps(body)
