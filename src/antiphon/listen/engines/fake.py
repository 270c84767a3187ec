"""A listener engine without a model, for tests: says what it is told to, notes what it is asked.

engine = FakeEngine(lambda clip, text: "A waltz." if "metre" in text else "A piece.")
engine.answer(clip, [Question("Which metre?")], Sampling())
engine.calls[0].texts                      # ("Which metre?",)
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from antiphon.description import Setting
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
from antiphon.listen.engines.texts import Telling, plain_text, repeats, split_thoughts
from antiphon.listen.windows import Clip, audio_tokens

Texts = str | Sequence[str] | Callable[[Clip | None, str], str]


@dataclass(frozen=True)
class FakeCall:
    """One call of a `FakeEngine`: what was asked, of which sounds."""

    method: Literal["answer", "chat", "raw"]
    texts: tuple[str, ...]
    clips: tuple[Clip | None, ...]
    sampling: Sampling
    schemas: tuple[Mapping[str, object] | None, ...]


class FakeEngine:
    """A `ListenerEngine` whose tokens are words.

    `texts` is one text for all questions, or those of the questions in order, begun again at the
    end, or a function of the clip and the text asked. `<think>` in them is split off. They end by
    `finish`; by "length" where they are longer than max_new_tokens, by "repetition" where they are
    a loop. `seconds_per_word` makes the engine slow, `error` is raised by each call, after
    `error_after` calls without.
    """

    def __init__(
        self,
        texts: Texts = "A piece of music.",
        *,
        cap_seconds: float = 600.0,
        model: str = "fake",
        licence: str | None = None,
        settings: Mapping[str, Setting] | None = None,
        finish: Finish = "stop",
        seconds_per_word: float = 0.0,
        error: Exception | None = None,
        error_after: int = 0,
    ) -> None:
        self.calls: list[FakeCall] = []
        self.is_closed = False
        self._texts = texts
        self._given = 0
        self._finish: Finish = finish
        self._seconds_per_word = seconds_per_word
        self._error = error
        self._error_after = error_after
        self._heard: set[str] = set()
        self._cancelled = threading.Event()
        self._one_call = threading.Lock()
        self._is_running = False
        self._info = EngineInfo("fake", model, None, licence, cap_seconds, dict(settings or {}))

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
        """See `ListenerEngine`."""
        asked = [(clip, question) for question in questions]
        return self._run("answer", asked, sampling, on_token)

    def chat(
        self,
        conversations: Sequence[Sequence[Message]],
        sampling: Sampling,
        on_token: OnToken | None = None,
    ) -> list[Answer]:
        """See `ListenerEngine`; asked is the text of the last turn, heard the sound of any."""
        asked = [(heard_in(turns), Question(turns[-1].text)) for turns in conversations]
        return self._run("chat", asked, sampling, on_token)

    def raw(self, clip: Clip | None, prompt: str, sampling: Sampling) -> Answer:
        """See `ListenerEngine`; expects one `<sound>` where there is a clip, else none."""
        marks, sounds = prompt.count("<sound>"), int(clip is not None)
        if marks != sounds:
            raise ConfigError(f"the prompt has {marks} <sound>; expected {sounds}")
        return self._run("raw", [(clip, Question(prompt))], sampling, None)[0]

    def cancel(self) -> None:
        if self._is_running:
            self._cancelled.set()

    def close(self) -> None:
        self.is_closed = True
        self.cancel()

    def _run(
        self,
        method: Literal["answer", "chat", "raw"],
        asked: Sequence[tuple[Clip | None, Question]],
        sampling: Sampling,
        on_token: OnToken | None,
    ) -> list[Answer]:
        if on_token is not None and len(asked) != 1:
            raise ConfigError(f"on_token was given for {len(asked)} answers; expected one")
        for clip, question in asked:
            self._check(clip, question)
        with self._one_call:
            if self.is_closed:
                raise EngineError("the engine is closed; load it again")
            self.calls.append(
                FakeCall(
                    method,
                    tuple(question.text for _, question in asked),
                    tuple(clip for clip, _ in asked),
                    sampling,
                    tuple(question.schema for _, question in asked),
                )
            )
            if self._error is not None and len(self.calls) > self._error_after:
                raise self._error
            self._cancelled.clear()
            self._is_running = True
            try:
                return [self._say(*one, sampling, on_token) for one in asked]
            finally:
                self._is_running = False

    def _check(self, clip: Clip | None, question: Question) -> None:
        if clip is not None and clip.duration_seconds > self._info.cap_seconds + 1e-3:
            raise ConfigError(
                f"the clip has {clip.duration_seconds:.2f} s; {self._info.model} hears "
                f"{self._info.cap_seconds:g} s at once"
            )
        words = len(question.text.split())
        if words > MAX_PROMPT_TOKENS:
            raise ConfigError(f"the text has {words:,} tokens; expected {MAX_PROMPT_TOKENS:,}")

    def _say(
        self, clip: Clip | None, question: Question, sampling: Sampling, on_token: OnToken | None
    ) -> Answer:
        start = time.monotonic()
        wanted = question.max_new_tokens
        limit = sampling if wanted is None else replace(sampling, max_new_tokens=wanted)
        words = self._text(clip, question).split(" ")
        finish: Finish = "length" if len(words) > limit.max_new_tokens else self._finish
        telling, said = Telling(), ""
        for number, word in enumerate(words[: limit.max_new_tokens]):
            if self._cancelled.wait(self._seconds_per_word):
                finish = "cancelled"
                break
            piece = f" {word}" if number else word
            said += piece
            shown = telling.feed(piece)
            if shown and on_token is not None:
                on_token(shown)
        shown = telling.end()
        if shown and on_token is not None:
            on_token(shown)
        if finish != "cancelled" and repeats(said):
            finish = "repetition"
        text, thoughts = split_thoughts(said)
        sound = 0 if clip is None else audio_tokens(len(clip.samples))
        known = sound if clip is not None and clip.digest in self._heard else 0
        if clip is not None:
            self._heard.add(clip.digest)
        tokens = sound + len(question.text.split())
        return Answer(text, finish, tokens, known, time.monotonic() - start, thoughts)

    def _text(self, clip: Clip | None, question: Question) -> str:
        if callable(self._texts):
            return self._texts(clip, plain_text(question.text))
        texts = (self._texts,) if isinstance(self._texts, str) else self._texts
        text = texts[self._given % len(texts)]
        self._given += 1
        return text
