"""The SQLite file that all processes of a service share.

Knows no job. What was committed survives the death of any process, and a power cut.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from antiphon.errors import DiskFullError, StorageError
from antiphon.files import locked, storage_error

SCHEMA_VERSION = 1
_BUSY_SECONDS = 30.0
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS jobs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL, model TEXT NOT NULL,
    key TEXT NOT NULL,              -- the key's id, '' without keys
    status TEXT NOT NULL,
    request TEXT NOT NULL,            -- JSON
    batch TEXT,                       -- jobs of the same may be done together
    created_at REAL NOT NULL, started_at REAL, completed_at REAL,
    progress REAL NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    stopping INTEGER NOT NULL DEFAULT 0,
    result TEXT, summary TEXT, error TEXT,  -- JSON
    bytes INTEGER NOT NULL DEFAULT 0,
    once TEXT, body TEXT              -- Idempotency-Key, and the hash of what came with it
);
CREATE UNIQUE INDEX IF NOT EXISTS once ON jobs (key, kind, once) WHERE once IS NOT NULL;
CREATE INDEX IF NOT EXISTS live ON jobs (model, status, seq)
    WHERE status IN ('queued', 'in_progress');
CREATE INDEX IF NOT EXISTS listed ON jobs (key, kind, seq);
CREATE TABLE IF NOT EXISTS files (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE, key TEXT NOT NULL,
    filename TEXT NOT NULL, bytes INTEGER NOT NULL, sha256 TEXT NOT NULL,
    purpose TEXT NOT NULL, created_at REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS keys (
    id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, hash TEXT NOT NULL UNIQUE,
    created_at REAL NOT NULL
);
PRAGMA user_version = {SCHEMA_VERSION};
"""


class Database:
    """One file, opened once in each thread that uses it. Raises StorageError, DiskFullError."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._path = folder / "serve.sqlite"
        self._here = threading.local()
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Several processes may be the first: SQLite waits for no other to begin a WAL.
            with locked(self._path):
                self._prepare()
        except OSError as error:
            raise storage_error("write", folder, error) from error

    def _prepare(self) -> None:
        with self._translated():
            connection = self.connection
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version not in (0, SCHEMA_VERSION):
                raise StorageError(
                    f"{self._path} has version {version}; this antiphon reads version "
                    f"{SCHEMA_VERSION}. Set ANTIPHON_STATE to another folder, or move it away"
                )
            if version == 0:
                connection.executescript(f"BEGIN IMMEDIATE;{_SCHEMA}COMMIT;")

    @property
    def connection(self) -> sqlite3.Connection:
        """This thread's; every statement outside of `writing` is a transaction of its own."""
        found: sqlite3.Connection | None = getattr(self._here, "connection", None)
        if found is None:
            with self._translated():
                found = sqlite3.connect(self._path, timeout=_BUSY_SECONDS, isolation_level=None)
                found.row_factory = sqlite3.Row
                found.execute("PRAGMA journal_mode = WAL")
                found.execute("PRAGMA synchronous = FULL")
            self._here.connection = found
        return found

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        with self._translated():
            yield self.connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that nobody else writes beside; undone if the body raises."""
        with self._translated():
            connection = self.connection
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """This thread's connection."""
        found: sqlite3.Connection | None = getattr(self._here, "connection", None)
        if found is not None:
            found.close()
            del self._here.connection

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
                raise DiskFullError(
                    f"cannot write {str(self._path)!r}: no space left; free some space"
                ) from error
            raise StorageError(f"cannot use {str(self._path)!r}: {error}") from error
