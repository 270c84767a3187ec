"""Cleaning: what is of no use is put aside and can come back; nothing is ever lost."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from corpus_pieces import RATE, clipped, noise, piece, silence, write_pieces

from antiphon.audio import Waveform, write
from antiphon.data.cleaning import CleanOptions, CleanReport, clean, restore
from antiphon.data.manifest import Clip, read_manifest, write_manifest
from antiphon.data.preparing import PrepareOptions, prepare
from antiphon.data.running import RunOptions
from antiphon.data.sources import read_source
from antiphon.errors import ConfigError, StorageError
from antiphon.files import locked

pytestmark = pytest.mark.integration

ONE = RunOptions(1)
OPTIONS = CleanOptions(min_seconds=1.0, max_seconds=8.5)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pieces and one of everything that is to go."""
    folder = tmp_path_factory.mktemp("corpus")
    music = folder / "music"
    write_pieces(music / "good", 1, 2)
    (music / "bad").mkdir()
    write(music / "bad/silent.wav", silence())
    write(music / "bad/noise.wav", noise())
    write(music / "bad/clipped.wav", clipped())
    write(music / "bad/short.wav", Waveform(piece(3).samples[:, : RATE // 2], RATE))
    write(music / "bad/long.wav", piece(4, "rock", 12.0))
    write(music / "bad/cut.mp3", piece(5))
    cut = (music / "bad/cut.mp3").read_bytes()
    (music / "bad/cut.mp3").write_bytes(cut[: len(cut) // 2])
    prepare(read_source(music), folder / "m.parquet", PrepareOptions(), ONE)
    return folder


@pytest.fixture
def manifest(prepared: Path, tmp_path: Path) -> Path:
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    return tmp_path / "m.parquet"


def cleaned(manifest: Path, *, dry_run: bool = False) -> CleanReport:
    return clean(manifest, OPTIONS, ONE, dry_run=dry_run)


def tree(folder: Path) -> dict[str, bytes]:
    """All files but ledgers and the table."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".jsonl"
    }


def test_each_reason_and_back_again(manifest: Path) -> None:
    before = tree(manifest.parent)
    listed = cleaned(manifest, dry_run=True)
    assert tree(manifest.parent) == before
    report = cleaned(manifest)
    assert (report.entries, report.kept, report.moved) == (listed.entries, 2, 6)
    assert report.new == 0  # what was measured for the list
    assert {Path(one.clip.path).stem: one.reason.partition(":")[0] for one in report.entries} == {
        "silent": "silent", "noise": "not music", "clipped": "clipped", "short": "too short",
        "long": "too long", "cut": "damaged",
    }  # fmt: skip
    after = tree(manifest.parent)
    assert [clip.path for clip in read_manifest(manifest).clips] == [
        "music/good/1.flac",
        "music/good/2.flac",
    ]
    assert {name: data for name, data in after.items() if name != "m.parquet"} == {
        name.replace("music/bad", "quarantine/music/bad"): data
        for name, data in before.items()
        if name != "m.parquet"
    }
    table = [
        json.loads(line)
        for line in (manifest.parent / "quarantine/quarantine.jsonl").read_text().splitlines()
    ]
    assert [row["path"] for row in table] == [one.clip.path for one in report.entries]
    assert all(row["reason"] for row in table)
    assert (cleaned(manifest).entries, tree(manifest.parent)) == ((), after)
    assert len(restore(manifest)) == 6
    assert tree(manifest.parent) == before
    assert restore(manifest) == ()


def test_two_cleanings_are_undone_at_once(manifest: Path) -> None:
    before = tree(manifest.parent)
    cleaned(manifest)
    clean(manifest, CleanOptions(min_seconds=100.0), ONE)
    assert read_manifest(manifest).clips == ()
    restore(manifest)
    assert tree(manifest.parent) == before


def test_a_file_stays_for_the_rest_of_its_passages(tmp_path: Path) -> None:
    both = [silence(3.0).samples[0], piece(1).samples[0]]
    write(tmp_path / "a.wav", Waveform(np.concatenate(both)[None], RATE))
    (tmp_path / "t.csv").write_text("path,start_seconds,end_seconds\na.wav,0,2.5\na.wav,3.5,8\n")
    manifest = tmp_path / "m.parquet"
    prepare(read_source(tmp_path, tmp_path / "t.csv"), manifest, PrepareOptions(), ONE)
    before = manifest.read_bytes()
    (entry,) = clean(manifest, CleanOptions(), ONE).entries
    assert (entry.moved_to, entry.clip.end_seconds) == (None, 2.5)
    assert (tmp_path / "a.wav").exists()
    restore(manifest)
    assert manifest.read_bytes() == before
    report = clean(manifest, CleanOptions(min_seconds=60), ONE)
    assert (len(report.entries), report.moved, (tmp_path / "a.wav").exists()) == (2, 1, False)


def test_what_is_missing_is_no_fault_of_the_sound(manifest: Path) -> None:
    (manifest.parent / "music/good/1.flac").unlink()
    report = cleaned(manifest)
    assert [Path(one.name).name for one in report.failures] == ["1.flac"]
    assert report.kept == 2  # its row stays


def test_a_place_that_is_taken(manifest: Path) -> None:
    cleaned(manifest)
    music = manifest.parent / "music"
    write(music / "bad/silent.wav", silence(6.0))
    with pytest.raises(StorageError, match="silent.wav': another file is in its place"):
        restore(manifest)
    prepare(read_source(music), manifest, PrepareOptions(), ONE)
    (entry,) = cleaned(manifest).entries
    assert entry.moved_to == "music/bad/silent_2.wav"  # the one before it keeps its place
    (music / "bad").rename(manifest.parent / "n")  # all places are free
    (manifest.parent / "quarantine/music/bad/noise.wav").unlink()
    with pytest.raises(StorageError, match="noise.wav' is not there any more; put it back"):
        restore(manifest)


def test_files_from_elsewhere(manifest: Path, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere/n.parquet"
    prepare(read_source(tmp_path / "music"), other, PrepareOptions(), ONE)
    before = tree(tmp_path)
    report = cleaned(other)
    assert all(str(one.moved_to).startswith("outside/") for one in report.entries)
    assert len(list((tmp_path / "elsewhere/quarantine/outside").rglob("*.*"))) == 6
    restore(other)
    assert tree(tmp_path) == before


def test_between_file_systems_it_is_copied(manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = os.rename

    def refused(source: str, target: str) -> None:
        if "music" in str(source):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        rename(source, target)

    before = tree(manifest.parent)
    monkeypatch.setattr(os, "rename", refused)
    assert cleaned(manifest).moved == 6
    restore(manifest)
    assert tree(manifest.parent) == before


def test_guards(manifest: Path) -> None:
    for options in (CleanOptions(5.0, 5.0), CleanOptions(-1.0), CleanOptions(float("nan"))):
        with pytest.raises(ConfigError, match="expected the first to be smaller, and 0 or more"):
            clean(manifest, options, ONE)
    with (
        locked(manifest.with_name("m.parquet.clean")),
        pytest.raises(StorageError, match="another run is cleaning with .*m.parquet"),
    ):
        cleaned(manifest)
    cleaned(manifest)
    table = manifest.parent / "quarantine/quarantine.jsonl"
    table.write_text(table.read_text() + "{}\n")
    with pytest.raises(ConfigError, match="quarantine.jsonl, line 7, is no entry"):
        restore(manifest)


KILLED = """
import os, signal, sys
from pathlib import Path
from antiphon.data.cleaning import CleanOptions, clean, restore
from antiphon.data.running import RunOptions
left = int(sys.argv[1])
def step(function):
    def called(*arguments, **named):
        global left
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **named)
    return called
if __name__ == "__main__":
    for name in ("fsync", "replace", "rename", "unlink"):
        setattr(os, name, step(getattr(os, name)))
    if sys.argv[2] == "clean":
        clean(Path("m.parquet"), CleanOptions(max_seconds=8.5), RunOptions(1))
    else:
        restore(Path("m.parquet"))
"""


def test_killed_at_every_step_it_ends_where_it_should(tmp_path: Path) -> None:
    music = tmp_path / "music"
    write_pieces(music, 1)
    write(music / "silent.wav", silence())
    write(music / "long.wav", piece(4, "rock", 12.0))
    manifest = tmp_path / "m.parquet"
    prepare(read_source(music), manifest, PrepareOptions(), ONE)
    (tmp_path / "run.py").write_text(KILLED)
    before = tree(tmp_path)
    cleaned(manifest)
    clean_tree = tree(tmp_path)
    table = (tmp_path / "quarantine/quarantine.jsonl").read_bytes()
    restore(manifest)
    assert tree(tmp_path) == before
    for action, expected in (("clean", clean_tree), ("restore", before)):
        codes: list[int] = []
        while not codes or codes[-1] != 0:
            command = [sys.executable, "run.py", str(len(codes) + 1), action]
            done = subprocess.run(command, cwd=tmp_path, stderr=subprocess.PIPE, timeout=60)
            codes.append(done.returncode)
            assert codes[-1] in (0, -signal.SIGKILL), done.stderr.decode()
            # At no moment is a sound gone.
            sounds = {data for name, data in tree(tmp_path).items() if not name.endswith("parquet")}
            assert set(before.values()) - {before["m.parquet"]} <= sounds
        assert len(codes) > 8
        assert tree(tmp_path) == expected
        if action == "clean":
            assert (tmp_path / "quarantine/quarantine.jsonl").read_bytes() == table
    assert not [path for path in tmp_path.rglob("*") if path.suffix in (".tmp", ".lock")]


def test_a_plan_that_could_not_be_carried_out(
    manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tree(manifest.parent)

    def refused(source: str, target: str) -> None:
        raise OSError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr(os, "rename", refused)
        with pytest.raises(StorageError, match="cannot move .*clipped.wav': Permission denied"):
            cleaned(manifest)
    home = manifest.parent / "music/bad/clipped.wav"
    away = manifest.parent / "quarantine/music/bad/clipped.wav"
    away.write_bytes(b"somebody's")
    with pytest.raises(StorageError, match="clipped.wav': another file is there; move that away"):
        cleaned(manifest)
    shutil.copy(home, away)  # as a run that was killed between two file systems leaves it
    assert cleaned(manifest).finished == 6
    assert not home.exists()
    restore(manifest)
    assert tree(manifest.parent) == before
    plan = manifest.parent / "quarantine/m.parquet.plan.json"
    plan.write_text('{"action": "put aside"}')
    with pytest.raises(ConfigError, match="m.parquet.plan.json is damaged"):
        cleaned(manifest)


def test_two_files_that_want_one_place(tmp_path: Path) -> None:
    names = ("../a/x.wav", "../../a/x.wav")
    (tmp_path / "a").mkdir()
    folder = tmp_path / "m/n"
    folder.mkdir(parents=True)
    (tmp_path / "m/a").mkdir()
    for number, name in enumerate(names):
        write(folder / name, piece(number))
    clips = [Clip(str(n), name, "x", 6.0, RATE, 1, "train", "g") for n, name in enumerate(names)]
    write_manifest(folder / "m.parquet", clips)
    report = clean(folder / "m.parquet", CleanOptions(min_seconds=60), ONE)
    assert [one.moved_to for one in report.entries] == ["outside/a/x.wav", "outside/a/x_2.wav"]
    restore(folder / "m.parquet")
    assert all((folder / name).exists() for name in names)
