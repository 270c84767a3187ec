"""Checkpoints: whole or not there, the newest and the best kept, and what is damaged named."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from antiphon.errors import DiskFullError, ModelError, StorageError
from antiphon.train import checkpoints
from antiphon.train.checkpoints import Checkpoint, CheckpointFolder, read_checkpoint

pytestmark = pytest.mark.integration


def made(step: int, size: int = 10) -> Checkpoint:
    shared = torch.full((size,), float(step))
    parts = {"model": {"a": shared, "b": shared, "c": torch.arange(step)}, "optimizer": {}}
    return Checkpoint(step, parts, {"config": {"é": [1, 2]}, "bad_steps": 0})


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path / "deep/checkpoints", 2)
    folder.clean()
    assert folder.newest() is None
    assert folder.best() is None
    path = folder.save(made(3))
    again = read_checkpoint(path)
    assert again.step == 3
    assert again.state == {"config": {"é": [1, 2]}, "bad_steps": 0}
    assert again.parts["model"]["c"].tolist() == [0, 1, 2]
    assert torch.equal(again.parts["model"]["b"], torch.full((10,), 3.0))
    assert again.parts["optimizer"] == {}


def test_the_newest_and_the_best_are_kept(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path, 2)
    for step in range(1, 7):
        path = folder.save(made(step))
        folder.mark_if_best(path, None)
        if step == 4:
            folder.mark_if_best(path, 0.9)  # not the lowest
        if step in (2, 3):
            folder.mark_if_best(path, 1.0 / step)
    assert folder.best() == (tmp_path / "step-000000003.ckpt", pytest.approx(1 / 3))
    assert folder.newest() == tmp_path / "step-000000006.ckpt"
    steps = [f"step-{n:09}.ckpt" for n in (3, 5, 6)]
    assert names(tmp_path) == ["best.json", *steps]


def test_a_full_disk_leaves_the_ones_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = CheckpointFolder(tmp_path, 2)
    folder.save(made(1))
    before = names(tmp_path)

    def full(*_: object, **__: object) -> None:
        # As safetensors says it.
        text = "Error while serializing: I/O error: No space left on device (os error 28)"
        raise SafetensorError(text)

    monkeypatch.setattr(checkpoints, "save_file", full)
    with pytest.raises(DiskFullError, match="no space left"):
        folder.save(made(2))
    assert names(tmp_path) == before
    assert read_checkpoint(tmp_path / before[0]).step == 1


def test_what_is_damaged_is_named(tmp_path: Path) -> None:
    path = CheckpointFolder(tmp_path, 2).save(made(5, 1000))
    with pytest.raises(ModelError, match="is no checkpoint: it has no state.json"):
        read_checkpoint(tmp_path)
    file = path / "model.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    with pytest.raises(ModelError, match="model.safetensors is damaged or missing"):
        read_checkpoint(path)
    file.unlink()
    with pytest.raises(ModelError, match="model.safetensors is damaged or missing"):
        read_checkpoint(path)
    (path / "state.json").write_text("{")
    with pytest.raises(ModelError, match="state.json is damaged"):
        read_checkpoint(path)
    (tmp_path / "best.json").write_text("[]")
    with pytest.raises(ModelError, match="best.json is damaged"):
        CheckpointFolder(tmp_path, 2).best()
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="is not a folder"):
        CheckpointFolder(tmp_path / "file/x", 2).clean()


SAVING = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_checkpoints import CheckpointFolder, made
folder = CheckpointFolder(Path(sys.argv[1]), 2)
folder.clean()
newest = folder.newest()
step = 0 if newest is None else int(newest.name[5:14])
print("ready", flush=True)
while True:
    step += 1
    folder.mark_if_best(folder.save(made(step, 300_000)), 1.0 / step)
    print(step, flush=True)
"""


@pytest.mark.parametrize("kills", [5, pytest.param(100, marks=pytest.mark.slow)])
def test_no_kill_leaves_a_checkpoint_that_does_not_load(tmp_path: Path, kills: int) -> None:
    """$TMPDIR is on another file system where the machine has one; nothing goes there."""
    folder, temporary = tmp_path / "checkpoints", Path("/dev/shm")
    environment = {**os.environ, "TMPDIR": str(temporary if temporary.is_dir() else tmp_path)}
    draws = random.Random(kills)
    here = str(Path(__file__).parent)
    for _ in range(kills):
        with subprocess.Popen(
            [sys.executable, "-c", SAVING, str(folder), here],
            stdout=subprocess.PIPE, text=True, env=environment,
        ) as process:  # fmt: skip
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            told = int(process.stdout.readline())
            time.sleep(draws.random() * 0.1)
            os.kill(process.pid, signal.SIGKILL)
            told = max([told, *map(int, process.stdout.read().split())])
        whole = sorted(folder.glob("step-*.ckpt"))
        assert all(read_checkpoint(path).step == int(path.name[5:14]) for path in whole)
        assert int(whole[-1].name[5:14]) >= told  # what was said to be saved is saved
    CheckpointFolder(folder, 2).clean()
    assert [name for name in names(folder) if not name.startswith("step-")] == ["best.json"]
