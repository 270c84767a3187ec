"""`antiphon train` as a user types it; the runs themselves are in tests/train."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
import torch
import yaml

from antiphon.audio import read
from antiphon.cli import train as command
from antiphon.cli.main import run

pytestmark = pytest.mark.integration

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("path", sorted(CONFIGS.rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_config_is_understood(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kind = path.parent.name if path.parent.name in ("codec", "listener") else "composer"
    assert run(["train", kind, "--config", str(path), "--print-config"]) == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    own = yaml.safe_load(path.read_text())
    assert own["training"].items() <= printed["training"].items()
    # What is printed is a config that says the same.
    Path("again.yaml").write_text(yaml.safe_dump(printed))
    assert run(["train", kind, "--config", "again.yaml", "--print-config"]) == 0
    assert yaml.safe_load(capsys.readouterr().out) == printed


def test_configs_are_composed(capsys: pytest.CaptureFixture[str]) -> None:
    Path("configs/model").mkdir(parents=True)
    Path("configs/runs").mkdir()
    Path("configs/model/tiny.yaml").write_text("hidden_size: 64\nheads: 2\n")
    Path("configs/model/wide.yaml").write_text("hidden_size: 512\n")
    Path("configs/runs/mine.yaml").write_text(
        "defaults: [/model: tiny, _self_]\nexperiment_name: mine\ntraining: {batch_size: 3}\n"
    )
    arguments = ["train", "composer", "--config", "configs/runs/mine.yaml", "--print-config"]
    assert run([*arguments, "training.max_steps=7", "+training.seed=5"]) == 0
    found = yaml.safe_load(capsys.readouterr().out)
    assert found["output_dir"] == "runs/mine"
    assert found["model"]["hidden_size"] == 64
    assert found["training"]["batch_size"] == 3
    assert (found["training"]["max_steps"], found["training"]["seed"]) == (7, 5)
    assert run([*arguments, "model=wide", "~training.batch_size"]) == 0
    found = yaml.safe_load(capsys.readouterr().out)
    assert (found["model"]["hidden_size"], found["model"]["heads"]) == (512, 8)
    assert found["training"]["batch_size"] == 16


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["training.max_step=5"], "'training.max_step' is not known (did you mean 'max_steps'"),
        (["+model.hiden_size=5"], "'hiden_size' is not known (did you mean 'hidden_size'"),
        (["trainig.seed=5"], "'trainig.seed' is not known (did you mean 'training'"),
        (["training.max_steps=x"], "training.max_steps: Input should be a valid integer"),
        (["trainer.precision=int3"], "trainer.precision: Input should be"),
        (["a=["], "the configuration is not understood"),
        (["--config", "none.yaml"], "there is no config 'none.yaml'; expected a YAML file"),
        (["--config", "bad.yaml"], "the configuration is not understood"),
        (["--config", "list.yaml"], "the configuration is not understood"),
    ],
)
def test_what_no_config_says(
    capsys: pytest.CaptureFixture[str], arguments: list[str], match: str
) -> None:
    Path("bad.yaml").write_text("training: {max_steps: 3\n")
    Path("list.yaml").write_text("- a\n- b\n")
    assert run(["train", "composer", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert match in error
    assert error.count("\n") == 1
    assert not Path("runs").exists()


def test_it_has_a_short_name(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["/x/music-gen-train", "--print-config", "model.layers=2"])
    assert run() == 0
    assert yaml.safe_load(capsys.readouterr().out)["model"]["layers"] == 2
    monkeypatch.setattr(sys, "argv", ["music-gen-train", "--log-level", "info", "--nonsense"])
    assert run() == 2
    assert "'music-gen-train train composer --help' tells more" in capsys.readouterr().err


def test_without_its_packages_it_says_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert run(["train", "codec"]) == 1
    assert "pip install 'antiphon[train]'" in capsys.readouterr().err
    assert command.train.info.name == "train"


def test_how_large_it_would_be(capsys: pytest.CaptureFixture[str]) -> None:
    made = ["data", "synthesize", "--count", "4", "--duration", "3", "--sample-rate", "16000"]
    assert run([*made, "--seed", "1", "--output-dir", "m"]) == 0
    capsys.readouterr()
    size = ["model.width=32", "model.encoder_blocks=1", "model.decoder_blocks=1"]
    arguments = ["train", "codec", "--dry-run", "data.manifest=m/manifest.parquet", *size]
    assert run([*arguments, "training.max_steps=300", "training.batch_size=2"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["steps"] == 300
    assert told["parameters"] > 10_000
    assert told["hours"] == pytest.approx(told["seconds_per_step"] * 300 / 3600, abs=1e-3)
    assert not Path("runs/codec/checkpoints").exists()


def test_how_large_the_full_size_system_is(capsys: pytest.CaptureFixture[str]) -> None:
    """Without its data, which nobody has yet."""
    config = str(CONFIGS / "training/default.yaml")
    assert run(["train", "composer", "--config", config, "--dry-run", "trainer.threads=2"]) == 0
    said = capsys.readouterr()
    told = json.loads(said.out)
    assert told["parameters"] == pytest.approx(420e6, rel=0.01)
    # In float32: weights, gradients, two moments and a moving average, and what is computed.
    assert told["memory_mb"] > 5 * 4 * 420
    assert told["steps"] == 200_000
    assert told["measured_share"] < 1
    assert "the rest is taken to cost as much" in said.err
    assert not Path("runs").exists()


def test_configs_come_with_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["train", "composer", "--config", "configs/composer/small.yaml", "--print-config"]
    assert run(arguments) == 0
    assert yaml.safe_load(capsys.readouterr().out)["training"]["max_steps"] == 5200


def test_a_config_in_latin_1(capsys: pytest.CaptureFixture[str]) -> None:
    Path("l.yaml").write_bytes("experiment_name: caf\xe9\n".encode("latin-1"))
    assert run(["train", "composer", "--config", "l.yaml", "--print-config"]) == 2
    assert "l.yaml is not UTF-8" in capsys.readouterr().err


def test_a_device_that_is_not_here(codes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if torch.cuda.is_available():
        pytest.skip("it is here")
    assert run(["train", "composer", *SMALL, "trainer.accelerator=cuda"]) == 2
    assert "trainer.accelerator is cuda, and this torch finds no" in capsys.readouterr().err


def test_a_codec_needs_steps_until_it_quantises(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "synthesize", "--count", "9", "--duration", "4", "--output-dir", "m"]) == 0
    few = ["training.batch_size=1", "data.manifest=m/manifest.parquet", "--dry-run"]
    # 8 latents for each of 1024 entries, 32 latents a step, after 110 steps.
    assert run(["train", "codec", *few, "training.max_steps=365"]) == 2
    assert "max_steps is 365; expected more than 365: the" in capsys.readouterr().err
    assert run(["train", "codec", *few, "training.max_steps=366"]) == 0


def test_what_a_dry_run_must_know(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "composer", "--dry-run"]) == 2
    assert "expected data.codes=DIR, or model.codebooks" in capsys.readouterr().err


@pytest.fixture
def codes(capsys: pytest.CaptureFixture[str]) -> Path:
    """Of a few pieces, by the codec in the package."""
    made = ["data", "synthesize", "--count", "9", "--duration", "4", "--output-dir", "m"]
    assert run(made) == 0
    assert run(["data", "preprocess", "m/manifest.parquet", "--output-dir", "codes"]) == 0
    capsys.readouterr()
    return Path("codes")


SMALL = (
    "trainer.accelerator=cpu", "trainer.precision=32-true", "trainer.threads=1",
    "model.hidden_size=32", "model.layers=1", "model.heads=2", "model.ffn_size=64",
    "model.text_width=16", "model.text_heads=2", "model.text_layers=1", "model.text_ffn_size=32",
    "model.vocabulary=200", "data.codes=codes", "training.max_steps=3", "training.batch_size=2",
    "data.lengths=[2.0]",
)  # fmt: skip


def test_a_batch_that_does_not_fit(codes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "composer", *SMALL, "training.batch_size=1000000"]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    found = re.fullmatch(
        r"error: training.batch_size=1000000 needs about (\S+) GB, and (\S+) GB are free; "
        r"expected training.batch_size=(\d+) or less \(with training.accumulate=(\d+) a step sees "
        r"as much\), "
        r"or model.gradient_checkpointing=true, where it is not set",
        error,
    )
    assert found, error
    needed, free, fits = float(found[1]), float(found[2]), int(found[3])
    assert fits == pytest.approx(1e6 * free / needed, rel=0.05)
    assert not Path("runs/composer/checkpoints").exists() or not any(
        Path("runs/composer/checkpoints").glob("step-*")
    )


def test_a_trace_of_its_steps(codes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["profile", "composer", *SMALL, "--steps", "2", "--output", "t.json"]) == 0
    said = capsys.readouterr()
    assert said.out == "t.json\n"
    assert "aten::" in said.err
    names = [event.get("name") for event in json.loads(Path("t.json").read_text())["traceEvents"]]
    for part in ("batch", "forward", "backward", "optimizer"):
        assert names.count(part) == 2
    assert not Path("runs").exists()


def test_samples_lie_beside_the_page(codes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = ("log.samples_every_steps=2", "log.samples=1", "experiment_name=heard")
    assert run(["train", "composer", *SMALL, *more]) == 0
    output = Path("runs/heard")
    page = (output / "report.html").read_text()
    for step in (2, 3):  # each second step, and the last
        assert read(output / f"samples/step-{step:09}/0.flac").waveform.duration_seconds > 3.9
        assert f'src="samples/step-{step:09}/0.flac"' in page
    assert "bpm:" in page  # what was asked for stands beside it
