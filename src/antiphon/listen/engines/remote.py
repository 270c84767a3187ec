"""Ask a model on a server that speaks OpenAI's protocol: llama-server, vLLM, ours, others.

    engine = load("http://127.0.0.1:8080")
    engine.answer(clip, [Question("Which genre is it?")], Sampling())

The key comes from ANTIPHON_REMOTE_KEY (for api.openai.com also from OPENAI_API_KEY). The sound is
sent with every question; a server that has heard it takes it from its cache, and says so.
"""

from __future__ import annotations

import base64
import json
import secrets
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace

from antiphon.errors import ConfigError, EngineError
from antiphon.listen.engines import (
    MAX_PROMPT_TOKENS,
    Answer,
    EngineInfo,
    Finish,
    Message,
    OnToken,
    Question,
    Sampling,
    heard_in,
)
from antiphon.listen.engines.gguf_audio import fit_windows, wav_bytes
from antiphon.listen.engines.remote_address import read_address
from antiphon.listen.engines.remote_answers import Transcript, failure
from antiphon.listen.engines.remote_calls import Call, Cancelled, RemoteError
from antiphon.listen.engines.remote_models import Served, choose
from antiphon.listen.engines.remote_transport import Patience, Transport
from antiphon.listen.engines.texts import plain_text
from antiphon.listen.windows import SAMPLE_RATE, Clip

CONCURRENT = 4
MAX_PROMPT_CHARACTERS = 4 * MAX_PROMPT_TOKENS  # English has 4 to 5 per token
_NO_LIST = frozenset({404, 405, 501})


def load(
    url: str,
    *,
    model: str | None = None,
    cap_seconds: float | None = None,
    timeout_seconds: float = 600.0,
    llama: bool | None = None,
    patience: Patience | None = None,
) -> RemoteEngine:
    """Find the model at `url` (with or without /v1); `timeout_seconds` are for one question.

    `model` must be given where the server has several. `cap_seconds` is what it hears at most (by
    default what the model's name and the server's context say), `llama` whether it is llama.cpp
    (by default what the server says).

    Raises ConfigError, ModelError for a model that this server gets wrong, EngineError where the
    server does not answer as it should.
    """
    if not 0.0 < timeout_seconds < float("inf"):
        raise ConfigError(f"timeout_seconds is {timeout_seconds:g}; expected more than 0")
    if cap_seconds is not None and not 0.0 < cap_seconds < float("inf"):
        raise ConfigError(f"cap_seconds is {cap_seconds:g}; expected more than 0")
    patience = replace(patience or Patience(), total_seconds=timeout_seconds)
    transport = Transport(read_address(url), patience)
    try:
        listing = transport.get_json("/models", Call())
    except RemoteError as error:
        if error.status not in _NO_LIST:
            raise
        listing = None
    served = choose(listing, model, llama, str(transport.address))
    return RemoteEngine(transport, replace(served, cap_seconds=cap_seconds or served.cap_seconds))


@dataclass(frozen=True)
class _Sound:
    """A clip as it is sent: a WAV file in base64, and what was changed for this server."""

    data: bytes
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Request:
    """A body, but for the sound: 10 minutes are 25 MB, which are made when they are sent, or once
    for all questions about them."""

    before: bytes
    after: bytes
    clip: Clip | None
    sound: _Sound | None = None


class RemoteEngine:
    """A `ListenerEngine`; made by `load`."""

    def __init__(self, transport: Transport, served: Served) -> None:
        self._transport = transport
        self._served = served
        self._one_call = threading.Lock()
        self._call: Call | None = None
        self._is_closed = False

    @property
    def info(self) -> EngineInfo:
        served = self._served
        return EngineInfo(
            engine="remote",
            model=served.shown_name,
            revision=None,
            licence=served.licence,
            cap_seconds=served.cap_seconds,
            settings={"server": served.kind},
        )

    def answer(
        self,
        clip: Clip,
        questions: Sequence[Question],
        sampling: Sampling,
        on_token: OnToken | None = None,
    ) -> list[Answer]:
        """See `ListenerEngine`. The first question is asked alone, so that the server has heard
        the sound when the others come: all at once, but llama.cpp's one after the other, for there
        only the slot that heard it knows it."""
        _check_single(len(questions), on_token)
        requests = []
        for question in questions:
            wanted = question.max_new_tokens
            limited = sampling if wanted is None else replace(sampling, max_new_tokens=wanted)
            turns = [Message("user", question.text, clip)]
            requests.append(self._request(turns, limited, question.schema))
        with self._calling() as call:
            sound = _sound(clip, self._served) if requests else None
            requests = [replace(request, sound=sound) for request in requests]
            first = [self._ask(request, call, on_token) for request in requests[:1]]
            return first + self._ask_all(requests[1:], call)

    def chat(
        self,
        conversations: Sequence[Sequence[Message]],
        sampling: Sampling,
        on_token: OnToken | None = None,
    ) -> list[Answer]:
        """See `ListenerEngine`; several conversations are asked at once, but by llama.cpp."""
        _check_single(len(conversations), on_token)
        requests = [self._request(turns, sampling, None) for turns in conversations]
        with self._calling() as call:
            if len(requests) == 1:
                return [self._ask(requests[0], call, on_token)]
            return self._ask_all(requests, call)

    def raw(self, clip: Clip | None, prompt: str, sampling: Sampling) -> Answer:
        raise ConfigError(
            "a raw prompt cannot be sent to a server, which applies its own chat template; load "
            "the checkpoint, or the GGUF file, itself"
        )

    def cancel(self) -> None:
        call = self._call
        if call is not None:
            call.cancel()

    def close(self) -> None:
        self._is_closed = True
        self.cancel()

    @contextmanager
    def _calling(self) -> Iterator[Call]:
        with self._one_call:
            if self._is_closed:
                raise EngineError("the engine is closed; load it again")
            self._call = call = Call()
            try:
                yield call
            finally:
                self._call = None

    def _ask_all(self, requests: Sequence[_Request], call: Call) -> list[Answer]:
        if self._served.kind == "llamacpp" or len(requests) < 2:
            return [self._ask(request, call) for request in requests]
        with ThreadPoolExecutor(min(CONCURRENT, len(requests)), "antiphon-ask") as pool:
            futures = [pool.submit(self._ask, request, call) for request in requests]
            try:
                for future in wait(futures, return_when=FIRST_EXCEPTION).done:
                    future.result()
            except BaseException:
                call.cancel()  # what nobody waits for, after Ctrl-C too, must not be computed
                raise
            return [future.result() for future in futures]

    def _ask(self, request: _Request, call: Call, on_token: OnToken | None = None) -> Answer:
        start = time.monotonic()
        transcript = Transcript(self._transport.shown, on_token)
        finish: Finish | None = None
        notes: tuple[str, ...] = ()
        parts: tuple[bytes, ...] = (request.before, request.after)
        try:
            call.pause(0.0)
            if request.clip is not None:
                sound = request.sound or _sound(request.clip, self._served)
                parts, notes = (request.before, sound.data, request.after), sound.notes
            with self._transport.ask("POST", "/chat/completions", parts, call) as reply:
                transcript.read(reply.headers.get_content_type(), reply.blocks())
        except Cancelled:
            finish = "cancelled"
        except RemoteError as error:
            meant = failure(error)
            if meant is error:
                raise
            raise meant from error
        return transcript.answer(time.monotonic() - start, notes, finish)

    def _request(
        self, turns: Sequence[Message], sampling: Sampling, schema: Mapping[str, object] | None
    ) -> _Request:
        """Raises ConfigError for what cannot be asked."""
        clip = heard_in(turns)
        if clip is not None:
            _check_clip(clip, self._served)
        characters = sum(len(turn.text) for turn in turns)
        if characters > MAX_PROMPT_CHARACTERS:
            raise ConfigError(
                f"the text has {characters:,} characters; expected at most "
                f"{MAX_PROMPT_CHARACTERS:,}, which are about {MAX_PROMPT_TOKENS:,} tokens: "
                "shorten it"
            )
        mark = secrets.token_hex(16)  # where the sound goes
        body: dict[str, object] = {
            "model": self._served.model,
            "messages": _messages(turns, mark),
            "max_tokens": sampling.max_new_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": sampling.seed % 2**32,
            "stream": True,
            "stream_options": {"include_usage": True},
            **self._sampling_of_server(sampling),
        }
        if schema is not None:
            shape = {"name": "answer", "strict": True, "schema": schema}
            body["response_format"] = {"type": "json_schema", "json_schema": shape}
        before, _, after = json.dumps(body).partition(mark)
        return _Request(before.encode(), after.encode(), clip)

    def _sampling_of_server(self, sampling: Sampling) -> dict[str, object]:
        """What OpenAI's protocol does not know, and what would be a default of the server or of
        the checkpoint (Audio Flamingo 3's penalises repetition) if it were not said."""
        if self._served.kind == "llamacpp":
            return {
                "top_k": sampling.top_k,
                "min_p": 0.0,
                "repeat_penalty": 1.0,
                "samplers": ["temperature", "top_k", "top_p"],  # in transformers' order
                "cache_prompt": True,
            }
        if self._served.kind == "vllm":
            top_k = sampling.top_k or -1
            return {"top_k": top_k, "min_p": 0.0, "repetition_penalty": 1.0}
        return {"top_k": sampling.top_k} if sampling.top_k else {}


def _check_single(count: int, on_token: OnToken | None) -> None:
    if on_token is not None and count != 1:
        raise ConfigError(f"on_token was given for {count} answers; expected one: ask one by one")


def _check_clip(clip: Clip, served: Served) -> None:
    if clip.duration_seconds > served.cap_seconds + 1.0 / SAMPLE_RATE:
        raise ConfigError(
            f"the clip has {clip.duration_seconds:.2f} s; {served.shown_name} on this server hears "
            f"{served.cap_seconds:g} s at once: cut it, or take it in parts"
        )


def _sound(clip: Clip, served: Served) -> _Sound:
    samples = clip.samples
    notes: tuple[str, ...] = ()
    if served.kind == "llamacpp":
        samples, notes = fit_windows(samples)
    return _Sound(base64.b64encode(wav_bytes(samples)), notes)


def _messages(turns: Sequence[Message], mark: str) -> list[dict[str, object]]:
    """OpenAI's form; `mark` stands for the sound."""
    messages: list[dict[str, object]] = []
    for turn in turns:
        text = plain_text(turn.text)
        content: object = text
        if turn.clip is not None:
            sound = {"type": "input_audio", "input_audio": {"data": mark, "format": "wav"}}
            # Sound first: after other text, no server has it in its cache.
            content = [sound, {"type": "text", "text": text}] if text else [sound]
        messages.append({"role": turn.role, "content": content})
    return messages
