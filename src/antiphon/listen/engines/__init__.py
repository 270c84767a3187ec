"""The seam between listening and the models that do it: one hearing, many answers.

Knows no model, no file and no fact. Every engine takes a `Clip` that `listen.windows` prepared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from antiphon.description import Setting
from antiphon.errors import ConfigError
from antiphon.listen.windows import Clip

Finish = Literal["stop", "length", "repetition", "cancelled"]
Role = Literal["system", "user", "assistant"]
OnToken = Callable[[str], object]

MAX_PROMPT_TOKENS = 24_000  # of text; audio tokens are not counted
MAX_NEW_TOKENS = 2_048


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen; temperature 0 is greedy, and top_p 1 and top_k 0 cut nothing off.

    Raises ConfigError for values out of range.
    """

    max_new_tokens: int = 512
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.max_new_tokens <= MAX_NEW_TOKENS:
            raise ConfigError(
                f"max_new_tokens is {self.max_new_tokens}; expected 1 to {MAX_NEW_TOKENS}"
            )
        if not 0.0 <= self.temperature <= 5.0:
            raise ConfigError(f"temperature is {self.temperature}; expected 0 (greedy) to 5")
        if not 0.0 < self.top_p <= 1.0:
            raise ConfigError(f"top_p is {self.top_p}; expected above 0, at most 1")
        if self.top_k < 0:
            raise ConfigError(f"top_k is {self.top_k}; expected 0 (no limit) or more")


@dataclass(frozen=True)
class Question:
    """What is asked of a clip: at most `max_new_tokens` (None: those of the sampling), as JSON of
    `schema` where there is one."""

    text: str
    max_new_tokens: int | None = None
    schema: Mapping[str, object] | None = None


@dataclass(frozen=True)
class Answer:
    """What came back.

    `text` is without special tokens; `thoughts` is what a thinking model wrote before it.
    `prompt_tokens` counts audio and text, `cached_tokens` those of them that had been computed
    before. `notes` say what the engine had to do otherwise than asked, a smaller batch for example.
    """

    text: str
    finish: Finish
    prompt_tokens: int
    cached_tokens: int
    seconds: float
    thoughts: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Message:
    """One turn of a conversation; its audio, if any, comes before its text."""

    role: Role
    text: str
    clip: Clip | None = None


HOW_TO_COMPARE = (
    "to compare two, ask about each in a conversation of its own, or join them into one recording "
    "with a pause between"
)


def heard_in(turns: Sequence[Message]) -> Clip | None:
    """The one clip that a conversation speaks of, if any.

    Raises ConfigError for two clips, for turns that no model was taught, and for nothing to answer.
    """
    if not turns or turns[-1].role != "user":
        last = f"ends with a message of the {turns[-1].role}" if turns else "is empty"
        raise ConfigError(f"the conversation {last}; expected a message of the user at its end")
    for number, turn in enumerate(turns, start=1):
        if turn.role == "system" and number > 1:
            raise ConfigError(f"message {number} is the system's; expected it before all others")
        if turn.clip is not None and turn.role != "user":
            raise ConfigError(f"message {number}, of the {turn.role}, has audio; only a user's can")
    clips = [turn.clip for turn in turns if turn.clip is not None]
    if len(clips) > 1:
        raise ConfigError(
            f"the conversation has {len(clips)} recordings, and the model hears one; "
            f"{HOW_TO_COMPARE}"
        )
    if not clips and not turns[-1].text.strip():
        raise ConfigError("the last message has neither text nor audio; expected one of them")
    if clips and not len(clips[0].samples):
        raise ConfigError("the clip is empty; expected 0.1 s of sound or more")
    return clips[0] if clips else None


@dataclass(frozen=True)
class EngineInfo:
    """What answers: `settings` are those that change the texts; `cap_seconds` is the longest clip
    that it hears whole."""

    engine: str
    model: str
    revision: str | None
    licence: str | None
    cap_seconds: float
    settings: Mapping[str, Setting]


class ListenerEngine(Protocol):
    """Loaded once, used for many clips; one call at a time.

    The methods raise ConfigError for what cannot be asked (too many tokens, two clips in one
    conversation), EngineError for what failed while it ran.
    """

    @property
    def info(self) -> EngineInfo: ...

    def answer(
        self,
        clip: Clip,
        questions: Sequence[Question],
        sampling: Sampling,
        on_token: OnToken | None = None,
    ) -> list[Answer]:
        """Answer every question from one encoding of `clip`.

        `on_token` gets the pieces of the text as they come, of a single question only.
        """
        ...

    def chat(
        self,
        conversations: Sequence[Sequence[Message]],
        sampling: Sampling,
        on_token: OnToken | None = None,
    ) -> list[Answer]:
        """The next turn of each conversation; `on_token` as above, of a single one only."""
        ...

    def raw(self, clip: Clip | None, prompt: str, sampling: Sampling) -> Answer:
        """Continue a prompt to which no template is applied; its `<sound>` stand for the audio.

        Raises ConfigError when their number is not what the model's processor expects, or where
        the engine cannot take such a prompt.
        """
        ...

    def cancel(self) -> None:
        """End the call that runs in another thread, within a second; its answers have the finish
        `cancelled`. Does nothing when none runs."""
        ...

    def close(self) -> None:
        """Free what the engine holds; it cannot be used afterwards."""
        ...
