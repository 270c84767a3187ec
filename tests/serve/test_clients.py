"""Clients that exist, unmodified, against the models of the package."""

from __future__ import annotations

import asyncio
import base64
import gc
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from antiphon.audio import read
from serve.served import Served

openai = pytest.importorskip("openai")
elevenlabs = pytest.importorskip("elevenlabs")
langchain_openai = pytest.importorskip("langchain_openai")
mcp = pytest.importorskip("mcp")

pytestmark = [
    pytest.mark.integration,
    # Of the clients' own, as they import and leave their connections.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


@pytest.fixture(scope="module")
def client(real: Served) -> Iterator[Any]:
    with openai.OpenAI(base_url=f"{real.address}/v1", api_key="none", max_retries=0) as made:
        yield made


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """What clients leave open is found here, where it is no failure, and not in another test."""
    yield
    gc.collect()


def as_base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def spoken(path: Path, question: str) -> list[dict[str, Any]]:
    audio = {"data": as_base64(path), "format": "wav"}
    return [
        {
            "role": "user",
            "content": [
                {"type": "input_audio", "input_audio": audio},
                {"type": "text", "text": question},
            ],
        }
    ]


def sound_in(data: bytes) -> float:
    """Seconds of sound that is not silence."""
    waveform = read(data).waveform
    assert abs(waveform.samples).max() > 0.01
    return waveform.duration_seconds


def test_openai_models(client: Any) -> None:
    ids = [model.id for model in client.models.list()]
    assert ids == ["antiphon-listener", "antiphon-composer", "antiphon-composer-synth"]
    assert client.models.retrieve(ids[0]).owned_by == "antiphon"
    with pytest.raises(openai.NotFoundError, match="antiphon-composer"):
        client.models.retrieve("gpt-9")


def test_openai_chat_hears_the_recording(client: Any, song: Path) -> None:
    answer = client.chat.completions.create(
        model="antiphon-listener", messages=spoken(song, "How fast is it, and in which key?")
    )
    assert "120" in answer.choices[0].message.content
    assert "A minor" in answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.prompt_tokens_details.audio_tokens > 100
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_openai_chat_streams_with_usage(client: Any, song: Path) -> None:
    chunks = list(
        client.chat.completions.create(
            model="antiphon-listener", messages=spoken(song, "Which key is it in?"), stream=True,
            stream_options={"include_usage": True},
        )
    )  # fmt: skip
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert "A minor" in text
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[-1].usage.completion_tokens == len(text.split())
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_openai_chat_goes_on_about_a_file(client: Any, song: Path) -> None:
    file = client.files.create(file=song, purpose="user_data")
    first = [
        {
            "role": "user",
            "content": [
                {"type": "file", "file": {"file_id": file.id}},
                {"type": "text", "text": "Which key is it in?"},
            ],
        }
    ]
    model = "antiphon-listener"
    one = client.chat.completions.create(model=model, messages=first)
    said = {"role": "assistant", "content": one.choices[0].message.content}
    more = [*first, said, {"role": "user", "content": "And the tempo?"}]
    two = client.chat.completions.create(model=model, messages=more)
    assert "120" in two.choices[0].message.content


def test_openai_chat_takes_a_data_url_and_stops(client: Any, song: Path) -> None:
    url = {"url": f"data:audio/wav;base64,{as_base64(song)}"}
    parts = [{"type": "audio_url", "audio_url": url}, {"type": "text", "text": "Which key?"}]
    messages = [{"role": "user", "content": parts}]
    for stream in (False, True):
        found = client.chat.completions.create(
            model="antiphon-listener", messages=messages, stop=["minor"], n=1, stream=stream
        )
        if stream:
            text = "".join(c.choices[0].delta.content or "" for c in found if c.choices)
        else:
            text = found.choices[0].message.content
        assert "A " in text
        assert "minor" not in text


def test_openai_schema_needs_a_model_and_says_so(client: Any, song: Path) -> None:
    schema = {"name": "song", "schema": {"type": "object", "properties": {"x": {}}}}
    with pytest.raises(openai.BadRequestError, match="listening model"):
        client.chat.completions.create(
            model="antiphon-listener", messages=spoken(song, "Fill it in."),
            response_format={"type": "json_schema", "json_schema": schema},
        )  # fmt: skip


@pytest.mark.parametrize("form", ["wav", "mp3", "flac", "opus", "pcm16"])
def test_openai_chat_answers_with_music(client: Any, form: str) -> None:
    answer = client.chat.completions.create(
        model="antiphon-composer", modalities=["text", "audio"], seed=7,
        audio={"voice": "alloy", "format": form}, extra_body={"seconds": 3},
        messages=[{"role": "user", "content": "calm waltz for harp"}],
    )  # fmt: skip
    data = base64.b64decode(answer.choices[0].message.audio.data)
    if form == "pcm16":
        assert len(data) == 3 * 16_000 * 2
    else:
        assert sound_in(data) == pytest.approx(3.0, abs=0.1)
    assert "3.0 s" in answer.choices[0].message.audio.transcript


def test_openai_speech_streams_a_piece(client: Any) -> None:
    with client.audio.speech.with_streaming_response.create(
        model="tts-1", voice="jazz", input="slow, with piano", extra_body={"seconds": 4, "seed": 1}
    ) as answer:
        assert answer.headers["content-type"] == "audio/mpeg"
        data = b"".join(answer.iter_bytes())
    assert sound_in(data) == pytest.approx(4.0, abs=0.2)


@pytest.mark.parametrize("form", ["wav", "flac", "opus", "pcm"])
def test_openai_speech_in_every_form(client: Any, form: str, tmp_path: Path) -> None:
    answer = client.audio.speech.create(
        model="antiphon-composer", voice="none", input="rock", response_format=form,
        extra_body={"seconds": 2, "seed": 1},
    )  # fmt: skip
    if form == "pcm":
        assert len(answer.content) == 2 * 16_000 * 2
        return
    path = tmp_path / f"a.{form}"  # as a player opens it
    path.write_bytes(answer.content)
    waveform = read(path).waveform
    assert waveform.duration_seconds == pytest.approx(2.0, abs=0.05)


def test_openai_transcription_is_a_description(client: Any, song: Path) -> None:
    assert "A minor" in client.audio.transcriptions.create(model="whisper-1", file=song).text
    whole = client.audio.transcriptions.create(
        model="antiphon-listener", file=song, response_format="verbose_json"
    )
    assert 16 <= whole.duration <= 18
    text = client.audio.transcriptions.create(
        model="antiphon-listener", file=song, response_format="text"
    )
    assert text == whole.text


def test_openai_files(client: Any, song: Path) -> None:
    made = client.files.create(file=("x/../é.wav", song.read_bytes()), purpose="user_data")
    assert (made.filename, made.bytes) == ("é.wav", song.stat().st_size)
    assert made.id in [file.id for file in client.files.list()]
    assert client.files.retrieve(made.id) == made
    assert client.files.content(made.id).content == song.read_bytes()
    assert client.files.delete(made.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(made.id)


def test_openai_raw_post_makes_a_job(client: Any) -> None:
    job = client.post(
        "/music/generations", body={"prompt": "waltz", "seconds": 2}, cast_to=dict[str, Any]
    )
    assert job["object"] == "music"
    while job["status"] not in ("completed", "failed"):
        job = client.get(f"/music/generations/{job['id']}", cast_to=dict[str, Any])
    assert job["result"]["measured"]["duration"] == 2.0
    assert job["result"]["seed"] == job["seed"]


def test_langchain_asks_about_a_recording(real: Served, song: Path) -> None:
    from langchain_core.messages import HumanMessage

    chat = langchain_openai.ChatOpenAI(
        model="antiphon-listener", base_url=f"{real.address}/v1", api_key="none"
    )
    parts = spoken(song, "Which key is it in?")[0]["content"]
    assert "A minor" in chat.invoke([HumanMessage(content=parts)]).content
    own = {"type": "audio", "base64": as_base64(song), "mime_type": "audio/wav"}
    question = {"type": "text", "text": "Which key is it in?"}
    assert "A minor" in chat.invoke([HumanMessage(content=[own, question])]).content
    streamed = "".join(chunk.content for chunk in chat.stream([HumanMessage(content=parts)]))
    assert "A minor" in streamed


def test_elevenlabs_composes(real: Served) -> None:
    eleven = elevenlabs.ElevenLabs(api_key="none", base_url=real.address)
    whole = b"".join(eleven.music.compose(prompt="calm waltz for harp", music_length_ms=3000))
    assert sound_in(whole) == pytest.approx(3.0, abs=0.2)
    streamed = b"".join(eleven.music.stream(prompt="calm waltz for harp", music_length_ms=3000))
    assert sound_in(streamed) == pytest.approx(3.0, abs=0.2)


def test_elevenlabs_takes_a_plan_and_gives_one(real: Served) -> None:
    eleven = elevenlabs.ElevenLabs(api_key="none", base_url=real.address)
    plan = {
        "positive_global_styles": ["jazz"], "negative_global_styles": [],
        "sections": [
            {"section_name": "A", "positive_local_styles": ["calm"], "negative_local_styles": [],
             "duration_ms": 3000, "lines": []},
            {"section_name": "B", "positive_local_styles": ["energetic"],
             "negative_local_styles": [], "duration_ms": 3000, "lines": []},
        ],
    }  # fmt: skip
    found = eleven.music.compose_detailed(composition_plan=plan)
    assert sound_in(found.audio) == pytest.approx(6.0, abs=0.2)
    assert found.json["composition_plan"]["sections"]


def tool_text(result: Any) -> str:
    return str(next(part.text for part in result.content if part.type == "text"))


async def use_tools(call: Any, audio: str) -> None:
    """What an assistant does with a session's `call_tool`."""
    facts = json.loads(tool_text(await call("measure", {"audio": audio})))
    assert facts["tempo"]["bpm"] == pytest.approx(120, abs=2)
    assert "A minor" in tool_text(await call("describe", {"audio": audio}))
    asked = {"audio": audio, "question": "Which key is it in?"}
    assert "A minor" in tool_text(await call("ask", asked))
    made = await call("generate", {"prompt": "calm waltz", "seconds": 2, "seed": 7})
    (sound,) = (part for part in made.content if part.type == "audio")
    assert sound_in(base64.b64decode(sound.data)) == pytest.approx(2.0, abs=0.2)
    assert json.loads(tool_text(made))["seed"] == 7
    wrong = await call("ask", {"audio": "file_nothing", "question": "Which key?"})
    assert wrong.is_error
    assert "no file" in tool_text(wrong)


def test_mcp_over_http(real: Served, song: Path) -> None:
    from mcp import ClientSession
    from mcp.client.streamable_http import streamable_http_client

    async def talk() -> None:
        async with (
            streamable_http_client(f"{real.address}/mcp") as streams,
            ClientSession(*streams[:2]) as session,
        ):
            await session.initialize()
            names = {tool.name for tool in (await session.list_tools()).tools}
            assert names == {"measure", "describe", "ask", "generate"}
            await use_tools(session.call_tool, f"data:audio/wav;base64,{as_base64(song)}")
            local = await session.call_tool("measure", {"audio": str(song)})
            assert local.is_error, "a client elsewhere names no file of this machine"

    asyncio.run(talk())


def test_mcp_over_stdio(song: Path, tmp_path: Path) -> None:
    from mcp import ClientSession, StdioServerParameters
    from mcp.client.stdio import stdio_client

    async def talk() -> None:
        server = StdioServerParameters(
            command=sys.executable, args=["-m", "antiphon", "serve", "--mcp"],
            env={**os.environ, "ANTIPHON_STATE": str(tmp_path)},
        )  # fmt: skip
        async with stdio_client(server) as streams, ClientSession(*streams) as session:
            await session.initialize()
            await use_tools(session.call_tool, str(song))

    asyncio.run(talk())


def curl(*arguments: str) -> bytes:
    done = subprocess.run(["curl", "-sS", "-f", *arguments], capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def test_curl_generates(real: Served) -> None:
    body = json.dumps({"prompt": "calm waltz for harp", "duration": 3})
    sound = curl("-H", "content-type: application/json", "-d", body, f"{real.address}/generate")
    assert sound_in(sound) == 3.0


def test_curl_uploads_asks_and_reads_the_answer_again(real: Served, song: Path) -> None:
    form = f"file=@{song}"
    kept = json.loads(curl("-F", form, f"{real.address}/api/v1/upload"))
    body = json.dumps({"file_id": kept["file_id"], "text": "Which key is it in?"})
    json_ = "content-type: application/json"
    answer = json.loads(curl("-H", json_, "-d", body, f"{real.address}/api/v1/infer"))
    assert "A minor" in answer["answer"]
    assert answer["facts"]["key"]["name"] == "A minor"
    assert answer["heard"]["genre"]
    again = json.loads(curl(f"{real.address}/api/v1/infer/{answer['id']}"))
    assert again == answer


def test_open_webui_sends_what_it_sends(real: Served, song: Path) -> None:
    """The bodies of its audio and chat routes (0.12)."""
    with real.client() as client:
        text = client.post(
            "/v1/audio/transcriptions",
            files={"file": ("a.wav", song.read_bytes(), "audio/wav")},
            data={"model": "whisper-1", "language": "en"},
        )
        assert "A minor" in text.json()["text"]
        sent = {"input_audio": {"data": as_base64(song), "format": "wav"}, "model": "whisper-1"}
        assert "A minor" in client.post("/v1/audio/transcriptions", json=sent).json()["text"]
        speech = {"input": "rock", "model": "tts-1", "voice": "alloy"}
        sound = client.post("/v1/audio/speech", json=speech)
        assert sound.headers["content-type"] == "audio/mpeg"
        assert sound_in(sound.content) > 5
        chat = {
            "stream": True, "model": "antiphon-listener",
            "messages": [{"role": "system", "content": "Be brief."},
                         {"role": "user", "content": "What can you do?"}],
            "stream_options": {"include_usage": True}, "metadata": {"user_id": "x"},
        }  # fmt: skip
        answer = client.post("/v1/chat/completions", json=chat)
        assert answer.text.rstrip().endswith("data: [DONE]")
        assert client.get("/v1/models").json()["data"][0]["id"]


def test_a_wav_stream_is_heard_while_it_is_computed_and_after(real: Served) -> None:
    import httpx2

    with httpx2.Client(base_url=real.address, timeout=60) as client:
        body = {"prompt": "rock", "seconds": 20, "seed": 3}
        job = client.post("/v1/music/generations", json=body).json()
        place = f"/v1/music/generations/{job['id']}"
        live = client.get(f"{place}/stream").content
        after = client.get(f"{place}/stream").content
        whole = client.get(f"{place}/content").content
    import soundfile

    samples, rate = soundfile.read(io.BytesIO(whole), dtype="int16")
    assert len(samples) == 20 * rate
    assert len(live) == 44 + 2 * len(samples)
    assert sound_in(after) == 20.0
