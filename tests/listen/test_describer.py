"""Texts from facts: true to them, within their limits, good English, and not all alike.

What a text may say is judged by `stated_facts.py`, which knows nothing of how texts are made.
"""

from __future__ import annotations

import hashlib
import random
import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from functools import cache

import pytest
from invented_facts import invented_facts
from stated_facts import chord_symbols, without_quotations, wrong_statements

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
from antiphon.listen.describer import count_words, describe
from antiphon.listen.prompts import load_prompt_set

pytestmark = pytest.mark.unit

SEEDS = range(300)
STANDARD = {kind: p.max_words for kind, p in load_prompt_set("standard").kinds.items()}
SHORT = {kind: p.max_words for kind, p in load_prompt_set("short").kinds.items()}
ALL_KINDS = {**STANDARD, **SHORT, "technical": 19}

TEXTS_OF_FACTS_ALONE = "eb3b229d149af2ae7ebae23190b1aab2da057ded2686d01218bfccb3484d9884"
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
    return facts, describe(facts, None, ALL_KINDS)


def sentences_of(text: str) -> list[str]:
    return re.split(r"(?<=\.) +", text)


# --- what holds for every text


def test_word_limits_hold() -> None:
    for seed in SEEDS:
        facts, texts = texts_of(seed)
        longer = describe(facts, None, {"technical": SHORT["technical"]})["technical"]
        for kind, text in {**texts, "short technical": longer}.items():
            most = {**ALL_KINDS, "short technical": 29}[kind]
            assert most is None or len(text.split()) <= most, (seed, kind, text)
        assert len(sentences_of(texts["brief"])) == 1, (seed, texts["brief"])


def test_any_limit_of_a_user_holds_and_cuts_no_sentence() -> None:
    dice = random.Random(5)
    for seed in SEEDS:
        limits = {kind: dice.choice([1, 2, 3, 5, 8, 13, 21, 34, 55]) for kind in ALL_KINDS}
        for kind, text in describe(invented_facts(seed), None, limits).items():
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
        for kind, text in describe(facts, None, limits).items():
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


def test_without_a_listener_the_texts_are_those_of_facts_alone() -> None:
    """As they were before there was one; a change of any takes a new DESCRIBER_VERSION."""
    digest = hashlib.sha256()
    for seed in range(150):
        texts = describe(invented_facts(seed), None, ALL_KINDS)
        digest.update("\n".join(f"{kind}: {texts[kind]}" for kind in sorted(texts)).encode())
    assert digest.hexdigest() == TEXTS_OF_FACTS_ALONE


def test_same_facts_same_text_and_the_path_is_none_of_them() -> None:
    for seed in range(20):
        facts = invented_facts(seed)
        moved = facts.with_path("/elsewhere/copy.mp3")
        assert describe(facts, None, ALL_KINDS) == describe(moved, None, ALL_KINDS)


@pytest.mark.integration
def test_same_text_in_every_process() -> None:
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); from invented_facts import invented_facts\n"
        "from antiphon.listen.describer import describe\n"
        "print([describe(invented_facts(s), None, {'full': None, 'brief': 20}) for s in (2, 7)])"
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
    return describe(facts, None, {"full": None})["full"]


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
    texts = describe(silent, None, ALL_KINDS)
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
        describe(song(), None, {"full": None, "dance": None})


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
