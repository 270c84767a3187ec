"""The kinds of texts, from facts alone.

Says nothing that is not in the facts, so genre, mood and instruments are named as not heard.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from antiphon.listen import wording
from antiphon.listen.phrases import listed
from antiphon.listen.writer import Limit, Sentence, Writer, capitalised, finished, paragraph


def _full(writer: Writer, limit: Limit) -> Iterator[str]:
    """A paragraph; under a limit, the sentences of most weight that fit into it."""
    lead = writer.say("lead", wording.LEAD)
    first = [] if lead is None else [Sentence(finished(lead), 100)]
    text = paragraph([*first, *measured_sentences(writer)], limit)
    if text is not None:
        yield text


def measured_sentences(
    writer: Writer, form: wording.Tiers = wording.FORM, sections: Sequence[Sentence] = ()
) -> list[Sentence]:
    """All that can be said after the lead, in reading order; the weights say what would be missed
    most. `form` are the ways to tell the form, `sections` what follows it."""
    found = writer.found
    written: list[Sentence] = []

    def add(weight: int, text: str | None) -> None:
        if text is not None:
            written.append(Sentence(finished(text), weight))

    add(80, writer.say("damage", wording.DAMAGE))
    if found.damaged and not found.has("decoded"):
        add(80, writer.pick("problems", wording.FILE_PROBLEMS))
    add(40, writer.say("other tempo", wording.OTHER_TEMPO))
    add(70, writer.say("harmony", wording.HARMONY))
    add(65, writer.say("form", form))
    written += sections
    add(20, writer.say("rough", wording.ROUGH_SECTIONS))
    if found.course is not None:
        add(45, writer.pick("course", wording.COURSE[found.course]))
    if found.course != "steady":
        add(42, writer.say("loudest", wording.LOUDEST))
    if found.fades_out:
        add(38, writer.pick("fade", wording.FADE))
    add(55, writer.say("timbre", wording.TIMBRE))
    add(50, writer.say("loudness", wording.LOUDNESS))
    add(60, writer.say("clipped", wording.CLIPPED))
    if not found.silent:
        add(60, writer.say("silence", wording.SILENCE))
    add(35, writer.say("tuning", wording.TUNING))
    add(90, _not_measured(writer))
    if found.unsure:
        add(58, writer.say("unsure", wording.UNSURE, unsure=listed(found.unsure)))
    return written


def _not_measured(writer: Writer) -> str | None:
    """One sentence for each reason, all together: the later ones lean on the first."""
    sentences = [
        writer.say("not measured", wording.NOR_MEASURED if at else wording.NOT_MEASURED, **gaps)
        for at, gaps in enumerate(writer.gaps_by_reason())
    ]
    return ". ".join(capitalised(text) for text in sentences if text) or None


def _technical(writer: Writer, limit: Limit) -> Iterator[str]:
    """A head of tempo, key and metre, and as many notes as fit."""
    heads = list(writer.ways("head", wording.HEAD_SURE)) if writer.found.key_is_sure else []
    heads += writer.ways("head", wording.HEAD)
    yield from with_notes(writer, limit, heads)


def with_notes(writer: Writer, limit: Limit, heads: Sequence[str]) -> Iterator[str]:
    """The first head with as many measured notes as fit, then each head alone."""
    notes = [
        writer.ways("gap", wording.NOT_MEASURED_NOTE, **gaps)
        for gaps in writer.gaps_by_reason("tempo", "key")
    ]
    notes += [
        writer.ways("unsure", wording.UNSURE_NOTE, unsure=name)
        for name in writer.found.unsure
        if name in ("tempo", "key")
    ]
    notes += [writer.ways(f"note {at}", tiers) for at, tiers in enumerate(wording.NOTES)]
    kept = list(heads[:1])
    for ways in notes:
        fitting = (note for note in ways if limit.allows("; ".join([*kept, note])))
        kept += list(fitting)[:1]
    if kept:
        yield finished("; ".join(kept))
    yield from map(finished, heads)


def _genre_mood(writer: Writer, limit: Limit) -> Iterator[str]:
    why = writer.why("key", "timbre")
    yield from map(finished, writer.ways("genre", wording.GENRE_NOT_HEARD, **why))


def _instrumentation(writer: Writer, limit: Limit) -> Iterator[str]:
    why = writer.why("timbre")
    yield from map(finished, writer.ways("inst", wording.INSTRUMENTS_NOT_HEARD, **why))


def _genre_mood_inst(writer: Writer, limit: Limit) -> Iterator[str]:
    why = writer.why("key", "timbre")
    yield from map(finished, writer.ways("neither", wording.NEITHER_HEARD, **why))


def _structure(writer: Writer, limit: Limit) -> Iterator[str]:
    yield from map(finished, writer.ways("structure", wording.STRUCTURE))
    for gap in writer.gaps_by_reason("sections"):
        yield from map(finished, writer.ways("structure", wording.STRUCTURE_NOT_MEASURED, **gap))
    if "sections" in writer.found.unsure:
        ways = writer.ways("structure", wording.STRUCTURE_UNSURE, unsure="sections")
        yield from map(finished, ways)


def _brief(writer: Writer, limit: Limit) -> Iterator[str]:
    tail = writer.say("tail", wording.BRIEF_TAILS)
    more = {} if tail is None else {"tail": tail}
    yield from map(finished, writer.ways("brief", wording.BRIEF, **more))


def _very_brief(writer: Writer, limit: Limit) -> Iterator[str]:
    yield from map(finished, writer.ways("very brief", wording.VERY_BRIEF))


FACTS_KINDS: Mapping[str, Callable[[Writer, Limit], Iterator[str]]] = {
    "full": _full,
    "technical": _technical,
    "genre_mood": _genre_mood,
    "instrumentation": _instrumentation,
    "structure": _structure,
    "brief": _brief,
    "genre_mood_inst": _genre_mood_inst,
    "very_brief": _very_brief,
}
