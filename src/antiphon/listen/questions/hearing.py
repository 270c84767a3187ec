"""Answers from what a trained listener hears, as sure as it is. Knows no question's wording.

What is heard with less than ASSERTED is not asserted, and what is not heard is not denied.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from antiphon.controls import GENRES, MOODS
from antiphon.description import Heard, HeardSection, Tag
from antiphon.facts import Facts
from antiphon.listen import observations
from antiphon.listen.certainty import ASSERTED, PLAIN
from antiphon.listen.moods import JUDGED_MOODS
from antiphon.listen.phrases import SURE, clock, listed
from antiphon.listen.phrases_heard import music_of
from antiphon.listen.questions import loudness, measured
from antiphon.listen.questions.grammar import Ask
from antiphon.listen.questions.places import Stretch
from antiphon.listen.writer import capitalised

NO_LISTENER = "no trained listener was asked"


def not_heard(what: str) -> str:
    return f"{capitalised(what)} not heard: {NO_LISTENER}."


def hedge(confidence: float) -> str:
    return "" if confidence >= PLAIN else "probably "


def genre(ask: Ask, heard: Heard | None, stretches: tuple[Stretch, ...] = ()) -> str:
    if heard is None:
        return not_heard("the genre was")
    if no_music(heard):
        return NOT_MUSIC
    tags, where = heard.genre, ""
    if stretches:
        section = section_of(stretches[0], heard)
        if section is None:
            return (
                f"The genre of {stretches[0].name} alone is not known. {genre(Ask('genre'), heard)}"
            )
        tags, where = section.genre, f" in {stretches[0].name}"
    return _tagged(ask, tags, "genre", where, GENRES)


def mood(ask: Ask, heard: Heard | None, stretches: tuple[Stretch, ...] = ()) -> str:
    if heard is None:
        return not_heard("the mood was")
    if no_music(heard):
        return NOT_MUSIC
    unjudged = [name for name in ask.names if name in MOODS and name not in JUDGED_MOODS]
    judged = tuple(name for name in ask.names if name not in unjudged)
    texts = [f"Whether it is {listed(unjudged)} is not judged here."] if unjudged else []
    if stretches:
        texts.append(f"The mood of {stretches[0].name} alone is not told.")
    texts.append(_tagged(replace(ask, names=judged), heard.moods, "mood", "", JUDGED_MOODS))
    return " ".join(texts)


def _tagged(ask: Ask, tags: Sequence[Tag], what: str, where: str, known: Sequence[str]) -> str:
    """What is asserted of some tags, or of one of them that is called by name."""
    asserted = [tag for tag in tags if tag.confidence >= ASSERTED]
    others = [tag for tag in tags if tag.confidence < ASSERTED]
    if ask.why and tags:
        text = f"{tags[0].name} is the {what} heard most, with a confidence of "
        text += f"{tags[0].confidence:.2f} of 1"
        if len(tags) > 1:
            text += f"; the next is {tags[1].name}, with {tags[1].confidence:.2f}"
        return f"{capitalised(text)}."
    heard_as = (
        f"The {what}{'s' * (len(asserted) > 1)} heard{where} "
        f"{'are' if len(asserted) > 1 else 'is'} {_hedged(asserted)}."
        if asserted
        else f"No {what} was heard{where} with confidence."
    )
    if not ask.names:
        guess = f" The nearest is {others[0].name}." if others and not asserted else ""
        return heard_as + guess
    texts = []
    for name in ask.names:
        if name.startswith("?"):
            texts.append(f"{capitalised(name[1:])} is no {what} that the listener knows.")
        elif (tag := next((tag for tag in asserted if tag.name == name), None)) is not None:
            texts.append("Yes." if tag.confidence >= PLAIN else "Probably.")
    if not texts and asserted:
        texts.append("Not as far as was heard.")
    if any(name.startswith("?") for name in ask.names):
        texts.append(f"It knows {listed(list(known))}.")
    return " ".join([*texts, heard_as])


def _hedged(tags: Sequence[Tag]) -> str:
    return listed([f"{hedge(tag.confidence)}{tag.name}" for tag in tags])


def energy(ask: Ask, facts: Facts, heard: Heard | None, stretches: tuple[Stretch, ...] = ()) -> str:
    if heard is None or (heard.energy is None and heard.energy_curve is None):
        why = NO_LISTENER if heard is None else "the listener did not tell it"
        if ask.aspect in ("most", "least", "course") or stretches:
            aspect = {"most": "loudest", "least": "quietest", "course": "course"}.get(ask.aspect)
            told = loudness.loudness(Ask("loudness", aspect or "value"), facts, stretches)
            return f"Energy over time was not heard: {why}. By level: {_lowered(told)}"
        sure = facts.tempo.confidence >= SURE
        grade = observations.energy(facts, tempo_is_sure=sure)
        if grade is None:
            return f"Energy was not heard ({why}), and the loudness could not be measured."
        return f"By loudness, attack and tempo the energy is {grade}; it was not heard, as {why}."
    if no_music(heard):
        return NOT_MUSIC
    if stretches:
        return " ".join(_energy_in(stretch, heard) for stretch in stretches)
    curve = heard.energy_curve
    if ask.aspect in ("most", "least"):
        if curve is None or not curve.level:
            return "The course of its energy was not heard."
        level = max(curve.level) if ask.aspect == "most" else min(curve.level)
        at = clock(curve.level.index(level) * curve.step_seconds)
        return f"It is {ask.aspect} energetic around {at}."
    if ask.aspect == "course":
        return _course(heard)
    confidence = heard.energy_confidence
    if ask.why and confidence is not None:
        return f"The energy ({heard.energy}) was heard with a confidence of {confidence:.2f} of 1."
    if heard.energy is None or confidence is None or confidence < ASSERTED:
        return "Its energy was not heard with confidence."
    return f"Its energy is {hedge(confidence)}{heard.energy}."


def _energy_in(stretch: Stretch, heard: Heard) -> str:
    section = section_of(stretch, heard)
    where = f"at {stretch.name}" if stretch.is_moment else f"in {stretch.name}"
    if section is not None and section.energy is not None and not stretch.is_moment:
        confidence = section.energy_confidence or 0.0
        if confidence >= ASSERTED:
            return f"The energy {where} is {hedge(confidence)}{section.energy}."
        return f"The energy {where} was not heard with confidence."
    level = energy_level(stretch, heard)
    if level is None:
        return f"The energy {where} was not heard."
    return f"The energy {where} is {level:.2f} on a scale from 0 (low) to 1 (high)."


def energy_level(stretch: Stretch, heard: Heard) -> float | None:
    """Mean of the energy curve over a stretch."""
    curve = heard.energy_curve
    if curve is None:
        return None
    first = int(stretch.start_seconds / curve.step_seconds)
    last = max(first + 1, round(stretch.end_seconds / curve.step_seconds))
    inside = curve.level[first:last]
    return sum(inside) / len(inside) if inside else None


def _course(heard: Heard) -> str:
    curve = heard.energy_curve
    if curve is None or len(curve.level) < 3:
        return "The course of its energy was not heard."
    third = len(curve.level) // 3
    means = [
        sum(part) / len(part)
        for part in (curve.level[:third], curve.level[third:-third], curve.level[-third:])
    ]
    shown = listed([f"{mean:.2f}" for mean in means])
    return f"From 0 (low) to 1 (high), the energy of its three thirds is {shown}."


def section_of(stretch: Stretch, heard: Heard) -> HeardSection | None:
    """The section that a stretch is, or a moment lies in."""
    middle = (stretch.start_seconds + stretch.end_seconds) / 2
    for section in heard.sections:
        if section.start_seconds <= middle < section.end_seconds:
            length = section.end_seconds - section.start_seconds
            much = stretch.end_seconds - stretch.start_seconds
            return section if stretch.is_moment or abs(length - much) < 0.2 * length else None
    return None


def music(ask: Ask, heard: Heard | None) -> str:
    if heard is None or heard.music is None:
        return (
            not_heard("whether it is music was")
            if heard is None
            else ("Whether it is music was not told.")
        )
    found = heard.music
    if ask.why:
        return f"The confidence of that is {found.confidence:.2f} of 1."
    sure = hedge(found.confidence)
    if found.present:
        return f"It is {sure}music."
    return f"It is {sure}no music."


def dance(ask: Ask, facts: Facts, heard: Heard | None) -> str:
    tempo = measured.tempo(Ask("tempo"), facts)
    if heard is None or heard.dance is None:
        why = NO_LISTENER if heard is None else "the listener did not tell"
        return f"Whether one can dance to it was not heard: {why}. {tempo}"
    if no_music(heard):
        return NOT_MUSIC
    found = heard.dance
    if found.confidence < ASSERTED:
        return f"Whether one can dance to it was not heard with confidence. {tempo}"
    sure = found.confidence >= PLAIN
    answer = "Yes" if found.present else "No"
    if not sure:
        answer = "Probably" if found.present else "Probably not"
    return f"{answer}. {tempo}"


def no_music(heard: Heard) -> bool:
    return music_of(heard) == "no"


NOT_MUSIC = "It was not heard as music, so nothing of the kind is asserted."


def _lowered(text: str) -> str:
    return text[0].lower() + text[1:]
