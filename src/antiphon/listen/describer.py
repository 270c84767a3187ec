"""Texts about one recording: from what was measured, and from what a trained listener hears.

The same facts, the same things heard and the same seed always give the same text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import TypeVar

from antiphon.description import Heard
from antiphon.errors import ConfigError
from antiphon.facts import Facts
from antiphon.listen.describer_facts import FACTS_KINDS
from antiphon.listen.describer_heard import kinds_for
from antiphon.listen.phrases import phrases_for
from antiphon.listen.writer import Choice, Limit, Writer, count_words
from antiphon.listen.writer_heard import HeardWriter

__all__ = ["DESCRIBER_VERSION", "check_kinds", "count_words", "describe"]

DESCRIBER_VERSION = 4  # raise it when any text changes: finished library runs are then done again
_W = TypeVar("_W", bound=Writer)


def describe(
    facts: Facts, heard: Heard | None, kinds: Mapping[str, int | None], seed: int = 0
) -> dict[str, str]:
    """Write one text for each kind, of at most so many words (None: no limit).

    `seed` takes other wordings of the same statements. Raises ConfigError for a kind that needs a
    model which follows prompts.
    """
    check_kinds(kinds)
    choice = Choice(facts, heard, seed)
    found = phrases_for(facts)
    if heard is None or found.silent:
        return _written(FACTS_KINDS, Writer(found, choice), kinds)
    writer = HeardWriter(facts, heard, choice)
    return _written(kinds_for(writer), writer, kinds)


def _written(
    ways: Mapping[str, Callable[[_W, Limit], Iterator[str]]],
    writer: _W,
    kinds: Mapping[str, int | None],
) -> dict[str, str]:
    texts = {}
    for kind, max_words in kinds.items():
        limit = Limit(max_words)
        # A limit can be tighter than any text of the kind; the last very brief one is one word.
        candidates = chain(ways[kind](writer, limit), ways["very_brief"](writer, limit))
        texts[kind] = next(text for text in candidates if limit.allows(text))
    return texts


def check_kinds(kinds: Iterable[str]) -> None:
    """Raise ConfigError for a kind that only a model which follows prompts could write."""
    for kind in kinds:
        if kind not in FACTS_KINDS:
            raise ConfigError(
                f"kind {kind!r} needs a model that follows prompts; "
                f"the built-in describer writes {', '.join(FACTS_KINDS)}"
            )
