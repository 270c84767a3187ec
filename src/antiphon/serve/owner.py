"""The process that owns a model: what waits for it, what is being done, and how that ends.

Calls that wait come over a socket, jobs that are kept from the store; both take turns. The event
loop of this process is always free; the work is done in a thread beside it. A task that cannot be
ended otherwise ends the process, which is started anew.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TypeVar

from filelock import FileLock

from antiphon.errors import AntiphonError, StorageError
from antiphon.serve.database import Database
from antiphon.serve.jobs import JobStore, queue_full, share_of, task_of
from antiphon.serve.options import Caps
from antiphon.serve.problems import Problem, draining, problem_of, too_slow
from antiphon.serve.tasks import Result, Task, Work
from antiphon.serve.turns import Turns
from antiphon.serve.wire import Message, packed, received

STOP_SECONDS = 0.8  # from a cancel to the end of the work, or of this process
REPLACED = 86  # exit code of a process that ends so
_HEARTBEAT_SECONDS = 2.0
_PROGRESS_SECONDS = 0.5
_TAKE_OVER_SECONDS = 30.0
_LOOKED_AT = 64  # of each key's queued jobs
_LOOK_SECONDS = 1.0
_SWITCH_SECONDS = 0.0005
_PATIENCE_SECONDS = 5.0

T = TypeVar("T")
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class OwnerSpec:
    """A model to be owned: the ids it is served by, and what loads it in its process."""

    name: str
    models: tuple[str, ...]
    load: Callable[[], Work]


def run_owner(spec: OwnerSpec, folder: Path, place: str, caps: Caps, parent: Connection) -> None:
    """The process. `place` is the socket's path; the parent is told "ready" or what failed, and
    then, now and then, that the process is alive. Ends when the parent does."""
    try:
        # The last owner may still be dying: what it was doing is taken over when it is gone.
        lock = FileLock(folder / f"{spec.name}.lock", timeout=_TAKE_OVER_SECONDS)
        lock.acquire()
        store = JobStore(Database(folder))
        for job in store.take_over(spec.models):
            logger.error("job %s ended its process %d times: given up", job.id, job.attempts)
        work = spec.load()
    except Exception as error:
        logger.debug("the model cannot be loaded", exc_info=error)
        known = isinstance(error, AntiphonError)
        parent.send(
            ("failed", error if known else AntiphonError(f"{type(error).__name__}: {error}"))
        )
        return
    if work.lanes > 1:  # or each waits for 5 ms, a step and a half, when the other has the lock
        sys.setswitchinterval(_SWITCH_SECONDS)
    try:
        asyncio.run(_Owner(spec, work, store, caps, parent).serve(place))
    except Exception:
        logger.exception("the owner of %s fails, and is started anew", spec.name)
        os._exit(1)  # a lane may hang, and is not waited for


class _Line:
    """An HTTP worker that is connected."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writer = writer

    def send(self, message: Message) -> None:
        if not self.writer.is_closing():
            self.writer.write(packed(message))


class _Running:
    """Implements `tasks.Running`. What happens first, an end or a stop, holds."""

    def __init__(self, task: Task, line: _Line | None, owner: _Owner) -> None:
        self.task = task
        self.line = line
        self.deadline = time.monotonic() + task.seconds
        self._owner = owner
        self._lock = threading.Lock()
        self._is_settled = False
        self._told_at = 0.0

    @property
    def is_stopped(self) -> bool:
        return self._is_settled

    def begin(self) -> None:
        """In the event loop, and at once: the next thing may be the end of this process."""
        if self.line is not None:
            self.line.send({"id": self.task.id, "event": "began"})

    def say(self, text: str) -> None:
        self._send({"event": "text", "text": text})

    def sounded(self, samples: int) -> None:
        self._send({"event": "sound", "samples": samples})

    def progress(self, share: float) -> None:
        now = time.monotonic()
        if now - self._told_at < _PROGRESS_SECONDS or self._is_settled:
            return
        self._told_at = now
        if self.task.is_kept:
            try:
                self._owner.store.progress(self.task.id, share)
            except StorageError as error:  # only ends must be kept
                logger.warning("the progress of %s is not kept: %s", self.task.id, error)
            self._owner.tell_all(self.task.id)

    def done(self, result: Result) -> None:
        value: Message = {"event": "done", "value": result.value}
        self._end(value, lambda: self._owner.store.complete(self.task.id, result))

    def failed(self, problem: Problem) -> None:
        message: Message = {"event": "failed", "problem": asdict(problem)}
        self._end(message, lambda: self._owner.store.fail(self.task.id, problem))

    def stop(self, problem: Problem | None) -> None:
        """End it from outside: with a problem, or because nobody waits for it any more."""
        if problem is not None:
            self.failed(problem)
        else:
            self._end({"event": "cancelled"}, lambda: self._owner.store.cancel_begun(self.task.id))

    def give_back(self) -> None:
        """A job is put back, for the next process; a call fails."""
        if not self.task.is_kept:
            self.failed(draining())
            return
        with self._lock:
            if not self._is_settled:
                self._owner.store.requeue([self.task.id])
                self._is_settled = True

    def interrupt(self) -> None:
        """This process ends because of another task: this one is begun again by the next."""
        line = self.line
        if line is not None:
            again: Message = {"id": self.task.id, "event": "again"}
            self._owner.in_loop(lambda: line.send(again))
        else:
            self.give_back()

    def _end(self, message: Message, keep: Callable[[], bool]) -> None:
        """Nothing is told before it is kept: where that fails, it is not ended."""
        with self._lock:
            if self._is_settled:
                return
            is_ours = keep() if self.task.is_kept else True
            self._is_settled = True
        self.tell_end(message if is_ours else {"event": "cancelled"})

    def tell_end(self, message: Message) -> None:
        self._send(message, is_end=True)
        if self.task.is_kept:
            self._owner.tell_all(self.task.id)

    def _send(self, message: Message, *, is_end: bool = False) -> None:
        line = self.line
        if line is not None and (is_end or not self._is_settled):
            self._owner.in_loop(lambda: line.send({"id": self.task.id, **message}))


class _Owner:
    def __init__(
        self, spec: OwnerSpec, work: Work, store: JobStore, caps: Caps, parent: Connection
    ) -> None:
        self.store = store
        self._spec = spec
        self._work = work
        self._caps = caps
        self._parent = parent
        self._turns = Turns()
        self._calls: dict[str, _Running] = {}  # that wait for their turn
        self._running: list[_Running] = []
        self._alone_since: float | None = None  # something waits to be done without company
        self._looked_at = 0.0
        self._lines: set[_Line] = set()
        self._wake = asyncio.Event()
        self._listening: set[asyncio.Event] = set()  # to what becomes of what is running
        self._choosing = asyncio.Lock()
        self._drained_by: float | None = None
        self._threads = ThreadPoolExecutor(work.lanes, thread_name_prefix="work")
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="store")

    async def serve(self, place: str) -> None:
        self._loop = asyncio.get_running_loop()
        with suppress(OSError):
            os.unlink(place)
        server = await asyncio.start_unix_server(self._connected, place)
        self._loop.add_reader(self._parent.fileno(), self._told_by_parent)
        self._parent.send(("ready", None))
        heart = asyncio.create_task(self._beat())
        async with server:
            await self._do_all()
        heart.cancel()
        self._work.close()
        await self._leave(0)

    async def _leave(self, code: int) -> None:
        """End the process when what was said is on its way; its threads are nothing to wait for."""
        for line in list(self._lines):
            line.writer.close()
            with suppress(OSError, TimeoutError):
                await asyncio.wait_for(line.writer.wait_closed(), 0.5)
        os._exit(code)

    def in_loop(self, call: Callable[[], object]) -> None:
        self._loop.call_soon_threadsafe(call)

    def tell_all(self, job_id: str) -> None:
        """Every HTTP worker that a job has changed."""

        def tell() -> None:
            for line in self._lines:
                line.send({"event": "job", "id": job_id})

        self.in_loop(tell)

    def _told_by_parent(self) -> None:
        try:
            word, value = self._parent.recv()
        except (EOFError, OSError):
            os._exit(1)
        if word == "drain":
            self._drained_by = time.monotonic() + value
            self._wake.set()
            self._tell_lanes()

    async def _beat(self) -> None:
        while True:
            with suppress(OSError):
                self._parent.send(("alive", None))
            await asyncio.sleep(_HEARTBEAT_SECONDS)

    # The socket.

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = _Line(writer)
        self._lines.add(line)
        self._wake.set()  # what was accepted while nobody listened
        try:
            while True:
                self._heed(await received(reader), line)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            self._lines.discard(line)
            for running in [*self._calls.values(), *self._running]:
                if running.line is line:
                    self._stop(running)
            writer.close()

    def _heed(self, message: Message, line: _Line) -> None:
        word = message["do"]
        if word == "run":
            task = Task.from_dict(message["task"])  # type: ignore[arg-type]
            running = _Running(task, line, self)
            problem = self._refusal(task.key)
            if problem is not None:
                running.failed(problem)
                return
            self._calls[task.id] = running
            self._wake.set()
        elif word == "cancel":
            for running in [*self._calls.values(), *self._running]:
                if running.task.id == message["id"]:
                    self._stop(running)
        elif word == "look":  # at jobs: there is a new one, or one to be stopped
            self._wake.set()
            self._loop.create_task(self._stop_cancelled())

    def _refusal(self, key: str) -> Problem | None:
        """Why a call is not taken, if it is not."""
        if self._drained_by is not None:
            return draining()
        waiting, queue = len(self._calls), self._caps.queue
        own = sum(call.task.key == key for call in self._calls.values())
        if waiting >= queue or own >= share_of(queue, key):
            return queue_full(waiting).problem
        return None

    def _stop(self, running: _Running) -> None:
        if self._calls.pop(running.task.id, None) is not None:
            running.stop(None)
            return
        # Settled on the disk's thread: a job's end is written.
        self._disk.submit(running.stop, None).add_done_callback(
            lambda _: self.in_loop(self._tell_lanes)
        )

    async def _stop_cancelled(self) -> None:
        """Jobs that are being done and that somebody cancelled or deleted."""
        for running in [one for one in self._running if one.task.is_kept]:
            job = await self._on_disk(self.store.brief, running.task.id)
            if job is None or job.is_stopping:
                self._stop(running)

    # The work.

    async def _do_all(self) -> None:
        await asyncio.gather(*(self._lane() for _ in range(self._work.lanes)))

    async def _lane(self) -> None:
        """One thing after the other, until the service is stopped."""
        while True:
            async with self._choosing:
                batch = await self._next()
                if batch and batch[0].task.attempts:
                    await self._do(batch)  # what somebody died of before has no company
                    continue
            if batch:
                await self._do(batch)
            elif self._drained_by is not None:
                return
            else:
                self._wake.clear()
                with suppress(TimeoutError):  # looks by itself, should a word be lost
                    await asyncio.wait_for(self._wake.wait(), _LOOK_SECONDS)

    async def _next(self) -> list[_Running]:
        """What is to be done now; jobs among it are begun."""
        waiting = self._in_company(await self._waiting())
        # What waits is shared: a lane that takes all leaves the next one to be ready without work.
        share = -(-len(waiting) // self._work.lanes)
        chosen = self._turns.next(waiting, min(self._work.most_at_once, max(1, share)))
        mine = [task.id for task in chosen if task.is_kept]
        claimed = await self._on_disk(self.store.claim, mine) if mine else []
        begun = {job.id: job for job in claimed}
        batch = []
        for task in chosen:
            if task.id in begun:
                task = replace(task, request=begun[task.id].request)
                batch.append(_Running(task, None, self))
                self.tell_all(task.id)
            elif not task.is_kept and (call := self._calls.pop(task.id, None)) is not None:
                call.begin()
                batch.append(call)
        self._running += batch
        if chosen and not batch:  # all were cancelled at that moment: look again
            return await self._next()
        return batch

    def _in_company(self, waiting: list[Task]) -> list[Task]:
        """What may begin beside what runs: nothing that somebody died of before. That goes first
        when it has waited long enough for a moment of its own; until then nothing else begins."""
        again = [task for task in waiting if task.attempts]
        if not again:
            self._alone_since = None
        elif not self._running:
            return waiting if self._alone_since is None else again
        else:
            now = time.monotonic()
            self._alone_since = self._alone_since or now
            is_patient = now - self._alone_since < _PATIENCE_SECONDS
            return [task for task in waiting if not task.attempts] if is_patient else []
        return waiting

    async def _waiting(self) -> list[Task]:
        """Calls and jobs; none is begun after the grace, and no job after its beginning."""
        calls = [one.task for one in self._calls.values()]
        if self._drained_by is not None:
            if time.monotonic() < self._drained_by:
                return calls
            for running in self._calls.values():
                running.failed(draining())
            self._calls.clear()
            return []
        jobs = await self._on_disk(self.store.waiting, self._spec.models, _LOOKED_AT)
        seconds = self._caps.job_seconds
        return [*calls, *(task_of(job, self.store.place(job.id), seconds) for job in jobs)]

    async def _do(self, batch: Sequence[_Running]) -> None:
        work = self._loop.run_in_executor(self._threads, self._work_through, batch)
        work.add_done_callback(lambda _: self._tell_lanes())
        while not work.done():
            await self._change(self._next_deadline())
            await self._check_deadlines()
            if time.monotonic() - self._looked_at >= _LOOK_SECONDS:  # cancelled by the command line
                self._looked_at = time.monotonic()
                await self._stop_cancelled()
            if not work.done() and all(one.is_stopped for one in batch):
                await self._end(work, batch)
        self._running = [one for one in self._running if one not in batch]
        self._tell_lanes()
        self._wake.set()
        work.result()  # what could not be kept ends this process, and is done again

    async def _change(self, seconds: float) -> None:
        """Something of what is running has changed, or so much time is over."""
        event = asyncio.Event()
        self._listening.add(event)
        with suppress(TimeoutError):
            await asyncio.wait_for(event.wait(), seconds)
        self._listening.discard(event)

    def _tell_lanes(self) -> None:
        for event in self._listening:
            event.set()

    def _work_through(self, batch: Sequence[_Running]) -> None:
        try:
            self._work.run(batch)
        except Exception as error:
            for running in batch:
                if not running.is_stopped:
                    logger.exception("task %s failed", running.task.id)
                    running.failed(problem_of(error, running.task.id))

    def _next_deadline(self) -> float:
        ends = [one.deadline for one in self._running if not one.is_stopped]
        ends += [] if self._drained_by is None else [self._drained_by]
        now = time.monotonic()
        return max(0.01, min([*ends, now + _LOOK_SECONDS]) - now)

    async def _check_deadlines(self) -> None:
        now = time.monotonic()
        for running in self._running:
            if running.deadline <= now and not running.is_stopped:
                await self._on_disk(running.stop, too_slow(running.task.seconds))
        if self._drained_by is not None and now >= self._drained_by:
            for running in self._running:
                await self._on_disk(running.give_back)

    async def _end(self, work: asyncio.Future[None], batch: Sequence[_Running]) -> None:
        """Nobody waits for what is being done. What does not end by itself ends this process; what
        else it does or keeps waiting is done by the next, and it is nobody's fault."""
        self._work.cancel()
        await asyncio.wait({work}, timeout=STOP_SECONDS)
        if work.done():
            return
        logger.info("what was cancelled goes on: the process is replaced")
        for running in self._running:
            if running not in batch:
                await self._on_disk(running.interrupt)
        await self._leave(REPLACED)

    async def _on_disk(self, call: Callable[..., T], *args: object) -> T:
        return await self._loop.run_in_executor(self._disk, call, *args)
