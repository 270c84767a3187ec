"""A listener of drawn weights, as `antiphon train listener` exports one, for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from antiphon.listen.heads import (
    CONFIG_NAME,
    HEAD_WEIGHTS_NAME,
    HEADS,
    Calibration,
    write_heads,
)
from antiphon.listen.tagger_graph import EncoderConfig, encoder_config_json, positions
from antiphon.weights import WEIGHTS_NAME

CONFIG = EncoderConfig(32, 3, 2, 64)


def write_toy(
    folder: Path, *, seed: int = 0, calibration: dict[str, Calibration] | None = None
) -> Path:
    """A folder with an encoder and its heads."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(seed)

    def drawn(name: str, shape: tuple[int, ...]) -> np.ndarray:
        if "norm" in name and name.endswith("weight"):
            return np.ones(shape, np.float32)
        return random.normal(0, 0.2, shape).astype(np.float32)

    encoder = {name: drawn(name, shape) for name, shape in CONFIG.shapes().items()}
    encoder["embed_positions.weight"] = positions(CONFIG.hidden_size)
    heads = {}
    for name, classes in HEADS.items():
        heads[f"{name}.weight"] = drawn(name, (len(classes), CONFIG.hidden_size))
        heads[f"{name}.bias"] = drawn(name, (len(classes),))
    heads["music.bias"] += 20  # whatever it hears, it takes for music
    save_file(encoder, folder / WEIGHTS_NAME, metadata={"format": "pt"})
    save_file(heads, folder / HEAD_WEIGHTS_NAME)
    (folder / CONFIG_NAME).write_text(encoder_config_json(CONFIG))
    write_heads(folder, calibration)
    return folder
