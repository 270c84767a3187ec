"""A hub on this machine in place of the real one, and a models folder to fill."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from antiphon.models import hub as hub_module
from antiphon.models import store, transfer
from model_hub import Hub, running_hub


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(transfer, "PAUSES_SECONDS", (0.0, 0.0))
    monkeypatch.setattr(store, "LOCK_TIMEOUT_SECONDS", 5.0)
    with running_hub() as running:
        monkeypatch.setattr(hub_module, "HUB", running.address)
        yield running


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"
