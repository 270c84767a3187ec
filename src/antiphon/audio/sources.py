"""What sound may be read from: a path, bytes, a binary file object. Knows no format."""

from __future__ import annotations

import io
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeAlias, cast

from antiphon.audio.limits import Limits
from antiphon.errors import AudioLimitError, ConfigError, StorageError

Source: TypeAlias = str | os.PathLike[str] | bytes | BinaryIO

COPY_BYTES = 1 << 20


@dataclass(frozen=True)
class OpenSource:
    """A seekable binary file, its name for messages, and whether it is ours to close."""

    file: BinaryIO
    name: str
    ours: bool

    def close(self) -> None:
        if self.ours:
            self.file.close()


def source_name(source: Source) -> str:
    """What to call the source in a message, on one line whatever the path holds."""
    if isinstance(source, (str, os.PathLike)):
        return "".join(c if c.isprintable() else repr(c)[1:-1] for c in os.fspath(source))
    return "the audio"


def open_source(source: Source, limits: Limits) -> OpenSource:
    """Open `source`; raises StorageError for a path that is no readable file."""
    name = source_name(source)
    if isinstance(source, bytes):
        return OpenSource(io.BytesIO(source), name, ours=True)
    if isinstance(source, (str, os.PathLike)):
        return OpenSource(_open_path(Path(source), name), name, ours=True)
    if not hasattr(source, "read") or isinstance(source.read(0), str):
        raise ConfigError(
            f"the source is a {type(source).__name__}; expected a path, bytes or a binary file"
        )
    if source.seekable():
        return OpenSource(source, name, ours=False)
    return OpenSource(_spool(source, name, 2 * limits.max_decoded_bytes), name, ours=True)


@contextmanager
def reusable(source: Source, limits: Limits) -> Iterator[Source]:
    """The source as one that can be read twice: of a pipe a copy in a temporary file."""
    if isinstance(source, (str, os.PathLike, bytes)):
        yield source
        return
    opened = open_source(source, limits)
    try:
        yield opened.file
    finally:
        opened.close()


def behind(file: BinaryIO, offset: int) -> BinaryIO:
    """The file as if it began at `offset`."""
    return cast(BinaryIO, _Behind(file, offset)) if offset else file


@contextmanager
def on_disk(source: OpenSource) -> Iterator[BinaryIO]:
    """The source as a file with a descriptor at its beginning; what lies in memory is copied."""
    source.file.seek(0)
    if isinstance(source.file, io.FileIO):
        yield source.file
        return
    with tempfile.TemporaryFile() as copy:
        shutil.copyfileobj(source.file, copy, COPY_BYTES)
        copy.seek(0)
        yield cast(BinaryIO, copy)


def _open_path(path: Path, name: str) -> BinaryIO:
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise StorageError(f"{name} is a folder; expected an audio file")
        if not stat.S_ISREG(mode):  # opening a named pipe would wait for ever
            raise StorageError(f"{name} is not a regular file; expected an audio file")
        return path.open("rb", buffering=0)
    except FileNotFoundError as error:
        raise StorageError(
            f"{name} does not exist; expected an audio file: is the path right from this folder?"
        ) from error
    except ValueError as error:  # a NUL in the path
        raise StorageError(f"{name} is not a path: {error}") from error
    except OSError as error:
        raise StorageError(f"{name} cannot be read: {error.strerror}") from error


def _spool(source: BinaryIO, name: str, max_bytes: int) -> BinaryIO:
    """A seekable, nameless copy of a pipe or socket."""
    copy = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115 (OpenSource closes it)
    try:
        while data := source.read(COPY_BYTES):
            copy.write(data)
            if copy.tell() > max_bytes:
                raise AudioLimitError(f"{name} is larger than {max_bytes / 1e9:.1f} GB")
    except BaseException:
        copy.close()
        raise
    return copy


class _Behind(io.RawIOBase):
    """A file that hides its first `offset` bytes."""

    def __init__(self, file: BinaryIO, offset: int) -> None:
        self._file = file
        self._offset = offset
        file.seek(offset)

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def seek(self, position: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_SET:
            position += self._offset
        return self._file.seek(position, whence) - self._offset

    def tell(self) -> int:
        return self._file.tell() - self._offset

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)
