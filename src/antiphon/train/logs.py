"""What a run tells of itself: a line of JSON for each moment, flushed at once, and for people a
`training.log`, a page, and lines or a view on a terminal."""

from __future__ import annotations

import json
import math
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from antiphon.files import replacing, storage_error
from antiphon.train.live import Moment, Told, clock
from antiphon.train.page import METRICS_NAME, Record, entry_of, write_page
from antiphon.train.trackers import TrackedRun, TrackerName, Trackers, require_trackers

TEXT_NAME = "training.log"
_PACES = 50  # steps that were told, over which the time left is estimated


@dataclass(frozen=True)
class Sound:
    """A sound that a run made, in a file in its folder."""

    name: str
    path: Path


class RunLog:
    """The log of a run in its folder, a context manager.

    A run that goes on from an earlier step drops what was logged beyond it. Every method that
    writes raises StorageError (DiskFullError).
    """

    def __init__(
        self,
        folder: Path,
        unit: str,
        *,
        show: Callable[[str], None] = lambda line: None,
        draw: Callable[[Moment], None] | None = None,
        trackers: Sequence[TrackerName] = (),
        config: Mapping[str, object] | None = None,
    ) -> None:
        """`unit` is what `units_per_second` counts. `show` is given lines for people; where `draw`
        is given where the run is, the lines of steps are left out of them. `trackers` are sent the
        numbers, too, and told `config`.

        Raises DependencyError for a tracker that is not installed.
        """
        require_trackers(trackers)
        self._folder = folder
        self._unit = unit
        self._writes = True
        self._show = show
        self._draw = draw
        self._tracker_names = tuple(trackers)
        self._config = config or {}
        self._trackers: Trackers | None = None
        self._gpu = _Gpu()
        self._record = Record()
        self._paces = _Paces()
        self._moment = Moment(0, 0, unit)

    def __enter__(self) -> RunLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close(failed=kind is not None)

    def mute(self) -> None:
        """Say nothing more: another process tells."""
        self._writes = False

    def begin(self, step: int, last: int) -> None:
        """The run goes on from `step`, 0 for a new one."""
        if not self._writes:
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise storage_error("write", self._folder, error) from error
        self._record = _record_up_to(self._folder / METRICS_NAME, step)
        self._paces = _Paces()
        self._paces.add(step)
        self._moment = Moment(step, last, self._unit)
        if self._tracker_names:
            run = TrackedRun(self._folder, step, self._config)
            self._trackers = Trackers(self._tracker_names, run, self.note)
        self.note(f"from step {step} to {last}")
        self._redraw()

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
        """What a step tells of itself."""
        if not self._writes:
            return
        told = Told(
            dict(losses), learning_rate, gradient_norm, units_per_second, waited_share, bad_steps,
            _memory_mb(), self._gpu.memory_mb(), self._gpu.use(),
        )  # fmt: skip
        self._paces.add(step)
        entry = _entry_of_step(told, self._unit)
        self._append({"step": step, **entry})
        self._track(step, {**_grouped("training", losses), **_numbers(entry)})
        self._moment = replace(self._moment, told=told)
        self.took(step)
        said = ", ".join(f"{name} {value:.4g}" for name, value in losses.items())
        left = clock(self._moment.seconds_left or 0.0)
        self._tell(
            f"step {step} of {self._moment.last}: {said}; lr {learning_rate:.3g}, gradient "
            f"{gradient_norm:.3g}, {units_per_second:,.0f} {self._unit}/s, {left} left",
            is_drawn=self._draw is not None,
        )

    def took(self, step: int) -> None:
        """A step was taken, which need not tell anything: the view moves on. Costs microseconds."""
        if not self._writes:
            return
        left = self._paces.seconds_for(self._moment.last - step)
        self._moment = replace(self._moment, step=step, seconds_left=left)
        self._redraw()

    def validation(self, step: int, losses: Mapping[str, float]) -> None:
        self._append({"step": step, "validation": losses})
        self._track(step, _grouped("validation", losses))
        told = ", ".join(f"{name} {value:.4g}" for name, value in losses.items())
        self._tell(f"validation after {step}: {told}")
        self._redraw()

    def sounds(self, step: int, sounds: Sequence[Sound]) -> None:
        """Sounds that lie in the run's folder, for the page; it shows those of the last 20 steps.

        Raises ValueError for a file elsewhere.
        """
        if not self._writes or not sounds:
            return
        base = self._folder.resolve()
        files = [sound.path.resolve().relative_to(base).as_posix() for sound in sounds]
        listed = [
            {"name": sound.name, "file": file} for sound, file in zip(sounds, files, strict=True)
        ]
        self._append({"step": step, "sounds": listed})
        if self._trackers is not None:
            for sound in sounds:
                self._trackers.sound(step, sound.name, sound.path)
        write_page(self._folder, self._folder.name, self._record)
        self._tell(f"sounds after {step}: {Path(files[0]).parent}")

    def saved(self, step: int, path: Path) -> None:
        """A checkpoint was written; the page is drawn anew."""
        if not self._writes:
            return
        self._append({"step": step, "checkpoint": path.name})
        self._tell(f"saved {path}")
        write_page(self._folder, self._folder.name, self._record)
        if self._trackers is not None:
            self._trackers.flush()
        self._redraw()

    def note(self, text: str) -> None:
        self._tell(text)

    def close(self, *, failed: bool = False) -> None:
        """The run ends; `failed` by an error. May be called twice."""
        trackers, self._trackers = self._trackers, None
        if trackers is not None:
            trackers.close(failed=failed)

    def _redraw(self) -> None:
        if self._draw is None or not self._writes:
            return
        record = self._record
        self._draw(
            replace(
                self._moment,
                mean_loss=record.mean_loss,
                judged=record.judged,
                best=record.best,
                checkpoint=record.checkpoint,
            )
        )

    def _track(self, step: int, values: Mapping[str, float]) -> None:
        if self._trackers is not None:
            self._trackers.log(step, values)

    def _append(self, entry: Mapping[str, object]) -> None:
        if not self._writes:
            return
        path = self._folder / METRICS_NAME
        finite = _finite(entry)
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(f"{json.dumps({'time': round(time.time(), 3), **finite})}\n")
        except OSError as error:
            raise storage_error("write", path, error) from error
        self._record.add(finite)

    def _tell(self, line: str, *, is_drawn: bool = False) -> None:
        """For people; on the terminal, too, unless that shows it already."""
        if not self._writes:
            return
        if not is_drawn:
            self._show(line)
        path = self._folder / TEXT_NAME
        try:
            with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n")
        except OSError as error:
            raise storage_error("write", path, error) from error


class _Paces:
    """When the last steps were told, for the time that others will take."""

    def __init__(self) -> None:
        self._marks: deque[tuple[float, int]] = deque(maxlen=_PACES)
        self._has_warmed_up = False

    def add(self, step: int) -> None:
        self._marks.append((time.perf_counter(), step))
        if len(self._marks) == 3 and not self._has_warmed_up:
            # The first steps open files and compile: they would count for much too long.
            self._marks.popleft()
            self._has_warmed_up = True

    def seconds_for(self, steps: int) -> float | None:
        """None before two steps are known."""
        if not self._marks or self._marks[-1][1] == self._marks[0][1]:
            return None
        (before, first), (now, last) = self._marks[0], self._marks[-1]
        return steps * (now - before) / (last - first)


class _Gpu:
    """The memory and the load of a CUDA device, where there is one and they can be asked."""

    def __init__(self) -> None:
        self._tells_use = True

    def memory_mb(self) -> float | None:
        """In use by all processes: what is left of the whole decides whether more fits."""
        cuda = _cuda()
        if cuda is None:
            return None
        free, total = cuda.mem_get_info()
        return round(float(total - free) / 2**20, 1)

    def use(self) -> float | None:
        """The share of the last moments in which it computed. Needs the package nvidia-ml-py."""
        cuda = _cuda()
        if cuda is None or not self._tells_use:
            return None
        try:
            return float(cuda.utilization()) / 100
        except Exception:  # noqa: BLE001 - the driver's own errors, too; not asked again
            self._tells_use = False
            return None


def _cuda() -> Any:
    """`torch.cuda` where it computes, without loading torch; else None."""
    torch: Any = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_initialized() else None


def _entry_of_step(told: Told, unit: str) -> dict[str, object]:
    entry: dict[str, object] = {}
    for name, value in asdict(told).items():
        if name.startswith("gpu_") and value is None:
            continue
        entry[f"{unit}_per_second" if name == "units_per_second" else name] = value
    return entry


def _grouped(group: str, losses: Mapping[str, float]) -> dict[str, float]:
    return {f"{group}/{name}": value for name, value in losses.items()}


def _numbers(entry: Mapping[str, object]) -> dict[str, float]:
    return {name: value for name, value in entry.items() if isinstance(value, int | float)}


def _record_up_to(path: Path, step: int) -> Record:
    """What the metrics say up to `step`; lines beyond it and torn ones are dropped from the file.

    The next line begins on a line of its own, also where a kill tore off no more than an end of
    line. Raises StorageError (DiskFullError).
    """
    record = Record()
    is_whole = True
    try:
        with path.open("ab"), path.open("rb") as lines:
            for line in lines:
                entry = _kept(line, step)
                if entry is not None:
                    record.add(entry)
                is_whole = is_whole and entry is not None and line.endswith(b"\n")
        if not is_whole:
            with (
                replacing(path) as temporary,
                path.open("rb") as lines,
                temporary.open("wb") as file,
            ):
                _copy_kept(lines, file, step)
    except OSError as error:
        raise storage_error("write", path, error) from error
    return record


def _kept(line: bytes, step: int) -> Mapping[str, Any] | None:
    entry = entry_of(line)
    return entry if entry is not None and entry["step"] <= step else None


def _copy_kept(lines: IO[bytes], file: IO[bytes], step: int) -> None:
    for line in lines:
        if _kept(line, step) is not None:
            file.write(line.rstrip(b"\n") + b"\n")


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


def _memory_mb() -> float | None:
    """The most that this process has held, where the system tells."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 2**20 if sys.platform == "darwin" else 2**10  # bytes there, elsewhere kB
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 1)
