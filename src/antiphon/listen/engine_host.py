"""One engine for many processes: workers decode and measure side by side, one model answers.

The engine lives in a process of its own; each worker talks to it through an `EngineClient`. While
the model answers for one worker the others read and measure the next tracks.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import secrets
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from antiphon.errors import AntiphonError, ConfigError, EngineError
from antiphon.listen.engines import (
    Answer,
    EngineInfo,
    ListenerEngine,
    Message,
    OnToken,
    Question,
    Sampling,
)
from antiphon.listen.windows import Clip
from antiphon.workers import signals_held_back

_POLL_SECONDS = 0.5
_START_SECONDS = 1800.0  # 16 GB from a slow disk
_LONGEST_FOLDER = 80
_MAX_RESTARTS = 3  # in a row
_SOON_SECONDS = 60.0  # a process that ends sooner counts as one in a row

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class HostAddress:
    """Where the engine's process listens, and the secret that it asks for; `info` is the engine's.

    Travels to worker processes only.
    """

    place: str
    secret: bytes
    info: EngineInfo


@contextmanager
def hosted(load: Callable[[], ListenerEngine]) -> Iterator[HostAddress]:
    """Load an engine in a process of its own, which is there as long as the block lasts.

    `load` is pickled into it. A process that dies is started anew: the track it worked on fails,
    the others go on. Raises what `load` raises, EngineError when the process does not come up.
    """
    # The name of a socket has 107 characters at most.
    short = "/tmp" if os.name != "nt" and len(tempfile.gettempdir()) > _LONGEST_FOLDER else None
    with tempfile.TemporaryDirectory(
        prefix="antiphon-", dir=short, ignore_cleanup_errors=True
    ) as folder:
        host = _Host(load, _place_in(Path(folder)), secrets.token_bytes(32))
        try:
            yield HostAddress(host.place, host.secret, host.start())
        finally:
            host.stop()


def _place_in(folder: Path) -> str:
    if os.name == "nt":
        return rf"\\.\pipe\antiphon-{secrets.token_hex(8)}"
    return str(folder / "engine")


class _Host:
    """The parent's side: starts the process, and again when it dies."""

    def __init__(self, load: Callable[[], ListenerEngine], place: str, secret: bytes) -> None:
        self.place, self.secret = place, secret
        self._load = load
        self._stopping = threading.Event()
        self._starting = threading.Lock()
        self._process: multiprocessing.process.BaseProcess | None = None
        self._watcher: threading.Thread | None = None

    def start(self) -> EngineInfo:
        info = self._start_once()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()
        return info

    def stop(self) -> None:
        self._stopping.set()
        with self._starting:  # either it is there and ends, or it does not start any more
            if self._process is not None and self._process.pid is not None:
                self._process.kill()
        if self._watcher is not None:
            self._watcher.join()

    def _start_once(self) -> EngineInfo:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        with self._starting:
            if self._stopping.is_set():
                raise EngineError("the model is not needed any more")
            self._process = context.Process(
                target=_serve, args=(self._load, self.place, self.secret, theirs)
            )
            with signals_held_back():
                self._process.start()
        theirs.close()
        try:
            if not ours.poll(_START_SECONDS):
                raise EngineError(f"the model was not loaded within {_START_SECONDS:.0f} s")
            told = ours.recv()
        except (EOFError, OSError) as error:
            self._process.join()
            raise EngineError(
                f"the model's process ended while it loaded (exit code {self._process.exitcode}); "
                "is there enough memory? A smaller quantisation takes less"
            ) from error
        if isinstance(told, Exception):
            raise told
        self._lifeline = ours  # the process ends when this does
        assert isinstance(told, EngineInfo)
        return told

    def _watch(self) -> None:
        restarts = 0
        while not self._stopping.is_set():
            assert self._process is not None
            started = time.monotonic()
            connection.wait([self._process.sentinel])
            if self._stopping.is_set():
                return
            restarts = restarts + 1 if time.monotonic() - started < _SOON_SECONDS else 1
            with contextlib.suppress(OSError):
                os.unlink(self.place)
            try:
                if restarts > _MAX_RESTARTS:
                    raise EngineError(f"the model's process ended {restarts} times in a row")
                logger.warning("the model's process ended; it is started anew")
                self._start_once()
            except Exception as error:  # noqa: BLE001 - the end of this thread
                if self._stopping.is_set():
                    return
                logger.error("the model is given up: %s", error)
                shutil.rmtree(Path(self.place).parent, ignore_errors=True)  # clients see it
                return


def _serve(
    load: Callable[[], ListenerEngine], place: str, secret: bytes, parent: Connection
) -> None:
    """The engine's process: a thread for each worker, one call of the engine at a time."""
    try:
        engine = load()
    except Exception as error:  # noqa: BLE001 - told to the parent, which raises it
        known = isinstance(error, AntiphonError)
        parent.send(error if known else EngineError(f"{type(error).__name__}: {error}"))
        return
    turn = threading.Lock()
    with connection.Listener(place, authkey=secret) as listener:
        parent.send(engine.info)
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
        while True:
            try:
                worker = listener.accept()
            except (OSError, EOFError, multiprocessing.AuthenticationError):
                continue
            threading.Thread(target=_answer, args=(engine, turn, worker), daemon=True).start()


def _end_with(parent: Connection) -> None:
    with contextlib.suppress(EOFError, OSError):
        parent.recv()
    os._exit(0)


def _answer(engine: ListenerEngine, turn: threading.Lock, worker: Connection) -> None:
    """Do what one worker asks, until it goes; a worker that dies frees the model."""
    with worker, contextlib.suppress(EOFError, OSError):
        while True:
            name, arguments = worker.recv()
            with turn:
                done = threading.Event()
                threading.Thread(
                    target=_cancel_if_gone, args=(engine, worker, done), daemon=True
                ).start()
                try:
                    result = getattr(engine, name)(*arguments)
                except AntiphonError as error:
                    result = error
                except Exception as error:  # noqa: BLE001 - one track's failure, told to its worker
                    result = EngineError(f"{type(error).__name__}: {error}")
                finally:
                    done.set()
            worker.send(result)


def _cancel_if_gone(engine: ListenerEngine, worker: Connection, done: threading.Event) -> None:
    """A worker that waits sends nothing: what there is to read is its end."""
    while not done.wait(_POLL_SECONDS):
        if worker.poll():
            engine.cancel()
            return


class EngineClient:
    """The worker's side of `hosted`: a ListenerEngine whose model is elsewhere."""

    def __init__(self, address: HostAddress) -> None:
        self._address = address
        self._connection: Connection | None = None

    @property
    def info(self) -> EngineInfo:
        return self._address.info

    def answer(
        self,
        clip: Clip,
        questions: Sequence[Question],
        sampling: Sampling,
        on_token: OnToken | None = None,
    ) -> list[Answer]:
        _no_streaming(on_token)
        answers: list[Answer] = self._call("answer", clip, list(questions), sampling)
        return answers

    def chat(
        self,
        conversations: Sequence[Sequence[Message]],
        sampling: Sampling,
        on_token: OnToken | None = None,
    ) -> list[Answer]:
        _no_streaming(on_token)
        answers: list[Answer] = self._call("chat", [list(c) for c in conversations], sampling)
        return answers

    def raw(self, clip: Clip | None, prompt: str, sampling: Sampling) -> Answer:
        answer: Answer = self._call("raw", clip, prompt, sampling)
        return answer

    def cancel(self) -> None:
        """Hang up: the engine sees that nobody waits any more, and the call ends with an error."""
        if self._connection is None or self._connection.closed:
            return
        # To close it would not wake the thread that reads from it.
        with (
            contextlib.suppress(OSError),
            socket.socket(fileno=os.dup(self._connection.fileno())) as line,
        ):
            line.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def _call(self, name: str, *arguments: object) -> Any:
        try:
            if self._connection is None or self._connection.closed:
                self._connection = self._connected()
            self._connection.send((name, arguments))
            result = self._connection.recv()
        except (EOFError, OSError) as error:
            self._connection = None
            raise EngineError(
                "the model's process ended while it answered; it is started anew for what follows"
            ) from error
        if isinstance(result, AntiphonError):
            raise result
        return result

    def _connected(self) -> Connection:
        """Wait for a process that is being started anew; its folder is there as long as it may
        come."""
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                return connection.Client(self._address.place, authkey=self._address.secret)
            except (OSError, EOFError) as error:
                is_given_up = os.name != "nt" and not Path(self._address.place).parent.is_dir()
                if is_given_up or time.monotonic() > deadline:
                    raise EngineError(
                        "the model's process ended again and again, and is not started any more; "
                        "is there enough memory? A smaller quantisation takes less"
                    ) from error
            time.sleep(_POLL_SECONDS)


def _no_streaming(on_token: OnToken | None) -> None:
    if on_token is not None:
        raise ConfigError("a shared engine does not stream its tokens; load one of your own")
