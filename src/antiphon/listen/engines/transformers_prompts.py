"""Conversations and clips as the token ids and features of a transformers processor.

Knows no model. What users write stays text: a `<sound>` or `<|im_end|>` in it is encoded as the
letters that it is, and nothing is changed in what has none.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from antiphon.errors import AudioError, AudioTooShortError, ConfigError, ModelError
from antiphon.listen.engines import MAX_PROMPT_TOKENS, Message, OnToken, heard_in
from antiphon.listen.engines.texts import THINK, Telling
from antiphon.listen.windows import SAMPLE_RATE, WINDOW_SAMPLES, WINDOW_SECONDS, Clip

# Two mel frames are no token: a clip so short is answered without hearing, and Music Flamingo
# raises IndexError for a last window so short (transformers 5.24).
UNHEARD_SAMPLES = 320
_PRIVATE = [chr(code) for code in range(0xE000, 0xF900)]  # characters of nobody


@dataclass(frozen=True)
class Prompt:
    """Token ids around the audio of `clip`; all of them are `after` when there is none."""

    before: tuple[int, ...]
    after: tuple[int, ...]
    clip: Clip | None
    thinking: bool  # the template has begun the thoughts

    @property
    def text_tokens(self) -> int:
        return len(self.before) + len(self.after)


@dataclass(frozen=True)
class Sound:
    """What stands for a clip in a prompt, and the features [W, 128, 3000] of its windows."""

    ids: tuple[int, ...]
    features: dict[str, Any]


class Prompts:
    """One processor, its template and its tokenizer."""

    def __init__(self, processor: Any, cap_seconds: float | None = None) -> None:
        self.processor = processor
        self.tokenizer = processor.tokenizer
        self.cap_seconds = float(cap_seconds or processor.max_audio_len)
        # It cuts longer clips at whole windows, with no more than a line in the log.
        processor.max_audio_len = math.ceil(self.cap_seconds / WINDOW_SECONDS) * WINDOW_SECONDS
        added = sorted(self.tokenizer.get_added_vocab(), key=len, reverse=True)
        self._hidden = re.compile("|".join(map(re.escape, added)) or r"(?!)")

    def chat(self, messages: Sequence[Message]) -> Prompt:
        """The prompt for the next turn, by the template of the checkpoint.

        Raises ConfigError for conversations that the model does not take.
        """
        clip = heard_in(messages)
        mark = self._unused([message.text for message in messages])
        turns = [
            {"role": message.role, "content": self._parts(message, mark)} for message in messages
        ]
        rendered: str = self.processor.apply_chat_template(
            turns, tokenize=False, add_generation_prompt=True
        )
        return self._prompt(rendered, clip, mark, ModelError)

    def raw(self, clip: Clip | None, text: str) -> Prompt:
        """The prompt as it is written, special tokens and all."""
        return self._prompt(text, clip, self._unused([text]), ConfigError)

    def hear(self, clip: Clip) -> Sound:
        """Raises AudioError for a clip that the model would answer without hearing it."""
        samples = clip.samples
        if clip.duration_seconds > self.cap_seconds + 1 / SAMPLE_RATE:
            raise ConfigError(
                f"the clip is {clip.duration_seconds:.1f} s; the model hears {self.cap_seconds:g} s"
            )
        if not np.isfinite(samples).all():
            raise AudioError("the clip holds NaN or infinity; decode it again")
        tail = len(samples) % WINDOW_SAMPLES
        if 0 < tail <= UNHEARD_SAMPLES and len(samples) > WINDOW_SAMPLES:
            samples = samples[:-tail]
        if len(samples) <= UNHEARD_SAMPLES:
            raise AudioTooShortError(
                f"{len(samples)} samples make no audio token; expected over {UNHEARD_SAMPLES}"
            )
        inputs = self.processor(text=[self.processor.audio_token], audio=[samples])
        features = {name: inputs[name] for name in ("input_features", "input_features_mask")}
        return Sound(tuple(inputs["input_ids"][0].tolist()), features)

    def text(self, ids: Sequence[int]) -> str:
        """Without special tokens, but for the marks of thoughts, which some tokenizers hide."""
        marks = set(self.tokenizer.convert_tokens_to_ids(["<think>", "</think>"]))
        hidden = set(self.tokenizer.all_special_ids) - marks
        shown = [token for token in ids if token not in hidden]
        return str(self.tokenizer.decode(shown, clean_up_tokenization_spaces=False))

    def _parts(self, message: Message, mark: str) -> list[dict[str, str]]:
        """The text with `mark` inside of everything that the tokenizer would take for more."""
        text = self._hidden.sub(lambda found: found[0][0] + mark + found[0][1:], message.text)
        parts = [{"type": "text", "text": text}] if text else []
        return [{"type": "audio", "audio": "clip"}, *parts] if message.clip is not None else parts

    def _prompt(
        self, rendered: str, clip: Clip | None, mark: str, error: type[ConfigError | ModelError]
    ) -> Prompt:
        token = self.processor.audio_token
        expected = 0 if clip is None else 1
        if rendered.count(token) != expected:
            raise error(
                f"the prompt has {rendered.count(token)} {token}; "
                f"the processor expects {expected}, one for each clip"
            )
        before, _, after = rendered.partition(token) if clip is not None else ("", "", rendered)
        if not after:
            raise error(f"the prompt ends with {token or 'nothing'}; expected text after it")
        prompt = Prompt(
            self._encode(before, mark),
            self._encode(after, mark),
            clip,
            rendered.rstrip().endswith("<think>"),
        )
        if prompt.text_tokens > MAX_PROMPT_TOKENS:
            raise ConfigError(
                f"the prompt has {prompt.text_tokens} tokens of text; "
                f"expected at most {MAX_PROMPT_TOKENS}, shorten it"
            )
        return prompt

    def _encode(self, text: str, mark: str) -> tuple[int, ...]:
        """Token ids; the text is cut at each `mark`, so that nothing is parsed across it."""
        return tuple(
            token
            for piece in text.split(mark)
            if piece
            for token in self.tokenizer(piece, add_special_tokens=False)["input_ids"]
        )

    @staticmethod
    def _unused(texts: Sequence[str]) -> str:
        """A character that none of the texts has."""
        used = set().union(*texts)
        free = next((letter for letter in _PRIVATE if letter not in used), None)
        if free is None:
            raise ConfigError(f"the text uses all {len(_PRIVATE)} private characters of Unicode")
        return free


class Teller:
    """Hands the text of one answer on in pieces, the same ones again never."""

    def __init__(self, prompts: Prompts, on_token: OnToken, thinking: bool) -> None:
        self._prompts, self._on_token = prompts, on_token
        self._telling = Telling()
        self._decoded = 0  # characters
        if thinking:
            self._telling.feed(THINK)

    def tell(self, written: Sequence[int], *, last: bool = False) -> None:
        text = self._prompts.text(written)
        # Half of a letter: its other bytes are in the next token.
        ready = text if last else text.rstrip("\ufffd")
        piece = self._telling.feed(ready[self._decoded :]) if len(ready) > self._decoded else ""
        self._decoded = max(self._decoded, len(ready))
        if last:
            piece += self._telling.end()
        if piece:
            self._on_token(piece)
