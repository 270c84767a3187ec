"""`antiphon describe` with the true listener: files, libraries, interruptions."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_measure import write_clicks

from antiphon.cli.main import run

pytestmark = pytest.mark.integration

KINDS = ["full", "technical", "genre_mood", "instrumentation", "structure"]
PROGRAM = [sys.executable, "-m", "antiphon"]


def fill(folder: Path, count: int) -> None:
    folder.mkdir()
    for number in range(count):
        write_clicks(folder / f"{number:02}.wav", bpm=90.0 + number, seconds=3.0)


def test_one_file_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    write_clicks(Path("a.wav"))
    assert run(["describe", "a.wav"]) == 0
    out, err = capsys.readouterr()
    assert all(f"\n  {kind}\n" in out for kind in KINDS)
    assert "BPM (confidence" in out
    assert err == ""


def test_one_file_as_json_and_files(capsys: pytest.CaptureFixture[str]) -> None:
    write_clicks(Path("a.wav"))
    arguments = ["--kind", "full", "--kind", "structure", "--info", "--captions"]
    assert run(["describe", "a.wav", *arguments, "--jsonl", "out.jsonl", "--json"]) == 0
    out = capsys.readouterr().out
    record = json.loads(out)
    assert list(record["texts"]) == ["full", "structure"]
    assert record["path"] == record["facts"]["path"] == "a.wav"
    assert Path("out.jsonl").read_text() == out
    info = json.loads(Path("a.INFO").read_text())
    assert set(info) == {
        "music_flamingo_full", "music_flamingo_structure", "music_flamingo_model"
    }  # fmt: skip
    assert len(Path("a.txt").read_text().splitlines()) == 2
    assert not (Path(os.environ["ANTIPHON_STATE"])).exists()  # nothing to remember


def test_what_lies_beside_another_track_is_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    write_clicks(Path("song.flac"))
    write_clicks(Path("song.wav"), bpm=90.0)
    assert run(["describe", "song.flac", "--info"]) == 0
    before = Path("song.INFO").read_bytes()
    assert run(["describe", "song.wav", "--info", "--jsonl", "out.jsonl"]) == 2
    assert "song.wav and song.flac have the same name" in capsys.readouterr().err
    assert Path("song.INFO").read_bytes() == before
    assert not Path("out.jsonl").exists()  # nothing of what failed


def test_a_library(capsys: pytest.CaptureFixture[str]) -> None:
    fill(Path("lib"), 4)
    Path("lib/broken.wav").write_bytes(b"RIFF but no more")
    command = ["describe", "lib", "--jsonl", "out.jsonl", "--info", "--jobs", "2"]
    assert run(command) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert "4 described, 4 of them now, 1 failed" in err
    assert "lib/broken.wav" in err
    first = Path("out.jsonl").read_bytes()
    paths = [json.loads(line)["path"] for line in first.splitlines()]
    assert paths == [f"lib/{number:02}.wav" for number in range(4)]
    assert len(list(Path("lib").glob("*.INFO"))) == 4

    Path("out.jsonl").unlink()
    assert run(command) == 3
    assert "0 of them now" in capsys.readouterr().err
    assert Path("out.jsonl").read_bytes() == first

    first_two = b"".join(first.splitlines(keepends=True)[:2])
    for arguments in (["lib", "--limit", "2"], ["lib/00.wav", "lib/01.wav"]):
        assert run(["describe", *arguments, "--json"]) == 0
        assert capsys.readouterr().out.encode() == first_two


def test_same_record_alone_and_in_a_library(capsys: pytest.CaptureFixture[str]) -> None:
    fill(Path("lib"), 2)
    assert run(["describe", "lib", "--jobs", "1", "--json"]) == 0
    together = capsys.readouterr().out.splitlines()
    assert run(["describe", "lib/01.wav", "--json"]) == 0
    assert capsys.readouterr().out.splitlines() == together[1:]


def test_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    Path("empty").mkdir()
    for arguments, code, message in (
        (["empty"], 1, "no audio here"),
        (["gone.wav"], 74, "gone.wav does not exist"),
        (["http://127.0.0.1:1/a.wav", "--info"], 2, "an address has none"),
        (["http://127.0.0.1:1/a.wav", "empty"], 2, "described alone"),
        (["gone.wav", "--jsonl", "no/out.jsonl"], 74, "create it first"),
    ):
        assert run(["describe", *arguments]) == code
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("error: ")
        assert message in err
        assert err.count("\n") == 1


class Library:
    """A library command in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.infos = folder.glob
        command = ["describe", str(folder), "--info", "--jsonl", "out.jsonl", "--jobs", "1"]
        self.process = subprocess.Popen(
            [*PROGRAM, *command], stderr=subprocess.PIPE, start_new_session=True
        )

    def signal_all(self, number: signal.Signals) -> None:
        """As a terminal does it: to the workers too."""
        os.killpg(self.process.pid, number)

    def wait_for_first(self) -> None:
        deadline = time.monotonic() + 60
        while not list(self.infos("*.INFO")):
            assert self.process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_one_signal_finishes_the_track_and_writes(number: signal.Signals, code: int) -> None:
    fill(Path("lib"), 12)
    library = Library(Path("lib"))
    library.wait_for_first()
    library.signal_all(number)
    _, err = library.process.communicate(timeout=60)
    assert library.process.returncode == code
    assert b"Traceback" not in err
    lines = Path("out.jsonl").read_bytes().splitlines()
    assert 1 <= len(lines) < 12
    assert len(list(Path("lib").glob("*.INFO"))) == len(lines)
    if number == signal.SIGTERM:
        return  # the rest is the same, and slow

    assert run(["describe", "lib", "--info", "--jsonl", "out.jsonl"]) == 0
    again = Path("out.jsonl").read_bytes().splitlines()
    assert len(again) == 12
    assert again[: len(lines)] == lines


def test_two_signals_stop_at_once() -> None:
    fill(Path("lib"), 3)
    write_clicks(Path("lib/long.wav"), seconds=2700.0)
    library = Library(Path("lib"))
    library.wait_for_first()
    deadline = time.monotonic() + 60
    while len(list(Path("lib").glob("*.INFO"))) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    library.signal_all(signal.SIGINT)
    time.sleep(0.3)
    library.signal_all(signal.SIGINT)
    _, err = library.process.communicate(timeout=5)
    assert library.process.returncode == 130
    assert b"Traceback" not in err
    assert not Path("out.jsonl").exists()
    assert not list(Path("lib").glob("*.tmp"))
    assert run(["describe", "lib", "--info", "--limit", "3"]) == 0
