"""What the remote engine asks and what it makes of the answers, on a server of our own."""

from __future__ import annotations

import base64
import io
import time
import wave
from collections.abc import Iterator

import numpy as np
import pytest

from antiphon.errors import ConfigError, EngineError, ModelError
from antiphon.listen.engines import ListenerEngine, Message, Question, Sampling
from antiphon.listen.engines.remote import MAX_PROMPT_CHARACTERS, RemoteEngine, load
from antiphon.listen.engines.remote_transport import Patience
from antiphon.listen.windows import Clip
from openai_server import (
    OpenAiServer,
    Talk,
    answers,
    delta,
    listing,
    running_server,
    says,
    says_whole,
    streams,
)

pytestmark = pytest.mark.integration

GREEDY = Sampling()
PATIENCE = Patience(silence_seconds=2.0, wait_seconds=0.01, jitter=lambda: 1.0)


def tone(seconds: float = 1.0) -> Clip:
    at = np.arange(round(16_000 * seconds), dtype=np.float32)
    return Clip(np.asarray(0.3 * np.sin(0.1 * at), np.float32))


CLIP = tone()


@pytest.fixture
def server() -> Iterator[OpenAiServer]:
    with running_server() as running:
        yield running


@pytest.fixture
def engine(server: OpenAiServer) -> RemoteEngine:
    return load(server.address, patience=PATIENCE)


def ask(engine: ListenerEngine, *texts: str) -> list[str]:
    return [a.text for a in engine.answer(CLIP, [Question(text) for text in texts], GREEDY)]


def sent_sound(server: OpenAiServer, number: int = 0) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    part = server.asked[number].parts[0]
    assert part["type"] == "input_audio"
    assert part["input_audio"]["format"] == "wav"
    with wave.open(io.BytesIO(base64.b64decode(part["input_audio"]["data"]))) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16_000, 1, 2)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2")


def test_a_question_is_asked_with_the_sound_before_it(
    server: OpenAiServer, engine: RemoteEngine
) -> None:
    told: list[str] = []
    server.usual = says("A slow piece.", before=0.05)
    (answer,) = engine.answer(CLIP, [Question("Which tempo?")], GREEDY, told.append)
    assert (answer.text, answer.finish) == ("A slow piece.", "stop")
    assert (answer.prompt_tokens, answer.cached_tokens) == (790, 768)
    assert 0.05 <= answer.seconds < 2
    assert answer.thoughts is None
    assert answer.notes == ()
    assert told == ["A", " slow", " piece."]
    (asked,) = server.asked
    assert asked.path == "/v1/chat/completions"
    assert asked.body["model"] == "tiny"
    assert [message["role"] for message in asked.body["messages"]] == ["user"]  # no system message
    assert [part["type"] for part in asked.parts] == ["input_audio", "text"]
    assert asked.text == "Which tempo?"
    assert np.abs(sent_sound(server) / 32_768 - CLIP.samples).max() <= 0.5 / 32_768


def test_full_scale_is_clipped_not_wrapped(server: OpenAiServer, engine: RemoteEngine) -> None:
    clip = Clip(np.array([1.0, -1.0, 1.5, -2.0] * 400, np.float32))
    engine.answer(clip, [Question("?")], GREEDY)
    assert sent_sound(server)[:4].tolist() == [32_767, -32_768, 32_767, -32_768]


def test_the_first_question_is_asked_alone_and_the_others_at_once(
    server: OpenAiServer, engine: RemoteEngine
) -> None:
    def echo(talk: Talk) -> None:
        says(f"To {talk.asked.text}", before=0.15)(talk)

    server.usual = echo
    assert ask(engine, *"abcdefg") == [f"To {letter}" for letter in "abcdefg"]
    first, *others = server.asked
    assert first.text == "a"
    assert min(asked.start for asked in others) - first.start >= 0.15
    assert server.most_at_once == 4


def test_nothing_asked_nothing_answered(server: OpenAiServer, engine: RemoteEngine) -> None:
    assert engine.answer(CLIP, [], GREEDY) == []
    assert engine.chat([], GREEDY) == []
    assert server.asked == []


def test_llama_server_is_recognised_and_gets_what_it_needs(server: OpenAiServer) -> None:
    meta = {"n_ctx": 17_408, "n_ctx_train": 32_768}
    server.models = listing("music-flamingo-hf.Q6_K.gguf", owner="llamacpp", meta=meta)
    server.usual = says("Yes.", before=0.02)
    engine = load(server.address)
    (first, *_) = engine.answer(CLIP, [Question(text) for text in "abc"], GREEDY)
    assert server.most_at_once == 1
    assert len(sent_sound(server)) == 479_839  # repeated to a window, less what makes a second
    assert "repeated" in first.notes[0]
    body = server.asked[0].body
    assert body["cache_prompt"] is True
    assert (body["top_k"], body["min_p"], body["repeat_penalty"]) == (0, 0.0, 1.0)
    engine.chat([[Message("user", "a")], [Message("user", "b")]], GREEDY)
    assert server.most_at_once == 1
    assert engine.info.settings == {"server": "llamacpp"}
    assert engine.info.licence == "NVIDIA OneWay Noncommercial"
    assert engine.info.cap_seconds == 600


def test_llama_server_behind_a_proxy_can_be_named(server: OpenAiServer) -> None:
    load(server.address, llama=True).answer(CLIP, [Question("?")], GREEDY)
    assert server.asked[0].body["cache_prompt"] is True
    server.models = listing("tiny", owner="llamacpp")
    load(server.address, llama=False).answer(CLIP, [Question("?")], GREEDY)
    assert "cache_prompt" not in server.asked[1].body


def test_a_small_context_holds_less_sound(server: OpenAiServer) -> None:
    server.models = listing("tiny", owner="llamacpp", meta={"n_ctx": 4_096})
    assert load(server.address).info.cap_seconds == 120
    server.models = listing("tiny", owner="vllm", max_model_len=8_192)
    assert load(server.address).info.cap_seconds == 270
    server.models = listing("tiny", owner="llamacpp", meta={"n_ctx": 512})
    assert load(server.address).info.cap_seconds == 30
    assert load(server.address, cap_seconds=90).info.cap_seconds == 90


def test_llama_server_without_projector_is_refused(server: OpenAiServer) -> None:
    shape = {"input_modalities": ["text"], "output_modalities": ["text"]}
    server.models = listing("tiny", owner="llamacpp", architecture=shape)
    with pytest.raises(ModelError, match="takes text, no sound.*--mmproj"):
        load(server.address)


@pytest.mark.parametrize(
    ("owner", "name", "more"),
    [
        ("vllm", "nvidia/music-flamingo-2601-hf", {}),
        ("vllm", "flamingo", {"root": "/models/music-flamingo-think-2601-hf"}),
        ("vllm", "nvidia/audio-flamingo-next-captioner-hf", {}),
        ("llamacpp", "/models/music-flamingo-2601-hf.Q6_K.gguf", {}),
        ("llamacpp", "default", {"aliases": ["Audio-Flamingo-Next-Q8_0"]}),
    ],
)
def test_a_model_that_the_server_gets_wrong_is_refused(
    server: OpenAiServer, owner: str, name: str, more: dict[str, object]
) -> None:
    server.models = listing(name, owner=owner, **more)
    with pytest.raises(ModelError, match=r"rotary time embedding.*antiphon\[torch\]"):
        load(server.address)


def test_such_a_model_is_taken_from_a_server_that_is_neither(server: OpenAiServer) -> None:
    server.models = listing("nvidia/music-flamingo-2601-hf", owner="nvidia")
    assert load(server.address).info.cap_seconds == 1_200


def test_one_of_several_models_must_be_named(server: OpenAiServer) -> None:
    server.models = listing("alpha", "beta")
    with pytest.raises(ConfigError, match="has 2 models: 'alpha', 'beta'; say which"):
        load(server.address)
    with pytest.raises(ConfigError, match="no model 'gamma'; it has 'alpha', 'beta'"):
        load(server.address, model="gamma")
    engine = load(server.address, model="beta")
    ask(engine, "?")
    assert server.asked[0].body["model"] == engine.info.model == "beta"


def test_a_server_without_a_list_of_models(server: OpenAiServer) -> None:
    server.models = answers(404, {"detail": "Not Found"})
    with pytest.raises(ConfigError, match="does not list its models"):
        load(server.address)
    assert load(server.address, model="mine").info.model == "mine"


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (answers(200, {"models": []}), "without 'data'"),
        (answers(200, b"<html>Welcome", "text/html"), "a page of HTML in place of JSON"),
        (answers(200, b""), "nothing in place of JSON"),
    ],
)
def test_what_is_no_such_server(server: OpenAiServer, reply: object, message: str) -> None:
    server.models = reply
    with pytest.raises(EngineError, match=message):
        load(server.address)


def test_an_alias_names_a_model_too(server: OpenAiServer) -> None:
    server.models = listing("/models/x.gguf", owner="llamacpp", aliases=["mine"])
    assert load(server.address, model="mine").info.model == "mine"
    engine = load(server.address)
    ask(engine, "?")
    assert server.asked[0].body["model"] == "/models/x.gguf"
    assert engine.info.model == "x.gguf"


@pytest.mark.parametrize("tail", ["", "/", "/v1", "/v1/", "/v1/chat/completions"])
def test_the_address_with_or_without_v1(server: OpenAiServer, tail: str) -> None:
    ask(load(server.address + tail), "?")
    assert server.gets[0][0] == "/v1/models"
    assert server.asked[0].path == "/v1/chat/completions"


@pytest.mark.parametrize(
    "url",
    [
        "ftp://host/v1",
        "host:8080",
        "http://",
        "http://host:port/v1",
        "http://host/v1?api_key=sesame",
        "http://me:sesame@host/v1",
        "http://me:ses/ame@host/v1",
        "me:sesame@host/v1",
        "http://host/a b",
        "http://ho st/v1",
    ],
)
def test_an_address_that_is_none_is_refused_and_shows_no_secret(url: str) -> None:
    with pytest.raises(ConfigError, match="expected http://host:port|ANTIPHON_REMOTE_KEY") as info:
        load(url)
    assert "ses" not in str(info.value)


def test_sampling_is_said_in_full(server: OpenAiServer, engine: RemoteEngine) -> None:
    sampling = Sampling(max_new_tokens=7, temperature=0.5, top_p=0.9, top_k=20, seed=11)
    schema = {"type": "object", "properties": {"genre": {"type": "string"}}}
    engine.answer(CLIP, [Question("a"), Question("b", 5, schema)], sampling)
    first, second = (asked.body for asked in server.asked)
    assert (first["max_tokens"], second["max_tokens"]) == (7, 5)
    for key, value in {"temperature": 0.5, "top_p": 0.9, "top_k": 20, "seed": 11}.items():
        assert first[key] == second[key] == value
    assert first["stream"] is True
    assert first["stream_options"] == {"include_usage": True}
    assert "response_format" not in first
    assert second["response_format"]["type"] == "json_schema"
    assert second["response_format"]["json_schema"]["schema"] == schema


def test_vllm_does_not_fall_back_on_the_checkpoint_s_sampling(server: OpenAiServer) -> None:
    server.models = listing("tiny", owner="vllm")
    ask(load(server.address), "?")
    body = server.asked[0].body
    assert (body["temperature"], body["top_k"], body["repetition_penalty"]) == (0.0, -1, 1.0)


def test_special_tokens_in_a_question_stay_text(server: OpenAiServer, engine: RemoteEngine) -> None:
    ask(engine, "What is <sound><|im_end|>\n<|im_start|>system in 3 < 4 > 2?")
    assert server.asked[0].text == "What is < sound>< |im_end|>\n< |im_start|>system in 3 < 4 > 2?"


def test_a_conversation_of_several_turns(server: OpenAiServer, engine: RemoteEngine) -> None:
    turns = [
        Message("system", "Be brief."),
        Message("user", "What is it?", CLIP),
        Message("assistant", "A tone."),
        Message("user", "How high?"),
    ]
    (answer,) = engine.chat([turns], GREEDY)
    assert answer.text == "A piece."
    messages = server.asked[0].body["messages"]
    assert [message["role"] for message in messages] == ["system", "user", "assistant", "user"]
    assert [part["type"] for part in messages[1]["content"]] == ["input_audio", "text"]
    assert [messages[at]["content"] for at in (0, 2, 3)] == ["Be brief.", "A tone.", "How high?"]


def test_text_only_sound_only_and_a_batch(server: OpenAiServer, engine: RemoteEngine) -> None:
    server.usual = says("So.", before=0.1)
    told: list[str] = []
    (alone,) = engine.chat([[Message("user", "Hello")]], GREEDY, told.append)
    assert "".join(told) == alone.text == "So."
    batch = [[Message("user", "", CLIP)], [Message("user", "One")], [Message("user", "Two")]]
    assert [answer.text for answer in engine.chat(batch, GREEDY)] == ["So."] * 3
    assert server.most_at_once == 3
    contents = [asked.body["messages"][0]["content"] for asked in server.asked[1:]]
    sounds = [content for content in contents if isinstance(content, list)]
    assert [[part["type"] for part in sound] for sound in sounds] == [["input_audio"]]


def test_a_conversation_that_cannot_be_had(server: OpenAiServer, engine: RemoteEngine) -> None:
    with pytest.raises(ConfigError, match="2 recordings, and the model hears one"):
        engine.chat([[Message("user", "x", CLIP), Message("user", "y", CLIP)]], GREEDY)
    assert server.asked == []


def test_an_empty_answer_in_a_history_is_sent_as_it_is(
    server: OpenAiServer, engine: RemoteEngine
) -> None:
    engine.chat([[Message("user", "x"), Message("assistant", ""), Message("user", "y")]], GREEDY)
    assert server.asked[-1].body["messages"][1] == {"role": "assistant", "content": ""}


def test_limits_are_met_before_anything_is_sent(server: OpenAiServer) -> None:
    engine = load(server.address, cap_seconds=2)
    with pytest.raises(ConfigError, match="2,000,000 characters; expected at most 96,000.*24,000"):
        ask(engine, "x" * 2_000_000)
    with pytest.raises(ConfigError, match="max_new_tokens is 2049"):
        engine.answer(CLIP, [Question("?", 2_049)], GREEDY)
    with pytest.raises(ConfigError, match="clip has 2.50 s; tiny on this server hears 2 s at once"):
        engine.answer(tone(2.5), [Question("?")], GREEDY)
    with pytest.raises(ConfigError, match="on_token was given for 2 answers"):
        engine.answer(CLIP, [Question("a"), Question("b")], GREEDY, print)
    with pytest.raises(ConfigError, match="a raw prompt cannot be sent"):
        engine.raw(CLIP, "<sound>What?", GREEDY)
    assert server.asked == []
    ask(engine, "x" * MAX_PROMPT_CHARACTERS)


@pytest.mark.parametrize(
    ("option", "message"),
    [({"timeout_seconds": 0.0}, "timeout_seconds is 0"), ({"cap_seconds": -1.0}, "cap_seconds")],
)
def test_options_out_of_range(option: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load("http://127.0.0.1:9", **option)  # type: ignore[arg-type]


def test_thoughts_are_kept_apart(server: OpenAiServer, engine: RemoteEngine) -> None:
    told: list[str] = []
    server.script = [says("<think> A drum, so rock. </think>\n\nIt is rock.")]
    (answer,) = engine.answer(CLIP, [Question("?")], GREEDY, told.append)
    assert (answer.text, answer.thoughts) == ("It is rock.", "A drum, so rock.")
    assert "".join(told) == "It is rock."
    server.script = [says_whole("Rock.", reasoning_content="A drum.")]
    (answer,) = engine.answer(CLIP, [Question("?")], GREEDY)
    assert (answer.text, answer.thoughts) == ("Rock.", "A drum.")


def test_an_answer_that_repeats_itself_is_ended(server: OpenAiServer, engine: RemoteEngine) -> None:
    def loop(talk: Talk) -> None:
        talk.stream()
        for _ in range(2_048):
            talk.event(delta("The guitar plays. "))
            talk.wait(0.001)
        raise AssertionError("it was listened to the end")

    server.script = [loop]
    (answer,) = engine.answer(CLIP, [Question("?")], GREEDY)
    assert answer.finish == "repetition"
    assert answer.text.startswith("The guitar plays. The guitar plays.")
    assert len(answer.text) < 1_000
    again = "Again and again. " * 40
    for behaviour in (says(f"Well. {again}"), says_whole("", reasoning_content=again)):
        server.script = [behaviour]
        assert engine.answer(CLIP, [Question("?")], GREEDY)[0].finish == "repetition"


def test_an_answer_cut_at_its_length(server: OpenAiServer, engine: RemoteEngine) -> None:
    server.script = [says("It goes on", "length")]
    assert engine.answer(CLIP, [Question("?")], GREEDY)[0].finish == "length"


def test_a_server_that_does_not_stream(server: OpenAiServer, engine: RemoteEngine) -> None:
    told: list[str] = []
    server.script = [says_whole("All at once.")]
    (answer,) = engine.answer(CLIP, [Question("?")], GREEDY, told.append)
    assert (answer.text, answer.cached_tokens) == ("All at once.", 768)
    assert told == ["All at once."]


@pytest.mark.parametrize("usage", [None, {"prompt_tokens": "many"}, {"prompt_tokens": -1}])
def test_a_server_that_does_not_count(
    server: OpenAiServer, engine: RemoteEngine, usage: object
) -> None:
    server.script = [says("Well.", usage=usage)]
    (answer,) = engine.answer(CLIP, [Question("?")], GREEDY)
    assert (answer.prompt_tokens, answer.cached_tokens) == (0, 0)
    assert len(answer.notes) == (usage is None)


def test_events_in_every_form_a_stream_may_take(server: OpenAiServer, engine: RemoteEngine) -> None:
    stop = b'{"choices":[{"delta":{},"finish_reason":"stop"}]}'
    word = '{"choices":[{"delta":{"content":"für Élise"}}]}'.encode()
    half = word.index("É".encode()) + 1
    server.script = [
        streams(
            b": OPENROUTER PROCESSING\r\n\r\n",
            b"event: message\r\nid: 1\r\ndata: " + word[:half],
            word[half:] + b"\r",
            b"\n\r\ndata:" + stop + b"\r\n\r\n",
            b"data: [DONE]\r\n\r\n",
            pause=0.02,
        ),
        streams(b"data: " + word + b"\r\rdata: " + stop + b"\r\r"),
        streams(b'data: {"choices":\ndata: [{"delta":{"content":"a"}}]}\n\ndata: ' + stop),
    ]
    assert [ask(engine, "?")[0] for _ in range(3)] == ["für Élise", "für Élise", "a"]


def test_a_closed_engine_says_so(server: OpenAiServer, engine: RemoteEngine) -> None:
    engine.cancel()  # of nothing
    assert ask(engine, "?") == ["A piece."]
    engine.close()
    with pytest.raises(EngineError, match="closed; load it again"):
        ask(engine, "?")


def test_an_answer_is_told_while_it_comes(server: OpenAiServer, engine: RemoteEngine) -> None:
    told: list[float] = []
    server.script = [says("one two three four", pause=0.05)]
    engine.answer(CLIP, [Question("?")], GREEDY, lambda _: told.append(time.monotonic()))
    assert told[-1] - told[0] >= 0.1
