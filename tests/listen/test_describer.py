"""Texts from facts: true to them, within their limits, good English, and not all alike.

The checker below knows nothing of how the texts are made. It takes a text apart, finds every
number, key and chord in it and looks for each in the facts.
"""

from __future__ import annotations

import random
import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from invented_facts import invented_facts

from antiphon.controls import GENRES, INSTRUMENTS
from antiphon.errors import ConfigError
from antiphon.exports import normalise_for_t5
from antiphon.facts import (
    Clipping,
    DamageReport,
    Facts,
    KeyEstimate,
    Loudness,
    Metre,
    Silence,
    Span,
    Spans,
    Tempo,
    TempoCandidate,
    Timbre,
    Tuning,
)
from antiphon.listen.describer import count_words, describe_facts
from antiphon.listen.prompts import load_prompt_set

pytestmark = pytest.mark.unit

SEEDS = range(300)
STANDARD = {kind: p.max_words for kind, p in load_prompt_set("standard").kinds.items()}
SHORT = {kind: p.max_words for kind, p in load_prompt_set("short").kinds.items()}
ALL_KINDS = {**STANDARD, **SHORT, "technical": 19}

COUNTS = (
    *("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen"),
    *("eighteen", "nineteen", "twenty"),
)
CHORD_SUFFIXES = {
    "maj": "", "min": "m", "dim": "dim", "aug": "aug", "sus4": "sus4", "maj7": "maj7",
    "min7": "m7", "7": "7", "hdim7": "m7b5", "dim7": "dim7", "maj9": "maj9", "min9": "m9", "9": "9",
}  # fmt: skip
NEVER_WITHOUT_A_LISTENER = {
    *GENRES,
    *INSTRUMENTS,
    *("rock", "pop", "jazz", "classical", "house", "techno", "electronic", "hip", "hop", "latin"),
    *("folk", "funk", "blues", "metal", "soul", "band", "orchestra", "ballad", "dance"),
    *("guitar", "drum", "drums", "piano", "keyboard", "organ", "bass", "vocal", "vocals", "voice"),
    *("singer", "singing", "violin", "cello", "strings", "synth", "synthesizer", "saxophone"),
    *("trumpet", "flute", "brass", "woodwind", "percussion", "happy", "sad", "melancholic"),
    *("cheerful", "aggressive", "relaxing", "romantic", "epic", "warm", "gentle"),
}


@cache
def texts_of(seed: int) -> tuple[Facts, dict[str, str]]:
    facts = invented_facts(seed)
    return facts, describe_facts(facts, ALL_KINDS)


# --- the independent checker


def wrong_statements(text: str, facts: Facts) -> list[str]:
    """Everything in `text` that the facts do not say; empty when the text is true."""
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
    take(r"(?:(\d+):)?(\d+):(\d\d)", lambda m: is_moment(m, facts))
    count = rf"(\d[\d,]*|{'|'.join(COUNTS)})"
    take(rf"(?i)\b{count} beats? to", lambda m: number(m[1]) == facts.metre.beats_per_bar)
    take(rf"(?i)\b{count} samples?", lambda m: number(m[1]) == facts.clipping.samples)
    take(rf"(?i)\b{count} sections?", lambda m: number(m[1]) == len(facts.sections.spans or ()))
    take(rf"(?i)\b{count} labels?", lambda m: number(m[1]) == distinct_labels(facts))
    take(
        r"([A-G][#b]?) (major|minor)",
        lambda m: m[0] in (facts.key.name, facts.key.runner_up),
    )
    take(
        r"(?i)\b(major|minor)-mode",
        lambda m: facts.key.name is not None and facts.key.name.endswith(m[1].lower()),
    )
    take(r"\bA(?= [a-z])", lambda m: True)  # the article
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
    for span in facts.sections.spans or ():
        label = " ".join(normalise_for_t5(span.label).split())
        if len(label) > 1:
            text = re.sub(re.escape(label), "~", text, flags=re.IGNORECASE)
    groups = (facts.tempo, facts.metre, facts.tuning, facts.key, facts.chords, facts.sections)
    for group in (*groups, facts.loudness, facts.timbre):
        if group.reason is not None:
            text = re.sub(re.escape(group.reason.split(". ")[0]), "~", text, flags=re.IGNORECASE)
    return text


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


def is_moment(match: re.Match[str], facts: Facts) -> bool:
    seconds = int(match[1] or 0) * 3600 + int(match[2]) * 60 + int(match[3])
    starts = [span.start_seconds for span in facts.sections.spans or ()]
    return (
        any(near(str(seconds), start, 0.5) for start in starts)
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


def sentences_of(text: str) -> list[str]:
    return re.split(r"(?<=\.) +", text)


# --- what holds for every text


def test_word_limits_hold() -> None:
    for seed in SEEDS:
        facts, texts = texts_of(seed)
        longer = describe_facts(facts, {"technical": SHORT["technical"]})["technical"]
        for kind, text in {**texts, "short technical": longer}.items():
            most = {**ALL_KINDS, "short technical": 29}[kind]
            assert most is None or len(text.split()) <= most, (seed, kind, text)
        assert len(sentences_of(texts["brief"])) == 1, (seed, texts["brief"])


def test_any_limit_of_a_user_holds_and_cuts_no_sentence() -> None:
    dice = random.Random(5)
    for seed in SEEDS:
        limits = {kind: dice.choice([1, 2, 3, 5, 8, 13, 21, 34, 55]) for kind in ALL_KINDS}
        for kind, text in describe_facts(invented_facts(seed), limits).items():
            assert 1 <= count_words(text) <= limits[kind], (seed, kind, text)
            assert text.endswith("."), (seed, kind, text)


def test_every_number_key_and_chord_is_one_of_the_facts() -> None:
    for seed in SEEDS:
        facts, texts = texts_of(seed)
        for kind, text in texts.items():
            assert wrong_statements(text, facts) == [], (seed, kind, text)


def test_tightened_texts_are_true_and_stand_alone() -> None:
    dice = random.Random(6)
    for seed in SEEDS:
        facts = invented_facts(seed)
        limits = {kind: dice.randrange(2, 40) for kind in ALL_KINDS}
        for kind, text in describe_facts(facts, limits).items():
            assert wrong_statements(text, facts) == [], (seed, kind, text)
            assert not text.startswith("Nor "), (seed, kind, text)
            unmeasured = re.search("(?i)(mode and tone|sections|timbre) could not be me", text)
            if unmeasured and kind != "full":
                none = (facts.timbre.brightness_hz, facts.sections.spans)
                assert None in none, (seed, kind, text)


@pytest.mark.parametrize(
    ("said", "finds"),
    [
        ("At 121 BPM.", "121 BPM"),
        ("In F minor.", "F minor"),
        ("At -9.1 LUFS.", "-9.1 LUFS"),
        ("Turning on Am-F-C.", "Am-F-C"),
        ("Mainly Dm7.", "Dm7"),
        ("Three beats to the bar.", "Three beats to"),
        ("The chorus comes at 0:31.", "0:31"),
        ("Nine sections.", "Nine sections"),
        ("Some 30 notes.", "30"),
        ("Minor-mode.", "Minor-mode"),
    ],
)
def test_the_checker_finds_what_is_not_in_the_facts(said: str, finds: str) -> None:
    assert wrong_statements(said, song()) == [finds]


def test_what_is_said_to_be_unmeasured_is_unmeasured_and_the_rest_is_said() -> None:
    for seed in SEEDS:
        facts, texts = texts_of(seed)
        full = texts["full"]
        missing = ", ".join(
            names
            for names in re.findall(r"(?:^|\. )([\w, ]+?) could not be measured", full)
            + re.findall(r"Nor could ([\w, ]+?) be measured", full)
        ).lower()
        for name, value in {
            "tempo": facts.tempo.bpm,
            "metre": facts.metre.beats_per_bar,
            "key": facts.key.name,
            "chords": None if facts.chords.spans is None else chord_symbols(facts) - {"N?"},
            "sections": facts.sections.spans,
            "tuning": facts.tuning.cents,
            "loudness": facts.loudness.integrated_lufs,
        }.items():
            assert (name in missing) == (value in (None, set(), ())), (seed, name, full)
        for value, unit in (
            (facts.tempo.bpm if facts.tempo.confidence >= 0.3 else None, "BPM"),
            (facts.key.name if facts.key.confidence >= 0.3 else None, str(facts.key.name)),
            (facts.loudness.integrated_lufs, "LUFS"),
            (facts.metre.beats_per_bar if facts.metre.confidence >= 0.3 else None, "to the bar"),
        ):
            assert (value is None) or unit in full, (seed, unit, full)


def test_no_genre_mood_or_instrument_is_named_without_a_listener() -> None:
    forbidden = re.compile(rf"\b({'|'.join(map(re.escape, NEVER_WITHOUT_A_LISTENER))})\b")
    for seed in SEEDS:
        _, texts = texts_of(seed)
        for kind, text in texts.items():
            assert not forbidden.search(text.lower()), (seed, kind, text)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("genre_mood", r"(?i)genre and mood (were )?not heard"),
        ("instrumentation", r"(?i)instruments (were )?not heard"),
        ("genre_mood_inst", r"(?i)genre, mood and instruments (were )?not heard"),
    ],
)
def test_texts_about_what_takes_a_listener_say_that_there_was_none(kind: str, said: str) -> None:
    for seed in SEEDS:
        _, texts = texts_of(seed)
        assert re.search(said, texts[kind]), (seed, texts[kind])


def test_english_is_clean() -> None:
    for seed in SEEDS:
        facts, texts = texts_of(seed)
        for kind, text in texts.items():
            here = (seed, kind, text)
            assert not re.search(r"[{}_]|  |None|nan|\( | \)| [,.;:]|[,;:.]{2}", text), here
            plain = without_quotations(text, facts)
            assert not re.search(r"(?i)\b([a-z]+) \1\b", plain), here
            assert not re.search(r"\ba [aeiou]|\ban [^aeiou]", plain), here
            assert not re.search(r"\b(one \w+s|-0\.0|one (samples|beats|sections))\b", plain), here
            for sentence in sentences_of(text):
                assert re.match(r"[A-Z0-9~]", sentence), here
                assert re.search(r"[\w%)#]\.$", sentence), here
            assert not re.search(r"(?i)\b(center|meter|color|\w+ized)\b", plain), here


def test_every_text_is_as_a_t5_tokenizer_wants_it() -> None:
    for seed in SEEDS:
        for kind, text in texts_of(seed)[1].items():
            assert normalise_for_t5(text) == text, (seed, kind)
            assert not set(text) - set(map(chr, range(32, 127))) - set("äöüß"), (seed, kind, text)


def test_same_facts_same_text_and_the_path_is_none_of_them() -> None:
    for seed in range(20):
        facts = invented_facts(seed)
        moved = facts.with_path("/elsewhere/copy.mp3")
        assert describe_facts(facts, ALL_KINDS) == describe_facts(moved, ALL_KINDS)


@pytest.mark.integration
def test_same_text_in_every_process() -> None:
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); from invented_facts import invented_facts\n"
        "from antiphon.listen.describer import describe_facts\n"
        "print([describe_facts(invented_facts(s), {'full': None, 'brief': 20}) for s in (2, 7)])"
    )
    here = __file__.rpartition("/")[0]
    outputs = {
        subprocess.run(
            [sys.executable, "-c", script, here],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1


def test_texts_are_not_all_alike() -> None:
    measured = [seed for seed in range(1000) if invented_facts(seed).tempo.bpm is not None][:100]
    all_texts = [texts_of(seed)[1] for seed in measured]

    def openings(texts: Iterable[str], words: int) -> int:
        return len({tuple(re.sub(r"[\d.:#]+", "0", text).split()[:words]) for text in texts})

    for kind in ("full", "technical", "brief"):
        assert len({texts[kind] for texts in all_texts}) == 100
    assert len({texts["very_brief"] for texts in all_texts}) >= 85
    assert len({texts["genre_mood"] for texts in all_texts}) >= 60
    assert openings((texts["full"] for texts in all_texts), 3) >= 40
    every_sentence = [s for texts in all_texts for s in sentences_of(texts["full"])]
    assert openings(every_sentence, 4) >= 150
    assert openings((texts["genre_mood"] for texts in all_texts), 4) >= 25


# --- single statements


def song() -> Facts:
    """A plain song in which everything is certain."""
    spans = [
        Span(at * 2.0, at * 2.0 + 2, c) for at, c in enumerate(["A:min", "F:maj", "G:maj"] * 8)
    ]
    return replace(
        invented_facts(0),
        duration_seconds=48.0,
        tempo=Tempo(120.4, 0.9),
        metre=Metre(4, 0.9),
        key=KeyEstimate("A major", 0.9, "E major"),
        tuning=Tuning(3.0, 0.9),
        chords=Spans(tuple(spans), 0.9),
        sections=Spans((Span(0, 24.2, "verse"), Span(24.2, 48, "chorus")), 0.9),
        loudness=Loudness(-9.84, -0.42, 3.0),
        silence=Silence(0.0),
        clipping=Clipping(0),
        timbre=Timbre(2840.0, 0.5),
        damage=DamageReport(48.0, 48.0),
    )


def full(facts: Facts) -> str:
    return describe_facts(facts, {"full": None})["full"]


def test_certain_facts_are_stated_plainly() -> None:
    text = full(song())
    for phrase in ("120 BPM", "A major", "four beats to the bar", "Am-F-G", "0:24", "-9.8 LUFS"):
        assert phrase in text
    for hedge in ("about 120", "probably", "seem", "appear", "approximate", "could not", "440 Hz"):
        assert hedge not in text


@pytest.mark.parametrize(
    ("tempo", "said", "not_said"),
    [
        (Tempo(120.4, 0.9), "120 BPM", "about 120 BPM"),
        (Tempo(120.4, 0.45), "about 120 BPM", "fast"),
        (Tempo(120.4, 0.1, (TempoCandidate(60.2, 0.1),)), "60 or 120 BPM", "about"),
        (Tempo(60.2, 0.1, (TempoCandidate(120.4, 0.1),)), "60 or 120 BPM", "about"),
        (Tempo(120.4, 0.1), "tempo", "BPM"),
        (Tempo(120.4, 0.9, (TempoCandidate(60.2, 0.5),)), "half time", "either"),
        (Tempo(120.4, 0.9, (TempoCandidate(60.2, 0.1),)), "120 BPM", "60 BPM"),
        (Tempo(150.0, 0.9, (TempoCandidate(450.0, 0.8),)), "150 BPM", "450"),
    ],
)
def test_tempo_is_hedged_by_its_confidence(tempo: Tempo, said: str, not_said: str) -> None:
    text = full(replace(song(), tempo=tempo)).lower()
    assert said.lower() in text
    assert not_said.lower() not in text


@pytest.mark.parametrize(
    ("key", "said", "not_said"),
    [
        (KeyEstimate("D minor", 0.45, "F major"), "probably (in )?D minor", "F major"),
        (KeyEstimate("D minor", 0.1, "F major"), "D minor or F major", "probably"),
        (KeyEstimate("D minor", 0.1), "Key (could not be given|remained too uncertain)", "D minor"),
        (
            KeyEstimate(None, reason="It is noise. Really."),
            "Key could not be measured: it is noise\\.",
            "Really",
        ),
    ],
)
def test_key_is_hedged_by_its_confidence(key: KeyEstimate, said: str, not_said: str) -> None:
    text = full(replace(song(), key=key))
    assert re.search(said, text)
    assert not_said not in text


def test_reasons_are_given_once_for_all_that_share_them() -> None:
    reason = "the recording is silent"
    silent = replace(
        song(),
        tempo=Tempo(None, reason=reason),
        metre=Metre(None, reason=reason),
        key=KeyEstimate(None, reason=reason),
        tuning=Tuning(None, reason=reason),
        chords=Spans(None, reason=reason),
        sections=Spans(None, reason=reason),
        loudness=Loudness(None, None, None, reason),
        timbre=Timbre(None, None, reason),
        silence=Silence(1.0),
    )
    texts = describe_facts(silent, ALL_KINDS)
    assert texts["full"].count(reason) == 1
    assert "silent recording" in texts["brief"]
    assert texts["very_brief"] == "Silent recording of 48 seconds."
    for kind in ("technical", "genre_mood", "structure", "instrumentation"):
        assert reason in texts[kind], texts[kind]


def test_truncated_file_says_how_much_there_was() -> None:
    cut = replace(song(), damage=DamageReport(48.0, 96.0, ("file ends early",)))
    assert re.search(r"(?i)only 48 seconds.*could be decoded", full(cut))
    assert "1:36" in full(cut)


@pytest.mark.parametrize(
    ("samples", "said"), [(0, None), (1, "one sample at"), (1204, "1,204 samples at")]
)
def test_clipping(samples: int, said: str | None) -> None:
    text = full(replace(song(), clipping=Clipping(samples)))
    assert ("full scale" in text) == (said is not None)
    assert said is None or said in text


@pytest.mark.parametrize(
    ("cents", "confidence", "said"),
    [
        (24.4, 0.9, "24 cents above"),
        (-24.4, 0.9, "24 cents below"),
        (9.0, 0.9, None),
        (24.4, 0.1, None),
    ],
)
def test_tuning_is_told_when_it_is_off(cents: float, confidence: float, said: str | None) -> None:
    text = full(replace(song(), tuning=Tuning(cents, confidence)))
    assert ("440 Hz" in text) == (said is not None)
    assert said is None or said in text


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.04, "40 milliseconds|40-millisecond"),
        (0.96, r"1 second|1-second"),
        (4.24, r"4\.2 seconds|4\.2-second"),
        (59.4, "59 seconds|59-second"),
        (59.6, "1:00"),
        (192.4, "3:12"),
        (3725.0, "1:02:05"),
    ],
)
def test_length(seconds: float, said: str) -> None:
    facts = replace(song(), duration_seconds=seconds, damage=DamageReport(seconds, None))
    assert re.search(rf"\b({said})\b", full(facts))


def test_sections_of_any_label() -> None:
    labels = ["A", "\u201cB\u201d \u2013 loud\n", "x" * 200, "", "\x00", "Strophe ä", "A"]
    spans = tuple(Span(at * 10.0, at * 10.0 + 10, label) for at, label in enumerate(labels))
    text = full(replace(song(), sections=Spans(spans, 0.9)))
    assert text.count("unnamed section") == 3
    assert '"B" - loud (0:10)' in text
    assert "xxx" not in text
    assert normalise_for_t5(text) == text


def test_kind_that_takes_a_model_is_refused() -> None:
    with pytest.raises(ConfigError, match="kind 'dance' needs a model that follows prompts; the b"):
        describe_facts(song(), {"full": None, "dance": None})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("One two.", 2),
        ("A minor at -9.8 LUFS, 3:12.", 6),
        ("Am-F-C-G recurring", 5),
        ("high-energy - track", 3),
    ],
)
def test_count_words_counts_compounds_apart(text: str, words: int) -> None:
    assert count_words(text) == words
