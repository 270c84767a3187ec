"""A question, facts and what is heard, into an answer that says no more than those hold."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from antiphon.description import Heard, Presence, Tag
from antiphon.facts import Facts
from antiphon.listen.certainty import PLAIN
from antiphon.listen.describer import describe
from antiphon.listen.phrases import FAIR, clock, decimal, listed
from antiphon.listen.phrases_heard import music_of
from antiphon.listen.questions import hearing, instruments, loudness, measured
from antiphon.listen.questions.grammar import MOST_CHARACTERS, Ask, read_question
from antiphon.listen.questions.patterns import DECLINED, Topic
from antiphon.listen.questions.places import Stretch, level_db, locate, section_at, sections
from antiphon.listen.writer import capitalised

GRAMMAR_VERSION = 2  # raise it when answers come out differently

NOT_A_MODEL = "answered from what is measured and heard, not by a language model"
CAN_ANSWER = (
    "A recording can be asked about its key, tempo, metre, tuning, chords, sections, loudness, "
    "brightness, beats and length, what differs between two sections, and about genre, mood, "
    "energy and instruments."
)
ANOTHER_MODEL = (
    "For anything else name a larger model with --model, such as a Music Flamingo checkpoint "
    "(`antiphon models ls --all` lists them)."
)
ABOUT = (
    "The question grammar of antiphon answers here, from what is measured in the recording and "
    "what a trained listener hears in it; no language model is at work."
)
_NOT_KNOWN: Mapping[Topic, str] = {
    "voices": "Voices and singing are not known here: the built-in listener knows no voices.",
    "lyrics": "Words and what they mean are not known here: no lyrics are recognised.",
    "identity": "Who made it, its title and its date are not known here: only the sound is.",
    "opinion": "How good it is, is not judged here.",
    "melody": "Melody and single notes are not told here.",
    "production": "How it was recorded and mixed is not told here.",
}
_MUSICAL: tuple[Topic, ...] = ("key", "tempo", "metre", "tuning", "chords", "beats")
_YES_OR_NO = re.compile(r"^(?:Yes|No|Probably(?: not)?)[:.,] *")
_ROUGH_SAME_DB = 1.0  # nobody hears a smaller difference of level


@dataclass(frozen=True)
class Answered:
    """An answer; `understood` where something that can be asked for was asked for.

    `topics` are all that was asked for, those among them that are not known here.
    """

    text: str
    understood: bool
    topics: tuple[Topic, ...]


def answer(
    question: str,
    facts: Facts | None,
    heard: Heard | None,
    earlier: Sequence[str] = (),
) -> Answered:
    """Answer a question about a recording; never raises for its text.

    `earlier` are the questions of the conversation so far, which `and the second section?` leans
    on. `facts` is None where there is no recording to speak of.
    """
    before: tuple[Ask, ...] = ()
    for text in earlier:
        before = read_question(text, before) or before
    asks = read_question(question, before)
    if not asks:
        return Answered(_not_understood(question), False, ())
    topics = tuple(dict.fromkeys(ask.topic for ask in asks))
    understood = any(topic not in DECLINED for topic in topics)
    texts = [_answer_one(ask, facts, heard) for ask in asks]
    if set(topics) & set(DECLINED):
        texts.append(ANOTHER_MODEL if understood else f"{CAN_ANSWER} {ANOTHER_MODEL}")
    return Answered(" ".join(dict.fromkeys(texts)), understood, topics)


def _not_understood(question: str) -> str:
    if len(question) > MOST_CHARACTERS:
        problem = (
            f"The question has {len(question):,} characters, and at most {MOST_CHARACTERS:,} are "
            "read."
        )
    else:
        problem = "The question was not understood."
    return f"{problem} {CAN_ANSWER} {ANOTHER_MODEL}"


def _answer_one(ask: Ask, facts: Facts | None, heard: Heard | None) -> str:
    if ask.topic in _NOT_KNOWN:
        return _NOT_KNOWN[ask.topic]
    if ask.topic == "about":
        return ABOUT
    if ask.topic == "help":
        return f"{CAN_ANSWER} {ANOTHER_MODEL}"
    if facts is None:
        return "No recording was given, so there is nothing to answer from."
    stretches: list[Stretch] = []
    for place in ask.places:
        located = locate(place, facts)
        if located.problem is not None:
            return located.problem
        stretches += located.stretches
    if heard is not None and not ask.why and music_of(heard) == "doubted":
        heard = _hedged(heard)
    text = _ANSWERS[ask.topic](ask, facts, heard, tuple(stretches))
    if ask.negated:
        # `Yes` to `is it not jazz?` can mean both; what follows it says which.
        text = capitalised(_YES_OR_NO.sub("", text)) or text
    if heard is not None and ask.topic in _MUSICAL and music_of(heard) == "no":
        return f"It was not heard as music; measured all the same: {text}"
    return text


def _hedged(heard: Heard) -> Heard:
    """The same with nothing surer than `probably`: where the music is in doubt, so is all else."""

    def sure(confidence: float) -> float:
        return min(confidence, math.nextafter(PLAIN, 0.0))

    def presence(found: Presence | None) -> Presence | None:
        return None if found is None else replace(found, confidence=sure(found.confidence))

    def tags(found: tuple[Tag, ...]) -> tuple[Tag, ...]:
        return tuple(replace(tag, confidence=sure(tag.confidence)) for tag in found)

    return replace(
        heard,
        genre=tags(heard.genre),
        moods=tags(heard.moods),
        instruments=tuple(replace(s, confidence=sure(s.confidence)) for s in heard.instruments),
        drums=presence(heard.drums),
        dance=presence(heard.dance),
        energy_confidence=None if heard.energy is None else sure(heard.energy_confidence or 0.0),
        sections=tuple(
            replace(
                section,
                genre=tags(section.genre),
                instruments=tags(section.instruments),
                drums=presence(section.drums),
                energy_confidence=sure(section.energy_confidence or 0.0),
            )
            for section in heard.sections
        ),
    )


def _description(facts: Facts, heard: Heard | None) -> str:
    return describe(facts, heard, {"full": None})["full"]


def _happens(stretch: Stretch, facts: Facts, heard: Heard | None) -> str:
    """All that is known of a moment or a section."""
    known = []
    if stretch.is_moment and (section := section_at(stretch.start_seconds, facts)) is not None:
        known.append(section)
    if facts.chords.confidence >= FAIR and (inside := measured.chords_within(stretch, facts)):
        chords = f"the chord is {inside[0]}" if stretch.is_moment else f"chords {'-'.join(inside)}"
        known.append(chords)
    if (level := level_db(stretch, facts)) is not None:
        known.append(f"the level is {decimal(level)} dB full scale")
    if heard is not None and (names := instruments.instruments_within(stretch, heard)):
        known.append(f"heard: {names}")
    start, end = clock(stretch.start_seconds), clock(stretch.end_seconds)
    where = f"At {stretch.name}" if stretch.is_moment else f"In {stretch.name} ({start} to {end})"
    return f"{where}: {'; '.join(known)}." if known else f"Nothing was measured for {stretch.name}."


def _sections(ask: Ask, facts: Facts, heard: Heard | None, stretches: tuple[Stretch, ...]) -> str:
    if stretches and (ask.aspect in ("at", "value", "count") or stretches[0].is_moment):
        return " ".join(_happens(stretch, facts, heard) for stretch in stretches)
    return sections(ask, facts, stretches)


def _compare(ask: Ask, facts: Facts, heard: Heard | None, stretches: tuple[Stretch, ...]) -> str:
    """What differs between two stretches in level, chords, instruments and energy."""
    if len(ask.places) < 2:
        return "Two sections are needed for that: ask, for example, to compare A with B. " + (
            sections(Ask("sections"), facts)
        )
    # A label that returns stands for several stretches: its first speaks for it.
    first = locate(ask.places[0], facts).stretches[0]
    second = locate(ask.places[1], facts).stretches[0]
    texts = [_level_difference(first, second, facts)]
    pairs = [("Chords", _chords_of(first, facts), _chords_of(second, facts))]
    if heard is not None:
        names = [instruments.instruments_within(s, heard) for s in (first, second)]
        pairs.append(("Instruments", names[0], names[1]))
        levels = [hearing.energy_level(s, heard) for s in (first, second)]
        shown = [None if level is None else f"{level:.2f}" for level in levels]
        pairs.append(("Energy from 0 to 1", shown[0], shown[1]))
    for what, one, other in pairs:
        if one and other:
            same = (
                f"the same in both, {one}"
                if one == other
                else (f"{one} in {first.name}, {other} in {second.name}")
            )
            texts.append(f"{what}: {same}.")
    if heard is None:
        texts.append(hearing.not_heard("instruments and energy were"))
    return " ".join(texts)


def _chords_of(stretch: Stretch, facts: Facts) -> str | None:
    if facts.chords.confidence < FAIR:
        return None
    return listed(list(dict.fromkeys(measured.chords_within(stretch, facts)))) or None


def _level_difference(first: Stretch, second: Stretch, facts: Facts) -> str:
    levels = level_db(first, facts), level_db(second, facts)
    if levels[0] is None or levels[1] is None:
        return "Their levels could not be measured."
    difference = levels[1] - levels[0]
    if abs(difference) < _ROUGH_SAME_DB:
        return f"{capitalised(first.name)} and {second.name} are equally loud."
    louder, other = (second, first) if difference > 0 else (first, second)
    return f"{capitalised(louder.name)} is {abs(difference):.1f} dB louder than {other.name}."


_Answer = Callable[[Ask, Facts, Heard | None, tuple[Stretch, ...]], str]
_ANSWERS: Mapping[Topic, _Answer] = {
    "key": lambda ask, facts, heard, stretches: measured.key(ask, facts),
    "tempo": lambda ask, facts, heard, stretches: measured.tempo(ask, facts),
    "metre": lambda ask, facts, heard, stretches: measured.metre(ask, facts),
    "tuning": lambda ask, facts, heard, stretches: measured.tuning(ask, facts),
    "chords": lambda ask, facts, heard, stretches: measured.chords(ask, facts, stretches),
    "loudness": lambda ask, facts, heard, stretches: loudness.loudness(ask, facts, stretches),
    "duration": lambda ask, facts, heard, stretches: measured.duration(ask, facts),
    "silence": lambda ask, facts, heard, stretches: loudness.silence(ask, facts),
    "brightness": lambda ask, facts, heard, stretches: measured.brightness(ask, facts),
    "beats": lambda ask, facts, heard, stretches: measured.beats(ask, facts),
    "file": lambda ask, facts, heard, stretches: measured.file(ask, facts),
    "genre": lambda ask, facts, heard, stretches: hearing.genre(ask, heard, stretches),
    "mood": lambda ask, facts, heard, stretches: hearing.mood(ask, heard, stretches),
    "energy": hearing.energy,
    "instruments": lambda ask, facts, heard, stretches: (
        instruments.throughout(ask, facts, heard)
        if ask.aspect == "throughout"
        else instruments.instruments(ask, heard, stretches)
    ),
    "music": lambda ask, facts, heard, stretches: hearing.music(ask, heard),
    "dance": lambda ask, facts, heard, stretches: hearing.dance(ask, facts, heard),
    "describe": lambda ask, facts, heard, stretches: _description(facts, heard),
    "sections": _sections,
    "compare": _compare,
}
