"""A command that takes long: how far it is, and how it is asked to stop. Knows no work."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol

from antiphon.cli import console

_LINE_SECONDS = 10.0  # between progress lines where there is no terminal


class Progress(Protocol):
    """How far the work is."""

    @property
    def settled(self) -> int: ...
    @property
    def total(self) -> int: ...
    @property
    def failed(self) -> int: ...


class StopRequest:
    """Ctrl-C or SIGTERM: the first asks to come to an end, the second stops at once.

    A context manager; `exit_code` is None until somebody asks. `doing` is what is done then, told
    at once; None: others tell.
    """

    def __init__(self, doing: str | None = "finishing what is in work") -> None:
        self.exit_code: int | None = None
        self._doing = doing

    @property
    def is_wanted(self) -> bool:
        return self.exit_code is not None

    def __enter__(self) -> StopRequest:
        self._before = {
            number: signal.signal(number, self._take) for number in (signal.SIGINT, signal.SIGTERM)
        }
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _take(self, number: int, frame: FrameType | None) -> None:
        if self.exit_code is not None:
            raise SystemExit(self.exit_code)
        self.exit_code = 128 + number
        if self._doing is None:
            return
        # Not through sys.stderr, in the middle of whose writing this may come.
        os.write(2, f"\n{self._doing}; once more to stop at once\n".encode())


@contextmanager
def shown_progress(verb: str) -> Iterator[Callable[[Progress], None]]:
    """A bar with the time left on stderr, or a line now and then where that is no terminal."""
    if not sys.stderr.isatty():
        yield _ProgressLines(verb)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[failed]}"),
        TimeRemainingColumn(compact=True),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(verb, total=None, failed="")

        def show(progress: Progress) -> None:
            failed = f"{progress.failed:,} failed" if progress.failed else ""
            bar.update(task, completed=progress.settled, total=progress.total, failed=failed)

        yield show


class _ProgressLines:
    """A line every few seconds; the time left goes by the pace of this run."""

    def __init__(self, verb: str) -> None:
        self._verb = verb
        self._shown_at = time.monotonic()
        self._first: tuple[float, int] | None = None  # when, how many were settled

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if self._first is None:
            self._first = now, progress.settled
        if now - self._shown_at < _LINE_SECONDS or progress.settled == progress.total:
            return
        self._shown_at = now
        started, settled = self._first
        pace = (progress.settled - settled) / (now - started) if now > started else 0.0
        left = f", about {(progress.total - progress.settled) / pace:,.0f} s left" if pace else ""
        failed = f", {progress.failed:,} failed" if progress.failed else ""
        console.note(f"{self._verb}: {progress.settled:,} of {progress.total:,}{failed}{left}")
