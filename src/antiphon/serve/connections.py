"""uvicorn's HTTP connections, of which there are no more than agreed, and none that says nothing
for long: 1,100 half-open ones made a plain uvicorn unreachable."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from antiphon.serve.options import Caps


def connections_of(caps: Caps) -> type[asyncio.Protocol]:
    """The class for uvicorn's `http`."""

    class Connection(H11Protocol):
        """A connection that is closed when its request does not come in time, or when it is one too
        many; then one that is silent goes in its place."""

        _deadline: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            silent = [one for one in self.connections if isinstance(one, Connection) and one.idle]
            if len(self.connections) >= caps.connections:
                if not silent:
                    transport.abort()
                    return
                silent[0].transport.abort()
            super().connection_made(transport)
            self._arm()

        def connection_lost(self, exc: Exception | None) -> None:
            self._disarm()
            if self in self.connections:  # else it was refused before it was one
                super().connection_lost(exc)

        def handle_events(self) -> None:
            super().handle_events()
            if not self.idle:
                self._disarm()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            if not self.transport.is_closing() and self.idle:
                self._arm()

        @property
        def idle(self) -> bool:
            """Whether it has no request that is being answered."""
            return self.cycle is None or self.cycle.response_complete

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
