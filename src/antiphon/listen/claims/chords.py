"""Chords as they are written: progressions, single chords, Roman numerals.

Single letters are chords only among words about chords; they are notes, strings and sections, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from antiphon.listen.claims.keys import (
    AT_START,
    CHORD_NOUN,
    CHORD_OF,
    FREE,
    IS_KEY,
    KEY_NOUN,
    pitch_class,
)
from antiphon.listen.claims.reading import (
    STANDS_ALONE,
    Degrees,
    Found,
    Harmony,
    Reading,
    any_of,
)
from antiphon.notation import MAJOR_SCALE, MINOR_SCALE, Mode

_I = re.IGNORECASE

_FLAT = r"b(?=m|sus|dim|aug|add|[^a-z]|$)"
_ROOT = rf"[A-G](?:#|{_FLAT}|[ -](?:flat|sharp)(?![a-z]))?"
_QUALITY = any_of(
    r"""m7b5 m\(?maj7\)? maj7 maj9 maj min7 min9 min m7 m9 m11 m6 mM7 m M7 dim7 dim aug sus2 sus4
    sus add9 add11 6/9 7sus4 7b9 7#9 [679] 11 13 5 °7? ø7? Δ7? \+"""
)
_CHORD = (
    rf"{_ROOT}(?:{_QUALITY}(?:/[A-G][#b]?)?|/[A-G][#b]?"
    r"| (?:major|minor|dominant|diminished|augmented|maj|min)(?:[ -](?:7th|seventh|7|9th|ninth))?"
    r"(?![a-z]))?(?![\w#'&+])"
)
_CHORD_PARTS = re.compile(rf"(?P<root>{_ROOT}) ?(?P<quality>[^/]*?)(?:/[A-G][#b]?)?")
_DASH = r" {0,3}(?:->|=>|-|—|→|>|\||·) {0,3}"
_COMMA = r" {0,2}, {0,2}(?:(?:and|then|and then|to)\s)?"
_WORD = r" (?:to|and then|and|then|or|into|back to|/) (?:(?:an?|the) )?"
_PROGRESSION = re.compile(rf"{FREE}{_CHORD}(?:(?:{_DASH}|{_COMMA}|{_WORD}|/){_CHORD}){{1,15}}")
_CHORDS_ON = re.compile(
    rf"\b(?i:chords|triads) on (?P<said>{_CHORD}(?:(?:{_COMMA}|{_WORD}){_CHORD}){{1,7}})"
)
_SPACED = re.compile(rf"{FREE}{_CHORD}(?: {_CHORD}){{2,15}}")
_SPLIT = re.compile(rf"(?:{_DASH}|{_COMMA}|{_WORD})(?={_CHORD})")
_SEVENTH = re.compile(r"[ -](?:seventh|7th|ninth|9th)\b")
_ONE_CHORD = re.compile(rf"{FREE}(?P<chord>{_CHORD})(?={CHORD_NOUN.pattern})")
_CLEAR_CHORD = re.compile(
    rf"{FREE}(?P<chord>[A-G][#b]?"
    + any_of("m7b5 maj7 maj9 min7 min9 m7 m9 m11 m6 sus2 sus4 add9 dim7 aug 7#9 7b9 ø7? °7?")
    + r"(?:/[A-G][#b]?)?)(?![\w#'&+])"
)
_SHORT_CHORD = re.compile(
    r"\b(?i:an?|the|to|on|over|around|with|from|onto|through|between|is|tonic|chord[:,]?) "
    r"(?P<chord>[A-G][#b]?(?:m|7))(?![\w#'&+]|-\w| dash)"
)
_CHORD_IS = re.compile(rf"\b(?i:chords?) (?:of|is|being) (?:an? )?(?P<chord>{_CHORD})")
_CHORDS_ARE = re.compile(r"\bchords?\W{0,3}(?:of |are |is )?$", _I)
_ALTERNATES = re.compile(
    r"\b(?:alternat|rock|shuttl|toggl|switch|cycl|oscillat|swing)\w* (?:back and forth )?"
    r"(?:between|through) $",
    _I,
)
_NAMED_A = re.compile(r"\b(?:an|the|open|and) $", _I)
_CHORD_TALK = re.compile(
    r"\b(?:chords?|strum\w*|progressions?|vamps?|vamping|cadences?|triads?|changes|harmon\w+"
    r"|turnaround|voicings?)\b",
    _I,
)
_KEY_TALK = re.compile(r"\b(?:modulat\w+|keys?|tonal\w*|transpos\w+|scales?)\b", _I)
_FORM_TALK = re.compile(
    r"\b(?:form|structure[ds]?|sections?|parts?|layout|arrangement|scheme)\b", _I
)
_NOTE_TALK = re.compile(
    r"\b"
    + any_of(
        r"""notes? strings? tun(?:ed|ing) pitch(?:es)? melody melodic motif scale bass_?line walks?
        arpeggi\w+ sections? parts? forms? structured? themes? letters? labels? sides? riffs? hooks?
        licks? ostinato figure"""
    )
    + r"\b",
    _I,
)
_NUMERAL = (
    r"(?P<shift>[b#])?(?P<degree>VII|VI|IV|V|III|II|I|vii|vi|iv|v|iii|ii|i)"
    r"(?:maj7|sus4|M7|m7|[°oø]7?|[679]|\+)?"
)
_ANY_NUMERAL = re.sub(r"\?P<\w+>", "?:", _NUMERAL)
_NUMERALS = re.compile(
    rf"(?<![\w'-]){_ANY_NUMERAL}(?:(?:{_DASH}|, (?:and )?| and ){_ANY_NUMERAL}){{1,15}}(?![\w'])"
)
_ONE_NUMERAL = re.compile(rf"(?<![\w'-]){_ANY_NUMERAL}(?=[ -]chord\b)")
_NOT_DEGREES = re.compile(
    r"\b"
    + any_of(
        r"""parts? vol(?:ume)?s?\.? movements? acts? chapters? mark type phase war scenes? books?
        episodes? suites? nos?\.? opus grade tier"""
    )
    + " $",
    _I,
)
_ROMAN = ("I", "II", "III", "IV", "V", "VI", "VII")


def find_chords(reading: Reading) -> Iterator[Found]:
    """`G - Em - C - D`, `Am to F`, `an Am chord`, `I-V-vi-IV`."""
    for match in reading.matches(_PROGRESSION):
        items = _items(match[0])
        if _is_progression(reading, match, items):
            yield Found("chords", *match.span(), Harmony(tuple(map(_chord, items))))
    for match in reading.matches(_CHORDS_ON):
        items = _items(match["said"])
        yield Found("chords", *match.span("said"), Harmony(tuple(map(_chord, items))))
    for match in reading.matches(_SPACED):
        has_minor = re.search(r"[A-G][#b]?m", match[0]) and not re.search(r" [a-z]", match[0])
        if has_minor and _CHORD_TALK.search(reading.around(match.start())):
            yield Found("chords", *match.span(), Harmony(tuple(map(_chord, match[0].split()))))
    for match in reading.matches(_ONE_CHORD, _CLEAR_CHORD, _SHORT_CHORD, _CHORD_IS):
        if _is_one_chord(reading, match):
            start, stop = match.span("chord")
            seventh = _SEVENTH.match(reading.plain, stop)
            stop = seventh.end() if seventh is not None else stop
            yield Found("chords", start, stop, Harmony((_chord(reading.plain[start:stop]),)))
    for match in reading.matches(_NUMERALS):
        if _is_degrees(reading, match):
            yield Found("chords", *match.span(), Degrees(tuple(_degrees(match[0]))))
    for match in reading.matches(_ONE_NUMERAL):
        yield Found("chords", *match.span(), Degrees(tuple(_degrees(match[0]))))


def _items(written: str) -> list[str]:
    """The chords of a progression; the slash of `C/E` is part of one, that of `Am/F/C/G` is not."""
    if written.count("/") >= 2 and " " not in written and "-" not in written:
        parts = [written.split("/")]
    else:
        items = _SPLIT.split(written)
        parts = [[item] if _CHORD_PARTS.fullmatch(item) else item.split("/") for item in items]
    return [part for item in parts for part in item if _CHORD_PARTS.fullmatch(part)]


def _is_progression(reading: Reading, match: re.Match[str], items: list[str]) -> bool:
    before, after = reading.before(match.start()), reading.after(match.end(), 40)
    around = reading.around(match.start())
    is_dashed = not any(re.search(r"[,/a-z]", mark) for mark in _SPLIT.findall(match[0]))
    about_chords = _CHORD_TALK.search(around) is not None
    if re.search(r" (?:major|minor|dim|aug|dom|maj|min)", match[0]):
        if CHORD_NOUN.match(after) or CHORD_OF.search(before):
            return True
        if _KEY_TALK.search(before[-60:]):
            return False
        return (len(items) > 2 and is_dashed) or _CHORD_TALK.search(before[-60:]) is not None
    if before.endswith("I ") or re.match(r"Am I\b", match[0] + after):
        return False
    if any("/" in item or _quality(item) for item in items):
        return len(items) > 2 or about_chords or not IS_KEY.search(before)
    if CHORD_NOUN.match(after) or _CHORDS_ARE.search(before):
        return True
    if _ALTERNATES.search(before) and not _NOTE_TALK.match(after.lstrip(" -")):
        return True
    if _NOTE_TALK.search(before[-40:]) or _NOTE_TALK.match(after.lstrip(" -")):
        return False
    if is_dashed and not _looks_like_form(items, around, about_chords):
        return about_chords or (len(items) > 2 and not _NOTE_TALK.search(around))
    altered = len(items) > 2 and any(re.match(r"[A-G](?:#|b| )", item) for item in items)
    return bool(
        (about_chords or altered) and not _FORM_TALK.search(around) and STANDS_ALONE.match(after)
    )


def _looks_like_form(items: list[str], around: str, about_chords: bool) -> bool:
    """A-B-A and its like: letters that first come in the order of the alphabet."""
    firsts = list(dict.fromkeys(items))
    in_order = firsts == list("ABCDE"[: len(firsts)])
    return _FORM_TALK.search(around) is not None or (in_order and not about_chords)


def _is_one_chord(reading: Reading, match: re.Match[str]) -> bool:
    start, stop = match.span("chord")
    before, after = reading.before(start), reading.after(stop)
    if match.re is _ONE_CHORD:
        is_article = match["chord"] == "A" or match["chord"].startswith("A m")
        if is_article and AT_START.fullmatch(before):
            return False
        return match["chord"] != "A" or _NAMED_A.search(before) is not None
    if match.re is _SHORT_CHORD and IS_KEY.search(before):
        return False
    if match.re is _SHORT_CHORD and match["chord"].endswith("7"):
        return _CHORD_TALK.search(reading.around(start)) is not None or " to " in after[:12]
    if match.re is _CHORD_IS:
        return STANDS_ALONE.match(after) is not None
    return not KEY_NOUN.match(after)


def _is_degrees(reading: Reading, match: re.Match[str]) -> bool:
    degrees = [item["degree"] for item in re.finditer(_NUMERAL, match[0])]
    if len(set(degrees)) < 2 or _NOT_DEGREES.search(reading.before(match.start())):
        return False
    if _CHORD_TALK.search(reading.around(match.start())):
        return True
    if re.search(
        r"\b(?:gets by|rests|built|turns|moves|vamps) (?:on|between|over) $",
        reading.before(match.start()),
        _I,
    ):
        return True
    is_listed = re.search(r",| and ", match[0]) is not None
    return not is_listed and degrees != list(_ROMAN[: len(degrees)])


def _degrees(written: str) -> Iterator[tuple[int, int, Mode | None]]:
    for item in re.finditer(_NUMERAL, written):
        degree = _ROMAN.index(item["degree"].upper())
        shift = {"b": -1, "#": 1}.get(item["shift"] or "", 0)
        mode: Mode = "major" if item["degree"].isupper() else "minor"
        in_major, in_minor = MAJOR_SCALE[degree], MINOR_SCALE[degree]
        # The flat of bVI and bVII is already in the minor scale.
        in_minor += 0 if shift == -1 and in_minor < in_major else shift
        yield (in_major + shift) % 12, in_minor % 12, mode


def _chord(written: str) -> tuple[int, Mode | None]:
    parts = _CHORD_PARTS.fullmatch(written)
    assert parts is not None, f"{written!r} was found as a chord and cannot be taken apart"
    quality = parts["quality"].strip("( ")
    if quality.startswith(("sus", "5", "7sus")):
        return pitch_class(parts["root"]), None
    is_minor = re.match(r"min|m(?!aj)|dim|°|ø", quality) is not None
    return pitch_class(parts["root"]), "minor" if is_minor else "major"


def _quality(written: str) -> str:
    parts = _CHORD_PARTS.fullmatch(written)
    return parts["quality"] if parts is not None else ""
