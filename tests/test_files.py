"""Files appear whole or not at all, whatever happens to the writer."""

from __future__ import annotations

import errno
import os
import random
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from antiphon import files
from antiphon.errors import DiskFullError, StorageError
from antiphon.files import atomic_write, replacing

pytestmark = pytest.mark.unit


def test_new_file_has_the_mode_any_program_would_give_it(tmp_path: Path) -> None:
    atomic_write(tmp_path / "ours", b"x")
    (tmp_path / "theirs").write_bytes(b"x")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "theirs").stat().st_mode
    assert sorted(p.name for p in tmp_path.iterdir()) == ["ours", "theirs"]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o444])
def test_mode_of_an_existing_file_is_kept(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"old")
    path.chmod(mode)
    atomic_write(path, b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == mode


@pytest.mark.parametrize(
    "name",
    [
        "with space",
        "quote'\"",
        "\N{MUSICAL SYMBOL G CLEF}" * 3,
        "a" * 255,
        "\N{SMALL ORANGE DIAMOND}" * 63,
        ".x",
    ],
)
def test_any_name_the_file_system_takes(tmp_path: Path, name: str) -> None:
    atomic_write(tmp_path / name, b"1")
    atomic_write(tmp_path / name, b"2")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [(name, b"2")]


def test_link_is_written_through(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    atomic_write(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


def test_body_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"old")

    def interrupted() -> None:
        with replacing(path) as temporary:
            temporary.write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_leftovers_of_a_killed_writer_are_cleared_and_never_written_through(
    tmp_path: Path,
) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / ".f.tmp").symlink_to(victim)
    (tmp_path / "f.lock").touch()
    atomic_write(tmp_path / "f", b"new")
    assert victim.read_bytes() == b"precious"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["f", "victim"]


def test_folder_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"cannot write '.*no/f'.*create its folder first"):
        atomic_write(tmp_path / "no" / "f", b"x")
    assert list(tmp_path.iterdir()) == []


def test_folder_in_place_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="not a regular file"):
        atomic_write(tmp_path, b"x")
    assert list(tmp_path.iterdir()) == []


def test_device_is_not_replaced_by_a_file() -> None:
    with pytest.raises(StorageError, match="not a regular file"):
        atomic_write("/dev/null", b"x")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a file system without write")
def test_place_that_cannot_be_written() -> None:
    with pytest.raises(StorageError, match="cannot write '/proc/self/antiphon'"):
        atomic_write("/proc/self/antiphon", b"x")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"old")

    def full(descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFullError, match="no space left") as caught:
        atomic_write(path, b"new")
    assert caught.value.exit_code == 75
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_full_disk_met_by_the_body(tmp_path: Path) -> None:
    with pytest.raises(DiskFullError), replacing(tmp_path / "f"), open("/dev/full", "wb") as full:
        full.write(b"x" * 100_000)
    assert list(tmp_path.iterdir()) == []


def test_folder_that_cannot_be_synced_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fsync

    def picky(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", picky)
    atomic_write(tmp_path / "f", b"x")
    assert (tmp_path / "f").read_bytes() == b"x"


def test_writer_waits_for_the_lock_then_gives_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from filelock import FileLock

    monkeypatch.setattr(files, "LOCK_TIMEOUT_SECONDS", 0.05)
    # Where the captioning tool locks the same file.
    with (
        FileLock(tmp_path / "song.INFO.lock"),
        pytest.raises(StorageError, match="locked by another process"),
    ):
        atomic_write(tmp_path / "song.INFO", b"x")
    assert not (tmp_path / "song.INFO").exists()


def test_own_file_of_the_user_with_the_name_of_the_lock_stays(tmp_path: Path) -> None:
    (tmp_path / "poetry.lock").write_text("mine")
    atomic_write(tmp_path / "poetry", b"x")
    assert (tmp_path / "poetry.lock").read_text() == "mine"


def test_what_is_read_inside_is_what_gets_replaced(tmp_path: Path) -> None:
    path = tmp_path / "count"
    path.write_text("0")

    def count() -> None:
        for _ in range(50):
            with replacing(path) as temporary:
                temporary.write_text(str(int(path.read_text()) + 1))

    threads = [threading.Thread(target=count) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_text() == "150"
    assert list(tmp_path.iterdir()) == [path]


_ENDLESS_WRITER = """
import sys
from antiphon.files import atomic_write
n = 0
while True:
    n += 1
    atomic_write(sys.argv[1], str(n).encode().rjust(200_000, b"0"))
    print(flush=True)
"""


@pytest.mark.integration
def test_kill_at_any_moment_leaves_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "f"
    moments = random.Random(0)
    for _ in range(12):
        writer = subprocess.Popen(
            [sys.executable, "-c", _ENDLESS_WRITER, str(path)], stdout=subprocess.PIPE
        )
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(moments.uniform(0.0, 0.02))
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
        data = path.read_bytes()
        assert len(data) == 200_000
        assert int(data[-100:]) > 0
    atomic_write(path, b"last")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("f", b"last")]
