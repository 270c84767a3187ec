"""Work without a model, for tests and measurements: a task does what its prompt says.

nothing            is done at once
sleep 0.5          takes so long, and looks every 10 ms whether it is stopped
hang 5             takes so long, whatever happens
speak 3            says a word each 100 ms
sound 2            plays so many seconds of sound, in real time
fail               fails
die                ends the process, with a signal
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass

from antiphon.errors import EngineError
from antiphon.files import atomic_write
from antiphon.serve.encoding import wav_header
from antiphon.serve.options import COMPOSER, LISTENER, SYNTH
from antiphon.serve.owner import OwnerSpec
from antiphon.serve.tasks import SOUND, SOUND_IS, Result, Running

_RATE = 16_000
_STEP_SECONDS = 0.1


@dataclass(frozen=True)
class FakeWork:
    """Implements `tasks.Work`; loading it is calling it. `most_at_once` tasks are done in a row."""

    most_at_once: int = 4
    lanes: int = 1
    load_seconds: float = 0.0

    def __call__(self) -> FakeWork:
        time.sleep(self.load_seconds)
        return self

    def run(self, tasks: Sequence[Running]) -> None:
        """See `Work`."""
        for running in tasks:
            if not running.is_stopped:
                self._do(running)

    def cancel(self) -> None:
        """Tasks look for themselves."""

    def close(self) -> None:
        """Nothing to free."""

    def _do(self, running: Running) -> None:
        word, _, number = _told(running).partition(" ")
        seconds = float(number) if number.replace(".", "", 1).isdigit() else 0.0
        if word == "fail":
            raise EngineError("as it was told to")
        if word == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if word == "hang":
            time.sleep(seconds)
        if word in ("sleep", "speak", "sound"):
            self._last(running, word, seconds)
        if not running.is_stopped:
            running.done(self._result(running, seconds))

    def _last(self, running: Running, word: str, seconds: float) -> None:
        began, step, said = time.monotonic(), 0.01 if word == "sleep" else _STEP_SECONDS, 0
        if word == "sound":
            said_of_it = {"sample_rate": _RATE, "channels": 1, "samples": int(seconds * _RATE)}
            running.task.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            (running.task.folder / SOUND).write_bytes(b"")
            atomic_write(running.task.folder / SOUND_IS, json.dumps(said_of_it).encode())
        while time.monotonic() - began < seconds and not running.is_stopped:
            time.sleep(step)
            said += 1
            running.progress((time.monotonic() - began) / seconds)
            if word == "speak":
                running.say(f"word{said} ")
            if word == "sound":
                with (running.task.folder / SOUND).open("ab") as file:
                    file.write(bytes(2 * int(_STEP_SECONDS * _RATE)))
                running.sounded(int(said * _STEP_SECONDS * _RATE))

    def _result(self, running: Running, seconds: float) -> Result:
        """As a composer's, with a file of silence; a kept one is written as real ones are."""
        task = running.task
        value: dict[str, object] = {
            "answer": f"task {task.id}", "claims": [], "notes": [], "provenance": {"prompt": ""},
            "heard_tokens": 0, "seconds": seconds, "seed": task.request.get("seed"),
            "requested": {}, "measured": {}, "adherence": {}, "score": None,
            "texts": {"full": "silence"},
            "facts": {"duration_seconds": seconds, "sections": {"spans": []}},
        }  # fmt: skip
        if task.kind == "music" and not task.request.get("is_streamed"):
            task.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            atomic_write(task.folder / "piece.wav", wav_header(_RATE, 1) + bytes(320))
            value["path"] = "piece.wav"
        return Result(value, {"seconds": seconds})


def _told(running: Running) -> str:
    """What a task is to do: its prompt, or the last that was said to it."""
    request = running.task.request
    turns = request.get("messages")
    if isinstance(turns, list):
        return str(turns[-1]["text"])
    return str(request.get("prompt", ""))


def fake_owner(work: FakeWork | None = None) -> OwnerSpec:
    """In a composer's place."""
    return OwnerSpec("composer", (COMPOSER, SYNTH), work or FakeWork())


def fake_listener(work: FakeWork | None = None) -> OwnerSpec:
    """In a listener's place."""
    return OwnerSpec("listener", (LISTENER,), work or FakeWork())
