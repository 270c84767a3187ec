"""What the routes share: bodies read strictly, who asks, how jobs and errors look."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterable, Awaitable, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from typing import Annotated, Any, Literal, TypeVar, cast

from fastapi import Depends, Request, Response
from fastapi.responses import FileResponse, StreamingResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope, Send

from antiphon.serve.jobs import Job
from antiphon.serve.problems import Refused, refuse
from antiphon.serve.service import Service, first_of

T = TypeVar("T")
MAX_DEPTH = 100
# Commas and opening brackets, of which there is one less than there are values: three bytes such as
# `[],` become a hundred in memory. A score of ten minutes has some 100,000.
MAX_MARKS = 500_000
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")


class ErrorOut(BaseModel):
    """OpenAI's error."""

    message: str
    type: str
    param: str | None
    code: str


class ErrorBody(BaseModel):
    """What every request that fails is answered with."""

    error: ErrorOut


ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorBody, "description": said}
    for status, said in {
        400: "not understood",
        401: "no key, or a wrong one",
        403: "not from there",
        404: "there is no such thing",
        408: "the body came too slowly",
        410: "cancelled meanwhile",
        413: "too large",
        415: "of another content type",
        416: "no such range",
        422: "understood, and cannot be done: sound that is unreadable or too long, a used key",
        429: "too much at once; try again after Retry-After",
        431: "too many headers",
        500: "a failure here",
        503: "loading, stopping, or full; try again after Retry-After",
        504: "not done in time",
    }.items()
}


class StrictRequest(Request):
    """JSON that is what it seems: no NaN, no name twice, no endless nesting, no half letters."""

    async def json(self) -> Any:
        if not hasattr(self, "_json"):
            body = await self.body()
            try:
                self._json = parse_json(body)
            except (ValueError, RecursionError) as error:
                raise refuse(400, "invalid_json", f"the body is no JSON: {error}") from error
        return self._json


def parse_json(body: bytes) -> object:
    """Raises ValueError for what is no strict JSON."""
    if sum(map(body.count, (b",", b"[", b"{"))) > MAX_MARKS:
        raise ValueError(f"more than {MAX_MARKS:,} commas and brackets")
    text = body.decode("utf-8")
    if _depth(body) > MAX_DEPTH:
        raise ValueError(f"more than {MAX_DEPTH} levels of nesting")
    value = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_once)
    if "\\ud" in text.lower():
        json.dumps(value, ensure_ascii=False).encode("utf-8")  # a half of a pair is no text
    return value


def _depth(body: bytes) -> int:
    """At least how deep it nests; brackets in texts may count."""
    deepest = depth = 0
    for bracket in body.translate(None, _NO_BRACKETS):
        if bracket in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        else:
            depth -= 1
    return deepest


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is no number of JSON")


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice in one object")
    return found


class StrictRoute(APIRoute):
    """A route whose requests are `StrictRequest`s."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def strictly(request: Request) -> Response:
            try:
                return await handle(StrictRequest(request.scope, request.receive))
            except HTTPException as error:
                # FastAPI hides what reading a body raises behind one of its own.
                if isinstance(error.__cause__, Refused):
                    raise error.__cause__ from None
                raise

        return strictly


class Content(FileResponse):
    """A file, or a range of it. A range that there is not is refused as all is refused, and what is
    to be done afterwards is done then, too."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def checked(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] >= 400:
                raise refuse(
                    message["status"], "bad_range", "there is no such range; expected bytes=0-, or "
                    "another that begins within the file", "Range",
                )  # fmt: skip
            await send(message)

        after, self.background = self.background, None
        try:
            await super().__call__(scope, receive, checked)
        finally:
            if after is not None:
                await after()


class Lasting(StreamingResponse):
    """What comes bit by bit; what it stands on is let go however it ends, begun or not."""

    def __init__(
        self, blocks: AsyncIterable[str | bytes], stack: AsyncExitStack, kind: str
    ) -> None:
        super().__init__(blocks, media_type=kind)
        self.stack = stack

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self.stack:
            await super().__call__(scope, receive, send)


async def lasting(
    service: Service, key: str, blocks: AsyncIterable[str | bytes], kind: str
) -> Lasting:
    """One of the lasting answers that a key may have. Raises Refused (429)."""
    stack = AsyncExitStack()
    await stack.enter_async_context(service.holding(key))
    return Lasting(blocks, stack, kind)


def service_of(request: Request) -> Service:
    return cast(Service, request.app.state.service)


def key_of(request: Request) -> str:
    """The id of the key that came with the request."""
    return cast(str, request.state.key)


ServiceOf = Annotated[Service, Depends(service_of)]
Key = Annotated[str, Depends(key_of)]


async def unless_gone(request: Request, work: Awaitable[T]) -> T:
    """What `work` comes to; it is cancelled when the client hangs up."""
    found = await first_of(_gone(request), work)
    if found is None:
        raise HTTPException(499, "the client is gone")  # nobody reads it
    return found


async def _gone(request: Request) -> None:
    while not await request.is_disconnected():
        await asyncio.sleep(0.1)


# Jobs.

PREFIXES = {
    "music": "/v1/music/generations",
    "description": "/v1/descriptions",
    "measurement": "/v1/measurements",
    "answer": "/api/v1/infer",
}


class JobErrorOut(BaseModel):
    code: str
    message: str


class JobOut(BaseModel):
    """A job. `progress` is 0 to 100; `result` is there when it is completed, and in lists it is
    left out."""

    id: str
    object: Literal["music", "description", "measurement", "answer"]
    model: str
    status: Literal["queued", "in_progress", "completed", "failed", "cancelled"]
    progress: int = Field(ge=0, le=100)
    created_at: int
    started_at: float | None
    completed_at: float | None
    expires_at: int | None
    error: JobErrorOut | None
    request: dict[str, Any]
    summary: dict[str, Any]
    result: dict[str, Any] | None = None
    prompt: str | None = None
    seconds: float | None = None
    seed: int | None = None
    file_id: str | None = None
    filename: str | None = None


class JobListOut(BaseModel):
    object: Literal["list"]
    data: list[JobOut]
    has_more: bool
    first_id: str | None
    last_id: str | None


class DeletedOut(BaseModel):
    id: str
    object: str
    deleted: Literal[True]


def job_json(job: Job, service: Service) -> dict[str, Any]:
    """A job as clients see it."""
    ended = job.completed_at
    asked = cast(Mapping[str, Any], job.request.get("asked") or {})
    shown: dict[str, Any] = {
        "id": job.id,
        "object": job.kind,
        "model": job.model,
        "status": job.status,
        "progress": 100 if job.status == "completed" else min(99, int(job.progress * 100)),
        "created_at": int(job.created_at),
        "started_at": job.started_at,
        "completed_at": ended,
        "expires_at": None
        if ended is None
        else int(ended + service.options.retention.days * 86_400),
        "error": None
        if job.problem is None
        else {"code": job.problem.code, "message": job.problem.message},
        "request": asked,
        "summary": job.summary or {},
        "result": job.result,
    }
    if job.kind == "music":
        shown |= {
            "prompt": job.request["prompt"],
            "seconds": (job.summary or {}).get("seconds", asked.get("seconds")),
            "seed": job.request["seed"],
        }
    else:
        shown |= {"file_id": asked.get("file_id"), "filename": job.request.get("filename")}
    return shown


async def found_job(service: Service, job_id: str, key: str, kind: Any) -> Job:
    """Raises Refused (404) for a job that is not there, or another's."""
    job: Job | None = await service.on_disk(service.jobs.find, job_id, key=key, kind=kind)
    if job is None:
        raise refuse(404, "job_not_found", f"there is no job {job_id[:100]!r} of this kind", "id")
    return job


def completed(job: Job) -> Mapping[str, object]:
    """The result of a job. Raises Refused where there is none (yet)."""
    if job.result is None:
        said = "failed" if job.status == "failed" else f"is {job.status}"
        raise refuse(404, "no_result", f"the job {said} and has no result", "id")
    return job.result


def said_of_refused(error: Refused) -> str:
    return json.dumps({"error": error.problem.to_dict()})
