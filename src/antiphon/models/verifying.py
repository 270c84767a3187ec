"""Whether the files of a model still are what they were."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from antiphon.models.manifest import ModelFile
from antiphon.models.record import sha256_of
from antiphon.models.store import Stored, data_files


@dataclass(frozen=True)
class FileCheck:
    """What was found; `unknown` is a file of which nobody wrote down what it must be."""

    name: str
    verdict: Literal["ok", "missing", "damaged", "unknown"]
    found: str


def verify(stored: Stored, on_bytes: Callable[[int], None] | None = None) -> tuple[FileCheck, ...]:
    """Check size and sha256 of every file of a model against the manifest, or the record of its
    pull; `on_bytes` is told how many bytes were just read.

    Raises StorageError for a file that cannot be read.
    """
    names = {file.name for file in stored.files}
    unlisted = data_files(stored.folder) if stored.model.files is None else []
    files = [*stored.files, *(ModelFile(name) for name in unlisted if name not in names)]
    return tuple(_check(stored, file, on_bytes) for file in files)


def bytes_to_read(stored: Stored) -> int:
    """How many bytes `verify` will read."""
    paths = [stored.folder / file.name for file in stored.files if file.sha256]
    return sum(path.stat().st_size for path in paths if path.is_file())


def _check(stored: Stored, file: ModelFile, on_bytes: Callable[[int], None] | None) -> FileCheck:
    path = stored.folder / file.name
    if not path.is_file():
        return FileCheck(file.name, "missing", "it is not there")
    size = path.stat().st_size
    if file.size_bytes not in (None, size):
        return FileCheck(
            file.name, "damaged", f"it has {size:,} bytes; expected {file.size_bytes:,}"
        )
    if file.sha256 is None:
        return FileCheck(file.name, "unknown", f"{size:,} bytes; no checksum is known")
    found = sha256_of(path, on_bytes)
    if found != file.sha256:
        return FileCheck(file.name, "damaged", f"its sha256 is {found}; expected {file.sha256}")
    return FileCheck(file.name, "ok", f"{size:,} bytes, sha256 as expected")
