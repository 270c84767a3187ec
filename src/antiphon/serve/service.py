"""What every route does: accept jobs, wait for calls, follow what changes. Knows no HTTP.

One in each HTTP worker; what they share is the store, and the owners of the models.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TypeVar

from antiphon.files import storage_error, sync_folder
from antiphon.serve.client import ENDS, Call, OwnerClient
from antiphon.serve.database import Database
from antiphon.serve.jobs import Job, JobStore, new_id
from antiphon.serve.keys import Keys
from antiphon.serve.options import COMPOSER, LISTENER, SYNTH, ServeOptions
from antiphon.serve.problems import Problem, Refused, draining, refuse
from antiphon.serve.tasks import Kind, Task
from antiphon.serve.uploads import Uploads
from antiphon.serve.wire import Message

T = TypeVar("T")
OWNERS = {LISTENER: "listener", COMPOSER: "composer", SYNTH: "composer"}
# What clients send that nobody has told otherwise.
_USUAL_NAMES = {
    "listener": LISTENER, "whisper-1": LISTENER, "composer": COMPOSER, "tts-1": COMPOSER,
    "tts-1-hd": COMPOSER, "gpt-4o-mini-tts": COMPOSER, "music_v1": COMPOSER, "synth": SYNTH,
}  # fmt: skip
_DISK_THREADS = 4
_DECODED_AT_ONCE = 2
_LOOK_SECONDS = 1.0  # at a job by ourselves, should a word be lost


def owner_place(runtime: Path, name: str) -> str:
    """The socket of an owner."""
    return str(runtime / name)


class Service:
    """Everything behind the routes. `runtime` is the folder with the owners' sockets."""

    def __init__(self, options: ServeOptions, runtime: Path) -> None:
        self.options = options
        self.caps = options.caps
        self.database = Database(options.folder)
        self.jobs = JobStore(self.database)
        self.uploads = Uploads(self.database)
        self.keys = Keys(self.database)
        self.scratch = options.folder / "scratch"
        self.scratch.mkdir(mode=0o700, exist_ok=True)
        self.is_draining = False
        self.is_stopping = False
        self.owners = {
            name: OwnerClient(owner_place(runtime, name), self._changed)
            for name in dict.fromkeys(OWNERS[model] for model in options.model_ids)
        }
        self.decoding = asyncio.Semaphore(_DECODED_AT_ONCE)  # in this process; owners do one each
        self._watchers: dict[str, set[asyncio.Event]] = {}
        self._waiting: Counter[str] = Counter()  # calls by key
        self._held: Counter[str] = Counter()  # lasting answers by key
        self._disk = ThreadPoolExecutor(_DISK_THREADS, thread_name_prefix="disk")

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        """With lines to the owners."""
        tasks = [asyncio.create_task(owner.keep_connected()) for owner in self.owners.values()]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._disk.shutdown(wait=False)

    async def on_disk(self, call: Callable[..., T], *args: object, **kwargs: object) -> T:
        """Something that waits for the disk, beside the event loop."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._disk, lambda: call(*args, **kwargs))

    def model(self, name: str | None, usual: str) -> str:
        """The id of a model by what a client calls it. Raises Refused (404)."""
        found = usual if name is None else _USUAL_NAMES.get(name, name)
        if found not in self.options.model_ids or OWNERS[found] != OWNERS[usual]:
            known = [one for one in self.options.model_ids if OWNERS[one] == OWNERS[usual]]
            said = ", ".join(known) or "none, since this half is not served"
            raise Refused(
                Problem(404, "model_not_found", f"model {found!r}: expected {said}", "model")
            )
        return found

    def require_open(self) -> None:
        """Raise Refused (503) where no new work is taken."""
        if self.is_draining:
            raise Refused(draining())

    def stop(self) -> None:
        """No new work, and whoever follows a job is let go: it will be there again."""
        self.is_draining = self.is_stopping = True
        for job_id in self._watchers:
            self._changed(job_id)

    # Jobs.

    async def accept(
        self,
        job: Job,
        inputs: Mapping[str, Path] = {},
        *,
        once: str | None = None,
        body: str | None = None,
    ) -> Job:
        """Accept a job for good, with the files it needs, which it keeps when they are deleted.
        Raises Refused."""
        self.require_open()
        accepted: Job = await self.on_disk(self._keep, job, inputs, once, body)
        self.owners[OWNERS[job.model]].look()
        return accepted

    def _keep(
        self, job: Job, inputs: Mapping[str, Path], once: str | None, body: str | None
    ) -> Job:
        """In one go, whatever becomes of the request meanwhile."""
        place, accepted = self.jobs.place(job.id), None
        try:
            if inputs:
                link_inputs(place, inputs)
            accepted = self.jobs.accept(job, queue=self.caps.queue, once=once, body=body)
        finally:
            if accepted is None or accepted.id != job.id:
                shutil.rmtree(place, ignore_errors=True)
        return accepted

    async def known(self, kind: Kind, key: str, once: str | None, body: str | None) -> Job | None:
        """What was accepted under this Idempotency-Key before, whatever has become of its files.
        Raises Refused (422) for another body."""
        if once is None:
            return None
        return await self.on_disk(self.jobs.known, key, kind, once, body)

    async def cancel(self, job: Job) -> Job:
        changed = await self.on_disk(self.jobs.cancel, job.id)
        self.owners[OWNERS[job.model]].look()
        self._changed(job.id)
        return changed or job

    async def delete(self, job: Job) -> None:
        await self.on_disk(self.jobs.delete, job.id)
        self.owners[OWNERS[job.model]].look()
        self._changed(job.id)

    @asynccontextmanager
    async def holding(self, key: str) -> AsyncIterator[None]:
        """For answers that last: events, streams, decoded files. Raises Refused (429) for one too
        many of a key."""
        if self._held[key] >= self.caps.held_per_key:
            raise too_many(self._held[key])
        self._held[key] += 1
        try:
            yield
        finally:
            self._held[key] -= 1

    async def follow(self, job_id: str) -> AsyncIterator[Job]:
        """A job whenever it has changed, up to its end, without its result; ends, too, when it is
        deleted."""
        event = asyncio.Event()
        self._watchers.setdefault(job_id, set()).add(event)
        last: Job | None = None
        try:
            while True:
                event.clear()
                job: Job | None = await self.on_disk(self.jobs.brief, job_id)
                if job is None:
                    return
                if job != last:
                    yield job
                    last = job
                if job.is_final or self.is_stopping:
                    return
                with suppress(TimeoutError):
                    await asyncio.wait_for(event.wait(), _LOOK_SECONDS)
        finally:
            watchers = self._watchers[job_id]
            watchers.discard(event)
            if not watchers:
                del self._watchers[job_id]

    async def finished(self, job_id: str) -> Job:
        """The job at its end, with its result. Raises Refused for one that failed, was cancelled or
        deleted."""
        async for _ in self.follow(job_id):
            pass
        job = await self.on_disk(self.jobs.find, job_id, key=None)
        if job is None or job.status == "cancelled":
            raise refuse(410, "cancelled", "the job was cancelled")
        if job.problem is not None:
            raise Refused(job.problem)
        return job

    def _changed(self, job_id: str) -> None:
        for event in self._watchers.get(job_id, ()):
            event.set()

    # Calls.

    @asynccontextmanager
    async def call(
        self,
        kind: Kind,
        model: str,
        key: str,
        request: Mapping[str, object],
        inputs: Mapping[str, Path] = {},
        batch: str | None = None,
    ) -> AsyncIterator[Call]:
        """A task for somebody who waits; it ends, and its files go, when the block is left."""
        self.require_open()
        if self._waiting[key] >= self.caps.running_per_key:
            raise too_many(self._waiting[key])
        task_id = new_id("call")
        task = Task(
            task_id, kind, model, key, request, self.scratch / task_id, False, time.time(),
            self.caps.call_seconds, batch,
        )  # fmt: skip
        owner = self.owners[OWNERS[model]]
        self._waiting[key] += 1
        call: Call | None = None
        try:
            if inputs:
                await self.on_disk(link_inputs, task.folder, inputs)
            call = owner.start(task)
            yield call
        finally:
            self._waiting[key] -= 1
            if call is not None:
                owner.forget(call)
            await self.on_disk(shutil.rmtree, task.folder, ignore_errors=True)

    async def value(self, call: Call) -> Mapping[str, object]:
        """What a call came to. Raises Refused."""
        async for message in call.messages():
            if message["event"] in ENDS:
                return ended(message)
        raise AssertionError("a call ends with an end")


def too_many(there: int) -> Refused:
    return Refused(
        Problem(
            429, "too_many_at_once",
            f"{there} requests of this key are being answered already; expected one less", None, 1,
        )
    )  # fmt: skip


def ended(message: Message) -> Mapping[str, object]:
    """The value of a call's last message. Raises Refused for one that failed."""
    if message["event"] == "done":
        return message["value"]  # type: ignore[return-value]
    if message["event"] == "failed":
        raise Refused(Problem(**message["problem"]))  # type: ignore[arg-type]
    raise refuse(410, "cancelled", "the call was cancelled")


def link_inputs(place: Path, inputs: Mapping[str, Path]) -> None:
    """Give a task its own names of files, which it keeps when others are deleted.

    Raises Refused for a file that was deleted at this moment, StorageError (DiskFullError).
    """
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, path in inputs.items():
            _link(path, place / name)
        sync_folder(place)
        sync_folder(place.parent)
    except FileNotFoundError as error:
        raise refuse(404, "file_not_found", "the file was deleted meanwhile", "file_id") from error
    except OSError as error:
        raise storage_error("write", place, error) from error


def _link(path: Path, name: Path) -> None:
    try:
        os.link(path, name)
    except FileNotFoundError:
        raise
    except OSError:  # on another file system, or one without links
        with name.open("xb") as copy, path.open("rb") as file:
            shutil.copyfileobj(file, copy)
            copy.flush()
            os.fsync(copy.fileno())


def new_job(
    kind: Kind, model: str, key: str, request: Mapping[str, object], batch: str | None = None
) -> Job:
    """A job that nobody has accepted yet."""
    return Job(new_id(kind), kind, model, key, "queued", request, time.time(), batch)


async def first_of(gone: Awaitable[object], work: Awaitable[T]) -> T | None:
    """What `work` comes to; None where `gone` is first, and then the work is cancelled."""
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(gone)
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return await working if working.done() else None
    finally:
        for task in (working, leaving):
            if not task.done():
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
