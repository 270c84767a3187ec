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
from antiphon.serve.tasks import INPUTS, MAX_ATTEMPTS, Kind, Result, Task

Status = Literal["queued", "in_progress", "completed", "failed", "cancelled"]
FINAL: tuple[Status, ...] = ("completed", "failed", "cancelled")
_ALL = (
    "id, kind, model, key, status, request, created_at, started_at, completed_at, progress, "
    "attempts, stopping, result, summary, error, batch, bytes"
)
# Lists leave out what is large.
_BRIEF = _ALL.replace("result,", "NULL AS result,")
_IDLE = _BRIEF.replace("request,", "'{}' AS request,")


@dataclass(frozen=True)
class Job:
    """A job as it stands. Times are seconds since 1970; `progress` is 0 to 1."""

    id: str
    kind: Kind
    model: str
    key: str
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
                known = _known(sql, job.key, job.kind, once, body)
                if known is not None:
                    return known
            waiting, own = sql.execute(
                "SELECT count(*), count(*) FILTER (WHERE key = ?) FROM jobs "
                "WHERE model = ? AND status = 'queued'",
                (job.key, job.model),
            ).fetchone()
            if waiting >= queue or own >= share_of(queue, job.key):
                raise queue_full(waiting)
            sql.execute(
                "INSERT INTO jobs (id, kind, model, key, status, request, batch, created_at, "
                "once, body) VALUES (?, ?, ?, ?, 'queued', ?, ?, ?, ?, ?)",
                (
                    job.id, job.kind, job.model, job.key, _json(job.request), job.batch,
                    job.created_at, once, body,
                ),
            )  # fmt: skip
        return job

    def known(self, key: str, kind: Kind, once: str, body: str | None) -> Job | None:
        """The job that was accepted under this `once`, if any. Raises Refused as `accept`."""
        with self._database.reading() as sql:
            return _known(sql, key, kind, once, body)

    def find(self, job_id: str, *, key: str | None, kind: Kind | None = None) -> Job | None:
        """The job, if it is this key's (None: anybody's) and of this kind."""
        with self._database.reading() as sql:
            row = sql.execute(f"SELECT {_ALL} FROM jobs WHERE id = ?", (job_id,)).fetchone()
        if row is None or (key is not None and row["key"] != key):
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
        key: str | None,
        kind: Kind | None = None,
        after: str | None = None,
        limit: int = 20,
        newest_first: bool = True,
        statuses: Collection[Status] = (),
    ) -> Page | None:
        """Jobs without their results, in the order of acceptance; None where `after` is none of
        them."""
        where, values = ["1"], cast(list[object], [])
        for name, value in (("key", key), ("kind", kind)):
            if value is not None:
                where.append(f"{name} = ?")
                values.append(value)
        if statuses:
            where.append(f"status IN ({', '.join('?' * len(statuses))})")
            values += statuses
        with self._database.reading() as sql:
            if after is not None:
                last = self.find(after, key=key, kind=kind)
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
        """The oldest queued jobs of each key, `most` of each, without their requests."""
        marks = ", ".join("?" * len(models))
        with self._database.reading() as sql:
            rows = sql.execute(
                f"SELECT {_IDLE} FROM (SELECT *, row_number() OVER (PARTITION BY key ORDER BY "
                f"seq) AS place FROM jobs WHERE model IN ({marks}) AND status = 'queued') "
                "WHERE place <= ? ORDER BY seq",
                (*models, most),
            ).fetchall()
        return [_job(row) for row in rows]

    def claim(self, ids: Sequence[str]) -> list[Job]:
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
        return [job for job in map(self.brief, begun) if job is not None]

    def progress(self, job_id: str, share: float) -> None:
        with self._database.writing() as sql:
            sql.execute(
                "UPDATE jobs SET progress = ? WHERE id = ? AND status = 'in_progress'",
                (share, job_id),
            )

    def complete(self, job_id: str, result: Result) -> bool:
        """The job's one result. False where it was cancelled or deleted meanwhile."""
        size = self._size(job_id)
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
                "UPDATE jobs SET status = CASE WHEN stopping THEN 'cancelled' ELSE 'queued' END, "
                "completed_at = CASE WHEN stopping THEN ? END, attempts = attempts - 1, "
                "progress = 0 WHERE id = ? AND status = 'in_progress'",
                [(time.time(), job_id) for job_id in ids],
            )

    def take_over(self, models: Sequence[str]) -> list[Job]:
        """Put back what the last owner of these models died of, or give it up where that happened
        too often. Gives those given up. For the one owner there is, before it begins."""
        marks = ", ".join("?" * len(models))
        given_up: list[Job] = []
        at_their_end: list[str] = []
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
                if ended is not None:
                    at_their_end.append(job.id)
        for job_id in at_their_end:
            self._drop_inputs(job_id)
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
        found = self.brief(job_id)
        if found is not None and found.is_final:
            self._drop_inputs(job_id)
        return found

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
        self._drop_inputs(job_id)
        return bool(done.rowcount)

    def grown(self, job_id: str) -> None:
        """A file was added to what a job made."""
        with self._database.writing() as sql:
            sql.execute("UPDATE jobs SET bytes = ? WHERE id = ?", (self._size(job_id), job_id))

    def _drop_inputs(self, job_id: str) -> None:
        """What is at its end needs them no more. After that is written: a job that is begun again
        does."""
        for name in INPUTS:
            (self.place(job_id) / name).unlink(missing_ok=True)

    def _size(self, job_id: str) -> int:
        """Of what a job made, without its inputs."""
        place = self.place(job_id)
        files = place.iterdir() if place.is_dir() else ()
        return sum(
            path.stat().st_size for path in files if path.is_file() and path.name not in INPUTS
        )


def task_of(job: Job, place: Path, seconds: float) -> Task:
    """A job as its owner does it; one that was begun before goes alone, so that it takes no other
    down with it."""
    return Task(
        job.id, job.kind, job.model, job.key, job.request, place, True, job.created_at,
        seconds, None if job.attempts else job.batch, job.attempts,
    )  # fmt: skip


def share_of(queue: int, key: str) -> int:
    """What one key may have waiting, so that others are let in; without keys there is one."""
    return max(1, queue // 2) if key else queue


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


def _known(
    sql: sqlite3.Connection, key: str, kind: Kind, once: str, body: str | None
) -> Job | None:
    row = sql.execute(
        f"SELECT {_ALL}, body FROM jobs WHERE key = ? AND kind = ? AND once = ?",
        (key, kind, once),
    ).fetchone()
    if row is not None and row["body"] != body:
        raise Refused(
            Problem(
                422, "idempotency_key_reused",
                "the Idempotency-Key came with another request before; expected a new key",
                "Idempotency-Key",
            )
        )  # fmt: skip
    return None if row is None else _job(row)


def _job(row: sqlite3.Row) -> Job:
    error = row["error"]
    return Job(
        id=row["id"],
        kind=row["kind"],
        model=row["model"],
        key=row["key"],
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
