"""The listener: from a recording to a Description, with measuring handed in."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from invented_facts import invented_facts

import antiphon
from antiphon.audio import Limits, Waveform
from antiphon.description import Description
from antiphon.errors import ConfigError
from antiphon.exports import merge_info
from antiphon.facts import Facts
from antiphon.listen.prompts import Prompt, PromptSet, load_prompt_set

pytestmark = pytest.mark.unit


class Measuring:
    """Stands in for `antiphon.analysis.measure`, and remembers how it was called."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, Limits, bool]] = []

    def __call__(self, source: object, *, limits: Limits, isolated: bool) -> Facts:
        self.calls.append((source, limits, isolated))
        return invented_facts(4).with_path(str(source))


@pytest.fixture
def measuring(monkeypatch: pytest.MonkeyPatch) -> Measuring:
    fake = Measuring()
    monkeypatch.setattr("antiphon.analysis.measure", fake, raising=False)
    return fake


def test_describe_gives_the_standard_texts_with_all_they_rest_on(measuring: Measuring) -> None:
    description = antiphon.load_listener().describe("song.flac")
    assert list(description.texts) == list(load_prompt_set("standard").kinds)
    assert all(description.texts.values())
    assert description.path == "song.flac"
    assert description.facts == invented_facts(4).with_path("song.flac")
    assert description.claims == ()
    assert description.heard is None
    provenance = description.provenance
    assert (provenance.model, provenance.revision) == ("antiphon-signal", None)
    assert provenance.licence == "Apache-2.0"
    assert provenance.version == antiphon.__version__
    assert provenance.settings == {
        "set": "standard",
        "kinds": "full,technical,genre_mood,instrumentation,structure",
    }
    assert Description.from_json(description.to_json()) == description


def test_describe_hands_on_how_to_read(measuring: Measuring) -> None:
    limits = Limits(max_seconds=5.0)
    antiphon.load_listener().describe(b"bytes", limits=limits, isolated=True)
    assert measuring.calls == [(b"bytes", limits, True)]


def test_kinds_are_chosen_and_limits_come_from_the_set(measuring: Measuring) -> None:
    prompts = PromptSet("mine", {"full": Prompt("p", max_words=12), "brief": Prompt("p")})
    description = antiphon.load_listener().describe("x.wav", prompts=prompts, kinds=["full"])
    assert list(description.texts) == ["full"]
    assert len(description.texts["full"].split()) <= 12
    assert description.provenance.settings == {"set": "mine", "kinds": "full"}


@pytest.mark.parametrize(
    ("kinds", "message"),
    [
        (["brief"], "kind 'brief' is not in the prompt set 'mine'"),
        (["dance"], "kind 'dance' needs a model that follows prompts"),
        (None, "kind 'dance' needs a model that follows prompts"),
    ],
)
def test_kind_that_cannot_be_written_is_refused_before_any_work(
    measuring: Measuring, kinds: list[str] | None, message: str
) -> None:
    prompts = PromptSet("mine", {"full": Prompt("p"), "dance": Prompt("Can one dance to it?")})
    listener = antiphon.load_listener()
    with pytest.raises(ConfigError, match=message):
        listener.describe("x.wav", prompts=prompts, kinds=kinds)
    with pytest.raises(ConfigError, match=message):
        listener.settings_key(prompts, kinds)
    assert measuring.calls == []


def test_settings_key_changes_with_whatever_changes_a_text(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    listener = antiphon.load_listener()
    standard = load_prompt_set("standard")
    key = listener.settings_key(standard, None)
    assert key == antiphon.load_listener().settings_key(load_prompt_set("standard"), None)
    assert key == listener.settings_key()
    assert "\n" not in key
    assert json.loads(key)["model"] == "antiphon-signal"
    tighter = PromptSet("standard", {**standard.kinds, "full": Prompt("p", max_words=9)})
    keys = {
        key,
        listener.settings_key(standard, ["full"]),
        listener.settings_key(load_prompt_set("short"), None),
        listener.settings_key(tighter, None),
    }
    monkeypatch.setattr("antiphon.listen.listener.DESCRIBER_VERSION", 99)
    keys.add(listener.settings_key(standard, None))
    monkeypatch.setattr("antiphon.__version__", "9.9")
    keys.add(listener.settings_key(standard, None))
    assert len(keys) == 6


def test_described_track_gets_its_sidecar(measuring: Measuring, tmp_path: Path) -> None:
    track = tmp_path / "song.flac"
    description = antiphon.load_listener().describe(track)
    merge_info(track, description, prompt_set="standard")
    content = json.loads((tmp_path / "song.INFO").read_text(encoding="utf-8"))
    assert content == {
        **{f"music_flamingo_{kind}": text for kind, text in description.texts.items()},
        "music_flamingo_model": "antiphon-signal",
    }


@pytest.mark.integration
def test_silence_is_described_as_silence() -> None:
    silence = Waveform(np.zeros((1, 48_000), dtype=np.float32), 16_000)
    description = antiphon.load_listener().describe(silence)
    assert "silent recording of 3 seconds" in description.texts["full"]
    for text in description.texts.values():
        assert "BPM" not in text
        assert "silent" in text


def test_public_names() -> None:
    assert {"Description", "Listener", "load_listener"} <= set(dir(antiphon))
    assert antiphon.Description is Description
    assert isinstance(antiphon.load_listener(), antiphon.Listener)
