"""Many pieces into one folder, so that no crash loses what is done.

The same rows again complete what is missing: what is done is known by what a piece is made from,
not by its place among the others. Pieces of like length are composed side by side; none of them
depends on its company. Knows no format of prompt files and no terminal.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from antiphon.compose.batch import ledger as batch_ledger
from antiphon.compose.batch.jobs import FAILURES, Job, JobMaker
from antiphon.compose.batch.ledger import Entry, Ledger
from antiphon.compose.batch.prompt_files import Row
from antiphon.compose.composer import Composer
from antiphon.compose.delivery import deliver
from antiphon.compose.forms import sidecar
from antiphon.compose.requests import Request
from antiphon.errors import AntiphonError, DiskFullError, StorageError
from antiphon.files import atomic_write, storage_error

_LIKE_LENGTHS = 1.25  # times the shortest: what is longer is not composed beside it

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class BatchOptions:
    """How a batch is composed. `defaults` are options for all rows, `seed` is that of row 0, and
    one more for each row after it; `content` is a checksum of the model's weights, None where there
    are none. The others change no piece: recordings of up to `max_seconds` are accepted."""

    defaults: Mapping[str, object]
    seed: int
    content: str | None
    batch_size: int
    retry_failed: bool
    max_seconds: float


@dataclass(frozen=True)
class Outcome:
    """What became of a row: a file, composed in this run or before, or an error."""

    row: Row
    path: Path | None
    is_new: bool = False
    error: str | None = None
    exit_code: int = 0

    def to_dict(self) -> dict[str, object]:
        """Under the names of the JSON output. Raises StorageError if the sidecar cannot be read."""
        if self.path is None:
            return {"row": self.row.number, "path": None, "error": self.error}
        place = sidecar(self.path)
        try:
            found = json.loads(place.read_bytes())
        except OSError as error:
            raise storage_error("read", place, error) from error
        except ValueError as error:
            raise StorageError(
                f"{str(place)!r} is damaged: {error}; remove it, and its piece is made again"
            ) from error
        return {"row": self.row.number, **found, "path": str(self.path)}


@dataclass(frozen=True)
class BatchResult:
    """The outcomes in the order of the rows, and the pace of this run: seconds of work, and of
    sound that came of it."""

    outcomes: tuple[Outcome, ...]
    work_seconds: float
    sound_seconds: float

    @property
    def failures(self) -> tuple[Outcome, ...]:
        return tuple(outcome for outcome in self.outcomes if outcome.path is None)

    @property
    def real_time_factor(self) -> float | None:
        """Seconds of work for a second of sound; None where nothing was composed."""
        return self.work_seconds / self.sound_seconds if self.sound_seconds else None


Tell = Callable[[int], None]
Shown = Callable[[int], AbstractContextManager[Tell]]


def compose_batch(
    composer: Composer,
    rows: Sequence[Row],
    prompts: Path,
    folder: Path,
    options: BatchOptions,
    *,
    shown: Shown,
    on_failure: Callable[[Outcome], None],
) -> BatchResult:
    """Compose the rows of the file `prompts` into `folder`, which is made if need be.

    `shown` is given how many samples are to come and gives a function that is told of them;
    `on_failure` is told of each failed row at once. Failures are listed in FAILURES as well.

    Raises StorageError if the folder is in use or cannot be written, DiskFullError; what fails in a
    row is its own.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error("write", folder, error) from error
    model = composer.renderer.provenance(Request("", 0))
    jobs = JobMaker(
        folder, options.defaults, options.seed, {**model, "content": options.content}, prompts
    )
    with batch_ledger.opened(folder) as ledger:
        run = _Run(composer, folder, options, ledger, on_failure)
        batches = _batches(run.to_do(rows, jobs), options.batch_size)
        total = sum(piece.samples for batch in batches for piece in batch)
        started = time.perf_counter()
        with shown(total) as tell:
            for batch in batches:
                run.compose(batch, tell)
        work_seconds = time.perf_counter() - started
        outcomes = tuple(run.outcomes[row.number] for row in rows)
        _list_failures(folder / FAILURES, outcomes)
    return BatchResult(outcomes, work_seconds, run.sound_seconds)


@dataclass(frozen=True)
class _Piece:
    """A job that the model has accepted: how long it is, with all its candidates, and the group of
    its plan."""

    job: Job
    samples: int
    group: object


@dataclass
class _Run:
    """One run over a folder whose ledger it holds."""

    composer: Composer
    folder: Path
    options: BatchOptions
    ledger: Ledger
    on_failure: Callable[[Outcome], None]
    outcomes: dict[int, Outcome] = field(default_factory=dict)  # by the row's number
    sound_seconds: float = 0.0

    def to_do(self, rows: Sequence[Row], jobs: JobMaker) -> list[_Piece]:
        """What is neither done nor known to fail."""
        pieces = []
        for row in rows:
            try:
                job = jobs.job(row)
            except Exception as error:  # noqa: BLE001 - the others go on
                # It fails at a glance: nothing need be remembered.
                self._settle_failed(row, *_reason(error))
                continue
            known = self.ledger.failure(job.key)
            if known is not None and not self.options.retry_failed:
                self._settle_failed(row, known.error or "", known.exit_code)
            elif self._is_done(job):
                self.outcomes[row.number] = Outcome(row, self.folder / job.output)
            else:
                piece = self._accepted(job)
                pieces += [] if piece is None else [piece]
        return pieces

    def compose(self, batch: Sequence[_Piece], tell: Tell) -> None:
        """Compose the pieces side by side; where that fails, each alone."""
        told = 0

        def count(samples: int) -> None:
            nonlocal told
            told += samples
            tell(samples)

        try:
            self._deliver([piece.job for piece in batch], count)
            return
        except (DiskFullError, OSError):
            raise
        except Exception as error:  # noqa: BLE001 - the others go on
            failure = error
        if len(batch) == 1:
            tell(batch[0].samples - told)
            self._fail(batch[0].job, failure)
            return
        logger.info("tried one by one", extra={"reason": str(failure)}, exc_info=failure)
        tell(-told)
        for piece in batch:
            self.compose([piece], tell)

    def _is_done(self, job: Job) -> bool:
        path = self.folder / job.output
        done = self.ledger.is_done(job.key, job.output)
        return done and path.is_file() and sidecar(path).is_file()

    def _accepted(self, job: Job) -> _Piece | None:
        """The piece if the model can play it, else its failure is kept."""
        renderer = self.composer.renderer
        try:
            requests, form = job.requests(self.options.max_seconds), job.form(self.folder)
            form.path.parent.mkdir(parents=True, exist_ok=True)
            form.fitted(renderer.sample_rate, renderer.channels)
            plan = renderer.perform(requests[:1]).plans[0]
            # Only these are kept: a plan holds the recordings of its request.
            count = len(requests)
            return _Piece(job, count * plan.samples, (plan.group, count))
        except DiskFullError:
            raise
        except OSError as error:  # a file where the row wants a folder
            self._fail(job, storage_error("write", self.folder / job.output, error))
        except Exception as error:  # noqa: BLE001 - the others go on
            self._fail(job, error)
        return None

    def _deliver(self, jobs: Sequence[Job], tell: Tell) -> None:
        requests = [one for job in jobs for one in job.requests(self.options.max_seconds)]
        forms = [job.form(self.folder) for job in jobs]
        for job in jobs:
            self.ledger.add(Entry(job.key, "begun", job.output, job.row.line))
        performance = self.composer.renderer.perform(requests)
        delivered = deliver(self.composer, performance, forms, tell)
        for job, one in zip(jobs, delivered, strict=True):
            self.ledger.add(Entry(job.key, "done", job.output, job.row.line))
            self.outcomes[job.row.number] = Outcome(job.row, one.path, is_new=True)
            self.sound_seconds += one.seconds

    def _fail(self, job: Job, error: Exception) -> None:
        logger.debug("traceback of the error of line %d", job.row.line, exc_info=error)
        reason, code = _reason(error)
        self.ledger.add(Entry(job.key, "failed", job.output, job.row.line, reason, code))
        self._settle_failed(job.row, reason, code)

    def _settle_failed(self, row: Row, reason: str, exit_code: int) -> None:
        outcome = Outcome(row, None, error=reason, exit_code=exit_code)
        self.outcomes[row.number] = outcome
        self.on_failure(outcome)


def _reason(error: Exception) -> tuple[str, int]:
    """What to say of a row's error, and its exit code."""
    if isinstance(error, AntiphonError):
        return str(error), error.exit_code
    return f"unexpected {type(error).__name__}: {error}; this is a defect of antiphon", 1


def _batches(pieces: Sequence[_Piece], size: int) -> list[list[_Piece]]:
    """Pieces that go together, of like length so that little is wasted; by their first rows."""
    groups: dict[object, list[_Piece]] = {}
    for piece in pieces:
        groups.setdefault(piece.group, []).append(piece)
    batches: list[list[_Piece]] = []
    for group in groups.values():
        batch: list[_Piece] = []
        for piece in sorted(group, key=lambda piece: (piece.samples, piece.job.row.number)):
            if batch and len(batch) < size and piece.samples <= _LIKE_LENGTHS * batch[0].samples:
                batch.append(piece)
            else:
                batch = [piece]
                batches.append(batch)
    return sorted(batches, key=lambda batch: min(piece.job.row.number for piece in batch))


def _list_failures(path: Path, outcomes: Sequence[Outcome]) -> None:
    """One JSON object a line for each failed row; no file where none failed."""
    lines = [
        json.dumps(
            {
                "row": outcome.row.number,
                "line": outcome.row.line,
                "prompt": outcome.row.fields.get("prompt"),
                "error": outcome.error,
            }
        )
        for outcome in outcomes
        if outcome.path is None
    ]
    if lines:
        atomic_write(path, "".join(f"{line}\n" for line in lines).encode())
        return
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise storage_error("write", path, error) from error
