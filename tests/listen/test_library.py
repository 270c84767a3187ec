"""The library run: each content once, whatever happens, and the same bytes in the end."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from library_fakes import FakeDescribing, fill, run_fake

from antiphon.errors import AudioDecodeError, AudioError, ConfigError, DiskFullError, StorageError
from antiphon.listen.library import Outputs, Tracks

FAKE_COMMAND = Path(__file__).with_name("library_fakes.py")


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def described(path: Path) -> list[str]:
    return [Path(str(line["path"])).name for line in lines(path)]


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    (tmp_path / "calls").mkdir()
    return tmp_path / "calls"


class TestTracks:
    pytestmark = pytest.mark.unit

    def test_any_depth_in_order_of_path(self, tmp_path: Path) -> None:
        names = ["b/2.FLAC", "b/a/b/c/1.mp3", "a.wav", "c.opus", "b/10.ogg"]
        for name in [*names, "b/notes.txt", ".hidden/x.wav", "b/._2.mp3"]:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        found = [str(track.relative_to(tmp_path)) for track in Tracks((tmp_path,))]
        assert found == ["a.wav", "b/10.ogg", "b/2.FLAC", "b/a/b/c/1.mp3", "c.opus"]
        assert list(Tracks((tmp_path,), limit=2)) == list(Tracks((tmp_path,)))[:2]

    def test_a_named_file_needs_no_suffix(self, tmp_path: Path) -> None:
        (tmp_path / "take").touch()
        assert list(Tracks((tmp_path / "take",))) == [tmp_path / "take"]

    def test_a_path_given_twice_counts_once(self, tmp_path: Path) -> None:
        first, second = tmp_path / "b.wav", tmp_path / "a.wav"
        given = (first, second, first, tmp_path / "x" / ".." / second.name)
        assert list(Tracks(given)) == [first, second]

    def test_links_in_a_circle_end(self, tmp_path: Path) -> None:
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "1.wav").touch()
        (tmp_path / "a" / "up").symlink_to(tmp_path)
        (tmp_path / "a" / "over").symlink_to(tmp_path / "b")
        (tmp_path / "b" / "back").symlink_to(tmp_path / "a")
        (tmp_path / "self.wav").symlink_to(tmp_path / "self.wav")
        real = {track.resolve() for track in Tracks((tmp_path,)) if track.name != "self.wav"}
        assert real == {tmp_path / "a" / "1.wav", tmp_path / "b" / "1.wav"}
        assert len(list(Tracks((tmp_path,)))) == 3


class TestRun:
    pytestmark = pytest.mark.integration

    def test_done_is_not_done_again(self, tmp_path: Path, calls: Path) -> None:
        fill(tmp_path / "lib", 3)
        outputs = Outputs(jsonl=tmp_path / "out.jsonl")
        fake = FakeDescribing(calls=calls)
        first = run_fake(tmp_path / "lib", tmp_path / "state", outputs, fake)
        before = outputs.jsonl.read_bytes()
        assert (first.described, first.tally.done, first.tally.failed) == (3, 3, 0)
        assert described(outputs.jsonl) == [f"track {n:04}.wav" for n in range(3)]

        outputs.jsonl.unlink()
        again = run_fake(tmp_path / "lib", tmp_path / "state", outputs, fake)
        assert (again.described, again.tally.done) == (0, 3)
        assert outputs.jsonl.read_bytes() == before
        assert len(list(calls.iterdir())) == 3

    def test_content_and_settings_decide(self, tmp_path: Path, calls: Path) -> None:
        library = tmp_path / "lib"
        fill(library, 2)
        first, second = Tracks((library,))
        run_fake(library, tmp_path / "state", describing=FakeDescribing(calls=calls))
        second.rename(library / "moved.wav")  # not new
        first.write_bytes(b"sound:other")  # new, under an old name and of the old size or not
        moved = run_fake(library, tmp_path / "state", describing=FakeDescribing(calls=calls))
        assert (moved.described, moved.tally.done) == (1, 2)
        other_key = FakeDescribing("fake 2", calls=calls)
        assert run_fake(library, tmp_path / "state", describing=other_key).described == 2

    def test_a_new_kind_adds_only_itself(self, tmp_path: Path, calls: Path) -> None:
        library, state = tmp_path / "lib", tmp_path / "state"
        fill(library, 2)
        both = FakeDescribing(kinds={"full": "1", "brief": "1"}, calls=calls)
        run_fake(library, state, describing=FakeDescribing(kinds={"full": "1"}, calls=calls))
        run_fake(library, state, Outputs(tmp_path / "a.jsonl"), both)
        made = sorted(call.name.split(".")[2] for call in calls.iterdir())
        assert made == ["brief", "brief", "full", "full"]
        assert {c.name.split(".")[3] for c in calls.iterdir() if ".brief." in c.name} == {"known"}
        texts = [line["texts"] for line in lines(tmp_path / "a.jsonl")]
        assert [list(text) for text in texts] == [["full", "brief"]] * 2
        # Some of what is there needs no work at all, and the other order is its own result.
        for kinds in ({"brief": "1"}, {"brief": "1", "full": "1"}):
            run_fake(library, state, describing=FakeDescribing(kinds=kinds, calls=calls))
        assert len(list(calls.iterdir())) == 4
        # A kind whose prompt was changed is another text.
        changed = FakeDescribing(kinds={"full": "1", "brief": "2"}, calls=calls)
        run_fake(library, state, Outputs(tmp_path / "b.jsonl"), changed)
        assert len(list(calls.iterdir())) == 6
        assert all("(2)" in line["texts"]["brief"] for line in lines(tmp_path / "b.jsonl"))

    def test_same_content_twice_is_measured_once(self, tmp_path: Path, calls: Path) -> None:
        library = tmp_path / "lib"
        for name in ("a.wav", "b.wav", "c/d.wav"):
            (library / name).parent.mkdir(parents=True, exist_ok=True)
            (library / name).write_bytes(b"sound:same")
        outputs = Outputs(jsonl=tmp_path / "out.jsonl", info=True, captions=True)
        fake = FakeDescribing(seconds=0.2, calls=calls)
        summary = run_fake(library, tmp_path / "state", outputs, fake)
        assert (summary.described, summary.tally.done) == (1, 3)
        assert len(list(calls.iterdir())) == 1
        assert described(outputs.jsonl) == ["a.wav", "b.wav", "d.wav"]
        assert len(list(library.rglob("*.INFO"))) == len(list(library.rglob("*.txt"))) == 3

    def test_deleted_sidecar_comes_back_without_measuring(
        self, tmp_path: Path, calls: Path
    ) -> None:
        library = tmp_path / "lib"
        fill(library, 2)
        fake = FakeDescribing(calls=calls)
        run_fake(library, tmp_path / "state", Outputs(info=True), fake)
        info = next(library.rglob("*.INFO"))
        before = info.read_bytes()
        info.unlink()
        run_fake(library, tmp_path / "state", Outputs(info=True), fake)
        assert info.read_bytes() == before
        assert len(list(calls.iterdir())) == 2

    def test_poison_costs_one_track_each(self, tmp_path: Path) -> None:
        library = tmp_path / "lib"
        fill(library, 4)
        poison = {"crash": "WorkerDied", "damaged": "AudioDecodeError", "hang": "TimedOut",
                  "bug": "ZeroDivisionError", "edit": "AudioError"}  # fmt: skip
        for order in poison:
            (library / f"{order}.wav").write_bytes(f"{order}:1".encode())
        os.mkfifo(library / "pipe.wav")
        (library / "gone.wav").symlink_to(library / "nowhere")
        outputs = Outputs(jsonl=tmp_path / "out.jsonl")

        summary = run_fake(library, tmp_path / "state", outputs, timeout_seconds=1.0)
        assert (summary.tally.done, summary.tally.failed) == (4, 7)
        ledger = lines(tmp_path / "out.failed.jsonl")
        codes = {Path(str(line["path"])).stem: line["code"] for line in ledger}
        assert codes == {**poison, "pipe": "StorageError", "gone": "StorageError"}
        assert all(line["reason"] and line["version"] and line["attempts"] == 1 for line in ledger)
        assert any("SIGSEGV" in str(line["reason"]) for line in ledger)
        assert not any(name in described(outputs.jsonl) for name in codes)

    def test_failures_wait_for_retry_failed(self, tmp_path: Path, calls: Path) -> None:
        library = tmp_path / "lib"
        fill(library, 1)
        (library / "bad.wav").write_bytes(b"damaged:1")
        outputs = Outputs(jsonl=tmp_path / "out.jsonl")
        fake = FakeDescribing(calls=calls)
        for attempts, retry_failed in ((1, False), (1, False), (2, True)):
            run_fake(library, tmp_path / "state", outputs, fake, retry_failed=retry_failed)
            (line,) = lines(tmp_path / "out.failed.jsonl")
            assert line["attempts"] == attempts
        assert len(list(calls.iterdir())) == 3

        (library / "bad.wav").write_bytes(b"sound:repaired")
        assert run_fake(library, tmp_path / "state", outputs, fake).tally.failed == 0
        assert not (tmp_path / "out.failed.jsonl").exists()

    def test_each_folder_keeps_a_ledger_of_its_own(self, tmp_path: Path) -> None:
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "bad.wav").write_bytes(f"damaged:{name}".encode())
        ledgers = [
            run_fake(tmp_path / name, tmp_path / "state").tally.ledger for name in ("a", "b", "a")
        ]
        assert ledgers[0] == ledgers[2] != ledgers[1]
        for name, ledger in zip(("a", "b"), ledgers, strict=False):
            assert ledger is not None
            assert [line["path"] for line in lines(ledger)] == [str(tmp_path / name / "bad.wav")]

    def test_limit_takes_the_first(self, tmp_path: Path) -> None:
        fill(tmp_path / "lib", 5)
        outputs = Outputs(jsonl=tmp_path / "out.jsonl")
        run_fake(tmp_path / "lib", tmp_path / "state", outputs, limit=2)
        assert described(outputs.jsonl) == ["track 0000.wav", "track 0001.wav"]

    def test_a_name_shared_by_two_formats_goes_to_the_ledger(self, tmp_path: Path) -> None:
        library = tmp_path / "lib"
        library.mkdir()
        (library / "song.mp3").write_bytes(b"sound:1")
        (library / "song.wav").write_bytes(b"sound:2")
        outputs = Outputs(jsonl=tmp_path / "out.jsonl", info=True)
        summary = run_fake(library, tmp_path / "state", outputs)
        (line,) = lines(tmp_path / "out.failed.jsonl")
        assert "song.mp3 have the same name" in str(line["reason"])
        assert described(outputs.jsonl) == ["song.mp3", "song.wav"]
        assert summary.tally.failed == 1

        without = Outputs(jsonl=tmp_path / "out.jsonl")
        assert run_fake(library, tmp_path / "state", without).tally.failed == 0

    def test_texts_of_another_model_stay_unless_told(self, tmp_path: Path) -> None:
        library = tmp_path / "lib"
        fill(library, 1)
        (track,) = Tracks((library,))
        info, text = track.with_suffix(".INFO"), track.with_suffix(".txt")
        foreign = {"music_flamingo_full": "A song.", "music_flamingo_model": "other", "mine": 1}
        info.write_text(json.dumps(foreign))
        text.write_text("la la la")
        kept = run_fake(library, tmp_path / "state", Outputs(info=True, captions=True))
        assert json.loads(info.read_text()) == foreign
        assert text.read_text() == "la la la"
        assert (kept.tally.done, kept.tally.failed) == (0, 1)  # for want of the captions
        run_fake(library, tmp_path / "state", Outputs(info=True, captions=True, overwrite=True))
        merged = json.loads(info.read_text())
        assert (merged["mine"], merged["music_flamingo_model"]) == (1, "fake")
        assert text.read_text().startswith("A piece of hash")

    def test_names_of_all_kinds(self, tmp_path: Path) -> None:
        library = tmp_path / "lib"
        library.mkdir()
        names = ['it\'s "so".wav', "🎷 été.wav", "two\nlines.wav", "line\u2028end.wav"]
        raw = os.fsdecode(b"caf\xe9.wav")
        for number, name in enumerate([*names, raw]):
            (library / name).write_bytes(f"sound:{number}".encode())
        outputs = Outputs(jsonl=tmp_path / "out.jsonl", info=True)
        assert run_fake(library, tmp_path / "state", outputs).tally.done == 5
        assert sorted(described(outputs.jsonl)) == sorted([*names, r"caf\xe9.wav"])

    def test_stop_keeps_what_is_done(self, tmp_path: Path, calls: Path) -> None:
        from antiphon.listen.library import RunOptions, describe_library

        fill(tmp_path / "lib", 10)
        outputs = Outputs(jsonl=tmp_path / "out.jsonl")
        fake = FakeDescribing(seconds=0.05, calls=calls)
        summary = describe_library(
            Tracks((tmp_path / "lib",)),
            fake,
            outputs,
            tmp_path / "state",
            RunOptions(1, 60.0),
            should_stop=lambda: len(list(calls.iterdir())) >= 3,
        )
        assert summary.interrupted
        assert 3 <= summary.tally.done <= 4
        assert summary.tally.not_reached == 10 - summary.tally.done
        assert len(lines(outputs.jsonl)) == summary.tally.done
        assert run_fake(tmp_path / "lib", tmp_path / "state", outputs, fake).tally.done == 10
        assert len(list(calls.iterdir())) == 10

    def test_full_disk_ends_the_run_and_blames_no_track(self, tmp_path: Path) -> None:
        library = tmp_path / "lib"
        fill(library, 2)
        (library / "x.wav").write_bytes(b"full:1")
        outputs = Outputs(jsonl=tmp_path / "out.jsonl")
        with pytest.raises(DiskFullError, match="no space left"):
            run_fake(library, tmp_path / "state", outputs)
        assert not outputs.jsonl.exists()
        (library / "x.wav").write_bytes(b"sound:x")
        summary = run_fake(library, tmp_path / "state", outputs)
        assert (summary.tally.done, summary.tally.failed) == (3, 0)

    def test_a_describer_that_does_not_load_is_no_track_s_fault(self, tmp_path: Path) -> None:
        fill(tmp_path / "lib", 2)
        with pytest.raises(AudioDecodeError, match="the model is broken"):
            run_fake(tmp_path / "lib", tmp_path / "state", describing=FakeDescribing(broken=True))
        assert run_fake(tmp_path / "lib", tmp_path / "state").tally.done == 2


class TestOutputs:
    pytestmark = pytest.mark.unit

    def test_nothing_to_describe(self, tmp_path: Path) -> None:
        (tmp_path / "notes.txt").touch()
        with pytest.raises(AudioError, match=r"no audio here.*\.flac"):
            run_fake(tmp_path, tmp_path / "state")

    def test_a_recording_is_not_overwritten_by_results(self, tmp_path: Path) -> None:
        fill(tmp_path / "lib", 1)
        track = next(iter(Tracks((tmp_path / "lib",))))
        with pytest.raises(ConfigError, match="exists and is no JSONL file"):
            run_fake(tmp_path / "lib", tmp_path / "state", Outputs(jsonl=track))

    @pytest.mark.parametrize("content", ['{"name": "mine"}', '{\n  "path": 1\n}', "{" * 99999])
    def test_other_json_is_not_overwritten(self, tmp_path: Path, content: str) -> None:
        other = tmp_path / "package.json"
        other.write_text(content)
        with pytest.raises(ConfigError, match=r"package\.json.*choose another"):
            Outputs(jsonl=other).check()
        other.write_text("")
        Outputs(jsonl=other).check()

    def test_missing_folder_is_found_before_the_work(self, tmp_path: Path) -> None:
        with pytest.raises(StorageError, match="folder does not exist"):
            Outputs(jsonl=tmp_path / "no" / "out.jsonl").check()
        with pytest.raises(ConfigError, match="no file; name a file"):
            Outputs(jsonl=tmp_path).check()


def start_command(root: Path, seconds_per_track: float) -> subprocess.Popen[bytes]:
    """The fake library command in `root`: lib -> out.jsonl and .INFO; state."""
    arguments = ["lib", "out.jsonl", "state", str(seconds_per_track)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(FAKE_COMMAND), *arguments]
    return subprocess.Popen(command, cwd=root, env=environment)


def snapshot(root: Path) -> dict[str, bytes]:
    """All files but the state, which holds no promise but to be used again."""
    found = {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and "state" not in path.relative_to(root).parts
    }
    assert found
    return found


def kill_at_random(root: Path, chance: random.Random, seconds_per_track: float) -> None:
    """Start the command, kill it somewhere between its start and its end; its workers must go."""
    process = start_command(root, seconds_per_track)
    if chance.random() < 0.8:  # else it dies while it starts
        done_before = len(list(root.rglob("*.INFO")))
        deadline = time.monotonic() + 20
        while len(list(root.rglob("*.INFO"))) == done_before and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.005)
    time.sleep(chance.uniform(0, 0.3))
    workers = []
    if process.poll() is None:
        workers = psutil.Process(process.pid).children(recursive=True)
        process.kill()
    process.wait()
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert not alive


def assert_survives(tmp_path: Path, *, tracks: int, kills: int, per_chain: int, seed: int) -> None:
    """Kill a run again and again; what the last one completes is what an undisturbed one makes."""
    chance = random.Random(seed)
    fill(tmp_path / "calm" / "lib", tracks)
    assert start_command(tmp_path / "calm", 0.0).wait() == 0
    expected = snapshot(tmp_path / "calm")
    for _ in range(0, kills, per_chain):
        root = tmp_path / "killed"
        shutil.rmtree(root, ignore_errors=True)
        fill(root / "lib", tracks)
        for _ in range(per_chain):
            kill_at_random(root, chance, seconds_per_track=0.02)
        assert start_command(root, 0.0).wait() == 0
        assert snapshot(root) == expected  # also: no temporary file, no lock left
        assert list((root / "state" / "runs").iterdir()) == []


class TestKilled:
    pytestmark = pytest.mark.integration

    def test_kill_9_at_random_moments(self, tmp_path: Path) -> None:
        assert_survives(tmp_path, tracks=30, kills=6, per_chain=3, seed=1)

    @pytest.mark.slow
    def test_kill_9_at_50_random_moments_of_200_files(self, tmp_path: Path) -> None:
        assert_survives(tmp_path, tracks=200, kills=50, per_chain=5, seed=2)

    def test_two_runs_share_the_work(self, tmp_path: Path) -> None:
        fill(tmp_path / "calm" / "lib", 40)
        assert start_command(tmp_path / "calm", 0.0).wait() == 0
        fill(tmp_path / "both" / "lib", 40)
        runs = [start_command(tmp_path / "both", 0.02) for _ in range(2)]
        assert [run.wait() for run in runs] == [0, 0]
        assert snapshot(tmp_path / "both") == snapshot(tmp_path / "calm")

    def test_the_work_of_a_dead_run_is_taken_over(self, tmp_path: Path) -> None:
        fill(tmp_path / "lib", 2)
        dead = start_command(tmp_path, 600.0)
        state = tmp_path / "state" / "library.sqlite"
        deadline = time.monotonic() + 20
        while not (state.exists() and claimed(state) == 2):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        heir = start_command(tmp_path, 0.0)
        with pytest.raises(subprocess.TimeoutExpired):  # they are in living hands
            heir.wait(timeout=2)
        dead.kill()
        dead.wait()
        assert heir.wait(timeout=30) == 0
        assert len(lines(tmp_path / "out.jsonl")) == 2


def claimed(state: Path) -> int:
    import sqlite3

    with sqlite3.connect(state) as database:
        tables = database.execute("SELECT 1 FROM sqlite_master WHERE name = 'results'").fetchall()
        if not tables:
            return 0
        (count,) = database.execute("SELECT count(*) FROM results").fetchone()
    database.close()
    return int(count)
