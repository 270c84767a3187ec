"""What an owner of a model is given to do, and the seam to what does it.

A call that waits and a job that is kept are the same task but for `is_kept`. Knows no model, no
queue, no database.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal, Protocol

from antiphon.serve.problems import Problem

Kind = Literal["music", "description", "measurement", "answer"]
MAX_ATTEMPTS = 3  # times that a task may end the process that does it
# In a task's folder: the recording it is about, or what is composed. The sound grows while it is
# computed (16-bit little endian, channels interleaved); then the piece is there as a file.
INPUT = "input"
INPUTS = (INPUT, "continue", "melody")
PIECE, NOTES, SOUND, SOUND_IS = "piece", "piece.mid", "sound.pcm", "sound.json"


@dataclass(frozen=True)
class Task:
    """`request` is plain data, checked; `key` is who asks, `folder` where its files are and go.
    Tasks of one `batch` may be done together. `attempts` counts how often it was begun before."""

    id: str
    kind: Kind
    model: str
    key: str
    request: Mapping[str, object]
    folder: Path
    is_kept: bool
    created_at: float
    seconds: float
    batch: str | None = None
    attempts: int = 0

    def to_dict(self) -> dict[str, object]:
        return asdict(self) | {"folder": str(self.folder), "request": dict(self.request)}

    @classmethod
    def from_dict(cls, fields: Mapping[str, object]) -> Task:
        """What `to_dict` gave, from a process of ours."""
        task = cls(**fields)  # type: ignore[arg-type]
        return replace(task, folder=Path(task.folder))


@dataclass(frozen=True)
class Result:
    """What came of a task: `value` for the one who asked, `summary` for a list of many."""

    value: Mapping[str, object]
    summary: Mapping[str, object] = field(default_factory=dict)


class Running(Protocol):
    """A task that is being done, as the one who does it sees it; of any thread."""

    @property
    def task(self) -> Task: ...

    @property
    def is_stopped(self) -> bool:
        """Nobody waits for it any more."""

    def say(self, text: str) -> None:
        """More of a text, as it is written."""

    def sounded(self, samples: int) -> None:
        """So many samples of each channel have come altogether."""

    def progress(self, share: float) -> None:
        """0 to 1."""

    def done(self, result: Result) -> None: ...

    def failed(self, problem: Problem) -> None: ...


class Work(Protocol):
    """What a process that owns a model does; loaded once."""

    @property
    def most_at_once(self) -> int:
        """Tasks of one batch that are done together."""

    @property
    def lanes(self) -> int:
        """Calls of `run` at a time, each of its own thread."""

    def run(self, tasks: Sequence[Running]) -> None:
        """Do the tasks, each to its `done` or `failed`, unless it is stopped. What this raises is
        taken for the failure of those that are neither."""

    def cancel(self) -> None:
        """End `run` in another thread, within a second if that can be."""

    def close(self) -> None: ...
