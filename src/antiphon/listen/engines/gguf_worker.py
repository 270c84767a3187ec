"""The process that runs llama.cpp, through xllamacpp: a crash or a kill there harms nobody else.

`python -m antiphon.listen.engines.gguf_worker` takes requests from stdin and answers on stdout; in
both directions a message is the length of its JSON, that of the bytes after it, and then the two.
It ends when its stdin does, and so with its parent, however that dies.

Knows no clip and no question: `gguf.py` made plain requests of them.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import queue
import secrets
import struct
import sys
import threading
from collections.abc import Mapping
from importlib import import_module
from typing import IO, Any
from urllib.parse import urlsplit

from antiphon.memory import free_bytes

Message = dict[str, Any]

_LENGTHS = struct.Struct("<II")
_TOKENIZE_SECONDS = 60.0
_MEMORY_TO_SPARE = 1 << 30  # what llama.cpp computes in, and us


def write_message(file: IO[bytes], message: Mapping[str, object], payload: bytes = b"") -> None:
    text = json.dumps(message).encode()
    file.write(_LENGTHS.pack(len(text), len(payload)) + text)
    file.write(payload)
    file.flush()


def read_message(file: IO[bytes]) -> tuple[Message, bytes]:
    """Raises EOFError when the other side is gone."""
    text, payload = _LENGTHS.unpack(_read(file, _LENGTHS.size))
    message: Message = json.loads(_read(file, text))
    return message, _read(file, payload)


def _read(file: IO[bytes], count: int) -> bytes:
    data = file.read(count)
    if len(data) < count:
        raise EOFError
    return data


class Failure(Exception):
    """What the parent is told; `kind` is `load`, `context`, `request` or `engine`."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Worker:
    """One loaded model and the clip that is being asked about."""

    def __init__(self, load: Message, out: IO[bytes]) -> None:
        self._out = out
        self._audio = ""
        self.cancelled = 0  # every request up to this one
        self._key = secrets.token_hex(16)
        self.context = int(load["context"])
        try:
            self._server = self._load(load)
            self._chat({"messages": [{"role": "user", "content": "hi"}], "max_tokens": 1}, None)
        except (RuntimeError, ValueError, Failure) as error:
            raise Failure("load", str(error)) from error

    def _load(self, load: Message) -> Any:
        xllamacpp = import_module("xllamacpp")  # it has no type hints
        kinds = [device["type"].name for device in xllamacpp.get_device_info()]
        has_gpu = any(kind.endswith("GPU") for kind in kinds)  # or IGPU; not CPU, not ACCEL
        params = xllamacpp.CommonParams()
        if not has_gpu or load["gpu_layers"] == 0:  # else llama.cpp itself divides what there is
            self.context = _context_that_fits(load)
            # On a processor it is wrong and slow: the log-probabilities of a small model moved by
            # 1.38 after 303 s of audio, without it by .01; a token took 122 ms after 590 s, without
            # it 28, for 12 % more time before the first one.
            params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
            params.n_ubatch = 128  # or every head would have 512 rows as long as the context
        params.model.path = load["model"]
        params.mmproj.path = load["projector"]
        params.n_ctx = self.context
        params.n_parallel = 1
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = load["threads"]
        if load["gpu_layers"] is not None:
            params.n_gpu_layers = load["gpu_layers"]
            params.fit_params = False
            params.mmproj_use_gpu = load["gpu_layers"] > 0
        params.verbosity = 1  # errors; they go to stderr, which the parent keeps
        params.warmup = False  # the request in the constructor is one
        params.cache_ram_mib = 0  # by default 8 GiB of prompts that nobody asks for again
        params.cache_idle_slots = False
        # It opens a port on loopback, whatever one does, for every program on the machine.
        params.api_keys = [self._key]
        params.cors_origins = ""
        params.endpoint_slots = False
        params.ui = False
        # Texts come as the model wrote them: the parent splits off thoughts. Not by means of
        # force_pure_content_parser, with which JSON schemas are ignored without a word.
        params.reasoning_format = xllamacpp.common_reasoning_format.COMMON_REASONING_FORMAT_NONE
        return xllamacpp.Server(params)

    def hear(self, wav: bytes) -> None:
        """The clip of the requests that follow."""
        self._audio = base64.b64encode(wav).decode()

    def ask(self, request: Message) -> Message:
        """Answer one request; the pieces of the text are sent as they come."""
        number = request.pop("number")
        for message in request["messages"]:
            if not isinstance(message["content"], list):
                continue
            for part in message["content"]:
                if part["type"] == "input_audio":
                    part["input_audio"] = {"data": self._audio, "format": "wav"}
        result: Message = {"finish": "cancelled", "prompt_tokens": 0, "cached_tokens": 0}
        if self.cancelled < number:
            self._chat(request, lambda chunk: self._take(chunk, result, number))
        return result

    def _take(self, chunk: Message, result: Message, number: int) -> bool:
        """Send on what is new; True ends the answer."""
        if "prompt_progress" in chunk:
            progress = chunk["prompt_progress"]
            result["prompt_tokens"] = progress["total"]
            result["cached_tokens"] = progress["cache"]
        for choice in chunk.get("choices", ()):
            piece = choice["delta"].get("content")
            if piece:
                write_message(self._out, {"piece": piece})
            if choice["finish_reason"]:
                result["finish"] = choice["finish_reason"]
        return self.cancelled >= number

    def _chat(self, request: Message, take: Any) -> None:
        trouble: list[BaseException | Message] = []

        def on_chunk(chunk: Message) -> bool:
            # xllamacpp swallows what a callback raises.
            try:
                if "error" in chunk:
                    trouble.append(chunk)
                    return True
                return bool(take(chunk)) if take else False
            except Exception as error:  # noqa: BLE001 - told to the parent below
                trouble.append(error)
                return True

        request = {**request, "stream": True, "return_progress": True}
        try:
            answer = self._server.handle_chat_completions(request, on_chunk)
        except (RuntimeError, ValueError) as error:  # a part or a schema that it does not take
            raise Failure("request", str(error)) from error
        if isinstance(answer, dict) and "error" in answer:
            trouble.append(answer)
        for one in trouble:
            if isinstance(one, BaseException):
                raise one
            told = one["error"]
            kind = "engine" if told.get("code") != 400 else "request"
            if told.get("type") == "exceed_context_size_error":
                kind = "context"
            raise Failure(kind, str(told.get("message", told)))

    def count(self, text: str) -> int:
        """How many tokens llama.cpp makes of `text`, special ones included."""
        place = urlsplit(self._server.listening_address)
        connection = http.client.HTTPConnection(
            str(place.hostname), place.port, timeout=_TOKENIZE_SECONDS
        )
        try:
            connection.request(
                "POST",
                "/tokenize",
                json.dumps({"content": text, "parse_special": True, "add_special": False}),
                {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"},
            )
            answer: Message = json.loads(connection.getresponse().read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise Failure("engine", f"the text could not be counted: {error}") from error
        finally:
            connection.close()
        tokens = answer.get("tokens")
        if not isinstance(tokens, list):
            raise Failure("engine", f"the text could not be counted: {answer.get('error')}")
        return len(tokens)


def _context_that_fits(load: Message) -> int:
    """The context wanted, or what memory allows, but never less than `least_context`."""
    free = free_bytes()
    wanted, least = int(load["context"]), int(load["least_context"])
    if free is None:
        return wanted
    left = free - int(load["weight_bytes"]) - _MEMORY_TO_SPARE
    room = left // max(int(load["bytes_per_token"]), 1)
    return max(min(wanted, room // 256 * 256), min(least, wanted))


def _read_requests(requests: queue.SimpleQueue[tuple[Message, bytes]], box: list[Worker]) -> None:
    """In a thread of its own: a request to cancel must be seen while another is answered."""
    try:
        while True:
            message, payload = read_message(sys.stdin.buffer)
            if message["do"] == "cancel":
                for worker in box:
                    worker.cancelled = max(worker.cancelled, message["number"])
            else:
                requests.put((message, payload))
    except EOFError:
        os._exit(0)  # at once: destroying llama.cpp's server can wait for ever
    finally:
        os._exit(1)  # without this thread, nothing would end it with its parent


def _reply(worker: Worker, message: Message, payload: bytes) -> Message:
    do = message.pop("do")
    if do == "hear":
        worker.hear(payload)
        return {"done": {}}
    if do == "count":
        return {"done": {"tokens": worker.count(message["text"])}}
    assert do == "ask"
    return {"done": worker.ask(message)}


def main() -> None:
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what llama.cpp prints is no answer of ours
    requests: queue.SimpleQueue[tuple[Message, bytes]] = queue.SimpleQueue()
    box: list[Worker] = []
    threading.Thread(target=_read_requests, args=(requests, box), daemon=True).start()
    load, _ = requests.get()
    try:
        box.append(Worker(load, out))
    except ImportError as error:
        write_message(out, {"error": str(error), "kind": "import"})
        os._exit(1)
    except Failure as error:
        write_message(out, {"error": str(error), "kind": error.kind})
        os._exit(1)
    write_message(out, {"done": {"context": box[0].context}})
    while True:
        message, payload = requests.get()
        try:
            answer = _reply(box[0], message, payload)
        except Failure as error:
            answer = {"error": str(error), "kind": error.kind}
        except Exception as error:  # noqa: BLE001 - the boundary of the process
            answer = {"error": f"{type(error).__name__}: {error}", "kind": "engine"}
        write_message(out, answer)


if __name__ == "__main__":
    try:
        main()
    finally:
        os._exit(1)  # the pipe broke; see _read_requests
