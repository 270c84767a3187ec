"""Whose turn it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from antiphon.serve.tasks import Task
from antiphon.serve.turns import Turns

pytestmark = pytest.mark.unit


def task(name: str, key: str = "", at: float = 0.0, batch: str | None = None) -> Task:
    return Task(name, "music", "m", key, {}, Path(), False, at, 1.0, batch)


def order(tasks: list[Task], most: int = 1) -> list[list[str]]:
    turns, rest, found = Turns(), list(tasks), []
    while rest:
        chosen = turns.next(rest, most)
        rest = [one for one in rest if one not in chosen]
        found.append([one.id for one in chosen])
    return found


def test_nothing_waits() -> None:
    assert Turns().next([], 4) == []


def test_the_oldest_goes_first_and_keys_take_turns() -> None:
    waiting = [task(f"a{i}", "a", i) for i in range(4)] + [task("b", "b", 9), task("c", "c", 8)]
    assert order(waiting) == [["a0"], ["c"], ["b"], ["a1"], ["a2"], ["a3"]]


def test_what_can_be_done_together_is_whoever_asks() -> None:
    waiting = [task("a", "a", 0, "x"), task("b", "a", 1), task("c", "b", 2, "x"),
               task("d", "a", 3, "x")]  # fmt: skip
    assert order(waiting, most=2)[0] == ["a", "c"]
    assert order(waiting, most=4)[0] == ["a", "c", "d"]
    other = replace(waiting[2], model="other")
    assert order([waiting[0], other], most=4) == [["a"], ["c"]]


def test_without_a_batch_each_goes_alone() -> None:
    assert order([task("a"), task("b")], most=4) == [["a"], ["b"]]
