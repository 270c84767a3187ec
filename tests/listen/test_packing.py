"""A trained listener in 8 bits and back: what it hears, how large it is, who it belongs to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from toy_listener import CONFIG, write_toy

from antiphon.cli.main import run
from antiphon.errors import ConfigError
from antiphon.listen.heads import HEADS, read_heads
from antiphon.listen.packing import repack
from antiphon.listen.tagger import Tagger
from antiphon.weights import WEIGHTS_NAME

pytestmark = pytest.mark.unit


def packed(folder: Path, output: Path, precision: str) -> Path:
    output.mkdir()
    repack(folder, output, precision)
    return output


def test_there_and_back(tmp_path: Path) -> None:
    toy = write_toy(tmp_path / "toy")
    small = packed(toy, tmp_path / "small", "8bit")
    full = packed(small, tmp_path / "full", "fp32")
    before, after = load_file(toy / WEIGHTS_NAME), load_file(full / WEIGHTS_NAME)
    assert before.keys() == after.keys()
    for name, values in before.items():
        rows = np.abs(values.reshape(len(values), -1)).max(1)
        # Half a step of each row at most.
        difference = np.abs(after[name] - values).reshape(len(values), -1)
        assert (difference <= rows[:, None] / 254 + 1e-7).all(), name
    sizes = [(folder / WEIGHTS_NAME).stat().st_size for folder in (toy, small)]
    assert sizes[1] < 0.4 * sizes[0]
    assert len({read_heads(folder).encoder for folder in (toy, small, full)}) == 3
    mels = np.random.default_rng(0).normal(-0.3, 0.4, (400, 128)).astype(np.float32)
    heard, again = Tagger(small).of_mels(mels), Tagger(full).of_mels(mels)
    for name in HEADS:
        assert np.abs(heard[name] - again[name]).max() < 1e-4


def test_half_precision_is_what_transformers_loads(tmp_path: Path) -> None:
    import torch
    from transformers.models.audioflamingo3.modeling_audioflamingo3 import AudioFlamingo3Encoder

    half = packed(write_toy(tmp_path / "toy"), tmp_path / "half", "fp16")
    encoder, told = AudioFlamingo3Encoder.from_pretrained(
        half, output_loading_info=True, dtype=torch.float16
    )
    assert not any(told.values())
    assert encoder.config.hidden_size == CONFIG.hidden_size


def test_other_precisions(tmp_path: Path) -> None:
    toy = write_toy(tmp_path / "toy")
    with pytest.raises(ConfigError, match="4bit.*expected for a listener one of fp32, fp16, 8bit"):
        packed(toy, tmp_path / "small", "4bit")


def test_as_a_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    toy, small = write_toy(tmp_path / "a toy"), tmp_path / "small"
    assert run(["export", str(toy), "--precision", "8bit", "--output", str(small)]) == 0
    assert capsys.readouterr().out.strip() == str(small)
    assert Tagger(small).heads.classes == HEADS
    assert run(["export", str(toy), "--output", str(small)]) == 2
    assert "not empty" in capsys.readouterr().err
    assert run(["export", str(toy), "--format", "onnx", "--output", str(tmp_path / "x")]) == 2
    assert "is a listener, which comes in transformers' layout" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
