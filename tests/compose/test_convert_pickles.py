"""Checkpoints of transformers with pickles for weights, or without a tokenizer."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from audiocraft_folders import Model, write_audiocraft
from safetensors.torch import load_file
from t5_models import tiny_musicgen
from transformers import MusicgenForConditionalGeneration, T5Config, T5EncoderModel

from antiphon.compose.conversion.convert import convert
from antiphon.compose.loading import LoadOptions, load_musicgen
from antiphon.errors import ConfigError, ModelError, ModelMissingError

pytestmark = pytest.mark.unit


@dataclass
class Tiny:
    folder: Path
    model: Model


@pytest.fixture(scope="module")
def mono(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    folder = tmp_path_factory.mktemp("mono")
    return Tiny(folder, tiny_musicgen(folder))


def states(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def nothing_left(folder: Path) -> bool:
    """Neither a result nor anything on the way to one."""
    return not [path for path in folder.iterdir() if "out" in path.name]


def pickled(tiny: Tiny, folder: Path, *, shards: int = 1) -> Path:
    """The checkpoint as transformers wrote it before safetensors."""
    shutil.copytree(tiny.folder, folder)
    (folder / "model.safetensors").unlink()
    state = dict(tiny.model.state_dict())
    shared = state["text_encoder.shared.weight"]
    state["text_encoder.encoder.embed_tokens.weight"] = shared  # two names of one tensor
    if shards == 1:
        torch.save(state, folder / "pytorch_model.bin")
        return folder
    weight_map = {n: f"pytorch_model-{i % shards}.bin" for i, n in enumerate(state)}
    for file in set(weight_map.values()):
        torch.save({n: v for n, v in state.items() if weight_map[n] == file}, folder / file)
    index = json.dumps({"metadata": {}, "weight_map": weight_map})
    (folder / "pytorch_model.bin.index.json").write_text(index)
    return folder


@pytest.mark.parametrize("shards", [1, 3])
def test_a_musicgen_with_pickles(mono: Tiny, shards: int, tmp_path: Path) -> None:
    source = pickled(mono, tmp_path / "source", shards=shards)
    made = convert(source, tmp_path / "out")
    loaded, info = MusicgenForConditionalGeneration.from_pretrained(
        made.output, output_loading_info=True
    )
    assert not info["missing_keys"]
    kept = mono.model.state_dict()
    assert all(torch.equal(values, kept[n]) for n, values in loaded.state_dict().items())
    assert not list(made.output.glob("*.bin*"))
    assert load_musicgen(made.output, LoadOptions("fp32", 1), tmp_path / "cache")


def test_a_t5_and_an_encodec_with_pickles(mono: Tiny, tmp_path: Path) -> None:
    t5 = T5EncoderModel(
        T5Config(vocab_size=120, d_model=16, d_kv=4, d_ff=8, num_layers=1, num_heads=2)
    )
    for name, model in (("t5", t5), ("encodec", mono.model.audio_encoder)):
        folder = tmp_path / name
        model.config.save_pretrained(folder)
        state = {n: v.to(torch.bfloat16) for n, v in model.state_dict().items()}
        torch.save(state, folder / "pytorch_model.bin")
    (tmp_path / "t5/spiece.model").write_bytes(b"x")
    missing = r"needs a tokenizer.json \(spiece.model is not read\).*google-t5/t5-base"
    with pytest.raises(ModelMissingError, match=missing):
        convert(tmp_path / "t5", tmp_path / "out", models=tmp_path)
    made = convert(tmp_path / "t5", tmp_path / "out", text_encoder=mono.folder)
    assert made.precision == "bf16"
    assert {"tokenizer.json", "spiece.model"} <= set(made.files)
    for name, values in states(made.output).items():
        assert torch.equal(values, t5.state_dict()[name].to(torch.bfloat16)), name
    assert convert(tmp_path / "encodec", tmp_path / "out2").parity.ok


def test_only_the_tokenizer_lacks(mono: Tiny, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing to convert; 'antiphon export'"):
        convert(mono.folder, tmp_path / "out")
    both = write_audiocraft(tmp_path / "both", mono.model)
    shutil.copytree(mono.folder, both, dirs_exist_ok=True)
    with pytest.raises(ConfigError, match="nothing to convert"):
        convert(both, tmp_path / "out")
    source = tmp_path / "source"
    shutil.copytree(mono.folder, source)
    (source / "tokenizer.json").unlink()
    made = convert(source, tmp_path / "out", text_encoder=mono.folder)
    assert states(made.output).keys() == states(mono.folder).keys()


def test_what_is_no_checkpoint(mono: Tiny, tmp_path: Path) -> None:
    source = tmp_path / "source"
    with pytest.raises(ModelError, match="source is no folder"):
        convert(source, tmp_path / "out")
    source.mkdir()
    with pytest.raises(ModelError, match=r"has no config.json"):
        convert(source, tmp_path / "out")
    (source / "config.json").write_text('{"model_type": "musicflamingo"}')
    with pytest.raises(ModelError, match="is a listener, not a composer"):
        convert(source, tmp_path / "out")
    shutil.copy(mono.folder / "config.json", source)
    shutil.copy(mono.folder / "tokenizer.json", source)
    with pytest.raises(ModelError, match=r"has no model.safetensors"):
        convert(source, tmp_path / "out")
    state = mono.model.state_dict()
    del state["decoder.lm_heads.1.weight"]
    torch.save(state, source / "pytorch_model.bin")
    with pytest.raises(ModelError, match="no tensor 'decoder.lm_heads.1.weight'"):
        convert(source, tmp_path / "out")
    (source / "pytorch_model.bin.index.json").write_text('{"weight_map": {"a": "../x.bin"}}')
    with pytest.raises(ModelError, match=r"names '../x.bin'; expected files of the same"):
        convert(source, tmp_path / "out")
    (source / "pytorch_model.bin.index.json").write_text('{"weight_map": {"a": "x.bin"}}')
    with pytest.raises(ModelError, match=r"lacks x.bin"):
        convert(source, tmp_path / "out")
    (source / "pytorch_model.bin.index.json").write_text("[]")
    with pytest.raises(ModelError, match="is no index of weights"):
        convert(source, tmp_path / "out")
    assert nothing_left(tmp_path)
