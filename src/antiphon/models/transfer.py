"""One file of a model, from an address or a folder to its place: resumed, checked, then renamed.

What has come lies in `<file>.part`; beside it `.part.etag` says of which version it is a part.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import shutil
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import IO, Protocol

from antiphon.addresses import shown
from antiphon.errors import DiskFullError, ModelError, StorageError
from antiphon.files import storage_error
from antiphon.models.hub import AnsweredError, Mirror, UnreachableError
from antiphon.models.manifest import ModelFile
from antiphon.models.record import BLOCK_BYTES, sha256_of
from antiphon.models.store import PART_SUFFIX, VALIDATOR_SUFFIX

# Before another try; counted anew whenever something came.
PAUSES_SECONDS = (1.0, 4.0, 16.0)
_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)")


class Readable(Protocol):
    """What bytes come from."""

    def read1(self, size: int, /) -> bytes: ...


def download(
    mirror: Mirror,
    url: str,
    file: ModelFile,
    folder: Path,
    on_bytes: Callable[[int], None],
) -> ModelFile:
    """Fetch `url` to `folder / file.name`; with the size and sha256 it was found to have.

    `on_bytes` is told how the number of bytes that are here changes, also back when a part is of
    no use. A broken connection is tried again as long as something comes.

    Raises ModelError for a file that is not what was announced (nothing of it is kept);
    StorageError for a server that does not give it, DiskFullError: the part stays, to be resumed.
    """
    part = _Part(folder / file.name)
    pauses = iter(PAUSES_SECONDS)
    while True:
        before = part.size
        try:
            found = _attempt(mirror, url, file, part, on_bytes)
        except (AnsweredError, UnreachableError) as error:
            if isinstance(error, AnsweredError) and not error.is_passing:
                raise
            if part.size > before:
                pauses = iter(PAUSES_SECONDS)
            pause = next(pauses, None)
            if pause is None:
                raise
            time.sleep(pause)
        else:
            part.put_in_place()
            return found


def copy(source: Path, file: ModelFile, folder: Path, on_bytes: Callable[[int], None]) -> ModelFile:
    """Copy a file of this machine to `folder / file.name`, checked as a download is."""
    part = _Part(folder / file.name)
    part.drop(on_bytes)
    try:
        with source.open("rb") as stream:
            check_space(folder, source.stat().st_size)
            found = _receive(stream, part, 0, file, str(source), on_bytes)
    except OSError as error:
        raise storage_error("read", source, error) from error
    part.put_in_place()
    return found


def check_space(folder: Path, needed_bytes: int) -> None:
    """Raise DiskFullError if the disk of `folder` has less than `needed_bytes` left."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if needed_bytes > free:
        raise DiskFullError(
            f"{needed_bytes / 1e9:,.2f} GB are to come but {folder} has {free / 1e9:,.2f} GB left; "
            "free some space, or set ANTIPHON_MODELS to a folder on another disk"
        )


class _Part:
    """The beginning of a file, and what tells its version."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.path = target.with_name(target.name + PART_SUFFIX)
        self._validator = target.with_name(target.name + VALIDATOR_SUFFIX)

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.is_file() else 0

    @property
    def validator(self) -> str | None:
        try:
            return self._validator.read_text(encoding="ascii") or None
        except (OSError, UnicodeDecodeError):
            return None  # then nobody can say what the part is of, and it is fetched anew

    def begin(self, validator: str | None) -> None:
        """Say of which version the bytes to come are, before the first of them."""
        try:
            self._validator.write_text(validator or "", encoding="ascii", errors="replace")
        except OSError as error:
            raise storage_error("write", self._validator, error) from error

    def open(self, offset: int) -> AbstractContextManager[IO[bytes]]:
        return self.path.open("ab" if offset else "wb")

    def drop(self, on_bytes: Callable[[int], None]) -> None:
        on_bytes(-self.size)
        for path in (self.path, self._validator):
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise storage_error("remove", path, error) from error

    def put_in_place(self) -> None:
        try:
            os.replace(self.path, self.target)
            self._validator.unlink(missing_ok=True)
        except OSError as error:
            raise storage_error("write", self.target, error) from error


def _attempt(
    mirror: Mirror, url: str, file: ModelFile, part: _Part, on_bytes: Callable[[int], None]
) -> ModelFile:
    validator = part.validator
    if part.size and validator is None:
        part.drop(on_bytes)
    if file.sha256 and file.size_bytes and part.size == file.size_bytes:
        return _checked(file, part, sha256_of(part.path), shown(url), on_bytes)
    offset = part.size
    headers = {"Range": f"bytes={offset}-", "If-Range": validator} if offset and validator else {}
    try:
        response = mirror.open(url, headers)
    except AnsweredError as error:
        if error.status != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE or not offset:
            raise
        if _range_of(error.headers.get("Content-Range"))[1] == offset:  # nothing is left to send
            return _checked(file, part, sha256_of(part.path), shown(url), on_bytes)
        part.drop(on_bytes)
        return _attempt(mirror, url, file, part, on_bytes)
    with response:
        if response.status == http.HTTPStatus.PARTIAL_CONTENT and not offset:
            raise StorageError(
                f"{shown(url)} sends a part where the whole was asked for; try another mirror"
            )
        if response.status == http.HTTPStatus.PARTIAL_CONTENT:
            start, total = _range_of(response.headers.get("Content-Range"))
            if start != offset or _validator_of(response) != validator:
                part.drop(on_bytes)  # the server does not know If-Range
                return _attempt(mirror, url, file, part, on_bytes)
        else:
            part.drop(on_bytes)
            offset, total = 0, _length_of(response)
            part.begin(_validator_of(response))
        _check_announced(response, file, total, part, on_bytes)
        if total is not None:
            check_space(part.path.parent, total - offset)
        wanted = replace(file, size_bytes=total if file.size_bytes is None else file.size_bytes)
        return _receive(response, part, offset, wanted, shown(url), on_bytes)


def _check_announced(
    response: http.client.HTTPResponse,
    file: ModelFile,
    total: int | None,
    part: _Part,
    on_bytes: Callable[[int], None],
) -> None:
    encoding = response.headers.get("Content-Encoding", "identity")
    if encoding != "identity":
        part.drop(on_bytes)
        raise StorageError(f"{file.name} comes as {encoding}, not as it is; use another mirror")
    if None not in (total, file.size_bytes) and total != file.size_bytes:
        part.drop(on_bytes)
        raise ModelError(
            f"{file.name} is announced with {total:,} bytes; expected {file.size_bytes:,}; nothing "
            "of it is kept: pull again later, or use --from with another place"
        )


def _receive(
    stream: Readable,
    part: _Part,
    offset: int,
    file: ModelFile,
    origin: str,
    on_bytes: Callable[[int], None],
) -> ModelFile:
    """Append what comes to the part, whose first `offset` bytes are here, and check the whole."""
    digest = hashlib.sha256()
    try:
        with part.open(offset) as sink:
            if offset:
                with part.path.open("rb") as begun:
                    while block := begun.read(BLOCK_BYTES):
                        digest.update(block)
            received = offset
            while block := _next_block(stream, origin):
                received += len(block)
                if file.size_bytes is not None and received > file.size_bytes:
                    break
                sink.write(block)
                digest.update(block)
                on_bytes(len(block))
            sink.flush()
            os.fsync(sink.fileno())
    except OSError as error:
        raise storage_error("write", part.path, error) from error
    if file.size_bytes is not None and received < file.size_bytes:
        raise UnreachableError(
            f"{origin} broke off after {received:,} of {file.size_bytes:,} bytes; "
            "pull again to go on"
        )
    if file.size_bytes is not None and received > file.size_bytes:
        part.drop(on_bytes)
        raise ModelError(
            f"{origin} sends more than the {file.size_bytes:,} bytes of {file.name}; nothing of it "
            "is kept: use --from with another place"
        )
    return _checked(file, part, digest.hexdigest(), origin, on_bytes)


def _next_block(stream: Readable, origin: str) -> bytes:
    try:
        return stream.read1(BLOCK_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise UnreachableError(f"{origin} broke off: {error}; pull again to go on") from error


def _checked(
    file: ModelFile, part: _Part, sha256: str, origin: str, on_bytes: Callable[[int], None]
) -> ModelFile:
    if file.sha256 not in (None, sha256):
        part.drop(on_bytes)
        raise ModelError(
            f"{file.name} from {origin} is damaged or another file: its sha256 is {sha256}; "
            f"expected {file.sha256}; nothing of it is kept: pull again, or use --from with "
            "another place"
        )
    return ModelFile(file.name, part.size, sha256)


def _validator_of(response: http.client.HTTPResponse) -> str | None:
    """What If-Range takes: a strong ETag, else the date of the last change."""
    etag: str | None = response.headers.get("ETag")
    if etag is not None:
        return None if etag.startswith("W/") else etag
    return response.headers.get("Last-Modified")


def _length_of(response: http.client.HTTPResponse) -> int | None:
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdigit() else None


def _range_of(header: str | None) -> tuple[int | None, int | None]:
    """Start and total of `bytes 5-9/10`; None for what is not said."""
    match = _CONTENT_RANGE.fullmatch(header or "")
    if match is None:
        return None, None
    start, total = match.groups()
    return None if start is None else int(start), None if total == "*" else int(total)
