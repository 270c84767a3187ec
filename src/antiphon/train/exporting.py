"""A trained composer as a checkpoint: MusicGen's layout as transformers has it, the score adapter
in a folder of its own below it, and a card that says what it was made from."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from safetensors.numpy import save
from tokenizers import Tokenizer
from torch import Tensor

from antiphon import __version__
from antiphon.compose.checkpoint import CODEC_PART, read_values
from antiphon.compose.config_values import CONFIG_NAME
from antiphon.compose.score_adapter import write_adapter
from antiphon.compose.text import TOKENIZER_NAME
from antiphon.compose.weights import WEIGHTS_NAME, Float32, Weights, weight_files
from antiphon.data.shards import CodecIdentity
from antiphon.files import atomic_write
from antiphon.train.composer_model import END, PAD, ComposerModel

ADAPTER_NAME = "adapter"
_TEXT_PART, _DECODER_PART, _ADAPTER_PART = "text_encoder.", "decoder.", "adapter."
_TRANSFORMERS_POSITIONS = 2048


def write_composer(
    folder: Path,
    model: ComposerModel,
    weights: Mapping[str, Tensor],
    tokenizer: Tokenizer,
    codec_folder: Path,
) -> None:
    """Write `model` with `weights` (of its state dict) and the codec of `codec_folder`.

    Raises ModelError for a codec that cannot be read, StorageError (DiskFullError).
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = _tensors(model, weights)
    with Weights(weight_files(codec_folder)) as everything:
        inside = any(name.startswith(CODEC_PART) for name in everything)
        codec = everything.below(CODEC_PART) if inside else everything
        tensors |= {f"{CODEC_PART}{name}": codec.read(name) for name in codec}
    atomic_write(folder / WEIGHTS_NAME, save(tensors, metadata={"format": "pt"}))
    values = read_values(codec_folder)
    config = _config(model, dict(values.get("audio_encoder", values)))  # type: ignore[call-overload]
    card = model.musicgen.decoder.card
    generation = {
        "bos_token_id": card,
        "pad_token_id": card,
        "decoder_start_token_id": card,
        "do_sample": True,
        "guidance_scale": 3.0,
        "max_length": 1500,
    }
    for name, content in ((CONFIG_NAME, config), ("generation_config.json", generation)):
        atomic_write(folder / name, f"{json.dumps(content, indent=2)}\n".encode())
    atomic_write(folder / TOKENIZER_NAME, tokenizer.to_str().encode())
    if model.adapter is not None:
        own = {
            name: _array(weights[f"{_ADAPTER_PART}{name}"])
            for name in model.adapter.config.shapes()
        }
        write_adapter(folder / ADAPTER_NAME, model.adapter.config, own)


def write_card(
    folder: Path,
    config_yaml: str,
    codec: CodecIdentity,
    licences: Iterable[str | None],
) -> None:
    """Write README.md: what the model learned from, and under which licences."""
    counted = Counter(licence or "not known" for licence in licences)
    listed = "\n".join(f"| {name} | {count:,} |" for name, count in sorted(counted.items()))
    text = f"""---
library_name: antiphon
tags: [music, musicgen]
---

# A composer trained with antiphon {__version__}

Codec: {codec.name}, {codec.frame_rate} frames a second of {codec.codebooks} codes.

| licence of the clips it learned from | clips |
|---|---|
{listed}

It was trained by:

```yaml
{config_yaml}```
"""
    atomic_write(folder / "README.md", text.encode())


def _tensors(model: ComposerModel, weights: Mapping[str, Tensor]) -> dict[str, Float32]:
    """Under the names of transformers."""
    shapes = model.musicgen.shapes()
    found = {}
    for name in shapes:
        if name.startswith(_TEXT_PART):
            found[name] = _array(weights[name])
    for name, sources in model.decoder.sources().items():
        values = _array(weights[f"{_DECODER_PART}{name}"])
        ends = np.cumsum([shapes[source][0] for source in sources])[:-1]
        parts = np.split(values, ends)
        found |= {
            source: np.ascontiguousarray(part) for source, part in zip(sources, parts, strict=True)
        }
    return found


def _config(model: ComposerModel, codec: dict[str, object]) -> dict[str, object]:
    text, decoder = model.musicgen.text, model.musicgen.decoder
    return {
        "architectures": ["MusicgenForConditionalGeneration"],
        "model_type": "musicgen",
        "text_encoder": {
            "model_type": "t5",
            "vocab_size": text.vocabulary,
            "d_model": text.width,
            "d_kv": text.head_width,
            "d_ff": text.ffn_width,
            "num_layers": text.layers,
            "num_heads": text.heads,
            "feed_forward_proj": "relu",
            "pad_token_id": PAD,
            "eos_token_id": END,
        },
        "audio_encoder": codec,
        "decoder": {
            "model_type": "musicgen_decoder",
            "vocab_size": decoder.card,
            "hidden_size": decoder.width,
            "num_hidden_layers": decoder.layers,
            "num_attention_heads": decoder.heads,
            "ffn_dim": decoder.ffn_width,
            "num_codebooks": decoder.codebooks,
            "audio_channels": decoder.channels,
            "activation_function": "gelu",
            "max_position_embeddings": _TRANSFORMERS_POSITIONS,
            "pad_token_id": decoder.card,
            "bos_token_id": decoder.card,
            "decoder_start_token_id": decoder.card,
        },
        "torch_dtype": "float32",
    }


def _array(tensor: Tensor) -> Float32:
    values: Float32 = tensor.detach().float().cpu().numpy()
    return values
