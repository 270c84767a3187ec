"""Questions answered without a model: what is understood, and that answers keep to the facts."""

from __future__ import annotations

import random
import re
import string
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from invented_facts import invented_facts
from invented_heard import invented_heard

from antiphon.controls import GENRES, INSTRUMENTS, MOODS
from antiphon.description import (
    EnergyCurve,
    Heard,
    HeardSection,
    Passage,
    Presence,
    Sounding,
    Tag,
)
from antiphon.facts import (
    Beats,
    Clipping,
    Dynamics,
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
from antiphon.listen.observations import loudest_seconds
from antiphon.listen.questions import answer
from antiphon.listen.questions.answering import ANOTHER_MODEL, CAN_ANSWER
from antiphon.listen.questions.grammar import read_question
from bare_facts import WHY, bare_facts

pytestmark = pytest.mark.unit

HERE = Path(__file__).parent
# Least shares of questions whose topics are found, all and no others. What was held out is what to
# expect of new ones: this bound was set by what was found when it was first read.
SEEN_SHARE, HELD_OUT_SHARE = 0.98, 0.89
ENERGY_AT_1S = 0.25


def questions(name: str) -> list[tuple[str, set[str]]]:
    groups = yaml.safe_load((HERE / name).read_text(encoding="utf-8"))
    return [(str(q), set(group["topics"])) for group in groups for q in group["questions"]]


SEEN, HELD_OUT = questions("questions.yaml"), questions("held_out_questions.yaml")
ALL = [question for question, _ in SEEN + HELD_OUT]


def song() -> Facts:
    """Half a minute of A, half a minute of B that is 6 dB louder."""
    return replace(
        bare_facts(duration_seconds=60.0),
        tempo=Tempo(120.2, 0.9, (TempoCandidate(60.1, 0.5),)),
        beats=Beats(tuple(0.5 + 0.5 * n for n in range(119)), 0.8),
        downbeats=Beats(tuple(0.5 + 2.0 * n for n in range(30)), 0.8),
        metre=Metre(4, 0.9),
        tuning=Tuning(3.0, 0.9),
        key=KeyEstimate("C# minor", 0.9, "E major"),
        chords=Spans((Span(0, 30, "C#:min"), Span(30, 60, "A:maj")), 0.8),
        sections=Spans((Span(0, 30, "A"), Span(30, 60, "B")), 0.7),
        loudness=Loudness(-12.3, -0.8, 5.5),
        dynamics=Dynamics(0.5, (-20.0,) * 60 + (-14.0,) * 60),
        silence=Silence(0.0),
        clipping=Clipping(17),
        timbre=Timbre(2100.0, 0.4),
    )


def sound() -> Heard:
    return Heard(
        music=Presence(True, 0.95),
        genre=(Tag("jazz", 0.8), Tag("blues", 0.3)),
        instruments=(
            Sounding("piano", 0.9, (Passage(0.0, 60.0),)),
            Sounding("violin", 0.6, (Passage(12.0, 40.0),)),
            Sounding("harp", 0.2, (Passage(5.0, 9.0),)),
        ),
        drums=Presence(True, 0.9, (Passage(30.0, 55.0),)),
        energy="medium",
        energy_confidence=0.7,
        energy_curve=EnergyCurve(1.0, (0.1, ENERGY_AT_1S) * 15 + (0.5,) * 29 + (0.75,)),
        moods=(Tag("calm", 0.8),),
        dance=Presence(False, 0.6),
        sections=(
            HeardSection(0.0, 30.0, (Tag("jazz", 0.8),), (Tag("piano", 0.9),)),
            HeardSection(
                30.0, 60.0, (Tag("jazz", 0.7),), (Tag("piano", 0.9), Tag("violin", 0.6)),
                Presence(True, 0.9), "high", 0.9,
            ),
        ),
    )  # fmt: skip


def said(question: str, *earlier: str) -> str:
    return answer(question, song(), sound(), earlier).text


def topics_of(question: str) -> set[str]:
    return {ask.topic for ask in read_question(question)}


def share_found(asked: list[tuple[str, set[str]]]) -> float:
    return sum(topics_of(question) == topics for question, topics in asked) / len(asked)


def test_what_is_asked_for_is_found() -> None:
    assert len(SEEN) + len(HELD_OUT) >= 250
    assert share_found(SEEN) >= SEEN_SHARE
    assert len(HELD_OUT) >= 80
    assert not {question for question, _ in SEEN} & {question for question, _ in HELD_OUT}
    assert share_found(HELD_OUT) >= HELD_OUT_SHARE


@pytest.mark.parametrize(
    ("question", "text"),
    [
        ("What key is it in?", "It is in C# minor."),
        ("Is it in C sharp minor?", "Yes: it is in C# minor."),
        ("is it in db minor", "Yes: it is in C# minor."),
        ("Is it in D major?", "No: it is in C# minor."),
        ("is it major or minor", "It is minor: the key is C# minor."),
        ("relative key?", "its relative major is E major."),
        ("which notes are in the scale", "are C#, D#, E, F#, G#, A, B."),
        ("bpm?", "The tempo is 120 BPM, which is brisk."),
        ("could it be half time", "in half time, at 60 BPM"),
        ("is it a waltz", "No: it has four beats to the bar."),
        ("is it in 4/4?", "Yes: it has four beats to the bar."),
        ("is it tuned to 440", "Yes: it is tuned to A = 440 Hz (+3 cents)."),
        ("is it at 432 Hz", "No: it is tuned to A = 440 Hz"),
        ("chord at 0:40?", "At 0:40 the chord is A."),
        ("what is the last chord", "The last chord is A, from 0:30."),
        ("when does the second section start", "Section 2 (B) begins at 0:30."),
        ("how many sections", "It has two sections: A from 0:00 and B from 0:30."),
        ("where is the chorus", "letters only"),
        ("compare A with B", "Section B is 6.0 dB louder than section A."),
        ("is A louder than B?", "Section B is 6.0 dB louder"),
        ("first half versus second half", "The second half is 6.0 dB louder"),
        ("how loud is it", "-12.3 LUFS, with a true peak of -0.8 dBTP."),
        ("how loud is it at 0:10", "At 0:10 the level is -20.0 dB full scale."),
        ("is it clipped", "Yes, it clips: seventeen samples"),
        ("how long is it", "It lasts 1:00 (60.0 seconds)."),
        ("what happens at 1:30", "1:30 is beyond its end: it lasts 1:00."),
        ("how many bars", "It has 30 bars"),
        ("is it stereo", "The file is stereo"),
        ("what genre", "The genre heard is jazz."),
        ("is it blues", "Not as far as was heard. The genre heard is jazz."),
        ("is it punk", "Punk is no genre that the listener knows."),
        ("is there a piano", "Yes: piano is there, from 0:00 to 1:00."),
        ("is there a violin", "Probably: violin is there, from 0:12 to 0:40."),
        ("is there a harp", "No harp was heard with confidence"),
        ("when do the drums come in", "Drums are heard from 0:30 on."),
        ("when do the drums stop", "Drums are heard until 0:55."),
        ("does the piano play throughout", "Yes: piano is heard from 0:00 to 1:00."),
        ("do the drums play all the time", "No: drums are heard from 0:30 to 0:55."),
        ("which instruments play in section A", "In section A: piano."),
        ("what is playing at 0:35", "At 0:35: piano, drums and probably violin."),
        ("when is it most energetic", "It is most energetic around 0:59."),
        ("how energetic is section B", "The energy in section B is high."),
        ("how energetic is it", "Its energy is probably medium."),
        ("can i dance to it", "Probably not. The tempo is 120 BPM"),
        ("is it music", "It is music."),
        ("what is the mood", "The mood heard is calm."),
        ("is there a violin in section B", "Probably: violin is heard in section B."),
        ("is there a violin in section A", "No violin was heard in section A."),
        ("does it start with drums", "No: drums are heard from 0:30 on."),
        ("does it begin with piano", "Yes: piano is heard from 0:00 on."),
        ("which instruments are missing", "so none is called missing."),
        ("what instruments are not there", "so none is called missing."),
        ("is the piano louder than the violin", "how it compares, is not told here."),
        ("is the drummer good", "how it compares, is not told here."),
        ("is it romantic", "Whether it is romantic is not judged here."),
        ("is it calm at 0:40", "The mood of 0:40 alone is not told."),
        ("is it scary", "It knows energetic, calm,"),
    ],
)
def test_answers_of_a_song(question: str, text: str) -> None:
    assert text in said(question)


@pytest.mark.parametrize(
    ("earlier", "question", "text"),
    [
        ("What key is it in?", "and the tempo?", "The tempo is 120 BPM"),
        ("What key is it in?", "why?", "confidence is 0.90 of 1. The next best reading is E major"),
        ("what key is it in", "are you sure?", "confidence is 0.90 of 1"),
        ("which instruments play in section A?", "and in section B?", "In section B: "),
        ("what chords are in section A?", "what about the second section?", "Section 2 (B) has A."),
        ("when does the piano start?", "and the drums?", "Drums are heard from 0:30 on."),
        ("are there drums?", "when do they stop?", "Drums are heard until 0:55."),
        ("are there drums?", "what about the violin?", "Probably: violin is there"),
        ("chord at 0:10", "and at 0:40?", "At 0:40 the chord is A."),
    ],
)
def test_questions_that_lean_on_the_one_before(earlier: str, question: str, text: str) -> None:
    assert text in said(question, earlier)


@pytest.mark.parametrize(
    ("question", "text"),
    [
        ("are there no drums?", "Drums are there, from 0:30 to 0:55."),
        ("is it not jazz?", "The genre heard is jazz."),
        ("isn't it jazz?", "The genre heard is jazz."),
        ("is there no piano", "Piano is there, from 0:00 to 1:00."),
        ("isn't it in C# minor", "It is in C# minor."),
        ("is it never clipped", "It clips: seventeen samples"),
    ],
)
def test_what_is_asked_not_to_be_is_answered_without_yes_or_no(question: str, text: str) -> None:
    assert said(question).startswith(text)


def test_several_questions_in_one() -> None:
    told = said("What key is it in, how fast is it and who sings?")
    assert "C# minor" in told
    assert "120 BPM" in told
    assert "knows no voices" in told
    assert "Music Flamingo checkpoint" in told


@pytest.mark.parametrize(
    "question",
    [q for q, topics in SEEN + HELD_OUT if "voices" in topics]
    + ["who is the singer", "is there a voice in it", "does he sing flat?"],
)
@pytest.mark.parametrize("seed", range(3))
def test_of_voices_nothing_is_claimed(question: str, seed: int) -> None:
    facts = invented_facts(seed)
    answered = answer(question, facts, invented_heard(seed, facts))
    assert "voices" in answered.topics
    assert "knows no voices" in answered.text
    if answered.topics != ("voices",):
        return  # the rest is of something else
    claim = (
        r"(?i)\b(?:yes|no[,:]|probably|perhaps|there (?:is|are)|(?:fe)?male|instrumental"
        r"|(?:wo)?m[ae]n)"
    )
    told = answered.text.replace(CAN_ANSWER, "").replace(ANOTHER_MODEL, "")
    assert not re.search(claim, told)
    for wrong in ("Yes: there are voices.", "No: no voices.", "Probably a woman sings."):
        assert re.search(claim, wrong)


def numbers_of(facts: Facts, heard: Heard, question: str) -> list[float]:
    """Every number that an answer may have."""
    values: list[float] = [0, 1, 440]  # scales from 0 to 1, and A = 440 Hz

    def collect(value: object) -> None:
        if isinstance(value, bool | str) or value is None:
            return
        if isinstance(value, int | float):
            values.extend((value, value * 100, value / 1000, value % 60, value // 60, value / 3600))
            values.append(value % 3600 // 60)
        elif isinstance(value, tuple):
            values.append(len(value))
            for item in value:
                collect(item)
        else:
            for item in vars(value).values():
                collect(item)

    collect(facts)
    collect(heard)
    collect(facts.duration_seconds / 2)
    spans = facts.sections.spans or ()
    collect(tuple(span.end_seconds - span.start_seconds for span in spans))
    collect(tuple(float(second) for second in re.findall(r"@?(\d+)", question)))
    values.extend(range(1, len(spans) + 1))
    return values


# Said to be worked out: differences and means of levels, and shares of the time.
WORKED_OUT = re.compile(
    r"-?[\d.]+ dB|\d+%|[\d.]+ in (?:the|section)|three thirds is .*?\.(?= |$)"
    r"|on the guitar|is [\d.]+ on a scale"
)
TIME = re.compile(r"(?<![\d/])(?:(\d+):)?(\d+):(\d\d)(?!\d)")


def times_of(facts: Facts, heard: Heard, question: str) -> list[float]:
    """Every second that an answer may name: where something that is known begins or ends."""
    found = [0.0, facts.duration_seconds / 2, facts.duration_seconds]

    def collect(value: object) -> None:
        if isinstance(value, tuple):
            for item in value:
                collect(item)
        elif hasattr(value, "__dict__"):
            for name, item in vars(value).items():
                if name.endswith("_seconds") and isinstance(item, int | float):
                    found.append(item)
                collect(item)

    collect(facts)
    collect(heard)
    found += [*(facts.beats.times_seconds or ()), *(facts.downbeats.times_seconds or ())]
    loudest = loudest_seconds(facts.dynamics)
    found += [] if loudest is None else [loudest]
    curves = [(facts.dynamics.step_seconds, facts.dynamics.level_db)]
    if heard.energy_curve is not None:
        curves.append((heard.energy_curve.step_seconds, heard.energy_curve.level))
    for step_seconds, curve in curves:
        edges = {max(curve, default=0), min(curve, default=0)}
        found += [step_seconds * step for step, value in enumerate(curve) if value in edges]
    for ask in read_question(question):
        found += [place.seconds for place in ask.places if place.seconds is not None]
    return found


def seconds_of(time: re.Match[str]) -> float:
    return 3600 * int(time[1] or 0) + 60 * int(time[2]) + int(time[3])


CLASSES = re.compile(r"Em?aj\d|[A-G][#b]?(?:m|maj|hdim|dim|aug|sus|m7b)?\d+(?:b5)?|\d different")


@pytest.mark.parametrize("seed", range(6))
def test_numbers_come_from_facts(seed: int) -> None:
    facts = invented_facts(seed)
    heard = invented_heard(seed, facts)
    for question in ALL:
        if topics_of(question) & {"describe"}:
            continue  # the describer's tests hold it to the facts
        told = answer(question, facts, heard).text
        allowed = numbers_of(facts, heard, question)
        times = times_of(facts, heard, question)
        for time in TIME.finditer(told):
            assert any(abs(seconds_of(time) - known) < 1 for known in times), f"{question}: {told}"
        bare = CLASSES.sub("", WORKED_OUT.sub("", TIME.sub("", told))).replace(",", "")
        for reason in {facts.tempo.reason, facts.key.reason, facts.metre.reason, *_reasons(facts)}:
            bare = bare.replace((reason or "\0").rstrip("."), "")
        for span in facts.sections.spans or ():
            bare = bare.replace(span.label or "\0", "")
        for number in re.findall(r"(?<![\w#])[-+]?\d+(?:\.\d+)?", bare):
            decimals = len(number.partition(".")[2])
            near = [v for v in allowed if abs(abs(v) - abs(float(number))) <= 0.51 * 10**-decimals]
            assert near, f"{question}: {number} in {told}"


def _reasons(facts: Facts) -> list[str | None]:
    groups = (facts.chords, facts.sections, facts.tuning, facts.loudness, facts.timbre)
    return [group.reason for group in groups]


@pytest.mark.parametrize("seed", range(8))
def test_nothing_is_asserted_below_its_bound(seed: int) -> None:
    facts = invented_facts(seed)
    heard = invented_heard(seed, facts)
    sure = {one.name for one in heard.instruments if one.confidence >= 0.5}
    told = answer("Which instruments play?", facts, heard).text
    for name in set(INSTRUMENTS) - sure - {"drums"}:
        others = [other for other in sure if name in other]
        assert others or not re.search(rf"\b{name}\b", told)
    for question, tags, names in (
        ("Which genre?", heard.genre, GENRES),
        ("Which mood?", heard.moods, MOODS),
    ):
        told = answer(question, facts, heard).text
        asserted = {tag.name for tag in tags if tag.confidence >= 0.5}
        for name in set(names) - asserted:
            assert f" {name}" not in told.partition("The nearest is")[0]


def test_that_there_is_none_is_said_of_drums_alone() -> None:
    no_drums = replace(sound(), drums=Presence(False, 0.9))
    assert answer("Are there drums?", song(), no_drums).text == "No: there are no drums."
    unsure = replace(sound(), drums=Presence(False, 0.6))
    assert answer("Are there drums?", song(), unsure).text == (
        "Probably not: there are probably no drums."
    )
    for name in set(INSTRUMENTS) - {"drums", "piano", "violin", "electric piano"}:
        told = said(f"Is there {name}?")
        assert told.startswith("No ")
        assert "does not mean that there is none" in told


@pytest.mark.parametrize(("confidence", "text"), [
    (0.9, "It is in C# minor."),
    (0.5, "It is probably in C# minor. The next best reading is E major."),
    (0.1, "The key is uncertain: C# minor or E major."),
])  # fmt: skip
def test_a_key_is_as_sure_as_it_was_measured(confidence: float, text: str) -> None:
    facts = replace(song(), key=KeyEstimate("C# minor", confidence, "E major"))
    assert answer("key?", facts, None).text == text


def test_what_was_not_measured_is_named_with_its_reason() -> None:
    for question, topics in SEEN + HELD_OUT:
        answered = answer(question, bare_facts(duration_seconds=600.0), Heard())
        assert answered.text
        assert "None" not in answered.text
        if topics in ({"key"}, {"tempo"}, {"metre"}, {"chords"}) and set(answered.topics) == topics:
            assert f"could not be measured: {WHY}." in answered.text, question


def test_without_a_listener_what_it_would_hear_is_not_known() -> None:
    for question in ("What genre is it?", "Is it sad?", "Which instruments?", "Is it music?"):
        assert "not heard: no trained listener was asked." in answer(question, song(), None).text


def test_where_no_music_is_heard_nothing_of_it_is_asserted() -> None:
    noise = replace(sound(), music=Presence(False, 0.95))
    for question in ("What genre is it?", "Which instruments?", "Is it sad?", "Can I dance?"):
        told = answer(question, song(), noise).text
        assert "nothing of the kind is asserted" in told
    assert answer("bpm", song(), noise).text.startswith("It was not heard as music; measured")


DICE = random.Random(3)
ODD = (
    "", "   ", "?", "???", "\0", "\ud83c", "🎹🎸🥁", "🎵?", "a" * 10_000, "tempo " * 2_000, "@",
    "@@5", "@1.2.3", "~", "0:00:00:00", "99999:99", "at 1e9", "العربية", "日本語の質問", "Ωδή",
    "key\u0301", "ＫＥＹ？", "section 99", "section Z", "@" * 50, "compare", "compare A",
    "why", "and", "when?",
    "is it", "\n\n", "what happens at 9999:00", "the -1th section", "{key}", "%s %d", "(((",
    "[a-z]+", "\\b\\w+",
)  # fmt: skip


@pytest.mark.parametrize("heard", [None, Heard(), sound()], ids=["none", "deaf", "heard"])
def test_odd_text_is_answered_politely(heard: Heard | None) -> None:
    noise = ["".join(DICE.choices(string.printable, k=DICE.randrange(200))) for _ in range(100)]
    mixed = [" ".join(DICE.sample(" ".join(ALL).split(), 6)) for _ in range(200)]
    for facts in (song(), bare_facts(), None):
        for question in (*ODD, *noise, *mixed):
            answered = answer(question, facts, heard, ["what key?", question])
            assert answered.text.endswith((".", ")."))
            if not answered.understood and not answered.topics:
                assert "A recording can be asked about" in answered.text
    for question in ("", "🎹🎸🥁", "日本語の質問", "a" * 10_000, "tempo " * 2_000):
        assert not answer(question, song(), heard).understood


def test_the_same_question_has_the_same_answer() -> None:
    for question in ALL[::7]:
        assert said(question) == said(question)
