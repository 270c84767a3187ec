"""A trained listener in another precision: 8 bits to be carried about, full to be built upon."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from antiphon.errors import ConfigError
from antiphon.files import replacing
from antiphon.listen.heads import CONFIG_NAME, HEAD_WEIGHTS_NAME, read_heads, write_heads
from antiphon.listen.tagger_graph import POSITIONS_NAME, positions, read_encoder_config
from antiphon.weights import SCALES, WEIGHTS_NAME, Weights, in_8_bits, weight_files

PRECISIONS = ("fp32", "fp16", "8bit")
_CARD_NAME = "README.md"


def repack(source: Path, output: Path, precision: str) -> None:
    """Write the listener in `source` into the folder `output`, which is there and empty.

    `fp32` and `fp16` are what transformers' AudioFlamingo3Encoder loads; `8bit`, with one scale for
    each row of a matrix and without the positions, which are computed, is a fourth of the size.

    Raises ConfigError for another precision, ModelError for a folder that is no listener,
    StorageError (DiskFullError).
    """
    if precision not in PRECISIONS:
        raise ConfigError(
            f"--precision is {precision!r}; expected for a listener one of {', '.join(PRECISIONS)}"
        )
    heads, config = read_heads(source), read_encoder_config(source)
    with Weights(weight_files(source)) as weights:
        tensors = {name: weights.read(name) for name in config.shapes()}
    packed: dict[str, np.ndarray] = {}
    if precision == "8bit":
        for name, values in tensors.items():
            if values.ndim > 1:
                packed[name], packed[name + SCALES] = in_8_bits(values)
            else:
                packed[name] = values
    else:
        kind = np.float32 if precision == "fp32" else np.float16
        tensors[POSITIONS_NAME] = positions(config.hidden_size)
        packed = {name: values.astype(kind) for name, values in tensors.items()}
    _save(output / WEIGHTS_NAME, packed)
    for name in (CONFIG_NAME, HEAD_WEIGHTS_NAME, _CARD_NAME):
        if (source / name).is_file():
            shutil.copyfile(source / name, output / name)
    write_heads(output, heads.calibration, heads.licence)


def _save(file: Path, tensors: Mapping[str, np.ndarray]) -> None:
    with replacing(file) as temporary:
        save_file(dict(tensors), temporary, metadata={"format": "pt"})
