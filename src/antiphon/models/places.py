"""Where a model comes from: the web, or a folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from antiphon.files import storage_error
from antiphon.models import transfer
from antiphon.models.hub import Listing, Mirror
from antiphon.models.manifest import PICKLE_SUFFIXES, ModelFile
from antiphon.models.record import sha256_of
from antiphon.models.store import data_files


class Place(Protocol):
    """Where a model comes from. All raise StorageError; ModelError for what is not to be had."""

    def commit(self, revision: str) -> str | None:
        """The commit that `revision` is now; None where there are none."""

    def listing(self, revision: str) -> Listing | None:
        """What is there; None where nobody tells."""

    def sha256(self, name: str) -> str | None:
        """The checksum of a file, where it is had without fetching."""

    def fetch(
        self, file: ModelFile, revision: str, folder: Path, on_bytes: Callable[[int], None]
    ) -> ModelFile:
        """Bring `file` into `folder`; with its size and sha256. Tells how many bytes came."""


@dataclass(frozen=True)
class Web:
    """The hub, or a mirror of it."""

    mirror: Mirror

    def __str__(self) -> str:
        return str(self.mirror)

    def commit(self, revision: str) -> str | None:
        return self.mirror.commit(revision)

    def listing(self, revision: str) -> Listing | None:
        return self.mirror.listing(revision)

    def sha256(self, name: str) -> str | None:
        return None

    def fetch(
        self, file: ModelFile, revision: str, folder: Path, on_bytes: Callable[[int], None]
    ) -> ModelFile:
        url = self.mirror.file_url(file.name, revision)
        return transfer.download(self.mirror, url, file, folder, on_bytes)


@dataclass(frozen=True)
class Folder:
    """A folder of this machine with the files in it."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    def commit(self, revision: str) -> str | None:
        return None

    def listing(self, revision: str) -> Listing | None:
        try:
            files = [ModelFile(n, (self.path / n).stat().st_size) for n in data_files(self.path)]
            others = [path for path in self.path.rglob("*") if path.suffix in PICKLE_SUFFIXES]
        except OSError as error:
            raise storage_error("read", self.path, error) from error
        return Listing(tuple(files), tuple(p.relative_to(self.path).as_posix() for p in others))

    def sha256(self, name: str) -> str | None:
        return sha256_of(self.path / name)

    def fetch(
        self, file: ModelFile, revision: str, folder: Path, on_bytes: Callable[[int], None]
    ) -> ModelFile:
        return transfer.copy(self.path / file.name, file, folder, on_bytes)
