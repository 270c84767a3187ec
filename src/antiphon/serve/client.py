"""An HTTP worker's line to the owner of a model: calls that wait for an answer, and a nudge when
there are jobs. An owner that dies is waited for, and asked again."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import asdict, replace
from typing import cast

from antiphon.serve.jobs import died_too_often
from antiphon.serve.problems import Problem, too_slow
from antiphon.serve.tasks import MAX_ATTEMPTS, Task
from antiphon.serve.wire import Message, packed, received

_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS = 0.02, 0.5
ENDS = ("done", "failed", "cancelled")

logger = logging.getLogger(__name__)


class Call:
    """A task that somebody waits for."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.has_begun = False
        self.has_spoken = False
        self._ends_at = time.monotonic() + task.seconds
        self._messages: asyncio.Queue[Message] = asyncio.Queue()

    def put(self, message: Message) -> None:
        if message["event"] in ("began", "again"):
            self.has_begun = message["event"] == "began"
        self.has_spoken = self.has_spoken or message["event"] == "text"
        self._messages.put_nowait(message)

    async def messages(self) -> AsyncIterator[Message]:
        """Everything that is said of the task, up to one of `ENDS`; it fails in the end where
        nobody has answered."""
        while True:
            try:
                async with asyncio.timeout(max(0.0, self._ends_at - time.monotonic())):
                    message = await self._messages.get()
            except TimeoutError:
                problem = asdict(too_slow(self.task.seconds))
                message = {"event": "failed", "problem": problem}
            yield message
            if message["event"] in ENDS:
                return

    def fail(self, problem: Problem) -> None:
        self.put({"event": "failed", "problem": asdict(problem)})


class OwnerClient:
    """The line to one owner; `on_job` is told the id of every job that has changed."""

    def __init__(self, place: str, on_job: Callable[[str], None]) -> None:
        self._place = place
        self._on_job = on_job
        self._writer: asyncio.StreamWriter | None = None
        self._calls: dict[str, Call] = {}

    @property
    def is_connected(self) -> bool:
        return self._writer is not None and not self._writer.is_closing()

    async def keep_connected(self) -> None:
        """Until it is cancelled."""
        wait_seconds = _FIRST_RETRY_SECONDS
        while True:
            try:
                reader, self._writer = await asyncio.open_unix_connection(self._place)
            except OSError:
                await asyncio.sleep(wait_seconds)
                wait_seconds = min(2 * wait_seconds, _LONGEST_RETRY_SECONDS)
                continue
            wait_seconds = _FIRST_RETRY_SECONDS
            try:
                self._ask_again()
                while True:
                    self._heed(await received(reader))
            except (asyncio.IncompleteReadError, OSError, ValueError):
                logger.info("the owner at %s is gone; waiting for the next", self._place)
            finally:
                self._writer.close()
                self._writer = None

    def start(self, task: Task) -> Call:
        call = Call(task)
        self._calls[task.id] = call
        self._send({"do": "run", "task": task.to_dict()})
        return call

    def forget(self, call: Call) -> None:
        """Nobody waits for it any more; what is not done is ended."""
        if self._calls.pop(call.task.id, None) is not None:
            self._send({"do": "cancel", "id": call.task.id})

    def look(self) -> None:
        """There is a new job, or one that is to end."""
        self._send({"do": "look"})

    def _send(self, message: Message) -> None:
        if self._writer is not None:
            with suppress(OSError):
                self._writer.write(packed(message))

    def _heed(self, message: Message) -> None:
        if message["event"] == "job":
            self._on_job(cast(str, message["id"]))
            return
        call = self._calls.get(cast(str, message["id"]))
        if call is not None:
            if message["event"] in ENDS:
                del self._calls[call.task.id]
            call.put(message)

    def _ask_again(self) -> None:
        """What the last owner did not finish. One that died of a call three times is not asked for
        it again, nor for the rest of a text of which a part was given out."""
        for call in [*self._calls.values()]:
            if call.has_begun:
                call.task = replace(call.task, attempts=call.task.attempts + 1, batch=None)
                call.has_begun = False
            if call.has_spoken:
                del self._calls[call.task.id]
                call.fail(_broken_off())
            elif call.task.attempts >= MAX_ATTEMPTS:
                del self._calls[call.task.id]
                call.fail(died_too_often(call.task.attempts))
            else:
                self._send({"do": "run", "task": call.task.to_dict()})


def _broken_off() -> Problem:
    return Problem(
        500, "worker_died", "the process that wrote it ended; what was sent is its beginning"
    )
