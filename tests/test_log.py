"""What reaches stderr, in which form."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from antiphon import log

pytestmark = pytest.mark.unit
logger = logging.getLogger("antiphon.somewhere")


@pytest.fixture(autouse=True)
def put_back() -> Iterator[None]:
    root = logging.getLogger("antiphon")
    kept = root.handlers, root.level, root.propagate
    yield
    root.handlers, root.propagate = kept[0], kept[2]
    root.setLevel(kept[1])


def test_quiet_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure()
    logger.info("nobody asked")
    logger.warning("short: %s", "file", extra={"seconds": 1.5})
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "warning: short: file (seconds=1.5)\n"


def test_json_lines(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("debug", "json")
    logger.debug("naïve", extra={"track": "a.wav"})
    try:
        raise ValueError("inner")
    except ValueError:
        logger.exception("failed")
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert (first["message"], first["track"], first["level"]) == ("naïve", "a.wav", "debug")
    assert first["logger"] == "antiphon.somewhere"
    assert datetime.fromisoformat(first["time"]).utcoffset() == timedelta(0)
    assert "ValueError: inner" in second["traceback"]


def test_configuring_again_replaces(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("debug")
    log.configure("error")
    logger.warning("no")
    logger.error("once")
    assert capsys.readouterr().err == "error: once\n"


def test_other_loggers_are_left_alone() -> None:
    before = list(logging.getLogger().handlers)
    log.configure("debug")
    assert logging.getLogger().handlers == before
