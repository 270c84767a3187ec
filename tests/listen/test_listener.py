"""The listener: from a recording to a Description, with measuring handed in."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
from invented_facts import invented_facts
from toy_listener import write_toy

import antiphon
from antiphon.audio import Limits, Waveform, write
from antiphon.description import Description, Reply
from antiphon.errors import ConfigError, ModelMissingError
from antiphon.exports import merge_info
from antiphon.facts import Facts
from antiphon.listen.ear import Ear
from antiphon.listen.engines import Sampling
from antiphon.listen.engines.fake import FakeEngine
from antiphon.listen.listener import Listener
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
    description = Listener().describe("song.flac")
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
    Listener().describe(b"bytes", limits=limits, isolated=True)
    assert measuring.calls == [(b"bytes", limits, True)]


def test_kinds_are_chosen_and_limits_come_from_the_set(measuring: Measuring) -> None:
    prompts = PromptSet("mine", {"full": Prompt("p", max_words=12), "brief": Prompt("p")})
    description = Listener().describe("x.wav", prompts=prompts, kinds=["full"])
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
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    listener = antiphon.load_listener()
    standard = load_prompt_set("standard")
    key = listener.settings_key(standard, None)
    assert key == antiphon.load_listener().settings_key(load_prompt_set("standard"), None)
    assert key == listener.settings_key()
    assert "\n" not in key
    assert json.loads(key)["model"] == "antiphon-listener"
    assert json.loads(Listener().settings_key())["model"] == "antiphon-signal"
    other = Listener(ear=Ear(write_toy(tmp_path / "toy"))).settings_key()
    assert len({key, other, Listener().settings_key()}) == 3
    # What changes one kind alone is kept beside the key, so that a new kind adds only itself.
    assert key == listener.settings_key(standard, ["full"])
    keys = {key, listener.settings_key(load_prompt_set("short"), None)}
    with_model = Listener(FakeEngine())
    keys |= {
        with_model.settings_key(),
        with_model.settings_key(facts="correct"),
        with_model.settings_key(hint_facts=True),
        with_model.settings_key(long="chunk"),
        with_model.settings_key(sampling=Sampling(seed=1)),
        Listener(FakeEngine(settings={"precision": "bf16"})).settings_key(),
    }
    monkeypatch.setattr("antiphon.listen.listener.DESCRIBER_VERSION", 99)
    keys.add(listener.settings_key(standard, None))
    monkeypatch.setattr("antiphon.__version__", "9.9")
    keys.add(listener.settings_key(standard, None))
    assert len(keys) == 10


def test_a_kind_with_a_schema_needs_a_model() -> None:
    listener = antiphon.load_listener()
    structured = load_prompt_set("structured")
    with pytest.raises(ConfigError, match="'genre_mood' of the set 'structured' is JSON of a sch"):
        listener.describe(b"", prompts=structured, kinds=["genre_mood"])
    with pytest.raises(ConfigError, match="expected --model"):
        listener.settings_key(structured, ["genre_mood"])


def test_described_track_gets_its_sidecar(measuring: Measuring, tmp_path: Path) -> None:
    track = tmp_path / "song.flac"
    description = Listener().describe(track)
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


class TestWithAModel:
    """The same listener over an engine; measuring is the true one where no fixture says else."""

    def test_describe_writes_by_the_model_and_says_how(self, measuring: Measuring) -> None:
        engine = FakeEngine("A waltz.", model="mf", licence="none", settings={"precision": "bf16"})
        listener = Listener(engine, Sampling(temperature=0.5))
        prompts = PromptSet("mine", {"mood": Prompt("Which mood?")})
        described = listener.describe(sound(3.0), prompts=prompts, facts="off")
        assert described.texts == {"mood": "A waltz."}
        assert (described.provenance.model, described.provenance.licence) == ("mf", "none")
        settings = described.provenance.settings
        assert {
            "engine": "fake",
            "precision": "bf16",
            "temperature": 0.5,
            "facts": "off",
        }.items() <= (settings.items())
        assert Description.from_json(described.to_json()) == described

    def test_what_is_beyond_the_cap_is_cut_heard_in_parts_and_said(self) -> None:
        engine = FakeEngine("Fine.", cap_seconds=4.0)
        listener = Listener(engine)
        short = load_prompt_set("short")
        cut = listener.describe(sound(10.0), prompts=short, kinds=["brief"])
        assert cut.notes == ("only the first 4 s of 10 s heard",)
        parts = listener.describe(sound(10.0), prompts=short, kinds=["brief"], long="chunk")
        assert parts.notes == ("heard in 3 parts (chunk)",)
        assert parts.texts["brief"] == "0:00-0:03: Fine. 0:03-0:07: Fine. 0:07-0:10: Fine."
        lengths = [call.clips[0].duration_seconds for call in engine.calls if call.clips[0]]
        assert max(lengths) <= 4.0

    def test_a_track_that_was_heard_is_not_read_again(self) -> None:
        listener = Listener(FakeEngine("In E minor."))
        track = listener.hear(sound(3.0), facts="off")
        assert listener.hear(track) is track
        reply = listener.ask(track, "Which key?", facts="off")
        assert str(reply) == reply.answer == "In E minor."
        assert reply.claims == ()

    @pytest.mark.parametrize(
        "use",
        [
            lambda listener, pipe: listener.describe(pipe, kinds=["full"]),
            lambda listener, pipe: listener.ask(pipe, "How long?"),
        ],
    )
    def test_a_pipe_is_measured_and_heard_though_it_can_be_read_but_once(
        self, use: Callable[[Listener, BinaryIO], Description | Reply], tmp_path: Path
    ) -> None:
        write(tmp_path / "a.wav", sound(3.0))
        with subprocess.Popen(["cat", tmp_path / "a.wav"], stdout=subprocess.PIPE) as cat:
            assert cat.stdout is not None
            told = use(Listener(FakeEngine("It lasts nine minutes.")), cat.stdout)
        assert [claim.verdict for claim in told.claims] == ["contradicted"]

    def test_answers_are_checked(self) -> None:
        reply = Listener(FakeEngine("It lasts nine minutes.")).ask(sound(6.0), "How long?")
        assert [(c.quantity, c.verdict) for c in reply.claims] == [("duration", "contradicted")]
        assert json.loads(reply.to_json()).keys() >= {
            "path", "question", "answer", "claims", "provenance"
        }  # fmt: skip

    def test_conversations_of_all_kinds(self) -> None:
        engine = FakeEngine(lambda clip, text: f"{'heard' if clip else 'read'} {text}")
        listener = Listener(engine)
        audio = {"type": "audio", "audio": sound(3.0)}
        several = [
            {"role": "user", "content": [audio, {"type": "text", "text": "one"}]},
            {"role": "assistant", "content": "heard one"},
            {"role": "user", "content": "two"},
        ]
        text_only = [{"role": "user", "content": "three"}]
        audio_only = [{"role": "user", "content": [audio]}]
        replies = listener.batch([several, text_only, audio_only], facts="off")
        assert [reply.answer for reply in replies] == ["heard two", "read three", "heard"]
        assert listener.chat(text_only).answer == "read three"

    @pytest.mark.parametrize(
        ("messages", "message"),
        [
            ([], "the conversation is empty"),
            ([{"role": "assistant", "content": "x"}], "ends with a message of the assistant"),
            ([{"role": "boss", "content": "x"}], "message 1 has the role 'boss'"),
            ([{"role": "user", "content": 3}], "message 1 has no content"),
            ([{"role": "user", "content": "x", "name": "y"}], "message 1 has 'name'"),
            ([{"role": "user", "content": [{"type": "image"}]}], "expected .*text"),
            (
                [{"role": "user", "content": [{"type": "audio", "audio": "http://x/a.mp3"}]}],
                "audio at an address",
            ),
            ([{"role": "user", "content": [{"type": "audio", "audio": 7}]}], "audio of type int"),
            (["hello"], "message 1 is a str"),
        ],
    )  # fmt: skip
    def test_what_is_no_conversation(self, messages: list[Any], message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            Listener(FakeEngine()).chat(messages)

    def test_two_recordings_cannot_be_heard_in_one_conversation(self) -> None:
        audio = {"type": "audio", "audio": sound(3.0)}
        turns = [
            {"role": "user", "content": [audio]},
            {"role": "assistant", "content": "yes"},
            {"role": "user", "content": [audio, {"type": "text", "text": "Which is better?"}]},
        ]
        with pytest.raises(ConfigError, match="second recording.*to compare two"):
            Listener(FakeEngine()).chat(turns, facts="off")

    @pytest.mark.parametrize(
        "ask",
        [
            lambda listener: listener.ask("x.wav", "Which key?", schema={"type": "object"}),
            lambda listener: listener.ask_raw(None, "Hello"),
        ],
    )
    def test_without_a_model_what_to_get_is_said(self, ask: Callable[[Listener], object]) -> None:
        with pytest.raises(ModelMissingError, match=r"needs a listening model.*models ls --all"):
            ask(antiphon.load_listener())

    def test_a_track_that_was_heard_by_another_listener(self) -> None:
        measured = antiphon.load_listener().hear(sound(3.0))
        with pytest.raises(ConfigError, match="heard without a model; hear it again"):
            Listener(FakeEngine()).ask(measured, "Which key?")
        unmeasured = Listener(FakeEngine()).hear(sound(3.0), facts="off")
        with pytest.raises(ConfigError, match=r"without measuring \(facts='off'\).*hear it again"):
            antiphon.load_listener().ask(unmeasured, "Which key?")

    def test_words_that_are_not_known(self) -> None:
        listener = Listener(FakeEngine())
        with pytest.raises(ConfigError, match="facts is 'mend'; expected one of annotate"):
            listener.describe(sound(1.0), facts="mend")  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match="long is 'skip'; expected one of truncate"):
            listener.ask(sound(1.0), "x", long="skip")  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match="question is empty"):
            listener.ask(sound(1.0), "  ")

    def test_closing_frees_the_engine(self) -> None:
        engine = FakeEngine()
        with Listener(engine):
            pass
        assert engine.is_closed


class TestQuestionsWithoutAModel:
    """What is measured answers; what was asked before is leant on."""

    def test_ask_of_a_recording_that_was_heard_once(self) -> None:
        listener = Listener()
        track = listener.hear(sound(3.0))
        assert (track.clips, track.heard) == ((), None)
        assert antiphon.load_listener().hear(sound(3.0)).heard is not None
        reply = listener.ask(track, "How long is it?")
        assert reply.answer == "It lasts 0:03 (3.0 seconds)."
        assert (reply.claims, reply.provenance.model) == ((), "antiphon-signal")
        assert reply.notes == ("answered from what is measured and heard, not by a language model",)
        with pytest.raises(ConfigError, match="question is empty"):
            listener.ask(track, " ")

    def test_conversations(self) -> None:
        listener = antiphon.load_listener()
        audio = {"type": "audio", "audio": sound(3.0)}
        asked = {"type": "text", "text": "How long is it?"}
        several = [
            {"role": "user", "content": [audio, asked]},
            {"role": "assistant", "content": "It lasts 0:03."},
            {"role": "user", "content": "and how many channels?"},
        ]
        pieces: list[str] = []
        reply = listener.chat(several, on_token=pieces.append)
        assert pieces == [reply.answer] == ["The file is mono, at 16,000 Hz."]
        assert reply.notes == ()  # the first answer said what answers
        bare, text_only = listener.batch(
            [[{"role": "user", "content": [audio]}], [{"role": "user", "content": "Who are you?"}]]
        )
        assert re.search("3[- ]second", bare.answer)  # sound without words is described
        assert "no language model" in text_only.answer
        with pytest.raises(ConfigError, match="ends with a message of the assistant"):
            listener.chat(several[:2])


def sound(seconds: float) -> Waveform:
    times = np.arange(round(seconds * 16_000)) / 16_000
    return Waveform(np.float32(0.3 * np.sin(2 * np.pi * 330.0 * times))[None], 16_000)


def test_public_names() -> None:
    assert {"Description", "Listener", "load_listener"} <= set(dir(antiphon))
    assert antiphon.Description is Description
    assert isinstance(antiphon.load_listener(), antiphon.Listener)
