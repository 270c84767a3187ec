"""The pool: what an item can do to a worker, and what it cannot do to the others."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from antiphon.errors import EngineError
from antiphon.workers import Finished, Lost, WorkerPool

pytestmark = pytest.mark.integration


@dataclass(frozen=True)
class Obey:
    """Does what an item says."""

    dies_at_start: bool = False

    def open(self) -> Callable[[str], str]:
        if self.dies_at_start:
            os._exit(7)
        return self._do

    def _do(self, item: str) -> str:
        if item == "exit":
            os._exit(3)
        if item == "hang":
            time.sleep(3600)
        if item == "fail":
            raise ZeroDivisionError("a defect")
        if item == "signals":  # as a terminal and a service manager send them to the whole group
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGTERM)
        return os.environ["OMP_NUM_THREADS"] if item == "threads" else f"{item} {os.getpid()}"


def results(pool: WorkerPool[str, str], *items: str) -> dict[str, str | Lost]:
    """Run all `items` through the pool."""
    found: list[Finished[str, str]] = []
    for item in items:
        while pool.full:
            found += pool.collect(0.1)
        pool.submit(item)
    while pool.busy:
        found += pool.collect(0.1)
    return {finished.item: finished.result for finished in found}


def test_a_worker_that_dies_or_hangs_costs_its_item_only() -> None:
    with WorkerPool(Obey(), 2, timeout_seconds=1.0) as pool:
        found = results(pool, "a", "exit", "b", "hang", "c")
    assert found["exit"] == Lost(
        "WorkerDied", "the process that worked on it ended with exit code 3"
    )
    assert found["hang"] == Lost("TimedOut", "took longer than 1 s and was ended")
    assert all(str(found[name]).startswith(name) for name in "abc")


def test_workers_are_kept_and_end_with_the_pool() -> None:
    with WorkerPool(Obey(), 1, timeout_seconds=60.0) as pool:
        found = results(pool, "a", "signals", "b")
        pids = {int(str(result).split()[1]) for result in found.values()}
        assert len(pids) == 1
    with pytest.raises(ProcessLookupError):
        os.kill(pids.pop(), 0)


def test_a_worker_killed_while_idle_is_replaced() -> None:
    with WorkerPool(Obey(), 1, timeout_seconds=60.0) as pool:
        pid = int(str(results(pool, "a")["a"]).split()[1])
        os.kill(pid, signal.SIGKILL)
        time.sleep(0.2)
        assert str(results(pool, "b")["b"]).startswith("b ")


def test_one_thread_per_worker_and_the_parent_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "6")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    with WorkerPool(Obey(), 1, timeout_seconds=60.0) as pool:
        assert results(pool, "threads") == {"threads": "1"}
    assert os.environ["OMP_NUM_THREADS"] == "6"
    assert "MKL_NUM_THREADS" not in os.environ


def test_an_error_of_the_task_ends_the_run() -> None:
    with (
        WorkerPool(Obey(), 1, timeout_seconds=60.0) as pool,
        pytest.raises(EngineError, match="ZeroDivisionError: a defect"),
    ):
        results(pool, "fail")


def test_a_worker_that_cannot_start_is_not_started_for_ever() -> None:
    with (
        WorkerPool(Obey(dies_at_start=True), 1, timeout_seconds=60.0) as pool,
        pytest.raises(EngineError, match="exit code 7 before it could start"),
    ):
        results(pool, "a")
