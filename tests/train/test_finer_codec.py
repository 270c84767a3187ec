"""A codec that begins with another one, from the command line: its codes stay what they are."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from antiphon.cli.main import run
from antiphon.compose.codecs.magnitude import read_codebooks
from antiphon.compose.codecs.magnitude_config import MagnitudeConfig
from antiphon.compose.codecs.opening import open_codec
from antiphon.train.config import CodecConfig, load_config

pytestmark = pytest.mark.integration

SMALL = (
    "model.width=32", "model.encoder_blocks=1", "model.decoder_blocks=1", "model.latent_width=8",
    "model.codebook_size=16", "training.batch_size=2", "training.warmup_steps=5",
    "trainer.accelerator=cpu", "data.manifest=m/manifest.parquet", "data.crop_seconds=0.64",
    "checkpoint.every_steps=20", "log.validate_every_steps=20", "log.validation_batches=1",
)  # fmt: skip
FINER = ("train", "codec", *SMALL, "begin=first", "model.codebooks=6", "experiment_name=finer")


@pytest.fixture
def first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ANTIPHON_CACHE", str(tmp_path / "cache"))
    made = ["data", "synthesize", "--count", "9", "--duration", "3", "--sample-rate", "16000"]
    assert run([*made, "--seed", "1", "--output-dir", "m"]) == 0
    assert run(["train", "codec", *SMALL, "training.max_steps=140"]) == 0
    shutil.copytree("runs/codec/codec", "first")
    return tmp_path


def other(seed: int) -> None:
    """Another codec in the place of the first."""
    more = (f"training.seed={seed}", "training.max_steps=140", "experiment_name=other")
    assert run(["train", "codec", *SMALL, *more]) == 0
    shutil.rmtree("first")
    shutil.copytree("runs/other/codec", "first")


def test_codes_stay_and_more_are_learned(first: Path) -> None:
    assert run([*FINER, "training.max_steps=40"]) == 0
    books = [read_codebooks(Path(place)) for place in ("first", "runs/finer/codec")]
    assert [len(one) for one in books] == [4, 6]
    assert np.array_equal(books[0], books[1][:4])
    sound = np.random.default_rng(0).normal(0, 0.1, (1, 16_000)).astype(np.float32)
    codes = [
        open_codec(Path(place), cache=first / "cache").encode(sound)
        for place in ("first", "runs/finer/codec")
    ]
    assert np.array_equal(codes[0], codes[1][:4])
    assert len(np.unique(codes[1][4:])) > 2


def test_it_needs_the_codec_that_it_began_with(
    first: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*FINER, "training.max_steps=20"]) == 0
    other(3)
    capsys.readouterr()
    assert run(["export", "runs/finer", "--output", "x"]) == 2
    assert "begin is not the one that the run began with" in capsys.readouterr().err
    assert not (first / "x").exists()
    assert run([*FINER, "training.max_steps=20", "--resume", "auto"]) == 2
    assert "begin is not the one that the run began with" in capsys.readouterr().err


@pytest.mark.usefixtures("first")
def test_what_it_cannot_begin_with(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*FINER, "begin=nowhere"]) != 0
    assert "'nowhere' is neither a file, a folder nor a known name" in capsys.readouterr().err
    assert run([*FINER, "model.width=48"]) != 0
    assert "expected one of the same sizes as" in capsys.readouterr().err
    assert run([*FINER, "begin=m"]) != 0
    assert "m has no config.json" in capsys.readouterr().err


def test_the_configs_fit_each_other() -> None:
    configs = [
        load_config(CodecConfig, Path(f"configs/codec/{name}.yaml"), [])
        for name in ("magnitude", "finer")
    ]
    assert configs[0].model == MagnitudeConfig()
    assert configs[1].model == MagnitudeConfig(codebooks=6)
