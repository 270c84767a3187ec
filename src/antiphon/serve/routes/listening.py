"""What is heard of a file at once: a description as text, and answers that are kept."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from typing import Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from pydantic import BaseModel, ValidationError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from antiphon.serve.bodies import InferBody, InputAudio, Part
from antiphon.serve.jobs import Job, new_id
from antiphon.serve.media import Sound, sound_of_file, sound_of_part
from antiphon.serve.options import LISTENER
from antiphon.serve.problems import refuse
from antiphon.serve.routes.common import (
    ERRORS,
    PREFIXES,
    DeletedOut,
    Key,
    ServiceOf,
    StrictRoute,
    found_job,
    parse_json,
    unless_gone,
)
from antiphon.serve.routes.files import BLOCK_BYTES, form_of, multipart, text_in
from antiphon.serve.routes.jobs import Once
from antiphon.serve.service import Service, new_job
from antiphon.serve.tasks import INPUT
from antiphon.serve.uploads import tidy_name, too_large

router = APIRouter(route_class=StrictRoute, responses=ERRORS)


@router.post(
    "/v1/audio/transcriptions", tags=["listening"], summary="A description as text",
    openapi_extra=multipart("model", "language", "prompt", "response_format"),
    response_model=dict[str, Any],
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)  # fmt: skip
async def transcribe(request: Request, service: ServiceOf, key: Key) -> Response:
    """What a client takes for words that were spoken is what can be heard: as `json` its text, as
    `verbose_json` everything."""
    folder = service.scratch / new_id("sent")
    try:
        if request.headers.get("content-type", "").startswith("application/json"):
            sound, fields = await _sent_as_json(request, service, key, folder)
        else:
            sound, fields = await _sent_as_form(request, service, folder)
        form = fields.get("response_format") or "json"
        if form not in ("json", "text", "verbose_json"):
            raise refuse(
                400, "invalid_value", f"response_format is {form[:50]!r}; expected json, text or "
                "verbose_json", "response_format",
            )  # fmt: skip
        model = service.model(fields.get("model"), LISTENER)
        asked = {"kinds": ["full"], "digest": sound.digest, "filename": sound.filename}
        async with service.call(
            "description", model, key, asked, {INPUT: sound.path}, sound.digest
        ) as call:
            value: Any = await unless_gone(request, service.value(call))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    text = value["texts"]["full"]
    if form == "text":
        return PlainTextResponse(text)
    if form == "json":
        return JSONResponse({"text": text})
    facts = value["facts"]
    spans = facts["sections"]["spans"] or []
    segments = [
        {
            "id": number, "start": span["start_seconds"], "end": span["end_seconds"],
            "text": f"part {span['label']}",
        }
        for number, span in enumerate(spans)
    ]  # fmt: skip
    return JSONResponse(
        {
            "task": "describe", "language": "english", "duration": facts["duration_seconds"],
            "text": text, "segments": segments, "description": value,
        }
    )  # fmt: skip


async def _sent_as_form(
    request: Request, service: Service, folder: Path
) -> tuple[Sound, dict[str, str]]:
    form, file = await form_of(request)
    try:
        sound = await service.on_disk(_spooled, file, folder, service)
        names = ("model", "response_format")
        return sound, {name: value for name in names if (value := text_in(form, name))}
    finally:
        await form.close()


def _spooled(file: UploadFile, folder: Path, service: Service) -> Sound:
    """A file that was sent, on the disk under a name of ours."""
    folder.mkdir(mode=0o700)
    digest, size = hashlib.sha256(), 0
    descriptor = os.open(folder / "sent", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "wb") as copy:
        while block := file.file.read(BLOCK_BYTES):
            size += len(block)
            if size > service.caps.audio_bytes:
                raise too_large(service.caps.audio_bytes)
            digest.update(block)
            copy.write(block)
    if not size:
        raise refuse(400, "empty_file", "the file is empty; expected sound", "file")
    return Sound(folder / "sent", tidy_name(file.filename or "audio"), digest.hexdigest())


class _JsonTranscription(BaseModel):
    input_audio: InputAudio
    model: str | None = None
    response_format: str | None = None


async def _sent_as_json(
    request: Request, service: Service, key: str, folder: Path
) -> tuple[Sound, dict[str, str]]:
    """As Open WebUI sends it to some servers."""
    try:
        body = _JsonTranscription.model_validate(parse_json(await request.body()))
    except (ValidationError, ValueError) as error:
        raise refuse(
            400, "invalid_value", "expected input_audio {data, format}", "input_audio"
        ) from error
    part = Part(type="input_audio", input_audio=body.input_audio)
    sound = await sound_of_part(service, part, key, folder)
    assert sound is not None, "a part with sound"
    fields = {"model": body.model, "response_format": body.response_format}
    return sound, {name: value for name, value in fields.items() if value}


class InferOut(BaseModel):
    """An answer with everything it rests on, under an id by which it is had again."""

    id: str
    object: Literal["answer"]
    status: Literal["queued", "in_progress", "completed", "failed", "cancelled"]
    created_at: int
    model: str
    file_id: str
    filename: str
    text: str
    answer: str | None
    claims: list[dict[str, Any]]
    facts: dict[str, Any] | None
    heard: dict[str, Any] | None
    notes: list[str]
    provenance: dict[str, Any] | None
    error: dict[str, Any] | None


def _infer_json(job: Job) -> dict[str, Any]:
    asked: Any = job.request["asked"]
    value: Any = job.result or {}
    problem = job.problem
    return {
        "id": job.id, "object": "answer", "status": job.status,
        "created_at": int(job.created_at), "model": job.model, "file_id": asked["file_id"],
        "filename": job.request["filename"], "text": asked["text"],
        "answer": value.get("answer"), "claims": value.get("claims", []),
        "facts": value.get("facts"), "heard": value.get("heard"),
        "notes": value.get("notes", []), "provenance": value.get("provenance"),
        "error": None if problem is None else {"code": problem.code, "message": problem.message},
    }  # fmt: skip


@router.post(
    "/api/v1/infer", response_model=InferOut, tags=["listening"],
    summary="Ask about a file; the answer is kept",
)  # fmt: skip
async def infer(
    body: InferBody, request: Request, service: ServiceOf, key: Key, once: Once = None
) -> Response:
    said = f"{body.file_id}\n{body.text}"
    known = await service.known("answer", key, once, said)
    if known is not None:
        return await _answered(known, request, service, once)
    sound = await sound_of_file(service, body.file_id, key, "file_id")
    asked = {"file_id": body.file_id, "text": body.text}
    turn = {"role": "user", "text": body.text, "has_audio": True}
    job = new_job(
        "answer", service.model(None, LISTENER), key,
        {
            "messages": [turn], "digest": sound.digest, "filename": sound.filename,
            "asked": asked, "with_facts": True,
        },
        sound.digest,
    )  # fmt: skip
    accepted = await service.accept(job, {INPUT: sound.path}, once=once, body=said)
    return await _answered(accepted, request, service, once)


async def _answered(job: Job, request: Request, service: Service, once: str | None) -> Response:
    """The answer when it is there. Who hangs up ends it, unless a key says that it is wanted."""
    try:
        done: Job = await unless_gone(request, service.finished(job.id))
    except HTTPException:
        if once is None:
            await service.cancel(job)
        raise
    headers = {"Location": f"{PREFIXES['answer']}/{done.id}"}
    return JSONResponse(_infer_json(done), headers=headers)


@router.get("/api/v1/infer/{job_id}", response_model=InferOut, tags=["listening"])
async def show_infer(job_id: str, service: ServiceOf, key: Key) -> Any:
    return _infer_json(await found_job(service, job_id, key, "answer"))


@router.delete("/api/v1/infer/{job_id}", response_model=DeletedOut, tags=["listening"])
async def delete_infer(job_id: str, service: ServiceOf, key: Key) -> Any:
    job = await found_job(service, job_id, key, "answer")
    await service.delete(job)
    return {"id": job.id, "object": "answer", "deleted": True}
