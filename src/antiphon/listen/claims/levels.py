"""Loudness as it is written. Decibels by which something was raised or lowered are no level."""

from __future__ import annotations

import re
from collections.abc import Iterator

from antiphon.listen.claims.numbers import CHANGE_BY, ranges_of
from antiphon.listen.claims.reading import NUMBER, Amount, Found, Reading

_I = re.IGNORECASE

_MINUS = r"(?:-|minus |negative )"
_LEVEL = rf"(?:(?P<sign>{_MINUS}|\+) ?)?(?P<low>{NUMBER})"
_WITH_LEVEL_UNIT = re.compile(
    rf"(?<!\d)(?<!\d ){_LEVEL}"
    rf"(?: {{0,3}}(?P<between>-|—|to|and|or|/) {{0,3}}(?:{_MINUS} ?)?(?P<high>{NUMBER}))?"
    r"[ -]{0,6}(?P<unit>LUFS(?:-[ISM])?|LKFS|LU|dB[ -]?TP|dB[ -]?FS|dB ?SPL|dBu|dB|decibels?)"
    r"(?![A-Za-z/])",
    _I,
)
_LEVEL_AFTER = re.compile(
    r"\b(?P<unit>LUFS|LKFS|dBTP|LRA)\b\)?(?:[ :=(~≈]|of|is|at|around|about|roughly){1,8}?"
    rf"{_LEVEL}",
    _I,
)
_RELATIVE_LEVEL = re.compile(
    r"[ -]{1,4}(?:of (?:gain|reduction|compression|headroom|boost|cut|limiting|saturation)|boost"
    r"|cut|gain|reduction|louder|quieter|too|lower|higher|above|below|more|less|difference|shelf|pad"
    r"|point|per octave|step|drop|jump|rise|increase|down\b|up\b|bump|dip|attenuat)",
    _I,
)
_GAIN_BEFORE = re.compile(
    r"\b(?:(?:cut(?:s|ting)?|boost(?:s|ed|ing)?|reduc\w+|rais\w+|lower\w*|attenuat\w+|adds?|gains?"
    r"|loses|compress\w*|shav\w+|pushed|pulled|louder|quieter|tames)"
    r"(?: (?:by|about|some|of|around|up|down|off))*"
    r"|(?:headroom|slope|drop|rise|crescendo|swell|dip) of(?: about| around)?) ?$",
    _I,
)
_OF_A_DEVICE = re.compile(
    r"\b(?:threshold|ceiling|limiter|compressor|gate|faders?|shelf|EQ|de-?ess\w*|high-?pass)\b"
    r"[^.;]{0,40}$",
    _I,
)
_TRUE_PEAK = re.compile(r"\btrue[ -]peaks?\b[^.;]{0,40}$", _I)
_SHORT_TERM = re.compile(r"\b(?:short[ -]term|momentary)\b", _I)


def find_levels(reading: Reading) -> Iterator[Found]:
    """`-14 LUFS`, `-1 dBTP`, `a range of 6 LU`; other decibels have the unit `dB`."""
    for match in reading.matches(_WITH_LEVEL_UNIT, _LEVEL_AFTER):
        before, after = reading.before(match.start()), reading.after(match.end(), 24)
        if CHANGE_BY.search(before) or _RELATIVE_LEVEL.match(after):
            continue
        unit = _level_unit(match["unit"], before, after)
        if unit == "dB" and (match["sign"] == "+" or _GAIN_BEFORE.search(before)):
            continue
        if unit == "dB" and _OF_A_DEVICE.search(before):
            continue
        # A level below full scale is often given without its minus.
        is_negative = match["sign"] not in (None, "+") or unit in ("LUFS", "momentary")
        ranges = ranges_of(match, before, -1.0 if is_negative else 1.0)
        start = match.start("sign") if match["sign"] else match.start("low")
        yield Found("loudness", start, match.end(), Amount(ranges, unit))


def _level_unit(written: str, before: str, after: str) -> str:
    unit = written.upper().replace(" ", "").replace("-", "")
    if unit.startswith(("LUFS", "LKFS")):
        near = before[-40:] + written + after
        is_momentary = _SHORT_TERM.search(near) or unit in ("LUFSS", "LUFSM")
        return "momentary" if is_momentary else "LUFS"
    if unit in ("LU", "LRA"):
        return "LU"
    is_peak = unit == "DBTP" or after.lstrip().lower().startswith("true peak")
    return "dBTP" if is_peak or _TRUE_PEAK.search(before) else "dB"
