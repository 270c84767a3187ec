"""The writer of safetensors files against the library's reader."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from antiphon.compose.conversion.tensors import (
    Tensor,
    largest_difference,
    opened,
    write_safetensors,
)
from antiphon.errors import StorageError

pytestmark = pytest.mark.unit


def test_all_types_of_values_survive(tmp_path: Path) -> None:
    arrays = {
        "a": np.array([True, False, True]),
        "b": np.arange(5, dtype=np.int64),
        "c": np.arange(3, dtype=np.float16).reshape(3, 1),
        "d": np.array(2.5, np.float32),
        "e": np.zeros((0, 4), np.float64),
        "f": np.arange(7, dtype=np.uint8),
    }
    kinds = {"a": "BOOL", "b": "I64", "c": "F16", "d": "F32", "e": "F64", "f": "U8"}
    tensors = {
        name: Tensor(kinds[name], array.shape, lambda array=array: array)
        for name, array in arrays.items()
    }
    tensors["g"] = Tensor("BF16", (2,), lambda: np.array([0x3F80, 0xC000], np.uint16))
    seen: list[int] = []
    write_safetensors(tmp_path / "x.safetensors", tensors, seen.append)
    found = load_file(tmp_path / "x.safetensors")
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name].numpy(), array)
    assert found["g"].tolist() == [1.0, -2.0]
    with opened(tmp_path / "x.safetensors") as result:
        assert result["g"].values().tolist() == [1.0, -2.0]
    assert sum(seen) == sum(tensor.size_bytes for tensor in tensors.values())
    with pytest.raises(StorageError, match="cannot write"):
        write_safetensors(tmp_path / "x.safetensors", tensors, seen.append)


def test_differences() -> None:
    ones = np.ones(3, np.float32)
    assert largest_difference(ones, ones) == 0.0
    assert largest_difference(ones, -ones) == 2.0
    assert largest_difference(ones, np.ones(4, np.float32)) == float("inf")
    assert largest_difference(ones, ones * np.nan) == float("inf")
