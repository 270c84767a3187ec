"""Where a prompt says something: phrases of the lexicon, amounts, and what is refused of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from antiphon.compose.understanding.amounts import Amount
from antiphon.compose.understanding.lexicon import (
    Meaning,
    Word,
    cut,
    lexicon,
    longest_phrase,
    meanings,
)

Stance = Literal["wanted", "refused", "dropped"]  # dropped: neither, as in `no loud drums`

_LONGEST_COMPOUND = 6  # parts of a hyphened word that are looked at on either side
_MOST_BETWEEN = 2  # words between a refusal and what it still speaks of
_REFUSABLE = ("instruments", "family", "refusable", "intro", "ending")
_OR: tuple[str, ...] = ("or", "nor")
_AND_OR = (*_OR, "and")
_COMMAS = (*_AND_OR, ",")
_AFTER_REFUSAL = frozenset(
    ("a", "an", "any", "the", "my", "more", "kind", "kinds", "sort", "sorts", "of", "real", "such")
    + ("use", "using", "added", "at", "all")
)
_PREPOSITIONS = ("in", "on", "by", "at", "of", "near", "under")
_MANNERS = ("style", "key", "manner", "vein", "spirit", "tradition", "background")


@dataclass
class Mark:
    """Words `first` to `last` (exclusive), at `text[start:end]`, mean something."""

    first: int
    last: int
    start: int
    end: int
    meanings: tuple[Meaning, ...] = ()
    amount: Amount | None = None
    stance: Stance = "wanted"

    @property
    def senses(self) -> set[str]:
        return {meaning.sense for meaning in self.meanings}

    @property
    def is_dropped(self) -> bool:
        """Refused, and no control can say so."""
        if self.stance == "wanted" or self.amount is not None or "refusing" in self.senses:
            return False
        return self.stance == "dropped" or not self.senses & set(_REFUSABLE)

    @property
    def is_understood(self) -> bool:
        if self.amount is not None:
            return self.amount.value is not None and self.stance == "wanted"
        if self.senses == {"refusable"}:
            return self.stance == "refused"
        return not self.is_dropped and "nothing" not in self.senses


def find_marks(text: str, amounts: Sequence[Amount]) -> tuple[list[Word], list[Mark]]:
    """The words of a text, and in its order everything that is said by them."""
    words = cut(text)
    marks: list[Mark] = []
    waiting = list(reversed(amounts))
    index = 0
    while index < len(words):
        word = words[index]
        while waiting and waiting[-1].end <= word.start:
            waiting.pop()
        limit = waiting[-1].start if waiting else len(text)
        mark = _phrase(words, index, limit) if word.end <= limit else None
        if mark is None and waiting and word.end > limit:
            last = index
            while last < len(words) and words[last].start < waiting[-1].end:
                last += 1
            amount = waiting.pop()
            mark = Mark(index, last, amount.start, amount.end, amount=amount)
        if mark is None:
            index += 1
        else:
            marks.append(mark)
            index = mark.last
    measured = {mark.first for mark in marks if mark.amount is not None}
    marks = [mark for mark in marks if not _is_thing(words, mark, measured)]
    _refuse(words, marks)
    return words, [mark for mark in marks if "nothing" not in mark.senses]


def _phrase(words: list[Word], first: int, limit: int) -> Mark | None:
    """The longest phrase that begins here and ends before the character `limit`."""
    last, names = first, []
    while last < len(words) and last - first < longest_phrase():
        if words[last].end > limit or (last > first and words[last].breaks):
            break
        names.append(words[last].name)
        last += 1
    while last > first:
        found = meanings().get(tuple(names))
        if found and _is_whole(words, first, last):
            return Mark(first, last, words[first].start, words[last - 1].end, found)
        names.pop()
        last -= 1
    name = words[first].name
    if name.endswith("less") and _is_whole(words, first, first + 1):
        found = meanings().get((name.removesuffix("less"),), ())
        if any(meaning.sense in _REFUSABLE for meaning in found):
            place = (words[first].start, words[first].end)
            return Mark(first, first + 1, *place, found, stance="refused")
    return None


def _is_whole(words: list[Word], first: int, last: int) -> bool:
    """Not a part of a hyphened word that means something else: `piano-driven`, but `jazz-hands`."""
    before, after = first, last
    while words[before].joined and first - before < _LONGEST_COMPOUND:
        before -= 1
    while after < len(words) and words[after].joined and after - last < _LONGEST_COMPOUND:
        after += 1
    return all(
        word.name in lexicon().affixes or (word.name,) in meanings() or word.name[0].isdigit()
        for word in (*words[before:first], *words[last:after])
    )


def _is_thing(words: list[Word], mark: Mark, measured: set[int]) -> bool:
    """Whether a word such as `house` names a thing, not a genre.

    `measured`: where amounts begin, by the indexes of words; `pop in A major` is no place.
    """
    name = words[mark.first].name
    if mark.last - mark.first > 1 or name not in lexicon().doubtful or "genre" not in mark.senses:
        return False
    after = [] if _ends(words, mark.last) else words[mark.last : mark.last + 3]
    if after and after[0].name in lexicon().music_words and after[0].name not in _PREPOSITIONS:
        return False
    if len(after) > 1 and after[0].name in _PREPOSITIONS and not after[1].breaks:
        is_place = after[1].name in lexicon().determiners and mark.last + 1 not in measured
        return is_place and not (len(after) > 2 and after[2].name in _MANNERS)
    if after and (after[0].name,) in meanings() and after[0].name not in _PREPOSITIONS:
        return False
    before = words[max(0, mark.first - 2) : mark.first]
    if not before or words[mark.first].gap:
        return False
    determiners = lexicon().determiners
    if before[-1].name in determiners:
        return True
    is_described = len(before) > 1 and before[0].name in determiners and not before[1].breaks
    return is_described and (before[-1].name,) not in meanings()


def _ends(words: list[Word], last: int) -> bool:
    return last >= len(words) or words[last].breaks


def _refuse(words: list[Word], marks: list[Mark]) -> None:
    """Set the stance of what is refused."""
    for index, mark in enumerate(marks):
        is_last = mark.last == (marks[index + 1].first if index + 1 < len(marks) else len(words))
        follows = "" if is_last or _ends(words, mark.last) else words[mark.last].name
        if follows in lexicon().refusing_after and mark.senses & set(_REFUSABLE):
            mark.stance = "refused"
        if "refusing" in mark.senses and index + 1 < len(marks):
            stance = _first_stance(words, mark, marks[index + 1])
            if stance is not None:
                carries = _AND_OR if mark.meanings[0].value == "list" else _OR
                if words[mark.last].gap in (":", "="):  # `without: drums, bass`
                    carries = _COMMAS
                _carry(words, marks, index + 1, stance, carries)


def _first_stance(words: list[Word], refusal: Mark, mark: Mark) -> Stance | None:
    """What a refusal makes of the next mark; None where it speaks of something else."""
    between = words[refusal.last : mark.first]
    if mark.senses & {"refusing", "nothing"} or len(between) > 2 * _MOST_BETWEEN + 2:
        return None
    if any(word.breaks for word in (*between, words[mark.first])):
        return None
    names = [word.name for word in between]
    if "and" in names or any(name in lexicon().refusal_ends for name in names):
        return None
    others = [name for name in names if name not in _AFTER_REFUSAL and name not in _OR]
    if not others or any(name in _OR for name in names):
        return "refused"
    return "dropped" if len(others) <= _MOST_BETWEEN else None


def _carry(
    words: list[Word], marks: list[Mark], index: int, stance: Stance, carries: Sequence[str]
) -> None:
    """Refuse a mark and those that the refusal carries over to."""
    marks[index].stance = stance
    while index + 1 < len(marks):
        reach = _reach(words, marks, index, carries)
        if reach == index:
            return
        for mark in marks[index + 1 : reach + 1]:
            mark.stance = stance
        index = reach


def _reach(words: list[Word], marks: list[Mark], index: int, carries: Sequence[str]) -> int:
    """The last mark of the same refusal that is joined to mark `index`, or `index` itself."""
    here, there = marks[index], marks[index + 1]
    if there.senses & {"refusing", "nothing"} or there.amount is not None:
        return index
    gap = words[here.last : there.first]
    if not gap and not words[there.first].breaks:
        return index if here.senses & set(_REFUSABLE) else index + 1
    if not gap and words[there.first].gap == "/":
        return index + 1
    if _joins(words, gap, there, _AND_OR):
        return index + 1
    last = index + 1
    while last < len(marks):  # `drums, bass or piano`: only with an `or` at its end is it a list
        here, there = marks[last - 1], marks[last]
        gap = words[here.last : there.first]
        if there.senses & {"refusing", "nothing"}:
            return index
        if _joins(words, gap, there, carries):
            return last
        if gap or words[there.first].gap != ",":
            return index
        if "," in carries:
            return last
        last += 1
    return index


def _joins(words: list[Word], gap: Sequence[Word], there: Mark, by: Sequence[str]) -> bool:
    """`or`, `, or`, `and any` between two marks."""
    if not gap or gap[0].name not in by or gap[0].gap not in ("", ","):
        return False
    rest = [*gap[1:], words[there.first]]
    return not any(word.breaks for word in rest) and all(
        word.name in _AFTER_REFUSAL for word in gap[1:]
    )
