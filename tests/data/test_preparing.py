"""Preparing: the same files give the same manifest, whatever happened on the way."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import soundfile
from corpus_pieces import RATE, piece, silence, write_pieces

from antiphon.audio import Waveform, write
from antiphon.data.manifest import Clip, read_manifest
from antiphon.data.preparing import PrepareOptions, checked_shares, prepare, splits_of
from antiphon.data.reporting import Report, failures_of, ledger_of
from antiphon.data.running import RunOptions
from antiphon.data.sources import read_source
from antiphon.errors import AudioError, ConfigError, StorageError

pytestmark = pytest.mark.integration

ONE = RunOptions(1)


def prepared(
    folder: Path,
    *,
    captions: Path | None = None,
    options: PrepareOptions | None = None,
    run: RunOptions = ONE,
    output: Path | None = None,
) -> tuple[Report, tuple[Clip, ...]]:
    output = output or folder.parent / "m.parquet"
    report = prepare(read_source(folder, captions), output, options or PrepareOptions(), run)
    return report, read_manifest(output).clips if report.output else ()


def table(path: Path, *rows: dict[str, object]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_what_stands_in_a_manifest(tmp_path: Path) -> None:
    music = tmp_path / "music"
    (path,) = write_pieces(music / "deep", 1)
    (music / "deep/1.txt").write_text("Loud rock.")
    report, (clip,) = prepared(music)
    frames = soundfile.info(path).frames
    assert clip == Clip(
        id=clip.id,
        path="music/deep/1.flac",
        content=hashlib.blake2b(path.read_bytes(), digest_size=32).hexdigest(),
        seconds=frames / RATE,
        sample_rate=RATE,
        channels=1,
        split=clip.split,
        group=clip.group,
        caption="Loud rock.",
        caption_source="txt",
        source="folder",
    )
    assert clip.group == f"content:{clip.content[:32]}"
    assert (report.clips, report.new, report.failures) == (1, 1, ())
    again, clips = prepared(music)
    assert (again.new, clips) == (0, (clip,))
    # Where the manifest lies and how a file is called change no id.
    shutil.move(path, music / "other.flac")
    assert prepared(music, output=tmp_path / "n/n.parquet")[1][0].id == clip.id
    write(music / "other.flac", piece(2))
    assert prepared(music)[1][0].id != clip.id


def test_the_same_recording_is_on_one_side(tmp_path: Path) -> None:
    music = tmp_path / "music"
    paths = write_pieces(music, *range(12))
    (music / "twice").mkdir()
    for path in paths:
        shutil.copy(path, music / "twice" / path.name)
        data, rate = soundfile.read(path, dtype="float32")
        soundfile.write(music / f"{path.stem}.mp3", data[rate:] * 0.25, rate)
    third = {"train": 1 / 3, "validation": 1 / 3, "test": 1 / 3}
    report, clips = prepared(music, options=PrepareOptions(checked_shares([*third.values()])))
    assert len(clips) == len({clip.id for clip in clips}) == 36
    by_piece: dict[str, set[tuple[str, str]]] = {}
    for clip in clips:
        by_piece.setdefault(Path(clip.path).stem, set()).add((clip.group, clip.split))
    assert all(len(found) == 1 for found in by_piece.values())
    assert len({clip.group for clip in clips}) == 12
    assert set(Counter(clip.split for clip in clips)) == set(third)
    assert any("12 clips hold what another holds to the byte" in note for note in report.notes)


def test_artists_albums_and_given_splits(tmp_path: Path) -> None:
    music = tmp_path / "music"
    write_pieces(music, 0, 1, 2, 3, 4)
    data, rate = soundfile.read(music / "0.flac", dtype="float32")
    soundfile.write(music / "0.mp3", data, rate)
    captions = table(
        tmp_path / "t.jsonl",
        {"path": "0.flac", "artist": "Ann"},
        {"path": "1.flac", "artist": "ann ", "split": "test"},
        {"path": "0.mp3", "artist": "Bob", "album": "X"},
        {"path": "2.flac", "artist": "BOB"},
        {"path": "3.flac", "album": "X"},
        {"path": "4.flac", "split": "validation", "start_seconds": 0, "end_seconds": 2},
        {"path": "4.flac", "split": "train", "start_seconds": 2},
    )
    report, clips = prepared(music, captions=captions)
    split = {(clip.path, clip.start_seconds): clip.split for clip in clips}
    # Ann's recording is Bob's too: they are one group, and go where the source puts one of them.
    assert {split[f"music/{name}", 0.0] for name in ("0.flac", "1.flac", "0.mp3", "2.flac")} == {
        "test"
    }
    assert {clip.group for clip in clips if clip.split == "test"} == {"artist:ann"}
    assert (split["music/4.flac", 0.0], split["music/4.flac", 2.0]) == ("validation", "train")
    assert clips[-1].seconds == pytest.approx(piece(4).duration_seconds - 2)
    assert any("puts 1 groups into more than one split" in note for note in report.notes)


def test_splits_are_by_hash_and_none_is_empty() -> None:
    shares = checked_shares([0.9, 0.05, 0.05])
    names = [f"content:{n}" for n in range(5_000)]
    splits = splits_of(names, shares)
    counts = Counter(splits.values())
    assert counts["train"] == pytest.approx(4_500, abs=100)
    assert counts["test"] == pytest.approx(250, abs=60)
    assert splits_of(reversed(names[:2_500]), shares).items() <= splits.items()
    for count in (4, 10, 40):
        assert len(set(splits_of(names[:count], shares).values())) == 3
    assert set(splits_of(names[:3], shares, none_empty=False).values()) == {"train"}
    assert set(splits_of(names[:9], (1.0, 0.0, 0.0)).values()) == {"train"}
    for wrong in ([0.9, 0.2, 0.1], [1.5, -0.5, 0.0], [1.0], [float("nan"), 0, 0]):
        with pytest.raises(ConfigError, match="the shares of the splits are .* sum to 1"):
            checked_shares(wrong)


def test_licences(tmp_path: Path) -> None:
    music = tmp_path / "music"
    write_pieces(music, 0, 1, 2)
    captions = table(
        tmp_path / "t.jsonl",
        {"path": "0.flac", "licence": "CC BY 4.0"},
        {"path": "1.flac", "license": "CC-BY-NC-4.0"},
        {"path": "2.flac"},
    )
    options = PrepareOptions(licences=("cc-by-4.0", "CC0-1.0"))
    report, (clip,) = prepared(music, captions=captions, options=options)
    assert (clip.path, clip.licence) == ("music/0.flac", "CC BY 4.0")
    assert report.notes == (
        "1 clips have no known licence and are left out",
        "1 clips have another licence and are left out: CC-BY-NC-4.0 (1)",
    )
    with pytest.raises(ConfigError, match="no clip has the licence MIT; 1 clips have no known"):
        prepared(music, captions=captions, options=PrepareOptions(licences=("MIT",)))


def test_what_fails_is_listed_and_the_others_go_on(tmp_path: Path) -> None:
    music = tmp_path / "music"
    write_pieces(music, 0)
    (music / "bad.wav").write_bytes(b"no sound at all")
    captions = table(
        tmp_path / "t.jsonl",
        {"path": "0.flac"},
        {"path": "0.flac", "start_seconds": 99},
        {"path": "0.flac", "end_seconds": 99},
        {"path": "bad.wav"},
        {"path": "gone.wav"},
        {"path": "0.flac", "start_seconds": float("nan")},
        {"path": "0.flac", "start_seconds": 1, "caption": "half a sign \ud800"},
    )
    report, clips = prepared(music, captions=captions)
    assert len(clips) == 1
    reasons = "\n".join(problem.reason for problem in report.failures)
    for expected in (
        "the passage begins at 99 s, and",
        "the passage ends at 99 s, and",
        "bad.wav cannot be decoded",
        "'gone.wav' does not exist",
        "start_seconds is nan",
        "is no text (UTF-8)",
    ):
        assert reasons.count(expected) == 1
    listed = failures_of(tmp_path / "m.parquet")
    assert len(listed.read_text().splitlines()) == len(report.failures) == 6
    again, _ = prepared(music, captions=table(captions, {"path": "0.flac"}))
    assert (again.failures, listed.exists()) == ((), False)
    with pytest.raises(AudioError, match=r"no row is left .*\(0 clips\); the first: .*bad.wav"):
        prepared(music, captions=table(captions, {"path": "bad.wav"}))
    with pytest.raises(ConfigError, match="expected a name that ends in .parquet"):
        prepared(music, output=tmp_path / "m.csv")


def test_what_failed_is_tried_again_when_asked_or_changed(tmp_path: Path) -> None:
    music = tmp_path / "music"
    write_pieces(music, 0)
    bad = music / "bad.wav"
    bad.write_bytes(b"no sound at all")
    assert prepared(music)[0].new == 2
    assert prepared(music)[0].new == 0
    assert prepared(music, run=RunOptions(1, retry_failed=True))[0].new == 1
    write(bad, Waveform(silence().samples, RATE))
    report, clips = prepared(music)
    assert (report.new, len(clips), report.failures) == (1, 2, ())


def test_a_stop_leaves_the_rest_for_the_next_run(tmp_path: Path) -> None:
    music = tmp_path / "music"
    write_pieces(music, 0, 1, 2)
    asked: list[bool] = []

    def should_stop() -> bool:
        asked.append(True)
        return len(asked) > 1

    report, _ = prepared(music, run=RunOptions(1, should_stop=should_stop))
    assert (report.output, report.new, report.not_reached) == (None, 1, 2)
    assert not (tmp_path / "m.parquet").exists()
    assert prepared(music)[0].new == 2


KILLED = """
import os, signal, sys
from pathlib import Path
from antiphon.data.preparing import PrepareOptions, prepare
from antiphon.data.running import RunOptions
from antiphon.data.sources import read_source
left, sync, rename = int(sys.argv[2]), os.fsync, os.replace
def step(function):
    def called(*arguments):
        global left
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments)
    return called
os.fsync, os.replace = step(sync), step(rename)
if __name__ == "__main__":
    prepare(read_source(Path(sys.argv[1])), Path("m.parquet"), PrepareOptions(), RunOptions(1))
"""


def test_killed_at_any_moment_it_ends_with_the_same_manifest(tmp_path: Path) -> None:
    music = tmp_path / "music"
    write_pieces(music, *range(6))
    prepared(music, output=tmp_path / "whole/m.parquet")
    undisturbed = tmp_path / "m.parquet"
    prepared(music, output=undisturbed)
    expected = undisturbed.read_bytes()
    undisturbed.unlink()
    ledger = ledger_of(undisturbed)
    ledger.unlink()
    (tmp_path / "run.py").write_text(KILLED)

    def start(step: int) -> subprocess.Popen[bytes]:
        command = [sys.executable, "run.py", str(music), str(step)]
        return subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE)

    for lines in (1, 3, 5):  # while it is at work
        process = start(0)
        while not ledger.exists() or ledger.read_bytes().count(b"\n") < lines:
            assert process.poll() is None
            time.sleep(0.002)
        process.kill()
        process.communicate()
    codes: list[int] = []
    while not codes or codes[-1] != 0:  # while it writes; each comes a step further
        process = start(len(codes) + 1)
        process.communicate(timeout=60)
        codes.append(process.returncode)
        assert codes[-1] in (0, -signal.SIGKILL)
        assert not undisturbed.exists() or undisturbed.read_bytes() == expected
    assert len(codes) >= 4  # the file, its name, its folder
    assert undisturbed.read_bytes() == expected
    keys = [json.loads(line)["key"] for line in ledger.read_text().splitlines()]
    assert len(keys) == len(set(keys)) == 6
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"music", "whole", "run.py", "m.parquet", "m.parquet.ledger.jsonl"}


def test_two_runs_do_not_share_a_ledger(tmp_path: Path) -> None:
    music = tmp_path / "music"
    write_pieces(music, 0)
    ledger = ledger_of(tmp_path / "m.parquet")
    from antiphon import journal

    with (
        journal.opened(ledger, "busy"),
        pytest.raises(StorageError, match="another run is at work on .*ledger.jsonl"),
    ):
        prepared(music)


@pytest.mark.skipif(os.name == "nt", reason="names are text there")
def test_a_name_that_is_no_utf_8(tmp_path: Path) -> None:
    music = tmp_path / "music"
    (path,) = write_pieces(music, 0)
    shutil.copy(path, os.fsencode(music) + b"/caf\xe9.flac")
    report, clips = prepared(music)
    assert len(clips) == 1
    assert "is no text (UTF-8); rename the file" in report.failures[0].reason


def test_a_ledger_that_is_damaged(tmp_path: Path) -> None:
    music = tmp_path / "music"
    write_pieces(music, 0)
    prepared(music)
    ledger = ledger_of(tmp_path / "m.parquet")
    entry = json.loads(ledger.read_text())
    for values, match in (
        ({"fingerprint": "%%%"}, "a fingerprint is damaged"),
        ({"seconds": "long"}, "a ledger holds a damaged entry: .*'long'; delete it"),
    ):
        damaged = {**entry, "record": {**entry["record"], **values}}
        ledger.write_text(json.dumps(damaged) + "\n")
        with pytest.raises(ConfigError, match=match):
            prepared(music)
