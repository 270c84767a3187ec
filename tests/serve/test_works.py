"""What the owners do, without their processes: batches of music, and one hearing for many."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

from antiphon.audio import Limits, read
from antiphon.hearing import load_composer
from antiphon.listen.engines.fake import FakeEngine
from antiphon.listen.listener import Listener
from antiphon.serve.bodies import MusicBody
from antiphon.serve.composing import ComposerWork
from antiphon.serve.listening import ListenerWork
from antiphon.serve.music import music_request
from antiphon.serve.options import COMPOSER, LISTENER, SYNTH, Caps
from antiphon.serve.problems import Problem
from antiphon.serve.tasks import INPUT, Kind, Result, Task
from serve.storm import free_port

pytestmark = pytest.mark.integration


@dataclass
class Done:
    """Implements `tasks.Running`, and keeps what it is told."""

    task: Task
    is_stopped: bool = False
    stop_after: int | None = None
    value: Mapping[str, Any] | None = None
    problem: Problem | None = None
    said: list[str] = field(default_factory=list)
    samples: list[int] = field(default_factory=list)

    def say(self, text: str) -> None:
        self.said.append(text)

    def sounded(self, samples: int) -> None:
        self.samples.append(samples)
        self.is_stopped = self.stop_after is not None and samples >= self.stop_after

    def progress(self, share: float) -> None:
        assert 0 <= share <= 1

    def done(self, result: Result) -> None:
        self.value = result.value

    def failed(self, problem: Problem) -> None:
        self.problem = problem


def task(
    folder: Path, kind: Kind, model: str, request: Mapping[str, object], batch: str | None = None
) -> Task:
    number = len(list(folder.iterdir()))
    place = folder / f"{kind}-{number}"
    place.mkdir()
    return Task(place.name, kind, model, "", request, place, True, time.time(), 60.0, batch)


def music(folder: Path, model: str = COMPOSER, **asked: Any) -> Done:
    streamed = asked.pop("is_streamed", False)
    found = music_request(MusicBody(**asked), Caps(), is_streamed=streamed)
    return Done(task(folder, "music", model, found.request, found.batch))


@pytest.fixture(scope="module")
def composing() -> ComposerWork:
    composers = {COMPOSER: load_composer(), SYNTH: load_composer("synth")}
    return ComposerWork(composers, Limits(), 60.0)


def test_pieces_side_by_side_are_those_composed_alone(
    composing: ComposerWork, tmp_path: Path
) -> None:
    def ask(seed: int) -> Done:
        return music(tmp_path, prompt="funk with organ", seconds=4, seed=seed)

    together, alone = [ask(seed) for seed in (1, 2, 3)], ask(2)
    assert len({one.task.batch for one in together}) == 1
    composing.run(together)
    composing.run([alone])
    files = [(one.task.folder / "piece.wav").read_bytes() for one in together]
    assert files[1] == (alone.task.folder / "piece.wav").read_bytes()
    assert len(set(files)) == 3
    for one in together:
        assert one.value is not None
        assert one.value["path"] == "piece.wav"
        assert (one.task.folder / "piece.mid").exists()
        assert one.samples[-1] == 4 * 16_000
        assert not (one.task.folder / "sound.pcm").exists()


def test_a_piece_whose_client_goes_harms_no_other(composing: ComposerWork, tmp_path: Path) -> None:
    """Its folder goes with it, in the middle of what is played together."""
    stays, goes = (music(tmp_path, prompt="funk", seconds=4, seed=seed) for seed in (1, 2))
    goes.stop_after = 1
    told = goes.sounded

    def sounded(samples: int) -> None:
        told(samples)
        shutil.rmtree(goes.task.folder, ignore_errors=True)

    goes.sounded = sounded  # type: ignore[method-assign]
    composing.run([stays, goes])
    assert stays.value is not None
    assert (goes.value, goes.problem) == (None, None)
    assert read(stays.task.folder / "piece.wav").waveform.duration_seconds == 4.0


def test_like_pieces_share_a_batch_and_others_do_not() -> None:
    def batch(**asked: Any) -> str | None:
        return music_request(MusicBody(prompt="x", **asked), Caps()).batch

    assert batch() == batch(tempo=120, seed=3) is not None
    assert batch(temperature=0.5) != batch()
    assert batch(seconds=60) != batch()
    assert batch(candidates=2) != batch()
    assert batch(loop_bars=4) is None
    assert batch(section="choir@4") is None


def test_one_that_is_refused_does_not_take_the_others_with_it(
    composing: ComposerWork, tmp_path: Path
) -> None:
    good = music(tmp_path, SYNTH, prompt="waltz", seconds=2)
    bad = music(tmp_path, SYNTH, prompt="waltz", seconds=2, temperature=0.5)
    composing.run([good, bad])
    assert good.value is not None
    assert bad.problem is not None
    assert (bad.problem.status, "needs a neural model" in bad.problem.message) == (400, True)


def test_a_piece_that_turns_out_too_long_is_refused(
    composing: ComposerWork, tmp_path: Path
) -> None:
    long = music(tmp_path, SYNTH, prompt="waltz", bars=200, tempo=60)
    composing.run([long])
    assert long.problem is not None
    assert "expected at most 60" in long.problem.message


def test_what_is_stopped_stops_at_the_next_sound(composing: ComposerWork, tmp_path: Path) -> None:
    stopped = music(tmp_path, prompt="funk", seconds=60, is_streamed=True)
    stopped.stop_after = 1
    began = time.monotonic()
    composing.run([stopped])
    assert time.monotonic() - began < 1.5
    assert (stopped.value, stopped.problem) == (None, None)


def test_notes_are_in_the_words_of_the_api(composing: ComposerWork, tmp_path: Path) -> None:
    seed = next(s for s in range(20) if _note_of(composing, tmp_path, s))
    (note,) = _note_of(composing, tmp_path, seed)
    assert f"model {SYNTH} with seed {seed}" in note


def _note_of(composing: ComposerWork, folder: Path, seed: int) -> list[str]:
    asked = music(folder, prompt="ambient", seconds=4, seed=seed, key="F# minor", tempo=61)
    composing.run([asked])
    assert asked.value is not None
    assert "--" not in str(asked.value["notes"])
    return [note for note in asked.value["notes"] if "plays the same score" in note]


def heard(folder: Path, song: Path, kind: Kind = "answer", **asked: Any) -> Done:
    digest = hashlib.sha256(song.read_bytes()).hexdigest()
    request = {"digest": digest, "filename": song.name, **asked}
    if kind == "answer":
        turn = {"role": "user", "text": asked.get("text", "What is it?"), "has_audio": True}
        request["messages"] = [turn]
    one = Done(task(folder, kind, LISTENER, request, digest))
    shutil.copy(song, one.task.folder / INPUT)
    return one


def test_five_questions_about_a_file_hear_it_once(
    tmp_path: Path, song: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also across calls: what is encoded and measured is kept."""
    from antiphon import analysis

    engine = FakeEngine("In A minor.")
    work = ListenerWork(Listener(engine), Limits())
    measured: list[object] = []
    measure = analysis.measure
    monkeypatch.setattr(
        analysis, "measure", lambda *a, **more: measured.append(a) or measure(*a, **more)
    )
    asked = [heard(tmp_path, song, text=f"question {i}") for i in range(5)]
    work.run(asked[:2])
    for one in asked[2:]:
        work.run([one])
    assert len(measured) == 1
    clips = {clip.digest for call in engine.calls for clip in call.clips if clip is not None}
    assert (len(engine.calls), len(clips)) == (5, 1)
    for one in asked:
        assert one.value is not None
        assert one.value["answer"] == "In A minor."
        assert one.value["path"] == "a song.wav"
        assert "".join(one.said) == "In A minor."


def test_every_claim_of_a_description_is_marked(tmp_path: Path, song: Path) -> None:
    text = "At 120 BPM, in C major. From 0:08 the chorus."
    work = ListenerWork(Listener(FakeEngine(text)), Limits())
    one = heard(tmp_path, song, "description", kinds=["full"])
    work.run([one])
    assert one.value is not None
    marks = {mark["quantity"]: mark for mark in one.value["marks"]["full"]}
    assert marks["tempo"]["verdict"] == "confirmed"
    assert (marks["key"]["verdict"], marks["key"]["measured"]) == ("contradicted", "A minor")
    assert marks["time"]["seconds"] == 8.0
    for mark in marks.values():
        assert text[mark["start"] : mark["end"]] == mark["said"]


def test_sound_that_cannot_be_read_is_a_problem_without_a_path(tmp_path: Path) -> None:
    (tmp_path / "inputs").mkdir()
    noise = tmp_path / "inputs" / "noise.wav"
    noise.write_bytes(b"no sound at all" * 100)
    folder = tmp_path / "tasks"
    folder.mkdir()
    one = heard(folder, noise, "measurement")
    ListenerWork(Listener(), Limits()).run([one])
    assert one.problem is not None
    assert (one.problem.status, one.problem.code) == (422, "audio_unreadable")
    assert str(tmp_path) not in one.problem.message


def test_uvicorn_serves_the_application_for_development(tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "antiphon.serve.app:app", "--port", str(port)]
    environment = {"PATH": "/usr/bin:/bin", "ANTIPHON_STATE": str(tmp_path), "HOME": str(tmp_path)}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    try:
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            _wait_ready(client)
            sound = client.post("/generate", json={"prompt": "waltz", "duration": 2}).content
            assert read(sound).waveform.duration_seconds == 2.0
    finally:
        process.terminate()
        process.wait(20)


def _wait_ready(client: httpx2.Client) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        try:
            if client.get("/ready").status_code == 200:
                return
        except httpx2.HTTPError:
            pass
        time.sleep(0.1)
    raise AssertionError("not ready after 30 s")
