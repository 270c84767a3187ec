"""A journal: one JSON object a line, only ever appended to, by one process at a time.

A kill may cost the last line, never the ones before. Knows no entries: they are plain objects.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from antiphon.errors import StorageError
from antiphon.files import locked, storage_error

# A run that is just ending takes its lock away; after that long it is one that goes on.
_LOCK_TIMEOUT_SECONDS = 1.0


class Journal:
    """What a file holds, and its end to write at; see `opened`."""

    def __init__(self, path: Path, file: io.FileIO) -> None:
        self._path = path
        self._file = file
        self.entries = self._read()
        """What was there when it was opened, without lines that are no objects, such as one that a
        bad disk spoilt."""

    def add(self, entry: Mapping[str, object], *, durable: bool = True) -> None:
        """Append it; fields that are None are left out. `durable`: also through a power cut.

        Raises StorageError (DiskFullError).
        """
        data = f"{json.dumps({k: v for k, v in entry.items() if v is not None})}\n".encode()
        try:
            while data:
                data = data[self._file.write(data) :]
            if durable:
                os.fsync(self._file.fileno())
        except OSError as error:
            raise storage_error("write", self._path, error) from error

    def _read(self) -> list[dict[str, object]]:
        end = 0
        found = []
        for line in self._file.read().splitlines(keepends=True):
            if not line.endswith(b"\n"):
                break  # a killed run was writing it
            end += len(line)
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict):
                found.append(entry)
        self._file.seek(end)
        self._file.truncate()
        return found


@contextmanager
def opened(path: Path, busy: str) -> Iterator[Journal]:
    """The journal at `path`, held against other processes as long as the block lasts.

    Raises StorageError with the message `busy` when another one has it, or if it cannot be written.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(path, _LOCK_TIMEOUT_SECONDS))
            # Unbuffered: what a full disk refused is not written once more when it is closed.
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            journal = Journal(path, stack.enter_context(os.fdopen(descriptor, "r+b", buffering=0)))
        except StorageError as error:
            raise StorageError(busy) from error
        except OSError as error:
            raise storage_error("write", path, error) from error
        yield journal
