"""describe, ask and chat with a listening model, which is a server of our own here."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_measure import write_clicks

from antiphon.cli.main import run
from openai_server import OpenAiServer, answers, running_server, says

pytestmark = pytest.mark.integration

FALSE = "A dry click track. It runs at 97 BPM."


@pytest.fixture
def server() -> Iterator[OpenAiServer]:
    with running_server() as running:
        running.usual = says(FALSE)
        yield running


@pytest.fixture
def model(server: OpenAiServer) -> list[str]:
    return ["--model", f"{server.address}/v1"]


def error_of(capsys: pytest.CaptureFixture[str]) -> str:
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    return line


def test_describe_checks_what_the_model_says(
    model: list[str], server: OpenAiServer, capsys: pytest.CaptureFixture[str]
) -> None:
    write_clicks(Path("a.wav"), bpm=120.0)
    assert run(["describe", "a.wav", *model, "--kind", "full", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["texts"] == {"full": FALSE}
    (claim,) = record["claims"]
    assert (claim["quantity"], claim["said"], claim["verdict"]) == (
        "tempo", "97 BPM", "contradicted"
    )  # fmt: skip
    assert record["provenance"]["model"] == "tiny"
    assert record["heard"]["music"]["present"] is False  # clicks
    assert run(["describe", "a.wav", *model, "--kind", "full", "--facts", "correct", "--json"]) == 0
    text = json.loads(capsys.readouterr().out)["texts"]["full"]
    assert "97" not in text
    assert "120" in text
    assert run(["describe", "a.wav", *model, "--kind", "full", "--hint_facts"]) == 0
    assert "tempo 120 BPM" in server.asked[-1].text


def test_all_kinds_of_a_set_from_one_sound(model: list[str], server: OpenAiServer) -> None:
    write_clicks(Path("a.wav"))
    assert run(["describe", "a.wav", *model, "--set", "short", "--info"]) == 0
    sounds = {json.dumps(asked.parts[0]) for asked in server.asked}
    assert len(sounds) == 1
    info = json.loads(Path("a.INFO").read_text())
    assert info["music_flamingo_model"] == "tiny"
    assert {f"music_flamingo_short_{kind}" for kind in ("brief", "very_brief")} <= info.keys()


def test_a_question_of_ones_own(model: list[str], server: OpenAiServer) -> None:
    write_clicks(Path("a.wav"))
    assert run(["describe", "a.wav", *model, "--prompt", "Who would dance?", "--json"]) == 0
    assert server.asked[-1].text == "Who would dance?"


def test_a_library_with_one_model(
    model: list[str], server: OpenAiServer, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("lib").mkdir()
    for number in range(3):
        write_clicks(Path(f"lib/{number}.wav"), bpm=90.0 + number, seconds=6.0)
    Path("lib/broken.wav").write_bytes(b"RIFF but no more")
    command = ["describe", "lib", *model, "--info", "--jsonl", "out.jsonl"]
    assert run([*command, "--kind", "full"]) == 3
    assert "3 described, 3 of them now, 1 failed" in capsys.readouterr().err
    assert len(server.asked) == 3
    assert run([*command, "--kind", "full"]) == 3
    assert len(server.asked) == 3  # what is done is not done again
    assert run([*command, "--kind", "full", "--kind", "structure"]) == 3
    assert [asked.text for asked in server.asked[3:]] == [server.asked[3].text] * 3
    assert "arrangement" in server.asked[3].text  # the new kind adds only itself
    for line in Path("out.jsonl").read_text().splitlines():
        assert list(json.loads(line)["texts"]) == ["full", "structure"]
    assert set(json.loads(Path("lib/0.INFO").read_text())) == {
        "music_flamingo_full", "music_flamingo_structure", "music_flamingo_model"
    }  # fmt: skip


def test_another_model_of_the_same_name_writes_texts_of_its_own(
    model: list[str], server: OpenAiServer
) -> None:
    Path("lib").mkdir()
    write_clicks(Path("lib/a.wav"), seconds=6.0)
    command = ["describe", "lib", "--kind", "full", "--jsonl", "out.jsonl"]
    assert run([*command, *model]) == 0
    with running_server() as other:
        other.usual = says("Something else.")
        assert run([*command, "--model", other.address]) == 0
        assert len(other.asked) == 1
    assert "Something else." in Path("out.jsonl").read_text()


def test_a_failing_answer_is_a_failing_track(
    model: list[str], server: OpenAiServer, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("lib").mkdir()
    for number in range(2):
        write_clicks(Path(f"lib/{number}.wav"), bpm=90.0 + number, seconds=6.0)
    server.script = [answers(400, {"error": {"message": "I would rather not"}})]
    command = ["describe", "lib", *model, "--kind", "full", "--jobs", "1"]
    assert run(command) == 3
    assert "I would rather not" in capsys.readouterr().err
    assert run(command) == 0  # the track was not at fault: the next run tries it again


def test_ask(model: list[str], server: OpenAiServer, capsys: pytest.CaptureFixture[str]) -> None:
    write_clicks(Path("a b.wav"), bpm=120.0)
    assert run(["ask", "a b.wav", "How fast is it?", *model, "--json"]) == 0
    reply = json.loads(capsys.readouterr().out)
    assert reply["path"] == "a b.wav"
    assert (reply["question"], reply["answer"]) == ("How fast is it?", FALSE)
    assert reply["claims"][0]["verdict"] == "contradicted"
    assert reply["provenance"]["model"] == "tiny"
    assert run(["ask", "a b.wav", "How fast is it?", *model]) == 0
    out, err = capsys.readouterr()
    assert out == FALSE + "\n"
    assert "tempo: '97 BPM' is contradicted; measured 120" in err


def test_ask_for_json_of_a_schema(
    model: list[str], server: OpenAiServer, capsys: pytest.CaptureFixture[str]
) -> None:
    write_clicks(Path("a.wav"))
    server.usual = says('{"mood": "dry"}')
    Path("schema.json").write_text('{"type": "object"}')
    assert run(["ask", "a.wav", "Mood?", *model, "--schema", "schema.json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"mood": "dry"}
    sent = server.asked[-1].body["response_format"]["json_schema"]["schema"]
    assert sent == {"type": "object"}
    Path("schema.json").write_text("{")
    assert run(["ask", "a.wav", "Mood?", *model, "--schema", "schema.json"]) == 2
    assert "is not JSON" in error_of(capsys)


def converse(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in lines)))


def test_a_raw_prompt_takes_no_options_that_it_would_ignore(
    model: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("s.json").write_text("{}")
    for option in ("--facts correct", "--hint-facts", "--long chunk", "--schema s.json"):
        assert run(["ask", "a.wav", "<sound>?", *model, "--raw", *option.split()]) == 2
        assert f"error: {option} does nothing beside --raw" in error_of(capsys)


def test_a_packaged_set_with_schemas(model: list[str], server: OpenAiServer) -> None:
    clicks = {"genre": "click", "subgenres": [], "moods": ["dry"]}
    server.usual = says(json.dumps(clicks))
    write_clicks(Path("a.wav"))
    assert run(["describe", "a.wav", *model, "--set", "structured", "--jsonl", "out.jsonl"]) == 0
    formats = [asked.body["response_format"]["json_schema"]["schema"] for asked in server.asked]
    assert {"genre", "subgenres", "moods"} in [set(shape["properties"]) for shape in formats]
    (line,) = Path("out.jsonl").read_text().splitlines()
    assert json.loads(json.loads(line)["texts"]["genre_mood"]) == clicks


def test_chat(
    model: list[str],
    server: OpenAiServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_clicks(Path("a.wav"), bpm=120.0)
    write_clicks(Path("b.wav"), bpm=90.0)
    server.script = [says("First."), says("Second."), says("Third.")]
    lines = ["one", "two", "/facts", "/audio b.wav", "three", "/save talk.json", "/history"]
    converse(monkeypatch, *lines, "/quit", "not asked")
    assert run(["chat", "a.wav", *model]) == 0
    out = capsys.readouterr().out
    assert "First.\nSecond.\n" in out
    assert "120.0 BPM" in out
    roles = [[turn["role"] for turn in asked.body["messages"]] for asked in server.asked]
    assert roles == [
        ["user"], ["user", "assistant", "user"], ["user", "assistant", "user", "assistant", "user"]
    ]  # fmt: skip

    def sounds(number: int) -> list[bool]:
        turns = server.asked[number].body["messages"]
        return [isinstance(turn["content"], list) and len(turn["content"]) > 1 for turn in turns]

    # The recording stays where it came; a new one takes its place, and earlier turns stay as text.
    assert sounds(0) == [True]
    assert sounds(1) == [True, False, False]
    assert sounds(2) == [False, False, False, False, True]
    saved = json.loads(Path("talk.json").read_text())
    assert saved["path"] == "b.wav"
    assert [turn["content"] for turn in saved["turns"]] == [
        "one", "First.", "two", "Second.", "three", "Third."
    ]  # fmt: skip


def test_chat_goes_on_after_an_error_and_tells_a_script(
    model: list[str],
    server: OpenAiServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    converse(monkeypatch, "/audio nowhere.wav", "/kind full", "hello")
    assert run(["chat", *model]) == 1
    out, err = capsys.readouterr()
    assert "nowhere.wav" in err
    assert "no recording was given; /audio FILE takes one" in err
    assert FALSE in out


def test_ask_without_a_model(capsys: pytest.CaptureFixture[str]) -> None:
    write_clicks(Path("a.wav"), bpm=120.0)
    assert run(["ask", "a.wav", "How fast is it, and who sings?"]) == 0
    out, err = capsys.readouterr()
    assert "The tempo is 120 BPM" in out  # clicks are not heard as music
    assert "knows no voices" in out
    assert err == "note: answered from what is measured and heard, not by a language model\n"
    for policy in ("annotate", "correct", "drop", "off"):
        assert run(["ask", "a.wav", "bpm?", "--facts", policy, "--json"]) == 0
        reply = json.loads(capsys.readouterr().out)
        assert (reply["path"], reply["question"], reply["claims"]) == ("a.wav", "bpm?", [])
        assert "120 BPM" in reply["answer"]
        assert reply["provenance"]["model"] == "antiphon-listener"


@pytest.mark.parametrize("option", [["--raw"], ["--schema", "schema.json"]])
def test_what_only_a_model_can_do(option: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    write_clicks(Path("a.wav"))
    Path("schema.json").write_text("{}")
    assert run(["ask", "a.wav", "Which key?", *option]) == 4
    line = error_of(capsys)
    assert f"{option[0]} needs a listening model" in line
    assert "--model" in line


def test_chat_without_a_model(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_clicks(Path("a.wav"), bpm=120.0)
    write_clicks(Path("b.wav"), bpm=90.0)
    lines = ["How fast is it?", "why?", "/kind technical", "/audio b.wav", "and the tempo?"]
    converse(monkeypatch, *lines, "/history")
    assert run(["chat", "a.wav"]) == 0
    out, err = capsys.readouterr()
    assert "The tempo is 120 BPM" in out
    assert "The tempo (120 BPM) is sure" in out
    assert "The tempo is 90 BPM" in out
    assert "user: why?" in out
    assert err.count("not by a language model") == 1


def test_chat_without_a_model_and_a_recording(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    converse(monkeypatch, "What can you answer?", "How fast is it?")
    assert run(["chat"]) == 0
    out = capsys.readouterr().out
    assert "A recording can be asked about" in out
    assert "No recording was given" in out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--temperature", "1"], 2, "--temperature is an option of a model"),
        (["--model", "nowhere/nothing"], 4, "nowhere/nothing"),
        (["--model", "http://x/v1", "--gpu-layers", "3"], 2, "gpu_layers is 3"),
        (["--model", "http://x/v1", "--precision", "int3"], 2, "--precision is 'int3'"),
        (["--model", "http://x/v1", "--attention", "sharp"], 2, "--attention is 'sharp'"),
        (["--model", "http://x/v1", "--top-p", "0"], 2, "top_p is 0.0"),
        (["--model", "http://x/v1", "--max-new-tokens", "9999"], 2, "max_new_tokens is 9999"),
        (["--model", "http://x/v1", "--facts", "mend"], 2, "--facts is 'mend'"),
        (["--model", "http://x/v1", "--long", "skip"], 2, "--long is 'skip'"),
        (["--model", "http://x/v1", "--compile=perhaps"], 2, "--compile is 'perhaps'"),
        (["--model", "http://x/v1", "--compile"], 2, "compile is True"),
        (["--model", "http://x/v1", "--prompt", "Who?", "--kind", "full"], 2, "stands in place of"),
        (["--model", "http://x/v1", "--gpu-layers", "0"], 2, "gpu_layers is 0"),
        (["--model", "http://x/v1", "--prompt", " "], 2, "--prompt is empty"),
        (["--prompt", "Who?"], 4, "--prompt needs a listening model"),
        (["--model", "http://bob:s3cret@x/v1", "--device", "cpu"], 2, "the address is a server"),
    ],
)
def test_options_that_do_not_fit(
    arguments: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_clicks(Path("a.wav"))
    assert run(["describe", "a.wav", *arguments]) == code
    line = error_of(capsys)
    assert message in line
    assert "s3cret" not in line
