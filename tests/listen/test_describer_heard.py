"""Texts from what a trained listener hears: supported word by word, and as varied as music is."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable
from dataclasses import replace
from functools import cache

import pytest
from invented_facts import invented_facts
from invented_heard import invented_heard
from stated_facts import without_quotations
from stated_hearing import supported

from antiphon.controls import GENRES, INSTRUMENTS, MOODS
from antiphon.description import Heard, HeardSection, Passage, Presence, Sounding, Tag
from antiphon.exports import normalise_for_t5
from antiphon.facts import Facts, KeyEstimate, Silence, Span, Spans, Tempo
from antiphon.listen import wording_heard
from antiphon.listen.describer import count_words, describe
from antiphon.listen.prompts import load_prompt_set

pytestmark = pytest.mark.unit

SEEDS = range(300)
STANDARD = {kind: p.max_words for kind, p in load_prompt_set("standard").kinds.items()}
SHORT = {kind: p.max_words for kind, p in load_prompt_set("short").kinds.items()}
ALL_KINDS = {**SHORT, **STANDARD}


@cache
def case(seed: int) -> tuple[Facts, Heard, dict[str, str]]:
    facts = invented_facts(seed)
    heard = invented_heard(seed, facts)
    return facts, heard, describe(facts, heard, ALL_KINDS)


def sentences_of(text: str) -> list[str]:
    return re.split(r"(?<=\.) +", text)


# --- what holds for every text


def test_nothing_is_said_that_was_neither_heard_nor_measured() -> None:
    for seed in SEEDS:
        facts, heard, texts = case(seed)
        for kind, text in texts.items():
            assert supported(text, facts, heard) == [], (seed, kind, text)


def test_tightened_texts_are_supported_and_within_their_limits() -> None:
    dice = random.Random(5)
    for seed in SEEDS:
        facts, heard, _ = case(seed)
        limits = {kind: dice.choice([1, 2, 3, 5, 8, 13, 21, 34, 55]) for kind in ALL_KINDS}
        for kind, text in describe(facts, heard, limits, seed=seed).items():
            assert 1 <= count_words(text) <= limits[kind], (seed, kind, text)
            assert supported(text, facts, heard) == [], (seed, kind, text)


def test_word_limits_hold() -> None:
    for seed in SEEDS:
        facts, heard, texts = case(seed)
        for limits, written in ((ALL_KINDS, texts), (SHORT, describe(facts, heard, SHORT))):
            for kind, text in written.items():
                most = limits[kind]
                assert most is None or count_words(text) <= most, (seed, kind, text)
        assert len(sentences_of(texts["brief"])) == 1, (seed, texts["brief"])


def test_the_lead_is_short_enough_for_text_encoders() -> None:
    for seed in SEEDS:
        _, heard, texts = case(seed)
        if any(tag.confidence >= 0.5 for tag in heard.genre):
            assert count_words(sentences_of(texts["full"])[0]) <= 25, (seed, texts["full"])


def test_english_is_clean() -> None:
    for seed in SEEDS:
        _, _, texts = case(seed)
        for kind, text in texts.items():
            here = (seed, kind, text)
            assert not re.search(r"[{}_]|  |None|\( | \)| [,.;:]|[,;:.]{2}", text), here
            assert not re.search(r"(?i)\b([a-z]+) \1\b", text), here
            assert not re.search(r"\ba [aeiou]|\ban [^aeiou]|^A [aeiou]|^An [^aeiou]", text), here
            assert not re.search(r"\b(strings|drums|mallets) (joins|enters|stops|is)\b", text), here
            for sentence in sentences_of(text):
                assert re.match(r"[A-Z0-9]", sentence), here
                assert re.search(r"[\w%)#]\.$", sentence), here
            assert normalise_for_t5(text) == text


def test_voices_are_never_spoken_of() -> None:
    for seed in SEEDS:
        for kind, text in case(seed)[2].items():
            assert not re.search(r"(?i)instrumental|vocal|voice|sing(ing|er)|sung|solo", text), kind


def test_same_input_same_text_and_another_seed_another_one() -> None:
    for seed in range(20):
        facts, heard, texts = case(seed)
        assert describe(facts.with_path("/elsewhere"), heard, ALL_KINDS) == texts
    facts, heard = song(), jazz()
    assert describe(facts, heard, ALL_KINDS, 1) != describe(facts, heard, ALL_KINDS, 2)


def test_3000_recordings_read_differently() -> None:
    full = set()
    for seed in range(3000):
        facts = invented_facts(seed)
        full.add(describe(facts, invented_heard(seed, facts), {"full": None})["full"])
    assert len(full) > 2900


def test_one_kind_of_music_is_asked_for_in_many_ways() -> None:
    texts = {
        describe(song(), jazz(), {"genre_mood": 29}, seed)["genre_mood"] for seed in range(100)
    }
    assert len(texts) >= 30
    assert len({tuple(text.split()[:3]) for text in texts}) >= 8


def test_openings_are_not_all_alike() -> None:
    def share_of_the_commonest(texts: Iterable[str]) -> float:
        openings = [tuple(text.split()[:2]) for text in texts]
        return max(openings.count(one) for one in openings) / len(openings)

    for kind in ("full", "genre_mood", "brief"):
        assert share_of_the_commonest(case(seed)[2][kind] for seed in SEEDS) < 0.25, kind


# --- the checker fires


def song() -> Facts:
    """Two plain parts in which everything measured is certain."""
    return replace(
        invented_facts(0),
        duration_seconds=48.0,
        tempo=Tempo(96.0, 0.9),
        key=KeyEstimate("A minor", 0.9, "C major"),
        sections=Spans((Span(0, 24.2, "A"), Span(24.2, 48, "B")), 0.9),
        silence=Silence(0.0),
    )


def jazz(**changes: object) -> Heard:
    """Jazz in which the saxophone joins and the piano leaves; most of it certain."""
    before, now = (
        (Tag("piano", 0.9), Tag("bass", 0.9)),
        (Tag("saxophone", 0.9), Tag("bass", 0.9), Tag("organ", 0.6)),
    )
    whole = (Passage(0, 48),)
    heard = Heard(
        music=Presence(True, 0.99),
        genre=(Tag("jazz", 0.9), Tag("blues", 0.3)),
        instruments=(
            Sounding("piano", 0.9, (Passage(0, 24.2),)),
            Sounding("bass", 0.8, whole),
            Sounding("saxophone", 0.8, (Passage(24.2, 48),)),
            Sounding("organ", 0.6, whole),
            Sounding("flute", 0.4, whole),
        ),
        drums=Presence(True, 0.9, whole),
        energy="low",
        energy_confidence=0.9,
        moods=(Tag("calm", 0.9), Tag("melancholic", 0.6), Tag("dark", 0.3)),
        dance=Presence(False, 0.8),
        sections=(
            HeardSection(0, 24.2, (Tag("jazz", 0.9),), before, Presence(True, 0.9), "low", 0.9),
            HeardSection(24.2, 48, (Tag("jazz", 0.9),), now, Presence(True, 0.9), "medium", 0.6),
        ),
    )
    return replace(heard, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "said",
    [
        "A calm jazz piece with piano over bass and drums, in A minor at 96 BPM.",
        "Jazz, probably melancholic, probably with organ.",
        "It opens with piano, bass and drums.",
        "From 0:24 a saxophone joins over bass and drums, while the piano drops out.",
        "At 0:24 probably an organ enters, and the energy probably rises.",
        "The saxophone comes in at 0:24.",
        "It is not made for dancing.",
    ],
)
def test_the_checker_lets_truths_pass(said: str) -> None:
    assert supported(said, song(), jazz()) == []


@pytest.mark.parametrize(
    ("said", "finds"),
    [
        ("A blues piece.", "genre: blues"),
        ("Probably a blues piece.", "hedged genre: blues"),
        ("Probably a jazz piece.", "hedged genre: jazz"),
        ("A sunny piece.", "mood: sunny"),
        ("A wistful piece.", "mood: wistful"),
        ("A dark piece.", "mood: dark"),
        ("A piece with organ.", "instrument: organ"),
        ("A piece with flute.", "instrument: flute"),
        ("A piece with harp.", "instrument: harp"),
        ("A piece probably with piano.", "hedged instrument: piano"),
        ("A jazz piece without drums.", "no drums: without drums"),
        ("High energy.", "energy: high energy"),
        ("Probably low energy.", "hedged energy: low energy"),
        ("It is danceable.", "danceable: danceable"),
        ("It may not be music.", "doubt: may not be music"),
        ("This does not sound like music.", "not music: does not sound like music"),
        ("A jazz piece without vocals.", "unknown: without"),
        ("An instrumental piece.", "unknown: instrumental"),
        ("A warm piece.", "unknown: warm"),
        ("Dark in tone.", "Dark"),
        ("At 97 BPM.", "97 BPM"),
        ("In C minor.", "C minor"),
        ("It starts at 0:31.", "0:31"),
        ("The piano comes in at 0:24.", "entry: piano"),
        ("It opens with saxophone.", "opening: saxophone"),
        ("From 0:24 a flute joins.", "joins: flute"),
        ("From 0:24 an organ joins.", "joins: organ"),
        ("From 0:24 probably a saxophone joins.", "joins: saxophone"),
        ("From 0:24 a saxophone joins over piano.", "stays: piano"),
        ("From 0:24 the bass drops out.", "leaves: bass"),
        ("From 0:24 the energy rises.", "energy up"),
        ("From 0:24 the energy probably falls.", "energy down"),
        ("From 0:24 it turns to blues.", "style: blues"),
    ],
)
def test_the_checker_finds_what_is_not_supported(said: str, finds: str) -> None:
    found = supported(said, song(), jazz())
    assert any(one.startswith(finds) for one in found), found


def test_the_checker_knows_every_name_there_is() -> None:
    names = [*GENRES, *MOODS, *INSTRUMENTS]
    for name in names:
        found = supported(f"A {name} piece.", song(), Heard())
        assert found, name
        assert not any(one.startswith("unknown") for one in found), (name, found)


# --- certainty


@pytest.mark.parametrize(
    ("confidence", "said"),
    [(0.75, r"(?<!probably )(?<!apparently )(?<!likely )\bharp\b"), (0.74, "harp"), (0.49, None)],
)
def test_an_instrument_is_said_by_its_confidence(confidence: float, said: str | None) -> None:
    heard = Heard(instruments=(Sounding("harp", confidence),))
    for seed in range(20):
        texts = describe(song(), heard, {"full": None, "instrumentation": 14}, seed)
        hedged = any(re.search(rf"\b{hedge}\b", texts["instrumentation"].lower())
                     for hedge in wording_heard.HEDGES)  # fmt: skip
        for text in texts.values():
            assert (said is None) == ("harp" not in text.lower()), text
        assert hedged == (0.5 <= confidence < 0.75)


def test_what_does_not_sound_like_music_is_said_to_and_nothing_musical_is() -> None:
    for seed in range(50):
        facts = invented_facts(seed)
        heard = replace(invented_heard(seed, facts), music=Presence(False, 0.8))
        if (facts.silence.share or 0) >= 0.99:
            continue
        for kind, text in describe(facts, heard, ALL_KINDS).items():
            assert re.search("(?i)not (sound like )?music", text), (kind, text)
            said = without_quotations(text, facts)
            assert not re.search(r"BPM|major|minor|to the bar|chord|Tempo|Key", said), (kind, text)


def test_where_music_is_doubted_it_is_said_and_all_else_takes_a_hedge() -> None:
    heard = jazz(music=Presence(False, 0.6))
    for seed in range(20):
        texts = describe(song(), heard, ALL_KINDS, seed)
        assert re.match("It may not be|This may not be|It is not certain", texts["full"])
        for kind in ("full", "brief", "genre_mood"):
            assert re.search("not be music|not music|this is music", texts[kind]), texts[kind]
        for text in texts.values():
            assert supported(text, song(), heard) == [], text


def test_silence_stays_what_it_is() -> None:
    silent = replace(song(), silence=Silence(1.0))
    assert describe(silent, jazz(), ALL_KINDS)["brief"].count("silent") == 1
    assert "jazz" not in " ".join(describe(silent, jazz(), ALL_KINDS).values())


# --- single statements


def full(heard: Heard, seed: int = 0) -> str:
    return describe(song(), heard, {"full": None}, seed)["full"]


def test_the_lead_names_genre_mood_instruments_tempo_and_key() -> None:
    for seed in range(30):
        lead = sentences_of(full(jazz(), seed))[0]
        for said in ("jazz", "piano", "bass", "96 BPM", "A minor"):
            assert said in lead.replace("Jazz", "jazz").replace("Piano", "piano"), lead
        assert re.search("(?i)calm|peaceful|tranquil", lead), lead


def test_a_section_tells_only_what_is_new() -> None:
    for seed in range(30):
        (told,) = [s for s in sentences_of(full(jazz(), seed)) if "saxophone" in s and "0:24" in s]
        assert re.search(r"saxophone (joins|comes in|enters) over bass and drums", told), told
        assert re.search(r"piano (drops out|falls silent|stops)", told), told
        assert re.search(r"(probably|apparently|likely) an organ", told), told
        assert "jazz" not in told


def test_two_songs_in_one_file_are_told_apart() -> None:
    first, second = jazz().sections
    heard = jazz(sections=(first, replace(second, genre=(Tag("reggae", 0.9),))))
    for seed in range(10):
        assert re.search(r"0:24.*(turns|changes) to reggae", full(heard, seed))


def test_without_sections_instruments_come_in_by_their_passages() -> None:
    assert re.search("[Tt]he saxophone comes in at 0:24", full(jazz(sections=())))


@pytest.mark.parametrize(
    ("drums", "said", "not_said"),
    [
        (
            Presence(False, 0.9),
            "(?i)no drums|without drums",
            "(probably|likely|apparently)[ \\w]{1,18}drums",
        ),
        (Presence(False, 0.6), "(?i)(probably|likely|apparently)[ \\w]{1,18}drums", "~"),
        (None, "", "drums"),
    ],
)
def test_missing_drums_are_said_when_they_are_known_to_miss(
    drums: Presence | None, said: str, not_said: str
) -> None:
    for seed in range(10):
        text = full(jazz(drums=drums, sections=()), seed)
        assert re.search(said, text), text
        assert not re.search(not_said, text), text


def test_no_other_instrument_is_said_to_be_missing() -> None:
    for seed in SEEDS:
        for kind, text in case(seed)[2].items():
            missing = re.findall(r"(?i)\b(?:no|without|lacks?|nor) (\w+)", text)
            free = {"drums", "change", "genre", "instruments", "form", "sections", "a"}
            measured = {"could", "steady", "pulse"}
            assert set(missing) <= free | measured, (kind, text)


def test_words_for_every_name_the_controls_know() -> None:
    assert set(wording_heard.MOOD_WORDS) == set(MOODS)
    assert set(wording_heard.GENRE_NAMES) | set(wording_heard.GENRE_NOUNS) <= set(GENRES)
    named = {*wording_heard.INSTRUMENT_NAMES, *wording_heard.NO_ARTICLE}
    assert named <= set(INSTRUMENTS)
