"""A magnitude codec by itself, or a score adapter, in another precision."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from antiphon.compose.codecs import magnitude_graph
from antiphon.compose.codecs.magnitude_config import read_magnitude_config
from antiphon.compose.config_values import CONFIG_NAME
from antiphon.compose.conversion.tensors import (
    Tensor,
    in_precision,
    of_weights,
    packed,
    write_safetensors,
)
from antiphon.errors import ConfigError
from antiphon.weights import WEIGHTS_NAME, Weights, weight_files

PRECISIONS = ("fp32", "fp16", "8bit")


def pack_codec(source: Path, output: Path, precision: str) -> None:
    """Write the codec in `source` into the folder `output`, which is there and empty; 8bit has one
    scale for each row of a matrix, and a fourth of the size.

    Raises ConfigError for another precision, ModelError for a folder that is no such codec,
    StorageError.
    """
    if precision not in PRECISIONS:
        raise ConfigError(
            f"--precision is {precision!r}; expected for a codec one of {', '.join(PRECISIONS)}"
        )
    shapes = magnitude_graph.shapes(read_magnitude_config(source))
    write_repacked(source, output, shapes, precision)


def write_repacked(
    source: Path, output: Path, shapes: Mapping[str, tuple[int, ...]], precision: str
) -> None:
    """The tensors of `shapes` and the config.json of a folder in another one, which is there and
    empty. Raises ModelError for a folder without these tensors, StorageError."""
    tensors: dict[str, Tensor] = {}
    with Weights(weight_files(source)) as weights:
        weights.require(shapes)
        for name in shapes:
            tensor = of_weights(weights, name)
            if precision == "8bit":
                tensors |= packed(name, tensor)
            else:
                kind = "F32" if precision == "fp32" else "F16"
                tensors[name] = in_precision(name, tensor, kind)
        write_safetensors(output / WEIGHTS_NAME, tensors, lambda size: None)
    shutil.copyfile(source / CONFIG_NAME, output / CONFIG_NAME)
