"""Any codec that we know, by its folder: what its config.json says it is."""

from __future__ import annotations

from pathlib import Path

from antiphon.compose.codecs import AudioCodec
from antiphon.compose.codecs.encodec import load_codec
from antiphon.compose.codecs.magnitude import MODEL_TYPE, load_magnitude_codec
from antiphon.compose.config_values import ConfigValues


def open_codec(folder: Path, *, cache: Path, codebooks: int | None = None) -> AudioCodec:
    """The codec of an EnCodec, MusicGen or magnitude codec folder, on one thread; `cache` keeps its
    graphs, `codebooks` says how many are used where the codec offers a choice (None: all).

    Raises ModelError for a folder that holds none, ConfigError for a number it does not offer.
    """
    if ConfigValues.load(folder).values().get("model_type") == MODEL_TYPE:
        return load_magnitude_codec(folder, cache=cache)
    return load_codec(folder, cache=cache, codebooks=codebooks)
