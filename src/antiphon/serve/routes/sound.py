"""Pieces on their way to clients: files in any format, and sound while it is computed."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import BinaryIO

from fastapi.responses import JSONResponse, Response

from antiphon.serve.client import ENDS, Call
from antiphon.serve.encoding import MEDIA_TYPES, Encoder
from antiphon.serve.jobs import Job
from antiphon.serve.problems import refuse
from antiphon.serve.routes.common import Content, completed
from antiphon.serve.service import Service, ended
from antiphon.serve.tasks import NOTES, SOUND, SOUND_IS

FORMATS = {**MEDIA_TYPES, "mid": "audio/midi", "json": "application/json"}
_BLOCK_BYTES = 1 << 16
_LOOK_SECONDS = 0.05
_SLUG_WORDS = 6


async def content_of(
    service: Service, job: Job, result: Mapping[str, object], form: str | None
) -> Response:
    """A piece as a file; what it was not written as is made now. Raises Refused."""
    place = service.jobs.place(job.id)
    piece = place / str(result["path"])
    form = form or piece.suffix.removeprefix(".")
    name = _file_name(job, form)
    if form == "json":
        disposition = {"Content-Disposition": f'attachment; filename="{name}"'}
        return JSONResponse(dict(result), headers=disposition)
    if form == "mid":
        path = place / NOTES
        if not path.exists():
            raise refuse(404, "no_score", "the piece has no score", "format")
    else:
        path = await _in_form(service, job, piece, form)
    if not path.exists():
        raise refuse(404, "no_result", "the file of the piece is gone", "id")
    return Content(path, media_type=FORMATS[form], filename=name)


async def _in_form(service: Service, job: Job, piece: Path, form: str) -> Path:
    """The file of a piece in a format; one that is made is kept. Raises AudioError,
    StorageError."""
    if piece.suffix == f".{form}":
        return piece
    target = piece.with_name(f"as.{form}")
    if not target.exists():
        async with service.decoding:
            # Not among the threads that every request needs.
            await asyncio.to_thread(_transcode, piece, target)
        await service.on_disk(service.jobs.grown, job.id)
    return target


def _transcode(source: Path, target: Path) -> None:
    from antiphon.audio import read, write

    waveform = read(source).waveform
    form = target.suffix.removeprefix(".")
    write(target, waveform, format=form, sample_rate=48_000 if form == "opus" else None)


def _file_name(job: Job, form: str) -> str:
    words = "".join(c if c.isalnum() and c.isascii() else " " for c in str(job.request["prompt"]))
    return f"{'-'.join(words.lower().split()[:_SLUG_WORDS]) or 'piece'}.{form}"


async def growing_wav(service: Service, job: Job) -> AsyncIterator[bytes]:
    """A job's sound from its beginning, as it comes; what is there already at once."""
    place = service.jobs.place(job.id)
    sound = _GrowingSound(place, "wav")
    while True:
        now = await service.on_disk(service.jobs.brief, job.id)
        for encoded in await service.on_disk(sound.more):
            yield encoded
        if now is None or now.is_final or service.is_stopping:
            break
        await asyncio.sleep(_LOOK_SECONDS)
    if now is None or now.status != "completed":
        raise refuse(410, "cancelled", "the piece did not come to its end")  # nor does its stream
    if sound.is_open:
        yield sound.finish()
    else:  # its sound is in its file alone
        done = await service.finished(job.id)
        path = await _in_form(service, done, place / str(completed(done)["path"]), "wav")
        with path.open("rb") as file:
            while block := await service.on_disk(file.read, _BLOCK_BYTES):
                yield block


async def streamed(service: Service, call: Call, form: str) -> AsyncIterator[bytes]:
    """A call's sound in a format, as it comes. Raises Refused for a call that fails."""
    sound = _GrowingSound(call.task.folder, form)
    async for message in call.messages():
        if message["event"] in ENDS:
            ended(message)
        for encoded in await service.on_disk(sound.more):
            yield encoded
    yield await service.on_disk(sound.finish)


class _GrowingSound:
    """The sound in a task's folder, encoded from where it was read last. A process that died and is
    begun again writes the same from its beginning: what was read is not read twice."""

    def __init__(self, folder: Path, form: str) -> None:
        self._folder = folder
        self._form = form
        self._file: BinaryIO | None = None  # which may lose its name meanwhile
        self._encoder: Encoder | None = None
        self._place = 0
        self._frame = 0

    @property
    def is_open(self) -> bool:
        return self._file is not None

    def more(self) -> list[bytes]:
        """What is new, encoded."""
        if self._file is None and not self._open():
            return []
        assert self._file is not None
        assert self._encoder is not None
        blocks = self._new()
        if os.fstat(self._file.fileno()).st_nlink == 0 and (self._folder / SOUND).exists():
            self._file.close()  # another process has begun anew, and writes the same
            self._file = (self._folder / SOUND).open("rb", buffering=0)
            blocks += self._new()
        return [block for block in blocks if block]

    def _new(self) -> list[bytes]:
        assert self._file is not None
        assert self._encoder is not None
        blocks = []
        self._file.seek(self._place)
        while data := self._file.read(_BLOCK_BYTES // self._frame * self._frame):
            data = data[: len(data) // self._frame * self._frame]
            self._place += len(data)
            if not data:  # a part of a frame
                break
            blocks.append(self._encoder.encode(data))
        return blocks

    def finish(self) -> bytes:
        if self._file is not None:
            self._file.close()
        return b"" if self._encoder is None else self._encoder.finish()

    def _open(self) -> bool:
        try:
            said = json.loads((self._folder / SOUND_IS).read_bytes())
            self._file = (self._folder / SOUND).open("rb", buffering=0)
        except FileNotFoundError:
            return False
        self._frame = 2 * said["channels"]
        self._encoder = Encoder(self._form, said["sample_rate"], said["channels"])
        return True
