"""Measured values in the words of a claim: the same kind of unit, digits for digits.

Knows no text around the claim but what stands right before it.
"""

from __future__ import annotations

import re

from antiphon.facts import Facts, Loudness
from antiphon.listen.claims.reading import Amount, Found, Harmony, Tonality
from antiphon.listen.observations import chord_uses, recurring_progression
from antiphon.listen.phrases import clock, listed
from antiphon.listen.wording import NUMBER_WORDS
from antiphon.notation import Key

_I = re.IGNORECASE
_MAIN_CHORDS = 4
_MAIN_SHARE = 0.08  # of the time that has chords
_ROUNDED_FROM_BPM = 30.0  # below, a whole number is too coarse to be within 4 %
_MINUTE_SECONDS = 60.0

_BPM_UNIT = re.compile(r"[ -]*\(?(?:b\.?p\.?m|beat).*$", _I)
_NEEDS_NO_BPM = re.compile(r"\bbpm\b\W.{0,30}$|[=\u2248] *$", _I)
_LEVEL_UNIT = re.compile(r" *(?:LUFS|LKFS|LU|dB).*$", _I)
_DASH = re.compile(
    r"(?:\d|[A-Za-z#\u266f\u266d\u00b0])( *[-\u2010-\u2015\u2212\u2192>|/]+ *)[A-Ga-gIiVv#b]"
)
_VOWEL_SOUND = re.compile(r"8|1[18](?!\d)|[AEF](?=b|m|sus|dim|aug|add|[^a-z]|$)|e(?:ight|leven)\b")


def phrase(claim: Found, said: str, before: str, facts: Facts) -> str:
    """What to write instead of `said`. The value of the claim must have been measured."""
    if claim.quantity == "tempo":
        return _tempo(said, before, facts.tempo.bpm)
    if claim.quantity == "key":
        return _key(claim, said, facts.key.name)
    if claim.quantity == "metre":
        return _metre(said, facts.metre.beats_per_bar)
    if claim.quantity == "duration":
        return _duration(said, facts.duration_seconds)
    if claim.quantity == "loudness":
        return _level(claim, said, facts.loudness)
    assert claim.quantity == "chords", f"there is no other {claim.quantity} to be put in"
    return _chords(claim, said, main_chords(facts))


def with_article(article: str, words: str) -> str:
    """`a 96 BPM`, `an 80 BPM`, `An E minor`, with the case of the article that was there."""
    return f"{article[0]}{'n' if _VOWEL_SOUND.match(words) else ''} {words}"


def main_chords(facts: Facts, most: int = _MAIN_CHORDS) -> list[str]:
    """Symbols of the progression that recurs, or of the chords heard most, the most used first."""
    spans = facts.chords.spans or ()
    loop = recurring_progression(spans)
    if loop is not None:
        return list(dict.fromkeys(loop))
    uses = chord_uses(spans)
    often = [use.symbol for use in uses[:most] if use.share >= _MAIN_SHARE]
    return often or [use.symbol for use in uses[:1]]


def _tempo(said: str, before: str, bpm: float | None) -> str:
    assert bpm is not None, "a tempo that was not measured cannot be wrong"
    value = f"{bpm:.0f}" if bpm >= _ROUNDED_FROM_BPM else f"{bpm:.1f}"
    unit = _BPM_UNIT.search(said)
    if unit is not None:
        return value + re.sub(r" {2,}", " ", unit[0])
    return value if _NEEDS_NO_BPM.search(before) else f"{value} BPM"


def _key(claim: Found, said: str, name: str | None) -> str:
    assert name is not None, "a key that was not measured cannot be wrong"
    if isinstance(claim.value, Tonality) and claim.value.tonic is None:
        mode: str = Key.parse(name).mode
        return re.sub(r"[A-Za-z]+", mode.capitalize() if said[0].isupper() else mode, said, count=1)
    return name


def _metre(said: str, beats: int | None) -> str:
    assert beats is not None, "a metre that was not measured cannot be wrong"
    if re.search(r"beat|to the bar|^(?:[a-z]+|\d+)$", said, _I):
        word = NUMBER_WORDS[beats] if beats < len(NUMBER_WORDS) else str(beats)
        word = str(beats) if said[0].isdigit() else word
        return re.sub(r"^\w+", word.capitalize() if said[0].isupper() else word, said)
    signature = f"{beats}/8" if beats in (6, 9, 12) else f"{beats}/4"
    return (
        f"{signature} time" if re.search(r"[a-z][ -](?:time|met(?:re|er))", said, _I) else signature
    )


def _duration(said: str, seconds: float) -> str:
    counts_seconds = re.search(r"\d ?s\b|sec", said, _I)
    in_seconds = counts_seconds and not re.search(r"\d ?m|min|hour|:", said, _I)
    if ":" in said or (not in_seconds and seconds >= _MINUTE_SECONDS):
        return clock(seconds)
    value = f"{seconds:.0f}" if seconds >= 10 else f"{seconds:.1f}"
    if re.search(r"[- ](?:second|minute|hour)$", said, _I) and not said.startswith("1 "):
        return f"{value}-second"
    short = re.search(r"\d( ?s)\b", said)
    return value + short[1] if short else f"{value} seconds"


def _level(claim: Found, said: str, loudness: Loudness) -> str:
    assert isinstance(claim.value, Amount), "a loudness is an amount"
    level = {
        "LUFS": loudness.integrated_lufs,
        "dBTP": loudness.true_peak_dbtp,
        "LU": loudness.range_lu,
    }[claim.value.unit]
    assert level is not None, "a level that was not measured cannot be wrong"
    unit = _LEVEL_UNIT.search(said)
    return f"{level:.1f}" + (unit[0] if unit is not None else "")


def _chords(claim: Found, said: str, chords: list[str]) -> str:
    value = claim.value
    if len(value.chords if isinstance(value, Harmony) else getattr(value, "steps", ())) == 1:
        return chords[0]
    dash = _DASH.search(said)
    if dash is not None:
        return dash[1].join(chords)
    return " to ".join(chords) if " to " in said else listed(chords)
