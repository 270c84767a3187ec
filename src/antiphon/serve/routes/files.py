"""Files that clients leave here, in OpenAI's form and in the short one."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel
from starlette.background import BackgroundTask
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException

from antiphon.serve.media import stored_file
from antiphon.serve.problems import refuse
from antiphon.serve.routes.common import (
    ERRORS,
    Content,
    DeletedOut,
    Key,
    ServiceOf,
    StrictRoute,
)
from antiphon.serve.service import Service
from antiphon.serve.uploads import Upload

router = APIRouter(route_class=StrictRoute, responses=ERRORS)
BLOCK_BYTES = 1 << 18
_MEDIA_TYPES = {
    ".wav": "audio/wav", ".mp3": "audio/mpeg", ".flac": "audio/flac", ".ogg": "audio/ogg",
    ".oga": "audio/ogg", ".opus": "audio/ogg", ".m4a": "audio/mp4", ".mp4": "audio/mp4",
    ".aac": "audio/aac", ".webm": "audio/webm",
}  # fmt: skip


def multipart(*texts: str) -> dict[str, Any]:
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


async def form_of(request: Request) -> tuple[FormData, UploadFile]:
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


def text_in(form: FormData, name: str) -> str | None:
    value = form.get(name)
    return value if isinstance(value, str) and value else None


async def _blocks(file: UploadFile) -> AsyncIterator[bytes]:
    while block := await file.read(BLOCK_BYTES):
        yield block


async def _kept(request: Request, service: Service, key: str) -> Upload:
    service.require_open()
    form, file = await form_of(request)
    try:
        purpose = (text_in(form, "purpose") or "user_data")[:100]
        return await service.uploads.keep(
            _blocks(file), file.filename or "audio", key=key, purpose=purpose,
            most_bytes=service.caps.audio_bytes,
        )  # fmt: skip
    finally:
        await form.close()


@router.post(
    "/v1/files", response_model=FileOut, tags=["files"], openapi_extra=multipart("purpose"),
    summary="Leave a file",
)  # fmt: skip
async def upload(request: Request, service: ServiceOf, key: Key) -> Any:
    return _file_json(await _kept(request, service, key))


@router.get("/v1/files", response_model=FileListOut, tags=["files"])
async def list_files(
    service: ServiceOf,
    key: Key,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    after: Annotated[str | None, Query(max_length=100)] = None,
    order: Literal["asc", "desc"] = "desc",
    purpose: Annotated[str | None, Query(max_length=100)] = None,
) -> Any:
    found = await service.on_disk(
        service.uploads.page, key, after, limit, purpose, newest_first=order == "desc"
    )
    if found is None:
        raise refuse(404, "file_not_found", "there is no file to go on after", "after")
    uploads, has_more = found
    data = [_file_json(one) for one in uploads]
    return {
        "object": "list", "data": data, "has_more": has_more,
        "first_id": data[0]["id"] if data else None, "last_id": data[-1]["id"] if data else None,
    }  # fmt: skip


@router.get("/v1/files/{file_id}", response_model=FileOut, tags=["files"])
async def show_file(file_id: str, service: ServiceOf, key: Key) -> Any:
    return _file_json(await stored_file(service, file_id, key, "file_id"))


@router.delete("/v1/files/{file_id}", response_model=DeletedOut, tags=["files"])
async def delete_file(file_id: str, service: ServiceOf, key: Key) -> Any:
    found = await stored_file(service, file_id, key, "file_id")
    await service.on_disk(service.uploads.delete, found)
    return {"id": file_id, "object": "file", "deleted": True}


@router.get(
    "/v1/files/{file_id}/content", tags=["files"], response_class=Response,
    responses={200: {"content": {"application/octet-stream": {}, "audio/wav": {}}}, 206: {}},
)  # fmt: skip
async def file_content(
    file_id: str,
    service: ServiceOf,
    key: Key,
    format: Annotated[
        Literal["wav"] | None, Query(description="decoded, for players that know no other")
    ] = None,
) -> Response:
    found = await stored_file(service, file_id, key, "file_id")
    path, name = service.uploads.place(found), found.filename
    if format is None:
        kind = _MEDIA_TYPES.get(Path(name).suffix.lower(), "application/octet-stream")
        return Content(path, media_type=kind, filename=name)
    stack = AsyncExitStack()
    try:
        await stack.enter_async_context(service.holding(key))
        handle, decoded = tempfile.mkstemp(suffix=".wav", dir=service.scratch)
        os.close(handle)
        stack.callback(os.unlink, decoded)
        async with service.decoding:
            await asyncio.to_thread(_decode, path, Path(decoded), service)
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


class ShortFileOut(BaseModel):
    file_id: str
    filename: str
    bytes: int


@router.post(
    "/api/v1/upload", response_model=ShortFileOut, tags=["files"], openapi_extra=multipart(),
    summary="Leave a file (short form)",
)  # fmt: skip
async def short_upload(request: Request, service: ServiceOf, key: Key) -> Any:
    kept = await _kept(request, service, key)
    return {"file_id": kept.id, "filename": kept.filename, "bytes": kept.bytes}
