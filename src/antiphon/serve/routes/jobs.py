"""Jobs: accepted for good, looked at, followed, cancelled, deleted; the same for every kind."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import BaseModel

from antiphon.serve.bodies import DescriptionBody, MeasurementBody, MusicBody, UnderstandingBody
from antiphon.serve.jobs import Job
from antiphon.serve.media import sound_of_file
from antiphon.serve.music import music_request
from antiphon.serve.options import COMPOSER, LISTENER
from antiphon.serve.problems import refuse
from antiphon.serve.routes.common import (
    ERRORS,
    PREFIXES,
    DeletedOut,
    JobListOut,
    JobOut,
    Key,
    ServiceOf,
    StrictRoute,
    completed,
    found_job,
    job_json,
    lasting,
)
from antiphon.serve.routes.sound import FORMATS, content_of, growing_wav
from antiphon.serve.service import Service, new_job
from antiphon.serve.tasks import INPUT, Kind

router = APIRouter(route_class=StrictRoute, responses=ERRORS)
Once = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key", max_length=255,
        description="the same key with the same body is the same job",
    ),
]  # fmt: skip
_KEEP_ALIVE_SECONDS = 15.0


async def music_inputs(service: Service, body: MusicBody, key: str) -> dict[str, Path]:
    """The recordings that a piece goes on from: stored files, or pieces composed before."""
    inputs = {}
    for name, given in (("continue", body.continue_), ("melody", body.melody)):
        if given is None:
            continue
        if given.startswith("music_"):
            job = await found_job(service, given, key, "music")
            if job.result is None:
                raise refuse(400, "not_completed", f"{name}: that piece is not there yet", name)
            inputs[name] = service.jobs.place(job.id) / str(job.result["path"])
        else:
            inputs[name] = (await sound_of_file(service, given, key, name)).path
    return inputs


async def accept_music(service: Service, body: MusicBody, key: str, once: str | None) -> Job:
    """Raises Refused, ConfigError."""
    model = service.model(body.model, COMPOSER)
    said = hash_of(body)
    known = await service.known("music", key, once, said)
    if known is not None:
        return known
    asked = music_request(body, service.caps)
    inputs = await music_inputs(service, body, key)
    job = new_job("music", model, key, asked.request, asked.batch)
    return await service.accept(job, inputs, once=once, body=said)


async def accept_listening(
    service: Service,
    kind: Kind,
    body: DescriptionBody | MeasurementBody,
    key: str,
    once: str | None,
) -> Job:
    """Raises Refused."""
    model = service.model(body.model, LISTENER)
    said = hash_of(body)
    known = await service.known(kind, key, once, said)
    if known is not None:
        return known
    sound = await sound_of_file(service, body.file_id, key, "file_id")
    given = body.model_dump(exclude_none=True)
    names = ("max_new_tokens", "temperature", "seed")
    request = {name: value for name, value in given.items() if name not in (*names, "model")}
    request |= {
        "sampling": {name: given[name] for name in names if name in given},
        "asked": given, "filename": sound.filename, "digest": sound.digest,
    }  # fmt: skip
    job = new_job(kind, model, key, request, sound.digest)
    return await service.accept(job, {INPUT: sound.path}, once=once, body=said)


def hash_of(body: BaseModel) -> str:
    """What tells the body of a request from others."""
    text = json.dumps(body.model_dump(by_alias=True), sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()


def _accepted(job: Job, service: Service) -> JSONResponse:
    place = f"{PREFIXES[job.kind]}/{job.id}"
    return JSONResponse(job_json(job, service), status_code=202, headers={"Location": place})


@router.post(
    "/v1/music/generations", status_code=202, response_model=JobOut, tags=["music"],
    summary="Compose a piece",
)  # fmt: skip
async def compose(body: MusicBody, service: ServiceOf, key: Key, once: Once = None) -> Response:
    return _accepted(await accept_music(service, body, key, once), service)


@router.post(
    "/v1/descriptions", status_code=202, response_model=JobOut, tags=["listening"],
    summary="Describe a recording",
)  # fmt: skip
async def describe(
    body: DescriptionBody, service: ServiceOf, key: Key, once: Once = None
) -> Response:
    job = await accept_listening(service, "description", body, key, once)
    return _accepted(job, service)


@router.post(
    "/v1/measurements", status_code=202, response_model=JobOut, tags=["listening"],
    summary="Measure a recording",
)  # fmt: skip
async def measure(
    body: MeasurementBody, service: ServiceOf, key: Key, once: Once = None
) -> Response:
    job = await accept_listening(service, "measurement", body, key, once)
    return _accepted(job, service)


class UnderstandingOut(BaseModel):
    """What a prompt was understood to say: options by the fields of a music job, and which letters
    of the prompt say so."""

    prompt: str
    options: dict[str, Any]
    readings: list[dict[str, Any]]
    unknown: list[str]
    notes: list[str]


@router.post(
    "/v1/music/understandings", response_model=UnderstandingOut, tags=["music"],
    summary="What a prompt says",
)  # fmt: skip
async def understand_prompt(body: UnderstandingBody) -> dict[str, Any]:
    from antiphon.compose.understanding import understand

    found = understand(body.prompt)
    return {
        "prompt": body.prompt,
        "options": {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in found.options.items()
        },
        "readings": [vars(reading) for reading in found.readings],
        "unknown": list(found.unknown),
        "notes": list(found.notes),
    }


def _routes_of(kind: Kind, tag: str) -> None:
    """What all kinds of jobs have in common."""
    prefix = PREFIXES[kind]

    @router.get(prefix, response_model=JobListOut, tags=[tag], name=f"list_{kind}")
    async def listed(
        service: ServiceOf,
        key: Key,
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
        after: Annotated[str | None, Query(max_length=100)] = None,
        order: Literal["asc", "desc"] = "desc",
    ) -> Any:
        page = await service.on_disk(
            service.jobs.page, key=key, kind=kind, after=after, limit=limit,
            newest_first=order == "desc",
        )  # fmt: skip
        if page is None:
            raise refuse(404, "job_not_found", "there is no job to go on after", "after")
        data = [job_json(job, service) for job in page.jobs]
        return {
            "object": "list", "data": data, "has_more": page.has_more,
            "first_id": data[0]["id"] if data else None,
            "last_id": data[-1]["id"] if data else None,
        }  # fmt: skip

    @router.get(prefix + "/{job_id}", response_model=JobOut, tags=[tag], name=f"show_{kind}")
    async def shown(job_id: str, service: ServiceOf, key: Key) -> Any:
        return job_json(await found_job(service, job_id, key, kind), service)

    @router.get(
        prefix + "/{job_id}/events", tags=[tag], name=f"follow_{kind}",
        response_class=StreamingResponse,
        responses={200: {"content": {"text/event-stream": {}}}},
    )  # fmt: skip
    async def followed(job_id: str, service: ServiceOf, key: Key) -> Response:
        await found_job(service, job_id, key, kind)
        events = with_pulse(_events(service, job_id))
        return await lasting(service, key, events, "text/event-stream")

    @router.post(
        prefix + "/{job_id}/cancel", response_model=JobOut, tags=[tag], name=f"cancel_{kind}"
    )
    async def cancelled(job_id: str, service: ServiceOf, key: Key) -> Any:
        job = await found_job(service, job_id, key, kind)
        return job_json(await service.cancel(job), service)

    @router.delete(
        prefix + "/{job_id}", response_model=DeletedOut, tags=[tag], name=f"delete_{kind}"
    )
    async def deleted(job_id: str, service: ServiceOf, key: Key) -> Any:
        job = await found_job(service, job_id, key, kind)
        await service.delete(job)
        return {"id": job.id, "object": kind, "deleted": True}

    if kind == "music":
        return

    @router.get(
        prefix + "/{job_id}/content", tags=[tag], name=f"content_of_{kind}",
        response_model=dict[str, Any],
    )  # fmt: skip
    async def content(job_id: str, service: ServiceOf, key: Key) -> Response:
        result = completed(await found_job(service, job_id, key, kind))
        name = f'attachment; filename="{kind}.json"'
        return JSONResponse(dict(result), headers={"Content-Disposition": name})


async def _events(service: Service, job_id: str) -> AsyncIterator[str]:
    async for job in service.follow(job_id):
        yield f"event: job\ndata: {json.dumps(job_json(job, service), ensure_ascii=False)}\n\n"


async def with_pulse(events: AsyncIterator[str]) -> AsyncIterator[str]:
    """Server-sent events, with a comment now and then where nothing happens, so that nobody between
    takes the connection for dead."""
    source = aiter(events)
    following = asyncio.ensure_future(anext(source, None))
    try:
        while True:
            done, _ = await asyncio.wait({following}, timeout=_KEEP_ALIVE_SECONDS)
            if not done:
                yield ": keep-alive\n\n"
                continue
            event = following.result()
            if event is None:
                return
            yield event
            following = asyncio.ensure_future(anext(source, None))
    finally:
        following.cancel()


for _kind, _tag in (("music", "music"), ("description", "listening"), ("measurement", "listening")):
    _routes_of(_kind, _tag)  # type: ignore[arg-type]


@router.get(
    "/v1/music/generations/{job_id}/content", tags=["music"], name="content_of_music",
    responses={200: {"content": {kind: {} for kind in FORMATS.values()}}, 206: {}},
    response_class=Response,
)  # fmt: skip
async def music_content(
    job_id: str,
    request: Request,
    service: ServiceOf,
    key: Key,
    format: Annotated[
        Literal["wav", "flac", "mp3", "ogg", "opus", "mid", "json"] | None, Query()
    ] = None,
) -> Response:
    """The piece, in any format; `mid` is its score."""
    job = await found_job(service, job_id, key, "music")
    return await content_of(service, job, completed(job), format)


@router.get(
    "/v1/music/generations/{job_id}/stream", tags=["music"], name="stream_music",
    responses={200: {"content": {"audio/wav": {}}}}, response_class=StreamingResponse,
)  # fmt: skip
async def music_stream(job_id: str, service: ServiceOf, key: Key) -> Response:
    """The piece as WAV while it is computed: 16 bits, of unknown length in its header."""
    job = await found_job(service, job_id, key, "music")
    if job.request.get("asked", {}).get("candidates", 1) != 1:  # type: ignore[attr-defined]
        raise refuse(400, "not_streamed", "of several candidates none is heard before the end")
    return await lasting(service, key, growing_wav(service, job), "audio/wav")
