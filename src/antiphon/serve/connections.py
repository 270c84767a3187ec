"""uvicorn's HTTP connections, of which there are no more than agreed, and none that says nothing
for long: 1,100 half-open ones made a plain uvicorn unreachable."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from antiphon.serve.options import Caps
from antiphon.serve.problems import Problem


def connections_of(caps: Caps) -> type[asyncio.Protocol]:
    """The class for uvicorn's `http`."""

    class Connection(H11Protocol):
        """A connection that is closed when its request does not come in time, or when it is one too
        many; then one that is silent goes in its place, or one whose client takes nothing of what
        it is sent."""

        _deadline: asyncio.TimerHandle | None = None
        _stalled_at: float | None = None  # of the loop's time

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            # Those that are closing already make room for nobody: many may come in one turn.
            there = [
                one
                for one in self.connections
                if isinstance(one, Connection) and not one.transport.is_closing()
            ]
            if len(there) >= caps.connections:
                spare = next((one for one in there if one.idle or one.is_stalled), None)
                if spare is None:
                    transport.abort()
                    return
                spare.transport.abort()
            super().connection_made(transport)
            self._arm()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._stalled_at = self.loop.time()

        def resume_writing(self) -> None:
            super().resume_writing()
            self._stalled_at = None

        def connection_lost(self, exc: Exception | None) -> None:
            self._disarm()
            if self in self.connections:  # else it was refused before it was one
                super().connection_lost(exc)

        def handle_events(self) -> None:
            super().handle_events()
            if not self.idle:
                self._disarm()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.idle and self._deadline is None and not self.transport.is_closing():
                self._arm()  # a part of a request; between requests uvicorn's keep-alive holds

        @property
        def idle(self) -> bool:
            """Whether it has no request that is being answered."""
            return self.cycle is None or self.cycle.response_complete

        @property
        def is_stalled(self) -> bool:
            """Whether it waits to be read (a client that never does keeps it: slowhttptest -X)."""
            stalled = self._stalled_at
            return stalled is not None and self.loop.time() - stalled > caps.header_seconds

        def _arm(self) -> None:
            self._disarm()
            self._deadline = self.loop.call_later(caps.header_seconds, self._expire)

        def _disarm(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

        def _expire(self) -> None:
            if self.idle and not self.transport.is_closing():
                self.transport.abort()

        def send_400_response(self, msg: str) -> None:
            """What is no HTTP is refused in the form that everything is refused in."""
            problem = Problem(400, "invalid_http", f"the request is no HTTP: {msg}")
            data = json.dumps({"error": problem.to_dict()}).encode()
            headers = [
                (b"content-type", b"application/json"),
                (b"content-length", str(len(data)).encode()),
                (b"x-should-retry", b"false"),
                (b"connection", b"close"),
            ]
            answer = h11.Response(status_code=400, headers=headers, reason=b"Bad Request")
            for event in (answer, h11.Data(data=data), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
            self.transport.close()

        def _unsupported_upgrade_warning(self) -> None:
            """Not even a word: anybody can ask for one."""

    return Connection


def raise_descriptor_limit() -> None:
    """As many files and sockets as the system allows this process."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft: Any
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = min(hard, 65_536) if hard != resource.RLIM_INFINITY else 65_536
    if soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
