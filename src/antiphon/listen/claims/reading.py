"""A text as the grammar of claims reads it: one kind of dash and space, sentences, numbers, notes.

The plain text is as long as the original, so a place in one is the place in the other.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from antiphon.description import Quantity
from antiphon.listen.wording import NUMBER_WORDS as ONE_TO_TWENTY
from antiphon.notation import Mode

WINDOW = 120  # characters of context on either side that a guard may look at
MARKUP = "*_`"

_PLAIN = str.maketrans(
    {
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2212\ufe63\uff0d", "-"),
        **dict.fromkeys("\u2015", "\u2014"),  # the em dash stays: it ends a clause
        **dict.fromkeys("\u00a0\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f", " "),
        **dict.fromkeys("\u200b\ufeff\t" + MARKUP, " "),
        **dict.fromkeys("\u2018\u2019\u02bc", "'"),
        **dict.fromkeys("\u201c\u201d\u00ab\u00bb", '"'),
        "\u266f": "#",
        "\u266d": "b",
        "\u2044": "/",
        "\u2236": ":",
    }
)
_JSON_NAME = re.compile(r"\"([A-Za-z_]{2,24})\"(?= ?:)")  # a model that was asked for JSON
_JSON_BEGINS = re.compile(  # not `[Verse] He sings "…"`
    r"^[ \t]{0,40}(?:\{\s{0,40}\"\w{1,40}\" ?:|\[\s{0,40}[{\"])", re.MULTILINE
)
_JSON_QUOTE = re.compile(r"(?<!\\)\"")
# What a correction leaves beside a value is no part of the sentence.
_MARK = re.compile(r" ?\(measured\)|, measured(?=\))")

_STOP = re.compile(r"[.!?\u2026]+[\"'\u2019\u201d)\]*_`]*(?=\s)|\n")
_NEVER_LAST = re.compile(r"(?:^|[\s(])(?:vs|mr|mrs|dr|st|e\.g|i\.e|feat|ft)$", re.IGNORECASE)
_RARELY_LAST = re.compile(
    r"(?:^|[\s(\d])(?:[Nn]os?|[Oo]p|approx|ca|c|b\.p\.m|m\.m|min|mins|maj|sec|secs|resp)$"
)
_LIST_NUMBER = re.compile(r"(?:^|\n)[\s>]*\d{1,2}$")
_INITIAL = re.compile(r"(?:^|[\s(.])[A-Z]$")
_NEW_LINE = re.compile(
    r"[ \t]*(?:\n|[-\u2022\u2013#>|*]+\s|\d{1,2}[.)]\s|\*{0,2}[A-Z][\w /&-]{0,30}\*{0,2}:)"
)
_SHORT_LINE = 60
_SPACE = re.compile(r"\s*")


def any_of(words: str) -> str:
    """A pattern for any of some words, which stand apart by white space; `_` is a space in one."""
    return f"(?:{'|'.join(words.split()).replace('_', ' ')})"


WORD_VALUES = {word: at for at, word in enumerate(ONE_TO_TWENTY) if at > 0} | {
    "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90,
}  # fmt: skip

_UNIT = any_of(" ".join(sorted(ONE_TO_TWENTY[1:20], key=len, reverse=True)))
_TENS = any_of(" ".join(word for word, value in WORD_VALUES.items() if value >= 20))
_BELOW_100 = rf"(?:{_TENS}(?:[ -]{_UNIT})?|{_UNIT})"
# "one hundred and twenty", "a hundred", "one twenty-eight", "one-oh-five", "ninety-two".
SPELLED_NUMBER = (
    rf"(?:(?:a|{_UNIT})[ -]hundred(?:[ -](?:and[ -])?{_BELOW_100})?"
    rf"|one[ -](?:oh[ -]{_UNIT}|{_TENS}(?:[ -]{_UNIT})?)|{_BELOW_100})\b"
)
DIGITS = r"(?<![A-Za-z\d])(?<!\d[.:,/])\d{1,4}(?:\.\d{1,2})?(?![\d])(?![.:,]\d)"
NUMBER = rf"(?:{DIGITS}|\b{SPELLED_NUMBER})"
NOTE = r"[A-Ga-g](?:#|b(?![a-ln-z])|[ -]?(?:sharp|flat)(?![a-z]))?"

# The end, a mark, or a word after which a value stood alone: nothing it could be an adjective to.
_FREE_NEXT = any_of(
    """and or at with without to for in on over from by but while as throughout before after that
    which where when then than is was has its the this a an using featuring built played set driven
    during around until under between into through so yet because also only mostly primarily
    clearly firmly probably here though although giving making creating lending once twice later
    again too now all alone afterwards near towards? across along"""
)
STANDS_ALONE = re.compile(rf"\s*(?:$|[.,;:!?)\]\u2014\"(/]|-(?=\s)|{_FREE_NEXT}\b)")


@dataclass(frozen=True)
class Amount:
    """Ranges of a number in `unit`: BPM, s, LUFS, dBTP, LU or dB; a single value is low == high."""

    ranges: tuple[tuple[float, float], ...]
    unit: str


@dataclass(frozen=True)
class Moment:
    """A time from the start; `of_section`: a section is said to begin or to end there."""

    seconds: float
    of_section: bool


@dataclass(frozen=True)
class Tonality:
    """A tonic (pitch class), a mode, or both."""

    tonic: int | None
    mode: Mode | None


@dataclass(frozen=True)
class Bar:
    """Counts of beats to the bar that a signature stands for, the written one first."""

    beats: tuple[int, ...]


@dataclass(frozen=True)
class Degrees:
    """Roman numerals: semitones above the tonic in a major and in a minor key, and mode."""

    steps: tuple[tuple[int, int, Mode | None], ...]


@dataclass(frozen=True)
class Harmony:
    """Chords as roots (pitch classes) and modes; None where a chord has no third."""

    chords: tuple[tuple[int, Mode | None], ...]


Value = Amount | Moment | Tonality | Bar | Degrees | Harmony


@dataclass(frozen=True)
class Found:
    """A claim in a text: `text[start:stop]` is the shortest piece that carries the value."""

    quantity: Quantity
    start: int
    stop: int
    value: Value


@dataclass(frozen=True)
class Sentence:
    """Its place in the text, the white space after it included."""

    start: int
    stop: int


class Reading:
    """A text made plain, with its sentences."""

    def __init__(self, text: str) -> None:
        plain = _JSON_NAME.sub(lambda name: f" {name[1]} ".replace("_", " "), text)
        if _JSON_BEGINS.search(text):  # its quotes are no titles, unless they are escaped
            plain = _JSON_QUOTE.sub(" ", plain)
        self.plain = _MARK.sub(lambda mark: " " * len(mark[0]), plain).translate(_PLAIN)
        self.sentences = tuple(sentences(text))
        self._starts = [sentence.start for sentence in self.sentences]

    def sentence_at(self, place: int) -> Sentence:
        return self.sentences[bisect_right(self._starts, place) - 1]

    def before(self, place: int, most: int = WINDOW) -> str:
        """What stands before a place, within its sentence."""
        return self.plain[max(self.sentence_at(place).start, place - most) : place]

    def after(self, place: int, most: int = WINDOW) -> str:
        """What stands after a place, within the sentence of the character before it."""
        return self.plain[place : min(self.sentence_at(max(0, place - 1)).stop, place + most)]

    def around(self, place: int) -> str:
        """The sentence of a place, or the part of it that a guard may look at."""
        return self.before(place, 2 * WINDOW) + self.after(place, 2 * WINDOW)

    def matches(self, *patterns: re.Pattern[str]) -> Iterator[re.Match[str]]:
        for pattern in patterns:
            yield from pattern.finditer(self.plain)


Finder = Callable[[Reading], Iterator[Found]]


def number(text: str) -> float:
    """The value of what NUMBER matches."""
    if text[0].isdigit():
        return float(text)
    total = 0
    for word in re.split(r"[ -]", text.lower()):
        if word == "hundred":
            total = 100 * max(1, total)
        elif word in WORD_VALUES:
            value = WORD_VALUES[word]
            # "one twenty" and "one oh five" leave the hundred out.
            total = 100 + value if total == 1 and value >= 10 else total + value
        elif word == "oh":
            total = 100
    return float(total)


def sentences(text: str) -> Iterator[Sentence]:
    """The sentences of a text; a full stop after an abbreviation ends none."""
    start = 0
    for match in _STOP.finditer(text):
        if match.start() < start:
            continue  # white space after the sentence before
        space = _SPACE.match(text, match.end())
        stop = match.end() if space is None else space.end()
        if _ends_sentence(text, match, start, stop):
            yield Sentence(start, stop)
            start = stop
    if start < len(text) or not text:
        yield Sentence(start, len(text))


def _ends_sentence(text: str, match: re.Match[str], start: int, stop: int) -> bool:
    if match[0] == "\n":
        line = text[max(start, text.rfind("\n", 0, match.start()) + 1) : match.start()]
        capital = text[stop : stop + 1].isupper() or text[stop : stop + 1].isdigit()
        short = len(line) < _SHORT_LINE and capital and not line.rstrip().endswith(",")
        return short or bool(_NEW_LINE.match(text, match.end()))
    if match[0] != ".":
        return True
    before = text[max(start, match.start() - 12) : match.start()]
    after = text[stop : stop + 3]
    if _NEVER_LAST.search(before) or _LIST_NUMBER.search(text[start : match.start()][-8:]):
        return False
    if _INITIAL.search(before) and re.match(r"[A-Z]\.", after):
        return False
    return not (_RARELY_LAST.search(before) and (after[:1].isdigit() or after[:1].islower()))
