"""What a run over items leaves for people beside its output: how many, and which of them failed.

Knows no kind of work.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from antiphon.data.running import Outcome, Result
from antiphon.data.sources import Problem
from antiphon.files import atomic_write


@dataclass(frozen=True)
class Report:
    """What became of a run. `output` is None where a stop came before it could be written;
    `new` counts the items worked on in this run; `notes` are sentences for people."""

    output: Path | None
    clips: int
    new: int
    not_reached: int
    failures: tuple[Problem, ...]
    notes: tuple[str, ...] = ()


def ledger_of(output: Path) -> Path:
    return output.with_name(f"{output.name}.ledger.jsonl")


def failures_of(output: Path) -> Path:
    return output.with_name(f"{output.name}.failed.jsonl")


def problem_of(outcome: Outcome) -> Problem:
    return Problem(outcome.name, outcome.error or "", outcome.exit_code or 1)


def unfinished(result: Result, problems: Sequence[Problem] = ()) -> Report:
    """Of a run that was stopped: nothing is written but the ledger."""
    failures = (*problems, *map(problem_of, result.failures))
    return Report(None, 0, count_new(result), result.outcomes.count(None), failures)


def count_new(result: Result) -> int:
    return sum(outcome is not None and outcome.is_new for outcome in result.outcomes)


def write_failures(output: Path, failures: Sequence[Problem]) -> None:
    """`<output>.failed.jsonl`, or none where nothing failed."""
    path = failures_of(output)
    if failures:
        lines = [
            json.dumps({"name": one.name, "reason": one.reason}, ensure_ascii=False) + "\n"
            for one in failures
        ]
        atomic_write(path, "".join(lines).encode("utf-8", "surrogateescape"))
    else:
        path.unlink(missing_ok=True)
