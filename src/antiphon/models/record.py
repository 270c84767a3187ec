"""`antiphon-model.json`: where the files of a folder came from, and what they were then.

Written before the first byte comes, so that an interrupted pull is known to be one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from antiphon.errors import ConfigError, ModelError
from antiphon.files import replacing, storage_error
from antiphon.models.manifest import RECORD_NAME, ModelFile
from antiphon.plain import read_json, write_json

BLOCK_BYTES = 1 << 20
_LIMIT_BYTES = 16 << 20


@dataclass(frozen=True)
class Record:
    """`source` is an address or a folder; the revision is None where there is none, or where the
    files are of more than one."""

    repo: str | None
    revision: str | None
    source: str
    files: tuple[ModelFile, ...]

    def file(self, name: str) -> ModelFile | None:
        return next((file for file in self.files if file.name == name), None)


def read_record(folder: Path) -> Record | None:
    """The record in `folder`; None where there is none.

    Raises ModelError for one that is not understood, StorageError for one that cannot be read.
    """
    path = folder / RECORD_NAME
    try:
        with path.open("rb") as file:
            data = file.read(_LIMIT_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise storage_error("read", path, error) from error
    try:
        return read_json(Record, data, str(path))
    except ConfigError as error:
        raise ModelError(f"{error}; delete it and pull again: what is whole is kept") from error


def write_record(folder: Path, record: Record, *, keep_others: bool) -> None:
    """Write `record`; `keep_others` keeps what it says of further files, as models may share a
    folder."""
    with replacing(folder / RECORD_NAME) as temporary:
        old = read_record(folder) if keep_others else None
        files = {file.name: file for file in (*(old.files if old else ()), *record.files)}
        revision: str | None = record.revision
        if old is not None and len(files) > len(record.files) and old.revision != revision:
            revision = None
        merged = replace(record, revision=revision, files=tuple(files.values()))
        temporary.write_text(write_json(merged) + "\n", encoding="utf-8")


def forget(folder: Path, names: Iterable[str]) -> None:
    """Take files out of the record; the record goes with the last one."""
    gone = frozenset(names)
    old = read_record(folder)
    if old is None:
        return
    left = tuple(file for file in old.files if file.name not in gone)
    if left:
        write_record(folder, replace(old, files=left), keep_others=False)
    else:
        (folder / RECORD_NAME).unlink()


def sha256_of(path: Path, on_bytes: Callable[[int], None] | None = None) -> str:
    """The checksum of a file; `on_bytes` is told how many bytes each block had.

    Raises StorageError.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(BLOCK_BYTES):
                digest.update(block)
                if on_bytes:
                    on_bytes(len(block))
    except OSError as error:
        raise storage_error("read", path, error) from error
    return digest.hexdigest()
