"""Music as the spoken part of a chat's answer, whole or as it comes."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse, Response

from antiphon.serve.bodies import ChatBody, ChatMessage, MusicBody
from antiphon.serve.encoding import samples_of
from antiphon.serve.jobs import new_id
from antiphon.serve.options import COMPOSER
from antiphon.serve.problems import Refused, refuse
from antiphon.serve.routes.common import Lasting, said_of_refused
from antiphon.serve.routes.composing import as_it_comes, whole
from antiphon.serve.service import OWNERS, Service

_AUDIO_SECONDS_KEPT = 3600


def is_composer(service: Service, name: str | None) -> bool:
    """Whether a client names a composer."""
    try:
        return name is not None and OWNERS[service.model(name, COMPOSER)] == "composer"
    except Refused:
        return False


async def answer_with_music(
    body: ChatBody, request: Request, service: Service, key: str
) -> Response:
    prompt = _last_text(body.messages)
    out = body.audio
    form = "wav" if out is None else out.format
    asked = MusicBody(
        prompt=prompt, seconds=body.seconds, model=body.model if body.model else None,
        seed=None if body.seed is None else body.seed % (1 << 63),
        format="wav" if form == "pcm16" else form,
    )  # fmt: skip
    if not is_composer(service, body.model):
        asked = asked.model_copy(update={"model": COMPOSER})
    audio_id = new_id("audio")
    if body.stream:
        return await _streamed_music(request, service, key, asked, form, audio_id)
    data, value = await whole(request, service, key, asked, None)
    if form == "pcm16":
        data = await service.on_disk(samples_of, data)
    words = len(prompt.split())
    message = {
        "role": "assistant", "content": None, "refusal": None,
        "audio": {
            "id": audio_id, "data": base64.b64encode(data).decode(),
            "expires_at": int(time.time()) + _AUDIO_SECONDS_KEPT, "transcript": _told(value),
        },
    }  # fmt: skip
    usage = {"prompt_tokens": words, "completion_tokens": 0, "total_tokens": words}
    return JSONResponse(
        {
            "id": new_id("chatcmpl"), "object": "chat.completion", "created": int(time.time()),
            "model": asked.model or COMPOSER,
            "choices": [
                {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
            ],
            "usage": usage,
            "antiphon": {
                name: value[name]
                for name in ("seed", "requested", "measured", "adherence", "notes", "provenance")
            },
        }
    )  # fmt: skip


async def _streamed_music(
    request: Request, service: Service, key: str, asked: MusicBody, form: str, audio_id: str
) -> Response:
    sound = await as_it_comes(request, service, key, asked, "pcm" if form == "pcm16" else form)
    head = {
        "id": new_id("chatcmpl"), "object": "chat.completion.chunk", "created": int(time.time()),
        "model": asked.model or COMPOSER,
    }  # fmt: skip

    def chunk(delta: Mapping[str, object], finish: str | None = None) -> str:
        choice = {"index": 0, "delta": dict(delta), "logprobs": None, "finish_reason": finish}
        return f"data: {json.dumps({**head, 'choices': [choice]})}\n\n"

    async def events() -> AsyncIterator[str]:
        yield chunk({"role": "assistant", "content": None, "audio": {"id": audio_id}})
        try:
            async for block in sound.body_iterator:
                data = base64.b64encode(bytes(block)).decode()  # type: ignore[arg-type]
                yield chunk({"audio": {"data": data}})
        except Refused as error:
            yield f"data: {said_of_refused(error)}\n\n"
            return
        yield chunk({}, "stop")
        yield "data: [DONE]\n\n"

    return Lasting(events(), sound.stack, "text/event-stream")


def _last_text(messages: Sequence[ChatMessage]) -> str:
    content = messages[-1].content
    if isinstance(content, list):
        content = "\n".join(part.text or "" for part in content if part.type == "text")
    if not content or not content.strip():
        raise refuse(400, "no_prompt", "the last message has no text to make music of", "messages")
    return content


def _told(value: Mapping[str, Any]) -> str:
    """What can be said of a piece that was composed."""
    measured = value["measured"]
    said = [f"{value['seconds']:.1f} s"]
    said += [f"{measured['tempo']:.1f} BPM"] if measured.get("tempo") else []
    said += [str(measured["key"])] if measured.get("key") else []
    said += [str(measured["genre"])] if measured.get("genre") else []
    return ", ".join(said)
