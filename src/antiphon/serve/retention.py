"""What is kept, and for how long: jobs that are done and files go when they are too old, and the
oldest when there is too much. What waits or runs is never touched."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from antiphon.serve.database import Database
from antiphon.serve.options import Retention

_ORPHAN_SECONDS = 3600.0  # younger ones may belong to a row that is about to be written


@dataclass(frozen=True)
class Tidied:
    """What went."""

    jobs: int
    files: int
    orphans: int
    bytes: int


def tidy(database: Database, retention: Retention, now: float | None = None) -> Tidied:
    """Remove what is not to be kept. Raises StorageError."""
    now = time.time() if now is None else now
    oldest = now - retention.days * 86_400
    room = retention.gigabytes * 1e9
    gone_jobs: list[str] = []
    gone_files: list[str] = []
    freed = 0
    with database.writing() as sql:
        rows = sql.execute(
            "SELECT 'job' AS what, id, bytes, completed_at AS at FROM jobs "
            "WHERE status IN ('completed', 'failed', 'cancelled') "
            "UNION ALL SELECT 'file', id, bytes, created_at FROM files ORDER BY at DESC"
        ).fetchall()
        for row in rows:
            room -= row["bytes"]
            if row["at"] >= oldest and room >= 0:
                continue
            freed += row["bytes"]
            (gone_jobs if row["what"] == "job" else gone_files).append(row["id"])
        sql.executemany("DELETE FROM jobs WHERE id = ?", [(one,) for one in gone_jobs])
        sql.executemany("DELETE FROM files WHERE id = ?", [(one,) for one in gone_files])
    for one in gone_jobs:
        shutil.rmtree(database.folder / "jobs" / one, ignore_errors=True)
    for one in gone_files:
        (database.folder / "files" / one).unlink(missing_ok=True)
    orphans = list(_orphans(database, now))
    for path in orphans:
        shutil.rmtree(path, ignore_errors=True)
        with suppress(OSError):
            path.unlink(missing_ok=True)
    return Tidied(len(gone_jobs), len(gone_files), len(orphans), freed)


def _orphans(database: Database, now: float) -> Iterator[Path]:
    """What no row speaks of: a process died before it was accepted, or after it was deleted."""
    for folder, table in (("jobs", "jobs"), ("files", "files")):
        with database.reading() as sql:
            known = {row["id"] for row in sql.execute(f"SELECT id FROM {table}")}
        place = database.folder / folder
        for path in place.iterdir() if place.is_dir() else ():
            with suppress(OSError):  # an upload has got its name meanwhile
                if path.name not in known and now - path.stat().st_mtime > _ORPHAN_SECONDS:
                    yield path
