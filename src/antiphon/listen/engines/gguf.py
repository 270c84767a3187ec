"""Listening with GGUF files through llama.cpp, in a process of its own.

    engine = load(Path("music-flamingo-hf.Q6_K.gguf"))      # the projector is found beside it

Knows nothing of how the process is kept (`gguf_process`) or what it does (`gguf_worker`). What
llama.cpp does otherwise than transformers, and what is done about it, is in docs/listening.md.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from antiphon.audio import FloatArray
from antiphon.description import Setting
from antiphon.errors import ConfigError, DependencyError
from antiphon.listen.engines import (
    MAX_NEW_TOKENS,
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
from antiphon.listen.engines.gguf_audio import fit_windows as fit_windows
from antiphon.listen.engines.gguf_audio import wav_bytes as wav_bytes
from antiphon.listen.engines.gguf_files import GgufHeader, model_file, read_pair
from antiphon.listen.engines.gguf_process import Cancelled, WorkerProcess
from antiphon.listen.engines.gguf_sizing import (
    CAP_SECONDS,
    TEMPLATE_TOKENS,
    TURN_TOKENS,
    WINDOW_TOKENS,
    at_least,
    context_tokens,
    least_context,
    windows_in,
)
from antiphon.listen.engines.texts import Telling, plain_text, repeats, split_thoughts
from antiphon.listen.windows import WINDOW_SAMPLES, WINDOW_SECONDS, Clip
from antiphon.threads import model_threads

_REPEATS_EVERY = 32  # pieces
_WHEELS = "https://xorbitsai.github.io/xllamacpp/whl"


def install_hint() -> list[tuple[str, str]]:
    """(backend, how to get an xllamacpp for it), as its own documentation has them, 2026-10."""
    replace = "pip install xllamacpp --force-reinstall --index-url"
    return [
        ("CPU", "pip install 'antiphon[gguf]'"),
        ("CUDA 12.8", f"{replace} {_WHEELS}/cu128"),
        ("CUDA 13.2", f"{replace} {_WHEELS}/cu132"),
        ("ROCm 6.4.1", f"{replace} {_WHEELS}/rocm-6.4.1"),
        ("ROCm 7.2.4", f"{replace} {_WHEELS}/rocm-7.2.4"),
        ("Vulkan", f"{replace} {_WHEELS}/vulkan"),
        ("Metal", "pip install 'antiphon[gguf]'"),
    ]


def load(
    model_path: Path,
    projector: Path | None = None,
    *,
    gpu_layers: int | None = None,
    context: int | None = None,
    threads: int | None = None,
    licence: str | None = None,
    revision: str | None = None,
) -> GgufEngine:
    """The engine for a GGUF file, or for the folder that holds one, with its projector.

    `gpu_layers` None: as many as the graphics memory takes, found by llama.cpp; 0: none, of the
    encoder neither. `context` in tokens; None: room for 600 s and 2,048 tokens each of text and
    answer, less where memory lacks. `threads` None: the processors we may use.

    Raises ModelError for files that are damaged, of another kind, without a projector, or whose
    texts would be wrong; ModelMissingError, DependencyError, ConfigError for the options.
    """
    if find_spec("xllamacpp") is None:
        raise DependencyError(
            f"{model_path} is a GGUF model, which xllamacpp runs; pip install 'antiphon[gguf]'"
        )
    model, encoder = read_pair(model_file(model_path), projector)
    request = {
        "model": str(model.path.resolve()),
        "projector": str(encoder.path.resolve()),
        "gpu_layers": at_least(0, "gpu_layers", gpu_layers),
        "context": context_tokens(model, context),
        "least_context": least_context(context),
        "threads": at_least(1, "threads", threads) or model_threads(),
        "bytes_per_token": model.bytes_per_token,
        "weight_bytes": sum(h.expected_bytes or h.path.stat().st_size for h in (model, encoder)),
    }
    return GgufEngine(request, model, encoder, licence=licence, revision=revision)


class GgufEngine:
    """A ListenerEngine; `load` makes it."""

    def __init__(
        self,
        request: dict[str, Any],
        model: GgufHeader,
        projector: GgufHeader,
        *,
        licence: str | None,
        revision: str | None,
    ) -> None:
        self._lock = threading.Lock()
        self._heard: str | None = None  # digest of the clip that the worker has
        self._worker = WorkerProcess(request, model.path.name)
        self._worker.start()
        self._notes: tuple[str, ...] = ()
        wanted, context = int(request["context"]), self._worker.context
        windows = windows_in(context)
        if context < wanted:
            self._notes = (
                f"memory allows a context of {context} tokens instead of {wanted}: "
                f"{windows * WINDOW_SECONDS} s are heard at once",
            )
        settings: dict[str, Setting] = {
            "quantisation": model.quantisation,
            "projector": projector.path.name,
        }
        self._info = EngineInfo(
            engine="gguf",
            model=model.path.name,
            revision=revision,
            licence=licence or model.text("general.license") or None,
            cap_seconds=float(min(windows * WINDOW_SECONDS, CAP_SECONDS)),
            settings=settings,
        )

    @property
    def info(self) -> EngineInfo:
        return self._info

    def answer(
        self,
        clip: Clip,
        questions: Sequence[Question],
        sampling: Sampling,
        on_token: OnToken | None = None,
    ) -> list[Answer]:
        return self._run(
            [([Message("user", question.text, clip)], question) for question in questions],
            sampling,
            on_token,
        )

    def chat(
        self,
        conversations: Sequence[Sequence[Message]],
        sampling: Sampling,
        on_token: OnToken | None = None,
    ) -> list[Answer]:
        return self._run(
            [(turns, Question(turns[-1].text if turns else "")) for turns in conversations],
            sampling,
            on_token,
        )

    def raw(self, clip: Clip | None, prompt: str, sampling: Sampling) -> Answer:
        raise ConfigError(
            "a prompt without a template cannot be given to a GGUF model: llama.cpp places the "
            "audio itself; the transformers engine can, with a checkpoint such as "
            "nvidia/music-flamingo-hf"
        )

    def cancel(self) -> None:
        self._worker.cancel()

    def close(self) -> None:
        self._worker.cancel()
        with self._lock:
            self._worker.close()

    def _run(
        self,
        asked: Sequence[tuple[Sequence[Message], Question]],
        sampling: Sampling,
        on_token: OnToken | None,
    ) -> list[Answer]:
        clips = [heard_in(turns) for turns, _ in asked]
        answers = []
        with self._lock:
            self._worker.begin()
            try:
                for (turns, question), clip in zip(asked, clips, strict=True):
                    teller = _Teller(self._worker, on_token if len(asked) == 1 else None)
                    answers.append(self._ask(turns, question, clip, sampling, teller))
            finally:
                self._worker.end()
        return answers

    def _ask(
        self,
        turns: Sequence[Message],
        question: Question,
        clip: Clip | None,
        sampling: Sampling,
        teller: _Teller,
    ) -> Answer:
        began = time.monotonic()
        new_tokens = question.max_new_tokens or sampling.max_new_tokens
        samples, notes = (None, ()) if clip is None else fit_windows(clip.samples)
        result: dict[str, Any] = {"finish": "cancelled", "prompt_tokens": 0, "cached_tokens": 0}
        try:
            if not self._worker.cancelled:
                if self._worker.start():
                    self._heard = None
                self._check_room(turns, samples, new_tokens)
                self._hear(clip, samples)
            if not self._worker.cancelled:
                request = _request(turns, question, sampling, new_tokens)
                result = self._worker.ask(request, teller.take)
        except Cancelled:
            pass
        finish = teller.finish(str(result["finish"]))
        text, thoughts = split_thoughts(teller.text)
        return Answer(
            text=text,
            finish=finish,
            prompt_tokens=int(result["prompt_tokens"]),
            cached_tokens=int(result["cached_tokens"]),
            seconds=time.monotonic() - began,
            thoughts=thoughts,
            notes=(*self._notes, *notes),
        )

    def _hear(self, clip: Clip | None, samples: FloatArray | None) -> None:
        """Give the worker the clip, unless it has it."""
        if clip is None or samples is None or clip.digest == self._heard:
            return
        self._heard = None
        self._worker.hear(wav_bytes(samples))
        self._heard = clip.digest

    def _check_room(
        self, turns: Sequence[Message], samples: FloatArray | None, new_tokens: int
    ) -> None:
        """Raises ConfigError before anything is computed for what is too long."""
        if not 1 <= new_tokens <= MAX_NEW_TOKENS:
            raise ConfigError(f"max_new_tokens is {new_tokens}; expected 1 to {MAX_NEW_TOKENS}")
        texts = [plain_text(turn.text) for turn in turns]
        audio = 0 if samples is None else -(-len(samples) // WINDOW_SAMPLES) * WINDOW_TOKENS
        other = audio + TEMPLATE_TOKENS + TURN_TOKENS * len(turns) + new_tokens
        room = min(MAX_PROMPT_TOKENS, self._worker.context - other)
        count = sum(len(text.encode()) for text in texts)  # a token is a byte or more
        if count > room:
            count = sum(self._worker.count(text) for text in texts)
        if count > MAX_PROMPT_TOKENS:
            raise ConfigError(
                f"the text has {count:,} tokens; a model takes {MAX_PROMPT_TOKENS:,} at most: "
                "ask with less text"
            )
        if count > room:
            raise ConfigError(
                f"{audio} tokens of audio, {count} of text and {new_tokens} new ones do not fit "
                f"into the context of {self._worker.context}: ask with less of them, or raise it "
                "(--context)"
            )


class _Teller:
    """Collects the pieces of an answer, hands on what may be shown, and notices a loop."""

    def __init__(self, worker: WorkerProcess, on_token: OnToken | None) -> None:
        self._worker = worker
        self._on_token = on_token
        self._telling = Telling()
        self._pieces: list[str] = []
        self.looped = False

    @property
    def text(self) -> str:
        return "".join(self._pieces)

    def take(self, piece: str) -> None:
        if self.looped:
            return
        self._pieces.append(piece)
        if self._on_token is not None:
            shown = self._telling.feed(piece)
            if shown:
                self._on_token(shown)
        if len(self._pieces) % _REPEATS_EVERY == 0 and repeats(self.text):
            self.looped = True
            self._worker.stop_answer()

    def finish(self, reason: str) -> Finish:
        """How the answer ended, in our words."""
        if self._worker.cancelled:
            return "cancelled"
        shown = self._telling.end() if self._on_token is not None else ""
        if shown and self._on_token is not None:
            self._on_token(shown)
        if self.looped or repeats(self.text):
            return "repetition"
        return "length" if reason == "length" else "stop"


def _request(
    turns: Sequence[Message], question: Question, sampling: Sampling, new_tokens: int
) -> dict[str, Any]:
    """The body of an OpenAI chat request; nothing is left to the file's or llama.cpp's defaults."""
    messages: list[dict[str, Any]] = []
    for turn in turns:
        text = plain_text(turn.text)
        content: Any = text
        if turn.clip is not None:
            content = [{"type": "input_audio"}]
            if text:
                content.append({"type": "text", "text": text})
        messages.append({"role": turn.role, "content": content})
    request: dict[str, Any] = {
        "messages": messages,
        "max_tokens": new_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "min_p": 0.0,
        "seed": sampling.seed % 2**32,
        "samplers": ["temperature", "top_k", "top_p"],  # in transformers' order
        "repeat_penalty": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "cache_prompt": True,
        "id_slot": 0,
    }
    if question.schema is not None:
        request["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "answer", "strict": True, "schema": dict(question.schema)},
        }
    return request
