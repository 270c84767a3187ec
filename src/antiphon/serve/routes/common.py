"""What the routes share: bodies read strictly, who asks, how jobs and errors look."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Annotated, Any, Literal, TypeVar, cast

from fastapi import Depends, HTTPException, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field

from antiphon.serve.jobs import Job
from antiphon.serve.problems import Refused, refuse
from antiphon.serve.service import Service, first_of

T = TypeVar("T")
MAX_DEPTH = 100


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
    text = body.decode("utf-8")
    if _depth(text) > MAX_DEPTH:
        raise ValueError(f"more than {MAX_DEPTH} levels of nesting")
    value = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_once)
    if "\\ud" in text.lower():
        json.dumps(value, ensure_ascii=False).encode("utf-8")  # a half of a pair is no text
    return value


def _depth(text: str) -> int:
    """At least how deep it nests; brackets in texts may count."""
    deepest = depth = 0
    for letter in text if text.count("[") + text.count("{") > MAX_DEPTH else "":
        if letter in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif letter in "]}":
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
            return await handle(StrictRequest(request.scope, request.receive))

        return strictly


def service_of(request: Request) -> Service:
    return cast(Service, request.app.state.service)


def owner_of(request: Request) -> str:
    """The id of the key that came with the request."""
    return cast(str, request.state.owner)


ServiceOf = Annotated[Service, Depends(service_of)]
Owner = Annotated[str, Depends(owner_of)]


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


async def found_job(service: Service, job_id: str, owner: str, kind: Any) -> Job:
    """Raises Refused (404) for a job that is not there, or another's."""
    job: Job | None = await service.on_disk(service.jobs.find, job_id, owner=owner, kind=kind)
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
