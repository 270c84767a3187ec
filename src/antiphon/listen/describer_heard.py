"""The kinds of texts, from facts and what a trained listener hears.

Numbers come from the facts, times also from what was heard when. Of what does not sound like music
only its sound is described.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

from antiphon.listen import wording, wording_heard
from antiphon.listen.describer_facts import FACTS_KINDS, measured_sentences, with_notes
from antiphon.listen.phrases import clock, listed
from antiphon.listen.writer import Limit, Sentence, count_words, finished, paragraph
from antiphon.listen.writer_heard import MOST_PERHAPS, HeardWriter, is_plural, together

MOST_LEAD_WORDS = 25  # text encoders such as CLAP's read about 40 tokens
_MOST_CHANGES = 5
_MOST_ENTRIES = 2
# The instruments that the lead names, by the slot that names them.
_TOLD = {"with_band": 3, "sure_band": 3, "with_few": 2}

Kinds = Mapping[str, Callable[[HeardWriter, Limit], Iterator[str]]]


def kinds_for(writer: HeardWriter) -> Kinds:
    """How each kind is written, by whether it is music."""
    return _MUSIC_KINDS if writer.heard.music != "no" else _NOT_MUSIC_KINDS


def _full(writer: HeardWriter, limit: Limit) -> Iterator[str]:
    """A paragraph that begins with a short lead; of its sentences those of most weight."""
    found, slots = writer.heard, writer.found.slots
    written: list[Sentence] = []

    def add(weight: int, text: str | None) -> None:
        if text is not None:
            written.append(Sentence(finished(text), weight))

    if found.music == "doubted":
        add(99, writer.pick("no music", wording_heard.MAY_NOT_BE_MUSIC))
    leads = (
        lead
        for lead in writer.ways("heard lead", wording_heard.LEAD)
        if count_words(lead) <= MOST_LEAD_WORDS
    )
    lead = next(leads, None)
    add(100, lead or writer.say("lead", wording.LEAD))
    _add_rest_of_instruments(writer, lead or "", add)
    if not found.changes:
        add(64, _entries(writer))
    if found.no_drums is not None:
        options = wording_heard.NO_DRUMS if found.no_drums.plain else wording_heard.NO_DRUMS_HEDGED
        add(66, writer.say("no drums said", (options,)))
    if len(found.genres) > 1:
        called = wording_heard.ALSO_CALLED[found.genres[1].plain]
        add(57, writer.say("also called", (called,)))
    add(72, writer.say("mood", wording_heard.MOOD))
    add(68, writer.say("energy", wording_heard.ENERGY))
    if found.dance is not None:
        dance = wording_heard.DANCE[found.dance.name, found.dance.plain]
        add(52, writer.say("dance said", (dance,)))
    if lead is not None:
        add(85, writer.say("length", wording_heard.LENGTH))
        places = ("tempo_note", "key", "in_key")
        told = (slots[name].lower() in lead.lower() for name in places if name in slots)
        if not any(told):
            add(84, writer.say("rest of place", (("it is {place}",),)))
    form = wording_heard.FORM_BY_CHANGES if found.changes else wording.FORM
    written += measured_sentences(writer, form, _sections(writer))
    text = paragraph(written, limit)
    if text is not None:
        yield text


def _add_rest_of_instruments(
    writer: HeardWriter, lead: str, add: Callable[[int, str | None], None]
) -> None:
    """The instruments that the lead leaves out, in a sentence each for sure and for likely ones."""
    slots, instruments = writer.found.slots, writer.heard.instruments
    told = next((most for slot, most in _TOLD.items() if slots.get(slot, "~") in lead), 0)
    plain = bool(instruments) and instruments[0].plain
    also, perhaps = writer.rest_of_instruments(
        told if plain else 0, 0 if plain else min(told, MOST_PERHAPS)
    )
    for at, (name, names, tiers) in enumerate(
        (
            ("also", also, wording_heard.ALSO_PLAYING),
            ("perhaps", perhaps, wording_heard.PERHAPS_PLAYING),
        )
    ):
        if names:
            several = is_plural(names)
            words = {
                name: writer.played_by(names),
                f"{name}_is": "are" if several else "is",
                f"{name}_play": "play" if several else "plays",
            }
            add(75 - at, writer.say(name, tiers, **words))


def _entries(writer: HeardWriter) -> str | None:
    """`The strings come in at 0:16 and the drums at 0:32`."""
    clauses: list[str] = []
    for entry in writer.heard.entries[:_MOST_ENTRIES]:
        verb = "" if clauses else "come in " if is_plural([entry.name]) else "comes in "
        clauses.append(f"the {writer.instrument(entry.name)} {verb}at {clock(entry.seconds)}")
    return listed(clauses) or None


def _sections(writer: HeardWriter) -> list[Sentence]:
    """How it opens, and a sentence for each section in which something is new."""
    written = []
    if writer.heard.opening:
        names = writer.played(writer.heard.opening[:4])
        opening = writer.pick("opening", wording_heard.OPENINGS).format(names=names)
        written.append(Sentence(finished(opening), 63))
    for change in writer.changes(_MOST_CHANGES):
        time, part = clock(change.start_seconds), writer.part_of(change)
        tiers: wording.Tiers = (wording_heard.SECTION,)
        more = {"time": time, "clauses": together(writer.clauses(change))}
        if part is not None:
            tiers, more = (wording_heard.SECTION_WITH_PART,), {**more, "part": part}
        text = writer.say(f"section {time}", tiers, **more)
        if text is not None:
            written.append(Sentence(finished(text), 62))
    return written


def _prompt(kind: str, writer: HeardWriter, limit: Limit) -> Iterator[str]:
    """As one would ask for such music: a kind of music, and remarks as far as they fit."""
    heads = list(writer.ways(kind, wording_heard.PROMPT))
    if not heads:
        yield from map(finished, writer.ways("genre unsure", wording_heard.GENRE_UNSURE))
        return
    place = writer.say(f"{kind} place", wording_heard.PROMPT_PLACE)
    if writer.found.key_is_sure:
        place = writer.say(f"{kind} place", wording_heard.PROMPT_PLACE_SURE) or place
    notes = [
        writer.say(f"{kind} {at}", tiers) for at, tiers in enumerate(wording_heard.PROMPT_NOTES)
    ]
    order = writer.shuffled(f"{kind} order", [note for note in (place, *notes[1:]) if note])
    doubt = None
    if writer.heard.music == "doubted":
        doubt = writer.pick("no music note", wording_heard.PERHAPS_NO_MUSIC_NOTES)
    for head in heads:
        kept = [head]
        for note in (doubt, notes[0], *order):
            if note is not None and limit.allows(", ".join([*kept, note])):
                kept.append(note)
        text = finished(", ".join(kept))
        if limit.allows(text):
            yield text


def _instrumentation(writer: HeardWriter, limit: Limit) -> Iterator[str]:
    """As many instruments as fit, the surest first, then remarks."""
    heads: list[str] = []
    for most, perhaps in ((5, 2), (5, 1), (4, 1), (4, 0), (3, 0), (2, 0), (0, 2), (0, 1)):
        band = writer.band(most, perhaps)
        if band is not None:
            more = {} if band.endswith(",") else {"whole": band}
            more |= {"several": band} if " and " in band else {}
            heads += writer.ways("instruments", wording_heard.INSTRUMENTS, band=band, **more)
    if not heads:
        ways = writer.ways("instruments unsure", wording_heard.INSTRUMENTS_UNSURE)
        yield from map(finished, ways)
    for head in (head for head in heads if limit.allows(head)):
        kept = [head]
        for at, tiers in enumerate(wording_heard.INSTRUMENT_NOTES):
            for note in writer.ways(f"instrument note {at}", tiers):
                if limit.allows("; ".join([*kept, note])):
                    kept.append(note)
                    break
        yield finished("; ".join(kept))


def _structure(writer: HeardWriter, limit: Limit) -> Iterator[str]:
    """The form in short and what is new at which time; without that, the measured form."""
    form = list(writer.ways("form note", wording_heard.FORM_NOTES))[:1]
    after_form, alone = (_changes_that_fit(writer, limit, first) for first in (form, []))
    # The form is left out where more of what is new fits without it.
    kept = [*form, *after_form] if len(after_form) >= len(alone) else alone
    if after_form or alone:
        yield finished("; ".join(kept))
    yield from FACTS_KINDS["structure"](writer, limit)


def _changes_that_fit(writer: HeardWriter, limit: Limit, first: list[str]) -> list[str]:
    """What is new in each section, in one or two clauses, as far as it fits after `first`."""
    kept = list(first)
    for change in writer.changes(_MOST_CHANGES):
        clauses, time = writer.clauses(change, over=False), clock(change.start_seconds)
        notes = (f"{together(clauses[:most])} at {time}" for most in (2, 1))
        fitting = (note for note in notes if limit.allows("; ".join([*kept, note])))
        kept += list(fitting)[:1]
    return kept[len(first) :]


def _brief(writer: HeardWriter, limit: Limit) -> Iterator[str]:
    doubt = ""
    if writer.heard.music == "doubted":
        doubt = ", though it may not be music"
    tail = writer.say("brief tail", wording_heard.BRIEF_TAILS)
    more = {} if tail is None else {"tail": tail}
    for text in writer.ways("brief", (*wording_heard.BRIEF, *wording_heard.LEAD), **more):
        yield finished(text + doubt)
    for text in writer.ways("brief", wording.BRIEF, a_character=writer.found.slots["a_noun"]):
        yield finished(text + doubt)


def _very_brief(writer: HeardWriter, limit: Limit) -> Iterator[str]:
    yield from map(finished, writer.ways("very brief", wording_heard.VERY_BRIEF))


def _sound_alone(writer: HeardWriter, limit: Limit) -> Iterator[str]:
    lead = writer.say("not music", wording_heard.NOT_MUSIC_LEAD)
    first = [] if lead is None else [Sentence(finished(lead), 100)]
    text = paragraph([*first, *measured_sentences(writer)], limit)
    if text is not None:
        yield text


def _technical_sound(writer: HeardWriter, limit: Limit) -> Iterator[str]:
    heads = list(writer.ways("not music", wording_heard.NOT_MUSIC["technical"]))
    yield from with_notes(writer, limit, heads)


def _not_music(kind: str, writer: HeardWriter, limit: Limit) -> Iterator[str]:
    yield from map(finished, writer.ways("not music", wording_heard.NOT_MUSIC[kind]))


_MUSIC_KINDS: Kinds = {
    "full": _full,
    "technical": FACTS_KINDS["technical"],
    "genre_mood": partial(_prompt, "genre_mood"),
    "instrumentation": _instrumentation,
    "structure": _structure,
    "brief": _brief,
    "genre_mood_inst": partial(_prompt, "genre_mood_inst"),
    "very_brief": _very_brief,
}
_NOT_MUSIC_KINDS: Kinds = {
    **{kind: partial(_not_music, kind) for kind in wording_heard.NOT_MUSIC},
    "full": _sound_alone,
    "technical": _technical_sound,
}
