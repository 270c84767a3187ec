"""Many independent items, worked on by several processes, so that no crash loses what is done.

The same items again complete what is missing: what is done is known by the key of an item, which
stands for all that its result is made from. Knows no audio: the work is handed in.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from antiphon import journal
from antiphon.errors import AntiphonError, DiskFullError, EngineError
from antiphon.journal import Journal
from antiphon.workers import Lost, WorkerPool

Record = Mapping[str, object]
OnClip = Callable[[int, int], None]  # is told which clip of how many is done
Payload = TypeVar("Payload")
PayloadIn = TypeVar("PayloadIn", contravariant=True)

_POLL_SECONDS = 0.2  # how soon a wish to stop is noticed
_SYNC_SECONDS = 2.0  # what a power cut, but no kill, may cost

logger = logging.getLogger(__name__)


class Work(Protocol[PayloadIn]):
    """What is done with an item; pickled into each worker, where `open` runs once.

    The function makes plain data of an item. It may raise whatever it likes: that is its item's
    failure, but for a full disk.
    """

    def open(self) -> Callable[[PayloadIn], Record]: ...


@dataclass(frozen=True)
class Item(Generic[Payload]):
    """`key` stands for all that the result is made from (`key_of`), `name` is for people."""

    key: str
    name: str
    payload: Payload


@dataclass(frozen=True)
class Outcome:
    """What became of an item: its record, or an error; `is_new` if it was made in this run."""

    name: str
    record: Record | None
    error: str | None = None
    exit_code: int = 0
    is_new: bool = False


@dataclass(frozen=True)
class Progress:
    """`settled` of `total` items need no more work, `failed` of them because they cannot."""

    settled: int
    total: int
    failed: int


@dataclass(frozen=True)
class RunOptions:
    """How a run is done; none of it changes a result."""

    jobs: int
    retry_failed: bool = False
    timeout_seconds: float = 600.0
    on_progress: Callable[[Progress], None] = lambda progress: None
    should_stop: Callable[[], bool] = lambda: False


@dataclass(frozen=True)
class Result:
    """One outcome for each item, in their order; None for those that a stop left out."""

    outcomes: tuple[Outcome | None, ...]

    @property
    def records(self) -> tuple[Record, ...]:
        return tuple(o.record for o in self.outcomes if o is not None and o.record is not None)

    @property
    def failures(self) -> tuple[Outcome, ...]:
        return tuple(o for o in self.outcomes if o is not None and o.record is None)

    @property
    def is_complete(self) -> bool:
        return None not in self.outcomes


def key_of(*parts: object) -> str:
    """A short name for plain data."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def run_items(
    items: Sequence[Item[Payload]],
    work: Work[Payload],
    ledger: Path,
    options: RunOptions,
    still_there: Callable[[Item[Payload], Record], bool] = lambda item, record: True,
) -> Result:
    """Work on all `items` that `ledger` does not know yet; it is the file that remembers them.

    What it knows and is not `still_there`, because somebody removed it or something else took its
    place, is made anew. Once `should_stop` says so no further item is begun, and those in work are
    finished.
    Raises StorageError when another run has the ledger, DiskFullError, EngineError if no worker can
    start.
    """
    ledger.parent.mkdir(parents=True, exist_ok=True)
    busy = f"another run is at work on {ledger}; wait until it has ended"
    with journal.opened(ledger, busy) as log:
        run = _Run(items, log, options, still_there)
        if run.missing:
            run.work(work)
        return Result(tuple(run.outcomes.get(item.key) for item in items))


class _Run(Generic[Payload]):
    def __init__(
        self,
        items: Sequence[Item[Payload]],
        log: Journal,
        options: RunOptions,
        still_there: Callable[[Item[Payload], Record], bool],
    ) -> None:
        self._log = log
        self._options = options
        self._synced = time.monotonic()
        self.outcomes: dict[str, Outcome] = {}
        known = {str(entry.get("key")): entry for entry in log.entries}
        self.missing: dict[str, Item[Payload]] = {}
        for item in items:
            entry = known.get(item.key)
            outcome = None if entry is None else _known(item, entry)
            record = None if outcome is None else outcome.record
            if record is not None and not still_there(item, record):
                outcome = None
            if outcome is None or (outcome.record is None and options.retry_failed):
                self.missing[item.key] = item
            else:
                self.outcomes[item.key] = outcome
        self._total = len(self.outcomes) + len(self.missing)
        self._failed = sum(outcome.record is None for outcome in self.outcomes.values())

    def work(self, work: Work[Payload]) -> None:
        options = self._options
        size = min(options.jobs, len(self.missing))
        self._tell()
        pool: WorkerPool[Item[Payload], Outcome] = WorkerPool(
            _Task(work), size, options.timeout_seconds
        )
        with pool:
            for item in self.missing.values():
                while pool.full:
                    self._collect(pool)
                if options.should_stop():
                    break
                pool.submit(item)
            while pool.busy:
                self._collect(pool)

    def _collect(self, pool: WorkerPool[Item[Payload], Outcome]) -> None:
        for finished in pool.collect(_POLL_SECONDS):
            result = finished.result
            if isinstance(result, Lost) and self._options.should_stop():
                continue  # ended with the run, and no fault of the item
            if isinstance(result, Lost):
                result = Outcome(finished.item.name, None, result.reason, 1, True)
            self._settle(finished.item.key, result)

    def _settle(self, key: str, outcome: Outcome) -> None:
        self.outcomes[key] = outcome
        self._failed += outcome.record is None
        durable = time.monotonic() - self._synced > _SYNC_SECONDS
        entry = {"key": key, "record": outcome.record, "error": outcome.error}
        self._log.add({**entry, "exit_code": outcome.exit_code or None}, durable=durable)
        if durable:
            self._synced = time.monotonic()
        self._tell()

    def _tell(self) -> None:
        self._options.on_progress(Progress(len(self.outcomes), self._total, self._failed))


@dataclass(frozen=True)
class _Task(Generic[Payload]):
    """The work as the pool wants it: failures of an item are results."""

    work: Work[Payload]

    def open(self) -> Callable[[Item[Payload]], Outcome]:
        function = self.work.open()

        def outcome(item: Item[Payload]) -> Outcome:
            try:
                return Outcome(item.name, function(item.payload), is_new=True)
            except DiskFullError:
                raise
            except AntiphonError as error:
                return Outcome(item.name, None, str(error), error.exit_code, True)
            except Exception as error:
                logger.debug("item failed", exc_info=True)
                defect = EngineError(f"unexpected {type(error).__name__}: {error}")
                return Outcome(item.name, None, str(defect), defect.exit_code, True)

        return outcome


def _known(item: Item[Payload], entry: Mapping[str, object]) -> Outcome | None:
    """What the ledger says of an item; None for an entry that is none."""
    record, error, code = entry.get("record"), entry.get("error"), entry.get("exit_code", 0)
    if isinstance(record, dict):
        return Outcome(item.name, record)
    if isinstance(error, str) and isinstance(code, int):
        return Outcome(item.name, None, error, code)
    return None
