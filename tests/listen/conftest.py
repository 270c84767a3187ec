"""Checkpoints that the tests of all engines share; a session makes each once."""

from __future__ import annotations

from pathlib import Path

import flamingo
import pytest


@pytest.fixture(scope="session")
def tiny_af3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Audio Flamingo 3, 1 MB."""
    pytest.importorskip("transformers")
    return flamingo.make_checkpoint(tmp_path_factory.mktemp("af3"))


@pytest.fixture(scope="session")
def tiny_mf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Music Flamingo, 1 MB."""
    pytest.importorskip("transformers")
    return flamingo.make_checkpoint(tmp_path_factory.mktemp("mf"), "mf")


@pytest.fixture(scope="session")
def toy() -> Path:
    """An Audio Flamingo 3 that names flamingo.SOUNDS; minutes the first time, then kept."""
    pytest.importorskip("transformers")
    return flamingo.toy_checkpoint()
