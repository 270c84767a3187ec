"""Files that appear whole or not at all: written beside the target, then renamed.

Knows no format. Two writers of one file take turns; a killed one leaves nothing that the next
write does not clear away.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from antiphon.errors import DiskFullError, StorageError

LOCK_TIMEOUT_SECONDS = 60.0
_POLL_SECONDS = 0.01
_NAME_LIMIT_BYTES = 240  # file systems allow 255; the rest is for what we add
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)  # not on Windows
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_NO_FOLDER_SYNC = frozenset({errno.EINVAL, errno.ENOTSUP})  # some network file systems
_WAYS_OUT = {
    errno.EACCES: "choose a place you may write to, or change its permissions",
    errno.EPERM: "choose a place you may write to, or change its permissions",
    errno.EROFS: "choose a place you may write to",
    errno.ENOENT: "create its folder first",
    errno.ENOTDIR: "a part of its path is not a folder",
    errno.ENAMETOOLONG: "choose a shorter name",
}


def atomic_write(path: str | os.PathLike[str], data: bytes) -> None:
    """Write `data` to `path`, replacing a file there; see `replacing`."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give an empty temporary file beside `path` that takes its place at the end.

    The lock on `path` is held from entry to exit: what is read from `path` inside is what will be
    replaced. The mode of an existing file is kept, a symbolic link is written through. If the body
    raises, `path` is left as it was.

    Raises StorageError (DiskFullError when there is no space), also for an OSError of the body.
    """
    target = Path(os.path.realpath(path))
    temporary = _beside(target, ".tmp", hidden=True)
    try:
        with locked(target):
            mode = _mode_of_existing(target)
            temporary.unlink(missing_ok=True)  # left by a killed writer
            # O_EXCL: never through a link that somebody put there.
            os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
            usual = temporary.stat().st_mode
            try:
                yield temporary
                # Also a new file's: safetensors puts one in its place that only its owner reads.
                os.chmod(temporary, usual if mode is None else mode)
                sync_file(temporary)
                os.replace(temporary, target)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
            sync_folder(target.parent)
    except OSError as error:
        raise storage_error("write", path, error) from error


def storage_error(action: str, path: str | os.PathLike[str], error: OSError) -> StorageError:
    """What to raise for `error`, met when trying to `action` ("read", "write") the file `path`."""
    if error.errno in _FULL:
        return DiskFullError(f"cannot {action} {os.fspath(path)!r}: no space left; free some space")
    way_out = _WAYS_OUT.get(error.errno or 0)
    return StorageError(
        f"cannot {action} {os.fspath(path)!r}: {error.strerror or error}"
        + (f"; {way_out}" if way_out else "")
    )


@contextmanager
def locked(target: Path, timeout_seconds: float | None = None) -> Iterator[None]:
    """Hold the lock of `target` against other processes and threads; no death of a holder can leave
    it behind. Raises StorageError when another holds it for so long (None: a minute), OSError where
    there can be no lock.

    The lock lies at `<name>.lock` beside the file: there the captioning tool whose `.INFO` files we
    share looks for it too, and other machines see it on a shared disk.
    """
    from filelock import FileLock, Timeout

    lock_path = _beside(target, ".lock", hidden=False)
    timeout = LOCK_TIMEOUT_SECONDS if timeout_seconds is None else timeout_seconds
    try:
        # filelock makes missing folders, and tries some errors again until the time is up.
        os.close(os.open(lock_path, os.O_CREAT | os.O_RDWR | _NO_FOLLOW, 0o666))
        lock = FileLock(lock_path, timeout=timeout, poll_interval=_POLL_SECONDS)
        lock.acquire()
    except Timeout as error:
        raise StorageError(
            f"{str(target)!r} has been locked by another process for {timeout:g} "
            "seconds; wait until that process is done"
        ) from error
    try:
        yield
    finally:
        # Before the release: a waiter that opened the old file sees that it has no name any more
        # and starts over. Windows keeps an open file. Somebody's own `x.lock` has a content.
        with suppress(OSError):
            if lock_path.stat().st_size == 0:
                lock_path.unlink()
        lock.release()


def _beside(target: Path, suffix: str, *, hidden: bool) -> Path:
    name = target.name
    if len(os.fsencode(name)) > _NAME_LIMIT_BYTES:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()[:32]
    return target.with_name(f"{'.' if hidden else ''}{name}{suffix}")


def _mode_of_existing(target: Path) -> int | None:
    """The permission bits of `target`, None if there is none. Devices and folders are refused."""
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(mode):
        raise StorageError(f"cannot write {str(target)!r}: it is not a regular file; name a file")
    return stat.S_IMODE(mode)


def sync_file(path: Path) -> None:
    """Make the content of a file survive a power cut."""
    with open(path, "r+b") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make the rename itself survive a power cut. Windows has no such call."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise
    finally:
        os.close(descriptor)
