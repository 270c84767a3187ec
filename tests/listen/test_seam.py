"""What all engines share: the conversations that they take, and how tokens may be chosen."""

from __future__ import annotations

import numpy as np
import pytest

from antiphon.errors import ConfigError
from antiphon.listen.engines import Message, Sampling, heard_in
from antiphon.listen.windows import Clip

pytestmark = pytest.mark.unit

CLIP = Clip(np.zeros(16_000, np.float32))


def test_the_clip_of_a_conversation() -> None:
    text_only = [Message("system", "Be brief."), Message("user", "Hello.")]
    assert heard_in(text_only) is None
    silent_answer = [Message("user", "Well?", CLIP), Message("assistant", ""), Message("user", "?")]
    assert heard_in(silent_answer) is CLIP
    assert heard_in([Message("user", "", CLIP)]) is CLIP


@pytest.mark.parametrize(
    ("turns", "message"),
    [
        ([], "the conversation is empty; expected a message of the user"),
        ([Message("assistant", "a")], "ends with a message of the assistant; expected"),
        (
            [Message("user", "a"), Message("system", "b"), Message("user", "c")],
            "message 2 is the system's; expected it before",
        ),
        (
            [Message("assistant", "a", CLIP), Message("user", "b")],
            "message 1, of the assistant, has audio; only a user's can",
        ),
        (
            [Message("user", "a", CLIP), Message("user", "b", CLIP)],
            "has 2 recordings, and the model hears one; to compare two, ask",
        ),
        ([Message("user", " ")], "has neither text nor audio"),
        ([Message("user", "a", Clip(np.zeros(0, np.float32)))], "the clip is empty; expected 0.1"),
    ],
)
def test_conversations_that_are_none(turns: list[Message], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        heard_in(turns)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens is 0; expected 1 to 2048"),
        ({"max_new_tokens": 2049}, "max_new_tokens is 2049"),
        ({"temperature": -0.1}, r"temperature is -0\.1; expected 0 \(greedy\) to 5"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"top_p": 0.0}, "top_p is 0.0; expected above 0"),
        ({"top_k": -1}, "top_k is -1"),
    ],
)
def test_sampling_out_of_range(options: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Sampling(**options)  # type: ignore[arg-type]
