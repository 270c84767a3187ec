"""Amounts of time as they are written: `3:04`, `184 seconds`, `two and a half minutes`.

Whether one is a length or a place is told by the words around it, in `durations` and
`moments`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from antiphon.listen.claims.numbers import ranges_of
from antiphon.listen.claims.reading import NUMBER, Reading, number
from antiphon.listen.wording import NUMBER_WORDS

_I = re.IGNORECASE

UNIT = r"(?:seconds?|secs?\.?|s|minutes?|mins?\.?|m|hours?|hrs?|h)"
SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}  # by the first letter of the unit
_FRACTIONS = {"half": 0.5, "three": 0.75, "quarter": 0.25}
_CLOCK = r"(?<![\w:.])(?P<clock>(?:\d{1,2}:)?\d{1,3}:[0-5]\d(?:\.\d{1,3})?)(?!:?\d|\.\d)"
_PRIMES = r"(?<![\w:.])(?P<primes>\d{1,2}' ?[0-5]?\d(?:\"|''))"
_BETWEEN_TIMES = (
    rf"(?<=between )(?P<floor>{NUMBER})(?: {UNIT})? and (?P<ceiling>{NUMBER})"
    rf"[ -]?(?P<range_unit>{UNIT})\b"
)
_ONES = rf"(?:{'|'.join(NUMBER_WORDS[1:10])})"
_SPELLED_UP_TO_59 = (
    rf"(?:oh[ -]{_ONES}|{'|'.join(NUMBER_WORDS[10:20])}"
    rf"|(?:twenty|thirty|forty|fifty)(?:[ -]{_ONES})?)(?![\w-])"
)
_SPELLED = (
    rf"(?P<low>{NUMBER})"
    r"(?:(?P<fraction> and (?:a (?:half|quarter)|three[ -]quarters)|-and-a-(?:half|quarter))"
    rf"|(?: ?{UNIT})?(?: (?P<between>to|or) | ?(?P<dash>-) ?)(?P<high>{NUMBER}))?"
    rf"[ -]?(?P<unit>{UNIT})(?![A-Za-z'])(?P<unit_fraction>(?: and)?[ -]a[ -](?:half|quarter))?"
    rf"(?:,? (?:and )?(?P<more>{NUMBER})[ -]?"
    r"(?P<more_unit>seconds?|secs?|s|minutes?|mins?)(?![A-Za-z])"
    r"|(?:(?<=min) )?(?P<tight>[0-5]?\d)s?(?![\w.:/%])"
    rf"|(?<=minutes) (?P<bare>{_SPELLED_UP_TO_59})(?! [a-z]+s\b))?"
)
_SPOKEN_CLOCK = (  # `the drop at two forty-five`; only where a section is spoken of
    r"(?:(?<=\bat )|(?<=\bby )|(?<=\bto )|(?<=around )|(?<=until )|(?<=from ))"
    rf"(?P<spoken>(?P<spoken_minutes>{_ONES}|ten)[ -](?P<spoken_seconds>{_SPELLED_UP_TO_59}))"
)
_SINGLE = (
    r"(?P<single>\b(?:half an?|half-|an?|a half(?= ))[ -]?(?P<single_unit>minute|hour))"
    rf"(?:(?P<single_fraction> and a half)| and (?P<single_more>{NUMBER}) seconds)?(?![A-Za-z])"
)
TIME = re.compile(rf"{_CLOCK}|{_PRIMES}|{_SPOKEN_CLOCK}|{_BETWEEN_TIMES}|{_SPELLED}|{_SINGLE}", _I)
_OF_SECTION = re.compile(
    r"\b(?:intro|verse|chorus|bridge|drop|outro|breakdown|coda|interlude|refrain|solo|section|hook"
    r"|build-?up)s?\b",
    _I,
)
_OF_TEMPO = re.compile(r"\b(?:bpm|tempo|beats?|metronome|pace)\b", _I)
_TIME_OF_DAY = re.compile(
    r" ?(?:[ap]\.?m\b|o'clock|GMT|UTC)|[- ](?:video|format|aspect|crop)"
    r"| (?:in the (?:morning|afternoon|evening)|at night)"
    r"| on (?:an? )?(?:mon|tues|wednes|thurs|fri|satur|sun)day",
    _I,
)
_VERSE = re.compile(
    r"\b(?:ratio of|john|psalms?|genesis|exodus|matthew|luke|romans|corinthians|isaiah) $", _I
)
_DECADE = re.compile(r"[1-9]0s|[3-9]0[3-9]s", _I)  # `80s`, and drum machines: `808s`
# `48 seconds in`, `the 1:20 mark` are places; `48 seconds later`, `before the end` are neither.
INTO = re.compile(
    r"(?:[ -](?:mark|point|timestamp|time ?stamp)\b| in(?:to)?\b(?! (?:length|total|all)))", _I
)
NO_MOMENT = re.compile(
    r"[ -]{1,2}(?:later|earlier|before|after|apart|ago|left|remaining|to go|of\b|each\b|shorter"
    r"|longer|from|away|long\b)",
    _I,
)


def times(reading: Reading) -> Iterator[re.Match[str]]:
    """Every amount of time in a text that is no time of day."""
    for match in reading.matches(TIME):
        if match["spoken"] and not _is_of_section(reading, match):
            continue
        if not _is_time_of_day(reading, match):
            yield match


def _is_of_section(reading: Reading, match: re.Match[str]) -> bool:
    """`one twenty` is a tempo as well."""
    around = reading.around(match.start())
    return bool(_OF_SECTION.search(around)) and not _OF_TEMPO.search(around)


def is_decade(match: re.Match[str]) -> bool:
    """`the 80s`, `its 808s`."""
    return _DECADE.fullmatch(match[0]) is not None


def span_of(match: re.Match[str]) -> tuple[int, int]:
    """Without the dot of an abbreviation, which may be that of the sentence."""
    return match.start(), match.end() - match[0].endswith(".")


def seconds_of(reading: Reading, match: re.Match[str]) -> tuple[tuple[float, float], ...]:
    """Ranges in seconds; a single amount is low == high."""
    if match["clock"]:
        value = 0.0
        for part in match["clock"].split(":"):
            value = 60 * value + float(part)
    elif match["primes"]:
        minutes, seconds = re.findall(r"\d+", match["primes"])
        value = 60 * float(minutes) + float(seconds)
    elif match["spoken"]:
        value = 60 * number(match["spoken_minutes"]) + _up_to_59(match["spoken_seconds"])
    elif match["single"]:
        unit = SECONDS[match["single_unit"][0].lower()]
        value = unit * (0.5 if "half" in match["single"].lower() else 1.0)
        value += 0.5 * unit * bool(match["single_fraction"])
        value += number(match["single_more"]) if match["single_more"] else 0.0
    elif match["floor"]:
        unit = SECONDS[match["range_unit"][0].lower()]
        return ((number(match["floor"]) * unit, number(match["ceiling"]) * unit),)
    else:
        return _spelled_seconds(reading, match)
    return ((value, value),)


def _spelled_seconds(reading: Reading, match: re.Match[str]) -> tuple[tuple[float, float], ...]:
    unit = SECONDS[match["unit"][0].lower()]
    if match["high"]:
        low, high = number(match["low"]), number(match["high"])
        return ((min(low, high) * unit, max(low, high) * unit),)
    extra = 0.0
    for written in (match["fraction"], match["unit_fraction"]):
        extra += unit * sum(
            part for name, part in _FRACTIONS.items() if name in (written or "").lower()
        )
    if match["more"]:
        extra += number(match["more"]) * SECONDS[match["more_unit"][0].lower()]
    if match["tight"]:
        extra += float(match["tight"])
    if match["bare"]:
        extra += _up_to_59(match["bare"])
    ((low, high),) = ranges_of(match, reading.before(match.start()))
    return ((low * unit + extra, high * unit + extra),)


def _up_to_59(text: str) -> float:
    """The value of what `_SPELLED_UP_TO_59` matches; `number` would read `oh` as a hundred."""
    return number(re.sub(r"^oh[ -]", "", text, flags=_I))


def _is_time_of_day(reading: Reading, match: re.Match[str]) -> bool:
    if not match["clock"]:
        return False
    before = reading.before(match.start(), 20)
    return bool(_TIME_OF_DAY.match(reading.plain, match.end()) or _VERSE.search(before))
