"""The tensors of a checkpoint out of an exported folder: what its graphs compute with, taken apart.

A constant is called after the tensors it holds (`Weights.label`); the operator that takes it says
in which form. Each tensor is read when it is needed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from antiphon.compose.checkpoint import MusicGenConfig, encodec_of
from antiphon.compose.codecs import encodec_layers
from antiphon.compose.codecs.encodec_graph import WEIGHT_NORMS
from antiphon.compose.conversion.exported import CODEC, DECODER, TEXT
from antiphon.compose.conversion.tensors import Tensor, of_weights
from antiphon.compose.decoder_graph import cached_width
from antiphon.errors import ModelError
from antiphon.files import storage_error
from antiphon.weights import JOINT, Float32, Weights

_CODEC_PART = "audio_encoder."
_HALF_PARTS = tuple(f"{half}_{part}" for half in ("encoder", "decoder")
                    for part in ("reading", "writing"))  # fmt: skip
_GRAPHS = ((DECODER, ("condition", "step")), (TEXT, ("text",)), (CODEC, _HALF_PARTS))
Stored = NDArray[np.generic]


@dataclass(frozen=True, eq=False)
class _Place:
    """A constant: the node that takes it, as which input, and the constants beside it."""

    path: Path
    node: onnx.NodeProto
    number: int
    constants: dict[str, onnx.TensorProto]

    def stored(self, number: int) -> Stored:
        return _stored(self.path, self.constants[self.node.input[number]])

    def rows(self, start: int, end: int, columns: int) -> Float32:
        """Some rows of what was given to the writer, a matrix with so many columns if it is one."""
        values = self.stored(self.number)
        kind = self.node.op_type
        if kind == "MatMulNBits":
            bits = next(a.i for a in self.node.attribute if a.name == "bits")
            return _dequantised(values[start:end], self.stored(2)[start:end], bits, columns)
        if kind == "MatMul":
            values = values.T
        elif kind == "LSTM":
            # Torch orders the gates input, forget, cell, output; ONNX input, output, forget, cell.
            gates = np.split(values[0][start:end], 4)
            values, start, end = np.concatenate([gates[i] for i in (0, 2, 3, 1)]), 0, end - start
        return np.array(values[start:end], np.float32)


def checkpoint_tensors(folder: Path, config: MusicGenConfig, weights: Weights) -> dict[str, Tensor]:
    """All tensors as transformers names them; `weights` are the open codebooks of the folder.

    The weight norm of the codec is folded in the graphs, and transformers takes no folded weights:
    the direction is the weight, the gain its length. Raises ModelError for what is not whole or
    has no such names, also when a tensor is read.
    """
    places: dict[str, _Place] = {}
    for below, names in _GRAPHS:
        for name in names:
            places |= _places(folder / below / f"{name}.onnx")
    decoder = config.decoder
    wide = decoder.heads * cached_width(config)
    shapes = config.shapes()
    codec = encodec_layers.shapes(encodec_of(config.codec, folder), None).items()
    shapes |= {f"{_CODEC_PART}{n}": s for n, s in codec if not n.startswith("quantizer.")}
    starts: dict[str, tuple[str, int, int]] = {}
    for label in places:
        start = 0
        for name in label.split(JOINT):
            if name not in shapes:
                raise ModelError(f"{places[label].path} holds {name!r}, which config.json has not")
            padded = ".self_attn." in name and not name.endswith("out_proj.weight")
            count = wide if padded else shapes[name][0]
            starts[name] = (label, start, start + count)
            start += count
    tensors = {f"{_CODEC_PART}{name}": of_weights(weights, name) for name in weights}
    for name, shape in shapes.items():
        if name not in starts:
            raise ModelError(
                f"the graphs of {folder} hold no tensor {name!r}; expected graphs that 'antiphon "
                "export' wrote: export the checkpoint again"
            )
        label, start, end = starts[name]
        columns = wide if name.endswith("self_attn.out_proj.weight") else shape[-1]
        read = _reader(folder, name, shape, places[label], (start, end, columns), decoder.heads)
        if name.startswith(_CODEC_PART) and name.endswith(".conv.weight"):
            gain, direction = (f"{name.removesuffix('weight')}{part}" for part in WEIGHT_NORMS[0])
            tensors[gain] = Tensor("F32", (shape[0], 1, 1), _then(read, _length))
            tensors[direction] = Tensor("F32", shape, _then(read, _direction))
        else:
            tensors[name] = Tensor("F32", shape, read)
    return tensors


def _reader(
    folder: Path,
    name: str,
    shape: tuple[int, ...],
    place: _Place,
    part: tuple[int, int, int],
    heads: int,
) -> Callable[[], Float32]:
    def read() -> Float32:
        try:
            values = place.rows(*part)
            if ".self_attn." in name:  # without the zeros that fill the heads of the cache
                out = name.endswith("out_proj.weight")
                apart = (values.T if out else values).reshape(heads, -1, shape[0])
                values = apart[:, : shape[0] // heads].reshape(shape)
                values = values.T if out else values
            values = values.reshape(shape)
        except (ValueError, IndexError, KeyError, StopIteration) as error:
            raise ModelError(
                f"{place.path} does not hold {name!r} in the shape {shape} of config.json: "
                f"{error}; export the checkpoint again"
            ) from error
        if not np.isfinite(values).all():
            raise ModelError(f"tensor {name!r} of {folder} is not finite; copy the folder again")
        return values

    return read


def _then(
    read: Callable[[], Float32], change: Callable[[Float32], Float32]
) -> Callable[[], Float32]:
    return lambda: change(read())


def _length(weight: Float32) -> Float32:
    length: Float32 = np.sqrt(np.square(weight).sum((1, 2), keepdims=True))
    return length


def _direction(weight: Float32) -> Float32:
    """Any, where the length is zero: it is divided by its own length."""
    return np.where(_length(weight) == 0, np.float32(1), weight)


def _places(path: Path) -> dict[str, _Place]:
    """The constants of a graph that are called after tensors."""
    try:
        graph = onnx.load(path, load_external_data=False).graph
    except OSError as error:
        raise storage_error("read", path, error) from error
    except Exception as error:  # protobuf raises unrelated classes of its own
        raise ModelError(f"{path} is no ONNX graph: {error}; copy it again") from error
    constants = {tensor.name: tensor for tensor in graph.initializer}
    return {
        label: _Place(path, node, number, constants)
        for node in graph.node
        for number, label in enumerate(node.input)
        if label in constants and "." in label
    }


def _stored(path: Path, tensor: onnx.TensorProto) -> Stored:
    if not tensor.external_data:
        return numpy_helper.to_array(tensor)
    told = {entry.key: entry.value for entry in tensor.external_data}
    file = path.with_suffix(".weights")
    kind = helper.tensor_dtype_to_np_dtype(tensor.data_type)
    shape = tuple(tensor.dims)
    offset = int(told["offset"])
    size, needed = file.stat().st_size, offset + math.prod(shape) * kind.itemsize
    if told["location"] != file.name or size < needed:
        raise ModelError(
            f"{file} has {size} bytes; expected {needed} or more for {tensor.name!r} of "
            f"{path.name}: it is cut short, or of another graph; copy it again"
        )
    return np.memmap(file, kind, "r", offset, shape)


def _dequantised(codes: Stored, scales: Stored, bits: int, columns: int) -> Float32:
    """What `graphs.quantise` made codes of: (code - zero) * scale, [M, columns]."""
    whole = codes.astype(np.uint8)
    if bits == 4:
        whole = np.stack([whole & 15, whole >> 4], -1).reshape(*whole.shape[:2], -1)
    zero = np.float32(1 << (bits - 1))
    values = (whole.astype(np.float32) - zero) * scales.astype(np.float32)[..., None]
    return values.reshape(len(values), -1)[:, :columns]
