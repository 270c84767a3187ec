"""What the owner of a composer does: requests of like settings side by side, each to its files.

In a task's folder come `sound.pcm`, which grows while it is computed, with `sound.json`, what it
is; then `piece.<format>` with `piece.json` beside it, and `piece.mid` where there is a score.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import BinaryIO

from antiphon.audio import FloatArray, Limits, read, with_channels
from antiphon.compose.composer import Composer
from antiphon.compose.delivery import Delivered, pcm16, played
from antiphon.compose.forms import Form
from antiphon.compose.options import RECORDINGS, form_of, requests_of
from antiphon.compose.own_scores import playable
from antiphon.compose.requests import SYNTH, Block, Performance, Plan, Request
from antiphon.errors import AntiphonError, ConfigError
from antiphon.files import atomic_write
from antiphon.midi import write_midi
from antiphon.score import Score
from antiphon.serve.options import SYNTH as SYNTH_ID
from antiphon.serve.problems import problem_of, spoken
from antiphon.serve.tasks import NOTES, PIECE, SOUND, SOUND_IS, Result, Running, Task

MOST_AT_ONCE = 4
_MOST_CONTINUED_BYTES = 256 << 20  # 600 s of stereo at 48 kHz are 230 MB

logger = logging.getLogger(__name__)


class _Stopped(Exception):
    """Nobody waits for any of these pieces."""


class ComposerWork:
    """Implements `tasks.Work`: composers by the ids they are served by."""

    most_at_once = MOST_AT_ONCE

    def __init__(
        self,
        composers: Mapping[str, Composer],
        decoding: Limits,
        most_seconds: float,
        lanes: int = 1,
    ) -> None:
        """A small model is faster in two lanes on one core each than in one on two."""
        self.lanes = lanes
        self._composers = composers
        # What is gone on from is held in memory, and a piece is no longer than this.
        self._decoding = replace(
            decoding, max_seconds=most_seconds, max_decoded_bytes=_MOST_CONTINUED_BYTES
        )
        self._most_seconds = most_seconds

    def run(self, tasks: Sequence[Running]) -> None:
        """See `Work`."""
        pieces = []
        for running in tasks:
            if running.is_stopped:
                continue
            try:
                pieces.append(self._piece(running))
            except AntiphonError as error:
                _fail(running, error)
        if pieces:
            self._play(self._composers[tasks[0].task.model], pieces)

    def cancel(self) -> None:
        """Pieces look for themselves at every block."""

    def close(self) -> None:
        """Nothing to free."""

    def _piece(self, running: Running) -> _Piece:
        task = running.task
        task.folder.mkdir(mode=0o700, exist_ok=True)
        requests = requests_from(task, self._decoding)
        form = form_of(task.folder / f"{PIECE}.{task.request['format']}", _options(task))
        is_written = not task.request.get("is_streamed")
        return _Piece(running, requests, form if is_written else None)

    def _play(self, composer: Composer, pieces: Sequence[_Piece]) -> None:
        """Pieces side by side; where that fails, each alone."""
        try:
            self._play_together(composer, pieces)
        except _Stopped:
            return
        except AntiphonError as error:
            if len(pieces) == 1:
                _fail(pieces[0].running, error)
                return
            logger.info("tried one by one", exc_info=error)
            for piece in pieces:
                if not piece.running.is_stopped:
                    again = _Piece(piece.running, piece.requests, piece.form)
                    self._play(composer, [again])

    def _require_short(self, seconds: Sequence[float]) -> None:
        """Raise ConfigError for a piece that is too long; bars and scores tell only now."""
        if max(seconds) > self._most_seconds:
            raise ConfigError(
                f"the piece would last {max(seconds):,.0f} s; expected at most "
                f"{self._most_seconds:g} at a time: continue the piece for more"
            )

    def _play_together(self, composer: Composer, pieces: Sequence[_Piece]) -> None:
        started = time.perf_counter()
        requests = [request for piece in pieces for request in piece.requests]
        inner = composer.renderer.perform(requests)
        self._require_short([plan.samples / composer.sample_rate for plan in inner.plans])
        performance = _Shared(inner, composer, pieces)
        forms = [piece.form for piece in pieces if piece.form is not None]
        try:
            if not forms:
                for _ in performance.blocks():
                    pass
                self._end(pieces, iter(()), started)
                return
            with played(composer, performance, forms) as writes:
                self._end(pieces, iter(writes), started)
        finally:
            for piece in pieces:
                piece.close()

    def _end(
        self, pieces: Sequence[_Piece], writes: Iterator[Callable[[], Delivered]], started: float
    ) -> None:
        """Each piece by itself: one whose client has gone, with its folder, harms no other."""
        spent = (time.perf_counter() - started) / len(pieces)
        for piece in pieces:
            write = None if piece.form is None else next(writes)
            if piece.running.is_stopped:
                continue
            try:
                result = Result({"samples": piece.samples})
                piece.running.done(result if write is None else _result(write(), spent))
            except AntiphonError as error:
                _fail(piece.running, error)


def _fail(running: Running, error: AntiphonError) -> None:
    logger.info("task %s failed", running.task.id, exc_info=error)
    running.failed(problem_of(error, running.task.id))


@dataclass(eq=False)
class _Piece:
    """A task with its requests: the piece, or several candidates for it. One without a form is
    only streamed."""

    running: Running
    requests: Sequence[Request]
    form: Form | None
    samples: int = 0
    sound: BinaryIO | None = None
    total: int = field(default=0)

    def begin(self, plan: Plan, sample_rate: int, channels: int) -> None:
        """Before its first block."""
        self.total = plan.samples * len(self.requests)
        self.channels = channels
        task = self.running.task
        is_heard = task.is_kept or self.form is None  # a call that waits for the whole is not
        if len(self.requests) > 1 or not is_heard:  # which of several is kept shows at the end
            return
        folder = task.folder
        said = {"sample_rate": sample_rate, "channels": channels, "samples": plan.samples}
        self.sound = (folder / SOUND).open("wb", buffering=0)
        atomic_write(folder / SOUND_IS, json.dumps(said).encode())

    def add(self, block: FloatArray) -> None:
        self.samples += block.shape[1]
        if self.running.is_stopped:
            return
        if self.sound is not None:
            self.sound.write(pcm16(with_channels(block, self.channels)))
            self.running.sounded(self.samples)
        self.running.progress(self.samples / self.total)

    def close(self) -> None:
        if self.sound is not None:
            self.sound.close()
            if self.form is not None:  # what is being read of it stays readable
                (self.running.task.folder / SOUND_IS).unlink(missing_ok=True)
                (self.running.task.folder / SOUND).unlink(missing_ok=True)


class _Shared:
    """Implements `Performance`: of what is played together those pieces that are written to files;
    on the way each piece gets its sound."""

    def __init__(self, played: Performance, composer: Composer, pieces: Sequence[_Piece]) -> None:
        self._played = played
        self._owners = [piece for piece in pieces for _ in piece.requests]
        self._pieces = pieces
        renderer = composer.renderer
        for piece, plan in zip(self._owners, played.plans, strict=True):
            if piece.total == 0:
                form = piece.form
                channels = (form and form.channels) or renderer.channels
                piece.begin(plan, renderer.sample_rate, channels)
        written = [i for i, piece in enumerate(self._owners) if piece.form is not None]
        self._numbers = {item: number for number, item in enumerate(written)}
        self.plans = tuple(played.plans[item] for item in written)

    def blocks(self) -> Iterator[Block]:
        """See `Performance`."""
        for block in self._played.blocks():
            self._owners[block.item].add(block.samples)
            if all(piece.running.is_stopped for piece in self._pieces):
                raise _Stopped
            number = self._numbers.get(block.item)
            if number is not None:
                yield Block(number, block.samples)


def requests_from(task: Task, decoding: Limits) -> tuple[Request, ...]:
    """The piece that a task asks for, with the recordings in its folder.

    Raises ConfigError for what is not accepted, AudioError for recordings.
    """
    asked = task.request
    prompt, seed = asked["prompt"], asked["seed"]
    assert isinstance(prompt, str), "checked when it was accepted"
    assert isinstance(seed, int), "drawn when it was accepted"
    requests = requests_of(prompt, seed, _options(task), decoding.max_seconds)
    recordings = {}
    for name in RECORDINGS:
        if name not in _mapping(asked["asked"]):
            continue
        path = task.folder / name
        # Of the client: decoded in a process that may die of it, and called by no path of ours.
        try:
            with path.open("rb", buffering=0) as file:
                recordings[name] = read(file, limits=decoding, isolated=True)
        except FileNotFoundError as error:
            raise ConfigError(f"{name}: the recording is gone; send it again") from error
    given = asked.get("score")
    score = None
    if given is not None:
        score = playable(Score.from_json(json.dumps(given).encode()), "the score")
    damage = tuple(f"{n}: {p}" for n, found in recordings.items() for p in found.damage.problems)
    sounds = {name: recording.waveform for name, recording in recordings.items()}
    return tuple(
        replace(
            request,
            continuation=sounds.get("continue"),
            melody=sounds.get("melody"),
            score=score,
            damage=damage,
        )
        for request in requests
    )


def _options(task: Task) -> Mapping[str, object]:
    return _mapping(task.request["options"])


def _mapping(value: object) -> Mapping[str, object]:
    assert isinstance(value, Mapping), "checked when it was accepted"
    return value


def _note(note: str) -> str:
    """In the words of the API."""
    return spoken(note.replace(f"--model {SYNTH} --seed", f"model {SYNTH_ID} with seed"))


def _result(delivered: Delivered, work_seconds: float) -> Result:
    if delivered.score is not None:
        write_midi(delivered.score, delivered.path.parent / NOTES)
    adherence = list(delivered.adherence.values())
    kept = sum(isinstance(one, Mapping) and bool(one["ok"]) for one in adherence)
    value = delivered.to_dict() | {
        "path": delivered.path.name,
        "notes": [_note(note) for note in delivered.notes],
        "real_time_factor": round(work_seconds / delivered.seconds, 4),
    }
    measured = delivered.measured
    summary = {name: measured.get(name) for name in ("tempo", "key", "genre", "loudness")}
    summary |= {"seconds": delivered.seconds, "kept": kept, "wishes": len(adherence)}
    return Result(value, summary)
