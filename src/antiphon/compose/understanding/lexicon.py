"""The words of prompts: the packaged lexicon, and a text cut into words. Weighs no wishes."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Literal

import yaml

from antiphon.plain import read_json

Phrase = tuple[str, ...]
Sense = Literal[
    "genre", "genre_hint", "mood", "energy", "tempo", "metre", "intro", "ending", "instruments",
    "family", "refusable", "without", "refusing", "nothing",
]  # fmt: skip

# R&B and don't are one word each; & alone is read as `and`.
_WORD = re.compile(r"\b[wW]/o?(?!\w)|\w+(?:[&'’]\w+)*|&")  # w/ and w/o are words too
_LONGEST_WORD = 40  # characters that are looked at; none of ours is longer
_LONGEST_GAP = 8  # likewise, between two words
_HYPHENS = ("-", "\u2010", "\u2011")


@dataclass(frozen=True)
class Word:
    """A word of a text: its characters, how it is looked up, and what parts it from the last."""

    start: int
    end: int
    name: str
    gap: str  # its blanks left out, but for line breaks

    @property
    def joined(self) -> bool:
        """To the word before, by a hyphen."""
        return self.gap in _HYPHENS

    @property
    def breaks(self) -> bool:
        """After a comma, a full stop, an emoji ...: no phrase runs through, but `energy: high`."""
        return self.gap not in ("", ":", "=", *_HYPHENS)


def cut(text: str) -> list[Word]:
    """The words of any text, in order; runs in linear time."""
    words: list[Word] = []
    last = 0
    for match in _WORD.finditer(text):
        raw = text[last : min(match.start(), last + _LONGEST_GAP)]
        gap = "\n" if "\n" in raw else raw.strip()
        if gap in _HYPHENS and gap != raw:
            gap = f"{gap} "  # ` - ` is a dash
        name = unicodedata.normalize("NFKC", match[0][:_LONGEST_WORD]).casefold()
        name = "and" if name == "&" else name.replace("’", "'")
        words.append(Word(*match.span(), name, gap))
        last = match.end()
    return words


@dataclass(frozen=True)
class Meaning:
    """What a phrase asks for: a control's value, or its part in the sentence."""

    sense: Sense
    value: str


@dataclass(frozen=True)
class Family:
    """A word for several instruments; `by_genre` says which one it is, else the first member."""

    words: tuple[str, ...]
    members: tuple[str, ...]
    by_genre: dict[str, str] = field(default_factory=dict)


Table = dict[str, tuple[str, ...]]  # a value and the phrases that mean it


@dataclass(frozen=True)
class Lexicon:
    """`lexicon.yaml` as it stands; what its parts are for is said there."""

    genre: Table
    genre_hint: Table
    mood: Table
    energy: Table
    tempo: Table
    metre: Table
    intro: tuple[str, ...]
    ending: tuple[str, ...]
    instruments: Table
    refusable: Table
    without: Table
    families: dict[str, Family]
    refusing: Table
    refusing_after: frozenset[str]
    refusal_ends: frozenset[str]
    nothing: tuple[str, ...]
    doubtful: frozenset[str]
    music_words: frozenset[str]
    determiners: frozenset[str]
    affixes: frozenset[str]
    fillers: frozenset[str]

    def entries(self) -> Iterator[tuple[str, Meaning]]:
        """Every phrase with each of its meanings, plurals of instruments included."""
        tables: tuple[tuple[Sense, Table], ...] = (
            ("genre", self.genre), ("genre_hint", self.genre_hint), ("mood", self.mood),
            ("energy", self.energy), ("tempo", self.tempo), ("metre", self.metre),
            ("refusable", self.refusable), ("without", self.without), ("refusing", self.refusing),
            ("intro", {"yes": self.intro}), ("ending", {"yes": self.ending}),
            ("instruments", {name: _with_plurals(of) for name, of in self.instruments.items()}),
            ("family", {name: family.words for name, family in self.families.items()}),
            ("nothing", {"": self.nothing}),
        )  # fmt: skip
        for sense, table in tables:
            for value, phrases in table.items():
                for phrase in phrases:
                    yield phrase, Meaning(sense, value)


def _with_plurals(phrases: Iterable[str]) -> tuple[str, ...]:
    plurals = (f"{phrase}s" for phrase in phrases if not phrase.endswith("s"))
    return tuple(dict.fromkeys((*phrases, *plurals)))


@cache
def lexicon() -> Lexicon:
    """The packaged lexicon. Raises ConfigError when the file is not as `Lexicon` says."""
    text = (
        files("antiphon.compose.understanding").joinpath("lexicon.yaml").read_text(encoding="utf-8")
    )
    # libyaml, where PyYAML was built with it, is eight times as fast.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return read_json(Lexicon, json.dumps(yaml.load(text, Loader=loader)), "lexicon.yaml")


@cache
def meanings() -> dict[Phrase, tuple[Meaning, ...]]:
    """Phrases as they are looked up: words in lower case, hyphens and blanks alike."""
    found: dict[Phrase, tuple[Meaning, ...]] = {}
    for phrase, meaning in lexicon().entries():
        words = tuple(word.name for word in cut(phrase))
        found[words] = tuple(dict.fromkeys((*found.get(words, ()), meaning)))
    return found


@cache
def longest_phrase() -> int:
    """In words."""
    return max(len(phrase) for phrase in meanings())
