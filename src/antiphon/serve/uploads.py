"""Files that clients left here, under opaque ids; what they hold is not looked at."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sqlite3
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from antiphon.files import storage_error, sync_folder
from antiphon.serve.database import Database
from antiphon.serve.jobs import new_id
from antiphon.serve.problems import refuse

_NAME_LETTERS = 200


@dataclass(frozen=True)
class Upload:
    """A stored file; `filename` is what the client called it, for people alone."""

    id: str
    key: str
    filename: str
    bytes: int
    sha256: str
    purpose: str
    created_at: float


class Uploads:
    """All files of a service. Of any thread and process. Raises StorageError, DiskFullError."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.folder = database.folder / "files"
        self.folder.mkdir(mode=0o700, exist_ok=True)

    def place(self, upload: Upload) -> Path:
        return self.folder / upload.id

    async def keep(
        self,
        blocks: AsyncIterator[bytes],
        filename: str,
        *,
        key: str,
        purpose: str,
        most_bytes: int,
    ) -> Upload:
        """Store what comes; on the disk before it is said to be there.

        Raises Refused for an empty file and for one of more than `most_bytes`.
        """
        upload_id = new_id("file")
        path = self.folder / f".{upload_id}.part"
        digest, size = hashlib.sha256(), 0
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                async for block in blocks:
                    size += len(block)
                    if size > most_bytes:
                        raise too_large(most_bytes)
                    digest.update(block)
                    file.write(block)
                if not size:
                    raise refuse(400, "empty_file", "the file is empty; expected sound", "file")
                file.flush()
                await asyncio.to_thread(os.fsync, file.fileno())
            os.replace(path, self.folder / upload_id)
            await asyncio.to_thread(sync_folder, self.folder)
        except OSError as error:
            raise storage_error("write", self.folder, error) from error
        finally:
            path.unlink(missing_ok=True)
        upload = Upload(
            upload_id, key, tidy_name(filename), size, digest.hexdigest(), purpose, time.time()
        )
        await asyncio.to_thread(self._add, upload)
        return upload

    def _add(self, upload: Upload) -> None:
        with self._database.writing() as sql:
            sql.execute(
                "INSERT INTO files (id, key, filename, bytes, sha256, purpose, created_at) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    upload.id, upload.key, upload.filename, upload.bytes, upload.sha256,
                    upload.purpose, upload.created_at,
                ),
            )  # fmt: skip

    def find(self, upload_id: str, key: str) -> Upload | None:
        with self._database.reading() as sql:
            row = sql.execute(
                "SELECT * FROM files WHERE id = ? AND key = ?", (upload_id, key)
            ).fetchone()
        return None if row is None else _upload(row)

    def page(
        self,
        key: str,
        after: str | None,
        limit: int,
        purpose: str | None = None,
        *,
        newest_first: bool,
    ) -> tuple[tuple[Upload, ...], bool] | None:
        """Some files in order, and whether there are more; None where `after` is none of them."""
        where, values = "key = ?", [key]
        if purpose is not None:
            where += " AND purpose = ?"
            values.append(purpose)
        if after is not None:
            if self.find(after, key) is None:
                return None
            sign = "<" if newest_first else ">"
            where += f" AND seq {sign} (SELECT seq FROM files WHERE id = ?)"
            values.append(after)
        with self._database.reading() as sql:
            rows = sql.execute(
                f"SELECT * FROM files WHERE {where} "
                f"ORDER BY seq {'DESC' if newest_first else 'ASC'} LIMIT ?",
                (*values, limit + 1),
            ).fetchall()
        return tuple(map(_upload, rows[:limit])), len(rows) > limit

    def delete(self, upload: Upload) -> None:
        """Forget a file; jobs that were accepted with it keep what they need."""
        with self._database.writing() as sql:
            sql.execute("DELETE FROM files WHERE id = ?", (upload.id,))
        self.place(upload).unlink(missing_ok=True)


def tidy_name(filename: str) -> str:
    """The last part of what a client calls a file, without what would mislead the eye or a
    terminal: control characters, and those that change the direction of writing."""
    last = filename.replace("\\", "/").rpartition("/")[2]
    shown = "".join(letter if letter.isprintable() else "_" for letter in last).strip(". ")
    return shown[:_NAME_LETTERS] or "audio"


def too_large(most_bytes: int) -> Exception:
    return refuse(
        413, "too_large", f"more than {most_bytes:,} bytes were sent; expected at most so many"
    )


def _upload(row: sqlite3.Row) -> Upload:
    return Upload(
        row["id"], row["key"], row["filename"], row["bytes"], row["sha256"], row["purpose"],
        row["created_at"],
    )  # fmt: skip
