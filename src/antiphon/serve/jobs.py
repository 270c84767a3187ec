"""The job store: a job that was accepted is there, with one result, whatever dies in between.

Each method is one transaction. Files of a job lie in `jobs/<id>/` beside the database; they are
whole before the row says so. Knows no HTTP and no model.
"""

from __future__ import annotations

import json
import secrets
import shutil
import sqlite3
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, cast

from antiphon.serve.database import Database
from antiphon.serve.problems import Problem, Refused
from antiphon.serve.tasks import MAX_ATTEMPTS, Kind, Result, Task

Status = Literal["queued", "in_progress", "completed", "failed", "cancelled"]
FINAL: tuple[Status, ...] = ("completed", "failed", "cancelled")
_ALL = (
    "id, kind, model, owner, status, request, created_at, started_at, completed_at, progress, "
    "attempts, stopping, result, summary, error, batch, bytes"
)
# Lists leave out what is large.
_BRIEF = _ALL.replace("result,", "NULL AS result,")
_LIVE = "('queued', 'in_progress')"


@dataclass(frozen=True)
class Job:
    """A job as it stands. Times are seconds since 1970; `progress` is 0 to 1."""

    id: str
    kind: Kind
    model: str
    owner: str
    status: Status
    request: Mapping[str, object]
    created_at: float
    batch: str | None = None
    started_at: float | None = None
    completed_at: float | None = None
    progress: float = 0.0
    attempts: int = 0
    is_stopping: bool = False
    result: Mapping[str, object] | None = None
    summary: Mapping[str, object] | None = None
    problem: Problem | None = None
    bytes: int = 0

    @property
    def is_final(self) -> bool:
        return self.status in FINAL


@dataclass(frozen=True)
class Page:
    """Some jobs of many, and whether there are more behind the last."""

    jobs: tuple[Job, ...]
    has_more: bool


def new_id(prefix: str) -> str:
    """An id that nobody guesses: 192 random bits."""
    return f"{prefix}_{secrets.token_urlsafe(24)}"


class JobStore:
    """All jobs of a service. Of any thread and process. Raises StorageError, DiskFullError."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.folder = database.folder / "jobs"
        self.folder.mkdir(mode=0o700, exist_ok=True)

    def place(self, job_id: str) -> Path:
        """The folder for a job's files, which may not be there yet."""
        return self.folder / job_id

    def accept(
        self, job: Job, *, queue: int, once: str | None = None, body: str | None = None
    ) -> Job:
        """Keep a job for good, or give the one that was accepted under the same `once` before.

        Raises Refused where `queue` jobs wait for its model already (429), and where `once` came
        with another `body` before (422).
        """
        with self._database.writing() as sql:
            if once is not None:
                known = sql.execute(
                    f"SELECT {_ALL}, body FROM jobs WHERE owner = ? AND kind = ? AND once = ?",
                    (job.owner, job.kind, once),
                ).fetchone()
                if known is not None:
                    return _same(known, body)
            (waiting,) = sql.execute(
                "SELECT count(*) FROM jobs WHERE model = ? AND status = 'queued'", (job.model,)
            ).fetchone()
            if waiting >= queue:
                raise queue_full(waiting)
            sql.execute(
                "INSERT INTO jobs (id, kind, model, owner, status, request, batch, created_at, "
                "once, body) VALUES (?, ?, ?, ?, 'queued', ?, ?, ?, ?, ?)",
                (
                    job.id, job.kind, job.model, job.owner, _json(job.request), job.batch,
                    job.created_at, once, body,
                ),
            )  # fmt: skip
        return job

    def find(self, job_id: str, *, owner: str | None, kind: Kind | None = None) -> Job | None:
        """The job, if it is this owner's (None: anybody's) and of this kind."""
        with self._database.reading() as sql:
            row = sql.execute(f"SELECT {_ALL} FROM jobs WHERE id = ?", (job_id,)).fetchone()
        if row is None or (owner is not None and row["owner"] != owner):
            return None
        return None if kind is not None and row["kind"] != kind else _job(row)

    def brief(self, job_id: str) -> Job | None:
        """The same without the result, for those who look often."""
        with self._database.reading() as sql:
            row = sql.execute(f"SELECT {_BRIEF} FROM jobs WHERE id = ?", (job_id,)).fetchone()
        return None if row is None else _job(row)

    def page(
        self,
        *,
        owner: str | None,
        kind: Kind | None = None,
        after: str | None = None,
        limit: int = 20,
        newest_first: bool = True,
        statuses: Collection[Status] = (),
    ) -> Page | None:
        """Jobs without their results, in the order of acceptance; None where `after` is none of
        them."""
        where, values = ["1"], cast(list[object], [])
        for name, value in (("owner", owner), ("kind", kind)):
            if value is not None:
                where.append(f"{name} = ?")
                values.append(value)
        if statuses:
            where.append(f"status IN ({', '.join('?' * len(statuses))})")
            values += statuses
        with self._database.reading() as sql:
            if after is not None:
                last = self.find(after, owner=owner, kind=kind)
                if last is None:
                    return None
                where.append(
                    f"seq {'<' if newest_first else '>'} (SELECT seq FROM jobs WHERE id = ?)"
                )
                values.append(after)
            rows = sql.execute(
                f"SELECT {_BRIEF} FROM jobs WHERE {' AND '.join(where)} "
                f"ORDER BY seq {'DESC' if newest_first else 'ASC'} LIMIT ?",
                (*values, limit + 1),
            ).fetchall()
        return Page(tuple(_job(row) for row in rows[:limit]), len(rows) > limit)

    def counts(self) -> dict[tuple[str, str], int]:
        """How many jobs there are by model and status."""
        with self._database.reading() as sql:
            rows = sql.execute("SELECT model, status, count(*) FROM jobs GROUP BY model, status")
            return {(model, status): count for model, status, count in rows}

    # What the owner of a model does.

    def waiting(self, models: Sequence[str], most: int) -> list[Job]:
        """The oldest queued jobs of each key, `most` of each."""
        marks = ", ".join("?" * len(models))
        with self._database.reading() as sql:
            rows = sql.execute(
                f"SELECT {_BRIEF} FROM (SELECT *, row_number() OVER (PARTITION BY owner ORDER BY "
                f"seq) AS place FROM jobs WHERE model IN ({marks}) AND status = 'queued') "
                "WHERE place <= ? ORDER BY seq",
                (*models, most),
            ).fetchall()
        return [_job(row) for row in rows]

    def claim(self, ids: Sequence[str]) -> list[str]:
        """Begin jobs; those that are not queued any more are left out. From here on a death of
        this process counts as theirs."""
        begun = []
        with self._database.writing() as sql:
            for job_id in ids:
                done = sql.execute(
                    "UPDATE jobs SET status = 'in_progress', attempts = attempts + 1, "
                    "started_at = ?, progress = 0 WHERE id = ? AND status = 'queued'",
                    (time.time(), job_id),
                )
                begun += [job_id] if done.rowcount else []
        return begun

    def progress(self, job_id: str, share: float) -> None:
        with self._database.writing() as sql:
            sql.execute(
                "UPDATE jobs SET progress = ? WHERE id = ? AND status = 'in_progress'",
                (share, job_id),
            )

    def complete(self, job_id: str, result: Result) -> bool:
        """The job's one result. False where it was cancelled or deleted meanwhile."""
        size = sum(file.stat().st_size for file in self._files(job_id))
        return self._end(
            job_id, "completed", _json(result.value), _json(result.summary), None, size
        )

    def fail(self, job_id: str, problem: Problem) -> bool:
        return self._end(job_id, "failed", None, None, _json(asdict(problem)), 0)

    def cancel_begun(self, job_id: str) -> bool:
        """The end of a job that was being done."""
        return self._end(job_id, "cancelled", None, None, None, 0)

    def requeue(self, ids: Sequence[str]) -> None:
        """Put back jobs whose process ends on purpose: the attempt does not count."""
        with self._database.writing() as sql:
            sql.executemany(
                "UPDATE jobs SET status = 'queued', attempts = attempts - 1, progress = 0 "
                "WHERE id = ? AND status = 'in_progress'",
                [(job_id,) for job_id in ids],
            )

    def take_over(self, models: Sequence[str]) -> list[Job]:
        """Put back what the last owner of these models died of, or give it up where that happened
        too often. Gives those given up. For the one owner there is, before it begins."""
        marks = ", ".join("?" * len(models))
        given_up: list[Job] = []
        with self._database.writing() as sql:
            rows = sql.execute(
                f"SELECT {_BRIEF} FROM jobs WHERE status = 'in_progress' AND model IN ({marks})",
                tuple(models),
            ).fetchall()
            for job in map(_job, rows):
                if job.is_stopping:
                    status, problem = "cancelled", None
                elif job.attempts >= MAX_ATTEMPTS:
                    status, problem = "failed", died_too_often(job.attempts)
                    given_up.append(job)
                else:
                    status, problem = "queued", None
                ended = None if status == "queued" else time.time()
                sql.execute(
                    "UPDATE jobs SET status = ?, error = ?, completed_at = ?, progress = 0 "
                    "WHERE id = ?",
                    (status, problem and _json(asdict(problem)), ended, job.id),
                )
        return given_up

    # What a client may do with a job that is there.

    def cancel(self, job_id: str) -> Job | None:
        """Cancel a queued job at once; one that is being done is marked, for its owner to end."""
        with self._database.writing() as sql:
            sql.execute(
                "UPDATE jobs SET status = 'cancelled', completed_at = ? "
                "WHERE id = ? AND status = 'queued'",
                (time.time(), job_id),
            )
            sql.execute(
                "UPDATE jobs SET stopping = 1 WHERE id = ? AND status = 'in_progress'", (job_id,)
            )
        return self.brief(job_id)

    def delete(self, job_id: str) -> None:
        """Forget a job, and what it made. One that is being done ends without a result."""
        with self._database.writing() as sql:
            sql.execute("DELETE FROM jobs WHERE id = ?", (job_id,))
        shutil.rmtree(self.place(job_id), ignore_errors=True)

    def _end(
        self,
        job_id: str,
        status: Status,
        result: str | None,
        summary: str | None,
        error: str | None,
        size: int,
    ) -> bool:
        with self._database.writing() as sql:
            done = sql.execute(
                "UPDATE jobs SET status = ?, result = ?, summary = ?, error = ?, bytes = ?, "
                "progress = CASE WHEN ? = 'completed' THEN 1 ELSE progress END, completed_at = ? "
                "WHERE id = ? AND status = 'in_progress'",
                (status, result, summary, error, size, status, time.time(), job_id),
            )
        return bool(done.rowcount)

    def _files(self, job_id: str) -> list[Path]:
        place = self.place(job_id)
        return [path for path in place.iterdir() if path.is_file()] if place.is_dir() else []


def task_of(job: Job, place: Path, seconds: float) -> Task:
    """A job as its owner does it; one that was begun before goes alone, so that it takes no other
    down with it."""
    return Task(
        job.id, job.kind, job.model, job.owner, job.request, place, True, job.created_at,
        seconds, None if job.attempts else job.batch, job.attempts,
    )  # fmt: skip


def queue_full(waiting: int) -> Refused:
    return Refused(
        Problem(
            429, "queue_full", f"{waiting} requests wait for this model already; try again later",
            None, 2,
        )
    )  # fmt: skip


def died_too_often(attempts: int) -> Problem:
    return Problem(
        500, "worker_died",
        f"the process that worked on it ended {attempts} times; it is not tried again",
    )  # fmt: skip


def _same(row: sqlite3.Row, body: str | None) -> Job:
    if row["body"] != body:
        raise Refused(
            Problem(
                422, "idempotency_key_reused",
                "the Idempotency-Key came with another request before; expected a new key",
                "Idempotency-Key",
            )
        )  # fmt: skip
    return _job(row)


def _job(row: sqlite3.Row) -> Job:
    error = row["error"]
    return Job(
        id=row["id"],
        kind=row["kind"],
        model=row["model"],
        owner=row["owner"],
        status=row["status"],
        request=json.loads(row["request"]),
        batch=row["batch"],
        created_at=row["created_at"],
        started_at=row["started_at"],
        completed_at=row["completed_at"],
        progress=row["progress"],
        attempts=row["attempts"],
        is_stopping=bool(row["stopping"]),
        result=None if row["result"] is None else json.loads(row["result"]),
        summary=None if row["summary"] is None else json.loads(row["summary"]),
        problem=None if error is None else Problem(**json.loads(error)),
        bytes=row["bytes"],
    )


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace").decode()
