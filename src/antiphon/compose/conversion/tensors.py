"""Tensors on their way from one file to another, one at a time, and the safetensors file they go
into. Knows no architecture.

The format is that of safetensors: the length of a header, the header as JSON, then the bytes of the
tensors. Its own writer wants all of them in memory at once; here a checkpoint of any size takes as
much as its largest tensor.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open

from antiphon.errors import ModelError
from antiphon.files import storage_error
from antiphon.weights import SCALES, Float32, Weights, in_8_bits

_SIZES = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "F16": 2, "BF16": 2, "I16": 2, "I8": 1, "U8": 1,
          "BOOL": 1}  # fmt: skip
KINDS = frozenset(_SIZES)
"""Types of values, as safetensors calls them."""
_ALIGNMENT_BYTES = 8


@dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor that is read when it is needed: its values in its own type, BF16 as its 16 bits."""

    kind: str
    shape: tuple[int, ...]
    read: Callable[[], NDArray[np.generic]]

    @property
    def size_bytes(self) -> int:
        return math.prod(self.shape) * _SIZES[self.kind]

    def values(self) -> Float32:
        """As float32, whatever it is stored in."""
        raw = self.read()
        if self.kind == "BF16":
            raw = (raw.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
        return raw.astype(np.float32)


def of_weights(weights: Weights, name: str) -> Tensor:
    """A tensor of a checkpoint; half precision stays, all else becomes float32."""
    kind = "F16" if weights.kind(name) == "F16" else "F32"

    def read() -> NDArray[np.generic]:
        return weights.read(name).astype(np.float16 if kind == "F16" else np.float32)

    return Tensor(kind, weights.shape(name), read)


def rows(tensor: Tensor, start: int, end: int) -> Tensor:
    """The rows [start, end) of a matrix."""
    shape = (end - start, *tensor.shape[1:])
    return replace(tensor, shape=shape, read=lambda: tensor.read()[start:end])


def in_precision(name: str, tensor: Tensor, kind: str) -> Tensor:
    """The same as F32 or F16. Reading raises ModelError for values that half precision lacks."""

    def read() -> NDArray[np.generic]:
        values = tensor.values()
        if kind == "F32":
            return values
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        if not np.isfinite(half).all():
            raise ModelError(
                f"tensor {name!r} has values up to {np.abs(values).max():g}; half precision ends "
                "at 65504: expected --precision fp32"
            )
        return half

    return Tensor(kind, tensor.shape, read)


def packed(name: str, tensor: Tensor) -> dict[str, Tensor]:
    """A matrix as 8 bits with a scale for each row, as `Weights.read` reads it; all else as F32."""
    if len(tensor.shape) < 2:
        return {name: in_precision(name, tensor, "F32")}

    @cache
    def parts() -> tuple[NDArray[np.int8], Float32]:
        return in_8_bits(tensor.values())

    return {
        name: Tensor("I8", tensor.shape, lambda: parts()[0]),
        name + SCALES: Tensor("F32", tensor.shape[:1], lambda: parts()[1]),
    }


def write_safetensors(
    path: Path, tensors: Mapping[str, Tensor], on_bytes: Callable[[int], None]
) -> None:
    """Write a new file; `on_bytes` is told how many bytes each tensor had.

    Raises StorageError, and what reading a tensor raises.
    """
    # The widest types first, so that every tensor begins at a multiple of its own size.
    order = sorted(tensors, key=lambda name: (-_SIZES[tensors[name].kind], name))
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}  # transformers asks for it
    offset = 0
    for name in order:
        tensor = tensors[name]
        end = offset + tensor.size_bytes
        header[name] = {
            "dtype": tensor.kind,
            "shape": list(tensor.shape),
            "data_offsets": [offset, end],
        }
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % _ALIGNMENT_BYTES)
    try:
        with path.open("xb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            for name in order:
                data = np.ascontiguousarray(tensors[name].read())
                assert data.nbytes == tensors[name].size_bytes, f"{name} is not as announced"
                file.write(data.data)
                on_bytes(data.nbytes)
    except OSError as error:
        raise storage_error("write", path, error) from error


@contextmanager
def opened(path: Path) -> Iterator[Mapping[str, Tensor]]:
    """The tensors of a file of `write_safetensors`, read anew by the safetensors library."""
    with safe_open(path, framework="np") as file:

        def stored(name: str) -> Tensor:
            part = file.get_slice(name)
            kind, shape = part.get_dtype(), tuple(part.get_shape())

            def read() -> NDArray[np.generic]:
                values: NDArray[np.generic] = file.get_tensor(name)
                return values.view(np.uint16) if kind == "BF16" else values

            return Tensor(kind, shape, read)

        yield {name: stored(name) for name in file.keys()}  # noqa: SIM118 - it is no dict


def largest_difference(first: Float32, second: Float32) -> float:
    """Between two arrays; infinite where their shapes differ or a value is no number."""
    if first.shape != second.shape:
        return math.inf
    difference = float(np.abs(first - second).max(initial=0.0))
    return difference if math.isfinite(difference) else math.inf
