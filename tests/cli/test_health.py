"""`antiphon doctor` and `antiphon demo`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from antiphon.cli import checks
from antiphon.cli.main import run
from antiphon.errors import DependencyError

pytestmark = pytest.mark.integration


def test_doctor_finds_this_installation_well(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    prepared = tmp_path / "graphs" / "6-0123"
    prepared.mkdir(parents=True)
    (prepared / "step.onnx").write_bytes(bytes(3000))
    monkeypatch.setenv("ANTIPHON_CACHE", str(tmp_path))
    assert run(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["ok"]
    status = {check["name"]: check["status"] for check in report["checks"]}
    assert status["codecs"] == status["state"] == status["measuring"] == "ok"
    found = {check["name"]: check["found"] for check in report["checks"]}
    assert found["prepared"].startswith("1 parts of composing models, 3.0 kB, in ")
    assert all(check["fix"] for check in report["checks"] if check["status"] != "ok")


def test_doctor_names_what_is_missing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_soundfont() -> Path:
        raise DependencyError("no soundfont")

    def broken() -> checks.Check:
        raise OSError("the disk is gone")

    monkeypatch.setattr("antiphon.synth.find_soundfont", no_soundfont)
    monkeypatch.setattr(checks, "_machine", broken)
    monkeypatch.setattr(checks, "_play_and_measure", checks._versions)
    monkeypatch.setattr(checks, "_codecs", checks._versions)
    assert run(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "fail  machine         OSError: the disk is gone" in out
    assert "warn  fluidsynth" in out
    assert "apt-get install fluidsynth" in out


def test_doctor_state_that_cannot_be(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("ANTIPHON_STATE", str(tmp_path / "file" / "state"))
    monkeypatch.setattr(checks, "_codecs", checks._versions)
    monkeypatch.setattr(checks, "_play_and_measure", checks._versions)
    assert run(["doctor"]) == 1
    assert "fail  state" in capsys.readouterr().out


def test_demo_is_the_whole_circle(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["demo", "--output-dir", "first"]) == 0
    out, err = capsys.readouterr()
    assert "error" not in err
    assert {path.name for path in Path("first").iterdir()} == {
        "demo.wav", "demo.mid", "demo.json"
    }  # fmt: skip
    asked = out.partition("asked for")[2].partition("3.")[0]
    for name in ("tempo", "key", "duration"):
        (line,) = (line for line in asked.splitlines() if line.split()[:1] == [name])
        assert line.endswith("ok")
    for kind in ("full", "technical", "genre_mood", "instrumentation", "structure"):
        assert f"\n     {kind}\n" in out
    assert "antiphon describe song.mp3" in out
