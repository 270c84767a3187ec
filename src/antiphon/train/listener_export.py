"""A trained listener as a folder: the encoder as transformers has it, the heads beside it, and the
other way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from antiphon import __version__
from antiphon.data.manifest import Clip
from antiphon.errors import ConfigError
from antiphon.files import atomic_write, replacing
from antiphon.listen.heads import (
    CONFIG_NAME,
    HEAD_WEIGHTS_NAME,
    HEADS,
    read_heads,
    write_heads,
)
from antiphon.listen.mel import WINDOW_SECONDS
from antiphon.listen.tagger_graph import (
    POSITIONS_NAME,
    EncoderConfig,
    encoder_config_json,
    positions,
    read_encoder_config,
)
from antiphon.models.finding import find
from antiphon.models.record import sha256_of
from antiphon.train.checkpoints import save_tensors
from antiphon.train.config import ListenerConfig, ListenerModelConfig, to_yaml
from antiphon.train.listener_model import ListenerModel
from antiphon.weights import WEIGHTS_NAME, Weights, weight_files

_ENCODER, _HEADS = "encoder.", "heads."


def resolved_listener(model: ListenerModelConfig) -> ListenerModelConfig:
    """The config with the sizes of its base, if it has one.

    Raises ModelMissingError for a base that is not here, ModelError for one that is no listener.
    """
    if not model.base:
        return model
    found = read_encoder_config(find(model.base))
    return replace(
        model,
        width=found.hidden_size,
        layers=found.num_hidden_layers,
        heads=found.num_attention_heads,
        ffn_width=found.intermediate_size,
    )


def load_into(model: ListenerModel, base: str) -> None:
    """Give a model the weights of a base. Raises ModelError for one that is damaged."""
    folder = find(base)
    read_heads(folder)
    state = model.state_dict()
    with (
        Weights(weight_files(folder)) as encoder,
        Weights((folder / HEAD_WEIGHTS_NAME,)) as heads,
    ):
        for name, tensor in state.items():
            part, prefix = (encoder, _ENCODER) if name.startswith(_ENCODER) else (heads, _HEADS)
            short = name.removeprefix(prefix)
            part.require({short: tuple(tensor.shape)})
            state[name] = torch.from_numpy(part.read(short))
    model.load_state_dict(state)


def encoder_hash(model: ListenerModelConfig) -> str:
    """Of the encoder of the base; empty where there is none."""
    return sha256_of(find(model.base) / WEIGHTS_NAME) if model.base else ""


def write_listener(
    folder: Path, config: ListenerConfig, weights: Mapping[str, Tensor], kept: Mapping[str, str]
) -> None:
    """Write what a run trained, as its checkpoints have it: a folder that transformers'
    AudioFlamingo3Encoder and `Tagger` load; calibrated as its base is.

    Raises ConfigError where the base is another one than the run began as, ModelError for a base
    that cannot be read, StorageError (DiskFullError).
    """
    model = ListenerModel(config.model, config.training.seed)
    if config.model.base:
        if encoder_hash(config.model) != kept["encoder"]:
            raise ConfigError(
                f"model.base, {config.model.base}, is another listener than the run began as; "
                "expected the same one at that place"
            )
        load_into(model, config.model.base)
    model.load_state_dict({**model.state_dict(), **weights})
    tensors = {name: tensor.detach().float() for name, tensor in model.state_dict().items()}
    encoder = {POSITIONS_NAME: torch.from_numpy(positions(config.model.width))}
    for file, part, prefix in (
        (WEIGHTS_NAME, encoder, _ENCODER),
        (HEAD_WEIGHTS_NAME, {}, _HEADS),
    ):
        for name, tensor in tensors.items():
            if name.startswith(prefix):
                part[name.removeprefix(prefix)] = tensor.contiguous()
        with replacing(folder / file) as temporary:
            save_tensors(temporary, part)
    sizes = config.model
    shape = EncoderConfig(sizes.width, sizes.layers, sizes.heads, sizes.ffn_width)
    atomic_write(folder / CONFIG_NAME, encoder_config_json(shape).encode())
    base = read_heads(find(sizes.base)).calibration if sizes.base else None
    write_heads(folder, base)


def write_listener_card(
    folder: Path,
    config: ListenerConfig,
    clips: Sequence[Clip],
    metrics: Mapping[str, float],
    fitted: Sequence[str],
) -> None:
    """Write README.md: what the listener learned from, under which licences, how well.

    `clips` are all of the manifests; `metrics` are losses on those held back; of `fitted` heads the
    confidences were fitted to those. Raises StorageError.
    """
    learned = [clip for clip in clips if clip.split == "train"]
    hours = sum(min(clip.seconds, WINDOW_SECONDS) for clip in learned) / 3600
    licences = Counter(clip.licence or "not said" for clip in learned)
    noises = sum(clip.music is False for clip in learned)
    listed = "\n".join(f"| {name} | {count:,} |" for name, count in sorted(licences.items()))
    told = "\n".join(f"| {name} | {value:.4g} |" for name, value in metrics.items())
    judged = f"\nOn clips held back, losses in nats:\n\n| | |\n|---|---|\n{told}\n"
    others = [head for head in read_heads(folder).calibration if head not in fitted]
    confidences = f"Fitted to clips held back: {', '.join(fitted) or 'none'}."
    if others:
        confidences += f" As in {config.model.base}: {', '.join(others)}."
    text = f"""---
library_name: antiphon
tags: [music, audio-classification]
---

# A listener trained with antiphon {__version__}

It learned from {len(learned):,} clips, {hours:.1f} hours, {noises:,} of them no music.
Of longer ones it heard the first {WINDOW_SECONDS} seconds.

| licence of the clips it learned from | clips |
|---|---|
{listed}
{judged if metrics else ""}
It tells genre ({", ".join(HEADS["genre"])}), instruments ({", ".join(HEADS["instruments"])}),
energy, and whether something is music. What was not in its clips it does not know.

How sure it is of each of these: {confidences}

It was trained by:

```yaml
{to_yaml(config)}```
"""
    atomic_write(folder / "README.md", text.encode())
