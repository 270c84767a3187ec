"""What the service promises, on loopback: clients, kills, attacks, load, the page.

    python bench/run.py serve

Loads are in serving_loads.py; what is a yes or no runs as the tests that hold it.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))  # where services are started, and clients are


import serving_loads as loads  # noqa: E402
from report import Part, Row  # noqa: E402
from serve.served import served  # noqa: E402
from serve.storm import storm  # noqa: E402
from serve.test_openapi import check_openapi  # noqa: E402

JOBS, KILLS = 5_000, 150
CASES_PER_OPERATION = 170
ATTACKS = 60
STOPS = 50
OVERLOAD_SECONDS, SOAK_SECONDS = 300.0, 1800.0


@dataclass(frozen=True)
class _Tests:
    """How files of tests went, and what they recorded."""

    passed: frozenset[str]
    failed: frozenset[str]
    recorded: Mapping[str, Sequence[float]]

    @property
    def said(self) -> str:
        return f"{len(self.passed)} of {len(self.passed) + len(self.failed)} tests"


def run() -> Part:
    rows: list[Row] = []
    for measure in (
        _clients, _openapi, _kills, _attacks, _overload, _overhead, _throughput, _cancels, _stops,
        _page, _soak,
    ):  # fmt: skip
        with tempfile.TemporaryDirectory(prefix="antiphon-bench-") as folder:
            found = measure(Path(folder))
        for row in found:
            print(" | ".join(row.cells()), flush=True)
        rows += found
    notes = (
        "All on loopback, server and clients on the same cores. `null` is work that is done at "
        "once (antiphon/serve/fake.py); everything else is the models of the package."
    )
    return Part("serve", "Service", notes, rows)


def _clients(folder: Path) -> list[Row]:
    found = _tested("test_clients.py", "test_api_docs.py")
    share = len(found.passed) / (len(found.passed) + len(found.failed))
    what = (
        "unmodified clients: openai, langchain-openai, elevenlabs, mcp (HTTP, stdio), curl, "
        "Open WebUI's bodies"
    )
    return [Row(what, share, at_least=1.0, must=True, beside=found.said)]


def _openapi(folder: Path) -> list[Row]:
    with served(folder, 'listener="fake"', fake={}, caps={"running_per_key": 64}) as running:
        report = check_openapi(running.address, CASES_PER_OPERATION, folder)
    cases = re.search(r"([\d,]+) generated", report.stdout)
    failures = re.search(r"found (\d+) unique failures", report.stdout)
    count = int(cases[1].replace(",", "")) if cases else 0
    found = int(failures[1]) if failures else (0 if report.returncode == 0 else 1)
    return [
        Row("schemathesis: cases", count, at_least=10_000, digits=0),
        Row("… server errors and violations", found, at_most=0, digits=0, beside="null"),
    ]


def _kills(folder: Path) -> list[Row]:
    found = storm(folder, JOBS, KILLS)
    about = f"{JOBS:,} jobs, {KILLS} kill -9, {found.whole_restarts} of the whole service"
    return [
        Row(f"{about}: lost", found.lost, at_most=0, must=True, digits=0, beside="null"),
        Row("… duplicate", found.duplicate, at_most=0, must=True, digits=0),
        Row("… unreadable results", found.unreadable, at_most=0, must=True, digits=0),
        Row("… ready again, slowest", found.ready_seconds, " s", at_most=5.0, must=True, digits=1),
    ]


def _attacks(folder: Path) -> list[Row]:
    found = _tested(*(path.name for path in sorted((ROOT / "tests/serve").glob("test_attack_*"))))

    def numbers(names: frozenset[str]) -> set[str]:
        return {match[1] for name in names if (match := re.match(r"test_(\d\d)_", name))}

    held = numbers(found.passed) - numbers(found.failed)
    return [Row("attacks that are refused", len(held), at_least=ATTACKS, must=True, digits=0,
                beside=f"of {ATTACKS}; {len(found.passed)} tests")]  # fmt: skip


def _overload(folder: Path) -> list[Row]:
    found = loads.overload(folder, OVERLOAD_SECONDS)
    about = f"10x overload for {OVERLOAD_SECONDS / 60:g} min"
    said = f"{found.accepted:,} accepted, {found.refused:,} refused of {found.sent:,}"
    return [
        Row(f"{about}: accepted and not completed", found.unfinished, at_most=0, digits=0,
            beside=said),
        Row("… 429, 99th percentile", found.refusal_p99 * 1e3, " ms", at_most=100, digits=0),
        Row("… memory against before", found.memory_growth * 100, " %", at_most=10, digits=1),
    ]  # fmt: skip


def _overhead(folder: Path) -> list[Row]:
    call, job = loads.overhead(folder)
    return [
        Row("50 requests/s, null: a call, median", call.p50 * 1e3, " ms", at_most=10, digits=1,
            beside=f"99th percentile {call.p99 * 1e3:.0f} ms"),
        Row("… a durable job from request to result, median", job.p50 * 1e3, " ms", at_most=25,
            digits=1, beside=f"99th percentile {job.p99 * 1e3:.0f} ms"),
    ]  # fmt: skip


def _throughput(folder: Path) -> list[Row]:
    shared, own = loads.throughput(folder)
    return [
        Row("composing, 4 workers share a model, against 4 processes with their own",
            shared.pace / own.pace, "x", at_least=1.0, digits=2,
            beside=f"{shared.pace:.0f} against {own.pace:.0f} s of music a second"),
        Row("… memory", shared.memory_mb / own.memory_mb * 100, " %", at_most=40, digits=0,
            beside=f"{shared.memory_mb:.0f} against {own.memory_mb:.0f} MB (proportional)"),
    ]  # fmt: skip


def _cancels(folder: Path) -> list[Row]:
    found = loads.cancels(folder)
    return [
        Row("the model is free again after a client hangs up, slowest of "
            f"{found.count}", found.slowest, " s", at_most=1.0, digits=2,
            beside=f"after the first sound or word; median {found.median:.2f} s"),
        Row("… before that, by a new process: replaced", found.replaced_share, at_least=1.0,
            digits=2, beside=f"free after {found.replaced_seconds:.1f} s"),
    ]  # fmt: skip


def _stops(folder: Path) -> list[Row]:
    found = loads.stops(folder, STOPS)
    return [
        Row(f"SIGTERM, {STOPS} times: in order", found.in_order, at_least=STOPS, digits=0,
            beside="exit 0 in time, what ran is finished or queued"),
        Row("… 503 for new work after, slowest", found.refusal_seconds * 1e3, " ms", at_most=100,
            digits=0),
    ]  # fmt: skip


def _page(folder: Path) -> list[Row]:
    found = _tested("test_web_page.py")

    def figure(name: str, factor: float = 1.0) -> float | None:
        return max(found.recorded[name]) * factor if name in found.recorded else None

    return [
        Row("page: axe violations, three views, light, dark, 360 px", figure("violations"),
            at_most=0, must=True, digits=0, beside=f"used as by a person: {found.said}"),
        Row("… size without audio", figure("bytes", 1e-3), " KB", at_most=400, must=True,
            digits=0),
        Row("… external requests", figure("external_requests"), at_most=0, must=True, digits=0),
        Row("… first view", figure("first_view_ms", 1e-3), " s", at_most=1.0, must=True,
            digits=2),
    ]  # fmt: skip


def _soak(folder: Path) -> list[Row]:
    found = loads.soak(folder, SOAK_SECONDS)
    about = f"{SOAK_SECONDS / 60:.0f} min of mixed load"
    said = f"{found.requests:,} requests"
    return [
        Row(f"{about}: drift of memory", found.memory_drift * 100, " %", at_most=5, digits=1,
            beside=said),
        Row("… of file handles", found.handle_drift * 100, " %", at_most=5, digits=1),
        Row("… errors", found.errors, at_most=0, digits=0),
    ]  # fmt: skip


def _tested(*files: str) -> _Tests:
    """Run files of tests as they are; which of them passed."""
    paths = [str(ROOT / "tests/serve" / file) for file in files]
    with tempfile.TemporaryDirectory(prefix="antiphon-bench-") as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-m", "not slow", *paths]
        command.append(f"--junitxml={report}")
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        cases = list(ElementTree.parse(report).iter("testcase"))
    passed: set[str] = set()
    failed: set[str] = set()
    recorded: dict[str, list[float]] = {}
    for case in cases:
        bad = any(case.find(tag) is not None for tag in ("failure", "error", "skipped"))
        (failed if bad else passed).add(case.attrib["name"])
        for one in case.iter("property"):
            recorded.setdefault(one.attrib["name"], []).append(float(one.attrib["value"]))
    if not passed:
        raise SystemExit(f"no test of {', '.join(files)} passed:\n{done.stdout[-2000:]}")
    return _Tests(frozenset(passed), frozenset(failed), recorded)
