"""What a batch remembers, beside the pieces: one line for everything that begins, ends or fails.

Knows no prompts and no model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from antiphon import journal
from antiphon.journal import Journal

NAME = ".antiphon-batch.jsonl"

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

    def __init__(self, log: Journal) -> None:
        self._journal = log
        self._entries: dict[str, Entry] = {}
        self._holders: dict[str, str] = {}  # output -> key of what was written there last
        for fields in log.entries:
            entry = _entry(fields)
            if entry is not None:
                self._take(entry)

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
        self._journal.add(asdict(entry))
        self._take(entry)

    def _take(self, entry: Entry) -> None:
        self._entries[entry.key] = entry
        if entry.output is not None and entry.status != "failed":
            self._holders[entry.output] = entry.key


@contextmanager
def opened(folder: Path) -> Iterator[Ledger]:
    """The ledger of `folder`, held against other runs as long as the block lasts.

    Raises StorageError when another run has it, or if it cannot be written.
    """
    busy = (
        f"another run is composing into {str(folder)!r}; wait until it has ended, or give this one "
        "a folder of its own"
    )
    with journal.opened(folder / NAME, busy) as log:
        yield Ledger(log)


def _entry(fields: Mapping[str, Any]) -> Entry | None:
    """None for what is no entry: its piece is made anew."""
    try:
        entry = Entry(**{"output": None, **fields})
    except TypeError:
        return None
    return entry if entry.status in get_args(Status) else None
