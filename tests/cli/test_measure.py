"""`antiphon measure`: one answer per recording, whatever its neighbours are."""

from __future__ import annotations

import http.server
import json
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from antiphon.audio import Waveform, write
from antiphon.cli.main import run

pytestmark = pytest.mark.integration


def write_clicks(path: Path, bpm: float = 120.0, seconds: float = 12.0) -> None:
    """A click and a tone of A on every beat."""
    rate = 22_050
    time = np.arange(round(seconds * rate)) / rate
    since_beat = time % (60.0 / bpm)
    samples = 0.5 * np.sin(2 * np.pi * 440.0 * time) * np.exp(-since_beat * 12.0)
    write(path, Waveform(samples.astype(np.float32)[None], rate))


@pytest.fixture
def clicks() -> Path:
    write_clicks(Path("clicks.wav"))
    return Path("clicks.wav")


def test_json_is_the_contract(capsys: pytest.CaptureFixture[str], clicks: Path) -> None:
    assert run(["measure", "clicks.wav", "--json", "--pitch"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    facts = json.loads(line)
    assert facts["path"] == "clicks.wav"
    assert facts["duration_seconds"] == pytest.approx(12.0)
    assert facts["tempo"]["bpm"] == pytest.approx(120.0, rel=0.04)
    assert {"key", "chords", "sections", "loudness", "pitch", "damage"} < set(facts)


def test_text_says_units(capsys: pytest.CaptureFixture[str], clicks: Path) -> None:
    assert run(["measure", "clicks.wav"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("clicks.wav\n")
    assert "BPM (confidence" in out
    assert "0:12.0 (22,050 Hz, mono)" in out


def test_a_bad_one_does_not_stop_the_others(
    capsys: pytest.CaptureFixture[str], clicks: Path
) -> None:
    Path("notes.mp3").write_text("not a sound at all")
    assert run(["measure", "notes.mp3", "clicks.wav", "gone.wav", "--json"]) == 3
    out, err = capsys.readouterr()
    assert [json.loads(line)["path"] for line in out.splitlines()] == ["clicks.wav"]
    first, second = err.splitlines()
    assert re.match("error: notes.mp3 .*text file", first)
    assert re.match("error: gone.wav .*not exist", second)


@pytest.mark.parametrize(("name", "code"), [("gone.wav", 74), ("notes.mp3", 1)])
def test_a_single_failure_gives_its_own_code(
    capsys: pytest.CaptureFixture[str], name: str, code: int
) -> None:
    Path("notes.mp3").write_text("not a sound at all")
    assert run(["measure", name]) == code
    assert run(["measure", name, name]) == code
    assert capsys.readouterr().out == ""


def test_a_folder_is_the_tracks_in_it(capsys: pytest.CaptureFixture[str], clicks: Path) -> None:
    Path("b").mkdir()
    clicks.rename("b/1.wav")
    assert run(["measure", "b", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["path"] == "b/1.wav"


def test_a_folder_without_audio_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    Path("nothing here").mkdir()

    assert run(["measure", "nothing here"]) != 0

    assert "error: nothing here is a folder" in capsys.readouterr().err


def test_max_seconds_holds(
    capsys: pytest.CaptureFixture[str], clicks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTIPHON_MAX_SECONDS", "10")
    assert run(["measure", "clicks.wav"]) == 1
    assert "at most 0:00:10" in capsys.readouterr().err


def test_odd_names(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    names = ['it\'s "so" 🎷.wav', os.fsdecode(b"caf\xe9.wav")]
    for name in names:
        write_clicks(Path(name), seconds=3.0)
    assert run(["measure", *names, "--json"]) == 0
    lines = capfdbinary.readouterr().out.splitlines()
    assert [json.loads(line)["path"] for line in lines] == [names[0], r"caf\xe9.wav"]
    assert run(["measure", *names]) == 0


@pytest.fixture
def server(clicks: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def test_an_address_is_fetched_and_cleared_away(
    capsys: pytest.CaptureFixture[str],
    server: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    assert run(["measure", f"{server}/clicks.wav", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["path"] == f"{server}/clicks.wav"
    assert run(["measure", f"{server}/gone.wav"]) == 74
    assert "404" in capsys.readouterr().err
    assert list(temporary.iterdir()) == []
