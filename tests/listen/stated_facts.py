"""An independent checker of numbers: it knows nothing of how texts are made.

It takes a text apart, finds every number, key and chord in it and looks for each in the facts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

import numpy as np

from antiphon.exports import normalise_for_t5
from antiphon.facts import Facts

COUNTS = (
    *("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen"),
    *("eighteen", "nineteen", "twenty"),
)
CHORD_SUFFIXES = {
    "maj": "", "min": "m", "dim": "dim", "aug": "aug", "sus4": "sus4", "maj7": "maj7",
    "min7": "m7", "7": "7", "hdim7": "m7b5", "dim7": "dim7", "maj9": "maj9", "min9": "m9", "9": "9",
}  # fmt: skip


def wrong_statements(text: str, facts: Facts, moments: Collection[float] = ()) -> list[str]:
    """Every number, key and chord in `text` that the facts do not say; empty when all are true.

    `moments` are seconds that may be named besides those of the facts.
    """
    wrong: list[str] = []

    def take(pattern: str, is_true: Callable[[re.Match[str]], bool]) -> None:
        """Check every match, and take it out of the text so that the rest can be looked at."""
        nonlocal text
        for match in re.finditer(pattern, text):
            if not is_true(match):
                wrong.append(match[0])
        text = re.sub(pattern, " ~ ", text)

    text = without_quotations(text, facts)
    take(r"A = 440 Hz", lambda m: True)
    take(r"(\d+) or (\d+) BPM", lambda m: is_tempo(int(m[1]), facts) and is_tempo(int(m[2]), facts))
    take(r"(\d+) BPM", lambda m: is_tempo(int(m[1]), facts))
    take(r"(-?\d+\.\d) LUFS", lambda m: near(m[1], facts.loudness.integrated_lufs, 0.05))
    take(r"(-?\d+\.\d) dBTP", lambda m: near(m[1], facts.loudness.true_peak_dbtp, 0.05))
    take(r"(\d+\.\d) LU\b", lambda m: near(m[1], facts.loudness.range_lu, 0.05))
    take(r"(\d+\.\d) kHz", lambda m: near(m[1], facts.timbre.brightness_hz, 50, scale=1000))
    take(r"(\d+) Hz", lambda m: near(m[1], facts.timbre.brightness_hz, 0.5))
    take(r"(?i)silen[\w ]+?(\d+)%", lambda m: near(m[1], facts.silence.share, 0.005, scale=0.01))
    take(r"(\d+)%", lambda m: near(m[1], facts.timbre.percussive_share, 0.005, scale=0.01))
    take(
        r"(\d+) cents (above|below|sharp|flat)",
        lambda m: near(m[1] if m[2] in ("above", "sharp") else f"-{m[1]}", facts.tuning.cents, 0.5),
    )
    take(r"(\d+)[ -]milliseconds?", lambda m: is_length(float(m[1]) / 1000, 0.0005, facts))
    take(r"(\d+\.\d)[ -]seconds?", lambda m: is_length(float(m[1]), 0.05, facts))
    take(r"(\d+)[ -]seconds?", lambda m: is_length(float(m[1]), 0.5, facts))
    take(r"(?:(\d+):)?(\d+):(\d\d)", lambda m: is_moment(m, facts, moments))
    count = rf"(\d[\d,]*|{'|'.join(COUNTS)})"
    take(rf"(?i)\b{count} beats? to", lambda m: number(m[1]) == facts.metre.beats_per_bar)
    take(rf"(?i)\b{count} samples?", lambda m: number(m[1]) == facts.clipping.samples)
    take(rf"(?i)\b{count} sections?", lambda m: number(m[1]) in section_counts(facts))
    take(rf"(?i)\b{count} labels?", lambda m: number(m[1]) == distinct_labels(facts))
    take(
        r"([A-G][#b]?) (major|minor)",
        lambda m: m[0] in (facts.key.name, facts.key.runner_up),
    )
    take(
        r"(?i)\b(major|minor)-mode",
        lambda m: facts.key.name is not None and facts.key.name.endswith(m[1].lower()),
    )
    take(r"\bA(?= [a-z]| Latin)", lambda m: True)  # the article
    sounding = chord_symbols(facts)
    labels = {span.label for span in facts.sections.spans or ()}
    symbol = r"(?<![\w#])[A-G][#b]?(?:maj9|maj7|m7b5|dim7|dim|aug|sus4|m9|m7|m|9|7)?(?![\w#])"
    take(
        rf"{symbol}(?:-{symbol})+",
        lambda m: goes_round(m[0].split("-"), facts) or m[0] == "-".join(form(facts)),
    )
    take(symbol, lambda m: m[0] in sounding or m[0] in labels)
    return wrong + re.findall(r"\S*\d\S*", text)


def without_quotations(text: str, facts: Facts) -> str:
    """Labels of sections and reasons are quoted from the facts, so they may hold numbers."""
    labels = {" ".join(normalise_for_t5(label).split()) for label in form(facts)}
    for label in sorted(labels, key=lambda label: (-len(label), label)):
        if len(label) > 1:
            text = re.sub(re.escape(label), "~", text, flags=re.IGNORECASE)
    groups = (facts.tempo, facts.metre, facts.tuning, facts.key, facts.chords, facts.sections)
    for group in (*groups, facts.loudness, facts.timbre):
        if group.reason is not None:
            clause = re.split(r"[:;.] ", group.reason)[0]
            text = re.sub(re.escape(clause), "~", text, flags=re.IGNORECASE)
    return text


def section_counts(facts: Facts) -> set[int]:
    """How many there are; sections that all have one label may be told as one."""
    labels = [span.label for span in facts.sections.spans or ()]
    return {len(labels), 1} if len(set(labels)) == 1 else {len(labels)}


def near(said: str, measured: float | None, tolerance: float, scale: float = 1.0) -> bool:
    if measured is None:
        return False
    return abs(float(said) * scale - measured) <= tolerance * (1 + 1e-9) + 1e-9


def number(said: str) -> int:
    return COUNTS.index(said.lower()) if said.lower() in COUNTS else int(said.replace(",", ""))


def is_tempo(said: int, facts: Facts) -> bool:
    readings = [facts.tempo.bpm, *(other.bpm for other in facts.tempo.alternatives)]
    return any(near(str(said), bpm, 0.5) for bpm in readings)


def is_length(said: float, tolerance: float, facts: Facts) -> bool:
    damage = facts.damage
    lengths = (facts.duration_seconds, damage.decoded_seconds, damage.declared_seconds)
    ends = [span.end_seconds for span in facts.sections.spans or ()][-1:]
    return any(near(str(said), seconds, tolerance) for seconds in (*lengths, *ends))


def is_moment(match: re.Match[str], facts: Facts, moments: Collection[float]) -> bool:
    seconds = int(match[1] or 0) * 3600 + int(match[2]) * 60 + int(match[3])
    starts = [span.start_seconds for span in facts.sections.spans or ()]
    return (
        any(near(str(seconds), start, 0.5) for start in (*starts, *moments))
        or is_length(seconds, 0.5, facts)
        or is_loudest(seconds, facts)
    )


def is_loudest(seconds: float, facts: Facts) -> bool:
    """Within 1 dB of the loudest five seconds there are."""
    dynamics = facts.dynamics
    power = 10 ** (np.array(dynamics.level_db) / 10)
    width = round(5 / dynamics.step_seconds)
    means = np.convolve(power, np.ones(width) / width, "valid")
    start = round((seconds - 2.5) / dynamics.step_seconds)
    around = means[max(0, start - 2) : start + 3]
    return len(around) > 0 and 10 * np.log10(means.max() / around.max()) < 1


def chord_symbols(facts: Facts) -> set[str]:
    symbols = set()
    for span in facts.chords.spans or ():
        root, _, quality = span.label.partition(":")
        symbols.add(root + CHORD_SUFFIXES.get(quality, "?"))
    return symbols


def goes_round(progression: list[str], facts: Facts) -> bool:
    """Three times at least, in the chords as they follow one another."""
    changes: list[str] = []
    for span in facts.chords.spans or ():
        root, _, quality = span.label.partition(":")
        symbol = root + CHORD_SUFFIXES.get(quality, "?")
        if quality and changes[-1:] != [symbol]:
            changes.append(symbol)
    return f" {' '.join(changes)} ".replace(" ", "  ").count(f" {'  '.join(progression)} ") >= 3


def form(facts: Facts) -> list[str]:
    return [span.label for span in facts.sections.spans or ()]


def distinct_labels(facts: Facts) -> int:
    return len({normalise_for_t5(label) for label in form(facts)})
