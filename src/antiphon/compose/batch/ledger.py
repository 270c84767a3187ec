"""What a batch remembers, beside the pieces: one line for everything that begins, ends or fails.

A kill may cost the last line, never the ones before. Knows no prompts and no model.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

from antiphon.errors import StorageError
from antiphon.files import locked, storage_error

NAME = ".antiphon-batch.jsonl"
# A run that is just ending takes its lock away; after that long it is one that goes on.
_LOCK_TIMEOUT_SECONDS = 1.0

Status = Literal["begun", "done", "failed"]


@dataclass(frozen=True)
class Entry:
    """The last that is known of a piece; `key` stands for all it is made from.

    `output` is its file relative to the folder, `line` where it stood; `error` and `exit_code` say
    why it failed.
    """

    key: str
    status: Status
    output: str | None
    line: int
    error: str | None = None
    exit_code: int = 0


class Ledger:
    """The ledger of a folder; one writer at a time (`opened`)."""

    def __init__(self, path: Path, file: io.FileIO) -> None:
        self._path = path
        self._file = file
        self._entries: dict[str, Entry] = {}
        self._holders: dict[str, str] = {}  # output -> key of what was written there last
        self._read()

    def failure(self, key: str) -> Entry | None:
        """Why the piece failed when it was tried last."""
        entry = self._entries.get(key)
        return entry if entry is not None and entry.status == "failed" else None

    def is_done(self, key: str, output: str) -> bool:
        """Whether it was finished, and nothing else was begun in its place since then."""
        entry = self._entries.get(key)
        return entry is not None and entry.status == "done" and self._holders.get(output) == key

    def add(self, entry: Entry) -> None:
        """Remember it, also through a power cut. Raises StorageError (DiskFullError)."""
        line = json.dumps({k: v for k, v in asdict(entry).items() if v is not None})
        data = f"{line}\n".encode()
        try:
            while data:
                data = data[self._file.write(data) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            raise storage_error("write", self._path, error) from error
        self._take(entry)

    def _read(self) -> None:
        end = 0
        for line in self._file.read().splitlines(keepends=True):
            if not line.endswith(b"\n"):
                break  # a killed run was writing it
            end += len(line)
            entry = _entry(line)
            if entry is not None:
                self._take(entry)
        self._file.seek(end)
        self._file.truncate()

    def _take(self, entry: Entry) -> None:
        self._entries[entry.key] = entry
        if entry.output is not None and entry.status != "failed":
            self._holders[entry.output] = entry.key


@contextmanager
def opened(folder: Path) -> Iterator[Ledger]:
    """The ledger of `folder`, held against other runs as long as the block lasts.

    Raises StorageError when another run has it, or if it cannot be written.
    """
    path = folder / NAME
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(path, _LOCK_TIMEOUT_SECONDS))
            # Unbuffered: what a full disk refused is not written once more when it is closed.
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            ledger = Ledger(path, stack.enter_context(os.fdopen(descriptor, "r+b", buffering=0)))
        except StorageError as error:
            raise StorageError(
                f"another run is composing into {str(folder)!r}; wait until it has ended, or give "
                "this one a folder of its own"
            ) from error
        except OSError as error:
            raise storage_error("write", path, error) from error
        yield ledger


def _entry(line: bytes) -> Entry | None:
    """None for what is no entry, such as a line that a bad disk spoilt: its piece is made anew."""
    try:
        entry = Entry(**json.loads(line))
    except (ValueError, TypeError):
        return None
    return entry if entry.status in get_args(Status) else None
