"""Writing ONNX graphs node by node, their weights beside them; and the folder that keeps them.

The graphs are written by us, not exported: so that KV caches are one buffer, matrices can be 8-bit,
and no torch is needed. Knows no model.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from antiphon.errors import EngineError
from antiphon.files import storage_error
from antiphon.weights import Float32

Precision = Literal["fp32", "8bit", "4bit"]
PRECISIONS: tuple[Precision, ...] = ("fp32", "8bit", "4bit")
Shape = Sequence[int | str]  # a name is a dimension that is free
Array = NDArray[np.float32] | NDArray[np.int64] | NDArray[np.int32] | NDArray[np.uint8]

FORMAT = 6  # goes into every name: raise it when the same weights give another graph
_KEPT_DAYS = 90
_OPSET, _IR_VERSION = 20, 10
_OURS = "com.microsoft"  # the domain of onnxruntime's own operators
_INLINE_BYTES = 1024  # smaller constants stay in the graph
_ALIGNMENT_BYTES = 4096  # a page: onnxruntime maps the file
_BLOCKS = {"8bit": 128, "4bit": 32}  # inputs that share one scale
_INT8_ACTIVATIONS = 4  # accuracy_level of MatMulNBits: int8 products, twice as fast as fp32 ones
_TYPES = {"float": TensorProto.FLOAT, "int64": TensorProto.INT64,
          "int32": TensorProto.INT32, "int8": TensorProto.INT8}  # fmt: skip

logger = logging.getLogger(__name__)


class GraphWriter:
    """One graph, and a file of weights that is written as they come, so that memory stays small."""

    def __init__(self, folder: Path, name: str, precision: Precision = "fp32") -> None:
        self._path = folder / f"{name}.onnx"
        self._weights = folder / f"{name}.weights"
        self._weights.touch()
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._names: dict[bytes, str] = {}
        self.precision = precision

    def input(self, name: str, kind: str, shape: Shape) -> str:
        self._inputs.append(helper.make_tensor_value_info(name, _TYPES[kind], list(shape)))
        return name

    def output(self, name: str, kind: str, shape: Shape) -> None:
        self._outputs.append(helper.make_tensor_value_info(name, _TYPES[kind], list(shape)))

    def node(
        self,
        operator: str,
        *inputs: str,
        name: str | None = None,
        outputs: Sequence[str] = (),
        ours: bool = False,
        **attributes: int | float | str | Sequence[int],
    ) -> str:
        """Add a node; the name of its (first) output. `name` names that output, `outputs` all."""
        results = list(outputs) or [name or f"{operator}_{len(self._nodes)}"]
        domain = _OURS if ours else ""
        self._nodes.append(
            helper.make_node(
                operator,
                inputs,
                results,
                name=results[0],
                domain=domain,
                **attributes,  # type: ignore[arg-type]
            )
        )
        return results[0]

    def constant(self, values: Array | Sequence[int] | int, label: str | None = None) -> str:
        """A constant; whole numbers become int64. `label` names it after what it holds, so that it
        can be read back; without one the same constant is kept once."""
        # Not `ascontiguousarray`: it makes a vector of a scalar.
        kind = values.dtype if isinstance(values, np.ndarray) else np.int64
        array = np.asarray(values, kind, order="C")
        data = array.tobytes()
        if label is not None:
            self._store(label, array, data)
            return label
        key = hashlib.sha256(f"{array.dtype}{array.shape}".encode() + data).digest()
        if key not in self._names:
            self._names[key] = f"constant_{len(self._names)}"
            self._store(self._names[key], array, data)
        return self._names[key]

    def linear(
        self, x: str, matrix: Float32, label: str | None = None, name: str | None = None
    ) -> str:
        """x [..., N] -> [..., M] by `matrix` [M, N] as torch keeps it, at this precision."""
        if self.precision == "fp32":
            return self.node("MatMul", x, self.constant(matrix.T, label), name=name)
        outputs, inputs = matrix.shape
        block = _BLOCKS[self.precision]
        codes, scales = quantise(matrix, bits=int(self.precision[0]), block=block)
        return self.node(
            "MatMulNBits", x, self.constant(codes, label), self.constant(scales), name=name,
            ours=True,
            K=inputs, N=outputs, bits=int(self.precision[0]), block_size=block,
            accuracy_level=_INT8_ACTIVATIONS,
        )  # fmt: skip

    def layer_norm(
        self,
        x: str,
        weight: Float32,
        bias: Float32,
        epsilon: float = 1e-5,
        labels: tuple[str | None, str | None] = (None, None),
    ) -> str:
        scale, shift = self.constant(weight, labels[0]), self.constant(bias, labels[1])
        return self.node("LayerNormalization", x, scale, shift, axis=-1, epsilon=epsilon)

    def save(self) -> None:
        """Write the graph; its folder then holds `<name>.onnx` and `<name>.weights`."""
        graph = helper.make_graph(
            self._nodes, self._path.stem, self._inputs, self._outputs, self._constants
        )
        opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(_OURS, 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION)
        self._path.write_bytes(model.SerializeToString())

    def _store(self, name: str, array: NDArray[np.generic], data: bytes) -> None:
        if len(data) <= _INLINE_BYTES:
            self._constants.append(numpy_helper.from_array(array, name))
            return
        with self._weights.open("r+b") as file:
            end = file.seek(0, os.SEEK_END)
            offset = file.seek(end + -end % _ALIGNMENT_BYTES)
            file.write(data)
        tensor = TensorProto(
            name=name,
            data_type=helper.np_dtype_to_tensor_dtype(array.dtype),
            dims=array.shape,
            data_location=TensorProto.EXTERNAL,
        )
        place = {"location": self._weights.name, "offset": offset, "length": len(data)}
        for key, value in place.items():
            tensor.external_data.add(key=key, value=str(value))
        self._constants.append(tensor)


def quantise(matrix: Float32, *, bits: int, block: int) -> tuple[NDArray[np.uint8], Float32]:
    """[M, N] -> codes [M, blocks, block * bits / 8] and scales [M, blocks] for MatMulNBits.

    Symmetric: a value is (code - 2^(bits - 1)) * scale. The scale has the sign that puts the
    largest value of a block on the one end that has a code more.
    """
    rows, columns = matrix.shape
    blocks = -(-columns // block)
    padded = np.zeros((rows, blocks * block), np.float32)
    padded[:, :columns] = matrix
    values = padded.reshape(rows, blocks, block)
    largest = np.take_along_axis(values, np.abs(values).argmax(-1, keepdims=True), -1)
    zero = 1 << (bits - 1)
    scales: Float32 = (largest / -zero).astype(np.float32)
    steps = np.rint(np.divide(values, scales, out=np.zeros_like(values), where=scales != 0))
    codes: NDArray[np.uint8] = np.clip(steps + zero, 0, 2 * zero - 1).astype(np.uint8)
    if bits == 4:
        codes = np.bitwise_or(codes[..., 0::2], np.left_shift(codes[..., 1::2], np.uint8(4)))
    return codes, scales[..., 0]


def open_graph(
    folder: Path, name: str, threads: int, *, mapped: bool = False
) -> onnxruntime.InferenceSession:
    """A graph of `GraphWriter`, loaded; `mapped` leaves its weights in the file, which is slower
    to run, quick to load, and takes memory only while it runs.

    Raises EngineError if onnxruntime refuses it.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what goes wrong is raised, too
    if mapped:
        options.add_session_config_entry("session.disable_prepacking", "1")
        options.enable_cpu_mem_arena = False
    path = folder / f"{name}.onnx"
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises unrelated classes of its own
        raise EngineError(
            f"onnxruntime cannot load {path}: {error}; in the cache, delete {folder.name}: it is "
            "made again; an exported folder must be copied again"
        ) from error


def kept(cache: Path, key: str, build: Callable[[Path], None]) -> Path:
    """The folder of `key` in `cache`; where there is none, `build` fills a new one.

    It appears whole or not at all, and once for all processes that ask at a time. When one is made,
    those go that nobody can use any more, or used in the last _KEPT_DAYS.
    """
    folder = cache / f"{FORMAT}-{hashlib.sha256(key.encode()).hexdigest()[:32]}"
    if folder.is_dir():
        with suppress(OSError):  # a cache that cannot be written serves as well
            os.utime(folder)
        return folder
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with _locked(folder.with_suffix(".lock")):
            if folder.is_dir():
                return folder
            _drop_unused(cache)
            temporary = folder.with_suffix(".tmp")
            shutil.rmtree(temporary, ignore_errors=True)  # left by a killed process
            temporary.mkdir()
            try:
                build(temporary)
                for path in filter(Path.is_file, temporary.rglob("*")):
                    with path.open("rb+") as file:  # or a power cut leaves empty files
                        os.fsync(file.fileno())
                temporary.rename(folder)
            except BaseException:
                shutil.rmtree(temporary, ignore_errors=True)
                raise
    except OSError as error:
        raise storage_error("write", folder, error) from error
    return folder


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        logger.warning("another process prepares this model; waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _drop_unused(cache: Path) -> None:
    """Delete prepared folders of another FORMAT, and those of long ago."""
    oldest = time.time() - _KEPT_DAYS * 86_400
    for folder in cache.iterdir():
        found = re.fullmatch(r"(?:(\d+)-)?[0-9a-f]{32}", folder.name)
        if found and (found[1] != str(FORMAT) or folder.stat().st_mtime < oldest):
            logger.info("dropped from the cache: %s", folder)
            shutil.rmtree(folder, ignore_errors=True)
            folder.with_suffix(".lock").unlink(missing_ok=True)
