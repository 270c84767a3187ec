"""What goes into a model as text and what comes out: no hidden tokens, no thoughts, no loops.

Knows no engine.
"""

from __future__ import annotations

import re

THINK, THINK_END = "<think>", "</think>"

# Whatever a tokenizer may hold for more than its letters: <sound>, <|im_start|>, </think>, and
# llama.cpp's <__media__>.
_TOKEN_LIKE = re.compile(r"<(?=[^\s<>]{1,64}>)")

LOOP_TIMES = 4
LOOP_CHARACTERS = 240  # so that neither "la la la la" nor four bars of chords twice is one
_LOOP_WINDOW = 4_096  # characters; a loop of over 1,000 is none within 2,048 tokens


def plain_text(text: str) -> str:
    """`text` in which a tokenizer that parses special tokens finds none: `< sound>`, `< |im_end|>`.

    A reader, and a model, still see what was written.
    """
    return _TOKEN_LIKE.sub("< ", text)


def split_thoughts(text: str) -> tuple[str, str | None]:
    """A thinking model's text and what it thought before it, None if it did not.

    Thoughts that never end are all thoughts; `</think>` alone ends those that its chat template
    began.
    """
    before, end, after = text.partition(THINK_END)
    begun = text.lstrip().startswith(THINK)
    if not begun and not end:
        return text.strip(), None
    thoughts = before.lstrip().removeprefix(THINK).strip()
    return after.strip(), thoughts or None


class Telling:
    """`split_thoughts` for text that comes in pieces: `feed` gives what may be shown of each.

    All that it gave makes the text, but for the spaces at its end.
    """

    def __init__(self) -> None:
        self._held = ""  # not decided yet
        self._stage = "start"

    def feed(self, piece: str) -> str:
        if self._stage == "text":
            return piece
        self._held += piece
        if self._stage == "start":
            begin = self._held.lstrip()
            if THINK.startswith(begin):
                return ""
            self._stage = "thoughts" if begin.startswith(THINK) else "lead"
        if self._stage == "thoughts":
            thoughts, end, self._held = self._held.partition(THINK_END)
            if not end:
                # The mark itself may be cut in two by the pieces.
                self._held = thoughts[-len(THINK_END) :]
                return ""
            self._stage = "lead"
        shown, self._held = self._held.lstrip(), ""
        self._stage = "text" if shown else "lead"
        return shown

    def end(self) -> str:
        """What was held back for being the possible beginning of a mark, and is text."""
        shown = self._held.lstrip() if self._stage == "start" else ""
        self._held = ""
        return shown


def repeats(text: str) -> bool:
    """Whether `text` ends in a loop: the same again four times or more, over 240 characters."""
    end = text[-_LOOP_WINDOW:][::-1]
    if len(end) < LOOP_CHARACTERS:
        return False
    # Z-function: same[p] letters from p on are those from 0 on, so the period p holds for p more.
    same = [0] * len(end)
    left = right = 0
    for at in range(1, len(end) // LOOP_TIMES + 1):
        if at < right:
            same[at] = min(right - at, same[at - left])
        while at + same[at] < len(end) and end[same[at]] == end[at + same[at]]:
            same[at] += 1
        if at + same[at] > right:
            left, right = at, at + same[at]
        if at + same[at] >= max(LOOP_TIMES * at, LOOP_CHARACTERS):
            return True
    return False
