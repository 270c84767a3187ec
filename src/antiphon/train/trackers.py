"""Metrics for TensorBoard and Weights & Biases, where a run is asked to send them.

Both are optional packages, imported only then. The run's own metrics.jsonl is the truth: a tracker
that fails is left out from there on, and the run goes on.
"""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, Protocol

from antiphon.errors import DependencyError
from antiphon.files import atomic_write

TrackerName = Literal["tensorboard", "wandb"]

_PROJECT = "antiphon"  # unless WANDB_PROJECT names another
_ID_NAME = "wandb-id"
_MODULES: Mapping[TrackerName, str] = {
    "tensorboard": "torch.utils.tensorboard",  # fails to load without tensorboard
    "wandb": "wandb",
}


@dataclass(frozen=True)
class TrackedRun:
    """A run that goes on from `step`; its folder's name is its name."""

    folder: Path
    step: int = 0
    config: Mapping[str, object] = field(default_factory=dict)


class Tracker(Protocol):
    """One place where metrics are sent. Anything may raise."""

    def log(self, step: int, values: Mapping[str, float]) -> None: ...
    def sound(self, step: int, name: str, path: Path) -> None: ...
    def flush(self) -> None:
        """Make what was sent outlast a kill, where that is for us to do."""

    def close(self, *, failed: bool) -> None: ...


def require_trackers(names: Sequence[TrackerName]) -> None:
    """Raise DependencyError for one whose package is not installed."""
    for name in dict.fromkeys(names):
        try:
            import_module(_MODULES[name])
        except ImportError as error:
            raise DependencyError(
                f"log.trackers names {name}, which is not installed ({error}); pip install {name}, "
                "or leave it out: metrics.jsonl and report.html need none"
            ) from error


class Trackers:
    """All that a run was asked for. Nothing here raises: `note` is told of one that fails, once,
    and it is off."""

    def __init__(
        self, names: Sequence[TrackerName], run: TrackedRun, note: Callable[[str], None]
    ) -> None:
        self._note = note
        self._open: dict[TrackerName, Tracker] = {}
        for name in dict.fromkeys(names):
            with self._guarded(name):
                self._open[name] = _OPENERS[name](run)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Numbers of a step, by names with a slash between groups: `training/total`."""
        self._each(lambda tracker: tracker.log(step, values))

    def sound(self, step: int, name: str, path: Path) -> None:
        self._each(lambda tracker: tracker.sound(step, name, path))

    def flush(self) -> None:
        self._each(lambda tracker: tracker.flush())

    def close(self, *, failed: bool = False) -> None:
        """`failed`: the run ended by an error."""
        self._each(lambda tracker: tracker.close(failed=failed))
        self._open.clear()

    def _each(self, work: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self._open.items()):
            with self._guarded(name):
                work(tracker)

    @contextmanager
    def _guarded(self, name: TrackerName) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001 - the run is worth more; said below
            self._open.pop(name, None)
            said = " ".join(str(error).split()) or type(error).__name__
            self._note(f"{name} is left out from here on: {said}")


class _TensorBoard:
    def __init__(self, run: TrackedRun) -> None:
        # What was logged beyond the step that the run goes on from is to be forgotten.
        self._writer: Any = import_module(_MODULES["tensorboard"]).SummaryWriter(
            log_dir=str(run.folder / "tensorboard"), purge_step=run.step + 1
        )

    def log(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def sound(self, step: int, name: str, path: Path) -> None:
        import soundfile
        import torch

        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)  # [T, C]
        mono = torch.from_numpy(samples.mean(axis=1))[None]  # [1, T]: all that it takes
        self._writer.add_audio(name, mono, step, sample_rate=rate)

    def flush(self) -> None:
        self._writer.flush()

    def close(self, *, failed: bool) -> None:
        self._writer.close()


class _Wandb:
    def __init__(self, run: TrackedRun) -> None:
        self._wandb: Any = import_module("wandb")
        # It would put itself between us and the terminal, write there, and where nobody has logged
        # in wait for an answer for ever; now that is an error.
        quiet = self._wandb.Settings(console="off", silent=True)
        self._wandb.setup(settings=quiet)
        self._run: Any = self._wandb.init(
            project=os.environ.get("WANDB_PROJECT", _PROJECT),
            name=run.folder.name,
            dir=str(run.folder),
            id=_wandb_id(run),
            resume="allow",
            config=dict(run.config),
            settings=quiet,
        )

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def sound(self, step: int, name: str, path: Path) -> None:
        self._run.log({name: self._wandb.Audio(str(path), caption=name)}, step=step)

    def flush(self) -> None:
        """A process of its own has it already."""

    def close(self, *, failed: bool) -> None:
        self._run.finish(exit_code=1 if failed else 0)


def _wandb_id(run: TrackedRun) -> str:
    """Of a run that goes on, the one it began with. A new run has a new one, though its folder may
    be called as another was: what is logged of an earlier step than the last, W&B drops."""
    path = run.folder / _ID_NAME
    if run.step and path.exists():
        return path.read_text(encoding="utf-8").strip()
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", run.folder.name)[:80]
    found = f"{name}-{uuid.uuid4().hex[:8]}"
    atomic_write(path, f"{found}\n".encode())
    return found


_OPENERS: Mapping[TrackerName, Callable[[TrackedRun], Tracker]] = {
    "tensorboard": _TensorBoard,
    "wandb": _Wandb,
}
