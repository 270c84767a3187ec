"""API keys: who may use a service that is open to more than this machine. Only hashes are kept."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import sqlite3
import time
from dataclasses import dataclass

from antiphon.errors import ConfigError
from antiphon.serve.database import Database

PREFIX = "ak-"
_NAME_LETTERS = 100


@dataclass(frozen=True)
class Key:
    """A key without its secret."""

    id: str
    name: str
    created_at: float


class Keys:
    """All keys of a service. Of any thread and process. Raises StorageError, DiskFullError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, name: str) -> tuple[Key, str]:
        """A new key and its secret, which is nowhere kept. Raises ConfigError for a name that is
        taken or is none."""
        if not name.strip() or not name.isprintable() or len(name) > _NAME_LETTERS:
            raise ConfigError(
                f"key name {name!r} is not accepted; expected 1 to {_NAME_LETTERS} letters"
            )
        secret = PREFIX + secrets.token_urlsafe(32)
        key = Key(f"key_{secrets.token_hex(4)}", name.strip(), time.time())
        with self._database.writing() as sql:
            try:
                sql.execute(
                    "INSERT INTO keys (id, name, hash, created_at) VALUES (?, ?, ?, ?)",
                    (key.id, key.name, _hash(secret), key.created_at),
                )
            except sqlite3.IntegrityError as error:
                raise ConfigError(
                    f"there is a key called {name!r} already; choose another name, or remove it "
                    f"first: antiphon keys rm {name}"
                ) from error
        return key, secret

    def all(self) -> list[Key]:
        with self._database.reading() as sql:
            rows = sql.execute("SELECT id, name, created_at FROM keys ORDER BY created_at, id")
            return [Key(row["id"], row["name"], row["created_at"]) for row in rows]

    def remove(self, name_or_id: str) -> Key:
        """Raises ConfigError for a key that is not there."""
        for key in self.all():
            if name_or_id in (key.id, key.name):
                with self._database.writing() as sql:
                    sql.execute("DELETE FROM keys WHERE id = ?", (key.id,))
                return key
        known = ", ".join(key.name for key in self.all()) or "none"
        raise ConfigError(f"there is no key {name_or_id!r}; there is: {known}")

    def id_of(self, secret: str) -> str | None:
        """The id of the key with this secret. Every hash is compared, in constant time."""
        given, found = _hash(secret), None
        with self._database.reading() as sql:
            for row in sql.execute("SELECT id, hash FROM keys"):
                if hmac.compare_digest(row["hash"], given):
                    found = row["id"]
        return found

    @property
    def are_needed(self) -> bool:
        """Whether there is any."""
        with self._database.reading() as sql:
            return sql.execute("SELECT 1 FROM keys LIMIT 1").fetchone() is not None


def _hash(secret: str) -> str:
    # One round: a secret of 256 random bits is not found by trying.
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
