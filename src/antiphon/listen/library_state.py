"""What a library run remembers, in SQLite: hashes of files, results, failures, who works on what.

A result belongs to the content of a file and to the settings that made it, not to a path: moved and
doubled files are found again, changed ones are not taken for done. Knows no audio and no format of
results.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import json
import os
import secrets
import sqlite3
import stat
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NewType

from filelock import FileLock, Timeout

from antiphon import __version__
from antiphon.errors import DiskFullError, StorageError
from antiphon.files import storage_error

SCHEMA_VERSION = 2
BUSY_TIMEOUT_SECONDS = 60.0
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS files (
    path BLOB PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    identity BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS results (
    identity BLOB NOT NULL, settings BLOB NOT NULL,
    status TEXT NOT NULL,            -- working, done or failed
    run TEXT NOT NULL,               -- the run that claimed it last
    record BLOB,                     -- compressed, when done
    base BLOB, kinds TEXT,           -- settings but for the kinds; what changes each kind alone
    code TEXT, reason TEXT,          -- why it failed, the last time it did
    attempts INTEGER NOT NULL DEFAULT 0,
    version TEXT, failed_at REAL,
    PRIMARY KEY (identity, settings)
);
CREATE INDEX IF NOT EXISTS related ON results (identity, base) WHERE status = 'done';
CREATE INDEX IF NOT EXISTS working ON results (run) WHERE status = 'working';
PRAGMA user_version = {SCHEMA_VERSION};
"""

Identity = NewType("Identity", bytes)
_content_hash = functools.partial(hashlib.blake2b, digest_size=32)


@dataclass(frozen=True)
class Failure:
    """Why a track has no result; `code` is the name of the error's class."""

    code: str
    reason: str
    attempts: int
    version: str


@dataclass(frozen=True)
class Entry:
    """Where one track stands under the present settings; an earlier failure is kept at first."""

    status: Literal["working", "done", "failed"]
    failure: Failure | None = None


@dataclass(frozen=True)
class Run:
    """One run of the command; what failed before `started_at` may be tried again."""

    name: str
    started_at: float
    retry_failed: bool


def path_identity(track: Path) -> Identity:
    """Stands for a track whose content cannot be read, or for trouble that is the path's own."""
    return Identity(b"path:" + os.fsencode(track.absolute()))


class LibraryState:
    """The state of all library runs that share a folder, seen through one set of settings.

    `settings_key` names what changes any result; `kinds`, for each kind of text, what changes that
    one alone.

    One object per process. Every method that writes is one transaction, so a process may be killed
    at any point. Raises StorageError, or DiskFullError, when the folder cannot be used.
    """

    def __init__(self, folder: Path, settings_key: str, kinds: Mapping[str, str]) -> None:
        self.folder = folder
        self._file = folder / "library.sqlite"
        self._kinds = json.dumps(dict(kinds))
        self._base = hashlib.sha256(settings_key.encode()).digest()
        self._settings = hashlib.sha256(f"{settings_key}\n{self._kinds}".encode()).digest()
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            (folder / "runs").mkdir(exist_ok=True)
            with self._exclusive(), self._translated():  # two processes may create it at once
                self._open()
        except OSError as error:
            raise storage_error("write", folder, error) from error

    def _open(self) -> None:
        self._database = sqlite3.connect(
            self._file, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None
        )
        (version,) = self._database.execute("PRAGMA user_version").fetchone()
        if version == 1:  # before kinds were kept apart: what it holds is made anew
            self._database.executescript(
                "ALTER TABLE results ADD COLUMN base BLOB;ALTER TABLE results ADD COLUMN kinds TEXT"
            )
        elif version not in (0, SCHEMA_VERSION):
            raise StorageError(
                f"{self._file} has version {version}; this antiphon reads version "
                f"{SCHEMA_VERSION}. Set ANTIPHON_STATE to another folder, or move the file away"
            )
        self._database.execute("PRAGMA journal_mode = WAL")
        # Safe against the death of processes; a power cut may cost the last few results.
        self._database.execute("PRAGMA synchronous = NORMAL")
        self._database.executescript(_SCHEMA)

    @property
    def name(self) -> str:
        """Of the settings, kinds and all."""
        return self._settings.hex()

    def close(self) -> None:
        self._database.close()

    def known_identity(self, track: Path) -> Identity | None:
        """The hash of `track` if it is known and size and time of the file are as they were."""
        try:
            found = track.stat()
        except OSError:
            return None
        row = self._row(
            "SELECT identity FROM files WHERE path = ? AND size = ? AND mtime_ns = ?",
            (os.fsencode(track.absolute()), found.st_size, found.st_mtime_ns),
        )
        return None if row is None else Identity(row[0])

    def identify(self, track: Path) -> Identity:
        """The hash of the content of `track`, computed unless it is known.

        Raises OSError when it cannot be read.
        """
        known = self.known_identity(track)
        if known is not None:
            return known
        found = track.stat()
        if not stat.S_ISREG(found.st_mode):  # opening a named pipe would wait for ever
            raise OSError(errno.EINVAL, "it is not a regular file")
        with track.open("rb") as file:
            # Not SHA-256: without the processor's help it takes 10 ms for three minutes of MP3.
            identity = Identity(b"blake2b:" + hashlib.file_digest(file, _content_hash).digest())
        self._write(
            "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)",
            (os.fsencode(track.absolute()), found.st_size, found.st_mtime_ns, identity),
        )
        return identity

    def find(self, identity: Identity) -> Entry | None:
        """Where `identity` stands, None for a stranger."""
        row = self._row(
            "SELECT status, code, reason, attempts, version"
            " FROM results WHERE identity = ? AND settings = ?",
            (identity, self._settings),
        )
        if row is None:
            return None
        status, *failure = row
        return Entry(status, None if failure[0] is None else Failure(*failure))

    def record(self, identity: Identity) -> bytes:
        """What `finish` was given; `identity` must be done."""
        row = self._row(
            "SELECT record FROM results WHERE identity = ? AND settings = ?",
            (identity, self._settings),
        )
        assert row is not None
        return zlib.decompress(row[0])

    def related(self, identity: Identity) -> list[tuple[dict[str, str], bytes]]:
        """What was made of `identity` under the same settings for other kinds: `kinds`, record."""
        with self._translated():
            rows = self._database.execute(
                "SELECT kinds, record FROM results"
                " WHERE identity = ? AND base = ? AND status = 'done' AND settings != ?",
                (identity, self._base, self._settings),
            ).fetchall()
        return [(json.loads(kinds), zlib.decompress(record)) for kinds, record in rows]

    def claim(self, identity: Identity, run: Run) -> bool:
        """Whether `identity` is now this run's to work on; one run only can have it."""
        changed = self._write(
            "INSERT INTO results (identity, settings, status, run) VALUES (?, ?, 'working', ?)"
            " ON CONFLICT DO UPDATE SET status = 'working', run = excluded.run"
            " WHERE status = 'failed' AND ? AND failed_at < ?",
            (identity, self._settings, run.name, run.retry_failed, run.started_at),
        )
        return changed == 1

    def finish(self, identity: Identity, run: Run, record: bytes) -> None:
        """Keep the result; an earlier failure is forgotten."""
        self._write(
            "INSERT OR REPLACE INTO results"
            " (identity, settings, status, run, record, base, kinds)"
            " VALUES (?, ?, 'done', ?, ?, ?, ?)",
            (
                identity,
                self._settings,
                run.name,
                zlib.compress(record, level=3),
                self._base,
                self._kinds,
            ),
        )

    def fail(self, identity: Identity, run: Run, code: str, reason: str) -> None:
        """Keep why there is no result, and count the attempts."""
        self._write(
            "INSERT INTO results"
            " (identity, settings, status, run, code, reason, version, failed_at, attempts)"
            " VALUES (?, ?, 'failed', ?, ?, ?, ?, ?, 1)"
            " ON CONFLICT DO UPDATE SET status = 'failed', run = excluded.run,"
            " code = excluded.code, reason = excluded.reason, version = excluded.version,"
            " failed_at = excluded.failed_at, attempts = attempts + 1",
            (identity, self._settings, run.name, code, reason, __version__, time.time()),
        )

    def forget(self, identity: Identity) -> None:
        """Drop what is known of `identity`."""
        self._write(
            "DELETE FROM results WHERE identity = ? AND settings = ?", (identity, self._settings)
        )

    @contextmanager
    def running(self, *, retry_failed: bool = False) -> Iterator[Run]:
        """A run that lasts as long as the block; its claims are given back at the end.

        The run holds a lock of the operating system, which no death of its process can leave
        behind: that is how others see that its claims are void.
        """
        run = Run(secrets.token_hex(8), time.time(), retry_failed)
        lock = FileLock(self._lock_file(run.name))
        with self._exclusive():
            lock.acquire()
        try:
            yield run
        finally:
            self._release(run.name)
            lock.release()
            self._lock_file(run.name).unlink(missing_ok=True)

    def release_dead(self) -> None:
        """Give back what runs had claimed that are no longer alive."""
        with self._exclusive():
            for file in (self.folder / "runs").glob("*.lock"):
                lock = FileLock(file)
                try:
                    lock.acquire(blocking=False)
                except Timeout:
                    continue  # alive
                self._release(file.stem)
                lock.release()
                file.unlink(missing_ok=True)

    def _release(self, run_name: str) -> None:
        self._write(
            "DELETE FROM results WHERE run = ? AND status = 'working' AND code IS NULL", (run_name,)
        )
        self._write(
            "UPDATE results SET status = 'failed' WHERE run = ? AND status = 'working'", (run_name,)
        )

    def _lock_file(self, run_name: str) -> Path:
        return self.folder / "runs" / f"{run_name}.lock"

    def _exclusive(self) -> FileLock:
        return FileLock(self.folder / "library.lock")

    def _row(self, sql: str, values: Sequence[object]) -> tuple[Any, ...] | None:
        with self._translated():
            row: tuple[Any, ...] | None = self._database.execute(sql, values).fetchone()
            return row

    def _write(self, sql: str, values: Sequence[object]) -> int:
        """Run one statement, which is one transaction; the number of changed rows."""
        with self._translated():
            return self._database.execute(sql, values).rowcount

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Errors of SQLite as ours."""
        try:
            yield
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
                raise DiskFullError(
                    f"no space left for {self._file}; free some and run the same command again"
                ) from error
            raise StorageError(
                f"{self._file} cannot be used: {error}. If it is damaged, move it away: "
                "results are then measured anew"
            ) from error
