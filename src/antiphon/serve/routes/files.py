"""Files that clients leave here, in OpenAI's form and in the short one; and what is described of a
file at once."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from pydantic import BaseModel, ValidationError
from starlette.background import BackgroundTask
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException

from antiphon.serve.bodies import InferBody, InputAudio, Part
from antiphon.serve.jobs import Job, new_id
from antiphon.serve.media import Sound, sound_of_file, sound_of_part
from antiphon.serve.options import LISTENER
from antiphon.serve.problems import refuse
from antiphon.serve.routes.common import (
    ERRORS,
    PREFIXES,
    Content,
    DeletedOut,
    Owner,
    ServiceOf,
    StrictRoute,
    found_job,
    parse_json,
    unless_gone,
)
from antiphon.serve.routes.jobs import Once
from antiphon.serve.service import Service, new_job
from antiphon.serve.tasks import INPUT
from antiphon.serve.uploads import Upload

router = APIRouter(route_class=StrictRoute, responses=ERRORS)
_BLOCK_BYTES = 1 << 18
_MEDIA_TYPES = {
    ".wav": "audio/wav", ".mp3": "audio/mpeg", ".flac": "audio/flac", ".ogg": "audio/ogg",
    ".oga": "audio/ogg", ".opus": "audio/ogg", ".m4a": "audio/mp4", ".mp4": "audio/mp4",
    ".aac": "audio/aac", ".webm": "audio/webm",
}  # fmt: skip


def _multipart(*texts: str) -> dict[str, Any]:
    """For the OpenAPI: a file, and fields of text."""
    properties: dict[str, Any] = {"file": {"type": "string", "format": "binary"}}
    properties |= {name: {"type": "string"} for name in texts}
    schema = {"type": "object", "required": ["file"], "properties": properties}
    return {
        "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}
    }


class FileOut(BaseModel):
    """OpenAI's file."""

    id: str
    object: Literal["file"]
    bytes: int
    created_at: int
    filename: str
    purpose: str
    status: Literal["processed"]


class FileListOut(BaseModel):
    object: Literal["list"]
    data: list[FileOut]
    has_more: bool
    first_id: str | None
    last_id: str | None


def _file_json(upload: Upload) -> dict[str, Any]:
    return {
        "id": upload.id, "object": "file", "bytes": upload.bytes,
        "created_at": int(upload.created_at), "filename": upload.filename,
        "purpose": upload.purpose, "status": "processed",
    }  # fmt: skip


async def _form(request: Request) -> tuple[FormData, UploadFile]:
    """The fields of a multipart body, and the file among them. Raises Refused."""
    try:
        form = await request.form(max_files=1, max_fields=20, max_part_size=100_000)
    except HTTPException as error:
        if error.status_code != 400:  # too large, too slow
            raise
        raise refuse(400, "bad_multipart", f"the body: {error.detail}") from error
    file = form.get("file")
    if not isinstance(file, UploadFile):
        await form.close()
        raise refuse(400, "missing_file", "expected the field file, with a file", "file")
    return form, file


def _text(form: FormData, name: str) -> str | None:
    value = form.get(name)
    return value if isinstance(value, str) and value else None


async def _blocks(file: UploadFile) -> AsyncIterator[bytes]:
    while block := await file.read(_BLOCK_BYTES):
        yield block


async def _kept(request: Request, service: Service, owner: str) -> Upload:
    service.require_open()
    form, file = await _form(request)
    try:
        purpose = (_text(form, "purpose") or "user_data")[:100]
        return await service.uploads.keep(
            _blocks(file), file.filename or "audio", owner=owner, purpose=purpose,
            most_bytes=service.caps.audio_bytes,
        )  # fmt: skip
    finally:
        await form.close()


@router.post(
    "/v1/files", response_model=FileOut, tags=["files"], openapi_extra=_multipart("purpose"),
    summary="Leave a file",
)  # fmt: skip
async def upload(request: Request, service: ServiceOf, owner: Owner) -> Any:
    return _file_json(await _kept(request, service, owner))


@router.get("/v1/files", response_model=FileListOut, tags=["files"])
async def list_files(
    service: ServiceOf,
    owner: Owner,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    after: Annotated[str | None, Query(max_length=100)] = None,
    order: Literal["asc", "desc"] = "desc",
    purpose: Annotated[str | None, Query(max_length=100)] = None,
) -> Any:
    found = await service.on_disk(
        service.uploads.page, owner, after, limit, newest_first=order == "desc"
    )
    if found is None:
        raise refuse(404, "file_not_found", "there is no file to go on after", "after")
    uploads, has_more = found
    data = [_file_json(one) for one in uploads if purpose in (None, one.purpose)]
    return {
        "object": "list", "data": data, "has_more": has_more,
        "first_id": data[0]["id"] if data else None, "last_id": data[-1]["id"] if data else None,
    }  # fmt: skip


async def _found(service: Service, file_id: str, owner: str) -> Upload:
    found: Upload | None = await service.on_disk(service.uploads.find, file_id, owner)
    if found is None:
        raise refuse(404, "file_not_found", f"there is no file {file_id[:100]!r}", "file_id")
    return found


@router.get("/v1/files/{file_id}", response_model=FileOut, tags=["files"])
async def show_file(file_id: str, service: ServiceOf, owner: Owner) -> Any:
    return _file_json(await _found(service, file_id, owner))


@router.delete("/v1/files/{file_id}", response_model=DeletedOut, tags=["files"])
async def delete_file(file_id: str, service: ServiceOf, owner: Owner) -> Any:
    found = await _found(service, file_id, owner)
    await service.on_disk(service.uploads.delete, found)
    return {"id": file_id, "object": "file", "deleted": True}


@router.get(
    "/v1/files/{file_id}/content", tags=["files"], response_class=Response,
    responses={200: {"content": {"application/octet-stream": {}, "audio/wav": {}}}, 206: {}},
)  # fmt: skip
async def file_content(
    file_id: str,
    service: ServiceOf,
    owner: Owner,
    format: Annotated[
        Literal["wav"] | None, Query(description="decoded, for players that know no other")
    ] = None,
) -> Response:
    found = await _found(service, file_id, owner)
    path, name = service.uploads.place(found), found.filename
    if format is None:
        kind = _MEDIA_TYPES.get(Path(name).suffix.lower(), "application/octet-stream")
        return Content(path, media_type=kind, filename=name)
    stack = AsyncExitStack()
    try:
        await stack.enter_async_context(service.holding(owner))
        handle, decoded = tempfile.mkstemp(suffix=".wav", dir=service.scratch)
        os.close(handle)
        stack.callback(os.unlink, decoded)
        async with service.decoding:
            await service.on_disk(_decode, path, Path(decoded), service)
    except BaseException:
        await stack.aclose()
        raise
    return Content(
        decoded, media_type="audio/wav", filename=f"{Path(name).stem}.wav",
        background=BackgroundTask(stack.aclose),
    )  # fmt: skip


def _decode(source: Path, target: Path, service: Service) -> None:
    """Block by block, in a process that may die of it."""
    from antiphon.audio import open_stream, write

    with (
        source.open("rb", buffering=0) as file,
        open_stream(file, limits=service.caps.decoding, isolated=True) as stream,
    ):
        write(target, stream.blocks(), sample_rate=stream.sample_rate, format="wav")


# Described at once.


@router.post(
    "/v1/audio/transcriptions", tags=["listening"], summary="A description as text",
    openapi_extra=_multipart("model", "language", "prompt", "response_format"),
    response_model=dict[str, Any],
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)  # fmt: skip
async def transcribe(request: Request, service: ServiceOf, owner: Owner) -> Response:
    """What a client takes for words that were spoken is what can be heard: as `json` its text, as
    `verbose_json` everything."""
    folder = service.scratch / new_id("sent")
    try:
        if request.headers.get("content-type", "").startswith("application/json"):
            sound, fields = await _sent_as_json(request, service, owner, folder)
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
            "description", model, owner, asked, {INPUT: sound.path}, sound.digest
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
    form, file = await _form(request)
    try:
        sound = await service.on_disk(_spooled, file, folder, service)
        names = ("model", "response_format")
        return sound, {name: value for name in names if (value := _text(form, name))}
    finally:
        await form.close()


def _spooled(file: UploadFile, folder: Path, service: Service) -> Sound:
    """A file that was sent, on the disk under a name of ours."""
    import hashlib

    from antiphon.serve.uploads import tidy_name, too_large

    folder.mkdir(mode=0o700)
    digest, size = hashlib.sha256(), 0
    descriptor = os.open(folder / "sent", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "wb") as copy:
        while block := file.file.read(_BLOCK_BYTES):
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
    request: Request, service: Service, owner: str, folder: Path
) -> tuple[Sound, dict[str, str]]:
    """As Open WebUI sends it to some servers."""
    try:
        body = _JsonTranscription.model_validate(parse_json(await request.body()))
    except (ValidationError, ValueError) as error:
        raise refuse(
            400, "invalid_value", "expected input_audio {data, format}", "input_audio"
        ) from error
    part = Part(type="input_audio", input_audio=body.input_audio)
    sound = await sound_of_part(service, part, owner, folder)
    assert sound is not None, "a part with sound"
    fields = {"model": body.model, "response_format": body.response_format}
    return sound, {name: value for name, value in fields.items() if value}


# The short form: leave a file, ask about it, read the answer again.


class ShortFileOut(BaseModel):
    file_id: str
    filename: str
    bytes: int


@router.post(
    "/api/v1/upload", response_model=ShortFileOut, tags=["files"], openapi_extra=_multipart(),
    summary="Leave a file (short form)",
)  # fmt: skip
async def short_upload(request: Request, service: ServiceOf, owner: Owner) -> Any:
    kept = await _kept(request, service, owner)
    return {"file_id": kept.id, "filename": kept.filename, "bytes": kept.bytes}


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
    body: InferBody, request: Request, service: ServiceOf, owner: Owner, once: Once = None
) -> Response:
    sound = await sound_of_file(service, body.file_id, owner, "file_id")
    asked = {"file_id": body.file_id, "text": body.text}
    turn = {"role": "user", "text": body.text, "has_audio": True}
    job = new_job(
        "answer", service.model(None, LISTENER), owner,
        {
            "messages": [turn], "digest": sound.digest, "filename": sound.filename,
            "asked": asked, "with_facts": True,
        },
        sound.digest,
    )  # fmt: skip
    accepted = await service.accept(
        job, {INPUT: sound.path}, once=once, body=f"{body.file_id}\n{body.text}"
    )
    done: Job = await unless_gone(request, service.finished(accepted.id))
    headers = {"Location": f"{PREFIXES['answer']}/{done.id}"}
    return JSONResponse(_infer_json(done), headers=headers)


@router.get("/api/v1/infer/{job_id}", response_model=InferOut, tags=["listening"])
async def show_infer(job_id: str, service: ServiceOf, owner: Owner) -> Any:
    return _infer_json(await found_job(service, job_id, owner, "answer"))
