"""Durations: a length of time is a claim only where it is that of the recording.

The length of an intro, a break or a wait is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from antiphon.listen.claims.numbers import ABOUT
from antiphon.listen.claims.reading import Amount, Found, Reading, any_of
from antiphon.listen.claims.times import INTO, NO_MOMENT, is_decade, seconds_of, span_of, times

_I = re.IGNORECASE

_CLIP = re.compile(r" (?:[\w-]+ )?(?:clip|excerpt|snippet|fragment)\b", _I)

_RECORDING = any_of(
    """track song piece thing recording clip excerpt snippet composition tune instrumental cut
    ballad anthem epic audio file performance work single miniature runtime run[_-]time duration
    length running[_-]time playing[_-]time number banger opus sketch vignette etude arrangement
    suite mix medley jingle sting cue production edit version workout jam music"""
)
_PART = any_of(
    """intro introduction verse pre-?chorus chorus bridge drop section part outro breakdown break
    solo hook refrain interlude coda build-?up build ending theme passage fade(?:-out)? silence
    pause riser crescendo opening opener tail reverb decay phrase loop sequence lead-in gap stretch
    vamp fill cadenza transition note chord delay release attack segment fragment"""
)
_SOUND = any_of(
    """scream shout drone tone hit roll sweep lick riff swell glissando trill cry laugh rain
    applause noise ambience feedback guitar piano vocals? voice singer drum bass synth strings?
    organ sax horn choir beat groove melody bassline sound album concert show festival film movie
    scene session"""
)
_HEDGES = (
    rf"(?:(?:{ABOUT}|between|from|a|an|the|only|total|barely|mere|full|brief|in|all|of|whole"
    r"|little) ?)"
)
_LASTS = re.compile(
    r"\b(?:last(?:s|ed|ing)?(?: for)?|(?:run(?:s|ning)?|ran)(?: for| to| at| in)?"
    r"|(?:(?: is|'s)|,)(?: all)? (?:over|done|gone|finished)(?: and \w+)? in|\bcall it"
    r"|(?:track|song|piece|recording|performance|music) takes"
    r"|from (?:the )?(?:first|start)\b[^.;]{3,30}(?:last|finish|end) (?:it|this) takes"
    r"|\bit (?:ends|stops|finishes|is over) after"
    r"|clock(?:s|ed|ing)? in(?: at)?|com(?:es|ing) in at|span(?:s|ned|ning)?|total(?:s|l?ing)?"
    r"|total (?:comes|amounts|adds up) to"
    r"|(?P<also_of_others>stretch(?:es|ing)?(?: out)?(?: to| for| over)|tak(?:es|ing) up"
    r"|(?:plays?|goes on|unfolds|continues)(?: out)? (?:for|over)|has a (?:duration|length) of))"
    rf"(?: an? [\w-]+)? {_HEDGES}{{0,3}}$",
    _I,
)
_A_BRISK = re.compile(  # `a radio-friendly 3:12`, `short: 1:58`
    r"\b(?:short|long|brief|compact|concise): $"
    r"|\ban? (?:(?!(?:at|by|around|from|to|until|near|the|in|of|on)\b)[\w-]+,? ){1,2}$",
    _I,
)
_LENGTH_IS = re.compile(
    r"\b(?:duration|length|running[ -]time|run[ -]?time|playing[ -]time|play[ -]?time|total time"
    r"|track time|brevity|(?:duration|length)[ _]s(?:ec(?:onds)?)?|total(?=:))\b\)?"
    rf"(?:[ :=,(|\"-]|is|of|was|at|to|comes to|sits at|{ABOUT}"
    r"|\b(?:a|the|total|only|little)\b){0,12}$",
    _I,
)
_OVER = re.compile(
    r"\b(?:(?:over|across|in) (?:the (?:course|span) of|just|only|under|a mere|its)|over|across) $",
    _I,
)
_RECORDING_OF = re.compile(
    rf"\b{_RECORDING}s?(?: of| lasting|,? at|,)? ?[(\[]? ?{_HEDGES}{{0,2}}$", _I
)
_IT_IS = re.compile(rf"\b(?:it|this|{_RECORDING}) (?:is|was) {_HEDGES}{{0,4}}$", _I)
_IT_IS_ENDS = re.compile(r" of\b|\s*(?:[.,;:!)]|$)")
_WHOLE = re.compile(
    rf"\b(?:its|all|full|entire|whole|total of)(?: {_HEDGES}{{0,2}}|(?: [a-z]+)? )$", _I
)
_LONG = re.compile(
    r"(?: min(?:ute)?s?)?"
    r"(?:[ -]long\b|,? (?:all told|flat\b|by my (?:watch|clock)|start to finish)"
    r"|,? from (?:the )?(?:first|start|beginning|top)\b[^.;]{0,30}\bto (?:the )?"
    r"(?:last|end|finish|close)"
    r"|,? (?:in|of) (?:total )?(?:length|duration|total|all)\b)(?! way)",
    _I,
)
_NAMES = re.compile(
    rf"\b(?:(?P<part>{_PART}s?|{_SOUND}s?)|(?P<whole>{_RECORDING}s?|it|this))\b", _I
)
_ADJECTIVE_TO = re.compile(
    rf"(?:-long)? (?:[\w'&/,-]+ ){{0,5}}?(?:(?P<part>{_PART}s?)|(?P<whole>{_RECORDING}s?))\b", _I
)
_NEW_PHRASE = re.compile(
    r"\b(?:in|at|with|of|and|is|are|was|the|for|then|before|after|by|to|from|as|that|which|where"
    r"|while|when|but|has|on|over|until|into|opens|begins|starts|drops|enters)\b",
    _I,
)
_NEW_CLAUSE = re.compile(r"[,;(\u2014]|:(?!\d)|\b(?:and|but|while|with)\b")
_NOT_A_LENGTH = re.compile(
    r"\b(?:first|last|final|next|opening|closing|every|each|another|additional|extra|previous|past"
    r"|initial|middle|remaining|later|the other)(?: (?:or so|few|full))? $",
    _I,
)
_TELLS_LENGTH = re.compile(
    rf",? (?:the|this|it)(?: {_RECORDING})?(?:(?: is|'s| feels| remains| stays| keeps| proves)"
    r" (?:[\w'-]+ ){0,3}?(?:short|brief|concise|compact|long|lengthy|radio|miniature|sketch|epic"
    r"|shortest|longest|tight|succinct|over|simple|focused|length)"
    r"| (?:never (?:out|over)\w+|wastes|packs|makes|manages|keeps|doesn't (?:over|out)\w+))\b",
    _I,
)
_MERELY = re.compile(rf"\bat {_HEDGES}{{0,3}}$", _I)
_LONE_BEFORE = re.compile(r"(?:^|[,;:|/(\u00b7\u2022\n]|\.\s|\s-)\s*$")
_LONE_AFTER = re.compile(r"\s*(?:$|[.,;|/)\u00b7\u2022]|-\s)")
_HARD_NUMBER = re.compile(r"\bBPM\b|\b[2-9]/[248]\b|\b(?:major|minor)\b|\bLUFS\b", _I)


def find_durations(reading: Reading) -> Iterator[Found]:
    """`a three-minute track`, `lasts 184 seconds`, `Duration: 3:04`."""
    for match in times(reading):
        if _is_duration(reading, match):
            yield Found("duration", *span_of(match), Amount(seconds_of(reading, match), "s"))


def _is_duration(reading: Reading, match: re.Match[str]) -> bool:
    before, after = reading.before(match.start()), reading.after(match.end())
    if _NOT_A_LENGTH.search(before):
        return False
    thing = _ADJECTIVE_TO.match(after)
    if thing is not None and not _NEW_PHRASE.search(thing[0]):
        # The thing that is so long stands right behind: a clip, or only its intro.
        if _is_adjective(match) and not re.search(r"\b(?:at|after) $", before, _I):
            return _is_whole(thing, before) and (
                not is_decade(match) or _CLIP.match(after) is not None
            )
        if thing["part"] is not None:
            return False
    if is_decade(match):
        return False
    lasts = _LASTS.search(before)
    if lasts is not None:
        return _lasts_itself(lasts, before)
    length = _LENGTH_IS.search(before)
    if length is not None:
        of_part = re.search(
            rf"\bof (?:the|each|every|this|its) (?:\w+ )?{_PART}\b", length[0] + after[:30], _I
        )
        return of_part is None and not _is_of_part(before[: length.start()])
    if _LONG.match(after):
        return not _is_of_part(before)
    return _is_told_by_place(reading, match, before, after)


def _is_told_by_place(reading: Reading, match: re.Match[str], before: str, after: str) -> bool:
    if _RECORDING_OF.search(before) and not INTO.match(after):
        return not match["clock"] or "(" in before[-3:] or "of" in before[-12:]
    if _IT_IS.search(before) and not INTO.match(after):
        return _IT_IS_ENDS.match(after) is not None
    if match["clock"] and (_OVER.search(before) or _A_BRISK.search(before)):
        return True
    if re.search(rf"\b(?:over|across|in) {_HEDGES}{{0,2}}$", before, _I):
        return re.match(rf",? (?:the|this) {_RECORDING}\b", after, _I) is not None
    if _WHOLE.search(before) and not NO_MOMENT.match(after):
        return True
    if _MERELY.search(before):
        return _TELLS_LENGTH.match(after) is not None
    return _is_lone(reading, match)


def _is_adjective(match: re.Match[str]) -> bool:
    """`three-minute`, `30 second`, `3:04`; not `three minutes`."""
    if match["clock"] or match["primes"]:
        return True
    return not re.search(r"(?:minutes|seconds|hours|mins|secs)$", match[0], _I)


def _is_whole(thing: re.Match[str], before: str) -> bool:
    is_this_loop = thing["part"] and thing["part"].lower() == "loop"
    return bool(thing["whole"]) or bool(is_this_loop and re.search(r"\bthis $", before, _I))


def _lasts_itself(lasts: re.Match[str], before: str) -> bool:
    """Whether it is the recording that lasts. Of some verbs only the recording is believed."""
    clause = _NEW_CLAUSE.split(before[: lasts.start()])[-1]
    names = list(_NAMES.finditer(clause))
    if not names:
        return not lasts["also_of_others"]
    piece_for_piano = names[0]["whole"] and re.match(r" (?:for|of|by)\b", clause[names[0].end() :])
    return names[-1]["whole"] is not None or bool(piece_for_piano)


def _is_of_part(before: str) -> bool:
    """Whether the last thing named before is a part, such as `its intro`."""
    names = list(_NAMES.finditer(_NEW_CLAUSE.split(before)[-1]))
    return bool(names) and names[-1]["part"] is not None


def _is_lone(reading: Reading, match: re.Match[str]) -> bool:
    """An item of a list of hard numbers: `120 BPM, E minor, 3:04`."""
    before = reading.plain[max(0, match.start() - 60) : match.start()]
    after = reading.plain[match.end() : match.end() + 60]
    if not (_LONE_BEFORE.search(before) and _LONE_AFTER.match(after)):
        return False
    if match["clock"] and re.search(r"\($|\d ?- ?$", before):
        return False
    marks = re.compile(r"[,;|\n]|\.\s")
    neighbours = marks.split(before)[-2:-1] + marks.split(after)[1:3]
    return any(_HARD_NUMBER.search(item) for item in neighbours)
