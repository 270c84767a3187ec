"""Metrics for TensorBoard and W&B: the first for real, the second by a stand-in."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import soundfile

from antiphon.errors import DependencyError
from antiphon.train.logs import RunLog, Sound
from antiphon.train.trackers import TrackedRun, TrackerName, Trackers, require_trackers

pytestmark = pytest.mark.unit


def tell(log: RunLog, step: int, loss: float = 1.0) -> None:
    log.step(
        step,
        {"total": loss},
        learning_rate=1e-3,
        gradient_norm=0.25,
        units_per_second=100,
        waited_share=0.0,
        bad_steps=0,
    )


def a_sound(folder: Path) -> Sound:
    path = folder / "samples/step-000000001/0.wav"
    path.parent.mkdir(parents=True)
    soundfile.write(path, np.zeros((800, 2)), 8000)
    return Sound("validation 0: jazz", path)


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_one_that_is_not_installed_is_refused_before_anything_is_written(
    name: TrackerName, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("tensorboard", "torch.utils.tensorboard", "wandb"):
        monkeypatch.setitem(sys.modules, module, None)  # as if it were not there
    with pytest.raises(DependencyError, match=f"{name}, which is not .*pip install {name}"):
        RunLog(tmp_path / "run", "codes", trackers=(name,))
    assert not (tmp_path / "run").exists()


def test_none_is_imported_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("tensorboard", "wandb"):
        monkeypatch.setitem(sys.modules, module, None)
    with RunLog(tmp_path, "codes") as log:
        log.begin(0, 10)
        tell(log, 1)
    assert not (tmp_path / "tensorboard").exists()
    require_trackers(())


def scalars(folder: Path, name: str) -> list[tuple[int, float]]:
    """As TensorBoard shows them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(name)]


def test_tensorboard_shows_a_run_that_went_on(tmp_path: Path) -> None:
    with RunLog(tmp_path, "codes", trackers=("tensorboard",)) as log:
        log.begin(0, 10)
        for step in (1, 2, 3, 4):
            tell(log, step, float(step))
        log.validation(4, {"total": 0.5})
    with RunLog(tmp_path, "codes", trackers=("tensorboard",)) as log:
        log.begin(2, 10)
        tell(log, 3, 30.0)
    assert scalars(tmp_path, "training/total") == [(1, 1.0), (2, 2.0), (3, 30.0)]
    assert scalars(tmp_path, "codes_per_second")[0] == (1, 100.0)
    assert scalars(tmp_path, "validation/total") == []


def test_tensorboard_plays_sounds(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with RunLog(tmp_path, "codes", trackers=("tensorboard",)) as log:
        log.begin(0, 10)
        log.sounds(1, [a_sound(tmp_path)])
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    (heard,) = events.Audio("validation 0: jazz")
    assert (heard.step, heard.sample_rate, heard.length_frames) == (1, 8000, 800)


class FakeRun:
    """Of W&B; from `breaks_at` on it cannot be reached."""

    def __init__(self, breaks_at: int) -> None:
        self.logged: list[tuple[int, dict[str, object]]] = []
        self.exit_code: int | None = None
        self._breaks_at = breaks_at

    def log(self, values: dict[str, object], *, step: int) -> None:
        if step >= self._breaks_at:
            raise ConnectionError("no\nnetwork")
        self.logged.append((step, values))

    def finish(self, *, exit_code: int) -> None:
        self.exit_code = exit_code


class FakeWandb(ModuleType):
    """The part of the package that we use."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.breaks_at = 1 << 30
        self.can_begin = True
        self.runs: list[FakeRun] = []
        self.begun_with: list[dict[str, Any]] = []
        self.set_up_with: Any = None

    def Settings(self, **values: object) -> dict[str, object]:
        return values

    def Audio(self, path: str, caption: str) -> tuple[str, str]:
        return path, caption

    def setup(self, *, settings: object) -> None:
        self.set_up_with = settings

    def init(self, **values: Any) -> FakeRun:
        if not self.can_begin:
            raise RuntimeError("No API key configured")
        self.begun_with.append(values)
        self.runs.append(FakeRun(self.breaks_at))
        return self.runs[-1]


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> FakeWandb:
    fake = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    return fake


def test_wandb_is_told(tmp_path: Path, wandb: FakeWandb) -> None:
    folder = tmp_path / "my run"
    config = {"training": {"seed": 1}}
    with RunLog(folder, "codes", trackers=("wandb", "wandb"), config=config) as log:
        log.begin(0, 10)
        tell(log, 1)
        log.validation(1, {"total": 2.0})
        log.sounds(1, [a_sound(folder)])
    (begun,), (run,) = wandb.begun_with, wandb.runs
    assert (begun["project"], begun["name"], begun["dir"]) == ("antiphon", "my run", str(folder))
    assert (begun["resume"], begun["config"]) == ("allow", config)
    assert begun["settings"] == wandb.set_up_with == {"console": "off", "silent": True}
    (_, numbers), (_, validated), (_, heard) = run.logged
    assert {step for step, _ in run.logged} == {1}
    assert numbers["training/total"] == 1.0
    assert numbers["learning_rate"] == 1e-3
    assert validated == {"validation/total": 2.0}
    path = str(folder / "samples/step-000000001/0.wav")
    assert heard == {"validation 0: jazz": (path, "validation 0: jazz")}
    assert run.exit_code == 0


def test_wandb_goes_on_with_a_run_and_begins_another_anew(
    tmp_path: Path, wandb: FakeWandb, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    for step in (0, 5, 0):
        Trackers(("wandb",), TrackedRun(tmp_path, step), print)
    first, resumed, anew = (begun["id"] for begun in wandb.begun_with)
    assert first == resumed != anew
    assert first.startswith(f"{tmp_path.name[:20]}")
    assert wandb.begun_with[0]["project"] == "mine"


def test_a_run_that_fails_is_marked(tmp_path: Path, wandb: FakeWandb) -> None:
    def interrupted() -> None:
        with RunLog(tmp_path, "codes", trackers=("wandb",)) as log:
            log.begin(0, 10)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert wandb.runs[0].exit_code == 1


def test_a_tracker_that_fails_is_named_once_and_the_run_goes_on(
    tmp_path: Path, wandb: FakeWandb
) -> None:
    wandb.breaks_at = 3
    shown: list[str] = []
    with RunLog(tmp_path, "codes", show=shown.append, trackers=("wandb",)) as log:
        log.begin(0, 10)
        for step in range(1, 6):
            tell(log, step)
    warnings = [line for line in shown if "wandb" in line]
    assert warnings == ["wandb is left out from here on: no network"]
    assert [step for step, _ in wandb.runs[0].logged] == [1, 2]
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 5


def test_a_tracker_that_cannot_begin_is_named_and_the_others_are_told(
    tmp_path: Path, wandb: FakeWandb
) -> None:
    wandb.can_begin = False
    shown: list[str] = []
    trackers: tuple[TrackerName, ...] = ("wandb", "tensorboard")
    with RunLog(tmp_path, "codes", show=shown.append, trackers=trackers) as log:
        log.begin(0, 10)
        tell(log, 1)
    assert shown[0] == "wandb is left out from here on: No API key configured"
    assert scalars(tmp_path, "training/total") == [(1, 1.0)]


def test_another_process_tells_no_tracker(tmp_path: Path, wandb: FakeWandb) -> None:
    log = RunLog(tmp_path, "codes", trackers=("wandb",))
    log.mute()
    log.begin(0, 10)
    tell(log, 1)
    log.close()
    assert not wandb.runs
