"""Music for clients that wait: OpenAI's speech, ElevenLabs' music, and the short form."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import ValidationError

from antiphon.controls import GENRES
from antiphon.serve.bodies import ElevenBody, GenerateBody, MusicBody, SpeechBody
from antiphon.serve.encoding import MEDIA_TYPES
from antiphon.serve.jobs import Job
from antiphon.serve.music import body_of_plan, music_request
from antiphon.serve.options import COMPOSER
from antiphon.serve.problems import Refused, refuse
from antiphon.serve.routes.common import (
    ERRORS,
    Key,
    Lasting,
    ServiceOf,
    StrictRoute,
    completed,
    said_of_refused,
    unless_gone,
)
from antiphon.serve.routes.jobs import Once, accept_music, music_inputs
from antiphon.serve.routes.sound import streamed
from antiphon.serve.service import Service

router = APIRouter(route_class=StrictRoute, responses=ERRORS, tags=["music"])
_KINDS = tuple(dict.fromkeys(MEDIA_TYPES.values()))
_SOUND: dict[int | str, dict[str, Any]] = {200: {"content": {kind: {} for kind in _KINDS}}}


async def whole(
    request: Request, service: Service, key: str, body: MusicBody, once: str | None
) -> tuple[bytes, Mapping[str, object]]:
    """A piece when it is there: its file's bytes, and what there is to say of it. With an
    Idempotency-Key it is a job, which goes on when the client hangs up."""
    if once is not None:
        job = await accept_music(service, body, key, once)
        done: Job = await unless_gone(request, service.finished(job.id))
        path = service.jobs.place(job.id) / str(completed(done)["path"])
        return await service.on_disk(path.read_bytes), completed(done)
    asked = music_request(body, service.caps)
    inputs = await music_inputs(service, body, key)
    model = service.model(body.model, COMPOSER)
    async with service.call("music", model, key, asked.request, inputs, asked.batch) as call:
        value = await unless_gone(request, service.value(call))
        path = call.task.folder / str(value["path"])
        return await service.on_disk(path.read_bytes), value


async def as_it_comes(
    request: Request, service: Service, key: str, body: MusicBody, form: str
) -> Lasting:
    """A piece from its first sound on. Raises Refused for what fails before that."""
    asked = music_request(body, service.caps, is_streamed=True)
    inputs = await music_inputs(service, body, key)
    model = service.model(body.model, COMPOSER)
    stack = AsyncExitStack()
    try:
        call = await stack.enter_async_context(
            service.call("music", model, key, asked.request, inputs, asked.batch)
        )
        blocks = streamed(service, call, form)
        first = await unless_gone(request, anext(blocks))
    except BaseException:
        await stack.aclose()
        raise

    async def all_of_it() -> AsyncIterator[bytes]:
        yield first
        async for block in blocks:
            yield block

    return Lasting(all_of_it(), stack, MEDIA_TYPES[form])


def _named(form: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="piece.{form}"'}


@router.post(
    "/generate", summary="Compose a piece and wait for it", responses=_SOUND,
    response_class=Response,
)  # fmt: skip
async def generate(
    body: GenerateBody, request: Request, service: ServiceOf, key: Key, once: Once = None
) -> Response:
    fields = {"prompt": body.prompt, "seconds": body.duration, **(body.model_extra or {})}
    try:
        asked = MusicBody(**fields)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        name = ".".join(map(str, problem["loc"])) or "body"
        raise refuse(400, "invalid_value", f"{name}: {problem['msg']}", name) from error
    data, value = await whole(request, service, key, asked, once)
    headers = _named(asked.format) | {"X-Seed": str(value["seed"])}
    return Response(data, media_type=MEDIA_TYPES[asked.format], headers=headers)


@router.post(
    "/v1/audio/speech", summary="A prompt as music, streamed", response_class=Response,
    responses={200: {"content": {kind: {} for kind in (*_KINDS, "text/event-stream")}}},
)  # fmt: skip
async def speech(
    body: SpeechBody, request: Request, service: ServiceOf, key: Key, once: Once = None
) -> Response:
    prompt = body.input if body.instructions is None else f"{body.input}. {body.instructions}"
    genre = body.voice if isinstance(body.voice, str) and body.voice in GENRES else None
    form = body.response_format
    piece_form = "wav" if form == "pcm" else form
    asked = MusicBody(
        prompt=prompt, seconds=body.seconds, seed=body.seed, genre=genre, model=body.model,
        format=piece_form,
    )  # fmt: skip
    if once is not None and (form == "pcm" or body.stream_format == "sse"):
        raise refuse(
            400, "invalid_value", "an Idempotency-Key goes with a whole file; expected none with "
            "pcm and with sse", "Idempotency-Key",
        )  # fmt: skip
    if body.stream_format == "sse":
        return await _events(request, service, key, asked, form)
    if once is not None:
        data, _ = await whole(request, service, key, asked, once)
        return Response(data, media_type=MEDIA_TYPES[form])
    return await as_it_comes(request, service, key, asked, form)


async def _events(
    request: Request, service: Service, key: str, asked: MusicBody, form: str
) -> Response:
    """OpenAI's `stream_format: sse`."""
    sound = await as_it_comes(request, service, key, asked, form)

    async def events() -> AsyncIterator[str]:
        try:
            async for block in sound.body_iterator:
                data = base64.b64encode(bytes(block)).decode()  # type: ignore[arg-type]
                yield f"data: {json.dumps({'type': 'speech.audio.delta', 'audio': data})}\n\n"
        except Refused as error:
            yield f"data: {said_of_refused(error)}\n\n"
            return
        usage = {"input_tokens": len(asked.prompt.split()), "output_tokens": 0}
        usage["total_tokens"] = usage["input_tokens"]
        yield f"data: {json.dumps({'type': 'speech.audio.done', 'usage': usage})}\n\n"

    return Lasting(events(), sound.stack, "text/event-stream")


# ElevenLabs.

OutputFormat = Annotated[
    str | None, Query(max_length=40, description="codec_rate_bitrate, as in mp3_44100_128")
]
_ELEVEN_CODECS = {"mp3": "mp3", "pcm": "pcm", "opus": "opus", "wav": "wav"}


def _eleven(body: ElevenBody, output_format: str | None) -> tuple[MusicBody, str]:
    """What is asked for in our words, and the format."""
    codec, _, rest = (output_format or "mp3_44100_128").partition("_")
    form = _ELEVEN_CODECS.get(codec)
    rate = rest.partition("_")[0]
    if form is None or (rate and not rate.isdigit()) or len(rate) > 6:
        raise refuse(
            400, "invalid_value",
            f"output_format is {output_format!r}; expected such as mp3_44100_128, pcm_44100 or "
            "opus_48000_96", "output_format",
        )  # fmt: skip
    if (body.prompt is None) == (body.composition_plan is None):
        raise refuse(400, "invalid_value", "expected prompt or composition_plan", "prompt")
    fields: dict[str, Any] = {"seed": body.seed, "model": body.model_id}
    if body.composition_plan is not None:
        prompt, negative, texts, seconds = body_of_plan(body.composition_plan)
        fields |= {"prompt": prompt, "negative": negative, "section": texts or None}
        fields["seconds"] = seconds or None
    else:
        fields["prompt"] = body.prompt
    if body.music_length_ms is not None and fields.get("seconds") is None:
        fields["seconds"] = body.music_length_ms / 1000
    if rate and form in ("mp3", "wav"):
        fields["sample_rate"] = int(rate)
    return MusicBody(**fields, format="wav" if form == "pcm" else form), form  # type: ignore[arg-type]


@router.post(
    "/v1/music", summary="ElevenLabs: compose a piece", responses=_SOUND, response_class=Response
)
async def eleven_music(
    body: ElevenBody,
    request: Request,
    service: ServiceOf,
    key: Key,
    output_format: OutputFormat = None,
) -> Response:
    asked, form = _eleven(body, output_format)
    if form == "pcm":
        return await as_it_comes(request, service, key, asked, form)
    data, value = await whole(request, service, key, asked, None)
    return Response(data, media_type=MEDIA_TYPES[form], headers={"song-id": str(value["seed"])})


@router.post(
    "/v1/music/stream", summary="ElevenLabs: a piece as it comes", responses=_SOUND,
    response_class=Response,
)  # fmt: skip
async def eleven_stream(
    body: ElevenBody,
    request: Request,
    service: ServiceOf,
    key: Key,
    output_format: OutputFormat = None,
) -> Response:
    asked, form = _eleven(body, output_format)
    return await as_it_comes(
        request, service, key, asked.model_copy(update={"sample_rate": None}), form
    )


@router.post(
    "/v1/music/detailed", summary="ElevenLabs: a piece and its plan",
    responses={200: {"content": {"multipart/mixed": {}}}}, response_class=Response,
)  # fmt: skip
async def eleven_detailed(
    body: ElevenBody,
    request: Request,
    service: ServiceOf,
    key: Key,
    output_format: OutputFormat = None,
) -> Response:
    asked, form = _eleven(body, output_format)
    if form == "pcm":
        raise refuse(400, "invalid_value", "expected mp3, opus or wav here", "output_format")
    data, value = await whole(request, service, key, asked, None)
    about = json.dumps({"composition_plan": _plan(value), "song_metadata": _metadata(value)})
    boundary = secrets.token_hex(16)
    parts = [
        f"--{boundary}\r\nContent-Type: application/json\r\n\r\n{about}\r\n",
        f"--{boundary}\r\nContent-Type: {MEDIA_TYPES[form]}\r\n"
        f'Content-Disposition: attachment; filename="piece.{form}"\r\n\r\n',
        f"\r\n--{boundary}--\r\n",
    ]
    first, second, end = (part.encode() for part in parts)
    return Response(first + second + data + end, media_type=f"multipart/mixed; boundary={boundary}")


def _plan(value: Mapping[str, Any]) -> dict[str, object]:
    """The score's sections as ElevenLabs has them."""
    score = value.get("score")
    asked = value["requested"]
    styles = [str(asked[name]) for name in ("genre", "key", "energy") if name in asked]
    sections = []
    if score is not None:
        bar_ms = 60_000 / score["tempo_bpm"] * score["beats_per_bar"]
        sections = [
            {
                "section_name": one["label"], "positive_local_styles": [],
                "negative_local_styles": [], "duration_ms": round(one["bars"] * bar_ms),
                "lines": [],
            }
            for one in score["sections"]
        ]  # fmt: skip
    return {
        "positive_global_styles": styles,
        "negative_global_styles": [str(one) for one in asked.get("without", [])],
        "sections": sections,
    }


def _metadata(value: Mapping[str, Any]) -> dict[str, object]:
    genre = value["measured"].get("genre")
    return {
        "title": None, "description": value["provenance"]["prompt"], "is_explicit": False,
        "genres": [genre] if genre else [], "languages": [], "seed": value["seed"],
        "measured": value["measured"], "adherence": value["adherence"],
    }  # fmt: skip
