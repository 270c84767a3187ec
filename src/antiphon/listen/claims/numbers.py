"""Tempo and metre as they are written.

A number has its unit beside it, or words before it that leave no other reading.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from antiphon.listen.claims.reading import (
    NUMBER,
    SPELLED_NUMBER,
    STANDS_ALONE,
    Amount,
    Bar,
    Found,
    Reading,
    any_of,
    number,
)

_I = re.IGNORECASE
_INFINITY = float("inf")
BPM_RANGE = (20.0, 400.0)  # a number outside is no tempo without its unit

# Words about speed, which a wrong number makes doubtful, and other words that stand by a tempo.
SPEED = any_of(
    """slow slower fast faster brisk moderate moderately[_-]paced mid[_-]?tempo medium(?:[_-]tempo)?
    medium[_-]fast medium[_-]slow up[_-]?tempo down[_-]?tempo up[_-]?beat quick rapid lively
    leisurely relaxed laid[_-]back energetic racing frantic frenetic breakneck blistering furious
    unhurried stately sluggish crawling plodding languid swift hurried hectic lazy
    (?:mid|fast|slow)[_-]paced high[_-]energy moderately_(?:fast|slow) driving walking easygoing
    gentle"""
)
_FEEL = any_of(
    """steady solid constant consistent comfortable easy measured deliberate snappy punchy bouncy
    danceable cool crisp pulsing pounding rolling propulsive hypnotic groovy tight strict even calm
    mellow smooth vigorous spirited thumping chill(?:ed)? firm stable standard clean near"""
)
_PACE = rf"(?:{SPEED}|{_FEEL})"
ABOUT = any_of(
    r"""about around approximately approx\.? roughly circa ca\.? some nearly almost just over under
    above below exactly precisely perhaps maybe probably likely close_to near shy_of a_steady
    slightly well estimated_at somewhere c\. [~≈]"""
)
_PAIR = (
    rf"(?P<low>{NUMBER})(?P<decade>s)?(?:ish|-ish|\+)?"
    rf"(?: {{0,4}}(?P<between>-|—|to|and|or|/|through|up to) {{0,4}}(?:{ABOUT} ?|an? [a-z-]+ )?"
    rf"(?P<high>{NUMBER})(?:ish|-ish)?)?"
)
_BPM = r"(?:b\.p\.m\.?|bpms?\b|beats?(?:[ -]per[ -]| an? | each | every | ?/ ?)min(?:ute)?s?\b)"
_BPM_AFTER = re.compile(rf"[ -]{{0,6}}\(?{_BPM}", _I)
_WITH_UNIT = re.compile(rf"{_PAIR}[ -]{{0,6}}\(?{_BPM}", _I)
_LINK_WORDS = any_of(
    """of is was at in to the a an very fairly sits sitting hovers hovering stays feels like holds
    holding reads remains clocks clocking runs running set range ranges marking rate and between
    from seems appears be being measures falls settles lands bpm comfortably steadily right down up
    it's that's which value count as"""
)
_LINKS = rf"(?:[ :=(,|\[-]|{ABOUT}|{_PACE}|\b{_LINK_WORDS}\b)"
_AFTER_UNIT = re.compile(rf"\bbpm\b\)?{_LINKS}{{1,10}}?{_PAIR}", _I)
_AFTER_TEMPO = re.compile(
    r"\b(?:tempo|tempi|metronome|pace|pulse)(?:'?s)?\b(?: of (?:the|this) [a-z]+)?"
    r"(?: (?!and|or|the|per)[a-z]+\b)?"
    rf"{_LINKS}{{1,12}}?{_PAIR}",
    _I,
)
_TEMPO_DECADE = re.compile(
    r"\b(?:tempo|pace|bpm)\b(?: (?:is|sits|stays|hovers|falls|lies|lands))? (?:somewhere )?in the"
    r" (?:low[ -]|mid[ -]?|high[ -]|upper[ -])?(?P<low>\d{1,2}0)s\b",
    _I,
)
_ON_METRONOME = re.compile(rf"{_PAIR} on (?:the|my|your|a) metronome\b", _I)
_GUESSED = re.compile(
    rf"\b(?:(?:guess|estimate|answer) (?:is|would be)|tap(?:ping)?\b[^.;]{{0,30}}"
    rf" (?:gives?(?: me| you)?|lands?(?: me| you)? on)) (?:{ABOUT} ){{0,2}}{_PAIR}",
    _I,
)
_NOTE_VALUE = re.compile(
    r"(?:[\u2669\u266a\U0001d15e\U0001d15f]\.?"
    r"|\b(?:dotted[ -])?(?:quarter|half|eighth)(?:[ -]notes?)?"
    r"|\bcrotchet|\bminim|\bquaver|\bM\.?M\.?) {0,3}(?:[=:≈]|at\b|is\b) {0,3}"
    rf"(?:{ABOUT} ?)?{_PAIR}",
    _I,
)
_AFTER_PACE = re.compile(
    rf"\b(?:a|an) (?:[a-z]+ly |very )?(?:{_PACE}(?:, | and | )){{1,3}}{_PAIR}", _I
)
_MOVES = rf"""{
    any_of(
        "groov cruis clock puls chug bounc trot gallop rac tick mov roll swing driv strut run rush"
        " pump thump motor charg plod stroll amble shuffl waltz saunter glid bop skip bob tumbl"
        " surg hurtl thunder sway lop jog march danc float drift coast crawl sail breez zip storm"
        " pound tear rumbl rattl lumber lurch"
    )
}[a-z]{{0,5}}"""
ITALIAN = any_of(
    """largo lento adagio andante andantino moderato allegretto allegro vivace presto larghetto"""
)
_AFTER_ITALIAN = re.compile(
    rf"\b{ITALIAN}(?:,? \(?|: ?)(?:marked )?(?:{ABOUT} ?)?{_PAIR}(?=[).,;]|$)", _I
)
_AT = re.compile(
    r"(?:\b(?P<placed>in [A-G][#b]?(?:[ -](?:minor|major))?|[2-9]/[48](?: time)?)"
    rf"|\b(?P<pace>{_PACE})"
    rf"|\b(?P<moves>{_MOVES})(?: (?:along|forward|steadily|comfortably|ahead|in|on))?"
    rf"|\b[a-z]+|[,(]|^) ?\b(?:at|around) (?:{ABOUT} ){{0,2}}{_PAIR}",
    _I,
)
_TEMPO_TALK = re.compile(r"\b(?:tempos?|bpm|metronome|pace[ds]?|mid-?tempo|up-?tempo)\b", _I)
_OTHER_TALK = re.compile(
    r"\b(?:k?hz|hertz|cutoff|frequency|bit-?rate|kbps|cents?|years?|aged?|volume|velocity)\b", _I
)
_TEMPO_NOUN = re.compile(r"[ -](?:feel|groove|pulse|pace|clip|click|tempo|beat)\b", _I)
_OTHER_UNIT = re.compile(
    r" {0,6}(?:(?:k?hz|hertz|db|lufs|lkfs|kbps|bits?|bars?|measures?|s|secs?|seconds?|ms"
    r"|min(?:ute)?s?|years?|cents?|beats?|notes?|sections?|times?|st|nd|rd|th|steps?|semitones?|x"
    r"|voices?|tracks?|chords?|percent)\b|%|'s|/ ?\d|:\d)"
    r"|-(?:bar|note|bit|string|piece|voice|track|second|minute|year|step|beat|inch)"
    r"|[A-Za-z\d]|[.,]\d",
    _I,
)
CHANGE_BY = re.compile(
    r"\b(?:by|within|another|extra|every|goes up|goes down|(?:jump|rise|drop|increase|difference"
    r"|gap|shift) of)(?: (?:about|around))? ?$|±$",
    _I,
)
_DIFFERENCE = re.compile(
    r" {1,4}(?:faster|slower|higher|lower|more|less|quicker|above|below|difference|increase|jump"
    r"|drop|shift|up\b|down\b|apart)",
    _I,
)
_HEART = re.compile(r"\bheart ?(?:rate|beat)\b", _I)
_UPWARDS = re.compile(
    r"\b(?:(?P<more>over|above|more than|at least|upwards of|north of|beyond"
    r"|(?:faster|longer|higher|louder|greater|no (?:less|slower|shorter)) than)"
    r"|(?:under|below|less than|at most|south of|no (?:more|faster|longer) than|sub"
    r"|(?:slower|shorter|lower|quieter|fewer) than))[ -]?$",
    _I,
)
_SLIGHTLY = re.compile(
    r"\b(?:just|slightly|a (?:bit|little|touch|hair)|hovering|marginally)[ -]?$", _I
)


def find_tempos(reading: Reading) -> Iterator[Found]:
    """`121 BPM`, `a tempo of around 92`, `a brisk 140`, `quarter = 60`."""
    for match in reading.matches(_WITH_UNIT):
        yield from _tempo(reading, match, match.end())
    for match in reading.matches(_AFTER_UNIT, _AFTER_TEMPO, _NOTE_VALUE):
        if not other_unit_follows(reading, match.end()):
            yield from _tempo(reading, match)
    for match in reading.matches(_AFTER_PACE):
        if _stands_alone(reading, match.end()):
            yield from _tempo(reading, match)
    for match in reading.matches(_AT):
        around = reading.around(match.start("low"))
        about_tempo = (
            match["moves"] or match["placed"] or match["pace"] or _TEMPO_TALK.search(around)
        )
        if about_tempo and not _OTHER_TALK.search(around) and _stands_alone(reading, match.end()):
            yield from _tempo(reading, match)
    for match in reading.matches(_GUESSED):
        if _stands_alone(reading, match.end()):
            yield from _tempo(reading, match)
    for match in reading.matches(_ON_METRONOME, _AFTER_ITALIAN):
        yield from _tempo(reading, match)
    for match in reading.matches(_TEMPO_DECADE):
        low = number(match["low"])
        yield Found("tempo", match.start("low"), match.end(), Amount(((low, low + 9),), "BPM"))


def other_unit_follows(reading: Reading, place: int) -> bool:
    """Whether the number that ends here counts something else than beats per minute."""
    return _OTHER_UNIT.match(reading.plain, place) is not None


def bpm_follows(reading: Reading, place: int) -> bool:
    """Whether the number that ends here counts beats per minute."""
    return _BPM_AFTER.match(reading.plain, place) is not None


def ranges_of(
    match: re.Match[str], before: str, sign: float = 1.0
) -> tuple[tuple[float, float], ...]:
    """Groups `low`, `between`, `high` as ranges; `over` or `under` in front opens one end."""
    groups = match.groupdict()
    low = sign * number(groups["low"])
    if groups.get("high"):
        high, between = sign * number(groups["high"]), groups["between"].lower()
        apart = between in ("or", "/")
        if between == "and":
            apart = not re.search(rf"\b(?:between|from)(?: {ABOUT})? $", before, _I)
        return ((low, low), (high, high)) if apart else ((min(low, high), max(low, high)),)
    opening = _UPWARDS.search(before)
    if opening is not None and not _SLIGHTLY.search(before[: opening.start()].rstrip()):
        return ((low, _INFINITY),) if opening["more"] else ((-_INFINITY, low),)
    return ((low, low),)


def _stands_alone(reading: Reading, place: int) -> bool:
    if other_unit_follows(reading, place):
        return False
    plain = reading.plain
    return bool(STANDS_ALONE.match(plain, place) or _TEMPO_NOUN.match(plain, place))


def _tempo(reading: Reading, match: re.Match[str], stop: int | None = None) -> Iterator[Found]:
    """`stop` is given where the unit stands after the number."""
    before = reading.before(match.start("low"))
    is_change = CHANGE_BY.search(before) or _DIFFERENCE.match(reading.plain, match.end())
    if is_change or _HEART.search(before):
        return
    ranges = ranges_of(match, before)
    low, high = BPM_RANGE
    if stop is None and not low <= number(match["low"]) <= high:
        return
    if match["decade"]:
        if stop is None or match["high"] or ranges[0][0] % 10:
            return
        ranges = ((ranges[0][0], ranges[0][0] + 9),)
    if stop is None:
        stop = match.end("high") if match["high"] else match.end("low")
    elif "(" in reading.plain[match.end("low") : stop] and reading.plain[stop : stop + 1] == ")":
        stop += 1
    yield Found("tempo", match.start("low"), stop, Amount(ranges, "BPM"))


_SIGNATURE = re.compile(
    r"(?<![\w/.:])(?P<beats>[2-9]|1[0-35])(?: ?/ ?(?P<unit>2|4|8|16)|:(?P<colon>[48]))"
    r"(?![\w/:%]|\.\d)"
)
_NO_SIGNATURE = re.compile(
    r"[ -]{1,4}(?:(?:of|through|way|mark|stars?|rating|points?|inch|full|notes?|speed|length"
    r"|size[ds]?|sleeves?|view)\b|\")",
    _I,
)
_NO_SIGNATURE_AFTER = re.compile(r"\b(?:pages?|dis[ck]|part|chapter|step|episode|round) $", _I)
_BACKBEAT = re.compile(r"\b(?:on|beats?) (?:the |beats? )?$", _I)
_COUNT = any_of("two three four five six seven eight nine ten eleven twelve")
_SPELLED_SIGNATURE = re.compile(
    rf"\b(?P<beats>{_COUNT}|\d{{1,2}})(?P<mark>[ -]|-over-| over )"
    r"(?P<unit>two|four|eight|sixteen|quarter|eighth|4|8)\b"
    r"(?P<noun>[ -](?:time|metre|meter|beat|feel|groove|signature|pulse|rhythm|swing|shuffle"
    r"|waltz)\b)?",
    _I,
)
_BEAT_UNITS = {
    "two": 2, "four": 4, "eight": 8, "sixteen": 16, "quarter": 4, "eighth": 8, "4": 4, "8": 8,
}  # fmt: skip
_SIGNATURE_IS = re.compile(r"\b(?:in|metre|meter|signature)(?: is| of|:)? $", _I)
_NAMED_METRE = re.compile(
    r"\b(?P<name>common|cut|waltz|triple|duple|quadruple|compound duple|compound triple"
    r"|quintuple|septuple)[ -](?:time|metre|meter)(?: signature)?\b|\b(?P<breve>alla breve)\b"
    r"|\b(?:metre|meter) is (?P<is>triple|duple|quadruple|quintuple|septuple)\b",
    _I,
)
_COUNTED_IN = re.compile(
    r"\b(?:count(?:s|ed|ing)? (?:it|this|that|along)|counted) in"
    r" (?P<said>two|three|four|five|six|seven|[2-7])\b"
    r"(?![ -]?(?:[a-z]+s|four|eight|/)\b)",
    _I,
)
_NAMED_BEATS = {
    "common": (4,), "cut": (2,), "waltz": (3,), "triple": (3,), "duple": (2, 4),
    "quadruple": (4,), "compound duple": (6, 2), "compound triple": (9, 3), "quintuple": (5,),
    "septuple": (7,), "alla breve": (2,),
}  # fmt: skip
_IS_WALTZ = re.compile(
    r"\b(?:is|was|as|it's) an? (?:[\w-]+,? ){0,2}(?P<said>waltz)\b"
    r"(?![ -](?:time|metre|meter|like)| in (?:3|three))",
    _I,
)
_BEATS_TO_BAR = re.compile(
    rf"(?P<beats>\b{SPELLED_NUMBER}|(?<![\w./:])\d{{1,2}})"
    r"(?: (?:beats?|crotchets|pulses) (?:to|per|in|for|a)| to)"
    r"(?: the| a| each| every)? (?:bar|measure)\b(?! (?:are|is|were|stay|remain|fall|carry|get)\b)"
    rf"|\b(?P<adjective>{_COUNT}|\d{{1,2}})-beat (?:bars?|measures?|metre|meter|cycles?)\b",
    _I,
)
_BAR_OF_BEATS = re.compile(
    r"\b(?:bars?|measures?) (?:of|has|have|contains?|holds?|counts?|with)"
    rf" (?P<said>(?P<beats>{_COUNT}) beats?)\b"
    rf"|\bcount(?:s|ed)? (?P<said_count>(?P<count>{_COUNT}) to the bar)\b",
    _I,
)
_BEAT_IS = re.compile(
    rf"\bbeats? (?:counts? to|is) (?P<beats>{_COUNT}|[2-9]|1[0-5])(?=\s*(?:$|[,;!)]|\.(?!\d)))", _I
)
_IN_THREE = re.compile(
    r"\b(?:counted|felt|feels|counts|pulses|moves|written|notated|is|it's|set|played) in"
    rf" (?:a (?:slow|fast|brisk|gentle|lilting|swaying|steady|quick|lazy) )?(?P<beats>{_COUNT})"
    r"(?=\s*(?:$|[.,;:)]|(?:and|with|at|throughout)\b))",
    _I,
)
_MOST_BEATS = 15


def find_metres(reading: Reading) -> Iterator[Found]:
    """`3/4`, `4:4`, `six-eight`, `waltz time`, `three beats to the bar`."""
    for match in reading.matches(_SIGNATURE):
        beats, unit = int(match["beats"]), int(match["unit"] or match["colon"])
        before = reading.before(match.start())
        is_two_four_beats = (beats, unit) == (2, 4) and _BACKBEAT.search(before)
        other = _NO_SIGNATURE_AFTER.search(before) or _NO_SIGNATURE.match(
            reading.plain, match.end()
        )
        if not (is_two_four_beats or other or (unit == 2 and beats > 4)):
            yield Found("metre", match.start(), match.end(), Bar(_beats(beats, unit)))
    for match in reading.matches(_SPELLED_SIGNATURE):
        has_digit = match["beats"].isdigit() or match["unit"].isdigit()
        in_doubt = (
            has_digit or match["mark"] == " " or match["unit"].lower() in ("quarter", "eighth")
        )
        is_named = match["noun"] or (
            not has_digit and _SIGNATURE_IS.search(reading.before(match.start()))
        )
        beats, unit = int(number(match["beats"])), _BEAT_UNITS[match["unit"].lower()]
        is_counting = re.search(r"\bone[ -,]+(?:two[ -,]+)?$", reading.before(match.start()), _I)
        if is_counting:
            continue
        if 2 <= beats <= _MOST_BEATS and (is_named or not in_doubt):
            yield Found("metre", match.start(), match.end("unit"), Bar(_beats(beats, unit)))
    for match in reading.matches(_NAMED_METRE):
        name = match["name"] or match["breve"] or match["is"]
        place = match.span("is") if match["is"] else match.span()
        yield Found("metre", *place, Bar(_NAMED_BEATS[name.lower()]))
    for match in reading.matches(_COUNTED_IN):
        yield Found("metre", *match.span("said"), Bar((int(number(match["said"])),)))
    for match in reading.matches(_IS_WALTZ):
        yield Found("metre", *match.span("said"), Bar(_NAMED_BEATS["waltz"]))
    for match in reading.matches(_BEATS_TO_BAR):
        count = int(number(match["beats"] or match["adjective"]))
        if 2 <= count <= _MOST_BEATS:
            yield Found("metre", match.start(), match.end(), Bar((count,)))
    for match in reading.matches(_BAR_OF_BEATS):
        said = "said" if match["said"] else "said_count"
        count = int(number(match["beats"] or match["count"]))
        yield Found("metre", *match.span(said), Bar((count,)))
    for match in reading.matches(_IN_THREE, _BEAT_IS):
        yield Found("metre", *match.span("beats"), Bar((int(number(match["beats"])),)))


def _beats(beats: int, unit: int) -> tuple[int, ...]:
    """6/8, 9/8 and 12/8 are counted in eighths or in dotted quarters."""
    compound = unit >= 8 and beats in (6, 9, 12)
    return (beats, beats // 3) if compound else (beats,)
