"""Whose turn it is. Knows no clock, no model and no database."""

from __future__ import annotations

from collections.abc import Sequence

from antiphon.serve.tasks import Task


class Turns:
    """Keys take turns, so that one with many requests does not keep the others waiting; within a
    key the oldest goes first."""

    def __init__(self) -> None:
        self._turn = 0
        self._served: dict[str, int] = {}

    def next(self, waiting: Sequence[Task], most: int) -> list[Task]:
        """The task whose turn it is, with up to `most` altogether that can be done beside it,
        whoever asked for them: they cost nothing. Empty where nothing waits."""
        if not waiting:
            return []
        oldest: dict[str, Task] = {}
        for task in sorted(waiting, key=lambda task: (task.created_at, task.id)):
            oldest.setdefault(task.key, task)
        first = min(
            oldest.values(),
            key=lambda task: (self._served.get(task.key, 0), task.created_at, task.id),
        )
        self._turn += 1
        # Those who do not wait any more begin anew: what is kept stays small.
        self._served = {key: turn for key, turn in self._served.items() if key in oldest}
        self._served[first.key] = self._turn
        beside = [
            task
            for task in waiting
            if task is not first
            and first.batch is not None
            and (task.batch, task.model, task.kind) == (first.batch, first.model, first.kind)
        ]
        return [first, *sorted(beside, key=lambda task: (task.created_at, task.id))][:most]
