"""One call of the remote engine: the lines it holds open, and how they are cut.

Knows sockets, but neither the server nor what is said.
"""

from __future__ import annotations

import http.client
import socket
import threading
import time
from contextlib import suppress

from antiphon.errors import EngineError
from antiphon.listen.engines.remote_address import Address


class Cancelled(Exception):
    """The call was ended by `Call.cancel`."""


class RemoteError(EngineError):
    """What went wrong; `status` and `body` (its JSON, or text) where there was an answer.

    `again_after` are the seconds to wait at least before asking again, None where that is no use.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        body: object = None,
        again_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body = body
        self.again_after = again_after


class Call:
    """One call of the engine, however many requests it makes; `cancel` ends them all."""

    def __init__(self) -> None:
        self._cancelled = threading.Event()
        self._lock = threading.Lock()
        self._lines: set[Line] = set()

    @property
    def is_cancelled(self) -> bool:
        return self._cancelled.is_set()

    def cancel(self) -> None:
        with self._lock:
            self._cancelled.set()
            lines = tuple(self._lines)
        for line in lines:
            line.cut()

    def pause(self, seconds: float) -> None:
        """Raises Cancelled."""
        if self._cancelled.wait(seconds):
            raise Cancelled

    def add(self, line: Line) -> None:
        """Raises Cancelled."""
        with self._lock:
            if self.is_cancelled:
                raise Cancelled
            self._lines.add(line)

    def discard(self, line: Line) -> None:
        with self._lock:
            self._lines.discard(line)


class Line:
    """A connection that another thread may cut, and the deadline does."""

    def __init__(
        self, connection: http.client.HTTPConnection, address: Address, call: Call, deadline: float
    ) -> None:
        self.connection = connection
        self.response: http.client.HTTPResponse | None = None
        # http.client forgets it as soon as the headers are there.
        self.socket: socket.socket = connection.sock
        self._address = address
        self._call = call
        self._is_overdue = False
        # A server that trickles meets no timeout of a socket.
        self._timer = threading.Timer(max(deadline - time.monotonic(), 0.0), self._expire)
        self._timer.daemon = True
        self._timer.start()
        self.socket.settimeout(None)

    def cut(self) -> None:
        # Not close(): a thread that waits for bytes would go on waiting.
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._timer.cancel()
        self._call.discard(self)
        if self.response is not None:
            self.response.close()  # else the socket stays open
        self.connection.close()
        self.socket.close()

    def check(self, error: Exception | None = None) -> None:
        """Whether what was just done on the line counts. Raises Cancelled, RemoteError."""
        if self._call.is_cancelled:
            raise Cancelled from error
        if self._is_overdue:
            raise RemoteError(
                f"{self._address} was not done in time; is it overloaded? A longer "
                "timeout_seconds, or a shorter recording, helps if it is only slow"
            ) from error
        if isinstance(error, TimeoutError):
            raise RemoteError(
                f"{self._address} began to answer and then said nothing for "
                f"{self.socket.gettimeout():g} s"
            ) from error
        if error is not None:
            again = 0.0 if isinstance(error, ConnectionError) else None
            raise RemoteError(
                f"{self._address} broke the connection: {reason(error)}", again_after=again
            ) from error

    def _expire(self) -> None:
        self._is_overdue = True
        self.cut()


def reason(error: Exception) -> str:
    if isinstance(error, http.client.RemoteDisconnected):
        return "closed without an answer"
    if isinstance(error, http.client.BadStatusLine):
        return "what it says is not HTTP"
    if isinstance(error, http.client.IncompleteRead):
        return "the answer is not complete"
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())
