"""OpenAI's chat completions: a recording and questions in, an answer out; or a prompt in, and music
as the spoken part of the answer."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel

from antiphon.serve.bodies import ChatBody
from antiphon.serve.client import ENDS
from antiphon.serve.jobs import new_id
from antiphon.serve.media import Sound, sound_of_part
from antiphon.serve.options import LISTENER
from antiphon.serve.problems import Refused, refuse
from antiphon.serve.routes.chat_music import answer_with_music, is_composer
from antiphon.serve.routes.common import (
    ERRORS,
    Key,
    Lasting,
    ServiceOf,
    StrictRoute,
    said_of_refused,
    unless_gone,
)
from antiphon.serve.routes.jobs import with_pulse
from antiphon.serve.service import Service, ended
from antiphon.serve.tasks import INPUT

router = APIRouter(route_class=StrictRoute, responses=ERRORS, tags=["listening"])
_EARLY_SECONDS = 2.0  # within which a failure still has a status of its own
_MOST_STOPS = 4


class ChatOut(BaseModel):
    """OpenAI's chat completion; `antiphon` holds the claims in the answer and what it rests on."""

    id: str
    object: str
    created: int
    model: str
    choices: list[dict[str, Any]]
    usage: dict[str, Any]
    antiphon: dict[str, Any] | None = None


@dataclass(frozen=True)
class _Asked:
    """A conversation, ready for the owner of the listener."""

    request: Mapping[str, object]
    sound: Sound | None
    words: int


@router.post(
    "/v1/chat/completions", response_model=ChatOut, summary="Ask about a recording",
    responses={200: {"content": {"text/event-stream": {}}}},
)  # fmt: skip
async def chat(body: ChatBody, request: Request, service: ServiceOf, key: Key) -> Response:
    """An answer about the recording in the messages, or, with `modalities` of text and audio, a
    piece of music after the last message."""
    is_music = "audio" in (body.modalities or ()) or is_composer(service, body.model)
    if is_music:
        return await answer_with_music(body, request, service, key)
    model = service.model(body.model, LISTENER)
    stops = [body.stop] if isinstance(body.stop, str) else body.stop or []
    if len(stops) > _MOST_STOPS or not all(0 < len(stop) <= 200 for stop in stops):
        raise refuse(400, "invalid_value", f"expected at most {_MOST_STOPS} stops", "stop")
    if body.stream and (body.n or 1) > 1:
        raise refuse(400, "invalid_value", "several answers come whole; expected n 1 here", "n")
    folder = service.scratch / new_id("chat")
    try:
        asked = await _asked(body, service, key, folder)
        inputs: dict[str, Path] = {} if asked.sound is None else {INPUT: asked.sound.path}
        batch = None if asked.sound is None else asked.sound.digest
        stack = AsyncExitStack()
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        if body.stream:
            return await _streamed(body, request, service, key, model, asked, inputs, stops, stack)
        async with stack:
            values = []
            for number in range(body.n or 1):
                again = _with_seed(asked.request, number)
                async with service.call("answer", model, key, again, inputs, batch) as call:
                    values.append(await unless_gone(request, service.value(call)))
            return JSONResponse(_completion(model, asked, values, stops))
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


async def _asked(body: ChatBody, service: Service, key: str, folder: Path) -> _Asked:
    """The messages with the one recording they speak of. Raises Refused."""
    turns: list[dict[str, object]] = []
    sounds: list[Sound] = []
    parts = 0
    for message in body.messages:
        role = "system" if message.role == "developer" else message.role
        texts, has_audio = [], False
        for part in message.content if isinstance(message.content, list) else []:
            if part.type == "text":
                texts.append(part.text or "")
                continue
            parts += 1
            if parts > service.caps.audio_parts:
                raise refuse(400, "too_many_parts", "too many parts with sound", "messages")
            sound = await sound_of_part(service, part, key, folder)
            if sound is None or any(sound.digest == known.digest for known in sounds):
                continue  # clients send what was said before with every turn
            sounds.append(sound)
            has_audio = True
        if isinstance(message.content, str):
            texts.append(message.content)
        turns.append({"role": role, "text": "\n".join(texts), "has_audio": has_audio})
    if len(sounds) > 1:
        raise refuse(
            400, "two_recordings", "the messages hold two recordings, and one is heard; ask about "
            "each in a conversation of its own", "messages",
        )  # fmt: skip
    words = sum(len(str(turn["text"]).split()) for turn in turns)
    letters = sum(len(str(turn["text"])) for turn in turns)
    if letters > service.caps.prompt_characters:
        raise refuse(
            400, "context_length_exceeded", f"the messages have {letters:,} letters; expected at "
            f"most {service.caps.prompt_characters:,}", "messages",
        )  # fmt: skip
    request: dict[str, object] = {"messages": turns, "sampling": _sampling(body)}
    if body.response_format is not None and body.response_format.type != "text":
        wanted = body.response_format.json_schema
        request["schema"] = {"type": "object"} if wanted is None else wanted.schema_
    if sounds:
        request |= {"digest": sounds[0].digest, "filename": sounds[0].filename}
    return _Asked(request, sounds[0] if sounds else None, words)


def _sampling(body: ChatBody) -> dict[str, object]:
    most = body.max_completion_tokens or body.max_tokens
    given = {
        "max_new_tokens": most, "temperature": body.temperature, "top_p": body.top_p,
        "seed": None if body.seed is None else body.seed % (1 << 31),
    }  # fmt: skip
    return {name: value for name, value in given.items() if value is not None}


def _with_seed(request: Mapping[str, object], number: int) -> Mapping[str, object]:
    """For one of several answers."""
    if not number:
        return request
    sampling: dict[str, Any] = dict(request["sampling"])  # type: ignore[call-overload]
    return {**request, "sampling": sampling | {"seed": sampling.get("seed", 0) + number}}


def _completion(
    model: str, asked: _Asked, values: Sequence[Mapping[str, Any]], stops: Sequence[str]
) -> dict[str, object]:
    texts = [_cut(value["answer"], stops) for value in values]
    first = values[0]
    return {
        "id": new_id("chatcmpl"),
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [
            {
                "index": number,
                "message": {"role": "assistant", "content": text, "refusal": None},
                "logprobs": None,
                "finish_reason": _finish(value),
            }
            for number, (text, value) in enumerate(zip(texts, values, strict=True))
        ],
        "usage": _usage(asked, first, texts),
        "antiphon": {name: first[name] for name in ("claims", "notes", "provenance")},
    }


def _usage(asked: _Asked, value: Mapping[str, Any], texts: Sequence[str]) -> dict[str, object]:
    """Words stand for tokens of text, which the listener in the package has none of; of audio it
    is Audio Flamingo's count."""
    audio = int(value.get("heard_tokens", 0))
    written = sum(len(text.split()) for text in texts)
    return {
        "prompt_tokens": asked.words + audio,
        "completion_tokens": written,
        "total_tokens": asked.words + audio + written,
        "prompt_tokens_details": {"audio_tokens": audio, "cached_tokens": 0},
    }


def _finish(value: Mapping[str, Any]) -> str:
    return "length" if any("limit of tokens" in note for note in value["notes"]) else "stop"


def _cut(text: str, stops: Sequence[str]) -> str:
    """Up to the first stop."""
    places = [place for stop in stops if (place := text.find(stop)) >= 0]
    return text[: min(places)] if places else text


async def _streamed(
    body: ChatBody,
    request: Request,
    service: Service,
    key: str,
    model: str,
    asked: _Asked,
    inputs: Mapping[str, Path],
    stops: Sequence[str],
    stack: AsyncExitStack,
) -> Response:
    """Chunks as they come. What fails early has a status; later it is the last event."""
    batch = None if asked.sound is None else asked.sound.digest
    call = await stack.enter_async_context(
        service.call("answer", model, key, asked.request, inputs, batch)
    )
    messages = call.messages()
    first = asyncio.ensure_future(anext(messages))
    try:
        await asyncio.wait({first}, timeout=_EARLY_SECONDS)
        while first.done() and first.result()["event"] == "began":
            first = asyncio.ensure_future(anext(messages))
            await asyncio.wait({first}, timeout=_EARLY_SECONDS)
        if first.done() and first.result()["event"] == "failed":
            ended(first.result())
    except BaseException:
        await stack.aclose()
        raise

    async def events() -> AsyncIterator[str]:
        chunks = _Chunks(model, body, stops)
        yield chunks.of({"role": "assistant", "content": ""})
        try:
            message = await first
            while True:
                if message["event"] == "text":
                    for chunk in chunks.text(str(message["text"])):
                        yield chunk
                elif message["event"] in ENDS:
                    value = ended(message)
                    break
                message = await anext(messages)
        except Refused as error:
            yield f"data: {said_of_refused(error)}\n\n"
            return
        for chunk in chunks.end(asked, value):
            yield chunk
        yield "data: [DONE]\n\n"

    return Lasting(with_pulse(events()), stack, "text/event-stream")


class _Chunks:
    """OpenAI's `chat.completion.chunk`s; text that may be the beginning of a stop is held back."""

    def __init__(self, model: str, body: ChatBody, stops: Sequence[str]) -> None:
        self._head = {
            "id": new_id("chatcmpl"), "object": "chat.completion.chunk",
            "created": int(time.time()), "model": model,
        }  # fmt: skip
        self._wants_usage = body.stream_options is not None and body.stream_options.include_usage
        self._stops = stops
        self._held = max(map(len, stops), default=1) - 1
        self._said = ""
        self._given = 0
        self._is_over = False

    def of(self, delta: Mapping[str, object], finish: str | None = None) -> str:
        chunk: dict[str, object] = {
            **self._head,
            "choices": [
                {"index": 0, "delta": dict(delta), "logprobs": None, "finish_reason": finish}
            ],
        }
        if self._wants_usage:
            chunk["usage"] = None
        return f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n"

    def text(self, more: str) -> list[str]:
        self._said += more
        whole = _cut(self._said, self._stops)
        self._is_over = self._is_over or len(whole) < len(self._said)
        end = len(whole) if self._is_over else len(whole) - self._held
        return self._give(end)

    def end(self, asked: _Asked, value: Mapping[str, Any]) -> list[str]:
        whole = _cut(self._said or value["answer"], self._stops)
        self._said = whole
        chunks = self._give(len(whole))
        chunks.append(self.of({}, _finish(value)))
        if self._wants_usage:
            usage = _usage(asked, value, [whole])
            last = {**self._head, "choices": [], "usage": usage}
            chunks.append(f"data: {json.dumps(last)}\n\n")
        return chunks

    def _give(self, end: int) -> list[str]:
        if end <= self._given:
            return []
        new, self._given = self._said[self._given : end], end
        return [self.of({"content": new})]
