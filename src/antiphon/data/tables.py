"""Parquet files that say of themselves what they are, and appear whole or not at all."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from antiphon.errors import ConfigError, DependencyError
from antiphon.files import replacing, storage_error

if TYPE_CHECKING:
    import pyarrow

_META = b"antiphon"  # the key of what a file says of itself


def read_table(
    path: Path, expected: str, columns: Sequence[str] | None = None
) -> tuple[pyarrow.Table, bytes]:
    """The table of a file, and what the file says of itself; `expected` names what it should be.

    Of `columns` only those are read that the file has, and only those are checked for damage; None:
    all.

    Raises StorageError if it cannot be read, ConfigError for a file that is no table of ours or is
    cut short, DependencyError where pyarrow is not installed.
    """
    require_pyarrow()
    import pyarrow
    import pyarrow.parquet

    if path.is_dir():
        raise ConfigError(f"{path} is a folder; expected {expected}")
    try:
        with path.open("rb") as file:
            # In this thread: where one of Arrow's own is only starting when the process ends, the
            # process is aborted (one run of five).
            table = pyarrow.parquet.ParquetFile(
                file, pre_buffer=False, page_checksum_verification=True
            ).read(None if columns is None else list(columns), use_threads=False)
    except pyarrow.ArrowException as error:
        raise ConfigError(
            f"{path} is no whole Parquet file: {error}; expected {expected}"
        ) from error
    except OSError as error:
        if error.errno is None:  # Arrow's own, for a damaged file
            raise ConfigError(
                f"{path} is no whole Parquet file: {error}; expected {expected}"
            ) from error
        raise storage_error("read", path, error) from error
    said = (table.schema.metadata or {}).get(_META)
    if said is None:
        raise ConfigError(f"{path} is a Parquet file of something else; expected {expected}")
    return table, said


def said_of(path: Path) -> bytes | None:
    """What a file says of itself, without its rows; None where there is none, or it is damaged."""
    import pyarrow
    import pyarrow.parquet

    try:
        metadata = pyarrow.parquet.read_schema(path).metadata or {}
    except (OSError, pyarrow.ArrowException):
        return None
    found: bytes | None = metadata.get(_META)
    return found


def write_table(
    path: Path, columns: Mapping[str, Sequence[object]], schema: pyarrow.Schema, said: str
) -> None:
    """Write a table; `said` is what it says of itself. Raises StorageError (DiskFullError)."""
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table(dict(columns), schema.with_metadata({_META: said.encode()}))
    words = [field.name for field in schema if pyarrow.types.is_string(field.type)]
    # Codes hardly get smaller, and are read three times as fast.
    packed = {
        field.name: "lz4" if pyarrow.types.is_binary(field.type) else "zstd" for field in schema
    }
    with replacing(path) as temporary:
        pyarrow.parquet.write_table(
            table,
            temporary,
            compression=packed,
            use_dictionary=words,  # numbers and codes hardly repeat
            write_page_checksum=True,
        )


def schema(types: Mapping[str, str]) -> pyarrow.Schema:
    """A schema of columns by the names of their types, such as `string`."""
    require_pyarrow()
    import pyarrow

    return pyarrow.schema([(name, getattr(pyarrow, kind)()) for name, kind in types.items()])


def require_pyarrow() -> None:
    """Raise DependencyError where pyarrow is not installed."""
    if "pyarrow" not in sys.modules and find_spec("pyarrow") is None:
        raise DependencyError(
            "manifests and shards are Parquet, which needs pyarrow; pip install 'antiphon[train]'"
        )
