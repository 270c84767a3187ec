"""Exported folders as checkpoints again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from t5_models import tiny_musicgen
from transformers import MusicgenForConditionalGeneration, MusicgenMelodyForConditionalGeneration

from antiphon.compose.conversion.export import TOLERANCES, export
from antiphon.compose.loading import LoadOptions, load_musicgen
from antiphon.errors import ConfigError, ModelError

pytestmark = pytest.mark.unit


KINDS: dict[str, dict[str, Any]] = {
    "mono": {},
    "stereo": {"stereo": True},
    "melody": {"melody": True},
    "heads that the cache fills up": {"width": 48},  # 12 channels each, and it takes multiples of 8
    "gated text encoder": {"feed_forward": "gated-gelu"},
    "more codebooks in the codec than in use": {"codec_kbps": 2.4},
    "stored in fp16": {"dtype": torch.float16},
}


@pytest.mark.parametrize("kind", KINDS)
def test_full_precision_comes_back_bit_for_bit(kind: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    tiny_musicgen(source, **KINDS[kind])
    graphs = export(source, tmp_path / "graphs", precision="fp32", threads=1).output
    made = export(graphs, tmp_path / "back", format="transformers", threads=1)
    assert made.parity.max_difference == 0.0
    assert made.notes == ()
    old, new = (load_file(p / "model.safetensors") for p in (source, made.output))
    old.pop("text_encoder.encoder.embed_tokens.weight", None)  # text_encoder.shared once more
    assert set(old) == set(new)
    for name, values in old.items():
        if ".parametrizations." in name:
            # In fp16 the gain is not quite the length of the direction: the weight is both.
            rounded = 1e-3 if kind == "stored in fp16" else 0
            np.testing.assert_allclose(new[name], values, rtol=rounded, atol=1e-6)
        else:
            np.testing.assert_array_equal(new[name], values, err_msg=name)
    text, melody = MusicgenForConditionalGeneration, MusicgenMelodyForConditionalGeneration
    model = melody if kind == "melody" else text
    _, info = model.from_pretrained(made.output, output_loading_info=True)
    assert not any(info.values())
    codes = np.random.default_rng(0).integers(0, 64, (8 if kind == "stereo" else 4, 20))
    sounds = [
        load_musicgen(p, LoadOptions("fp32", 1), tmp_path / "cache").codec.decode(codes)
        for p in (source, made.output)
    ]
    np.testing.assert_allclose(sounds[1], sounds[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("precision", ["8bit", "4bit"])
def test_quantised_graphs_come_back_near(precision: str, tmp_path: Path) -> None:
    tiny_musicgen(tmp_path / "source")
    graphs = export(tmp_path / "source", tmp_path / "g", precision=precision, threads=1).output
    made = export(graphs, tmp_path / "back", format="transformers", threads=1)
    assert 0 < made.parity.max_difference <= made.parity.tolerance == TOLERANCES[precision]
    assert "dequantised; the scales of their 8-bit cache stay" in made.notes[0]


def test_what_cannot_be_read(tmp_path: Path) -> None:
    tiny_musicgen(tmp_path / "source")
    graphs = export(tmp_path / "source", tmp_path / "g", precision="fp32", threads=1).output

    def refused(match: str) -> None:
        with pytest.raises(ModelError, match=match):
            export(graphs, tmp_path / "back", format="transformers", threads=1)
        assert not (tmp_path / "back").exists()

    with pytest.raises(ConfigError, match="already, at fp32; expected --format transformers"):
        export(graphs, tmp_path / "back")
    weights, graph = graphs / "decoder/step.weights", graphs / "decoder/step.onnx"
    data, model = weights.read_bytes(), graph.read_bytes()
    weights.write_bytes(data[:-5000])
    refused(r"step.weights has \d+ bytes; expected \d+ or more for 'decoder.*cut short")
    weights.write_bytes(data)
    graph.write_bytes(b"no graph")
    refused(r"step.onnx is no ONNX graph")
    graph.write_bytes((graphs / "decoder/condition.onnx").read_bytes())
    refused(r"hold no tensor 'decoder.*expected graphs that 'antiphon export' wrote")
    graph.write_bytes(model)
    told = json.loads((graphs / "antiphon.json").read_text())
    (graphs / "antiphon.json").write_text(json.dumps(told | {"graph_format": 5}))
    refused("holds graphs of the format 5, .*export the checkpoint again")
