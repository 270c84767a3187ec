"""The tensors of a checkpoint folder, read one by one without torch. Knows no architecture."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from antiphon.errors import ModelError
from antiphon.files import atomic_write, storage_error
from antiphon.models.manifest import is_safe_name
from antiphon.models.record import sha256_of

WEIGHTS_NAME = "model.safetensors"
INDEX_NAME = "model.safetensors.index.json"
FINGERPRINTS_NAME = "fingerprints.json"  # what `fingerprint` remembers, in a cache
_PICKLE_STARTS = (b"\x80", b"PK\x03\x04")  # a bare pickle, and torch's archive of them
JOINT = "+"  # between the names of tensors that are one array
_FLOATS = ("F64", "F32", "F16", "BF16")
SCALES = ".scales"  # ends the name of the scales of a tensor that is kept in 8 bits

Float32 = NDArray[np.float32]


class Weights:
    """The tensors of one or several safetensors files; `below` shows a part of them.

    Use it as a context manager: the files stay mapped while it is open.
    """

    def __init__(self, files: tuple[Path, ...]) -> None:
        """Open the files. Raises ModelError for one that is no whole safetensors file."""
        self.files = files
        self._prefix = ""
        self._stack = ExitStack()
        self._added: Mapping[str, Sequence[Callable[[], Float32]]] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._readers: dict[str, safe_open] = {}
        try:
            for path in files:
                self._open(path)
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *unused: object) -> None:
        self._stack.close()

    def __contains__(self, name: str) -> bool:
        return self._prefix + name in self._shapes

    def __iter__(self) -> Iterator[str]:
        """The names, without the scales of what is kept in 8 bits: these go with it."""
        start = len(self._prefix)
        for name in self._shapes:
            is_scale = name.endswith(SCALES) and name.removesuffix(SCALES) in self._shapes
            if name.startswith(self._prefix) and not is_scale:
                yield name[start:]

    def below(self, prefix: str) -> Weights:
        """The same files, seen from below `prefix`; open as long as this one is."""
        view = object.__new__(Weights)
        view.__dict__.update(vars(self))
        view._prefix = self._prefix + prefix
        return view

    def with_added(self, added: Mapping[str, Sequence[Callable[[], Float32]]]) -> Weights:
        """The same files with something added to some tensors, by their names in the files, when
        they are read; open as long as this one is."""
        view = self.below("")
        view._added = added
        return view

    def label(self, *names: str) -> str:
        """What an array is called that holds these tensors one after the other: their names in the
        files, by which `unexport` finds them again."""
        return JOINT.join(self._prefix + name for name in names)

    def shape(self, name: str) -> tuple[int, ...]:
        """Raises ModelError if there is no such tensor."""
        try:
            return self._shapes[self._prefix + name]
        except KeyError:
            raise ModelError(
                f"{self.files[0].parent} has no tensor {self._prefix + name!r}; it is cut short, "
                "or of another kind than its config.json says"
            ) from None

    def kind(self, name: str) -> str:
        """The type of its values as safetensors calls it, such as F16. Raises ModelError."""
        self.shape(name)
        full = self._prefix + name
        return str(self._readers[full].get_slice(full).get_dtype())  # type: ignore[no-untyped-call]

    def read(self, name: str) -> Float32:
        """One tensor as float32, also one that `in_8_bits` made. Raises ModelError if it is not
        there, holds no floats, or is not finite: a damaged file would otherwise be noticed by its
        noise."""
        kind = self.kind(name)
        full = self._prefix + name
        reader = self._readers[full]
        is_packed = kind == "I8" and name + SCALES in self
        if kind not in _FLOATS and not is_packed:
            raise ModelError(f"tensor {full!r} is of type {kind}; expected one of {_FLOATS}")
        values: Float32 = reader.get_tensor(full).astype(np.float32)  # type: ignore[no-untyped-call]
        if is_packed:
            scales = self.read(name + SCALES)
            if scales.shape != values.shape[:1]:
                raise ModelError(
                    f"tensor {full!r} has {len(values)} rows and the scales of {scales.shape}; "
                    "expected one for each row"
                )
            values *= scales.reshape(-1, *[1] * (values.ndim - 1))
        for more in self._added.get(full, ()):
            values = values + more()
        if not np.isfinite(values).all():
            raise ModelError(
                f"tensor {full!r} of {self.files[0].parent} is not finite; the file is damaged: "
                "'antiphon models verify' tells more, a new download mends it"
            )
        return values

    def require(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Raise ModelError for the first tensor that is absent or of another shape."""
        for name, expected in shapes.items():
            if self.shape(name) != expected:
                raise ModelError(
                    f"tensor {self._prefix + name!r} has the shape {self.shape(name)}; expected "
                    f"{expected} by config.json; the two do not belong together"
                )

    def _open(self, path: Path) -> None:
        try:
            with path.open("rb") as file:
                start = file.read(8)
            reader = self._stack.enter_context(safe_open(path, framework="np"))
            names = list(reader.keys())
            for name in names:
                self._shapes[name] = tuple(reader.get_slice(name).get_shape())
                self._readers[name] = reader
        except SafetensorError as error:
            looks = "; it looks like a pickle" if start.startswith(_PICKLE_STARTS) else ""
            raise ModelError(
                f"{path} is no whole safetensors file{looks} ({error}); fetch it again"
            ) from error
        except OSError as error:
            raise storage_error("read", path, error) from error


def in_8_bits(values: Float32) -> tuple[NDArray[np.int8], Float32]:
    """[M, ...] as whole numbers of -127 to 127, and the scale [M] of each row."""
    rows = values.reshape(len(values), -1)
    scales = np.abs(rows).max(1) / np.float32(127)
    steps = rows / np.where(scales > 0, scales, 1)[:, None]
    return np.rint(steps).astype(np.int8).reshape(values.shape), scales.astype(np.float32)


def weight_files(folder: Path) -> tuple[Path, ...]:
    """The safetensors files of a checkpoint, sharded or not.

    Raises ModelError if there are none, or if the index is not understood.
    """
    index = folder / INDEX_NAME
    if not index.is_file():
        if (folder / WEIGHTS_NAME).is_file():
            return (folder / WEIGHTS_NAME,)
        pickles = [path.name for path in sorted(folder.glob("*.bin"))]
        way_out = (
            f"; it has {pickles[0]}, a pickle, which may run code when it is loaded: "
            "'antiphon convert' makes safetensors of it"
            if pickles
            else ""
        )
        raise ModelError(f"{folder} has no {WEIGHTS_NAME}{way_out}")
    try:
        names = sorted(set(json.loads(index.read_bytes())["weight_map"].values()))
    except OSError as error:
        raise storage_error("read", index, error) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(f"{index} is no index of safetensors files: {error!r}") from error
    if not names:
        raise ModelError(f"{index} names no files; fetch it again")
    for name in names:
        if not isinstance(name, str) or not is_safe_name(name):
            raise ModelError(f"{index} names {name!r}; expected files of the same folder")
        if not (folder / name).is_file():
            raise ModelError(f"{folder} lacks {name}, which {INDEX_NAME} names; fetch it again")
    return tuple(folder / name for name in names)


@dataclass(frozen=True)
class _Seen:
    """What a file looked like when its checksum was taken."""

    size_bytes: int
    modified_ns: int
    changed_ns: int  # cannot be set back, as the other time can
    inode: int
    sha256: str

    def is_of(self, status: os.stat_result) -> bool:
        """Whether a file still looks like this."""
        seen = (self.size_bytes, self.modified_ns, self.changed_ns, self.inode)
        return seen == (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


def fingerprint(
    files: tuple[Path, ...], memory: Path, on_bytes: Callable[[int], None] | None = None
) -> str:
    """A checksum of the content of the files, in this order.

    `memory` is a file that keeps the checksum of each file with its size and times: gigabytes are
    read once, not before every piece. Raises StorageError.
    """
    seen = _read_memory(memory)
    digest = hashlib.sha256()
    changed = False
    for path in files:
        try:
            place = str(path.resolve())
            status = path.stat()
        except OSError as error:
            raise storage_error("read", path, error) from error
        known = seen.get(place)
        if known is None or not known.is_of(status):
            checksum = sha256_of(path, on_bytes)
            times = (status.st_mtime_ns, status.st_ctime_ns)
            known = _Seen(status.st_size, *times, status.st_ino, checksum)
            seen[place] = known
            changed = True
        digest.update(known.sha256.encode())
    if changed:
        try:
            memory.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise storage_error("write", memory, error) from error
        atomic_write(memory, json.dumps({k: vars(v) for k, v in seen.items()}).encode())
    return digest.hexdigest()


def _read_memory(path: Path) -> dict[str, _Seen]:
    """Nothing, where there is nothing or nothing of use: it is only a shortcut."""
    try:
        return {place: _Seen(**values) for place, values in json.loads(path.read_bytes()).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
