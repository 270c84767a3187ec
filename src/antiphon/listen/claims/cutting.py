"""What is cut out of a text: a wrong value in brackets, the end of its sentence, or all of it.

Knows no measured value and no verdict.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from antiphon.listen.claims.reading import (
    Amount,
    Bar,
    Found,
    Moment,
    Reading,
    Sentence,
    Tonality,
    any_of,
)

_I = re.IGNORECASE
_FEWEST_WORDS_LEFT = 4  # of a sentence whose end is cut off
_SAME_SHARE = {"BPM": 0.04, "s": 0.05}  # two values that close are one value said twice
_SAME_AMOUNT = 1.0

_OR = re.compile(r"(?: or |/| / | \(or )", _I)
# Where the end of a sentence may be cut off, and what would then be no sentence.
_TAIL = re.compile(
    r",|;|\u2014| - | (?=(?:and|before|then) (?:then |later |finally |eventually |it )?(?:"
    r"(?:modulat|mov|shift|chang|end|clos|ris|lift|slow|speed|accelerat|switch|transition)"
    r"|the (?:\w+ )?(?:begin|start|end)))",
    _I,
)
_LOOSE_END = re.compile(r"(?:[\s,;\u2014-]|\b(?:and|but|then|before))+$", _I)
_ASIDE = re.compile(r" ?(?:[a-z]+ing|before|then|and then|plus)\b", _I)
_NO_SENTENCE = re.compile(
    r"\W*(?:"
    + any_of(
        """after before when while as in on at with from by following although though during once
        since until if because for then around over under through [a-z]+ing [a-z]+ed"""
    )
    + r")\b",
    _I,
)


@dataclass(frozen=True)
class Edit:
    """What stands in `text[start:stop]` instead."""

    start: int
    stop: int
    new: str


def cuts_of(
    reading: Reading, sentence: Sentence, bad: Sequence[Found], inside: Sequence[Found]
) -> tuple[list[Edit], list[Found]]:
    """What is cut out of a sentence, and the wrong claims that are lost with it.

    A time has nothing to be put in its place; nor has a second key, say, beside the right one:
    `from G major to A major` would become `from G major to G major`. Brackets that hold nothing
    else are cut, else the end of the sentence, else all of it.
    """
    edits: list[Edit] = []
    lost: list[Found] = []
    rest: list[Found] = []
    for claim in bad:
        is_time = isinstance(claim.value, Moment)
        rivals = [] if is_time else _rivals(reading, claim, inside, bad)
        if not (is_time or rivals):
            continue
        bracket = _bracket(reading, sentence, claim, inside)
        asides = [_bracket(reading, sentence, rival, inside) for rival in rivals]
        if bracket is None and asides and all(asides):
            edits += [aside for aside in asides if aside is not None]
            continue
        lost.append(claim)
        if bracket is not None:
            edits.append(bracket)
        else:
            rest.append(claim)
    if rest:
        edits.append(_tail(reading, sentence, rest) or whole_sentence(reading, sentence))
    return edits, lost


def _rivals(
    reading: Reading, claim: Found, inside: Sequence[Found], bad: Sequence[Found]
) -> list[Found]:
    """Other values of the same quantity in the sentence that stay as they are, or come first."""
    others = [other for other in inside if other is not claim and _differ(claim, other)]
    right = [other for other in others if other not in bad]
    kept = right or [other for other in others if other.start < claim.start]
    return [other for other in kept if not are_either_or(reading, claim, other)]


def _differ(one: Found, other: Found) -> bool:
    a, b = one.value, other.value
    if isinstance(a, Amount) and isinstance(b, Amount) and a.unit == b.unit:
        slack = _SAME_SHARE.get(a.unit, 0.0) * abs(a.ranges[0][0]) + _SAME_AMOUNT
        return not any(
            low - slack <= top and bottom <= high + slack
            for low, high in a.ranges
            for bottom, top in b.ranges
        )
    if isinstance(a, Tonality) and isinstance(b, Tonality):
        same_tonic = a.tonic == b.tonic or None in (a.tonic, b.tonic)
        return not (same_tonic and (a.mode == b.mode or None in (a.mode, b.mode)))
    if isinstance(a, Bar) and isinstance(b, Bar):
        return not set(a.beats) & set(b.beats)
    return False


def are_either_or(reading: Reading, one: Found, other: Found) -> bool:
    first, second = sorted((one, other), key=lambda claim: claim.start)
    return _OR.fullmatch(reading.plain[first.stop : second.start]) is not None


def _bracket(
    reading: Reading, sentence: Sentence, claim: Found, inside: Sequence[Found]
) -> Edit | None:
    """The brackets around a claim, unless they hold another claim, too."""
    start = reading.plain.rfind("(", sentence.start, claim.start)
    stop = reading.plain.find(")", claim.stop, sentence.stop)
    if start <= sentence.start or stop < 0 or ")" in reading.plain[start : claim.start]:
        return None
    if any(start < other.start < stop for other in inside if other is not claim):
        return None
    start -= reading.plain[start - 1] == " "
    return Edit(start, stop + 1, "")


def _tail(reading: Reading, sentence: Sentence, lost: Sequence[Found]) -> Edit | None:
    """From the last mark before the first lost claim on, if a sentence is left before it.

    What follows the next comma stays if an aside is cut: `in G major, moving to A major, with`.
    """
    plain = reading.plain
    first, last = min(claim.start for claim in lost), max(claim.stop for claim in lost)
    stop = sentence.start + len(plain[sentence.start : sentence.stop].rstrip(" \n.!\"'"))
    for mark in reversed(list(_TAIL.finditer(plain, sentence.start, first))):
        head = _LOOSE_END.sub("", plain[sentence.start : mark.start()])
        is_open = head.count("(") != head.count(")")
        if is_open or len(head.split()) < _FEWEST_WORDS_LEFT or _NO_SENTENCE.match(head):
            continue
        comma = plain.find(",", last, stop)
        if mark[0] == "," and comma >= 0 and _ASIDE.match(plain, mark.end()):
            stop = comma
        return Edit(sentence.start + len(head), stop, "")
    return None


def whole_sentence(reading: Reading, sentence: Sentence) -> Edit:
    """A sentence with the white space after it, but not with the end of its paragraph."""
    written = reading.plain[sentence.start : sentence.stop]
    space = written[len(written.rstrip()) :]
    starts_line = sentence.start == 0 or reading.plain[sentence.start - 1] == "\n"
    kept = space[space.index("\n") :] if "\n" in space and not starts_line else ""
    return Edit(sentence.start, sentence.stop, kept)
