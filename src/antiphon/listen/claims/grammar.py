"""Where a text states a tempo, key, metre, duration, chords, loudness or a time.

The finders know how values are written; the guards here know what is no statement about this
recording: a question, a negation, a supposition, another piece, a title.
"""

from __future__ import annotations

import re
from bisect import bisect_right

from antiphon.listen.claims.chords import find_chords
from antiphon.listen.claims.durations import find_durations
from antiphon.listen.claims.keys import find_keys
from antiphon.listen.claims.levels import find_levels
from antiphon.listen.claims.moments import find_moments
from antiphon.listen.claims.numbers import find_metres, find_tempos
from antiphon.listen.claims.reading import WINDOW, Finder, Found, Reading, any_of

_I = re.IGNORECASE
# Where two readings overlap the earlier finder is right: chords are made of what looks like keys.
_FINDERS: tuple[Finder, ...] = (
    find_tempos,
    find_levels,
    find_metres,
    find_durations,
    find_moments,
    find_chords,
    find_keys,
)

_CLAUSE = re.compile(r"[,;:()\u2014]| - |(?<!anything )\bbut\b|\bwhile\b|\binstead\b(?! of)")
_RELATIVE_CLAUSE = re.compile(r"\s*(?:which|whose|where|who)\b")

_NOT = re.compile(
    r"(?:\b"
    + any_of(
        """not never nor neither cannot no no_longer hardly without rather_than instead_of
        as_opposed_to anything_but far_from nothing_to_do_with avoids? avoiding abandons?
        abandoning lacks? lacking eschew\\w* shun\\w* reject\\w* ignor\\w*"""
    )
    + r"|n't)\b(?! only\b| just\b| merely\b| simply\b)",
    _I,
)
# A verb with its preposition (`never settles in`), except those that say the opposite.
_VERB_IN = (
    r" (?!leav|stray|depart|deviat|chang|mov|rush|drift|waver|exceed|drop|ris|fall)[a-z]+"
    r"(?= (?:in|at|into|on|to|around|with|as)\b)"
)
_BETWEEN_NOT_AND_VALUE = any_of(
    r"""in at a an the of be been being set quite exactly really actually strictly clearly simply
    your typical usual standard straight straightforward conventional common ordinary any to like as
    either into it is run runs sit stay use feel sound have has follow follows key tempo metre meter
    time signature another regular simple normal seem appear truly even based about around fast or
    major minor recorded played performed written composed pitched notated tuned felt counted last
    lasts quiet loud [A-G](?:[#b]|-flat|-sharp)? \d+/\d+"""
)
_CLOSE_TO_NOT = re.compile(
    rf"(?:{_VERB_IN}| an?(?: [\w-]+){{1,3}}(?= in\b))?(?:[ -]+{_BETWEEN_NOT_AND_VALUE})*[ (\"']*$",
    _I,
)
_DENIED_BEFORE = re.compile(
    r"\bnothing (?:[\w']+ ){0,4}(?:suggests|says|hints at|points to|indicates)\b"
    r"|\bno (?:evidence|sign|hint|trace|indication)s? (?:of|that|for)\b",
    _I,
)
_DENIED_AFTER = re.compile(
    r" (?:is|was|are)(?: not|n't) (?:the|used|heard|it|what|where|right|correct|present|here)\b"
    r"| is (?:absent|missing|nowhere|(?:only |merely )?hinted at)\b"
    r"|,? (?:it|this)(?: \w+)? (?:is not|isn't)\b|,? not\b(?=[.!]?\s*$)",
    _I,
)

_IF_DONE = any_of(
    """work mix blend loop sync match layer imagine picture play fit suit benefit use try go speed
    slow transpos played sped slowed pushed taken mistaken remixed transposed mixed performed bumped
    dropped raised lowered re-?recorded expect"""
)
_SUPPOSED = re.compile(
    r"\b(?:would|wouldn't|if|whether|imagine|suppose|picture|hypothetical\w*|as though"
    r"|should(?! be)|(?:I|you|one|we) expect(?:ed)?|expected it|(?:transposed|remixed) (?:in)?to"
    r"|\bhad (?:they|it|we|you|he|she) \w+(?:ed|en|un|t)\b"
    r"|(?:could|might|may|can) pass (?:for|as)"
    rf"|(?:could|might|may|can)(?: (?:also|easily|well|just|perhaps))?(?: be)? {_IF_DONE})"
    r"|(?:it|that|this|which|you)'d\b"
    r"|^\W*(?:try|play|set|pitch|speed|slow|mix|loop|put|take) (?:it|this|your|the)\b"
    r"|^\W*count (?:it|this|your|the)\b(?! in\b)"
    r"|(?:^|[.;,]|\b(?:and|then|to|should|please)\b)\W*(?:practi[sc]e|rehearse|drill|learn)"
    r"(?! tempo)\b"
    r"|^\W*(?:start|begin) (?:\w+ )?at\b|^\W*were (?:it|this|they)\b",
    _I,
)
_SAY = re.compile(
    r"\bif (?:it|this|that|they|the \w+) (?:were|was|had|ran|went|sat)\b[^.]*, say,? $", _I
)
_IF_SO = re.compile(r"\W*(?:played|slowed|sped|taken|pitched|transposed|pushed|heard)\b", _I)
_WOULD = re.compile(r"\b(?:would|could|might)\b", _I)
_SUPPOSED_AFTER = re.compile(r" (?:would|could|might) (?!be my\b|seem|appear)", _I)
_OWN_OPINION = re.compile(
    r"\b(?:I|we|one|you|listeners)(?: would|'d)(?: \w+)? (?:say|call|estimate|guess|put|place"
    r"|describe|hear|count|judge|notate|identify)|\bwould (?:seem|appear)"
    r"|\b(?:guess|estimate) would"
    r"|\bif (?:I|we|you) (?:had|listen|hear)",
    _I,
)

_MANY_PIECES = any_of(
    """songs tracks pieces ballads records tunes anthems recordings productions hits waltzes
    versions covers works genres jigs workouts"""
)
_GENRES = any_of("music house techno trance trap dubstep reggae pop rock jazz hip-?hop")
_OTHER_MUSIC = re.compile(
    r"\b(?:"
    + any_of(
        r"""unlike similar_(?:in_\w+_)?to reminiscent_of akin_to compared_(?:to|with) comparable_to
        in_contrast_to as_in whereas pairs?_(?:\w+_)?with (?:style|vein|spirit)_of nod_to homage_to
        tribute_to (?:a_)?cover_of tends?_to tended_to typically usually normally commonly generally
        fans_of lovers_of
        (?:suitable|ideal|perfect|great|good|made|suited)_(?:for|to) genre's"""
    )
    + r"|(?:next|previous|preceding|earlier|another|other)(?: \w+)? (?:song|track|piece|single|hit)"
    r"|the (?:demo|(?:album|studio) version)|(?:the|her|his|their|an?)(?: \w+)? cover"
    r"|(?:her|his|their|its|an?) (?:earlier|later|previous|other) (?:take|version|recording)"
    r"|(?<!the )(?:good|typical|classic|proper|standard|average) (?:\w+ )?(?:jam|track|song|tune)"
    r"|(?:1[789]|20)\d\d (?:version|recording|take|remake)"
    r"|and (?:many|most|some|few)(?: of them)? are"
    r"|(?:drive|energy|punch|urgency|spirit|swagger) of(?: a)?(?= $)"
    r"|the original(?:'s| (?:version|recording|song|track|key|is|was|ran|runs|sits|by|at|in))"
    r"|(?:most|many|other|typical|classic|traditional|some|all|few|with|for)\s(?:[\w&'-]+\s){0,3}"
    rf"{_MANY_PIECES}|(?:most|many|all|typical) (?:[\w&'-]+ )?{_GENRES}(?! [a-z]+ at))\b",
    _I,
)
_MANY_PIECES_AFTER = re.compile(rf" (?:[\w&'-]+ ){{0,2}}{_MANY_PIECES}\b", _I)
_LIKE = re.compile(
    r"(?<!feels )(?<!sounds )(?<!looks )(?<!feel )(?<!sound )(?<!look )(?<!felt )(?<!seems )"
    r"(?<!more )(?<!-)\blike\b",
    _I,
)
_OTHER_VERSION = re.compile(  # of which the whole sentence speaks
    r"\W*(?:(?:her|his|their) (?:earlier|later|previous|other) (?:take|version|recording)"
    r"|the original (?:mix|version|recording|song))\b",
    _I,
)
_THAN = re.compile(
    r"\b(?i:than) (?:(?:the|a|an|most|typical|usual|average|your)\b|['\"A-Z]|\w+'s\b)"
)
_RELATIVE_OF = re.compile(
    r"\b(?:relative|parallel) (?:(?:major|minor)(?: key)? )?(?:of|to) [^,;.]{0,20}$", _I
)
_PLATFORM = re.compile(
    r"\b(?:streaming|(?:Spotify|YouTube|Apple Music|Tidal)(?:'s)?|broadcast|EBU)(?: \w+)?"
    r" (?:target|standard|norm|level|recommendation|reference|limit)?(?: of| is|:)? ?$",
    _I,
)

_WORK = any_of(
    """Symphony Sonata Prelude Nocturne Concerto Mass Toccata Fugue [E\u00c9]tude Waltz Ballade
    Rhapsody Partita Suite Mazurka Polonaise Quartet Quintet Trio Requiem Bagatelle Fantas(?:ia|y)
    Impromptu Scherzo Serenade Variations Invention Minuet Rondo Overture Fifth Ninth Adagio Canon
    Chaconne Sarabande Gigue Intermezzo Sonatina"""
)
_CATALOGUE = r"(?:No|Op|Nr|BWV|K|KV|Hob)\.? ?\d+"
_TITLE_BEFORE = re.compile(
    rf"(?:[\w'.]\s+{_WORK}|^{_WORK} {_CATALOGUE}|\b{_CATALOGUE})(?:,? {_CATALOGUE})*,?"
    r" (?:in|for \w+ in) (?:[A-G](?:[ -]?(?:flat|sharp)|[#b])? )?$"
)
_TITLE_IS = re.compile(r'"[^"\n]{1,40}",?(?: (?:is|was|runs|sits|goes))?(?: in| at)? $')
_TITLE_AFTER = re.compile(rf" {_WORK}\b|,? (?:Op|BWV|K|KV|Hob)\.? ?\d")
_QUOTED = re.compile(r"\"[^\"\n]{1,80}\"|(?<![\w'])'[A-Z][^'\n]{1,60}'(?!\w)")


def find_claims(text: str) -> tuple[Found, ...]:
    """Every claim in a text, in order and without overlaps.

    `Found.start` and `Found.stop` are places in the text as it was given.
    """
    reading = Reading(text)
    quoted = [match.span() for match in _QUOTED.finditer(reading.plain)]
    taken = bytearray(len(text))
    claims = []
    for finder in _FINDERS:
        for found in finder(reading):
            if not any(taken[found.start : found.stop]) and _is_stated(reading, found, quoted):
                taken[found.start : found.stop] = b"\1" * (found.stop - found.start)
                claims.append(found)
    return tuple(sorted(claims, key=lambda found: found.start))


def _is_stated(reading: Reading, found: Found, quoted: list[tuple[int, int]]) -> bool:
    before, after = reading.before(found.start), reading.after(found.stop)
    clause = _clause(before)
    return not (
        _is_asked(reading, found)
        or _is_denied(clause, after)
        or _is_supposed(clause, before, after)
        or _is_of_other_music(clause, before, after, found)
        or _is_title(reading, found, before, after, quoted)
    )


def _clause(before: str) -> str:
    """The end of `before` from its last mark on; a relative clause takes in what it belongs to."""
    start = 0
    for mark in _CLAUSE.finditer(before):
        if not _RELATIVE_CLAUSE.match(before, mark.end()):
            start = mark.end()
    return before[start:]


def _is_asked(reading: Reading, found: Found) -> bool:
    sentence = reading.sentence_at(found.start)
    end = reading.plain[max(sentence.start, sentence.stop - 8) : sentence.stop]
    return end.rstrip(" \n\"')").endswith("?")


def _is_denied(clause: str, after: str) -> bool:
    if _DENIED_AFTER.match(after) or _DENIED_BEFORE.search(clause):
        return True
    return any(_CLOSE_TO_NOT.fullmatch(clause, word.end()) for word in _NOT.finditer(clause))


def _is_supposed(clause: str, before: str, after: str) -> bool:
    if _SUPPOSED_AFTER.match(after) or (_IF_SO.match(clause) and _WOULD.search(after)):
        return True
    if _SAY.search(before):
        return True
    return _SUPPOSED.search(clause) is not None and not _OWN_OPINION.search(clause)


def _is_of_other_music(clause: str, before: str, after: str, found: Found) -> bool:
    if found.quantity == "loudness" and _PLATFORM.search(before):
        return True
    if found.quantity == "key" and _RELATIVE_OF.search(before):
        return True
    if found.quantity != "chords" and _LIKE.search(clause):
        return True
    if _THAN.search(clause) or _OTHER_MUSIC.search(clause) or _OTHER_VERSION.match(before):
        return True
    return _MANY_PIECES_AFTER.match(after) is not None and found.quantity in ("tempo", "duration")


def _is_title(
    reading: Reading, found: Found, before: str, after: str, quoted: list[tuple[int, int]]
) -> bool:
    """In quotation marks with other words, said of a title, or a work's name with its key."""
    at = bisect_right(quoted, (found.start, len(reading.plain) + WINDOW)) - 1
    if at >= 0 and found.stop <= quoted[at][1]:
        start, stop = quoted[at]
        rest = reading.plain[start + 1 : found.start] + reading.plain[found.stop : stop - 1]
        return re.search(r"[A-Za-z]{2}", rest) is not None
    if found.quantity in ("key", "tempo", "metre") and _TITLE_IS.search(before):
        return True
    if found.quantity != "key":
        return False
    return bool(_TITLE_BEFORE.search(before) or _TITLE_AFTER.match(after))
