"""Time stamps, and whether a section is said to begin or to end there."""

from __future__ import annotations

import re
from collections.abc import Iterator

from antiphon.listen.claims.numbers import ABOUT
from antiphon.listen.claims.reading import NUMBER, WINDOW, Found, Moment, Reading, number
from antiphon.listen.claims.times import (
    INTO,
    NO_MOMENT,
    SECONDS,
    TIME,
    UNIT,
    is_decade,
    seconds_of,
    span_of,
    times,
)

_I = re.IGNORECASE

_NO_MOMENT_BEFORE = re.compile(
    r"(?:\bfor|\bdeclared|\d of) $|\b(?:midnight|noon|o'clock|doors|headliner"
    r"|sound-?check|curfew|premiered|[ap]\.m\.)\b[^.;]*$|\b(?:longer|shorter|less|more) than $",
    re.IGNORECASE,
)
_AT = re.compile(
    r"\b(?:at|around|by|near|until|till|past|after|before|from|since|t ?="
    r"|from [^.;,]{1,20} (?:to|until)|between [^.;,]{1,20} and)"
    r"(?: (?:the|about|around|roughly|approximately|exactly|precisely|just|only|nearly|almost))*"
    r" ?[~\u2248]?$",
    _I,
)
_AFTER_A = re.compile(rf"\bafter (?:{ABOUT} )*$", _I)
_BRACKETED = re.compile(r"[(\[] ?$")
_BRACKET_CLOSES = re.compile(r" ?[)\]]")
_ORDINAL = re.compile(
    r"\b(?:at|by|around|from|until|after|near)(?: about| around)?"
    rf" (?P<unit>minute|second) (?P<low>{NUMBER})"
    r"(?! [a-z]+s\b)",
    _I,
)
_SECTION = (
    r"(?P<section>intro|introduction|verse|(?:pre|post)-?chorus|chorus|bridge|drop|section|part"
    r"|outro|breakdown|break|solo|hook|refrain|interlude|coda|build-?up|middle eight|theme"
    r"|reprise|recapitulation|exposition|trio|strain"
    r"|ending)s?\b"
)
_NAMED_SECTION = (  # these are sections wherever they stand; a part or a solo need not be one
    r"(?P<section>intro|introduction|verse|(?:pre|post)-?chorus|chorus|bridge|drop|outro|coda"
    r"|breakdown|interlude|refrain|middle eight)s?\b"
)
_BORDERS = (
    r"(?:(?:begin|start|enter|end|arriv|hit|open|clos|conclud|finish|launch|return|land|commenc"
    r"|resum|emerg|appear|follow|erupt|explod|burst|fad|stop|begun|began|span|occur)[a-z]{0,4}"
    r"|introduc[a-z]{1,3}|kick(?:s|ing)? (?:in|off)|drops|set(?:s|ting) in"
    r"|com(?:es?|ing)(?: (?:in|back)|(?= (?:at|around|by)\b))"
    r"|tak(?:es?|ing) over|giv(?:es?|ing) way"
    r"|(?:last|run|continu|extend|stretch|go)(?:e?s|ing)? (?:until|till|from|to))\b"
)
_SAME_SUBJECT = r"(?: (?!(?:the|an?|its|in|with)\b)[\w'-]+){0,3}?"
_SAME_OBJECT = r"(?: (?!(?:in|during|over|for|with|on|under|before|after)\b)[\w'-]+){0,4}?"
_SUBJECT_HAS_BORDER = re.compile(
    rf"\b{_SECTION}{_SAME_SUBJECT} {_BORDERS}(?: [\w'-]+){{0,6}}? ?[(\[]?@", _I
)
_SECTION_HAS_BORDER = (  # "@" stands for the time
    re.compile(  # `the breakdown at 1:40`, `chorus (0:48)`, `the intro, from @`
        rf"\b{_NAMED_SECTION}(?: (?:build|section|entry|drop|two|one|three|\d))?"
        r"(?:,? (?:at|around|near|from|by)(?: (?:about|around|roughly))?)? ?[(\[|:\u2013-]? ?@",
        _I,
    ),
    re.compile(  # a line of a list
        r"(?:^|\n)[ \t]*[-*\u2022|]?[ \t]*[\[(]?@[-:\u2013| \])]{0,4}(?:[\w-]+ ){0,2}"
        rf"{_NAMED_SECTION}",
        _I,
    ),
    _SUBJECT_HAS_BORDER,
    re.compile(rf"@[^@]{{0,40}}?\b{_SECTION}{_SAME_SUBJECT} {_BORDERS}", _I),
    re.compile(rf"\b{_BORDERS}{_SAME_OBJECT} {_SECTION}(?: [\w'-]+){{0,4}}? ?[(\[]?@", _I),
    re.compile(rf"@[^@,]{{0,8}},?(?: [\w'-]+){{0,4}}? {_BORDERS}{_SAME_OBJECT} {_SECTION}", _I),
)
_INSIDE_SECTION = re.compile(
    r"\b(?:in|during|through|throughout|after|before|under|over|for|with|into)"
    r"(?: (?:the|a|an|its|each))?(?: [\w-]+)? $",
    _I,
)
_ORDER = re.compile(r"\W*(?:before|after)\b", _I)
_GOES_ON_WITH = re.compile(  # after a section's border: "and the chorus at", "and ends at", "to"
    r"\W*(?:and|then|until|till|to|through|before|,)?,?(?: then| finally)?"
    rf"(?: is (?:over|done|gone|finished)"
    r"| (?:the|an?) (?:second|third|fourth|next|last|final|other)(?:,? [\w-]+){0,2}"
    rf"|(?: (?:it )?{_BORDERS})|(?: (?:the|a|an))?(?: [\w-]+){{0,2}}? {_SECTION})?"
    r"(?: (?:at|by|around|near|from|in|about|on))*\W*",
    _I,
)
_NEW_STATEMENT = re.compile(r"[;\u2014]")


def find_moments(reading: Reading) -> Iterator[Found]:
    """`at 0:48`, `48 seconds in`, `the two-minute mark`."""
    earlier: Found | None = None
    for match in times(reading):
        if not match["spoken"] and not _is_moment(reading, match):
            continue
        for start, stop, seconds in _moments(reading, match):
            of_section = _has_border(reading, start, stop, earlier)
            earlier = Found("time", start, stop, Moment(seconds, of_section))
            yield earlier
    for match in reading.matches(_ORDINAL):
        seconds = number(match["low"]) * SECONDS[match["unit"][0].lower()]
        start, stop = match.start("unit"), match.end()
        yield Found("time", start, stop, Moment(seconds, _has_border(reading, start, stop, None)))


def _moments(reading: Reading, match: re.Match[str]) -> Iterator[tuple[int, int, float]]:
    """Places and seconds; `12.9 s to 38.2 s` is two of them."""
    start, stop = span_of(match)
    low, high = seconds_of(reading, match)[0]
    if match["clock"] or match["spoken"] or not (match["high"] or match["floor"]):
        yield start, stop, high if low == float("-inf") else low
        return
    first, second = ("floor", "ceiling") if match["floor"] else ("low", "high")
    unit = re.compile(rf"[ -]?{UNIT}(?![A-Za-z])", _I).match(reading.plain, match.end(first))
    yield start, unit.end() if unit is not None else match.end(first), low
    yield match.start(second), stop, high


def _is_moment(reading: Reading, match: re.Match[str]) -> bool:
    before, after = reading.before(match.start()), reading.after(match.end(), 30)
    if match["clock"]:
        return not (_NO_MOMENT_BEFORE.search(before) or re.match(r" of\b", after))
    if re.search(r"\b(?:first|last|final|opening|closing|next) $", before, _I):
        return False
    if INTO.match(after):
        return not re.search(r"\bin (?:just |under |only )?$", before, _I)
    if is_decade(match) and not re.search(r"\b(?:at|t ?=) ?$", before):
        return False
    if NO_MOMENT.match(after) or (match["single"] and not _AFTER_A.search(before)):
        return False
    if match["high"] and _BRACKETED.search(before) and _BRACKET_CLOSES.match(after):
        return True
    is_length = re.match(r" ?[A-Za-z]*-?long\b| [a-z]+ (?:break|solo)\b", after)
    return _AT.search(before) is not None and not is_length


def _has_border(reading: Reading, start: int, stop: int, earlier: Found | None) -> bool:
    """Whether a section is said to begin, enter, start or end at the time.

    Looks from the time before to the time after in the same sentence; `earlier` is the claim
    before, whose verb may be left out here: `and the chorus at 0:48`.
    """
    begin = reading.sentence_at(start).start
    if earlier is not None and begin < earlier.stop <= start:
        begin = earlier.stop
        stated = isinstance(earlier.value, Moment) and earlier.value.of_section
        if stated and _GOES_ON_WITH.fullmatch(reading.plain[begin:start][-WINDOW:]):
            return True
    before = _NEW_STATEMENT.split(reading.plain[max(begin, start - WINDOW) : start])[-1]
    after = reading.after(stop, 80)
    following = TIME.search(after)
    after = _NEW_STATEMENT.split(after[: following.start() if following else None])[0]
    clause = f"{before}@{after}"
    for pattern in _SECTION_HAS_BORDER:
        match = pattern.search(clause)
        if match is None:
            continue
        inside = _INSIDE_SECTION.search(clause[: match.start("section")])
        # `before the chorus lands at`: what lands is the chorus.
        is_subject = pattern is _SUBJECT_HAS_BORDER and inside and _ORDER.match(inside[0])
        if not inside or is_subject:
            return True
    return False
