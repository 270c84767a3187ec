"""Structured logging on stderr: sentences for people, or one JSON object per line for machines.

Only antiphon's own loggers are touched. Extra fields travel with a message:
`logger.info("track described", extra={"seconds": 1.2})`.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Literal, TextIO

# What a record carries on its own; anything else on it came in through `extra`.
_OWN_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def configure(level: str = "warning", form: Literal["text", "json"] = "text") -> None:
    """Send antiphon's log at `level` and above to stderr. May be called again to change it."""
    handler = _StderrHandler()
    handler.setFormatter(_JsonFormatter() if form == "json" else _TextFormatter())
    logger = logging.getLogger("antiphon")
    logger.handlers = [handler]
    logger.setLevel(level.upper())
    logger.propagate = False


class _StderrHandler(logging.StreamHandler[TextIO]):
    """Looks stderr up at every line: a progress bar takes its place while it is drawn."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stderr


class _TextFormatter(logging.Formatter):
    """`warning: track skipped (path=a.wav seconds=0.1)`, and the traceback if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        extra = " ".join(f"{name}={value}" for name, value in _extra(record).items())
        line = f"{record.levelname.lower()}: {record.getMessage()}" + (f" ({extra})" * bool(extra))
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


class _JsonFormatter(logging.Formatter):
    """`{"time": …, "level": …, "logger": …, "message": …, …}`, time in UTC."""

    def format(self, record: logging.LogRecord) -> str:
        data: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_extra(record),
        }
        if record.exc_info:
            data["traceback"] = self.formatException(record.exc_info)
        return json.dumps(data, ensure_ascii=False, default=str)


def _extra(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name, value in vars(record).items() if name not in _OWN_FIELDS}
