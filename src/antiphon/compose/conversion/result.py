"""What convert and export leave: a folder that appears whole or not at all, and what is known.

Knows no format and no model.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from antiphon.errors import ConfigError, EngineError
from antiphon.files import locked, storage_error
from antiphon.models.manifest import ModelFile
from antiphon.models.record import Record, read_record, sha256_of, write_record

OnProgress = Callable[[str, int, int], None]
"""Told what is being done, and how many bytes of how many are done."""

_LOCK_SECONDS = 1.0  # a conversion takes minutes: say so rather than wait


@dataclass(frozen=True)
class Parity:
    """How far a result is from what it was made of, by the measure that its maker names."""

    max_difference: float
    tolerance: float

    @property
    def ok(self) -> bool:
        return self.max_difference <= self.tolerance

    def require(self, what: str) -> None:
        """Raise EngineError if it is too far; `what` names the measure."""
        if not self.ok:
            raise EngineError(
                f"the result differs from its source by {self.max_difference:g} ({what}); expected "
                f"at most {self.tolerance:g}: nothing is written; try a higher --precision, or "
                "report it"
            )


@dataclass(frozen=True)
class Made:
    """A finished folder; `files` are the names in it."""

    source: Path
    output: Path
    format: str
    precision: str
    files: tuple[str, ...]
    size_bytes: int
    parity: Parity
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, object]:
        """Plain data, as `--json` prints it."""
        return {
            "source": str(self.source),
            "output": str(self.output),
            "format": self.format,
            "precision": self.precision,
            "files": list(self.files),
            "size_bytes": self.size_bytes,
            "parity": {**vars(self.parity), "ok": self.parity.ok},
            "notes": list(self.notes),
        }


class Counted:
    """Bytes of one stage, as they come."""

    def __init__(self, stage: str, total: int, show: OnProgress) -> None:
        self._stage, self._total, self._show = stage, total, show
        self._done = 0

    def __call__(self, size_bytes: int) -> None:
        self._done += size_bytes
        self._show(self._stage, self._done, self._total)


@contextmanager
def whole_folder(target: Path, *, replaces: bool = False) -> Iterator[Path]:
    """Give an empty folder beside `target` that takes its name at the end; if the body raises,
    nothing is left. What a killed process left there is cleared away.

    Raises ConfigError for a `target` that is there and not empty, unless the new one `replaces` it;
    StorageError, also while another
    process is at it, and for an OSError of the body.
    """
    target = Path(os.path.abspath(target))
    if target.is_dir():
        if any(target.iterdir()) and not replaces:
            raise ConfigError(f"--output {target} is not empty; expected a new folder")
    elif target.exists():
        raise ConfigError(f"--output {target} is a file; expected a new folder")
    temporary = target.with_name(f".{target.name}.tmp")
    try:
        with locked(target, _LOCK_SECONDS):
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir()
            try:
                yield temporary
                for path in filter(Path.is_file, temporary.rglob("*")):
                    with path.open("rb+") as file:  # or a power cut leaves empty files
                        os.fsync(file.fileno())
                if target.is_dir():
                    # Windows renames onto nothing that is there.
                    shutil.rmtree(target) if replaces else target.rmdir()
                temporary.rename(target)
            except BaseException:
                shutil.rmtree(temporary, ignore_errors=True)
                raise
    except OSError as error:
        raise storage_error("write", target, error) from error


def record_origin(folder: Path, source: Path, on_progress: OnProgress) -> tuple[ModelFile, ...]:
    """Write down beside the files of `folder` which model they are of, and their checksums, so that
    `models verify` and the licence are as good as for what was pulled; the files."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    total = sum(path.stat().st_size for path in paths)
    count = Counted("taking checksums", total, on_progress)
    files = tuple(
        ModelFile(path.relative_to(folder).as_posix(), path.stat().st_size, sha256_of(path, count))
        for path in paths
    )
    old = read_record(source)
    record = Record(
        repo=old.repo if old else None,
        revision=old.revision if old else None,
        source=str(source.resolve()),
        files=files,
    )
    write_record(folder, record, keep_others=False)
    return files
