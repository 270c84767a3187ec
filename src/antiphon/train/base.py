"""The checkpoints that a composer is made with: the one it begins as, and its frozen T5."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from antiphon import settings
from antiphon.compose.checkpoint import (
    CodecConfig,
    MusicGenConfig,
    TextConfig,
    read_config,
    read_text_config,
)
from antiphon.errors import ConfigError, ModelError
from antiphon.models.finding import find
from antiphon.train.config import ComposerModelConfig
from antiphon.weights import FINGERPRINTS_NAME, fingerprint, weight_files


def base_of(config: ComposerModelConfig) -> tuple[Path, MusicGenConfig] | None:
    """The checkpoint that a composer begins as, if it does not begin from nothing.

    Raises ModelMissingError, ModelError for a folder that is none, or one that knows melodies.
    """
    if not config.base:
        return None
    folder = find(config.base)
    musicgen = read_config(folder)
    if musicgen.decoder.prefix:
        raise ModelError(
            f"{folder} is conditioned on melodies, for which codes have no place; expected a "
            "MusicGen that is conditioned on text alone"
        )
    return folder, musicgen


def text_encoder_of(config: ComposerModelConfig) -> tuple[Path, TextConfig]:
    """The T5 of a config that trains none. Raises ModelMissingError, ModelError."""
    folder = find(config.text_encoder or config.base)
    return folder, read_text_config(folder)


def resolved(config: ComposerModelConfig) -> ComposerModelConfig:
    """The same with the sizes of its base, where it does not say others.

    Raises ConfigError for sizes that are not the base's, ModelMissingError, ModelError.
    """
    base = base_of(config)
    if base is None:
        return config
    folder, musicgen = base
    text, decoder, codec = musicgen.text, musicgen.decoder, musicgen.codec
    rate = codec.sample_rate // codec.hop
    if isinstance(codec, CodecConfig):
        rate = codec.frame_rate
    sizes: dict[str, Any] = {
        "text_width": text.width,
        "text_layers": text.layers,
        "text_heads": text.heads,
        "text_ffn_size": text.ffn_width,
        "vocabulary": text.vocabulary,
        "hidden_size": decoder.width,
        "layers": decoder.layers,
        "heads": decoder.heads,
        "ffn_size": decoder.ffn_width,
        "codebooks": decoder.codebooks,
        "codebook_size": decoder.card,
        "frame_rate": rate,
    }
    defaults = ComposerModelConfig()
    for name, size in sizes.items():
        said = getattr(config, name)
        if said not in (size, getattr(defaults, name)):
            raise ConfigError(f"model.{name} is {said}; expected {size}, which {folder} has")
    return dataclasses.replace(config, **sizes)


def parts_of(config: ComposerModelConfig) -> dict[str, str]:
    """The hashes of the checkpoints that a composer is made with, by what they are for."""
    memory = settings.load().cache / "graphs" / FINGERPRINTS_NAME
    found = {}
    if config.base:
        found["base"] = fingerprint(weight_files(find(config.base)), memory)
    if config.text_encoder:
        found["text_encoder"] = fingerprint(weight_files(find(config.text_encoder)), memory)
    return found


def require_same_parts(
    old: Mapping[str, str], new: Mapping[str, str], group: str = "model."
) -> None:
    """Raise ConfigError for a run that would go on, or be exported, with other checkpoints than it
    began with; `group` is where a config names them."""
    for name, checksum in new.items():
        if old.get(name) not in (None, checksum):
            raise ConfigError(
                f"{group}{name} is not the one that the run began with: its hash is "
                f"{checksum[:12]} and was {old[name][:12]}; expected the same"
            )
