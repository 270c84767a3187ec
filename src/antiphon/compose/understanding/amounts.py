"""What prompts say in figures and note names: tempo, key, metre, length. Knows no other words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from antiphon.controls import (
    MAX_BARS,
    MAX_DURATION_SECONDS,
    MAX_TEMPO_BPM,
    METRES,
    MIN_TEMPO_BPM,
)
from antiphon.notation import Key

_I = re.IGNORECASE
_NEAR = 24  # characters around a find that are looked at

_ONES = (
    "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_SPELLED = {name: float(n) for n, name in enumerate(_ONES, start=1)} | {
    name: 10.0 * n for n, name in enumerate(_TENS, start=2)
}

_NAME = "|".join([*_TENS, *reversed(_ONES)])  # `sixteen` before `six`
_NUMBER = (
    r"(?:(?<![\w.,/-])(?<!\d:)[0-9]{1,5}(?:\.[0-9]{1,17})?"
    rf"|\b(?:(?:a|one|two) hundred(?: and)?[ -])?(?:{_NAME})(?:-(?:{_NAME}))?\b"
    r"|\b(?:a|one|two) hundred\b)"
)
_TO = r"\s?(?:-|–|to)\s?"
_RANGE = (
    rf"(?P<low>{_NUMBER})(?P<half> and a half)?(?:{_TO}(?P<high>[0-9]{{1,4}}(?:\.[0-9]{{1,17}})?))?"
)
_ABOUT = (
    r"(?:(?:is|of|at|to|set|around|about|approx\.?|approximately|roughly|circa|ca\.?|~|:|=|a)"
    r"\s{0,2}){0,4}"
)
_ENDS = r"(?=\s{0,4}(?:$|[.,;:|)\]\n]|(?:in|with)\b))"  # nothing that could be its unit


@dataclass(frozen=True)
class Amount:
    """A find in `text[start:end]`; without a value it is noted only: out of range. With one, a note
    says that it is the nearest to what is out of range."""

    start: int
    end: int
    option: Literal["tempo", "key", "metre", "duration", "bars"]
    value: float | int | str | None
    note: str = ""


def find_amounts(text: str) -> list[Amount]:
    """All finds in the order of the text; none overlaps another."""
    found: list[Amount] = []
    end = 0
    tempos = list(_tempos(text))
    if any(tempo.value is not None and not tempo.note for tempo in tempos):
        # One that can be is there: the nearest to one that cannot is not wanted.
        tempos = [tempo for tempo in tempos if not tempo.note]
    everything = (*tempos, *_metres(text), *_bars(text), *_durations(text), *_keys(text))
    for amount in sorted(everything, key=lambda amount: (amount.start, -amount.end)):
        if amount.start >= end:
            found.append(amount)
            end = amount.end
    return found


def _before(text: str, place: int) -> str:
    return text[max(0, place - _NEAR) : place]


def _after(text: str, place: int) -> str:
    return text[place : place + _NEAR]


def _number(text: str) -> float:
    """A number in figures, or spelled up to `two hundred and ninety-nine`."""
    try:
        return float(text)
    except ValueError:
        words = [word for word in re.split(r"[ -]", text.lower()) if word not in ("a", "and")]
    total = 0.0
    for word in words:
        total = max(total, 1.0) * 100.0 if word == "hundred" else total + _SPELLED[word]
    return total


def _middle(match: re.Match[str]) -> float:
    """Of a range such as `90-100`; of one number, itself."""
    low = _number(match["low"]) + (0.5 if match["half"] else 0.0)
    return (low + float(match["high"])) / 2 if match["high"] else low


# Tempo

_BPM = r"[ -]?(?:bpms?\b|b\.p\.m\.?|beats?[ -](?:per|a)[ -]minute\b|beats/min\b)"
_NO_TEMPO_UNIT = (
    r"(?!\s?(?:%|/|bars?\b|measures?\b|sec|min|hours?\b|times\b|k?hz\b|s\b)|[\d:]|\.\d)"
)
_TEMPOS = (
    re.compile(rf"{_RANGE}{_BPM}", _I),
    re.compile(rf"\b(?:tempo|bpm|speed|pace)\b\s{{0,2}}{_ABOUT}{_RANGE}{_NO_TEMPO_UNIT}", _I),
    re.compile(rf"(?:[♩𝅘𝅥]|\b(?:quarter|crotchet)(?: note)?)\s?=\s?{_RANGE}", _I),
)
_AT = re.compile(rf"(?:\bat|@)\s?(?:around |about |~)?{_RANGE}{_ENDS}", _I)
_PLAIN_TEMPOS = (60.0, 200.0)  # what `at 128`, without its unit, may be


def _tempos(text: str) -> Iterator[Amount]:
    for pattern in (*_TEMPOS, _AT):
        for match in pattern.finditer(text):
            bpm = _middle(match)
            if pattern is _AT and not _PLAIN_TEMPOS[0] <= bpm <= _PLAIN_TEMPOS[1]:
                continue
            limits = (MIN_TEMPO_BPM, MAX_TEMPO_BPM)
            found = _checked(match, "tempo", bpm, limits, "BPM")
            # `tempo 2` may be no tempo at all.
            if found.value is None and pattern is _TEMPOS[0]:
                nearest = min(max(bpm, limits[0]), limits[1])
                expected = f"expected {limits[0]:g} to {limits[1]:g} BPM"
                note = f"{match[0]!r} cannot be; {expected}, and {nearest:g} is the nearest"
                found = replace(found, value=nearest, note=note)
            yield found


def _checked(
    match: re.Match[str],
    option: Literal["tempo", "duration", "bars"],
    value: float,
    limits: tuple[float, float],
    unit: str,
) -> Amount:
    if limits[0] <= value <= limits[1]:
        return Amount(match.start(), match.end(), option, int(value) if option == "bars" else value)
    expected = f"expected {limits[0]:g} to {limits[1]:g} {unit}"
    note = f"{match[0]!r} is not taken as the {option}: it is {value:g} {unit}; {expected}"
    return Amount(match.start(), match.end(), option, None, note)


# Metre

_SIGNATURE = re.compile(r"(?<![\w/.,-])([0-9]{1,2})/(2|4|8|16)(?![\w/]|\.\d)")
_SPOKEN_METRE = re.compile(
    r"\b(?:(?P<in>in )?(?P<beats>three|four)[- ](?:four|quarter)(?P<noun> (?:time|metre|meter))?)\b"
    r"|\b(?P<count>three|four) beats (?:to|per|in) (?:the|a|each)? ?(?:bar|measure)\b",
    _I,
)


def _metres(text: str) -> Iterator[Amount]:
    for match in _SIGNATURE.finditer(text):
        metre = match[0] if match[0] in METRES else None
        note = "" if metre else f"metre {match[0]!r} is not taken; expected {' or '.join(METRES)}"
        yield Amount(match.start(), match.end(), "metre", metre, note)
    for match in _SPOKEN_METRE.finditer(text):
        if match["in"] or match["noun"] or match["count"]:
            beats = (match["beats"] or match["count"]).lower()
            metre = "3/4" if beats == "three" else "4/4"
            yield Amount(match.start(), match.end(), "metre", metre)


# Length

_NOT_THE_LENGTH = re.compile(
    r"\b(?:every|each|after|at|first|last|next|within|per|by) (?:the )?$", _I
)
# A part of the piece, or a delay: `5 second fade out`. A 12-bar blues is a form.
_OF_A_PART = re.compile(
    r"[ -](?:[a-z]{1,9} )?(?:fade|intro|outro|ending)\b"
    r"|[ -](?:long )?(?:solo|break|breakdown|build|pause|silence|delay|reverb|tail|drop|turnaround"
    r"|ago|before|later|blues)\b",
    _I,
)
_BARS = re.compile(rf"{_RANGE}[ -]?(?:bars?|measures?)\b", _I)
_SECONDS = r"(?:seconds?|secs?|s)\b"
_CLOCKED = re.compile(
    rf"{_RANGE}[ -]?(?:minutes?|mins?|m(?=\s?\d))"
    rf"(?:\s?(?:and )?(?P<seconds>[0-9]{{1,2}}|{_NAME})[ -]?{_SECONDS})?(?![a-z])"
    rf"|(?P<clock>(?<![\d:.])[0-9]{{1,2}}:[0-5][0-9](?![\d:]))",
    _I,
)
_IN_SECONDS = re.compile(rf"{_RANGE}(?P<gap>[ -]?){_SECONDS}(?!')", _I)
_IN_HOURS = re.compile(rf"(?:{_RANGE}|\b(?P<an>an))[ -]?(?:hours?|hrs?|h)\b", _I)
_FRACTIONS = re.compile(
    r"\b(?:(?P<half>half an? (?P<unit>minute|hour)|half[ -]minute)"
    r"|(?:a|one) minute(?: and a half| thirty)?|minute and a half)\b",
    _I,
)
_CLOCK_CUE = re.compile(
    r"\b(?:length|duration|lasting|lasts|runtime|for)(?: of|:| =|=)?\s{0,2}$", _I
)
_CLOCK_UNIT = re.compile(r"[ -](?:long|in length|minutes?|mins?|duration)\b", _I)
_DURATION_CUE = re.compile(r"\b(?:length|duration|lasting|lasts|runtime|for)\b.{0,4}$", _I)
_DECADES = frozenset((50.0, 60.0, 70.0, 80.0, 90.0))  # `80s`
_MOST_SHORT = 600.0  # `45s`; `808s` are drum machines and `1980s` years
_LIMITS = (1.0, MAX_DURATION_SECONDS)


def _is_of_a_part(text: str, match: re.Match[str]) -> bool:
    return bool(
        _NOT_THE_LENGTH.search(_before(text, match.start()))
        or _OF_A_PART.match(_after(text, match.end()))
    )


def _bars(text: str) -> Iterator[Amount]:
    for match in _BARS.finditer(text):
        bars = _middle(match)
        if bars.is_integer() and not _is_of_a_part(text, match):
            yield _checked(match, "bars", bars, (1, MAX_BARS), "bars")


def _durations(text: str) -> Iterator[Amount]:
    for match in _CLOCKED.finditer(text):
        if match["clock"]:
            minutes, _, rest = match["clock"].partition(":")
            cue = _CLOCK_CUE.search(_before(text, match.start()))
            if not (cue or _CLOCK_UNIT.match(_after(text, match.end()))):
                continue
            seconds = 60 * float(minutes) + float(rest)
        else:
            more = match["seconds"]
            seconds = 60 * _middle(match) + (_number(more) if more else 0.0)
        if not _is_of_a_part(text, match):
            yield _checked(match, "duration", seconds, _LIMITS, "seconds")
    for match in _IN_SECONDS.finditer(text):
        seconds = _middle(match)
        is_short = not match["gap"] and match[0].lower().endswith("s") and match[0][-2:-1].isdigit()
        is_years = is_short and (seconds in _DECADES or not 0 < seconds < _MOST_SHORT)
        if is_years and not _DURATION_CUE.search(_before(text, match.start())):
            continue
        if not _is_of_a_part(text, match):
            yield _checked(match, "duration", seconds, _LIMITS, "seconds")
    for match in _IN_HOURS.finditer(text):
        hours = 1.0 if match["an"] else _middle(match)
        if not (
            _is_of_a_part(text, match) or re.search(r"half $", _before(text, match.start()), _I)
        ):
            yield _checked(match, "duration", 3600 * hours, _LIMITS, "seconds")
    for match in _FRACTIONS.finditer(text):
        seconds = 30.0 if match["half"] else 90.0 if match[0].lower() not in _ONE_MINUTE else 60.0
        if match["half"] and (match["unit"] or "").lower() == "hour":
            seconds = 1800.0
        if not _is_of_a_part(text, match):
            yield _checked(match, "duration", seconds, _LIMITS, "seconds")


_ONE_MINUTE = ("a minute", "one minute")

# Key

_ACCIDENTAL = r"(?:[#♯♭]|b(?![a-z])|[ -]?(?:sharp|flat)\b)?"
_NOT_IN_A_WORD = r"(?<![\w#'’&])(?<!\w[-&])"
_NAMED = re.compile(
    rf"{_NOT_IN_A_WORD}(?P<note>[a-g]{_ACCIDENTAL})[ -]{{0,3}}(?P<mode>major|minor|maj|min)\b", _I
)
_SHORT = re.compile(rf"{_NOT_IN_A_WORD}(?P<note>[A-G](?:[#♯♭b])?)m(?![\w#+'’]|-\w)")
_LEAD = r"(?i:\bkey(?: signature)?(?: of| is|:| =|=)?|\bin)"
_BARE = re.compile(
    rf"(?P<lead>{_LEAD})\s{{0,3}}(?P<note>[A-Ga-g](?:[#♯♭]|b(?![a-z])|[ -](?i:sharp|flat)\b)?)"
    r"(?![\w#+'’]|-\w)"
)
_LED = re.compile(rf"{_LEAD}\s{{0,3}}$")
_SEGMENT_STARTS = re.compile(r"(?:^|[.,;:|/(\[\n]|\s-)\s*$")
_STANDS_ALONE = re.compile(
    r"\s*(?:$|[.,;:|/)\]\n]|-\s|(?:at|with|and|around|for|in|throughout)\b|\d|@)", _I
)
_SEGMENT_ENDS = re.compile(r"\s*(?:$|[.,;:|/)\]\n]|-\s|@|\d)")
_CHORD_AFTER = re.compile(
    r"[ -]?(?:[679]|1[13])\b|[ -](?:7th|chords?|triads?|arpeggios?|thirds?)\b", _I
)
_CHORDS_GO_ON = re.compile(r"\s?(?:,|-|–|\||->|→|to)\s?[A-G](?:[#b]|m|maj|dim|\d)*(?![\w'])")
_CHORDS_BEFORE = re.compile(r"\b[A-G](?:[#b]|m|maj|dim|\d)*\s?(?:,|-|–|\||->|→)\s?$")


def _keys(text: str) -> Iterator[Amount]:
    for match in _NAMED.finditer(text):
        if not _CHORD_AFTER.match(_after(text, match.end())) and _is_named(text, match):
            minor = match["mode"].lower().startswith("min")
            yield _key(match, "minor" if minor else "major")
    for match in _SHORT.finditer(text):
        before, after = _before(text, match.start()), _after(text, match.end())
        is_led = _LED.search(before) and not _CHORD_AFTER.match(after)
        is_alone = _SEGMENT_STARTS.search(before) and _SEGMENT_ENDS.match(after)
        is_chord = _CHORDS_GO_ON.match(after) or _CHORDS_BEFORE.search(before)
        if is_led or (is_alone and not is_chord):
            yield _key(match, "minor")
    for match in _BARE.finditer(text):
        after = _after(text, match.end())
        # `in c` is a letter, `key of c` a key.
        is_note = match["note"][0].isupper() or match["lead"].lower() != "in"
        if is_note and _STANDS_ALONE.match(after) and not _CHORDS_GO_ON.match(after):
            yield _key(match, "major")


def _is_named(text: str, match: re.Match[str]) -> bool:
    """A is a note and an article: `in a minor` is a key, `a minor disaster` is none."""
    before, after = _before(text, match.start()), _after(text, match.end())
    if match["note"] not in ("A", "a"):
        return True
    starts = _SEGMENT_STARTS.search(before)
    if match["note"] == "A" and not starts and match["mode"].islower():
        return True
    if not _STANDS_ALONE.match(after):
        return False
    return bool(_LED.search(before) or (starts and _SEGMENT_ENDS.match(after)))


def _key(match: re.Match[str], mode: str) -> Amount:
    key = Key.parse(f"{match['note']} {mode}")
    return Amount(match.start("note"), match.end(), "key", key.name)
