from __future__ import annotations

import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch_file

from antiphon.errors import ModelError, StorageError
from antiphon.weights import Weights, fingerprint, weight_files

pytestmark = pytest.mark.unit

MATRIX = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Two tensors below `a.`, one beside them."""
    path = tmp_path / "model.safetensors"
    save_file({"a.matrix": MATRIX, "a.b.vector": MATRIX[0], "other": MATRIX.T.copy()}, path)
    return path


def test_tensors_are_found_below_their_prefix(path: Path) -> None:
    with Weights((path,)) as weights:
        part = weights.below("a.")
        assert sorted(weights) == ["a.b.vector", "a.matrix", "other"]
        assert sorted(part) == ["b.vector", "matrix"]
        assert "matrix" in part
        assert "other" not in part
        assert part.shape("matrix") == (2, 3)
        assert np.array_equal(part.read("matrix"), MATRIX)
        assert np.array_equal(part.below("b.").read("vector"), MATRIX[0])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_every_float_is_read_as_float32(dtype: torch.dtype, tmp_path: Path) -> None:
    values = torch.tensor([1.0, -0.1, 3e-5, 300.5, -0.0]).to(dtype)
    save_torch_file({"x": values}, tmp_path / "x.safetensors")
    with Weights((tmp_path / "x.safetensors",)) as weights:
        read = weights.read("x")
    assert read.dtype == np.float32
    assert np.array_equal(read, values.float().numpy())


def test_whole_numbers_are_no_weights(tmp_path: Path) -> None:
    save_file({"x": np.arange(3)}, tmp_path / "x.safetensors")
    with (
        Weights((tmp_path / "x.safetensors",)) as weights,
        pytest.raises(ModelError, match="'x' is of type I64; expected one of"),
    ):
        weights.read("x")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_noticed(value: float, tmp_path: Path) -> None:
    save_file({"x": np.array([0, value, 1], np.float16)}, tmp_path / "x.safetensors")
    with (
        Weights((tmp_path / "x.safetensors",)) as weights,
        pytest.raises(ModelError, match="tensor 'x' of .* is not finite; the file is damaged"),
    ):
        weights.read("x")


def test_required_shapes(path: Path) -> None:
    with Weights((path,)) as weights:
        part = weights.below("a.")
        part.require({"matrix": (2, 3), "b.vector": (3,)})
        with pytest.raises(ModelError, match=r"'a.matrix' has the shape \(2, 3\); expected \(3,"):
            part.require({"matrix": (3, 2)})
        with pytest.raises(ModelError, match="has no tensor 'a.other'; it is cut short"):
            part.require({"other": (3, 2)})
        with pytest.raises(ModelError, match="has no tensor 'a.other'"):
            part.read("other")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-4])


def cut_in_header(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:20])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def claim_100_gb_of_header(path: Path) -> None:
    path.write_bytes(struct.pack("<Q", 100 << 30) + b"{}")


def claim_100_gb_of_tensor(path: Path) -> None:
    entry = {"x": {"dtype": "F32", "shape": [25 << 30], "data_offsets": [0, 100 << 30]}}
    header = json.dumps(entry).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(64))


def claim_another_size(path: Path) -> None:
    entry = {"x": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 4]}}
    header = json.dumps(entry).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))


def text(path: Path) -> None:
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")


def bare_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps({"x": [1.0]}))


def torch_archive(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"x": [1.0]}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut, "is no whole safetensors file"),
        (cut_in_header, "is no whole safetensors file"),
        (empty, "is no whole safetensors file"),
        (claim_100_gb_of_header, "is no whole safetensors file"),
        (claim_100_gb_of_tensor, "is no whole safetensors file"),
        (claim_another_size, "is no whole safetensors file"),
        (text, "is no whole safetensors file"),
        (bare_pickle, "is no whole safetensors file; it looks like a pickle"),
        (torch_archive, "is no whole safetensors file; it looks like a pickle"),
    ],
)
def test_what_is_no_whole_file_is_refused(
    damage: Callable[[Path], None], message: str, path: Path
) -> None:
    damage(path)
    with pytest.raises(ModelError, match=f"model.safetensors {message}.*fetch it again"):
        Weights((path,))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"cannot read .*none.safetensors"):
        Weights((tmp_path / "none.safetensors",))


def index_of(folder: Path, names: object) -> None:
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))


def test_shards(path: Path) -> None:
    save_file({"more": MATRIX}, path.with_name("more.safetensors"))
    index_of(path.parent, {"a.matrix": path.name, "more": "more.safetensors", "other": path.name})
    files = weight_files(path.parent)
    assert files == (path, path.with_name("more.safetensors"))
    with Weights(files) as weights:
        assert np.array_equal(weights.read("more"), MATRIX)
        assert np.array_equal(weights.read("a.matrix"), MATRIX)


def test_one_file(path: Path) -> None:
    assert weight_files(path.parent) == (path,)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="has no model.safetensors$"):
        weight_files(tmp_path)
    (tmp_path / "pytorch_model.bin").touch()
    with pytest.raises(ModelError, match="has pytorch_model.bin, a pickle.*antiphon convert"):
        weight_files(tmp_path)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"x": "gone.safetensors"}, "lacks gone.safetensors, which .* names; fetch it again"),
        ({"x": "../x.safetensors"}, "names '../x.safetensors'; expected files of the same folder"),
        ({"x": "/etc/passwd"}, "names '/etc/passwd'; expected files of the same folder"),
        ({"x": 3}, "names 3; expected files of the same folder"),
        ({"x": ["y"]}, "is no index of safetensors files: TypeError"),
        (["x"], "is no index of safetensors files: AttributeError"),
        ({}, "names no files; fetch it again"),
    ],
)
def test_a_bad_index_is_refused(names: object, message: str, path: Path) -> None:
    index_of(path.parent, names)
    with pytest.raises(ModelError, match=message):
        weight_files(path.parent)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"\xff\xfe", b"[" * 200_000])
def test_an_index_that_is_none(content: bytes, path: Path) -> None:
    path.with_name("model.safetensors.index.json").write_bytes(content)
    with pytest.raises(ModelError, match="is no index of safetensors files"):
        weight_files(path.parent)


def test_a_fingerprint_is_of_content_and_order(path: Path, tmp_path: Path) -> None:
    memory = tmp_path / "cache" / "memory.json"
    twin, other = tmp_path / "twin", tmp_path / "other"
    twin.write_bytes(path.read_bytes())
    other.write_bytes(path.read_bytes() + b" ")
    assert fingerprint((path,), memory) == fingerprint((twin,), memory)
    assert fingerprint((path,), memory) != fingerprint((other,), memory)
    assert fingerprint((path, other), memory) != fingerprint((other, path), memory)
    assert fingerprint((path,), memory) == fingerprint((path,), tmp_path / "fresh.json")


def test_a_fingerprint_is_taken_once_until_the_file_changes(path: Path, tmp_path: Path) -> None:
    memory = tmp_path / "memory.json"
    counts: list[int] = []
    first = fingerprint((path,), memory, counts.append)
    size = path.stat().st_size
    assert sum(counts) == size
    assert fingerprint((path,), memory, counts.append) == first
    assert sum(counts) == size, "it was read again"
    before = path.stat().st_mtime_ns
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")  # of the same length
    os.utime(path, ns=(before + 1, before + 1))
    assert fingerprint((path,), memory, counts.append) != first
    assert sum(counts) == 2 * size


def test_a_file_that_took_the_place_of_another_is_read_anew(path: Path, tmp_path: Path) -> None:
    memory = tmp_path / "memory.json"
    first = fingerprint((path,), memory)
    before = path.stat()
    other = tmp_path / "other"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    other.write_bytes(content)
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert fingerprint((path,), memory) != first


@pytest.mark.parametrize("content", [b"", b"[1]", b'{"x": 1}', b'{"x": {"y": 1}}', b"\xff"])
def test_a_damaged_memory_is_forgotten(content: bytes, path: Path, tmp_path: Path) -> None:
    memory = tmp_path / "memory.json"
    expected = fingerprint((path,), memory)
    memory.write_bytes(content)
    assert fingerprint((path,), memory) == expected
    assert json.loads(memory.read_bytes())[str(path.resolve())]["sha256"]


def test_a_fingerprint_of_what_cannot_be_read(path: Path, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot read .*gone"):
        fingerprint((tmp_path / "gone",), tmp_path / "memory.json")
    with pytest.raises(StorageError, match="cannot write .*memory.json"):
        fingerprint((path,), path / "memory.json")
