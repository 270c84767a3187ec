"""A small pool of worker processes in which one item at a time may crash or hang without harm.

Not concurrent.futures: there the death of one worker breaks the whole pool, and nothing ends a call
that hangs. Knows no work.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import connection, resource_tracker
from multiprocessing.connection import Connection
from typing import Generic, Protocol, TypeVar

from antiphon.errors import AntiphonError, EngineError
from antiphon.threads import one_in_children

Item = TypeVar("Item")
Result = TypeVar("Result")
ItemIn = TypeVar("ItemIn", contravariant=True)
ResultOut = TypeVar("ResultOut", covariant=True)

_READY = "ready"
_CLOSE_SECONDS = 5.0

logger = logging.getLogger(__name__)


class Task(Protocol[ItemIn, ResultOut]):
    """What a worker does; pickled into it. `open` runs once there and gives the work itself.

    An exception from either of them is no item's fault: it ends the run.
    """

    def open(self) -> Callable[[ItemIn], ResultOut]: ...


@dataclass(frozen=True)
class Lost:
    """The worker did not live to tell the result."""

    code: str  # WorkerDied or TimedOut
    reason: str


@dataclass(frozen=True)
class Finished(Generic[Item, Result]):
    """An item and what came of it."""

    item: Item
    result: Result | Lost


class WorkerPool(Generic[Item, Result]):
    """Up to `size` processes, started when first needed; a context manager that ends them all.

    The processes end with their parent, however it dies. They take no notice of SIGINT and SIGTERM,
    which a terminal or a service manager sends to the whole group: the parent decides.
    """

    def __init__(self, task: Task[Item, Result], size: int, timeout_seconds: float) -> None:
        self._task = task
        self._size = size
        self._timeout_seconds = timeout_seconds
        self._idle: list[_Worker[Item, Result]] = []
        self._busy: list[_Worker[Item, Result]] = []

    def __enter__(self) -> WorkerPool[Item, Result]:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._idle:
            worker.close()
        for worker in self._busy:  # only when the block was left by an exception
            worker.kill()
        self._idle, self._busy = [], []

    @property
    def busy(self) -> int:
        """How many items are being worked on."""
        return len(self._busy)

    @property
    def full(self) -> bool:
        return self.busy >= self._size

    def submit(self, item: Item) -> None:
        """Give `item` to a free worker; there must be one."""
        assert not self.full
        while self._idle:
            worker = self._idle.pop()
            try:
                worker.give(item)
                break
            except OSError:  # it was killed while it had nothing to do
                worker.kill()
        else:
            worker = _Worker(self._task)
            worker.give(item)
        self._busy.append(worker)

    def collect(self, wait_seconds: float) -> list[Finished[Item, Result]]:
        """What has been finished, waiting for the first of it for `wait_seconds` at most.

        Raises what the task raised, and EngineError when a worker cannot even start.
        """
        connection.wait([worker.connection for worker in self._busy], wait_seconds)
        finished = []
        for worker in tuple(self._busy):
            result = worker.poll(self._timeout_seconds)
            if result is None:
                continue
            self._busy.remove(worker)
            if isinstance(result, Lost):
                worker.kill()
            else:
                self._idle.append(worker)
            finished.append(Finished(worker.item, result))
        return finished


class _Worker(Generic[Item, Result]):
    """The parent's end of one process."""

    item: Item

    def __init__(self, task: Task[Item, Result]) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(task, theirs), daemon=True)
        self._ready = False
        self._since = 0.0
        with one_in_children(), signals_held_back():
            self._process.start()
        theirs.close()  # or its end would never be seen

    def give(self, item: Item) -> None:
        self.item = item
        self._since = time.monotonic()
        self.connection.send(item)

    def poll(self, timeout_seconds: float) -> Result | Lost | None:
        """The result, None if there is none yet."""
        try:
            while self.connection.poll():
                message = self.connection.recv()
                if isinstance(message, _Trouble):
                    raise message.error
                if message != _READY:
                    return message  # type: ignore[no-any-return]
                # The time limit is the item's, not that of loading libraries and models.
                self._ready = True
                self._since = time.monotonic()
        except (EOFError, OSError):
            return self._died()
        if self._ready and time.monotonic() - self._since > timeout_seconds:
            return Lost("TimedOut", f"took longer than {timeout_seconds:g} s and was ended")
        return None

    def _died(self) -> Lost:
        self._process.join(_CLOSE_SECONDS)
        code = self._process.exitcode
        if code is not None and code < 0:
            how = f"by signal {signal.Signals(-code).name}"
        else:
            how = f"with exit code {code}"
        if not self._ready:
            raise EngineError(f"a worker process ended {how} before it could start")
        return Lost("WorkerDied", f"the process that worked on it ended {how}")

    def close(self) -> None:
        self.connection.close()
        self._process.join(_CLOSE_SECONDS)
        if self._process.is_alive():
            self._process.kill()

    def kill(self) -> None:
        self._process.kill()
        self._process.join()
        self.connection.close()


@dataclass(frozen=True)
class _Trouble:
    """An exception of the task's, on its way to the parent."""

    error: AntiphonError


def _serve(task: Task[Item, Result], parent: Connection) -> None:
    """The worker process: one item after another, until the pipe ends."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        work = task.open()
        parent.send(_READY)
        while True:
            parent.send(work(parent.recv()))
    except EOFError:  # the run is over
        return
    except AntiphonError as error:
        parent.send(_Trouble(error))
    except Exception as error:
        logger.debug("worker failed", exc_info=True)
        parent.send(_Trouble(EngineError(f"a worker failed: {type(error).__name__}: {error}")))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)


@contextmanager
def signals_held_back() -> Iterator[None]:
    """A process that is started inside takes no notice of SIGINT and SIGTERM for good."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    # The first start of a process starts the tracker, which lets the signals through again.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
