"""The library run: describe many tracks, each once, so that no crash loses what is done.

The same command again completes what is missing. What is done is known by the content of a file
and the settings that made the result, never by whether some output exists. Knows no model: what
describes one track is handed in. The unit of work is a list of tracks with outputs of its own, so
that a cluster can take many.
"""

from __future__ import annotations

import errno
import itertools
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from antiphon import files
from antiphon.audio import AUDIO_SUFFIXES
from antiphon.description import Description, joined
from antiphon.errors import AntiphonError, AudioError, DiskFullError, EngineError, StorageError
from antiphon.facts import Facts
from antiphon.listen.library_outputs import (
    Outputs,
    Tally,
    from_record,
    to_record,
    write_results,
)
from antiphon.listen.library_state import Identity, LibraryState, Run, path_identity
from antiphon.workers import Lost, WorkerPool

Outcome = Literal["described", "already done", "failed", "busy"]

_POLL_SECONDS = 0.2  # how soon a wish to stop, or a track over its time, is noticed
_BUSY_WAIT_SECONDS = 0.5  # between looks at tracks that another run has in hand

logger = logging.getLogger(__name__)


Describe = Callable[[Path, tuple[str, ...], Facts | None], Description]


class Describing(Protocol):
    """What describes tracks; pickled into each worker, where `load` runs once.

    `kinds` are the texts that are wanted, each with what changes it alone; `settings_key` names
    everything else that changes a result. The describing function is asked for some of the kinds,
    and given the facts where they are known. It may raise whatever it likes: that is its track's
    failure.
    """

    @property
    def settings_key(self) -> str: ...

    @property
    def kinds(self) -> Mapping[str, str]: ...

    def load(self) -> Describe: ...


@dataclass(frozen=True)
class RunOptions:
    """How a run is done; none of it changes a result."""

    jobs: int
    track_timeout_seconds: float
    retry_failed: bool = False


@dataclass(frozen=True)
class Progress:
    """How far a run has come: `settled` of `total` tracks need no more work, `failed` of them
    because they cannot be described."""

    settled: int
    total: int
    failed: int


@dataclass(frozen=True)
class Summary:
    """What a run did: `described` counts the tracks that it measured itself."""

    described: int
    tally: Tally
    interrupted: bool
    seconds: float


@dataclass(frozen=True)
class Tracks:
    """The tracks at `paths`, found anew at every walk so that none need be kept in memory.

    A file stands for itself, whatever its name; a folder for all files below it, at any depth, with
    an audio suffix. In the order of their paths within each of `paths`; hidden names are left out,
    links to folders are followed, each folder is entered once. A folder that cannot be listed is
    handed on like a track, which makes it a failure of its own.
    """

    paths: tuple[Path, ...]
    limit: int | None = None

    def __iter__(self) -> Iterator[Path]:
        seen: set[tuple[int, int]] = set()
        distinct: dict[str, Path] = {}
        for path in self.paths:
            distinct.setdefault(os.path.abspath(path), path)
        found = (track for path in distinct.values() for track in _walk(path, seen))
        return itertools.islice(found, self.limit)

    def __str__(self) -> str:
        return ", ".join(repr(str(path)) for path in self.paths)


def describe_library(
    tracks: Tracks,
    describing: Describing,
    outputs: Outputs,
    state_folder: Path,
    options: RunOptions,
    *,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Summary:
    """Describe all of `tracks`, which can be walked several times, and write `outputs`.

    Once `should_stop` says so no further track is begun, those in work are finished, and the
    outputs are written from what there is. Several runs on the same tracks share the work.

    Raises AudioError without any track, ConfigError or StorageError for outputs that cannot be
    written, DiskFullError when there is no space left; a failure of one track is in the ledger.
    """
    started = time.monotonic()
    outputs.check()
    check_tracks(tracks)
    total = sum(1 for _ in tracks)
    state = LibraryState(state_folder, describing.settings_key, describing.kinds)
    with closing(state), state.running(retry_failed=options.retry_failed) as run:
        task = _TrackTask(describing, outputs, state_folder, run)
        jobs = min(options.jobs, total)
        with WorkerPool(task, jobs, options.track_timeout_seconds) as pool:
            walker = _Walker(tracks, total, outputs, state, run, pool, on_progress, should_stop)
            walker.walk_until_settled()
        ledger = outputs.ledger(tracks.paths, state_folder, state.name)
        tally = write_results(tracks, state, outputs.jsonl, ledger)
    return Summary(walker.described, tally, should_stop(), time.monotonic() - started)


def check_tracks(tracks: Tracks) -> None:
    """Raise AudioError where there is no track at all."""
    if next(iter(tracks), None) is None:
        raise AudioError(
            f"there is no audio here to describe: {tracks}; expected files whose names end in "
            + ", ".join(sorted(AUDIO_SUFFIXES))
        )


@dataclass
class _Walker:
    """The parent's side of a run: hands out what is not settled and counts what is."""

    tracks: Iterable[Path]
    total: int
    outputs: Outputs
    state: LibraryState
    run: Run
    pool: WorkerPool[Path, Outcome]
    on_progress: Callable[[Progress], None]
    should_stop: Callable[[], bool]
    described: int = 0
    counts: Counter[Outcome] = field(default_factory=Counter)  # of the present walk

    def walk_until_settled(self) -> None:
        """Walk over the tracks until none is in other hands: of another run, or of a worker of
        this one that has the same content under another name."""
        while True:
            self.state.release_dead()
            self._walk()
            if self.should_stop() or not self.counts["busy"]:
                return
            time.sleep(_BUSY_WAIT_SECONDS)

    def _walk(self) -> None:
        self.counts.clear()
        for track in self.tracks:
            outcome = self._outcome_without_work(track)
            if outcome is not None:
                self._count(outcome)
                continue
            while self.pool.full:
                self._collect()
            if self.should_stop():
                break
            self.pool.submit(track)
        while self.pool.busy:
            self._collect()

    def _outcome_without_work(self, track: Path) -> Outcome | None:
        """What the state alone can tell of `track`; None when a worker must look at it."""
        identity = self.state.known_identity(track)
        entry = None if identity is None else self.state.find(identity)
        if entry is None:
            return None
        if entry.status == "working":
            return "busy"
        if entry.status == "failed":
            return None if self.run.retry_failed else "failed"
        if self.outputs.beside or self.state.find(path_identity(track)) is not None:
            return None
        return "already done"

    def _collect(self) -> None:
        for finished in self.pool.collect(_POLL_SECONDS):
            if isinstance(finished.result, Lost) and self.should_stop():
                self._count("busy")  # ended with the run, and no fault of the track
            elif isinstance(finished.result, Lost):
                self._record_loss(finished.item, finished.result)
                self._count("failed")
            else:
                self._count(finished.result)

    def _record_loss(self, track: Path, lost: Lost) -> None:
        identity = self.state.known_identity(track)
        entry = None if identity is None else self.state.find(identity)
        if identity is None or (entry is not None and entry.status == "done"):
            identity = path_identity(track)  # it died before the work, or after it
        self.state.fail(identity, self.run, lost.code, lost.reason)
        logger.info("track failed", extra={"track": str(track), "reason": lost.reason})

    def _count(self, outcome: Outcome) -> None:
        self.counts[outcome] += 1
        self.described += outcome == "described"
        settled = self.counts.total() - self.counts["busy"]
        self.on_progress(Progress(settled, self.total, self.counts["failed"]))


@dataclass(frozen=True)
class _TrackTask:
    """What a worker is given."""

    describing: Describing
    outputs: Outputs
    state_folder: Path
    run: Run

    def open(self) -> Callable[[Path], Outcome]:
        describing = self.describing
        state = LibraryState(self.state_folder, describing.settings_key, describing.kinds)
        return _TrackWorker(self, state, describing.load())


class _TrackWorker:
    """A worker's side of a run: everything that is to be done for one track."""

    def __init__(self, task: _TrackTask, state: LibraryState, describe: Describe) -> None:
        self._outputs = task.outputs
        self._run = task.run
        self._kinds = task.describing.kinds
        self._state = state
        self._describe = describe

    def __call__(self, track: Path) -> Outcome:
        """Describe `track` unless that is done or in other hands, and write what lies beside it.

        Only what is no track's fault is raised: a full disk, a state that cannot be used.
        """
        try:
            identity = self._state.identify(track)
            fresh = self._describe_if_mine(track, identity)
            entry = self._state.find(identity)
            if entry is None or entry.status == "working":
                return "busy"
            if entry.status == "failed":
                return "failed"
            if self._outputs.beside:
                description = fresh or from_record(self._state.record(identity), track)
                self._outputs.write_beside(track, description)
        except DiskFullError:
            raise
        except OSError as error:
            trouble = files.storage_error("read", track, error)
            return self._failed(track, path_identity(track), trouble)
        except AntiphonError as error:
            return self._failed(track, path_identity(track), error)
        self._state.forget(path_identity(track))  # trouble of an earlier run
        return "described" if fresh else "already done"

    def _describe_if_mine(self, track: Path, identity: Identity) -> Description | None:
        """Describe the content if no one else does or did; a failure of it goes to the state.

        What is wrong with the path rather than the content is raised.
        """
        if not self._state.claim(identity, self._run):
            return None
        try:
            description = self._describe_what_is_missing(track, identity)
        except (OSError, StorageError, EngineError):
            # Not the content's fault: a model that is out of order may be mended before the next
            # run, which then tries again.
            self._state.forget(identity)
            raise
        except Exception as error:  # noqa: BLE001 - other tracks go on
            self._failed(track, identity, error)
            return None
        if self._state.known_identity(track) != identity:
            self._state.forget(identity)
            raise AudioError(f"{track} was changed while it was read; run the same command again")
        self._state.finish(identity, self._run, to_record(description))
        return description

    def _describe_what_is_missing(self, track: Path, identity: Identity) -> Description:
        """Texts that an earlier run made under the same settings are kept, and its facts."""
        earlier = [
            from_record(record, track).only(
                [kind for kind, made_by in kinds.items() if self._kinds.get(kind) == made_by]
            )
            for kinds, record in self._state.related(identity)
        ]
        known = {kind for description in earlier for kind in description.texts}
        missing = tuple(kind for kind in self._kinds if kind not in known)
        if missing or not earlier:
            facts = earlier[0].facts if earlier else None
            earlier.insert(0, self._describe(track, missing, facts))
        return joined(earlier, tuple(self._kinds))

    def _failed(self, track: Path, identity: Identity, error: Exception) -> Outcome:
        """Put the failure in the state; a full disk hides in many errors and is no failure."""
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
                raise files.storage_error("write", track, cause) from error
            cause = cause.__cause__
        self._state.fail(identity, self._run, type(error).__name__, str(error))
        logger.info("track failed", exc_info=error, extra={"track": str(track)})
        return "failed"


def _walk(path: Path, seen: set[tuple[int, int]]) -> Iterator[Path]:
    """`path` itself, or the tracks below it in the order of their paths."""
    if not os.path.isdir(path):
        yield path
        return
    folder = path.stat()
    if (folder.st_dev, folder.st_ino) in seen:
        return
    seen.add((folder.st_dev, folder.st_ino))
    try:
        names = sorted(os.listdir(path))
    except OSError:
        yield path
        return
    for name in names:
        entry = path / name
        if name.startswith("."):
            continue
        if os.path.isdir(entry):
            yield from _walk(entry, seen)
        elif entry.suffix.lower() in AUDIO_SUFFIXES:
            yield entry
