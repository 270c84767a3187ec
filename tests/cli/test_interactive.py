"""`antiphon interactive`: prompts and changes line by line, by a person or a pipe."""

from __future__ import annotations

import io
import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from antiphon.cli.main import run
from antiphon.compose import delivery
from antiphon.errors import EngineError

pytestmark = pytest.mark.integration

PROGRAM = [sys.executable, "-m", "antiphon"]
ARGUMENTS = ["--model", "synth", "--output-dir", "ses", "--seed", "5", "--duration", "1"]


@pytest.fixture
def talk(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Talk:
    return Talk(monkeypatch, capsys)


class Talk:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def __call__(
        self, *lines: str, arguments: Sequence[str] = ARGUMENTS, code: int = 0
    ) -> tuple[str, str]:
        """What is said on stdout and stderr to these lines."""
        self._monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(lines)))
        assert run(["interactive", *arguments]) == code
        return self._capsys.readouterr()


def history() -> list[dict[str, object]]:
    return [json.loads(line) for line in Path("ses/history.jsonl").read_text().splitlines()]


def test_one_thing_after_the_other(talk: Talk) -> None:
    out, err = talk(
        "happy jazz with piano",
        "",
        "/tempo 92",
        "/key A minor",
        "/without drums",
        "/bars 1",
        "/Fade-Out 0.2",
        "/clear tempo",
        "/again",
        "/seed 3",
        "/intro",
        "slow blues",
        "/clear",
    )
    assert "error" not in err
    assert err.startswith("understood: happy -> mood happy; jazz -> genre jazz; piano")
    assert out.startswith("1: prompt\nsynth, seed 5\nkept ")
    assert "\nses/001-happy-jazz-with-piano-5.wav\n" in out
    first, *_, last = history()
    assert first["settings"] == {"duration": "1"}
    assert [one["changed"] for one in history()] == [
        "prompt", "tempo 92", "key A minor", "without drums", "bars 1", "fade_out 0.2",
        "tempo cleared", "seed 6", "seed 3", "intro true", "prompt", "all cleared",
    ]  # fmt: skip
    assert [one["seed"] for one in history()] == [5] * 7 + [6] + [3] * 4
    assert history()[4]["settings"] == {
        "tempo": "92",
        "key": "A minor",
        "without": "drums",
        "bars": "1",
    }
    assert [one["before"] for one in history()] == [None, *range(1, 12)]
    assert (last["prompt"], last["settings"]) == ("slow blues", {})
    for one in history():
        assert Path("ses", str(one["path"])).stat().st_size > 44
    sidecar = json.loads(Path("ses/003-happy-jazz-with-piano-5.json").read_text())
    assert (sidecar["requested"]["tempo"], sidecar["requested"]["key"]) == (92.0, "A minor")


def test_back_history_settings_and_values(talk: Talk) -> None:
    out, err = talk(
        "/history", "/again", "/save x", "/play", "/back 1", "/tempo 80", "/tempo",
        "slow blues", "/tempo 90", "/back 1", "/key", "/settings", "/key C major", "/history",
        "/back 9",
    )  # fmt: skip
    assert err.count("nothing was composed yet; type a prompt") == 4
    assert "error: /back 1: expected a number of: none yet" in err
    assert "tempo 80; now type a prompt\ntempo: 80\n" in err
    assert "key: left to the music" in err
    assert "error: /back 9: expected a number of: 1, 2, 3" in err
    assert "model: synth\nprompt: slow blues\nseed: 5\nduration: 1\ntempo: 80\n" in out
    assert out.endswith(
        "  1  slow blues  (prompt; seed 5)  001-slow-blues-5.wav\n"
        "  2  slow blues  (tempo 90; seed 5)  002-slow-blues-5.wav\n"
        "* 3  slow blues  (key C major; seed 5)  003-slow-blues-5.wav\n"
    )
    assert history()[2]["before"] == 1
    assert history()[2]["settings"] == {"duration": "1", "tempo": "80", "key": "C major"}


def test_mistakes_end_nothing_and_change_nothing(
    talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, err = talk(
        "slow blues", "/tempoo 3", "/tempo 999", "/negative x", "/format xyz", "/format ../x",
        "/clear key", "/seed x", "/fade-out 61", "/continue gone.wav", "/save no/where", "/save",
        "/settings", "/help", "/",
    )  # fmt: skip
    assert len(history()) == 1
    assert out.endswith("model: synth\nprompt: slow blues\nseed: 5\nduration: 1\n")
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    for line, expected in zip(
        errors,
        (
            "command '/tempoo' is not known (did you mean '/tempo'", "tempo is 999", "--negative",
            "'xyz'", "'../x'", "/clear key: it is not set; what is set: duration", "seed is 'x'",
            "fade is 61", "gone.wav", "create its folder first", "/save needs", "command '/'",
        ),
        strict=True,
    ):  # fmt: skip
        assert expected in line
    assert "/tempo 92      one thing is changed" in err

    def fail(*arguments: object) -> None:
        raise EngineError("the model failed")

    monkeypatch.setattr(delivery, "deliver", fail)
    _, err = talk("slow blues", "/settings")
    assert err.endswith("error: the model failed\n")


def test_save_takes_no_place_of_what_is_not_ours(talk: Talk) -> None:
    Path("package.json").write_text('{"name": "mine"}')
    Path("notes.mid").write_bytes(b"mine")
    lines = ("slow blues", "/save package.wav", "/save notes", "/save own", "/save own")
    _, err = talk(*lines)
    assert "package.json' lies where the description of 'package.wav' goes" in err
    assert "'notes.mid' is there, and the notes go there" in err
    assert Path("package.json").read_text() == '{"name": "mine"}'
    assert Path("notes.mid").read_bytes() == b"mine"
    assert not list(Path().glob("*.wav")) or [p.name for p in Path().glob("*.wav")] == ["own.wav"]
    assert err.count("saved to own.wav, own.json, own.mid") == 2


def test_save(talk: Talk) -> None:
    _, err = talk("slow blues", "/save one", "/tempo 90", "/back 1", "/save two.wav", "/save x.mp3")
    assert "saved to one.wav, one.json, one.mid\n" in err
    assert "'x.mp3' would be a copy of a .wav file" in err
    piece = Path("ses/001-slow-blues-5.wav")
    assert Path("one.wav").read_bytes() == Path("two.wav").read_bytes() == piece.read_bytes()
    saved = json.loads(Path("one.json").read_text())
    assert saved == json.loads(piece.with_suffix(".json").read_text()) | {"path": "one.wav"}
    assert Path("one.mid").read_bytes().startswith(b"MThd")
    assert not Path("x.mp3").exists()


def test_play(talk: Talk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    _, err = talk("slow blues", "/play")
    assert "expected one of ffplay, aplay, paplay, afplay" in err
    (tmp_path / "bin").mkdir()
    for name in ("aplay", "paplay"):
        player = tmp_path / "bin" / name
        player.write_text(f'#!/bin/sh\necho {name} "$@" > {tmp_path}/played\n/bin/sleep 9\n')
        player.chmod(player.stat().st_mode | stat.S_IXUSR)
    for arguments, expected in ((["--format", "flac"], "paplay"), ([], "aplay -q")):
        started = time.monotonic()
        _, err = talk("slow blues", "/play", "/history", arguments=[*ARGUMENTS, *arguments])
        assert time.monotonic() - started < 8
        assert f"{expected.split()[0]} plays ses/" in err
        deadline = time.monotonic() + 10
        while not (tmp_path / "played").exists() or not (tmp_path / "played").read_text():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert (tmp_path / "played").read_text().startswith(f"{expected} {tmp_path}/work/ses/")
        (tmp_path / "played").unlink()


def test_a_folder_goes_on_and_the_usual_one_has_the_time(talk: Talk) -> None:
    talk("slow blues")
    talk("slow blues")
    assert [one["number"] for one in history()] == [1, 2]
    talk("/quit", "slow blues", arguments=[])
    assert not list(Path().glob("antiphon-session-*"))  # nothing was composed
    talk("slow blues", arguments=["--duration", "1"])
    (folder,) = Path().glob("antiphon-session-2*-*")
    assert (folder / "history.jsonl").is_file()
    talk("x", arguments=["--tempo", "999"], code=2)
    talk("x", arguments=["--model", "no/model"], code=4)


def test_a_pipe_and_ctrl_c() -> None:
    process = subprocess.Popen(
        [*PROGRAM, "interactive", "--output-dir", "ses"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdin.write(b"slow blues \xff\n/duration 1800\n")
    process.stdin.flush()
    while not process.stdout.readline().startswith(b"ses/001"):
        assert process.poll() is None
    process.stderr.readline()  # it is understood once more: the long piece is being composed
    assert b"understood" in process.stderr.readline()
    time.sleep(0.3)
    os.kill(process.pid, signal.SIGINT)
    assert process.stderr.readline() == b"stopped; the settings stay as they are\n"
    process.stdin.write(b"/duration 1\n")
    process.stdin.flush()
    while not process.stdout.readline().startswith(b"ses/002-slow-blues"):
        assert process.poll() is None
    while len(history()) < 2:
        assert process.poll() is None
        time.sleep(0.01)
    time.sleep(0.3)
    os.kill(process.pid, signal.SIGINT)  # it waits for a line
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert b"Traceback" not in err
    assert len(history()) == 2
    assert (
        sorted(path.suffix for path in Path("ses").iterdir())
        == [".json"] * 2 + [".jsonl"] + [".wav"] * 2
    )
