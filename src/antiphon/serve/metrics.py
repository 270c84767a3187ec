"""Numbers for Prometheus. Labels are routes, methods, kinds of status, models: never what somebody
sent. Several HTTP workers count together, in files."""

from __future__ import annotations

import os
from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST as CONTENT_TYPE
from prometheus_client.multiprocess import MultiProcessCollector

__all__ = ["CONTENT_TYPE", "FOLDER_VARIABLE", "counted", "exposed"]

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"  # set before this module is imported, or not at all
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_REGISTRY = CollectorRegistry()
_REQUESTS = Counter(
    "antiphon_requests", "Requests by route and kind of answer",
    ["route", "method", "status"], registry=_REGISTRY,
)  # fmt: skip
_LATENCY = Histogram(
    "antiphon_request_seconds", "From a request to the beginning of its answer",
    ["route"], buckets=_SECONDS, registry=_REGISTRY,
)  # fmt: skip


def counted(route: str, method: str, status: int, seconds: float) -> None:
    """One request; `route` is the pattern, not the path."""
    known = method if method in ("GET", "HEAD", "POST", "DELETE", "OPTIONS") else "other"
    _REQUESTS.labels(route, known, f"{status // 100}xx").inc()
    _LATENCY.labels(route).observe(seconds)


def exposed(jobs: Mapping[tuple[str, str], int]) -> bytes:
    """All numbers; `jobs` are counts by model and status."""
    registry = CollectorRegistry()
    gauge = Gauge("antiphon_jobs", "Jobs in the store", ["model", "status"], registry=registry)
    for (model, status), count in jobs.items():
        gauge.labels(model, status).set(count)
    own = _REGISTRY
    if FOLDER_VARIABLE in os.environ:
        own = CollectorRegistry()
        MultiProcessCollector(own)  # type: ignore[no-untyped-call]
    return generate_latest(own) + generate_latest(registry)
