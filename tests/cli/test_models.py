"""`antiphon models`: what is printed where, and the exit codes."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from antiphon.cli import byte_progress
from antiphon.cli import models as commands
from antiphon.cli.main import run
from antiphon.models import transfer
from model_hub import REPO, WEIGHTS, Hub, running_hub, write_checkpoint

pytestmark = pytest.mark.integration

PROGRAM = [sys.executable, "-m", "antiphon"]
Q6, PROJECTOR = "music-flamingo-hf.Q6_K.gguf", "music-flamingo-hf.mmproj-f16.gguf"


@pytest.fixture(autouse=True)
def folder(away: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty models folder."""
    monkeypatch.setenv("ANTIPHON_MODELS", str(away / "models"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(transfer, "PAUSES_SECONDS", ())
    return away / "models"


@pytest.fixture
def hub() -> Iterator[Hub]:
    with running_hub() as running:
        yield running


def ended(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout, stderr."""
    code = run(["models", *arguments])
    out, err = capsys.readouterr()
    return code, out, err


def put_gguf(folder: Path) -> None:
    home = folder / "mradermacher--music-flamingo-hf-GGUF"
    home.mkdir(parents=True)
    (home / Q6).write_bytes(b"x" * 1500)
    (home / PROJECTOR).write_bytes(b"y" * 500)


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    bare = ended(capsys)[1]
    for command in ("ls", "pull", "verify", "path", "rm"):
        assert f"  {command} " in bare
        code, text, _ = ended(capsys, command, "-h")
        assert code == 0
        assert f"antiphon models {command}" in text.partition("Examples:")[2]


def test_ls(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    code, out, err = ended(capsys, "ls")
    assert (code, out) == (0, "")
    assert err == f"no models in {folder}; 'antiphon models ls --all' shows what is known\n"

    put_gguf(folder)
    write_checkpoint(folder / "mine")
    (folder / "mine/config.json").unlink()
    first, second = ended(capsys, "ls")[1].splitlines()
    assert first.startswith("music-flamingo-hf-Q6_K ")
    assert "2.0 kB  complete  NVIDIA OneWay Noncommercial: non-commercial use only" in first
    assert "partial   licence not known" in second

    everything = ended(capsys, "ls", "--all")[1]
    assert everything.count("absent") >= 10
    assert everything.count("Q6_K ") == 2


def test_ls_json(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    put_gguf(folder)
    (line,) = ended(capsys, "ls", "--json")[1].splitlines()
    found = json.loads(line)
    assert Path(found.pop("path")).name == Q6
    assert found == {
        "name": "music-flamingo-hf-Q6_K",
        "kind": "listener",
        "state": "complete",
        "size_bytes": 2000,
        "lacking": [],
        "licence": "NVIDIA OneWay Noncommercial",
        "allows": "non-commercial use only",
        "repo": "mradermacher/music-flamingo-hf-GGUF",
        "revision": None,
        "architecture": "AudioFlamingo3ForConditionalGeneration",
        "cap_seconds": 600.0,
        "quant": "Q6_K",
    }
    records = [json.loads(x) for x in ended(capsys, "ls", "--all", "--json")[1].splitlines()]
    assert {record["state"] for record in records} == {"complete", "absent"}


def test_one_broken_model_does_not_hide_the_others(
    capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    put_gguf(folder)
    (write_checkpoint(folder / "mine") / "antiphon-model.json").write_text("{")
    code, out, err = ended(capsys, "ls")
    assert code == 3
    assert "Q6_K" in out
    assert "antiphon-model.json is not valid" in err


def test_path(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    code, out, err = ended(capsys, "path", "Q6_K")
    assert (code, out) == (4, "")
    assert "ANTIPHON_MODELS" in err
    assert err.count("\n") == 1
    put_gguf(folder)
    assert Path(ended(capsys, "path", "Q6_K")[1].strip()).name == Q6


def test_pull_then_verify(capsys: pytest.CaptureFixture[str], folder: Path, hub: Hub) -> None:
    hub.files["extra.bin"] = b"pickle"
    code, out, err = ended(capsys, "pull", REPO, "--from", hub.address)
    assert (code, out) == (0, f"{folder}/org--tiny\n")
    assert "left out, as pickles can run code: extra.bin" in err
    assert "2 files fetched, 0 were here; 512.0 kB" in err

    code, out, _ = ended(capsys, "verify")
    assert (code, out.count("sha256 as expected")) == (0, 2)
    weights = folder / "org--tiny/model.safetensors"
    weights.write_bytes(WEIGHTS[::-1])
    code, out, _ = ended(capsys, "verify", REPO, "--json")
    found = json.loads(out)
    assert (code, found["ok"]) == (1, False)
    assert [file["verdict"] for file in found["files"]] == ["ok", "damaged"]
    assert ended(capsys, "verify", "Q6_K")[0] == 4
    (folder / "org--tiny/config.json").unlink()
    code, out, _ = ended(capsys, "verify")
    assert code == 1
    assert "missing  " in out


def test_pull_names_the_licence(capsys: pytest.CaptureFixture[str], away: Path) -> None:
    write_checkpoint(away / "usb")
    code, _, err = ended(capsys, "pull", "nvidia/music-flamingo-hf", "--from", str(away / "usb"))
    assert code == 0
    first = "nvidia/music-flamingo-hf: NVIDIA OneWay Noncommercial, non-commercial use only"
    assert err.startswith(first)


def test_pull_fails_in_one_line(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    code, out, err = ended(capsys, "pull", REPO, "--from", "http://127.0.0.1:1")
    notice, error = err.splitlines()
    assert (code, out) == (74, "")
    assert notice.startswith(f"{REPO}: its licence is not known here")
    assert error.startswith("error: http://127.0.0.1:1/")
    assert f"{folder}/org--tiny (ANTIPHON_MODELS is {folder})" in err
    assert ended(capsys, "pull", "nothing")[0] == 4
    assert ended(capsys, "pull", REPO, "--from", "nowhere")[0] == 74


def test_ctrl_c_and_again(capsys: pytest.CaptureFixture[str], folder: Path, hub: Hub) -> None:
    hub.silent_after = 100_000
    command = [*PROGRAM, "models", "pull", REPO, "--from", hub.address]
    program = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    part = folder / "org--tiny/model.safetensors.part"
    deadline = time.monotonic() + 30
    while not part.exists():
        assert time.monotonic() < deadline
        time.sleep(0.005)
    program.send_signal(signal.SIGINT)
    out, err = program.communicate(timeout=30)
    assert (program.returncode, out) == (130, "")
    assert err.endswith("\ninterrupted; the same command goes on where this one stopped\n")
    assert "Traceback" not in err
    assert part.exists()

    assert ended(capsys, "pull", REPO, "--from", hub.address)[0] == 0
    assert (folder / "org--tiny/model.safetensors").read_bytes() == WEIGHTS


def test_rm(
    capsys: pytest.CaptureFixture[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ended(capsys, "rm", "Q6_K", "--yes")[0] == 4
    put_gguf(folder)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    code, _, err = ended(capsys, "rm", "Q6_K")
    assert (code, "add --yes" in err) == (2, True)

    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr(commands.typer, "confirm", lambda *_, **__: False)
    code, _, err = ended(capsys, "rm", "Q6_K")
    assert (code, err) == (1, "nothing deleted\n")
    assert ended(capsys, "path", "Q6_K")[0] == 0

    def aborted(*_: object, **__: object) -> bool:
        raise typer.Abort

    monkeypatch.setattr(commands.typer, "confirm", aborted)
    assert ended(capsys, "rm", "Q6_K")[0] == 130

    code, _, err = ended(capsys, "rm", "Q6_K", "--yes")
    assert (code, err) == (0, "music-flamingo-hf-Q6_K deleted, 2.0 kB\n")
    assert list(folder.iterdir()) == []


class TestProgress:
    def test_lines_tell_rate_and_time_left(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = 100.0
        monkeypatch.setattr(byte_progress.time, "monotonic", lambda: now)
        with byte_progress.shown_bytes("pulling Q6_K") as show:
            show(4 * 10**9, 6 * 10**9)  # came with an earlier run
            now += 5
            show(4 * 10**9 + 1000, 6 * 10**9)
            now += 5
            show(4 * 10**9 + 10**8, 6 * 10**9)
            now += 10
            show(4 * 10**9 + 2 * 10**8, None)
        out, err = capsys.readouterr()
        assert out == ""
        assert err.splitlines() == [
            "pulling Q6_K: 4.1 GB of 6.0 GB, 10.0 MB/s, about 190 s left",
            "pulling Q6_K: 4.2 GB, 10.0 MB/s",
        ]

    def test_a_bar_on_a_terminal(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
        with byte_progress.shown_bytes("pulling [bold]") as show:
            show(1000, 6000)
            show(6000, 6000)
        assert "pulling [bold]" in capsys.readouterr().err


def test_sizes() -> None:
    assert [byte_progress.size_text(n) for n in (0, 999, 1500, 2 * 10**6, 59 * 10**8)] == [
        "0 bytes", "999 bytes", "1.5 kB", "2.0 MB", "5.9 GB"
    ]  # fmt: skip


def test_config_show_has_the_setting(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    assert run(["config", "show", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["models"]
    assert (found["value"], found["origin"]) == (str(folder), "ANTIPHON_MODELS")
