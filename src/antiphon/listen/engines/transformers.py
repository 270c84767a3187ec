"""Audio Flamingo 3 and Music Flamingo by transformers, on the CPU or a graphics card.

The audio is computed once for all questions (`prefix`), and kept until the next clip comes, so that
a conversation about one clip does not hear it again with each turn. When memory runs out, less is
done at once, then on the CPU; the answers say so.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from antiphon.errors import ConfigError, EngineError
from antiphon.listen.engines import (
    MAX_NEW_TOKENS,
    Answer,
    EngineInfo,
    Message,
    OnToken,
    Question,
    Sampling,
)
from antiphon.listen.engines.prefix import (
    Prefix,
    Row,
    Rules,
    Stopped,
    encode_in_chunks,
    out_of_memory,
    prefill,
    stopping,
    write,
)
from antiphon.listen.engines.schema_matcher import SchemaMatcher
from antiphon.listen.engines.texts import THINK, repeats, split_thoughts
from antiphon.listen.engines.transformers_loading import (
    Attention,
    Loaded,
    Precision,
    load_checkpoint,
)
from antiphon.listen.engines.transformers_prompts import Prompt, Prompts, Teller
from antiphon.listen.windows import Clip
from antiphon.threads import model_threads

# Windows of 30 s that are encoded at once. One keeps a core busy: four are no faster there and took
# 207 MB instead of 34 (10 minutes, encoder of 640 x 4).
CPU_WINDOWS, GPU_WINDOWS = 1, 4
MAX_CAP_SECONDS = 7_200


def load(
    folder: Path,
    *,
    device: str | None = None,
    precision: Precision | None = None,
    attention: Attention | None = None,
    compile: bool = False,
    adapter: Path | None = None,
    encoder_chunk: int | None = None,
    cap_seconds: float | None = None,
    threads: int | None = None,
    revision: str | None = None,
    licence: str | None = None,
) -> TransformersEngine:
    """The engine of a checkpoint folder.

    `device` is auto, cpu, cuda, cuda:N or mps; `precision` and `attention` are the best that
    the device has where they are None; `adapter` is a LoRA folder; `cap_seconds` is what the
    processor says where it is None; `encoder_chunk` counts windows of 30 s; `threads` are
    torch's, of the whole process.

    Raises ModelError, ConfigError, DependencyError.
    """
    for name, value in (("encoder_chunk", encoder_chunk), ("threads", threads)):
        if value is not None and value < 1:
            raise ConfigError(f"{name} is {value}; expected 1 or more")
    if cap_seconds is not None and not 0 < cap_seconds <= MAX_CAP_SECONDS:
        raise ConfigError(
            f"cap_seconds is {cap_seconds}; expected above 0, at most {MAX_CAP_SECONDS}"
        )
    loaded = load_checkpoint(folder, device, precision, attention, compile, adapter)
    if loaded.device == "cpu" or threads is not None:
        import torch

        # The command line tells every library to keep to one: right for measuring, not for this.
        torch.set_num_threads(threads or model_threads())
    prompts = Prompts(loaded.processor, cap_seconds)
    if compile:
        loaded.model.model.language_model.compile(dynamic=True)
    info = EngineInfo(
        engine="transformers",
        model=folder.name.replace("--", "/", 1),  # as `antiphon models pull` names folders
        revision=revision,
        licence=licence,
        cap_seconds=prompts.cap_seconds,
        settings={
            "device": loaded.device,
            "precision": loaded.precision,
            "attention": loaded.attention,
            "compile": compile,
            "adapter": adapter.name if adapter else None,
        },
    )
    if encoder_chunk is None:
        encoder_chunk = CPU_WINDOWS if loaded.device == "cpu" else GPU_WINDOWS
    return TransformersEngine(loaded, prompts, info, encoder_chunk)


@dataclass(frozen=True)
class _Turn:
    """One answer to be written."""

    prompt: Prompt
    limit: int
    matcher: SchemaMatcher | None = None


class TransformersEngine:
    """`ListenerEngine` over a loaded checkpoint; `load` makes it."""

    def __init__(self, loaded: Loaded, prompts: Prompts, info: EngineInfo, windows: int) -> None:
        self._model, self._prompts, self._info = loaded.model, prompts, info
        self._device, self._precision = loaded.device, loaded.precision
        self._text_config = loaded.model.config.get_text_config()
        self._most_windows = self._windows = windows
        self._kept: tuple[object, Prefix] | None = None
        self._fallen = False  # to the CPU
        self._call, self._guard = threading.Lock(), threading.Lock()
        self._stop, self._runs = threading.Event(), False
        encode_in_chunks(self._model.model.audio_tower, lambda: self._windows)

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
        turns = []
        for question in questions:
            limit = question.max_new_tokens
            limit = sampling.max_new_tokens if limit is None else limit
            if not 1 <= limit <= MAX_NEW_TOKENS:
                raise ConfigError(f"max_new_tokens is {limit}; expected 1 to {MAX_NEW_TOKENS}")
            prompt = self._prompts.chat([Message("user", question.text, clip)])
            turns.append(_Turn(prompt, limit, self._matcher(question.schema)))
        return self._respond(turns, sampling, on_token)

    def chat(
        self,
        conversations: Sequence[Sequence[Message]],
        sampling: Sampling,
        on_token: OnToken | None = None,
    ) -> list[Answer]:
        turns = [
            _Turn(self._prompts.chat(messages), sampling.max_new_tokens)
            for messages in conversations
        ]
        return self._respond(turns, sampling, on_token)

    def raw(self, clip: Clip | None, prompt: str, sampling: Sampling) -> Answer:
        turn = _Turn(self._prompts.raw(clip, prompt), sampling.max_new_tokens)
        return self._respond([turn], sampling, None)[0]

    def cancel(self) -> None:
        with self._guard:
            if self._runs:
                self._stop.set()

    def close(self) -> None:
        self.cancel()
        with self._call:
            self._model = self._kept = None
            self._free_memory()

    def _respond(
        self, turns: Sequence[_Turn], sampling: Sampling, on_token: OnToken | None
    ) -> list[Answer]:
        import torch

        if on_token is not None and len(turns) > 1:
            raise ConfigError(f"{len(turns)} answers cannot be streamed at once; ask for one")
        with self._call:
            if self._model is None:
                raise EngineError(f"{self._info.model} was closed; load it again")
            with self._guard:
                self._runs = True
                self._stop.clear()
            try:
                with torch.inference_mode(), self._stoppable():
                    return self._in_memory(turns, sampling, on_token)
            finally:
                self._runs = False

    def _in_memory(
        self, turns: Sequence[_Turn], sampling: Sampling, on_token: OnToken | None
    ) -> list[Answer]:
        """All at once; out of memory, one by one, then with fewer windows, then on the CPU."""
        self._windows = self._most_windows
        at_once = max(len(turns), 1)
        notes = ["on the CPU, since memory ran out before"] if self._fallen else []
        teller = None
        if on_token is not None and turns:
            teller = Teller(self._prompts, on_token, turns[0].prompt.thinking)
        answers: list[Answer] = []
        while len(answers) < len(turns):
            part = turns[len(answers) : len(answers) + at_once]
            try:
                done = self._batch(part, sampling, teller)
            except (RuntimeError, ValueError, IndexError, MemoryError) as error:
                if not out_of_memory(error):
                    reason = next(iter(str(error).splitlines()), repr(error))
                    raise EngineError(f"{self._info.model} failed: {reason}") from error
                if at_once == 1 and self._windows == 1 and not self._can_fall():
                    raise EngineError(
                        f"{self._info.model} ran out of memory on {self._device} with one prompt "
                        "and one window at a time; give it a shorter clip or a smaller model"
                    ) from error
            else:
                answers += [replace(one, notes=(*notes, *one.notes)) for one in done]
                continue
            # Outside of the except clause, whose traceback holds on to the tensors.
            self._kept = None
            self._free_memory()
            if at_once > 1:
                at_once = 1
                notes.append("out of memory: one prompt at a time")
            elif self._windows > 1:
                self._windows = 1
                notes.append("out of memory: one window at a time")
            else:
                notes.append(f"out of memory on {self._device}: on the CPU")
                self._fall()
        return answers

    def _batch(
        self, turns: Sequence[_Turn], sampling: Sampling, teller: Teller | None
    ) -> list[Answer]:
        begun = time.perf_counter()
        rows: list[Row] = []
        counts: list[tuple[int, int]] = []  # tokens of the prompt, those of them known before
        try:
            held: dict[object, Prefix] = {}
            for turn in turns:
                prefix, cached = self._prefix(turn.prompt, held)
                if turn.matcher:
                    turn.matcher.reset()
                now = time.perf_counter()
                rows.append(
                    Row(turn.prompt.after, turn.limit, prefix, turn.matcher, seconds=now - begun)
                )
                begun = now
                length = (prefix.length if prefix else 0) + len(turn.prompt.after)
                counts.append((length, cached))
        except Stopped:
            seconds = time.perf_counter() - begun
            return [Answer("", "cancelled", 0, 0, seconds / len(turns)) for _ in turns]
        tokenizer = self._prompts.tokenizer
        rules = Rules(
            sampling=sampling,
            ends=self._ends(),
            pad=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0,
            stop=self._stop,
            tell=lambda row: teller.tell(row.written) if teller else None,
            loops=lambda row: repeats(self._prompts.text(row.written)),
        )
        write(self._model, rows, rules)
        if teller:
            teller.tell(rows[0].written, last=True)
        return [
            self._as_answer(turn, row, *count)
            for turn, row, count in zip(turns, rows, counts, strict=True)
        ]

    def _prefix(self, prompt: Prompt, held: dict[object, Prefix]) -> tuple[Prefix | None, int]:
        """The audio and what stands before it, and how much of that was known already."""
        if self._stop.is_set():
            raise Stopped
        if prompt.clip is None:
            return None, 0
        key = (prompt.clip.digest, prompt.before)
        if self._kept is not None and self._kept[0] == key:
            held[key] = self._kept[1]
        if key in held:
            return held[key], held[key].length
        self._kept = None  # before the next one takes memory
        sound = self._prompts.hear(prompt.clip)
        features = dict(sound.features)
        features["input_features"] = features["input_features"].to(self._model.dtype)
        held[key] = prefill(self._model, prompt.before + sound.ids, features)
        self._kept = (key, held[key])
        return held[key], 0

    def _as_answer(self, turn: _Turn, row: Row, prompt_tokens: int, cached: int) -> Answer:
        text = self._prompts.text(row.written)
        if turn.prompt.thinking and not text.lstrip().startswith(THINK):
            text = THINK + text
        text, thoughts = split_thoughts(text)
        notes = []
        if prompt_tokens + len(row.written) > (most := self._text_config.max_position_embeddings):
            notes.append(f"{prompt_tokens} tokens asked of a model that was made for {most}")
        finish = row.finish or "stop"
        return Answer(text, finish, prompt_tokens, cached, row.seconds, thoughts, tuple(notes))

    def _matcher(self, schema: Mapping[str, object] | None) -> SchemaMatcher | None:
        if schema is None:
            return None
        return SchemaMatcher(self._prompts.tokenizer, schema, self._text_config.vocab_size)

    def _ends(self) -> frozenset[int]:
        named = self._model.generation_config.eos_token_id
        ends = named if isinstance(named, list) else [named]
        ends = [*ends, self._prompts.tokenizer.eos_token_id]
        return frozenset(end for end in ends if end is not None)

    def _stoppable(self) -> Any:
        if self._info.settings["compile"]:
            return nullcontext()  # a hook would break the graph; between tokens it still stops
        whole = self._model.model
        return stopping([*whole.audio_tower.layers, *whole.language_model.layers], self._stop)

    def _can_fall(self) -> bool:
        return self._device != "cpu" and self._precision not in ("8bit", "4bit")

    def _fall(self) -> None:
        """To the CPU, in the precision that it has: a wider one would take twice the memory."""
        from accelerate.hooks import remove_hook_from_module

        del self._model.model.audio_tower.forward
        self._model = remove_hook_from_module(self._model, recurse=True).to("cpu")
        encode_in_chunks(self._model.model.audio_tower, lambda: self._windows)
        self._device, self._fallen = "cpu", True
        settings = {**self._info.settings, "device": "cpu"}
        self._info = replace(self._info, settings=settings)

    def _free_memory(self) -> None:
        import torch

        if torch.cuda.is_available():
            torch.cuda.empty_cache()
