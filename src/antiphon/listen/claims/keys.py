"""Keys as they are written, told from what is made of the same words.

`in E minor` is a key, `an E minor chord` is a chord, `A minor detail` is neither.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from antiphon.listen.claims.reading import (
    NOTE,
    STANDS_ALONE,
    Found,
    Reading,
    Tonality,
    any_of,
)
from antiphon.notation import Key, Mode

_I = re.IGNORECASE

_CHURCH = any_of("dorian phrygian lydian mixolydian aeolian ionian locrian")
_MODES: dict[str, Mode] = {
    "major": "major", "maj": "major", "ionian": "major", "lydian": "major", "mixolydian": "major",
    "minor": "minor", "min": "minor", "dorian": "minor", "phrygian": "minor", "aeolian": "minor",
    "locrian": "minor", "m": "minor",
}  # fmt: skip
FREE = r"(?<![\w'#&])(?<!\w[-&])(?<![\dA-G#b]/)"  # what a note's name may not be the end of

_NAMED_KEY = re.compile(
    rf"{FREE}(?P<note>{NOTE})[ -]{{1,6}}(?P<mode>(?:(?:natural|harmonic|melodic)[ -])?"
    rf"(?:major|minor|maj|min|{_CHURCH}))\b",
    _I,
)
_SHORT_KEY = re.compile(rf"{FREE}(?P<note>[A-G][#b]?)(?P<mode>min|maj|m)\b(?![#+'&]|-\w)")
IS_KEY = re.compile(
    r"\b(?:in|key of|key(?: signature)?(?: is| of|:| -| =)?|key cent(?:er|re)(?: is| of)"
    r"|tonality(?: is|:))(?: (?:the key of|about|probably|likely|clearly))?[ :(=]{1,8}$",
    _I,
)
_A_GRIEVANCE = re.compile(  # `one D minor issue with the mix`
    r"[ -](?:issues?|problems?|quibbles?|details?|flaws?|complaints?|gripes?|tweaks?)\b", _I
)
KEY_NOUN = re.compile(r" (?:key|tonality|scale|pentatonic|mode)\b", _I)
# A name before or after these is that of a chord.
CHORD_NOUN = re.compile(
    r"\"?(?:[ -](?:(?:power|barre|seventh|7th|ninth|9th|sixth|6th|add9|triad|open)[ -])?"
    r"(?:chords?|triads?|arpeggios?)\b|[ -](?:seventh|7th|ninth|9th|(?:7|9|6|11) chord)\b)",
    _I,
)
CHORD_OF = re.compile(r"\bchords? (?:of|on|is|being) (?:an? )?$", _I)
_INTERVAL = re.compile(r"[ -](?:thirds?|seconds?|sixths?|tenth|interval)\b", _I)
_TEMPO_NEXT = re.compile(r", ?(?:\u2669|\d+ ?BPM|[2-9]/[248]\b)", _I)
_BPM_OR_METRE = re.compile(r"\bBPM\b|\b[2-9]/[248]\b", _I)
_LONE_BEFORE = re.compile(r"(?:^|[,;|/(]|\s-)\s*$")
_LONE_AFTER = re.compile(r"\s*(?:$|[.,;|/)]|-\s)")

# A is a note and an article. What may follow the key in `in A minor`, but not the article:
_GOES_ON = re.compile(
    r"[ -]+(?:"
    + any_of(
        r"""key scale tonality mode pentatonic tonal chords? triads? harmon\w+ progressions? groove
        riffs? melod\w+ vamp blues arpeggios? territory tonic feel cent(?:re|er) \d
        [a-z]+(?<!s)(?<!u)(?<!i)s\b [a-z]+ly\b"""
    )
    + ")",
    _I,
)
_ARTICLE_BEFORE = re.compile(
    r"\b(?:in|with|by|for|of|to|from|on|as|into|such|is|was|and|or|but) +$", _I
)
_FROM_KEY_TO = re.compile(
    r"\b(?:(?:major|minor) (?:to|and|or|into)"
    r"|(?:modulat|shift|mov|chang|transition|switch)\w*(?: up| down| back)? (?:to|into)) $",
    _I,
)
_LOWER_A_BEFORE = re.compile(r"\b(?:in|key of|key is|key:|tonality(?: of| is|:)|to|from)\s+$", _I)
_A_STARTS_LINE = re.compile(
    r"\s*(?:$|[.;:|)]|- |\u2014|, ?(?:\d|with|at|in)|(?:at|in|with|throughout)\b)"
)
AT_START = re.compile(r"(?:[-#>\"'(\[\u2022\s]|\d[.)])*")
_KEY_WORD_AFTER = re.compile(r" (?:Scale|Key|Pentatonic|Tonality|Mode)\b")

_BARE_MODE = re.compile(
    r"\b(?P<mode>major|minor)[ -](?:key|tonality|mode)\b(?![ -]"
    + any_of(
        """changes? elements? players? points? factors? ingredients? features? figures? moments?
        parts? aspects? areas? shifts? issue differences? signatures? modulations? takeaway role
        component influence"""
    )
    + ")",
    _I,
)
_NOT_ITS_OWN = re.compile(
    r"\b(?:relative|parallel|harmonic|melodic|different|new|another|any|every) +$", _I
)
_MODE_ALONE = re.compile(
    r"\b(?:in|(?:key|tonality|mode)(?: is|:)) {1,6}(?:clearly |mostly |a )?(?P<mode>minor|major)"
    r"(?=\s*(?:$|[.,;:)]|(?:and|at|with|throughout)\b))",
    _I,
)
_CHURCH_MODE = re.compile(
    rf"\b(?:in (?:the |a )?|mode: )(?P<name>(?P<mode>{_CHURCH})(?: mode\b|(?=\s*(?:$|[.,;:)]))))",
    _I,
)
_TONIC = r"(?P<note>[A-G](?:#|b(?![a-z])|[ -]?(?:sharp|flat)(?![a-z]))?)"
_BARE_TONIC = re.compile(
    r"\b(?i:(?P<lead>in(?: the)? key of|key of|home key of|in|key(?: signature)?(?: is|:| -| =)"
    r"(?: (?:probably|likely))?"
    r"|(?:tonal|key|pitch) (?:cent(?:re|er)|home|base)(?: of| is| on| around|:)(?: clearly)?"
    r"|tonic(?: of| is| on| note(?: of| is)?|:|,)(?: clearly)?|relative (?:major|minor),|home key,"
    r"|cent(?:re|er)(?:s|ed|d|red)? (?:on|around)"
    r"|(?:orbit|revolv|gravitat|circl)(?:e?s|ing) (?:around|towards?|on)"
    r"|rooted (?:in|on)|grounded in|anchored (?:in|on)))"
    rf" {{1,8}}{_TONIC}(?![\w#'&+]|-\w|/|\.[A-Z])"
)
_IS_TONIC = re.compile(
    rf"{FREE}{_TONIC} (?:is|remains|serves as|acts as) (?:clearly )?"
    r"(?:the|its|our) (?:tonal cent(?:re|er)|key cent(?:re|er)|tonic|home key)\b"
)
_AS_TONIC = re.compile(
    rf"\b(?i:with|on|around|has|uses|takes) {_TONIC} (?:as|for) (?:its|the|a)"
    r" (?:tonal cent(?:re|er)|key cent(?:re|er)|tonic|home key|home)\b"
)
_MODULATES = re.compile(
    r"\b(?i:modulat\w+|transpos\w+"
    r"|(?:key|tonal cent(?:re|er))(?: \w+)? (?:chang|shift|mov|drift)\w*)(?: up| down| back)?"
    rf"(?: from {_TONIC})? to {_TONIC.replace('note', 'next')}(?![\w#'&+]|-\w|/)"
)
# `clarinet in A` and `tuned in D` are about instruments, `sections in A and B` about the form.
_NO_TONIC_AFTER = re.compile(
    r"\b"
    + any_of(
        r"""clarinets? trumpets? cornets? horns? harmonicas? harps? whistles? flutes? recorders?
        handpans? kalimbas? shapes? didgeridoos? sax(?:ophone)?s? tun(?:ed|ings?) sections? parts?
        notes? strings? studio pedal drones? class grade letters?"""
    )
    + "(?: is| are)? +$",
    _I,
)
_OPENS_WITH_KEY = re.compile(
    r",? (?:at |and (?:at |in )?)?\d|, (?:the|this) (?:song|track|piece|tune)\b"
)
_PIECE = re.compile(r"\b(?:piece|song|track|tune|number|waltz|ballad|recording)(?: is)? $", _I)
_RUNS = re.compile(r" (?:runs|lasts|opens|begins|moves|plays|sits|stays|has|is)\b")
_MORE_LETTERS = re.compile(r"(?:,| and| -|/) ?[A-G](?![\w'])")
_SECTION_LETTER = re.compile(r" ?(?:\(\d|and [B-G]\b)")


def find_keys(reading: Reading) -> Iterator[Found]:
    """`E minor`, `C# Dorian`, `in Am`, `a minor key`, `tonal centre of D`."""
    for match in reading.matches(_NAMED_KEY):
        if _is_named_key(reading, match):
            yield _key(match)
    for match in reading.matches(_SHORT_KEY):
        if _is_short_key(reading, match):
            yield _key(match)
    for match in reading.matches(_BARE_MODE):
        if not _NOT_ITS_OWN.search(reading.before(match.start())):
            yield Found("key", *match.span(), Tonality(None, _mode(match)))
    for match in reading.matches(_MODE_ALONE):
        yield Found("key", *match.span("mode"), Tonality(None, _mode(match)))
    for match in reading.matches(_CHURCH_MODE):
        yield Found("key", *match.span("name"), Tonality(None, _mode(match)))
    for match in reading.matches(_BARE_TONIC):
        if _is_bare_tonic(reading, match):
            yield _tonic(match)
    for match in reading.matches(_IS_TONIC, _AS_TONIC):
        yield _tonic(match)
    for match in reading.matches(_MODULATES):
        if STANDS_ALONE.match(reading.plain, match.end()):
            yield from (_tonic(match, group) for group in ("note", "next") if match[group])


def _key(match: re.Match[str]) -> Found:
    tonality = Tonality(pitch_class(match["note"]), _mode(match))
    return Found("key", match.start("note"), match.end(), tonality)


def _tonic(match: re.Match[str], group: str = "note") -> Found:
    return Found("key", *match.span(group), Tonality(pitch_class(match[group]), None))


def _mode(match: re.Match[str]) -> Mode:
    return _MODES[re.split(r"[ -]", match["mode"].lower())[-1]]


def pitch_class(note: str) -> int:
    """0 = C ... 11 = B."""
    return Key.parse(note).tonic


def _is_named_key(reading: Reading, match: re.Match[str]) -> bool:
    before, after = reading.before(match.start()), reading.after(match.end())
    if CHORD_NOUN.match(after) or _INTERVAL.match(after) or CHORD_OF.search(before):
        return False
    if _A_GRIEVANCE.match(after):
        return False
    if match["note"] == "a":
        no_key = re.match(r"[ -]+(?:key|mode|tonality)\b", after)
        return bool(_LOWER_A_BEFORE.search(before) and STANDS_ALONE.match(after) and not no_key)
    if match["note"] != "A" or match[0][1] == "-":
        return True
    if match["mode"][0].isupper() and re.match(r" [A-Z][a-z]", after):
        return _KEY_WORD_AFTER.match(after) is not None  # else it is a title: In A Minor Way
    if AT_START.fullmatch(before):
        return _A_STARTS_LINE.match(after) is not None
    if not _ARTICLE_BEFORE.search(before) or _FROM_KEY_TO.search(before):
        return True
    return bool(STANDS_ALONE.match(after) or _GOES_ON.match(after))


def _is_short_key(reading: Reading, match: re.Match[str]) -> bool:
    """`in Am`; without such words only between a tempo and a metre, else it is a chord."""
    before, after = reading.before(match.start()), reading.after(match.end())
    if CHORD_NOUN.match(after) or re.match(r" I\b", after):
        return False
    if IS_KEY.search(before) or KEY_NOUN.match(after):
        return True
    if re.search(r"\bBPM,? $", before, _I) and STANDS_ALONE.match(after):
        return True
    if AT_START.fullmatch(before) and _TEMPO_NEXT.match(after):
        return True
    is_lone = _LONE_BEFORE.search(before) and _LONE_AFTER.match(after)
    return bool(is_lone and _BPM_OR_METRE.search(f"{before[-25:]}\n{after[:25]}"))


def _is_bare_tonic(reading: Reading, match: re.Match[str]) -> bool:
    before, after = reading.before(match.start()), reading.after(match.end())
    if _MORE_LETTERS.match(after):
        return False
    if match["lead"].lower() == "in":
        if AT_START.fullmatch(before):  # else it may be a section: `In A, the drums`
            return _OPENS_WITH_KEY.match(after) is not None
        names_no_key = _NO_TONIC_AFTER.search(before) or _SECTION_LETTER.match(after)
        if names_no_key or after[:1] in ("/", "-"):
            return False
        is_piece_in = _PIECE.search(before) is not None and _RUNS.match(after) is not None
        return is_piece_in or STANDS_ALONE.match(after) is not None
    if "key" in match["lead"].lower() and match["note"] != "A":
        return re.match(r"[ -][A-Z]", after) is None
    return STANDS_ALONE.match(after) is not None or KEY_NOUN.match(after) is not None
