"""Two processes learn what one learns of twice the batch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[1] / "compose"))

from t5_models import tiny_musicgen

from antiphon import settings
from antiphon.data.preprocessing import checksum_of
from antiphon.data.shards import CodecIdentity, CodedClip, write_shard

pytestmark = pytest.mark.integration

TINY = (
    "trainer.accelerator=cpu", "trainer.precision=fp32", "trainer.threads=1",
    "training.max_steps=8", "training.warmup_steps=2", "model.dropout=0", "model.hidden_size=48",
    "model.layers=2", "model.heads=4", "model.ffn_size=96", "model.text_width=32",
    "model.text_layers=1", "model.text_heads=2", "model.text_ffn_size=64", "model.vocabulary=300",
    "log.every_steps=1", "data.lengths=[0.5]",
)  # fmt: skip


def test_two_processes_learn_what_one_does(tmp_path: Path) -> None:
    tiny_musicgen(tmp_path / "codec")
    checksum = checksum_of(tmp_path / "codec", settings.load().cache / "graphs")
    identity = CodecIdentity(checksum, "tiny", 32_000, 1, 50, 4, 64)
    draws = np.random.default_rng(0)
    clips = [
        CodedClip(str(n), "train", draws.integers(0, 64, (4, 40), np.uint16), f"piece {n}")
        for n in range(20)
    ]
    (tmp_path / "codes").mkdir()
    write_shard(tmp_path / "codes/codes-00000.parquet", identity, clips)
    found = []
    for devices, batch in ((1, 4), (2, 2)):
        name = f"devices{devices}"
        more = (
            f"trainer.devices={devices}", f"training.batch_size={batch}", "data.codes=codes",
            "data.codec=codec", f"experiment_name={name}",
        )  # fmt: skip
        command = [sys.executable, "-m", "antiphon", "train", "composer", *TINY, *more]
        result = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=240
        )
        assert result.returncode == 0, result.stderr
        assert result.stdout == f"runs/{name}/composer\n"
        output = tmp_path / "runs" / name
        lines = map(json.loads, (output / "metrics.jsonl").read_text().splitlines())
        found.append([line["losses"]["total"] for line in lines if "losses" in line])
    assert len(found[0]) == len(found[1]) == 8
    np.testing.assert_allclose(found[0], found[1], rtol=0, atol=1e-5)
