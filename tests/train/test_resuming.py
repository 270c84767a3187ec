"""Runs that are killed and go on: the same losses and the same weights, and no checkpoint lost."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from antiphon.data.running import RunOptions
from antiphon.data.synthesizing import Recipe, synthesize
from antiphon.train.checkpoints import read_checkpoint

pytestmark = pytest.mark.integration

STEPS = 150  # the quantiser starts after 110
TINY = (
    "trainer.accelerator=cpu", "trainer.precision=32-true", "trainer.threads=1",
    "model.width=32", "model.encoder_blocks=1", "model.decoder_blocks=1", "model.codebook_size=16",
    "model.latent_width=16", "training.batch_size=2", "data.crop_seconds=0.64",
    f"training.max_steps={STEPS}", "training.ema_decay=0.9", "log.every_steps=1",
    "log.validate_every_steps=50", "log.validation_batches=2", "checkpoint.every_steps=7",
)  # fmt: skip


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    recipe = Recipe(12, seed=7, seconds=3.0, sample_rate=16_000)  # two for validation
    assert not synthesize(recipe, folder, RunOptions(1)).failures
    return folder / "manifest.parquet"


def command(manifest: Path, name: str, *more: str) -> list[str]:
    program = [sys.executable, "-m", "antiphon", "train", "codec"]
    return [*program, *TINY, f"data.manifest={manifest}", f"experiment_name={name}", *more]


@pytest.fixture(scope="module")
def whole(manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of a run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    subprocess.run(command(manifest, "whole"), cwd=folder, check=True, capture_output=True)
    return folder / "runs/whole"


def losses(output: Path) -> dict[int, object]:
    found = {}
    for line in (output / "metrics.jsonl").read_text().splitlines():
        entry = json.loads(line)
        if "losses" in entry:
            assert entry["step"] not in found, "a step is logged once"
            found[entry["step"]] = entry["losses"]
    return found


def steps_of(output: Path) -> int:
    path = output / "metrics.jsonl"
    return path.read_text().count('"losses"') if path.exists() else 0


def same(one: Path, other: Path) -> bool:
    newest = f"checkpoints/step-{STEPS:09}.ckpt"
    names = ("model", "optimizer", "average")
    return all(
        (one / newest / f"{name}.safetensors").read_bytes()
        == (other / newest / f"{name}.safetensors").read_bytes()
        for name in names
    )


def interrupted(manifest: Path, folder: Path, kills: int, seed: int) -> Path:
    """A run that was killed so often at random moments, and went on to its end."""
    draws = random.Random(seed)
    output = folder / "runs/torn"
    moments = sorted(draws.sample(range(5, STEPS - 5), kills))
    for moment in moments:
        with subprocess.Popen(
            command(manifest, "torn", "--resume", "auto"), cwd=folder, stderr=subprocess.DEVNULL
        ) as process:
            while steps_of(output) < moment:
                assert process.poll() is None
                time.sleep(0.002)
            time.sleep(draws.random() * 0.05)  # also within a save
            process.kill()
        for path in (output / "checkpoints").glob("step-*.ckpt"):
            read_checkpoint(path)
    subprocess.run(
        command(manifest, "torn", "--resume", "auto"), cwd=folder, check=True, capture_output=True
    )
    assert not [path for path in (output / "checkpoints").iterdir() if path.name[0] == "."]
    return output


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_a_run_that_is_killed_ends_with_the_same_weights(
    manifest: Path, whole: Path, tmp_path: Path, kills: int
) -> None:
    torn = interrupted(manifest, tmp_path, kills, seed=kills)
    assert losses(torn) == losses(whole)
    # Not one of before there was a quantiser, without which the loss is lower.
    best = json.loads((whole / "checkpoints/best.json").read_text())
    assert best["checkpoint"] == f"step-{STEPS:09}.ckpt"
    assert set(losses(whole)) == set(range(1, STEPS + 1))
    assert same(torn, whole)
    one, other = (load_file(path / "codec/model.safetensors") for path in (torn, whole))
    assert all((one[name] == other[name]).all() for name in one)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_run_that_is_asked_to_stop_saves_first(
    manifest: Path, whole: Path, tmp_path: Path, number: int, code: int
) -> None:
    output = tmp_path / "runs/torn"
    with subprocess.Popen(
        command(manifest, "torn"), cwd=tmp_path, stderr=subprocess.PIPE, text=True
    ) as process:
        while steps_of(output) < 10:
            assert process.poll() is None
            time.sleep(0.002)
        os.kill(process.pid, number)
        _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert "saving; once more to stop at once" in err
    done = steps_of(output)
    assert (output / f"checkpoints/step-{done:09}.ckpt").is_dir()
    refused = subprocess.run(
        command(manifest, "torn"), cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert refused.returncode == 2
    assert "holds a run already; expected --resume auto" in refused.stderr
    subprocess.run(command(manifest, "torn", "--resume", "auto"), cwd=tmp_path, check=True)
    assert same(output, whole)
