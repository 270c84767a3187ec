"""The names that README and spec promise, used as they promise them."""

from __future__ import annotations

from pathlib import Path

import pytest

import antiphon
from antiphon import audio
from antiphon.arrange import arrange
from antiphon.synth import render

pytestmark = pytest.mark.integration


def test_the_readme_example(tmp_path: Path) -> None:
    song = tmp_path / "song.flac"
    controls = antiphon.Controls(genre="rock", bars=12, tempo_bpm=120.0)
    audio.write(song, render(arrange(controls, 1)))

    facts = antiphon.measure(song)
    description = antiphon.load_listener().describe(song)

    assert facts.tempo.bpm == pytest.approx(120, rel=0.04)
    assert facts.tempo.alternatives
    assert facts.key.name != facts.key.runner_up
    assert facts.sections.spans is not None
    assert facts.sections.spans[0].start_seconds == 0
    assert description.texts["technical"]
    assert description.facts == facts
    assert antiphon.Description.from_json(description.to_json()) == description


def test_every_public_name_resolves() -> None:
    for name in antiphon.__all__:
        assert getattr(antiphon, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        antiphon.nothing  # noqa: B018
