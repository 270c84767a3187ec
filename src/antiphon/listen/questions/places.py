"""Where a question points to: times, sections and halves of a recording, and what differs there."""

from __future__ import annotations

import math
from dataclasses import dataclass

from antiphon.facts import Facts
from antiphon.listen.phrases import FAIR, SURE, clock, counted, listed
from antiphon.listen.questions.grammar import Ask, Place
from antiphon.listen.writer import capitalised

_MOST_LISTED = 12


@dataclass(frozen=True)
class Stretch:
    """A part of a recording, under the name by which an answer speaks of it."""

    name: str
    start_seconds: float
    end_seconds: float
    is_moment: bool = False


@dataclass(frozen=True)
class Located:
    """The stretches a place stands for, or why it stands for none."""

    stretches: tuple[Stretch, ...]
    problem: str | None = None


def locate(place: Place, facts: Facts) -> Located:
    """Find a place; a label that returns stands for all its sections."""
    if place.seconds is not None:
        return _moment(place.seconds, facts)
    if place.half is not None:
        middle = facts.duration_seconds / 2
        if place.half == 1:
            return Located((Stretch("the first half", 0.0, middle),))
        return Located((Stretch("the second half", middle, facts.duration_seconds),))
    spans = facts.sections.spans
    if not spans:
        return Located((), _no_sections(facts))
    if facts.sections.confidence < FAIR:
        return Located((), "The sections are too uncertain to speak of one.")
    if place.section is not None:
        at = place.section - 1 if place.section > 0 else len(spans) - 1
        if not 0 <= at < len(spans):
            return Located((), f"It has only {counted(len(spans), 'section')}.")
        name = "the last section" if place.section < 0 else f"section {at + 1}"
        span = spans[at]
        return Located((Stretch(f"{name} ({span.label})", span.start_seconds, span.end_seconds),))
    label = (place.label or "").casefold()
    mine = [span for span in spans if span.label.casefold() == label]
    if mine:
        return Located(
            tuple(Stretch(f"section {s.label}", s.start_seconds, s.end_seconds) for s in mine)
        )
    labels = listed(list(dict.fromkeys(span.label for span in spans)))
    if len(label) == 1:
        return Located((), f"No section is called {label.upper()}; the sections are {labels}.")
    return Located(
        (),
        f"Which section is the {label} is not known: sections are told apart by letters only, "
        f"one letter for what sounds alike. {_plan(facts)}",
    )


def _moment(seconds: float, facts: Facts) -> Located:
    if seconds > facts.duration_seconds:
        return Located(
            (),
            f"{clock(seconds)} is beyond its end: it lasts {clock(facts.duration_seconds)}.",
        )
    return Located((Stretch(clock(seconds), seconds, seconds + 1e-3, is_moment=True),))


def _no_sections(facts: Facts) -> str:
    reason = facts.sections.reason
    return "The sections could not be measured" + (f": {reason}." if reason else ".")


def sections(ask: Ask, facts: Facts, stretches: tuple[Stretch, ...] = ()) -> str:
    """How many sections, where one lies, how long it is."""
    found = facts.sections
    if not found.spans:
        return _no_sections(facts)
    if ask.why:
        return f"The sections have a confidence of {found.confidence:.2f} of 1."
    if found.confidence < FAIR:
        return "The sections are too uncertain to state."
    rough = "" if found.confidence >= SURE else " The times are approximate."
    if stretches:
        return _of_stretches(ask, stretches) + rough
    if ask.aspect == "length":
        by_length = sorted(found.spans, key=lambda s: s.end_seconds - s.start_seconds)
        texts = [
            f"the {word} section is {s.label}, from {clock(s.start_seconds)} to "
            f"{clock(s.end_seconds)}"
            for word, s in (("longest", by_length[-1]), ("shortest", by_length[0]))
        ]
        if len(found.spans) > 1:
            return f"T{listed(texts)[1:]}.{rough}"
    return _plan(facts) + rough


def _plan(facts: Facts) -> str:
    spans = facts.sections.spans or ()
    shown = [f"{span.label} from {clock(span.start_seconds)}" for span in spans[:_MOST_LISTED]]
    if len(spans) == 1:
        return f"It has one section, {spans[0].label}, without a change."
    more = len(spans) - len(shown)
    text = f"{', '.join(shown)} and {more} more" if more else listed(shown)
    return f"It has {counted(len(spans), 'section')}: {text}."


def _of_stretches(ask: Ask, stretches: tuple[Stretch, ...]) -> str:
    name = capitalised(stretches[0].name)
    if ask.aspect == "length":
        lengths = [f"{clock(s.end_seconds - s.start_seconds)}" for s in stretches]
        return f"{name} lasts {listed(lengths)}."
    if ask.aspect == "end":
        return f"{name} ends at {listed([clock(s.end_seconds) for s in stretches])}."
    if ask.aspect == "start":
        return f"{name} begins at {listed([clock(s.start_seconds) for s in stretches])}."
    spans = [f"{clock(s.start_seconds)} to {clock(s.end_seconds)}" for s in stretches]
    return f"{name} runs from {listed(spans)}."


def section_at(seconds: float, facts: Facts) -> str | None:
    """The section in which a moment lies, as a sentence."""
    if facts.sections.confidence < FAIR:
        return None
    for number, span in enumerate(facts.sections.spans or (), start=1):
        if span.start_seconds <= seconds < span.end_seconds:
            times = f"{clock(span.start_seconds)} to {clock(span.end_seconds)}"
            return f"it is in section {number}, {span.label} ({times})"
    return None


def level_db(stretch: Stretch, facts: Facts) -> float | None:
    """Mean power of a stretch in dB full scale."""
    step = facts.dynamics.step_seconds
    first = int(stretch.start_seconds / step)
    last = max(first + 1, round(stretch.end_seconds / step))
    inside = facts.dynamics.level_db[first:last]
    if not inside:
        return None
    return 10 * math.log10(sum(10 ** (level / 10) for level in inside) / len(inside))
