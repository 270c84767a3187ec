"""The service as a whole: owners of models and HTTP workers, restarted when they die, ended in
order: no new work, what runs is finished or put back, then the end."""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import Any

from filelock import FileLock, Timeout

from antiphon.errors import ConfigError, StorageError
from antiphon.serve import retention
from antiphon.serve.children import Child, Children, ChildSpec
from antiphon.serve.database import Database
from antiphon.serve.keys import Keys
from antiphon.serve.loading import owner_specs
from antiphon.serve.options import ServeOptions
from antiphon.serve.owner import OwnerSpec, run_owner
from antiphon.serve.service import owner_place

_LOCK_SECONDS = 3.0  # for the processes of a service that was killed to be gone
_WATCH_SECONDS = 0.5
_LEAVE_SECONDS = 1.5  # for HTTP workers to end, beyond the grace
_TIDY_SECONDS = 3600.0
_BACKLOG = 1024

logger = logging.getLogger(__name__)


def serve(
    options: ServeOptions,
    owners: Sequence[OwnerSpec] | None = None,
    *,
    on_ready: Callable[[str], None] = lambda address: None,
) -> int:
    """Serve until a signal ends it; the exit code. `owners` are by default those of the options;
    `on_ready` is told the address.

    Raises ConfigError for an address that may not be served, StorageError for a state folder that
    another service uses, and what a model raises that cannot be loaded.
    """
    database = Database(options.folder)
    _require_key(options, Keys(database))
    database.close()  # SQLite's locks are not for a fork to inherit
    with _only_service(options.folder), _listening(options) as listening, _runtime() as runtime:
        _clear_scratch(options.folder)
        address = _address_of(options, listening)
        specs = owner_specs(options) if owners is None else owners
        children = Children(_owners(specs, options, runtime))

        def workers() -> list[ChildSpec]:
            return _workers(options, runtime, listening)

        return _Service(options, children, workers, database, on_ready, address).run()


class Owners:
    """The owners alone, watched by a thread of this process: for development, and for MCP over
    stdio. A context manager, entered when all are ready; it raises what keeps one from that."""

    def __init__(self, options: ServeOptions, runtime: Path, specs: Sequence[OwnerSpec]) -> None:
        self._options = options
        self._children = Children(_owners(specs, options, runtime))
        self._is_over = threading.Event()
        self._is_settled = threading.Event()  # all are ready, or one cannot be
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Owners:
        self._lock = _only_service(self._options.folder)
        self._lock.__enter__()
        _clear_scratch(self._options.folder)
        self._thread.start()
        self._is_settled.wait()
        if self._failure is not None:
            failure, self._failure = self._failure, None
            self.__exit__(None, None, None)
            raise failure
        return self

    def __exit__(self, *failure: Any) -> None:
        self._is_over.set()
        self._thread.join()
        self._lock.__exit__(*failure)

    def _watch(self) -> None:
        self._children.start()
        while not self._is_over.is_set():
            self._children.watch(_WATCH_SECONDS)
            for child in self._children.all:
                if child.failure is not None and not self._is_settled.is_set():
                    self._failure, child.failure = child.failure, None
            if self._children.are_ready or self._failure is not None:
                self._is_settled.set()
            _log_failures(self._children)
        self._children.kill()


class _Service:
    """A running service."""

    def __init__(
        self,
        options: ServeOptions,
        children: Children,
        workers: Callable[[], list[ChildSpec]],
        database: Database,
        on_ready: Callable[[str], None],
        address: str,
    ) -> None:
        self._options = options
        self._children = children
        self._workers = workers
        self._database = database
        self._on_ready = on_ready
        self._address = address
        self._signals: list[int] = []
        self._tidied = 0.0

    def run(self) -> int:
        with self._heeding_signals() as woken:
            try:
                self._children.start()
                # While models load: what the workers need is imported here.
                self._children.add(self._workers())
                self._start(woken)
                while not self._signals:
                    self._children.watch(_WATCH_SECONDS, woken)
                    _log_failures(self._children)
                    self._tidy()
                return self._end(woken)
            finally:
                self._children.kill()

    def _start(self, woken: socket.socket) -> None:
        """Until all are ready for the first time. What cannot be loaded now is the user's to
        know."""
        while not self._children.are_ready and not self._signals:
            self._children.watch(_WATCH_SECONDS, woken)
            for child in self._children.all:
                if child.failure is not None:
                    raise child.failure
        if not self._signals:
            self._on_ready(self._address)

    def _end(self, woken: socket.socket) -> int:
        """Drain and stop; a second signal ends at once."""
        children = self._children
        children.is_ending = True
        deadline = time.monotonic() + self._options.grace_seconds
        first = len(self._signals)
        workers = [child for child in children.all if child.spec.target is run_worker]
        owners = [child for child in children.all if child not in workers]
        for child in [*workers, *owners]:
            child.tell("drain", self._options.grace_seconds)
        while _any_alive(owners) and len(self._signals) == first:
            if time.monotonic() > deadline + _LEAVE_SECONDS / 2:
                break
            children.watch(0.05, woken)
        for child in workers:
            child.tell("stop")
        deadline = max(time.monotonic() + 0.5, deadline + _LEAVE_SECONDS)
        while _any_alive(workers) and len(self._signals) == first and time.monotonic() < deadline:
            children.watch(0.05, woken)
        return 0

    def _tidy(self) -> None:
        """What is too old or too much goes, now and then."""
        if time.monotonic() - self._tidied < _TIDY_SECONDS and self._tidied:
            return
        self._tidied = time.monotonic()
        try:
            retention.tidy(self._database, self._options.retention)
        except (StorageError, OSError) as error:
            logger.error("old jobs cannot be removed: %s", error)
        finally:
            self._database.close()  # as above: workers are forked anew when they die

    @contextmanager
    def _heeding_signals(self) -> Iterator[socket.socket]:
        """A socket that can be read when a signal has come."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)

        def heed(number: int, frame: FrameType | None) -> None:
            self._signals.append(number)
            with suppress(OSError):
                theirs.send(b"!")

        kept = {number: signal.signal(number, heed) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield ours
        finally:
            for number, handler in kept.items():
                signal.signal(number, handler)
            ours.close()
            theirs.close()


def run_worker(
    options: ServeOptions, runtime: Path, listening: socket.socket, parent: Connection
) -> None:
    """An HTTP worker's process."""
    import uvicorn

    from antiphon.serve.app import create_app
    from antiphon.serve.connections import connections_of, raise_descriptor_limit

    # The lock of the service belongs to the parent alone; here is only a copy of its descriptor.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise_descriptor_limit()
    app = create_app(options, runtime, parent)
    config = uvicorn.Config(
        app, http=connections_of(options.caps), ws="none", lifespan="on", log_config=None,
        access_log=False, server_header=False, timeout_keep_alive=75,
        timeout_graceful_shutdown=int(options.grace_seconds) + 1, backlog=_BACKLOG,
    )  # fmt: skip
    server = uvicorn.Server(config)

    def stop() -> None:
        server.should_exit = True

    app.state.on_stop = stop

    async def run() -> None:
        beats = asyncio.create_task(_beat(parent))
        await server.serve(sockets=[listening])
        beats.cancel()

    asyncio.run(run())


async def _beat(parent: Connection) -> None:
    parent.send(("ready", None))
    ours = os.getppid()
    while True:
        await asyncio.sleep(2.0)
        if os.getppid() != ours:  # should its pipe not tell
            os._exit(1)
        with suppress(OSError):
            parent.send(("alive", None))


def _owners(specs: Sequence[OwnerSpec], options: ServeOptions, runtime: Path) -> list[ChildSpec]:
    return [
        ChildSpec(
            spec.name, run_owner,
            (spec, options.folder, owner_place(runtime, spec.name), options.caps),
        )
        for spec in specs
    ]  # fmt: skip


def _workers(options: ServeOptions, runtime: Path, listening: socket.socket) -> list[ChildSpec]:
    method: Any = "spawn"
    if sys.platform == "linux":
        # Once for all: what is loaded before the fork is shared memory.
        os.environ.setdefault(
            "PROMETHEUS_MULTIPROC_DIR", str(options.folder / "scratch" / "metrics")
        )
        import antiphon.serve.app
        import antiphon.serve.connections
        import antiphon.serve.music  # noqa: F401

        gc.collect()
        gc.freeze()  # a collection would write to every page, and make it each worker's own
        method = "fork"
    return [
        ChildSpec(f"worker {number}", run_worker, (options, runtime, listening), method)
        for number in range(options.workers)
    ]


def _require_key(options: ServeOptions, keys: Keys) -> None:
    if options.is_loopback or options.insecure or keys.are_needed:
        return
    raise ConfigError(
        f"host is {options.host!r}, where others can come, and there is no key; add one with "
        "'antiphon keys add NAME', or serve 127.0.0.1, or say --insecure"
    )


@contextmanager
def _only_service(folder: Path) -> Iterator[None]:
    """One service for one state folder."""
    lock = FileLock(folder / "serve.lock", timeout=_LOCK_SECONDS)
    try:
        lock.acquire()
    except Timeout as error:
        raise StorageError(
            f"another service uses {str(folder)!r}; stop it first, or set ANTIPHON_STATE to "
            "another folder"
        ) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _listening(options: ServeOptions) -> Iterator[socket.socket]:
    host = options.host.strip("[]")
    try:
        found = socket.getaddrinfo(host, options.port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = found[0]
        listening = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ConfigError(f"host {options.host!r} is not known: {error}") from error
    with listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            _bind(listening, address)
        except OSError as error:
            raise ConfigError(
                f"cannot listen at {options.host}:{options.port}: {error.strerror}; choose another "
                "--port, or end what is there"
            ) from error
        listening.listen(_BACKLOG)
        listening.set_inheritable(True)
        yield listening


def _bind(listening: socket.socket, address: Any) -> None:
    """The workers of a service that was killed may hold the port for a moment."""
    for seconds in (0.1, 0.2, 0.4, 0.8, None):
        try:
            listening.bind(address)
            return
        except OSError as error:
            if error.errno != errno.EADDRINUSE or seconds is None:
                raise
        time.sleep(seconds)


@contextmanager
def _runtime() -> Iterator[Path]:
    """A folder for sockets, whose names may have 107 letters."""
    folder = Path(tempfile.mkdtemp(prefix="antiphon-", dir=_short_folder()))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _short_folder() -> str | None:
    return "/tmp" if len(tempfile.gettempdir()) > 80 and os.path.isdir("/tmp") else None


def _clear_scratch(folder: Path) -> None:
    """What calls of a service that was killed have left."""
    scratch = folder / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(mode=0o700)
    (scratch / "metrics").mkdir(mode=0o700)


def _address_of(options: ServeOptions, listening: socket.socket) -> str:
    host = f"[{options.host}]" if ":" in options.host.strip("[]") else options.host
    return f"http://{host}:{listening.getsockname()[1]}"


def _log_failures(children: Children) -> None:
    for child in children.all:
        if child.failure is not None:
            logger.error("%s cannot be loaded: %s", child.spec.name, child.failure)
            child.failure = None


def _any_alive(children: Sequence[Child]) -> bool:
    return any(child.is_alive for child in children)
