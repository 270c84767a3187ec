"""Tools for assistants, by the Model Context Protocol: describe, ask, measure, generate.

Over HTTP at `/mcp` beside the API, or over stdin and stdout for one user of this machine, who may
name files.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, cast

from mcp.server.mcpserver import Audio, Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.transport_security import TransportSecuritySettings
from mcp_types import ToolAnnotations
from pydantic import Field, ValidationError
from starlette.applications import Starlette

from antiphon import __version__
from antiphon.errors import AntiphonError
from antiphon.models.record import sha256_of
from antiphon.serve.bodies import AudioUrl, MusicBody, Part
from antiphon.serve.jobs import new_id
from antiphon.serve.media import Sound, sound_of_file, sound_of_part
from antiphon.serve.music import music_request
from antiphon.serve.options import COMPOSER, LISTENER, ServeOptions
from antiphon.serve.problems import Refused, problem_of
from antiphon.serve.service import Service
from antiphon.serve.tasks import INPUT, Kind

_INSTRUCTIONS = (
    "Measures, describes and composes music. Numbers (tempo, key, loudness, times) are measured "
    "from the signal. A recording is named by the id of a stored file (file_…) or as a data: URL"
)
AudioName = Annotated[
    str, Field(description="a recording: file_… id, data:audio/…;base64,… URL, or a local path")
]


def tools_of(service: Service, *, paths: bool) -> MCPServer[Any]:
    """The MCP server over a service; with `paths` its user may name files of this machine."""
    server: MCPServer[Any] = MCPServer(
        "antiphon", version=__version__, instructions=f"{_INSTRUCTIONS}.", log_level="ERROR"
    )
    looks = ToolAnnotations(read_only_hint=True, open_world_hint=False)

    @server.tool(structured_output=False, annotations=looks)
    async def measure(audio: AudioName, context: Context[Any]) -> str:
        """Measure a recording: tempo, beats, metre, key, chords, sections, loudness, tuning and
        timbre, as JSON, with confidences; null with a reason where it cannot be measured."""
        with _told():
            value = await _heard(service, "measurement", audio, {}, _key(context), paths)
        return json.dumps(value)

    @server.tool(structured_output=False, annotations=looks)
    async def describe(
        audio: AudioName,
        context: Context[Any],
        kind: Annotated[
            str,
            Field(description="full, technical, genre_mood, instrumentation, structure, or all"),
        ] = "full",
    ) -> str:
        """Describe a recording in words; the numbers in them are measured."""
        kinds = None if kind == "all" else [kind]
        with _told():
            asked = {"kinds": kinds}
            value = await _heard(service, "description", audio, asked, _key(context), paths)
        texts = cast(dict[str, str], value["texts"])
        return "\n\n".join(texts.values() if kinds else (f"{k}: {t}" for k, t in texts.items()))

    @server.tool(structured_output=False, annotations=looks)
    async def ask(
        audio: AudioName,
        question: Annotated[str, Field(min_length=1, max_length=10_000)],
        context: Context[Any],
    ) -> str:
        """Answer one question about a recording, such as which key it is in."""
        turn = {"role": "user", "text": question, "has_audio": True}
        with _told():
            asked = {"messages": [turn]}
            value = await _heard(service, "answer", audio, asked, _key(context), paths)
        return str(value["answer"])

    @server.tool(
        structured_output=False,
        annotations=ToolAnnotations(
            read_only_hint=False, destructive_hint=False, open_world_hint=False
        ),
    )
    async def generate(
        prompt: Annotated[str, Field(description="what it should sound like")],
        context: Context[Any],
        seconds: Annotated[float, Field(ge=1, le=120)] = 10.0,
        seed: Annotated[
            int | None, Field(ge=0, description="the same seed, the same piece")
        ] = None,
        genre: str | None = None,
        tempo: Annotated[float | None, Field(description="beats per minute, 40 to 240")] = None,
        key: Annotated[str | None, Field(description='as in "E minor"')] = None,
        candidates: Annotated[int, Field(ge=1, le=8, description="of which the best is kept")] = 1,
    ) -> list[Any]:
        """Compose a piece of music from a prompt: its sound (MP3), and as JSON what was asked for,
        what is measured in it and how well that agrees."""
        with _told():
            body = MusicBody(
                prompt=prompt, seconds=seconds, seed=seed, genre=genre, tempo=tempo, key=key,
                candidates=candidates, format="mp3",
            )  # fmt: skip
            data, value = await _composed(service, body, _key(context))
        names = ("seconds", "seed", "requested", "measured", "adherence", "notes", "provenance")
        about = json.dumps({name: value[name] for name in names})
        return [Audio(data=data, format="mpeg"), about]

    return server


def http_app(service: Service) -> tuple[Starlette, Callable[[], Any]]:
    """The routes at `/mcp`, and what runs while they are served. Nothing is kept between requests,
    so that any HTTP worker answers."""
    server = tools_of(service, paths=False)
    app = server.streamable_http_app(
        stateless_http=True,
        json_response=True,
        max_request_body_size=service.caps.body_bytes,
        # Guards has looked at host and origin already, by the service's own rules.
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
    )
    return app, server.session_manager.run


def serve_stdio(options: ServeOptions) -> None:
    """Speak MCP on stdin and stdout until stdin ends. Raises as `supervisor.serve`."""
    from antiphon.serve.loading import owner_specs
    from antiphon.serve.supervisor import Owners

    # What a library prints, here or in a child, is no message.
    messages = os.dup(1)
    os.dup2(2, 1)
    sys.stdout = os.fdopen(messages, "w", encoding="utf-8")
    runtime = Path(tempfile.mkdtemp(prefix="antiphon-"))
    try:
        with Owners(options, runtime, owner_specs(options)):
            asyncio.run(_speak(Service(options, runtime)))
    finally:
        shutil.rmtree(runtime, ignore_errors=True)


async def _speak(service: Service) -> None:
    async with service.connected():
        await tools_of(service, paths=True).run_stdio_async()


def _key(context: Context[Any]) -> str:
    """The id of the key that came with the HTTP request, if there was one."""
    request = context.request_context.request
    return "" if request is None else cast(str, request.scope["state"]["key"])


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """What fails is told to the assistant, in a sentence."""
    try:
        yield
    except Refused as error:
        raise ToolError(error.problem.message) from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ToolError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    except AntiphonError as error:
        raise ToolError(problem_of(error, new_id("mcp")).message) from error


@asynccontextmanager
async def _sound(service: Service, audio: str, key: str, paths: bool) -> AsyncIterator[Sound]:
    folder = service.scratch / new_id("mcp")
    try:
        if audio.startswith("file_"):
            yield await sound_of_file(service, audio, key, "audio")
        elif audio.startswith("data:"):
            part = Part(type="audio_url", audio_url=AudioUrl(url=audio))
            sound = await sound_of_part(service, part, key, folder)
            assert sound is not None, "a part with sound"
            yield sound
        elif paths:
            yield await service.on_disk(_local, audio)
        else:
            raise ToolError("expected the id of a stored file (file_…), or a data: URL")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _local(path: str) -> Sound:
    """A file that the user of this machine names."""
    found = Path(path).expanduser()
    if not found.is_file():
        raise ToolError(f"there is no file {path!r}")
    return Sound(found, found.name, sha256_of(found))


async def _heard(
    service: Service, kind: Kind, audio: str, asked: Mapping[str, object], key: str, paths: bool
) -> dict[str, Any]:
    async with _sound(service, audio, key, paths) as sound:
        request = {**asked, "digest": sound.digest, "filename": sound.filename}
        model, inputs = service.model(None, LISTENER), {INPUT: sound.path}
        async with service.call(kind, model, key, request, inputs, sound.digest) as call:
            return dict(await service.value(call))


async def _composed(service: Service, body: MusicBody, key: str) -> tuple[bytes, dict[str, Any]]:
    asked = music_request(body, service.caps)
    model = service.model(None, COMPOSER)
    async with service.call("music", model, key, asked.request, {}, asked.batch) as call:
        value = dict(await service.value(call))
        path = call.task.folder / str(value["path"])
        return await service.on_disk(path.read_bytes), value
