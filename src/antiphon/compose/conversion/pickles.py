"""Weights in files of torch, which are pickles: read without running what is in them.

`torch.load(weights_only=True)` builds tensors and plain containers and refuses everything else.
"""

from __future__ import annotations

import json
import pickle
import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from antiphon.compose.conversion.tensors import Tensor
from antiphon.errors import DependencyError, ModelError
from antiphon.files import storage_error
from antiphon.models.manifest import is_safe_name

if TYPE_CHECKING:
    import torch

PICKLE_NAME = "pytorch_model.bin"
PICKLE_INDEX_NAME = "pytorch_model.bin.index.json"
_KINDS = {
    "float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "int64": "I64",
    "int32": "I32", "int16": "I16", "int8": "I8", "uint8": "U8", "bool": "BOOL",
}  # fmt: skip
_REFUSED = re.compile(r"GLOBAL ([\w.]+)")  # in the message of torch


def read_pickle(path: Path) -> Mapping[str, object]:
    """What `path` holds by name; tensors stay in the file until they are read, if it is not of the
    kind that torch wrote before 1.6.

    Raises DependencyError without torch; ModelError for a file that needs code to be loaded, that
    is damaged or holds no names; StorageError.
    """
    try:
        import torch
    except ImportError as error:
        raise DependencyError(
            f"{path} is a file of torch, which is not installed: pip install 'antiphon[torch]'"
        ) from error
    try:
        content = torch.load(
            path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path)
        )
    except pickle.UnpicklingError as error:
        found = _REFUSED.search(str(error))
        needs = f"asks for {found[1]}" if found else f"is refused ({str(error).splitlines()[0]})"
        raise ModelError(
            f"{path} {needs}: only tensors and plain values are loaded, as anything else may be "
            "code; expected a release checkpoint, or one whose tensors and settings its maker "
            "saved as plain values"
        ) from error
    except OSError as error:
        raise storage_error("read", path, error) from error
    except (RuntimeError, EOFError, ValueError, KeyError, AttributeError) as error:
        reason = str(error).splitlines()[:1]
        raise ModelError(
            f"{path} is no whole file of torch ({''.join(reason)}); fetch it again"
        ) from error
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise ModelError(f"{path} holds {type(content).__name__}; expected names with values")
    return cast("Mapping[str, object]", content)


def tensors_of(state: object, where: str) -> dict[str, Tensor]:
    """The tensors of a state dict; of two names for the same memory only the first counts.

    Raises ModelError for what holds anything else; `where` names it.
    """
    import torch

    if not isinstance(state, dict) or not state:
        raise ModelError(f"{where} holds {type(state).__name__}; expected tensors by name")
    found: dict[str, Tensor] = {}
    seen: set[tuple[object, ...]] = set()
    for name, tensor in state.items():
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
            raise ModelError(f"{where}: {name!r} is {type(tensor).__name__}; expected a tensor")
        kind = _KINDS.get(str(tensor.dtype).removeprefix("torch."))
        if kind is None or tensor.layout != torch.strided:
            raise ModelError(
                f"{where}: {name!r} is of type {tensor.dtype}, {tensor.layout}; expected a plain "
                "tensor of floats or whole numbers"
            )
        shape = tuple(tensor.shape)
        memory = (tensor.data_ptr(), kind, shape, tensor.stride())
        if memory in seen and tensor.numel():
            continue
        seen.add(memory)
        found[name] = Tensor(kind, shape, _reader(tensor))
    return found


def pickle_files(folder: Path) -> tuple[Path, ...]:
    """The pickled weights of a folder in the layout of transformers; none is no error.

    Raises ModelError for an index that is not understood.
    """
    index = folder / PICKLE_INDEX_NAME
    if not index.is_file():
        return (folder / PICKLE_NAME,) if (folder / PICKLE_NAME).is_file() else ()
    try:
        names = sorted({str(n) for n in json.loads(index.read_bytes())["weight_map"].values()})
    except OSError as error:
        raise storage_error("read", index, error) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(f"{index} is no index of weights: {error!r}") from error
    for name in names:
        if not is_safe_name(name):
            raise ModelError(f"{index} names {name!r}; expected files of the same folder")
        if not (folder / name).is_file():
            raise ModelError(f"{folder} lacks {name}, which {index.name} names; fetch it again")
    return tuple(folder / name for name in names)


def _reader(tensor: torch.Tensor) -> Callable[[], NDArray[np.generic]]:
    def read() -> NDArray[np.generic]:
        import torch

        plain = tensor.detach().contiguous()
        if plain.dtype == torch.bfloat16:  # numpy has none
            plain = plain.view(torch.int16)
        values: NDArray[np.generic] = plain.numpy()
        return values

    return read
