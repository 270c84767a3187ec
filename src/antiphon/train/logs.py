"""What a run tells of itself: a line of JSON for each moment, flushed at once, and for people a
`training.log` and lines on a terminal."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from antiphon.files import atomic_write, storage_error
from antiphon.train.page import METRICS_NAME, write_page

TEXT_NAME = "training.log"
_SMOOTH = 0.9  # of the pace that is shown


class RunLog:
    """The log of a run in its folder.

    A run that goes on from an earlier step drops what was logged beyond it.
    """

    def __init__(
        self,
        folder: Path,
        unit: str,
        *,
        show: Callable[[str], None] = lambda line: None,
    ) -> None:
        """`unit` is what `units_per_second` counts; `show` is given lines for people."""
        self._folder = folder
        self._unit = unit
        self._writes = True
        self._show = show
        self._step_seconds: float | None = None
        self._since = time.perf_counter()
        self._last = self._done = 0

    def mute(self) -> None:
        """Say nothing more: another process tells."""
        self._writes = False

    def begin(self, step: int, last: int) -> None:
        self._done = step
        self._last = last
        self._since = time.perf_counter()
        if not self._writes:
            return
        path = self._folder / METRICS_NAME
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            lines = path.read_text().splitlines() if path.exists() else []
            kept = [line for line in lines if _step_of(line) <= step]
            if kept != lines or not path.exists():
                atomic_write(path, "".join(f"{line}\n" for line in kept).encode())
        except OSError as error:
            raise storage_error("write", path, error) from error
        self.note(f"from step {step} to {last}")

    def step(
        self,
        step: int,
        losses: Mapping[str, float],
        *,
        learning_rate: float,
        gradient_norm: float,
        units_per_second: float,
        waited_share: float,
        bad_steps: int,
    ) -> None:
        now = time.perf_counter()
        pace = (now - self._since) / max(1, step - self._done)
        old = self._step_seconds
        self._step_seconds = pace if old is None else _SMOOTH * old + (1 - _SMOOTH) * pace
        self._since, self._done = now, step
        left = (self._last - step) * self._step_seconds
        self._append(
            {
                "step": step,
                "losses": losses,
                "learning_rate": learning_rate,
                "gradient_norm": gradient_norm,
                f"{self._unit}_per_second": units_per_second,
                "waited_share": waited_share,
                "memory_mb": _memory_mb(),
                "bad_steps": bad_steps,
            }
        )
        told = ", ".join(f"{name} {value:.4g}" for name, value in losses.items())
        self._tell(
            f"step {step} of {self._last}: {told}; lr {learning_rate:.3g}, gradient "
            f"{gradient_norm:.3g}, {units_per_second:,.0f} {self._unit}/s, {_clock(left)} left"
        )

    def validation(self, step: int, losses: Mapping[str, float]) -> None:
        self._append({"step": step, "validation": losses})
        told = ", ".join(f"{name} {value:.4g}" for name, value in losses.items())
        self._tell(f"validation after {step}: {told}")

    def saved(self, step: int, path: Path) -> None:
        """A checkpoint was written; the page is drawn anew."""
        self._append({"step": step, "checkpoint": path.name})
        self._tell(f"saved {path}")
        if self._writes:
            write_page(self._folder, self._folder.name)

    def note(self, text: str) -> None:
        self._tell(text)

    def _append(self, entry: Mapping[str, object]) -> None:
        if not self._writes:
            return
        path = self._folder / METRICS_NAME
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(f"{json.dumps({'time': round(time.time(), 3), **_finite(entry)})}\n")
        except OSError as error:
            raise storage_error("write", path, error) from error

    def _tell(self, line: str) -> None:
        if not self._writes:
            return
        self._show(line)
        path = self._folder / TEXT_NAME
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n")
        except OSError as error:
            raise storage_error("write", path, error) from error


def _finite(entry: Mapping[str, object]) -> dict[str, object]:
    """Numbers that are none become null: JSON has no other."""
    found: dict[str, object] = {}
    for name, value in entry.items():
        if isinstance(value, Mapping):
            found[name] = _finite(value)
        else:
            is_none = isinstance(value, float) and not math.isfinite(value)
            found[name] = None if is_none else value
    return found


def _step_of(line: str) -> int:
    """Of a line of metrics; a line that a kill has torn counts as the last."""
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return 1 << 62


def _memory_mb() -> float | None:
    """The most that this process has held, where the system tells."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def _clock(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}"
