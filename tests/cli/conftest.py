"""Commands are run away from the settings and the state of the machine at hand."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from antiphon.settings import Settings


@pytest.fixture(autouse=True)
def away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty current folder, a state folder of its own; log and signals are put back."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"ANTIPHON_{name.upper()}", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("ANTIPHON_STATE", str(tmp_path / "state"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    logger = logging.getLogger("antiphon")
    before = list(logger.handlers), logger.level, logger.propagate
    at_termination = signal.getsignal(signal.SIGTERM)
    yield tmp_path
    signal.signal(signal.SIGTERM, at_termination)
    logger.handlers, logger.propagate = before[0], before[2]
    logger.setLevel(before[1])
