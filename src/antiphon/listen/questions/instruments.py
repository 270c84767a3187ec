"""Answers about instruments: which there are, when they come in, where they pause.

What is not heard is not denied: only of drums does the listener know that there are none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from antiphon.controls import INSTRUMENTS
from antiphon.description import Heard, Passage, Presence, Sounding
from antiphon.facts import Facts
from antiphon.listen.certainty import ASSERTED, PLAIN
from antiphon.listen.phrases import clock, counted, listed
from antiphon.listen.questions.grammar import Ask
from antiphon.listen.questions.hearing import (
    NOT_MUSIC,
    hedge,
    no_music,
    not_heard,
    section_of,
)
from antiphon.listen.questions.places import Stretch
from antiphon.listen.writer import capitalised

_EDGE_SECONDS = 3.0  # who is there so early or so late is there from the start, or to the end
_MOST_PASSAGES = 8


def instruments(ask: Ask, heard: Heard | None, stretches: tuple[Stretch, ...] = ()) -> str:
    if any(name.startswith("?") for name in ask.names):
        known = listed([name for name in INSTRUMENTS if name != "drums"])
        called = ask.names[0][1:]
        return f"The listener does not know {called}. It knows drums, {known}."
    if heard is None:
        return not_heard("instruments were")
    if no_music(heard):
        return NOT_MUSIC
    sounding = all_sounding(heard)
    asserted = [s for s in sounding if s.confidence >= ASSERTED]
    if ask.names:
        return _named_instruments(ask, heard, asserted, stretches)
    if ask.why and sounding:
        shown = listed([f"{s.name} ({s.confidence:.2f} of 1)" for s in sounding[:5]])
        return f"By confidence, the surest first: {shown}."
    if stretches:
        return " ".join(_instruments_in(stretch, heard, asserted) for stretch in stretches)
    if ask.aspect == "absent":
        text = "What is not heard may be there all the same, so none is called missing."
        if heard.drums is not None and not heard.drums.present:
            text += f" {_absent(replace(ask, names=('drums',)), heard.drums)}"
        return text
    if not asserted:
        return "No instrument was heard with confidence."
    if ask.aspect == "first":
        return _first(asserted)
    names = _instrument_names(asserted)
    if ask.aspect == "lead":
        return f"Which instrument leads is not told apart. Heard, the surest first: {names}."
    text = f"Heard, the surest first: {names}."
    if ask.aspect == "count":
        return f"{capitalised(counted(len(asserted), 'kind'))} of instrument. {text}"
    return text


def all_sounding(heard: Heard) -> list[Sounding]:
    """The instruments, drums among them, the surest first."""
    found = list(heard.instruments)
    drums = heard.drums
    if drums is not None:
        found = [s for s in found if s.name != "drums"]
        if drums.present:
            found.append(Sounding("drums", drums.confidence, drums.passages))
    return sorted(found, key=lambda s: -s.confidence)


def _instrument_names(sounding: Sequence[Sounding]) -> str:
    return listed([f"{hedge(s.confidence)}{s.name}" for s in sounding])


def _named_instruments(
    ask: Ask, heard: Heard, asserted: Sequence[Sounding], stretches: tuple[Stretch, ...]
) -> str:
    mine = [s for s in asserted if s.name in ask.names]
    if not mine:
        return _absent(ask, heard.drums)
    if ask.why:
        shown = listed([f"{s.name} ({s.confidence:.2f} of 1)" for s in mine])
        return f"Heard with this confidence: {shown}."
    texts = [_one_instrument(ask.aspect, s, stretches, heard) for s in mine]
    if ask.aspect == "manner":
        texts.insert(0, "How an instrument is played, and how it compares, is not told here.")
    return " ".join(texts)


def _absent(ask: Ask, drums: Presence | None) -> str:
    names = ask.names
    if names == ("drums",) and drums is not None and not drums.present:
        answer = "No" if drums.confidence >= PLAIN else "Probably not"
        none = f"there are {hedge(drums.confidence)}no drums."
        return f"{answer}: {none}" if ask.aspect == "named" else capitalised(none)
    what = names[0] if len(names) == 1 else "instrument of that kind"
    return f"No {what} was heard with confidence; that does not mean that there is none."


def _one_instrument(
    aspect: str, sounding: Sounding, stretches: tuple[Stretch, ...], heard: Heard
) -> str:
    name = sounding.name
    sure = hedge(sounding.confidence)
    passages = sounding.passages
    if stretches:
        return " ".join(_one_instrument_in(stretch, sounding, heard) for stretch in stretches)
    if aspect == "named":
        text = f"{'Probably' if sure else 'Yes'}: {name} {_is(name)} there"
        return f"{text}, {_times(passages)}." if passages else f"{text}."
    if not passages:
        return f"{capitalised(name)} {_is(name)} {sure}there; when was not told."
    first, last = passages[0].start_seconds, passages[-1].end_seconds
    subject = f"{capitalised(name)} {_is(name)} {sure}heard"
    if aspect == "opens":
        opens = first <= _EDGE_SECONDS
        answer = ("Probably" if opens else "Probably not") if sure else "Yes" if opens else "No"
        return f"{answer}: {name} {_is(name)} heard from {clock(first)} on."
    if aspect == "start":
        return f"{subject} from {clock(first)} on."
    if aspect == "stop":
        return f"{subject} until {clock(last)}."
    return f"{subject} {_times(passages)}."


def _one_instrument_in(stretch: Stretch, sounding: Sounding, heard: Heard) -> str:
    """Of a whole section as that was heard by itself, else by when the instrument was heard."""
    name = sounding.name
    where = f"at {stretch.name}" if stretch.is_moment else f"in {stretch.name}"
    found = _sounding_within(stretch, heard)
    if found is None:
        sure = hedge(sounding.confidence)
        return f"{capitalised(name)} {_is(name)} {sure}heard; when was not told."
    here = next((s for s in found if s.name == name), None)
    if here is None:
        return f"No {name} {'were' if _plural(name) else 'was'} heard {where}."
    answer = "Yes" if here.confidence >= PLAIN else "Probably"
    return f"{answer}: {name} {_is(name)} heard {where}."


def throughout(ask: Ask, facts: Facts, heard: Heard | None) -> str:
    """Whether an instrument plays from beginning to end."""
    if heard is None or no_music(heard):
        return instruments(ask, heard)
    mine = [s for s in all_sounding(heard) if s.name in ask.names and s.confidence >= ASSERTED]
    if not mine or not all(s.passages for s in mine):
        return instruments(ask, heard)
    texts = []
    for sounding in mine:
        first, last = sounding.passages[0], sounding.passages[-1]
        whole = (
            len(sounding.passages) == 1
            and first.start_seconds <= _EDGE_SECONDS
            and last.end_seconds >= facts.duration_seconds - _EDGE_SECONDS
        )
        answer = "Yes" if whole else "No"
        if sounding.confidence < PLAIN:
            answer = "Probably" if whole else "Probably not"
        name = sounding.name
        texts.append(f"{answer}: {name} {_is(name)} heard {_times(sounding.passages)}.")
    return " ".join(texts)


def _first(asserted: Sequence[Sounding]) -> str:
    timed = [s for s in asserted if s.passages]
    if not timed:
        return f"Which one begins was not told. Heard: {_instrument_names(asserted)}."
    start = min(s.passages[0].start_seconds for s in timed)
    opening = [s for s in timed if s.passages[0].start_seconds <= start + _EDGE_SECONDS]
    return f"Heard at its beginning: {_instrument_names(opening)}, from {clock(start)} on."


def _instruments_in(stretch: Stretch, heard: Heard, asserted: Sequence[Sounding]) -> str:
    where = f"At {stretch.name}" if stretch.is_moment else f"In {stretch.name}"
    names = instruments_within(stretch, heard)
    if names is None:
        return f"{where} alone it was not told. Heard in all: {_instrument_names(asserted)}."
    return f"{where}: {names}." if names else f"{where} no instrument was heard with confidence."


def instruments_within(stretch: Stretch, heard: Heard) -> str | None:
    """Names of what sounds in a stretch; None where the listener does not tell."""
    found = _sounding_within(stretch, heard)
    return None if found is None else _instrument_names(found)


def _sounding_within(stretch: Stretch, heard: Heard) -> list[Sounding] | None:
    """What is asserted of a stretch; None where the listener does not tell."""
    section = None if stretch.is_moment else section_of(stretch, heard)
    if section is not None:
        tags = [Sounding(t.name, t.confidence) for t in section.instruments if t.name != "drums"]
        if section.drums is not None and section.drums.present:
            tags.append(Sounding("drums", section.drums.confidence))
        return [s for s in tags if s.confidence >= ASSERTED]
    asserted = [s for s in all_sounding(heard) if s.confidence >= ASSERTED]
    if not any(s.passages for s in asserted):
        return None
    return [s for s in asserted if any(_overlaps(p, stretch) for p in s.passages)]


def _overlaps(passage: Passage, stretch: Stretch) -> bool:
    return (
        passage.start_seconds < stretch.end_seconds and passage.end_seconds > stretch.start_seconds
    )


def _times(passages: Sequence[Passage]) -> str:
    shown = [
        f"from {clock(p.start_seconds)} to {clock(p.end_seconds)}"
        for p in passages[:_MOST_PASSAGES]
    ]
    more = len(passages) - len(shown)
    return listed([*shown, f"{more} more passages"] if more else shown)


def _plural(name: str) -> bool:
    return name in ("drums", "strings", "mallets")


def _is(name: str) -> str:
    return "are" if _plural(name) else "is"
