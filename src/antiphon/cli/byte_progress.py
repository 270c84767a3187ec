"""How far something is that is counted in bytes: a bar with rate and time left on stderr, or a line
now and then where that is no terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from antiphon.cli import console

_LINE_SECONDS = 10.0  # between progress lines where there is no terminal


def size_text(size_bytes: int) -> str:
    """As people say it: 2.4 GB."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size_bytes >= factor:
            return f"{size_bytes / factor:.1f} {unit}"
    return f"{size_bytes} bytes"


@contextmanager
def shown_bytes(verb: str) -> Iterator[Callable[[int, int | None], None]]:
    """A bar with rate and time left on stderr, or a line now and then where that is no terminal.

    Bytes that were here at the first call count for the share, not for the rate.
    """
    if not sys.stderr.isatty():
        yield _ByteLines(verb)
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TaskID,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        tasks: list[TaskID] = []

        def show(done_bytes: int, total_bytes: int | None) -> None:
            if not tasks:
                tasks.append(bar.add_task(verb, completed=done_bytes))
            bar.update(tasks[0], completed=done_bytes, total=total_bytes)

        yield show


@contextmanager
def shown_stages() -> Iterator[Callable[[str, int, int], None]]:
    """The same for work of several stages one after the other: told which, how many bytes of how
    many are done."""
    with ExitStack() as stack:
        current: str | None = None
        show: Callable[[int, int | None], None]

        def tell(stage: str, done_bytes: int, total_bytes: int) -> None:
            nonlocal current, show
            if stage != current:
                stack.close()
                show = stack.enter_context(shown_bytes(stage))
                show(0, total_bytes)
                current = stage
            show(done_bytes, total_bytes)

        yield tell


class _ByteLines:
    """`pulling Q6_K: 1.2 GB of 5.9 GB, 11.0 MB/s, about 427 s left`, every few seconds."""

    def __init__(self, verb: str) -> None:
        self._verb = verb
        self._shown_at = time.monotonic()
        self._first: tuple[float, int] | None = None  # when, how many bytes were here

    def __call__(self, done_bytes: int, total_bytes: int | None) -> None:
        now = time.monotonic()
        if self._first is None:
            self._first = now, done_bytes
        if now - self._shown_at < _LINE_SECONDS or done_bytes == total_bytes:
            return
        self._shown_at = now
        started, before = self._first
        rate = (done_bytes - before) / (now - started) if now > started else 0.0
        parts = [f"{self._verb}: {size_text(done_bytes)}"]
        if total_bytes is not None:
            parts[0] += f" of {size_text(total_bytes)}"
        if rate > 0:
            parts.append(f"{size_text(int(rate))}/s")
            if total_bytes is not None:
                parts.append(f"about {(total_bytes - done_bytes) / rate:,.0f} s left")
        console.note(", ".join(parts))
