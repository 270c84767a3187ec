"""A service with the models of the package, for all tests here that only ask."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from antiphon.arrange import arrange
from antiphon.audio import write
from antiphon.controls import Controls
from antiphon.synth import render
from serve.served import Served, served


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    state = tmp_path_factory.mktemp("a service")
    with served(state, "--workers", "2", "--log-level", "info") as running:
        yield running


@pytest.fixture(scope="session")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rock in A minor at 120 BPM, 16 s."""
    wishes = Controls.from_options(
        {"genre": "rock", "tempo": 120, "key": "A minor", "duration": 16, "instruments": "piano"}
    )
    path = tmp_path_factory.mktemp("songs") / "a song.wav"
    write(path, render(arrange(wishes, 3), sample_rate=32_000), bit_depth=16)
    return path
