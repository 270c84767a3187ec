"""Wrong values out of a text: the measured one in their place, or their clause or sentence removed.

Does not judge: it is told which claims are wrong. Every value put in is followed by MARK.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from antiphon.facts import Facts
from antiphon.listen.claims.cutting import Edit, are_either_or, cuts_of, whole_sentence
from antiphon.listen.claims.numbers import SPEED, bpm_follows, other_unit_follows
from antiphon.listen.claims.phrasing import phrase, with_article
from antiphon.listen.claims.reading import (
    MARKUP,
    NUMBER,
    STANDS_ALONE,
    Amount,
    Found,
    Reading,
    Sentence,
    any_of,
    number,
)

MARK = " (measured)"
_MARK_IN_BRACKETS = ", measured"  # before the closing bracket
_I = re.IGNORECASE
_FEWEST_BPM_LOOKED_FOR = 30  # a smaller wrong tempo may be any number

# What belongs to a wrong value and goes with it.
_BETWEEN = re.compile(
    r"\b(?:(?:somewhere|anywhere|ranging) )?"
    r"(?:between|from|in the(?: low| mid| high| upper)?)[ -]+$",
    _I,
)
_NEEDS_AT = re.compile(r"\b[a-z]+(?<!\bat)(?<!\bof)(?<!\baround)(?<!\bis)(?<!\bin)(?<!tempo) $", _I)
_EITHER = re.compile(r"\beither +$", _I)
_QUALIFIER = re.compile(
    r"(?:\b(?:just|slightly|well|barely|a (?:bit|little|touch|hair)) )?\b"
    + any_of(
        """over under above below shy_of north_of south_of more_than less_than at_least upwards_of
        nearly almost (?:faster|slower|longer|shorter|louder|quieter)_than"""
    )
    + r" +$|\bsub-$",
    _I,
)
_DEGREE = r"(?:(?:very|fairly|quite|rather|moderately|relatively|extremely|somewhat) )?"
_NOTHING = re.compile(r"(?!)")
_ADJECTIVES_BEFORE = {
    "tempo": re.compile(rf"\b{_DEGREE}{SPEED}(?:,? and|,| but)? +$", _I),
    "loudness": re.compile(
        rf"\b{_DEGREE}(?:loud|quiet|hot|soft|gentle|punchy|crushed|dynamic),? +$", _I
    ),
}
_AFTER = {
    "tempo": re.compile(rf" {SPEED}\b(?= [a-z])", _I),
    "duration": re.compile(r"-long\b"),
    "key": re.compile(r" ?\((?:(?:the )?relative|[a-z]+ian\b)[^()]{0,30}\)| pentatonic\b", _I),
}
_SPEED_OF_TEMPO = re.compile(
    rf"\b(?P<article>an? )?{_DEGREE}{SPEED},? +"
    r"(?=(?:tempo|pace|pulse|beat|groove)\b[^.;]{0,25}$)",
    _I,
)
_ITALIAN_BEFORE = re.compile(
    rf"\b{any_of('largo lento adagio andante andantino moderato allegretto allegro vivace presto')}"
    r"(?=(?: \(|,? (?:at )?)[~ ]*$)",
    _I,
)
_WALTZ = re.compile(
    r"\bwaltz(?:ing|y|-like)? "
    rf"(?={any_of('time feel rhythm groove pattern beat pulse ballad metre meter')}\b)"
    r"|\bwaltz(?:ing|y|-like) |\b(?P<noun>waltz)\b",
    _I,
)
_ARTICLE = re.compile(r"\b(?P<article>[Aa]n?) $")


def mend(text: str, found: Sequence[Found], wrong: Sequence[Found], facts: Facts) -> str:
    """Put measured values in the place of wrong ones; what cannot be replaced is cut out."""
    reading = Reading(text)
    edits: list[Edit] = []
    for sentence, bad in _by_sentence(reading, wrong):
        inside = [claim for claim in found if sentence.start <= claim.start < sentence.stop]
        cuts, lost = cuts_of(reading, sentence, bad, inside)
        edits += cuts
        for claim in bad:
            if claim not in lost:
                edits += _replacement(text, reading, claim, inside, facts)
    edits += _repeats(reading, found, wrong, facts)
    return _tidy(_apply(text, edits), text)


def remove_sentences(text: str, wrong: Sequence[Found]) -> str:
    """The text without the sentences that hold these claims; an empty one if nothing is left."""
    reading = Reading(text)
    edits = [whole_sentence(reading, sentence) for sentence, _ in _by_sentence(reading, wrong)]
    return _tidy(_apply(text, edits), text)


def _by_sentence(
    reading: Reading, claims: Iterable[Found]
) -> Iterator[tuple[Sentence, list[Found]]]:
    groups: dict[Sentence, list[Found]] = {}
    for claim in claims:
        groups.setdefault(reading.sentence_at(claim.start), []).append(claim)
    yield from groups.items()


def _replacement(
    text: str, reading: Reading, claim: Found, inside: Sequence[Found], facts: Facts
) -> Iterator[Edit]:
    start, stop, is_either = claim.start, claim.stop, False
    for other in inside:
        if other.quantity == claim.quantity and are_either_or(reading, claim, other):
            start, stop, is_either = min(start, other.start), max(stop, other.stop), True
    all_before = reading.before(start)
    before, lead = _reach(_without(_EITHER, all_before) if is_either else all_before, claim)
    words = lead + phrase(claim, text[claim.start : claim.stop], before, facts)
    begin = start - (len(all_before) - len(before))
    after = _AFTER.get(claim.quantity, _NOTHING).match(reading.plain, stop)
    stop = stop if after is None else after.end()
    opening, closing = _lost_markup(text[begin:start]), _lost_markup(text[start:stop])
    article = _ARTICLE.search(before)
    if article is not None:
        begin -= len(article[0])
        if not _stands_apart(claim, reading, stop):
            words = with_article(article["article"], words)
    is_bracket = reading.plain[stop : stop + 1] == ")" and not re.search(r",[^(]*$", before)
    mark = _MARK_IN_BRACKETS if is_bracket else MARK
    yield Edit(begin, stop, f"{opening}{words}{closing}{mark}")
    if claim.quantity == "tempo":
        yield from _speed_words(reading, begin)
    if claim.quantity == "metre" and facts.metre.beats_per_bar != 3:
        yield from _waltzes(reading, claim)


def _reach(before: str, claim: Found) -> tuple[str, str]:
    """What stands before the claim without words that belong to the wrong value, and a new lead.

    `sits between 118 and 124 BPM` needs an `at`, `a tempo of between` does not.
    """
    lead = ""
    before = _without(_QUALIFIER, before)
    ranges = claim.value.ranges if isinstance(claim.value, Amount) else ()
    if any(low != high for low, high in ranges):
        shorter = _without(_BETWEEN, before)
        needs_at = claim.quantity != "duration" and _NEEDS_AT.search(shorter) is not None
        lead = "at " if shorter != before and needs_at else ""
        before = shorter
    if len(ranges) > 1:
        before = _without(_EITHER, before)
    adjectives = _ADJECTIVES_BEFORE.get(claim.quantity, _NOTHING)
    while (shorter := _without(adjectives, before)) != before:
        before, lead = shorter, ""
    return before, lead


def _without(pattern: re.Pattern[str], before: str) -> str:
    match = pattern.search(before)
    return before if match is None else before[: match.start()]


def _lost_markup(written: str) -> str:
    """Marks of emphasis whose other half stands outside of words that are replaced."""
    marks = "".join(character for character in written if character in MARKUP)
    half = len(marks) // 2
    is_paired = half > 0 and marks[:half] == marks[half:]
    return "" if is_paired and written.strip()[:half] == marks[:half] else marks


def _stands_apart(claim: Found, reading: Reading, stop: int) -> bool:
    """`a slow 60 BPM` leaves `96 BPM` without an article, `a 60 BPM groove` needs one."""
    is_amount = claim.quantity in ("tempo", "duration", "loudness")
    return is_amount and STANDS_ALONE.match(reading.plain, stop) is not None


def _speed_words(reading: Reading, begin: int) -> Iterator[Edit]:
    """`a slow tempo of 60 BPM`: the adjective goes with the number."""
    before = reading.before(begin)
    offset = begin - len(before)
    for match in _SPEED_OF_TEMPO.finditer(before):
        article = f"{match['article'][0]} " if match["article"] else ""
        yield Edit(offset + match.start(), offset + match.end(), article)
    for match in _ITALIAN_BEFORE.finditer(before):
        yield Edit(offset + match.start(), offset + match.end(), "tempo")


def _waltzes(reading: Reading, claim: Found) -> Iterator[Edit]:
    """`a waltz in 3/4` that is none: a piece."""
    sentence = reading.sentence_at(claim.start)
    for match in _WALTZ.finditer(reading.plain, sentence.start, sentence.stop):
        if not claim.start <= match.start() < claim.stop:
            noun = match["noun"]
            new = "" if noun is None else "Piece" if noun[0].isupper() else "piece"
            yield Edit(match.start(), match.end(), new)


def _repeats(
    reading: Reading, found: Sequence[Found], wrong: Sequence[Found], facts: Facts
) -> Iterator[Edit]:
    """The wrong tempo once more as a bare number: `121 BPM ... the 121 pulse`."""
    values = {
        end
        for claim in wrong
        if claim.quantity == "tempo" and isinstance(claim.value, Amount)
        for pair in claim.value.ranges
        for end in pair
        if _FEWEST_BPM_LOOKED_FOR <= end < float("inf")
    }
    if not values or facts.tempo.bpm is None:
        return
    bpm = round(facts.tempo.bpm)
    claimed = {place for claim in found for place in range(claim.start, claim.stop)}
    for match in re.finditer(NUMBER, reading.plain, _I):
        value = number(match[0])
        is_wrong = value in values and value != bpm and match.start() not in claimed
        # With its unit it was read and is no claim: `it is not 121 BPM`.
        is_bare = not (
            bpm_follows(reading, match.end()) or other_unit_follows(reading, match.end())
        )
        if is_wrong and is_bare:
            yield Edit(match.start(), match.end(), f"{bpm}{MARK}")


def _apply(text: str, edits: Sequence[Edit]) -> str:
    """Longer edits first: what lies in a stretch that is cut out needs no mending."""
    taken: list[Edit] = []
    for edit in sorted(edits, key=lambda edit: edit.start - edit.stop):
        if all(edit.stop <= other.start or other.stop <= edit.start for other in taken):
            taken.append(edit)
    for edit in sorted(taken, key=lambda edit: -edit.start):
        text = text[: edit.start] + edit.new + text[edit.stop :]
    return text


def _tidy(text: str, before: str) -> str:
    """No space left at the end of lines, or of the text, that was not there."""
    text = text if " \n" in before else re.sub(r"(?<=\S) +(?=\n)", "", text)
    text = text if before[:1].isspace() else text.lstrip()
    text = text if before[-1:].isspace() else text.rstrip()
    return text[:1].upper() + text[1:] if before[:1].isupper() else text
