"""A training run on a terminal: a block of numbers that stays in place, lines scrolling above it.

Knows no log and no loop. No thread: it is drawn when the run tells something, a few times a second
at most, so that signals and child processes find nothing that they could break.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from antiphon.train.page import Judged

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

_DRAWN_SECONDS = 0.25  # between two drawings
_BAR_WIDTH = 40


@dataclass(frozen=True)
class Told:
    """What a step told of itself. Memory in MB, None where it is not known."""

    losses: Mapping[str, float]
    learning_rate: float
    gradient_norm: float
    units_per_second: float
    waited_share: float
    bad_steps: int
    memory_mb: float | None = None
    gpu_memory_mb: float | None = None
    gpu_use: float | None = None
    """A share, 0 to 1."""


@dataclass(frozen=True)
class Moment:
    """Where a run is; `told` is of the last step that told something, this one or one before."""

    step: int
    last: int
    unit: str
    """What `units_per_second` counts."""
    seconds_left: float | None = None
    told: Told | None = None
    mean_loss: float | None = None
    """Of the last hundred that were told."""
    judged: Judged | None = None
    best: Judged | None = None
    checkpoint: str | None = None


@dataclass(frozen=True)
class Shown:
    """What a run log is given: `line` for what stays, `draw` for where the run is, None where that
    comes as lines, too."""

    line: Callable[[str], None]
    draw: Callable[[Moment], None] | None = None


@contextmanager
def shown_run(line: Callable[[str], None]) -> Iterator[Shown]:
    """A view of a run on stderr as long as the block lasts; where that is no terminal, or one that
    cannot move its cursor, lines alone.

    `line` writes a line for people where there is no view.
    """
    if not sys.stderr.isatty():
        yield Shown(line)
        return
    from rich.console import Console

    console = Console(stderr=True)
    if console.is_dumb_terminal:
        yield Shown(line)
        return
    view = RunView(console)
    try:
        yield Shown(view.line, view.draw)
    finally:
        view.close()


class RunView:
    """The block, begun by the first moment: a process that tells nothing draws nothing.

    Until `close`, what others write to `sys.stderr` appears above it, too.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None
        self._moment: Moment | None = None
        self._drawn_at = 0.0

    def line(self, text: str) -> None:
        """A line that stays, above the block."""
        # As it is: rich would see its own markup in [brackets], and colour numbers.
        self._console.print(text, markup=False, highlight=False, emoji=False, soft_wrap=True)

    def draw(self, moment: Moment) -> None:
        """Show `moment`, unless another was shown just now."""
        self._moment = moment
        now = time.monotonic()
        if self._live is not None and now - self._drawn_at < _DRAWN_SECONDS:
            return
        self._drawn_at = now
        if self._live is None:
            self._live = self._begun(moment)
        self._live.update(block(moment), refresh=True)

    def close(self) -> None:
        """Leave the last moment on the terminal, with its cursor below it."""
        live, self._live = self._live, None
        if live is None or self._moment is None:
            return
        try:
            live.update(block(self._moment))
        finally:
            live.stop()

    def _begun(self, moment: Moment) -> Live:
        from rich.live import Live

        # Results on stdout may go elsewhere; only what goes to the same terminal is moved.
        live = Live(block(moment), console=self._console, auto_refresh=False, redirect_stdout=False)
        live.start()
        return live


def block(moment: Moment) -> RenderableType:
    """The lines that are redrawn; what is wider than the terminal is cut."""
    from rich.table import Table
    from rich.text import Text

    rows = Table.grid(padding=(0, 2), expand=True)
    rows.add_column(style="dim", no_wrap=True, width=10)
    rows.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    rows.add_row("step", _progress(moment))
    for name, text in _facts(moment).items():
        rows.add_row(name, Text(text))
    return rows


def _progress(moment: Moment) -> RenderableType:
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    share = moment.step / max(1, moment.last)
    count = Text(f"{moment.step:,} of {moment.last:,}", style="bold")
    parts = [count, Text(f"{share:.0%}")]
    if moment.seconds_left is not None:
        parts.append(Text(f"{clock(moment.seconds_left)} left"))
    row = Table.grid(padding=(0, 2))
    for _ in parts:
        row.add_column(no_wrap=True, overflow="ellipsis")
    row.add_column(max_width=_BAR_WIDTH)  # gives way first
    row.add_row(*parts, ProgressBar(total=max(1, moment.last), completed=moment.step))
    return row


def _facts(moment: Moment) -> dict[str, str]:
    """Rows by name; what is not known yet has none."""
    found = {}
    told = moment.told
    if told is not None:
        found["loss"] = _losses(told.losses, moment.mean_loss)
    if moment.judged is not None and moment.best is not None:
        best = moment.best
        found["validation"] = (
            f"{moment.judged.loss:.4g} after {moment.judged.step:,}, "
            f"best {best.loss:.4g} after {best.step:,}"
        )
    if told is None:
        return found
    pace = f"{told.units_per_second:,.0f} {moment.unit}/s"
    found["pace"] = f"{pace}, {told.waited_share:.0%} of the time waiting for data"
    found["learning"] = f"rate {told.learning_rate:.3g}, gradient {told.gradient_norm:.3g}" + (
        f", bad steps in a row: {told.bad_steps}" if told.bad_steps else ""
    )
    if memory := _memory(told):
        found["memory"] = memory
    if moment.checkpoint is not None:
        found["saved"] = moment.checkpoint
    return found


def _losses(losses: Mapping[str, float], mean: float | None) -> str:
    parts = [f"{losses['total']:.4g}"] if "total" in losses else []
    if mean is not None:
        parts.append(f"mean {mean:.4g}")
    others = [f"{name} {value:.4g}" for name, value in losses.items() if name != "total"]
    return ", ".join(parts) + (f" ({', '.join(others)})" if others else "")


def _memory(told: Told) -> str:
    parts = []
    if told.memory_mb is not None:
        parts.append(f"{told.memory_mb:,.0f} MB at most")
    if told.gpu_memory_mb is not None:
        use = "" if told.gpu_use is None else f", {told.gpu_use:.0%} busy"
        parts.append(f"GPU {told.gpu_memory_mb:,.0f} MB{use}")
    return "; ".join(parts)


def clock(seconds: float) -> str:
    """Hours, minutes and seconds: 1:02:03."""
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}"
