"""Processes that are started, watched, started anew when they die, and ended together.

Each has a pipe to its parent: "ready" (or why not), and now and then "alive"; the parent says
"drain" and "stop", or just dies, which ends the child. Knows no model and no HTTP.
"""

from __future__ import annotations

import logging
import multiprocessing
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Literal

from antiphon.threads import one_in_children
from antiphon.workers import signals_held_back

SILENT_SECONDS = 30.0  # without a word from a child that was ready: it hangs
_LONGEST_PAUSE_SECONDS = 10.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ChildSpec:
    """`target` is called in the process, with `arguments` and then the pipe to the parent, which it
    says "alive" into."""

    name: str
    target: Callable[..., None]
    arguments: tuple[Any, ...]
    method: Literal["spawn", "fork"] = "spawn"


def _run(spec: ChildSpec, pipe: Connection, not_its: Sequence[Connection]) -> None:
    """The process."""
    for one in not_its:
        one.close()
    spec.target(*spec.arguments, pipe)


class Child:
    """One of them, in as many processes as it takes."""

    def __init__(self, spec: ChildSpec) -> None:
        self.spec = spec
        self.process: BaseProcess | None = None
        self.pipe: Connection | None = None
        self.is_ready = False
        self.failure: Exception | None = None
        self.false_starts = 0
        self.start_at = 0.0  # not before; of time.monotonic()
        self._heard = 0.0

    def start(self, others: Sequence[Child]) -> None:
        """`others` are those whose pipes a fork would keep open beyond our death."""
        context = multiprocessing.get_context(self.spec.method)
        self.pipe, theirs = multiprocessing.Pipe()
        process = context.Process  # type: ignore[attr-defined]
        not_its: list[Connection] = []
        if self.spec.method == "fork":
            not_its = [self.pipe, *(one.pipe for one in others if one.pipe and one is not self)]
        self.process = process(target=_run, args=(self.spec, theirs, not_its), name=self.spec.name)
        assert self.process is not None
        with one_in_children(), signals_held_back():
            self.process.start()
        theirs.close()
        self.is_ready = False
        self._heard = time.monotonic()

    def listen(self) -> None:
        """Take in what it said."""
        assert self.pipe is not None
        with suppress(EOFError, OSError):
            while self.pipe.poll():
                word, value = self.pipe.recv()
                self._heard = time.monotonic()
                if word == "ready":
                    self.is_ready = True
                elif word == "failed":
                    self.failure = value

    def tell(self, word: str, value: float = 0.0) -> None:
        if self.pipe is not None:
            with suppress(OSError):
                self.pipe.send((word, value))

    @property
    def is_alive(self) -> bool:
        return self.process is not None and self.process.is_alive()

    @property
    def hangs(self) -> bool:
        silent = time.monotonic() - self._heard
        return self.is_ready and silent > SILENT_SECONDS

    def kill(self) -> None:
        if self.process is not None and self.process.pid is not None:
            self.process.kill()

    def bury(self, is_ending: bool) -> None:
        """After its death: when the next may start, if one is to."""
        assert self.process is not None
        assert self.pipe is not None
        self.listen()
        self.process.join()
        code = self.process.exitcode
        self.pipe.close()
        self.process.close()
        self.process = None
        # One that cannot even begin does not take the machine.
        self.false_starts = 0 if self.is_ready else self.false_starts + 1
        pause = min(0.1 * 2**self.false_starts, _LONGEST_PAUSE_SECONDS)
        self.start_at = time.monotonic() + (pause if self.false_starts else 0.0)
        if not is_ending:
            logger.warning("process %s ended (%s); it is started anew", self.spec.name, code)


class Children:
    """All of them. Not of several threads."""

    def __init__(self, specs: Sequence[ChildSpec]) -> None:
        self.all = [Child(spec) for spec in specs]
        self.is_ending = False

    def start(self) -> None:
        for child in self.all:
            child.start(self.all)

    def add(self, specs: Sequence[ChildSpec]) -> None:
        """Start more of them."""
        for child in map(Child, specs):
            self.all.append(child)
            child.start(self.all)

    @property
    def are_ready(self) -> bool:
        return all(child.is_ready for child in self.all)

    def watch(self, seconds: float, *more: Any) -> None:
        """Wait for something to happen, or for one of `more`; start anew what has died."""
        waited = [
            one
            for child in self.all
            if child.process is not None and child.pipe is not None
            for one in (child.process.sentinel, child.pipe)
        ]
        connection.wait([*waited, *more], timeout=seconds)
        for child in self.all:
            if child.process is not None:
                child.listen()
                if child.hangs:
                    logger.error("process %s is silent: it is ended", child.spec.name)
                    child.kill()
                if not child.process.is_alive():
                    child.bury(self.is_ending)
            if child.process is None and not self.is_ending and child.start_at <= time.monotonic():
                child.start(self.all)

    def kill(self) -> None:
        for child in self.all:
            child.kill()
        for child in self.all:
            if child.process is not None:
                child.process.join()
