"""What is served, whether it is well, and the page."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Literal, get_args

from fastapi import APIRouter
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from pydantic import BaseModel

from antiphon import __version__
from antiphon.controls import ENERGIES, GENRES, INSTRUMENTS, METRES, MOODS
from antiphon.serve.bodies import AudioFormat
from antiphon.serve.guards import needs_key
from antiphon.serve.options import LISTENER
from antiphon.serve.problems import refuse
from antiphon.serve.routes.common import ERRORS, ServiceOf, StrictRoute
from antiphon.serve.service import OWNERS, Service

router = APIRouter(route_class=StrictRoute, responses=ERRORS)
PAGE = Path(__file__).parents[1] / "page"
_FORMATS = list(get_args(AudioFormat))
_STARTED = int(time.time())


class ModelOut(BaseModel):
    """OpenAI's model, and what it takes and gives."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    modalities: dict[str, list[str]]
    max_audio_seconds: float | None = None
    max_piece_seconds: float | None = None


class ModelListOut(BaseModel):
    object: Literal["list"]
    data: list[ModelOut]


def _model(service: Service, model: str) -> dict[str, Any]:
    listens = model == LISTENER
    caps = service.caps
    return {
        "id": model, "object": "model", "created": _STARTED, "owned_by": "antiphon",
        "modalities": {
            "input": ["text", "audio"], "output": ["text"] if listens else ["audio"],
        },
        "max_audio_seconds": caps.audio_seconds if listens else None,
        "max_piece_seconds": None if listens else caps.piece_seconds,
    }  # fmt: skip


@router.get("/v1/models", response_model=ModelListOut, tags=["service"])
async def list_models(service: ServiceOf) -> Any:
    data = [_model(service, model) for model in service.options.model_ids]
    return {"object": "list", "data": data}


@router.get("/v1/models/{model_id}", response_model=ModelOut, tags=["service"])
async def show_model(model_id: str, service: ServiceOf) -> Any:
    if model_id not in service.options.model_ids:
        known = ", ".join(service.options.model_ids)
        raise refuse(404, "model_not_found", f"expected one of {known}", "model")
    return _model(service, model_id)


@router.get("/v1/server", tags=["service"], response_model=dict[str, Any])
async def server(service: ServiceOf) -> Any:
    """What the page needs to be drawn."""
    caps = service.caps
    there_are = await service.on_disk(lambda: service.keys.are_needed)
    return {
        "version": __version__,
        "needs_key": needs_key(service.options, there_are),
        "caps": {
            "audio_bytes": caps.audio_bytes, "audio_seconds": caps.audio_seconds,
            "piece_seconds": caps.piece_seconds,
        },
        "formats": _FORMATS, "genres": GENRES, "moods": MOODS, "instruments": INSTRUMENTS,
        "metres": METRES, "energies": ENERGIES,
        "models": [_model(service, model) for model in service.options.model_ids],
    }  # fmt: skip


class HealthOut(BaseModel):
    status: Literal["ok"]


class ReadyOut(BaseModel):
    """`reasons` by model's owner: loading, queue_full; or draining, for all."""

    status: Literal["ready", "not_ready"]
    reasons: dict[str, str]


@router.get("/health", response_model=HealthOut, tags=["service"])
async def health() -> Any:
    """Alive."""
    return {"status": "ok"}


@router.get(
    "/ready", response_model=ReadyOut, responses={503: {"model": ReadyOut}}, tags=["service"]
)
async def ready(service: ServiceOf) -> Response:
    """Whether new work would be taken now."""
    reasons = {name: "loading" for name, owner in service.owners.items() if not owner.is_connected}
    counts = await service.on_disk(service.jobs.counts)
    for (model, status), count in counts.items():
        if status == "queued" and count >= service.caps.queue and model in OWNERS:
            reasons.setdefault(OWNERS[model], "queue_full")
    if service.is_draining:
        reasons = {"service": "draining"}
    body = {"status": "not_ready" if reasons else "ready", "reasons": reasons}
    return JSONResponse(body, status_code=503 if reasons else 200)


@router.get(
    "/metrics", tags=["service"], response_class=PlainTextResponse,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)  # fmt: skip
async def metrics(service: ServiceOf) -> Response:
    """For Prometheus."""
    from antiphon.serve.metrics import CONTENT_TYPE, exposed

    counts = await service.on_disk(service.jobs.counts)
    return Response(await service.on_disk(exposed, counts), media_type=CONTENT_TYPE)


@router.get("/", include_in_schema=False)
async def page() -> Response:
    index = PAGE / "index.html"
    if not index.is_file():
        return PlainTextResponse(
            "antiphon serves its API here; this installation was built without the page.\n"
        )
    return FileResponse(index, headers={"Cache-Control": "no-cache"})


@router.get("/assets/{name}", include_in_schema=False)
async def asset(name: str) -> Response:
    """A file of the page; names of scripts and styles hold a hash of what is in them."""
    path = PAGE / "assets" / name
    if "/" in name or "\\" in name or name.startswith(".") or not path.is_file():
        raise refuse(404, "not_found", "there is no such file")
    for_ever = name.endswith((".js", ".css"))
    kept = "public, max-age=31536000, immutable" if for_ever else "public, max-age=3600"
    return FileResponse(path, headers={"Cache-Control": kept})
