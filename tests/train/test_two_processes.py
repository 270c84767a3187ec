"""Two processes learn what one learns of twice the batch."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[1] / "compose"))

from t5_models import tiny_musicgen

from antiphon import settings
from antiphon.data.preprocessing import codec_checksum
from antiphon.data.shards import CodecIdentity, CodedClip, write_shard

pytestmark = pytest.mark.integration

TINY = (
    "trainer.accelerator=cpu", "trainer.precision=32-true", "trainer.threads=1",
    "training.max_steps=8", "training.warmup_steps=2", "model.dropout=0", "model.hidden_size=48",
    "model.layers=2", "model.heads=4", "model.ffn_size=96", "model.text_width=32",
    "model.text_layers=1", "model.text_heads=2", "model.text_ffn_size=64", "model.vocabulary=300",
    "log.every_steps=1", "data.lengths=[0.5]",
)  # fmt: skip


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    data_of(folder)
    return folder


def data_of(folder: Path) -> None:
    """Codes of clips of all lengths, and their codec, in a folder."""
    tiny_musicgen(folder / "codec")
    checksum = codec_checksum(folder / "codec", settings.load().cache / "graphs")
    identity = CodecIdentity(checksum, "tiny", 32_000, 1, 50, 4, 64)
    draws = np.random.default_rng(0)
    clips = [
        CodedClip(str(n), "train", draws.integers(0, 64, (4, 3 + 2 * n), np.uint16), f"piece {n}")
        for n in range(20)
    ]
    (folder / "codes").mkdir()
    write_shard(folder / "codes/codes-00000.parquet", identity, clips)


def command(name: str, *more: str) -> list[str]:
    program = [sys.executable, "-m", "antiphon", "train", "composer", *TINY]
    return [*program, "data.codes=codes", "data.codec=codec", f"experiment_name={name}", *more]


def done(here: Path, name: str, *more: str) -> list[float]:
    """The losses of a run."""
    result = subprocess.run(
        command(name, *more), cwd=here, capture_output=True, text=True, check=False, timeout=240
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"runs/{name}/composer\n"
    return losses(here / "runs" / name)


def losses(output: Path) -> list[float]:
    lines = map(json.loads, (output / "metrics.jsonl").read_text().splitlines())
    return [line["losses"]["total"] for line in lines if "losses" in line]


@pytest.fixture(scope="module")
def alone(here: Path) -> list[float]:
    return done(here, "alone", "training.batch_size=4")


def test_two_processes_learn_what_one_does(here: Path, alone: list[float]) -> None:
    two = done(here, "two", "training.batch_size=2", "trainer.devices=2")
    assert len(alone) == len(two) == 8
    np.testing.assert_allclose(two, alone, rtol=0, atol=1e-5)


def test_parts_of_a_step_are_the_step(here: Path) -> None:
    # All clips in each step, whole: in whichever order they come.
    more = ("data.lengths=[1.0]", "data.text_dropout=0")
    whole = done(here, "whole", *more, "training.batch_size=20")
    parts = done(here, "parts", *more, "training.batch_size=10", "training.accumulate=2")
    np.testing.assert_allclose(parts, whole, rtol=0, atol=1e-5)


def test_two_nodes_learn_what_one_does(here: Path, alone: list[float]) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    more = ("trainer.nodes=2", "training.batch_size=2")
    nodes = [
        subprocess.Popen(
            command("nodes", *more),
            cwd=here,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ
            | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "NODE_RANK": str(rank)},
        )
        for rank in range(2)
    ]
    for node in nodes:
        _, error = node.communicate(timeout=240)
        assert node.returncode == 0, error
    np.testing.assert_allclose(losses(here / "runs/nodes"), alone, rtol=0, atol=1e-5)
