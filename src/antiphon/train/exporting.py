"""A trained composer as a checkpoint: MusicGen's layout as transformers has it, the score adapter
in a folder of its own below it, and a card that says what it was made from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from antiphon import __version__
from antiphon.compose.checkpoint import CODEC_PART, MusicGenConfig, codec_part, read_values
from antiphon.compose.config_values import CONFIG_NAME
from antiphon.compose.lm import Decoder
from antiphon.compose.loading import ADAPTER_NAME, GENERATION_NAME
from antiphon.compose.score_adapter import AdapterConfig, write_adapter
from antiphon.compose.text import TOKENIZER_NAME, text_part
from antiphon.errors import ModelError
from antiphon.files import atomic_write, replacing, storage_error
from antiphon.models.manifest import licence_of
from antiphon.models.record import read_record
from antiphon.train.base import base_of, text_encoder_of
from antiphon.train.checkpoints import save_tensors
from antiphon.train.composer_model import END, PAD
from antiphon.train.config import ComposerConfig, ComposerModelConfig, to_yaml
from antiphon.train.lora import merged, write_peft
from antiphon.weights import WEIGHTS_NAME, Float32, Weights, weight_files

LORA_NAME = "lora"
_TEXT_PART, _DECODER_PART, _ADAPTER_PART = "text_encoder.", "decoder.", "adapter."


@dataclass(frozen=True, eq=False)
class Trained:
    """A composer as a run has it: `weights` of its trained state, the rest as it was before.

    `tokenizer` is empty where the text encoder is not its own; `codec_folder` holds the codec of
    the codes.
    """

    config: ComposerModelConfig
    musicgen: MusicGenConfig
    adapter: AdapterConfig | None
    weights: Mapping[str, Tensor]
    tokenizer: str
    codec_folder: Path
    longest_frames: int
    """Of the crops it learned from."""
    licence: str | None
    """Of the clips it learned from, where they have one and the same, and there is no base."""


def write_composer(folder: Path, trained: Trained) -> None:
    """Write it as a checkpoint, whole: what LoRA adds is merged, and lies by itself in lora/, too.

    Raises ModelError for a codec or a base that cannot be read, StorageError (DiskFullError).
    """
    folder.mkdir(parents=True, exist_ok=True)
    decoder = _decoder_tensors(trained)
    arrays = _text_tensors(trained) | decoder | _codec_tensors(trained.codec_folder)
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    with replacing(folder / WEIGHTS_NAME) as temporary:
        save_tensors(temporary, tensors)
    for name, content in (
        (CONFIG_NAME, _config(trained)),
        (GENERATION_NAME, _generation(trained)),
    ):
        atomic_write(folder / name, f"{json.dumps(content, indent=2)}\n".encode())
    atomic_write(folder / TOKENIZER_NAME, _tokenizer(trained))
    config = trained.config
    if config.tune == "lora":
        own = _below(trained.weights, _DECODER_PART)
        write_peft(folder / LORA_NAME, config.lora, own, _sources(trained), config.base)
    if trained.adapter is not None:
        layers = _below(trained.weights, _ADAPTER_PART)
        arrays = {name: _array(layers[name]) for name in trained.adapter.shapes()}
        write_adapter(folder / ADAPTER_NAME, trained.adapter, arrays)


def write_card(
    folder: Path,
    config: ComposerConfig,
    codec: str,
    licences: Mapping[str, int],
    metrics: Mapping[str, float],
) -> None:
    """Write README.md: what the model learned from, under which licences, how well; `licences`
    counts clips."""
    listed = "\n".join(f"| {name} | {count:,} |" for name, count in sorted(licences.items()))
    told = "\n".join(f"| {name} | {value:.4g} |" for name, value in metrics.items())
    judged = f"""
On clips that it did not learn from, losses in nats a code:

| | |
|---|---|
{told}
"""
    base = _base_of_card(config)
    text = f"""---
library_name: antiphon
tags: [music, musicgen]
{f"base_model: {base[0]}" if base else ""}
---

# A composer trained with antiphon {__version__}

{f"It began as {base[0]}, whose licence ({base[1]}) holds for it, too." if base else ""}

Codec: {codec}.

| licence of the clips it learned from | clips |
|---|---|
{listed}
{judged if metrics else ""}
It was trained by:

```yaml
{to_yaml(config)}```
"""
    atomic_write(folder / "README.md", text.encode())


def _base_of_card(config: ComposerConfig) -> tuple[str, str] | None:
    """The name of a base and its licence, as far as they are known."""
    base = base_of(config.model)
    if base is None:
        return None
    record = read_record(base[0])
    repo = record.repo if record else None
    return repo or base[0].resolve().name, licence_of(repo) or "not known here"


def _generation(trained: Trained) -> dict[str, object]:
    """What generation_config.json says: a base's own, or MusicGen's."""
    card = trained.musicgen.decoder.card
    values: dict[str, object] = {"do_sample": True, "guidance_scale": 3.0}
    values["max_length"] = trained.longest_frames
    base = base_of(trained.config)
    path = None if base is None else base[0] / GENERATION_NAME
    if path is not None and path.is_file():
        try:
            values = dict(json.loads(path.read_bytes()))
        except (OSError, ValueError, TypeError) as error:
            raise ModelError(f"{path} is damaged: {error}; fetch the checkpoint again") from error
    starts = dict.fromkeys(("bos_token_id", "pad_token_id", "decoder_start_token_id"), card)
    return {**starts, **values}


def _decoder_tensors(trained: Trained) -> dict[str, Float32]:
    """Under the names of transformers."""
    own = _below(trained.weights, _DECODER_PART)
    base = base_of(trained.config)
    shapes = trained.musicgen.shapes()
    found: dict[str, Float32] = {}
    with ExitStack() as stack:
        begun = None
        if base is not None and trained.config.tune != "all":
            begun = stack.enter_context(Weights(weight_files(base[0])))
        for name, sources in _sources(trained).items():
            if begun is None:
                values = _array(own[name])
            else:
                values = np.concatenate([begun.read(source) for source in sources])
                values = merged(name, values, own, trained.config.lora)
            ends = np.cumsum([shapes[source][0] for source in sources])[:-1]
            parts = map(np.ascontiguousarray, np.split(values, ends))
            found |= dict(zip(sources, parts, strict=True))
    return found


def _sources(trained: Trained) -> dict[str, tuple[str, ...]]:
    with torch.device("meta"):
        return Decoder(trained.musicgen).sources()


def _text_tensors(trained: Trained) -> dict[str, Float32]:
    if trained.config.trains_text:
        own = _below(trained.weights, _TEXT_PART)
        names = trained.musicgen.text.shapes()
        return {f"{_TEXT_PART}{name}": _array(own[name]) for name in names}
    folder, config = text_encoder_of(trained.config)
    with Weights(weight_files(folder)) as weights:
        part = text_part(weights)
        return {f"{_TEXT_PART}{name}": part.read(name) for name in config.shapes()}


def _codec_tensors(folder: Path) -> dict[str, Float32]:
    with Weights(weight_files(folder)) as everything:
        codec = codec_part(everything)
        return {f"{CODEC_PART}{name}": codec.read(name) for name in codec}


def _tokenizer(trained: Trained) -> bytes:
    if trained.config.trains_text:
        return trained.tokenizer.encode()
    place = text_encoder_of(trained.config)[0] / TOKENIZER_NAME
    try:
        return place.read_bytes()
    except OSError as error:
        raise storage_error("read", place, error) from error


def _config(trained: Trained) -> dict[str, object]:
    """What config.json says: a base's own, or one of ours."""
    decoder = trained.musicgen.decoder
    codec = read_values(trained.codec_folder)
    start = {"decoder_start_token_id": decoder.card}
    base = base_of(trained.config)
    if base is not None:
        values = read_values(base[0])
        own = {**_part(values, "decoder"), **start}
        return {**values, "audio_encoder": _part(codec, "audio_encoder"), "decoder": own}
    return {
        "architectures": ["MusicgenForConditionalGeneration"],
        "model_type": "musicgen",
        "text_encoder": _text_values(trained),
        "audio_encoder": _part(codec, "audio_encoder"),
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
            "max_position_embeddings": decoder.max_positions,
            "pad_token_id": decoder.card,
            "bos_token_id": decoder.card,
            **start,
        },
        "torch_dtype": "float32",
        **({} if trained.licence is None else {"licence": trained.licence}),
    }


def _text_values(trained: Trained) -> dict[str, object]:
    if not trained.config.trains_text:
        return _part(read_values(text_encoder_of(trained.config)[0]), "text_encoder")
    text = trained.musicgen.text
    return {
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
    }


def _part(values: dict[str, object], name: str) -> dict[str, object]:
    """Of a MusicGen's config, or the whole of one that is only this part's."""
    part = values.get(name, values)
    return dict(part) if isinstance(part, dict) else {}


def _below(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    start = len(prefix)
    return {name[start:]: value for name, value in weights.items() if name.startswith(prefix)}


def _array(tensor: Tensor) -> Float32:
    values: Float32 = tensor.detach().float().cpu().numpy()
    return values
