"""The job store, its keys and what it forgets: on a database of each test's own."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from antiphon.errors import ConfigError, StorageError
from antiphon.serve.database import Database
from antiphon.serve.jobs import Job, JobStore, task_of
from antiphon.serve.keys import Keys
from antiphon.serve.options import Retention
from antiphon.serve.problems import Problem, Refused
from antiphon.serve.retention import tidy
from antiphon.serve.service import link_inputs, new_job
from antiphon.serve.tasks import Result

pytestmark = pytest.mark.unit
MODEL = "antiphon-composer"


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(tmp_path / "serve")


@pytest.fixture
def store(database: Database) -> JobStore:
    return JobStore(database)


def accepted(store: JobStore, prompt: str = "x", key: str = "", **more: object) -> Job:
    job = new_job("music", MODEL, key, {"prompt": prompt, "seed": 1})
    return store.accept(job, queue=1000, **more)  # type: ignore[arg-type]


def completed(store: JobStore, **more: object) -> Job:
    job = accepted(store, **more)  # type: ignore[arg-type]
    store.claim([job.id])
    place = store.place(job.id)
    place.mkdir()
    (place / "piece.wav").write_bytes(b"1234")
    assert store.complete(job.id, Result({"path": "piece.wav"}, {"tempo": 120}))
    return job


def test_a_job_has_one_result_and_one_end(store: JobStore) -> None:
    job = completed(store)
    found = store.find(job.id, key="")
    assert found is not None
    assert (found.status, found.result, found.progress) == (
        "completed", {"path": "piece.wav"}, 1.0
    )  # fmt: skip
    assert found.bytes == 4
    assert not store.complete(job.id, Result({"path": "other"}))
    assert not store.fail(job.id, Problem(500, "x", "x"))
    assert store.find(job.id, key="") == found


def test_a_job_is_claimed_by_one_of_many(store: JobStore) -> None:
    job = accepted(store)
    begun: list[str] = []

    def claim() -> None:
        begun.extend(one.id for one in store.claim([job.id]))

    threads = [threading.Thread(target=claim) for _ in "1234"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert begun == [job.id]


def test_another_key_sees_nothing_of_it(store: JobStore) -> None:
    job = completed(store, key="key_1")
    assert store.find(job.id, key="key_2") is None
    assert store.find(job.id, key="") is None
    assert store.find(job.id, key=None) is not None
    assert store.find(job.id, key="key_1", kind="description") is None
    page = store.page(key="key_2")
    assert page is not None
    assert page.jobs == ()


def test_a_full_queue_refuses_for_its_model_alone(store: JobStore) -> None:
    for _ in range(3):
        accepted(store)
    with pytest.raises(Refused, match="3 requests wait"):
        store.accept(new_job("music", MODEL, "", {}), queue=3)
    store.accept(new_job("description", "antiphon-listener", "", {}), queue=3)


def test_what_an_owner_dies_of_three_times_is_given_up(store: JobStore) -> None:
    job = accepted(store)
    for attempt in (1, 2, 3):
        assert [one.id for one in store.claim([job.id])] == [job.id]
        given_up = store.take_over([MODEL])
        assert [one.id for one in given_up] == ([job.id] if attempt == 3 else [])
    found = store.find(job.id, key="")
    assert found is not None
    assert found.status == "failed"
    assert found.problem is not None
    assert found.problem.code == "worker_died"


def test_what_is_put_back_on_purpose_counts_no_attempt(store: JobStore) -> None:
    job = accepted(store)
    for _ in range(5):
        store.claim([job.id])
        store.requeue([job.id])
    found = store.find(job.id, key="")
    assert found is not None
    assert (found.status, found.attempts) == ("queued", 0)


def test_what_is_put_back_and_was_cancelled_is_not_begun_again(store: JobStore) -> None:
    job = accepted(store)
    store.claim([job.id])
    store.cancel(job.id)
    store.requeue([job.id])
    found = store.find(job.id, key="")
    assert found is not None
    assert found.status == "cancelled"
    assert found.completed_at is not None


def test_one_key_does_not_fill_the_queue_of_all(store: JobStore) -> None:
    def accept(key: str) -> Job:
        return store.accept(new_job("music", MODEL, key, {}), queue=8)

    for _ in range(4):
        accept("busy")
    with pytest.raises(Refused, match="4 requests wait"):
        accept("busy")
    accept("quick")
    for _ in range(3):
        accept("")  # where there are no keys, all is one's own


def test_inputs_go_with_the_end_and_are_not_counted(store: JobStore) -> None:
    for end in (lambda job: store.fail(job, Problem(500, "x", "x")), store.cancel_begun):
        job = accepted(store)
        store.claim([job.id])
        place = store.place(job.id)
        place.mkdir()
        (place / "input").write_bytes(bytes(1000))
        end(job.id)
        assert list(place.iterdir()) == []
    done = completed(store)
    (store.place(done.id) / "as.mp3").write_bytes(bytes(1000))
    store.grown(done.id)
    found = store.find(done.id, key="")
    assert found is not None
    assert found.bytes == 1004


def test_a_job_that_dies_before_its_end_is_kept_can_be_done_again(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its inputs are there until the end is written."""
    job = accepted(store)
    store.claim([job.id])
    store.place(job.id).mkdir()
    (store.place(job.id) / "input").write_bytes(b"sound")

    def die(*_: object) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(store, "_end", die)
    with pytest.raises(KeyboardInterrupt):
        store.complete(job.id, Result({}))
    assert (store.place(job.id) / "input").read_bytes() == b"sound"


def test_what_was_begun_before_goes_alone(store: JobStore, tmp_path: Path) -> None:
    job = store.accept(new_job("music", MODEL, "", {}, batch="b"), queue=9)
    assert task_of(job, tmp_path, 1.0).batch == "b"
    store.claim([job.id])
    store.take_over([MODEL])
    (again,) = store.waiting([MODEL], 9)
    assert task_of(again, tmp_path, 1.0).batch is None


def test_a_running_job_that_was_cancelled_ends_so_when_its_owner_dies(store: JobStore) -> None:
    job = accepted(store)
    store.claim([job.id])
    marked = store.cancel(job.id)
    assert marked is not None
    assert (marked.status, marked.is_stopping) == ("in_progress", True)
    store.take_over([MODEL])
    found = store.find(job.id, key="")
    assert found is not None
    assert found.status == "cancelled"


def test_each_key_is_seen_however_many_jobs_another_has(store: JobStore) -> None:
    for _ in range(50):
        accepted(store, key="busy")
    last = accepted(store, key="quick")
    assert last.id in [job.id for job in store.waiting([MODEL], 10)]


def test_a_text_that_is_no_utf_8_does_not_break_a_job(store: JobStore) -> None:
    job = accepted(store, "lone \ud800 surrogate")
    assert store.find(job.id, key="") is not None


def test_inputs_are_kept_when_the_file_is_deleted(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"sound")
    link_inputs(tmp_path / "jobs" / "1", {"input": tmp_path / "file"})
    (tmp_path / "file").unlink()
    assert (tmp_path / "jobs" / "1" / "input").read_bytes() == b"sound"


def test_old_jobs_go_and_young_ones_stay(database: Database, store: JobStore) -> None:
    old, live = completed(store), accepted(store)
    later = time.time() + 31 * 86_400
    gone = tidy(database, Retention(days=30), now=later)
    assert (gone.jobs, gone.bytes) == (1, 4)
    assert store.find(old.id, key="") is None
    assert not store.place(old.id).exists()
    assert store.find(live.id, key="") is not None


def test_the_oldest_go_where_there_is_too_much(database: Database, store: JobStore) -> None:
    first, second = completed(store), completed(store)
    tidy(database, Retention(gigabytes=6e-9))
    assert store.find(first.id, key="") is None
    assert store.find(second.id, key="") is not None


def test_what_belongs_to_no_row_goes_when_it_is_old(database: Database, store: JobStore) -> None:
    for name in ("old", "young"):
        (store.folder / name).mkdir()
    os.utime(store.folder / "old", (0, 0))
    assert tidy(database, Retention()).orphans == 1
    assert [path.name for path in store.folder.iterdir()] == ["young"]
    (store.folder / "gone meanwhile").symlink_to("nowhere")
    assert tidy(database, Retention()).orphans == 0


def test_keys_are_kept_as_hashes_and_found_by_their_secret(
    database: Database, tmp_path: Path
) -> None:
    keys = Keys(database)
    assert not keys.are_needed
    key, secret = keys.add("phone")
    assert keys.are_needed
    assert keys.id_of(secret) == key.id
    assert keys.id_of(secret + "x") is None
    assert keys.id_of("\ud800") is None
    assert secret.encode() not in b"".join(p.read_bytes() for p in tmp_path.rglob("serve.sqlite*"))
    with pytest.raises(ConfigError, match="already"):
        keys.add("phone")
    assert keys.remove("phone") == key
    assert keys.id_of(secret) is None
    with pytest.raises(ConfigError, match="there is no key 'phone'"):
        keys.remove("phone")


def test_many_may_open_a_new_database_at_once(tmp_path: Path) -> None:
    code = "import sys, pathlib; from antiphon.serve.database import Database as D; "
    code += "D(pathlib.Path(sys.argv[1])).close()"
    command = [sys.executable, "-c", code, str(tmp_path / "serve")]
    begun = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(6)]
    assert [(one.communicate()[1], one.returncode) for one in begun] == [("", 0)] * 6


def test_a_database_of_another_version_is_refused(database: Database) -> None:
    with sqlite3.connect(database.folder / "serve.sqlite") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StorageError, match="version 99"):
        Database(database.folder)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="file"):
        Database(tmp_path / "file" / "serve")
