"""What a library run remembers: content, claims, and what it makes of a damaged memory."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from antiphon.errors import StorageError
from antiphon.listen.library_state import Identity, LibraryState, Run

pytestmark = pytest.mark.unit
X = Identity(b"x")


@pytest.fixture
def state(tmp_path: Path):
    with closing(LibraryState(tmp_path / "state", "key", {})) as opened:
        yield opened


def test_content_names_a_file(state: LibraryState, tmp_path: Path) -> None:
    first, twin, other = (tmp_path / name for name in ("a", "b", "c"))
    first.write_bytes(b"same")
    twin.write_bytes(b"same")
    other.write_bytes(b"else")
    assert state.known_identity(first) is None
    assert state.identify(first) == state.identify(twin) != state.identify(other)
    assert state.known_identity(first) == state.identify(first)


def test_a_changed_file_is_not_known(state: LibraryState, tmp_path: Path) -> None:
    track = tmp_path / "a"
    track.write_bytes(b"one")
    before = state.identify(track)
    track.write_bytes(b"two")
    os.utime(track, ns=(1, 1))  # the same size, another time
    assert state.known_identity(track) is None
    assert state.identify(track) != before


def test_one_run_has_a_claim(state: LibraryState) -> None:
    with state.running() as first, state.running() as second:
        assert state.claim(X, first)
        assert not state.claim(X, first)
        assert not state.claim(X, second)
        state.finish(X, first, b"record")
        assert not state.claim(X, second)
        assert state.record(X) == b"record"
    entry = state.find(X)
    assert entry is not None
    assert entry.status == "done"


def test_claims_end_with_the_run(state: LibraryState) -> None:
    with state.running() as run:
        assert state.claim(X, run)
    assert state.find(X) is None
    with state.running() as run:
        state.fail(X, run, "AudioDecodeError", "damaged")
    with state.running(retry_failed=True) as run:
        assert state.claim(X, run)  # given back unfinished: still a failure
    entry = state.find(X)
    assert entry is not None
    assert (entry.status, entry.failure and entry.failure.attempts) == ("failed", 1)


def test_the_dead_lose_their_claims_and_the_living_do_not(state: LibraryState) -> None:
    dead = Run("0123", 0.0, False)
    (state.folder / "runs" / "0123.lock").touch()  # nobody holds it
    state.claim(X, dead)
    with state.running() as run:
        state.claim(Identity(b"y"), run)
        state.release_dead()
        assert state.find(X) is None
        assert state.find(Identity(b"y")) is not None
    assert not list((state.folder / "runs").iterdir())


def test_a_failure_is_tried_again_once_per_run_that_wants_it(state: LibraryState) -> None:
    with state.running() as first:
        state.fail(X, first, "AudioDecodeError", "damaged")
        assert not state.claim(X, first)
    with state.running(retry_failed=True) as again:
        assert state.claim(X, again)
        state.fail(X, again, "AudioDecodeError", "still damaged")
        assert not state.claim(X, again)
    entry = state.find(X)
    assert entry is not None
    assert entry.failure is not None
    assert (entry.failure.reason, entry.failure.attempts) == ("still damaged", 2)


def test_settings_see_their_own_results_only(state: LibraryState, tmp_path: Path) -> None:
    with state.running() as run:
        state.finish(X, run, b"record")
    with closing(LibraryState(tmp_path / "state", "another key", {})) as other:
        assert other.find(X) is None


def test_a_damaged_file_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "library.sqlite").write_bytes(b"not a database, but long enough to look at" * 99)
    with pytest.raises(StorageError, match=r"library\.sqlite cannot be used.*move it away"):
        LibraryState(tmp_path, "key", {})


def test_a_file_of_the_future_is_left_alone(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "library.sqlite")) as database:
        database.execute("PRAGMA user_version = 99")
    with pytest.raises(StorageError, match="has version 99"):
        LibraryState(tmp_path, "key", {})


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot write.*file"):
        LibraryState(tmp_path / "file" / "state", "key", {})


def test_state_is_private(tmp_path: Path) -> None:
    LibraryState(tmp_path / "a" / "state", "key", {}).close()
    assert (tmp_path / "a" / "state").stat().st_mode & 0o777 == 0o700


def test_a_state_of_the_first_version_is_used_on(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    LibraryState(folder, "key", {}).close()
    with closing(sqlite3.connect(folder / "library.sqlite")) as database:
        database.executescript(
            "DROP INDEX related; ALTER TABLE results DROP COLUMN base;"
            "ALTER TABLE results DROP COLUMN kinds; PRAGMA user_version = 1"
        )
    state = LibraryState(folder, "key", {"full": "1"})
    with closing(state), state.running() as run:
        assert state.claim(X, run)
        state.finish(X, run, b"record")
        assert state.record(X) == b"record"


def test_results_for_other_kinds_are_related_and_those_of_other_settings_are_not(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "state"
    for key, kinds in (("a", {"full": "1"}), ("a", {"brief": "1"}), ("b", {"full": "1"})):
        with closing(LibraryState(folder, key, kinds)) as state, state.running() as run:
            assert state.claim(X, run)
            state.finish(X, run, f"{key} {kinds}".encode())
    with closing(LibraryState(folder, "a", {"full": "1", "brief": "1"})) as state:
        kinds, records = zip(*state.related(X), strict=True)
        assert sorted(map(str, kinds)) == ["{'brief': '1'}", "{'full': '1'}"]
        assert sorted(records) == [b"a {'brief': '1'}", b"a {'full': '1'}"]
        assert state.find(X) is None
