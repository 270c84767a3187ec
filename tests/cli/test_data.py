"""`antiphon data`: from recordings to a manifest, with the exit codes a script can rely on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "data"))

from corpus_pieces import noise, piece, silence, write_pieces

from antiphon.audio import write
from antiphon.cli.main import run
from antiphon.data.manifest import read_manifest, write_manifest

pytestmark = pytest.mark.integration

PREPARE = ["data", "prepare", "music", "--output", "m.parquet", "--jobs", "1"]


@pytest.fixture
def music(away: Path) -> Path:
    folder = away / "work/music"
    write_pieces(folder, 1, 2, 3)
    return folder


def test_from_recordings_to_a_sound_manifest(
    music: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    captions = Path("c.csv")
    captions.write_text("file,text,bpm\n1.flac,one,90\n2.flac,,\n3.flac,three,\n")
    write(music / "4.wav", noise())
    assert run([*PREPARE, "--captions", "c.csv", "--splits", "0.5,0.25,0.25"]) == 0
    out, err = capsys.readouterr()
    assert out == "m.parquet\n"
    assert "1 tracks in music have no line in c.csv" in err
    assert "3 clips, 3 worked on now" in err
    assert run(["data", "caption", "m.parquet", "--output", "c.parquet", "--jobs", "1"]) == 0
    assert "2 captions were there and stay" in capsys.readouterr().err
    form = ["--sample-rate", "8000", "--channels", "1", "--loudness", "-20"]
    standardize = ["data", "standardize", "c.parquet", "--output_dir", "std", *form, "--jobs", "1"]
    assert run([*standardize, "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert (done["output"], done["clips"], done["new"]) == ("std/manifest.parquet", 3, 3)
    assert done["failures"] == []
    assert run(["data", "validate", "std/manifest.parquet", "--jobs", "1"]) == 0
    out, err = capsys.readouterr()
    assert "captions    3 of 3" in out
    assert out.splitlines()[-1].startswith("sound: 0 errors")
    clips = read_manifest(Path("std/manifest.parquet")).clips
    assert {clip.sample_rate for clip in clips} == {8000}
    assert {clip.caption_source for clip in clips} == {"c.csv", "antiphon-listener"}


def test_validate_says_what_is_wrong(music: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(PREPARE) == 0
    (music / "2.flac").unlink()
    capsys.readouterr()
    validate = ["data", "validate", "m.parquet", "--jobs", "1"]
    assert run(validate) == 1
    out, _ = capsys.readouterr()
    assert "error: file (1)" in out
    assert "not sound: 1 errors" in out
    assert run([*validate, "--json", "--quick"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["is_sound"] is False
    assert [one["check"] for one in found["findings"] if one["level"] == "error"] == ["file"]
    write_manifest(Path("m.parquet"), [])
    assert run(validate) == 1
    Path("m.parquet").write_text("x")
    assert run(validate) == 2
    assert run(["data", "validate", "gone.parquet"]) == 74


def test_clean_and_undo(music: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(music / "silent.wav", silence())
    assert run(PREPARE) == 0
    before = Path("m.parquet").read_bytes()
    capsys.readouterr()
    clean = ["data", "clean", "m.parquet", "--jobs", "1"]
    assert run([*clean, "--dry-run"]) == 0
    out, err = capsys.readouterr()
    assert out == "music/silent.wav: silent: 100% of the time; at most 95% are kept\n"
    assert "3 clips are kept, 1 would go to the quarantine with 1 files" in err
    assert (music / "silent.wav").exists()
    assert run([*clean, "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)["put_aside"]
    assert entry["moved_to"] == "music/silent.wav"
    assert Path("quarantine/music/silent.wav").exists()
    assert run([*clean, "--undo"]) == 0
    assert "1 rows and 1 files brought back" in capsys.readouterr().err
    assert Path("m.parquet").read_bytes() == before
    (music / "1.flac").unlink()
    assert run(clean) == 3
    assert "1.flac does not exist" in capsys.readouterr().err
    assert run([*clean, "--undo", "--dry-run"]) == 2


def test_some_failed_and_all_failed(music: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (music / "bad.wav").write_text("no sound at all")
    assert run([*PREPARE, "--json"]) == 3
    out, err = capsys.readouterr()
    done = json.loads(out)
    assert (done["clips"], len(done["failures"])) == (3, 1)
    assert err.count("error: ") == 1
    assert "all failures are in m.parquet.failed.jsonl; --retry-failed tries them again" in err
    assert run([*PREPARE, "--retry-failed"]) == 3
    assert "3 clips, 1 worked on now, 1 failed" in capsys.readouterr().err
    for path in music.glob("*.flac"):
        path.unlink()
    assert run(PREPARE) == 1
    assert "no row is left for 'm.parquet' (0 clips)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["prepare", "gone", "--output", "m.parquet"], 2, "'gone' is no folder"),
        (["prepare", "music", "--output", "m.csv"], 2, "ends in .parquet"),
        (["prepare", "music", "--output", "m.parquet", "--captions", "no.csv"], 74, "no.csv"),
        (["prepare", "music", "--output", "m.parquet", "--captions", "l.csv"], 2, "byte 0xE9"),
        (["prepare", "music", "--output", "m.parquet", "--splits", "1,2"], 2, "three that sum"),
        (["prepare", "music", "--output", "m.parquet", "--splits", "a"], 2, "--splits is 'a'"),
        (["prepare", "music", "--output", "m.parquet", "--dataset", "x"], 2, "dataset is 'x'"),
        (["prepare", "empty", "--output", "m.parquet"], 1, "nothing to prepare in 'empty'"),
        (["prepare", "music", "--output", "m.parquet", "--licence", "MIT"], 2, "licence MIT"),
        (["prepare", "music"], 2, "--output"),
        (["standardize", "m.parquet", "--output-dir", "s"], 74, "m.parquet"),
        (["standardize", "m.parquet", "--output-dir", "s", "--format", "x"], 2, "format is 'x'"),
        (["clean", "m.parquet"], 74, "m.parquet"),
        (["clean", "m.parquet", "--min-seconds", "9e9"], 2, "the shortest clip is"),
        (["caption", "m.parquet", "--output", "n.parquet", "--model", "no/such"], 4, "no/such"),
        (["validate", "music"], 2, "is a folder"),
        (["nonsense"], 2, "nonsense"),
    ],
)
def test_bad_input(
    music: Path,
    arguments: list[str],
    code: int,
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("empty").mkdir()
    Path("l.csv").write_bytes(b"path,caption\n1.flac,caf\xe9\n")
    assert run(["data", *arguments]) == code
    out, err = capsys.readouterr()
    assert (out, err.count("error: ")) == ("", 1)
    assert message in err
    assert not Path("m.parquet").exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_finishes_what_is_in_work(music: Path, number: signal.Signals, code: int) -> None:
    for index in range(60):
        write(music / f"more{index}.flac", piece(index % 5))
    process = subprocess.Popen(
        [sys.executable, "-m", "antiphon", *PREPARE], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    ledger = Path("m.parquet.ledger.jsonl")
    deadline = time.monotonic() + 60
    while not ledger.exists() or ledger.read_bytes().count(b"\n") < 2:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(process.pid, number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == code
    assert out == b""
    assert b"not reached: the same command goes on with them" in err
    assert b"Traceback" not in err
    done = len(ledger.read_text().splitlines())
    assert 2 <= done < 63
    assert not Path("m.parquet").exists()
    assert run(PREPARE) == 0
    assert len(ledger.read_text().splitlines()) == 63
    assert not list(Path().glob("*.lock"))


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data"]) == 0
    out = capsys.readouterr().out
    for name in ("prepare", "standardize", "clean", "validate", "caption"):
        assert name in out
        assert run(["data", name, "--help"]) == 0
        assert f"antiphon data {name} " in capsys.readouterr().out
