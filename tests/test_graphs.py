from __future__ import annotations

import logging
import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from antiphon.errors import DiskFullError, ModelError, StorageError
from antiphon.graphs import GraphWriter, Precision, kept, quantise
from antiphon.weights import Float32

pytestmark = pytest.mark.unit


def random_matrix(rows: int, columns: int, seed: int = 0) -> Float32:
    return np.random.default_rng(seed).standard_normal((rows, columns)).astype(np.float32)


def dequantised(
    codes: NDArray[np.uint8], scales: Float32, *, bits: int, block: int, columns: int
) -> Float32:
    """By the words of onnxruntime's documentation of MatMulNBits: value by value, in plain Python;
    of two 4-bit values in a byte, the first is the lower half."""
    rows, blocks = scales.shape
    matrix = np.zeros((rows, blocks * block), np.float64)
    for row in range(rows):
        for column in range(blocks * block):
            place, within = divmod(column, block)
            if bits == 8:
                code = int(codes[row, place, within])
            else:
                code = int(codes[row, place, within // 2]) >> (4 if within % 2 else 0) & 15
            matrix[row, column] = (code - 2 ** (bits - 1)) * float(scales[row, place])
    return matrix[:, :columns].astype(np.float32)


def session(folder: Path, name: str) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    path = folder / f"{name}.onnx"
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def write(folder: Path, precision: Precision, build: Callable[[GraphWriter], str]) -> None:
    """A graph `g` from x [rows, 40] to what `build` names."""
    graph = GraphWriter(folder, "g", precision)
    graph.input("x", "float", ("rows", 40))
    result = build(graph)
    graph.node("Identity", result, name="y")
    graph.output("y", "float", ("rows", "columns"))
    graph.save()


@pytest.mark.parametrize(("bits", "block"), [(8, 128), (8, 32), (4, 32), (4, 16)])
@pytest.mark.parametrize("columns", [32, 40, 128, 200])
def test_quantised_values_come_back_within_half_a_step(bits: int, block: int, columns: int) -> None:
    matrix = random_matrix(6, columns)
    codes, scales = quantise(matrix, bits=bits, block=block)
    blocks = -(-columns // block)
    assert codes.dtype == np.uint8
    assert codes.shape == (6, blocks, block * bits // 8)
    assert scales.shape == (6, blocks)
    back = dequantised(codes, scales, bits=bits, block=block, columns=columns)
    for row in range(6):
        for number in range(blocks):
            part = slice(number * block, (number + 1) * block)
            # Half a step; a whole one for what lies at the end that has a code less.
            step = np.abs(matrix[row, part]).max() / 2 ** (bits - 1)
            error = np.abs(back[row, part] - matrix[row, part])
            beyond = matrix[row, part] * np.sign(scales[row, number]) > (2 ** (bits - 1) - 1) * step
            assert (error <= np.where(beyond, 1.0, 0.5) * step * 1.0001).all()


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_value_of_a_block_is_exact(bits: int, sign: int) -> None:
    matrix = random_matrix(5, 64)
    matrix[:, 7] = sign * 9.0
    codes, scales = quantise(matrix, bits=bits, block=64)
    back = dequantised(codes, scales, bits=bits, block=64, columns=64)
    assert back[:, 7].tolist() == [sign * 9.0] * 5


@pytest.mark.parametrize("bits", [8, 4])
def test_zeros_and_tiny_values(bits: int) -> None:
    matrix = np.zeros((2, 32), np.float32)
    matrix[1, 3] = 1e-44  # the scale is 0 in float32
    codes, scales = quantise(matrix, bits=bits, block=32)
    back = dequantised(codes, scales, bits=bits, block=32, columns=32)
    np.testing.assert_allclose(back, matrix, atol=1e-43)


@pytest.mark.parametrize(("precision", "bits", "block"), [("8bit", 8, 128), ("4bit", 4, 32)])
@pytest.mark.parametrize("rows", [1, 2, 3, 16])
@pytest.mark.parametrize("columns", [40, 256])
def test_onnxruntime_reads_the_codes_as_they_are_written(
    precision: Precision, bits: int, block: int, rows: int, columns: int, tmp_path: Path
) -> None:
    matrix = random_matrix(24, columns)
    graph = GraphWriter(tmp_path, "g", precision)
    graph.input("x", "float", ("rows", columns))
    graph.linear("x", matrix, name="y")
    graph.output("y", "float", ("rows", 24))
    graph.save()
    x = random_matrix(rows, columns, seed=1)
    y = session(tmp_path, "g").run(["y"], {"x": x})[0]
    codes, scales = quantise(matrix, bits=bits, block=block)
    back = dequantised(codes, scales, bits=bits, block=block, columns=columns)
    # Where the processor has products of 8-bit numbers, x is rounded to them; elsewhere it is not.
    expected = [values @ back.T for values in (rounded(x, block), x)]
    assert any(np.allclose(y, product, rtol=0, atol=1e-4) for product in expected)


def rounded(x: Float32, block: int) -> Float32:
    """`x` in steps of 1/127 of the largest value of its row within each block."""
    rows, columns = x.shape
    padded = np.zeros((rows, -(-columns // block) * block), np.float32)
    padded[:, :columns] = x
    values = padded.reshape(rows, -1, block)
    step = np.abs(values).max(-1, keepdims=True) / 127
    nearest: Float32 = np.rint(values / step) * step
    return nearest.reshape(rows, -1)[:, :columns]


def test_linear_is_that_of_torch(tmp_path: Path) -> None:
    matrix = random_matrix(24, 40)
    write(tmp_path, "fp32", lambda graph: graph.linear("x", matrix))
    x = random_matrix(3, 40, seed=1)
    y = session(tmp_path, "g").run(None, {"x": x})[0]
    np.testing.assert_allclose(y, x @ matrix.T, rtol=0, atol=1e-5)


def test_layer_norm(tmp_path: Path) -> None:
    weight, bias = random_matrix(2, 40, seed=2)
    write(tmp_path, "fp32", lambda graph: graph.layer_norm("x", weight, bias))
    x = random_matrix(3, 40, seed=1).astype(np.float64)
    y = session(tmp_path, "g").run(None, {"x": x.astype(np.float32)})[0]
    centred = x - x.mean(-1, keepdims=True)
    expected = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * weight + bias
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-5)


def test_constants_keep_shape_and_type_and_are_kept_once(tmp_path: Path) -> None:
    large = random_matrix(40, 40)

    def build(graph: GraphWriter) -> str:
        assert graph.constant(large) == graph.constant(large.copy())
        assert graph.constant(large) != graph.constant(large.T)
        assert graph.constant([1, 2]) != graph.constant(np.array([1, 2], np.int32))
        assert graph.constant(3) != graph.constant([3])
        graph.constant(np.array(0.5, np.float32))
        product = graph.node("MatMul", "x", graph.constant(large.T))
        return graph.node("MatMul", product, graph.constant(large))

    write(tmp_path, "fp32", build)
    assert (tmp_path / "g.weights").stat().st_size == 4096 * 2 + large.nbytes
    model = onnx.load(tmp_path / "g.onnx")
    onnx.checker.check_model(model)
    kinds = {(tuple(t.dims), t.data_type) for t in model.graph.initializer}
    assert {((), 1), ((), 7), ((1,), 7), ((2,), 7), ((2,), 6), ((40, 40), 1)} == kinds
    x = random_matrix(3, 40, seed=1)
    y = session(tmp_path, "g").run(None, {"x": x})[0]
    np.testing.assert_allclose(y, x @ large.T @ large, rtol=1e-4, atol=1e-4)


def test_what_is_kept_is_built_once(tmp_path: Path) -> None:
    built: list[Path] = []

    def build(folder: Path) -> None:
        built.append(folder)
        (folder / "deep").mkdir()
        (folder / "deep" / "file").write_text("content")

    first = kept(tmp_path / "cache", "key", build)
    assert (first / "deep" / "file").read_text() == "content"
    assert kept(tmp_path / "cache", "key", build) == first
    assert kept(tmp_path / "cache", "another", build) != first
    assert len(built) == 2
    assert not any(folder.exists() for folder in built), "the folders under construction are gone"


def test_it_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    def look(folder: Path) -> None:
        (folder / "half").touch()
        complete = [p for p in tmp_path.iterdir() if p.is_dir() and p != folder]
        assert complete == []

    assert (kept(tmp_path, "key", look) / "half").exists()


@pytest.mark.parametrize("error", [ModelError("no such tensor"), KeyboardInterrupt()])
def test_a_build_that_raises_leaves_nothing(error: BaseException, tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        graph = GraphWriter(folder, "g")
        graph.constant(random_matrix(40, 40))
        raise error

    with pytest.raises(type(error)):
        kept(tmp_path, "key", fail)
    assert [path for path in tmp_path.iterdir() if path.suffix != ".lock"] == []
    assert kept(tmp_path, "key", lambda folder: None).is_dir(), "it can be tried again"


def test_what_a_killed_process_left_is_cleared_away(tmp_path: Path) -> None:
    folder = kept(tmp_path, "key", lambda folder: None)
    left = folder.with_suffix(".tmp")
    folder.rename(left)
    (left / "half").touch()
    again = kept(tmp_path, "key", lambda new: (new / "whole").touch())
    assert [path.name for path in again.iterdir()] == ["whole"]
    assert not left.exists()


def test_what_nobody_can_use_any_more_is_dropped(tmp_path: Path) -> None:
    used, unused = (kept(tmp_path, name, lambda folder: None) for name in ("used", "unused"))
    long_ago = time.time() - 91 * 86_400
    for folder in (used, unused):
        os.utime(folder, (long_ago, long_ago))
    outdated = [tmp_path / f"{prefix}{'a' * 32}" for prefix in ("", "1-")]
    other = [tmp_path / "mine", tmp_path / "fingerprints.json"]
    for path in (*outdated, *other):
        path.mkdir()
    assert kept(tmp_path, "used", lambda folder: None) == used
    new = kept(tmp_path, "new", lambda folder: None)
    left = {path for path in tmp_path.iterdir() if path.suffix != ".lock"}
    assert left == {used, new, *other}


def test_another_process_is_waited_for_and_it_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def build(folder: Path) -> None:
        begun.set()
        assert go_on.wait(20)

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            go_on.set()  # only once it is said

    handler = Handler()
    logging.getLogger("antiphon.graphs").addHandler(handler)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(kept, tmp_path, "key", build)
        assert begun.wait(20)
        second = pool.submit(kept, tmp_path, "key", build)
        assert first.result(30) == second.result(30)
    logging.getLogger("antiphon.graphs").removeHandler(handler)
    assert "another process prepares this model" in caplog.text


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    def fill(folder: Path) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(DiskFullError, match="cannot write .*no space left"):
        kept(tmp_path, "key", fill)


def test_a_cache_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot write"):
        kept(tmp_path / "file", "key", lambda folder: None)


def slow_build(folder: Path) -> None:
    (folder / str(os.getpid())).touch()
    time.sleep(0.5)


def keep_slowly(cache: Path) -> str:
    return str(kept(cache, "key", slow_build))


def test_two_processes_build_once(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        first, second = pool.map(keep_slowly, [tmp_path, tmp_path], chunksize=1)
    assert first == second
    assert len(list(Path(first).iterdir())) == 1
