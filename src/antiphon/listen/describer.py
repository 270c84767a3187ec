"""Texts from facts alone: phrases into sentences, sentences into texts within their word limits.

Says nothing that is not in the facts, so genre, mood and instruments are named as not heard. The
same facts always give the same text; which of several wordings is taken depends on all of them, so
that different recordings read differently.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from string import Formatter

from antiphon.errors import ConfigError
from antiphon.facts import Facts
from antiphon.listen import wording
from antiphon.listen.phrases import UNNAMED, Phrases, listed, phrases_for

DESCRIBER_VERSION = 2  # raise it when any text changes: finished library runs are then done again
_MOST_STORY_PARTS = 5
# Whitespace and hyphens separate words, so that no way of counting finds more than the limit.
_WORD = re.compile(r"[^\s-]+")


def describe_facts(facts: Facts, kinds: Mapping[str, int | None]) -> dict[str, str]:
    """Write one text for each kind, of at most so many words (None: no limit).

    Raises ConfigError for a kind that needs a model which follows prompts.
    """
    check_kinds(kinds)
    writer = _Writer(facts)
    texts = {}
    for kind, max_words in kinds.items():
        limit = _Limit(max_words)
        # A limit can be tighter than any text of the kind; the last very brief one is one word.
        candidates = chain(_KINDS[kind](writer, limit), _very_brief(writer, limit))
        texts[kind] = next(text for text in candidates if limit.allows(text))
    return texts


def check_kinds(kinds: Iterable[str]) -> None:
    """Raise ConfigError for a kind that only a model which follows prompts could write."""
    for kind in kinds:
        if kind not in _KINDS:
            raise ConfigError(
                f"kind {kind!r} needs a model that follows prompts; "
                f"the built-in describer writes {', '.join(_KINDS)}"
            )


def count_words(text: str) -> int:
    """Words of a text; the parts of a compound with hyphens count one by one."""
    return len(_WORD.findall(text))


@dataclass(frozen=True)
class _Limit:
    """How long a text may be."""

    max_words: int | None

    def allows(self, text: str) -> bool:
        return self.max_words is None or count_words(text) <= self.max_words


@dataclass(frozen=True)
class _Sentence:
    """A finished sentence; of two, the one with less weight is left out first."""

    text: str
    weight: int


class _Choice:
    """Picks among wordings by a hash of the facts."""

    def __init__(self, facts: Facts) -> None:
        # Not the path: a copy of the file reads the same.
        self._seed = hashlib.sha256(repr(facts.with_path(None)).encode()).digest()

    def shuffled(self, name: str, options: tuple[str, ...]) -> list[str]:
        def order(option: str) -> bytes:
            return hashlib.sha256(self._seed + f"{name}\0{option}".encode()).digest()

        return sorted(options, key=order)


class _Writer:
    """The phrases of some facts, and the choice of words for them."""

    def __init__(self, facts: Facts) -> None:
        self.found: Phrases = phrases_for(facts)
        self._choice = _Choice(facts)
        self._add_character()
        self._add_place()
        self._add_story()

    def pick(self, name: str, options: tuple[str, ...]) -> str:
        return self._choice.shuffled(name, options)[0]

    def ways(self, name: str, tiers: wording.Tiers, **more: str) -> Iterator[str]:
        """Every sentence of `tiers` that can be filled, the ones that say most first."""
        slots = {**self.found.slots, **more}
        for tier in tiers:
            for template in self._choice.shuffled(name, tier):
                if _slots_of(template) <= slots.keys():
                    yield template.format(**slots)

    def say(self, name: str, tiers: wording.Tiers, **more: str) -> str | None:
        return next(self.ways(name, tiers, **more), None)

    def gaps_by_reason(self, *only: str) -> list[dict[str, str]]:
        """The slots `names` and, where known, `reason` of what was not measured."""
        names: dict[str | None, list[str]] = {}
        for gap in self.found.gaps:
            if not only or gap.name in only:
                names.setdefault(gap.reason, []).append(gap.name)
        return [
            {"names": listed(group)} | ({} if reason is None else {"reason": reason})
            for reason, group in names.items()
        ]

    def why(self, *names: str) -> dict[str, str]:
        """The slot `reason`, if all of `names` that were not measured share one."""
        reasons = {gaps.get("reason") for gaps in self.gaps_by_reason(*names)}
        return {"reason": reason} if len(reasons) == 1 and (reason := reasons.pop()) else {}

    def _add_character(self) -> None:
        """Adjectives, and the noun with its article."""
        found, slots = self.found, self.found.slots
        is_music = found.has("tempo") or found.has("key")
        slots["noun"] = self.pick("noun", wording.MUSIC_NOUNS) if is_music else wording.ANY_NOUN
        adjectives = []
        if found.silent:
            slots["silent"] = "silent"
            adjectives.append("silent")
        elif found.energy is not None:
            options = wording.ENERGY_ADJECTIVES[found.energy]
            slots["energy_adjective"] = self.pick("energy adjective", options)
            adjectives.append(slots["energy_adjective"])
            predicates = wording.ENERGY_PREDICATES[found.energy]
            slots["energy_predicate"] = self.pick("energy predicate", predicates)
        slots["a_noun"] = _with_article(adjectives, slots["noun"])
        if "tone" in slots:
            adjectives.append(slots["tone"])
        slots["a_character"] = _with_article(adjectives, slots["noun"])
        self._add_traits("traits", ("energy_predicate", "mode", "tone", "attack"))
        self._add_traits("sound_traits", ("tone", "attack"))
        if "traits" not in slots:
            missing = "energy and tone" if "key" in found.unsure else "energy, mode and tone"
            slots["no_traits"] = f"{missing} could not be measured"
        if "sound_traits" not in slots:
            slots["no_sound"] = "timbre could not be measured"

    def _add_traits(self, name: str, parts: tuple[str, ...]) -> None:
        slots = self.found.slots
        present = [slots[part] for part in parts if part in slots]
        if present:
            slots[name] = listed(present)

    def _add_place(self) -> None:
        """Where it is in pitch and time, and what of the two is not known."""
        found = self.found
        place = self.say("place", wording.PLACE_SURE) if found.key_is_sure else None
        place = place or self.say("place", wording.PLACE)
        if place is not None:
            found.slots["place"] = place
        missing = [gap.name for gap in found.gaps if gap.name in ("tempo", "key")]
        if missing:
            found.slots["no_place"] = listed(missing)
        if found.course is not None:
            found.slots["course_note"] = wording.COURSE_NOTES[found.course]

    def _add_story(self) -> None:
        parts = self.found.parts
        unnamed = any(part.label == UNNAMED for part in parts)
        if unnamed or not 2 <= len(parts) <= _MOST_STORY_PARTS:
            return
        clauses = []
        for at, part in enumerate(parts):
            options: tuple[str, ...]
            if at == 0:
                options = wording.STORY_OPENINGS
            elif at == len(parts) - 1:
                options = wording.STORY_ENDINGS
            elif part.repeats:
                options = wording.STORY_REPEAT
            else:
                options = wording.STORY_AGAIN if part.again else wording.STORY_NEW
            name = f"part {part.label}" if len(part.label) == 1 else f"the {part.label}"
            template = self._choice.shuffled("story", options)[at % len(options)]
            clauses.append(template.format(part=name, time=part.time))
        self.found.slots["story"] = listed(clauses)


def _full(writer: _Writer, limit: _Limit) -> Iterator[str]:
    """A paragraph; under a limit, the sentences of most weight that fit into it."""
    sentences = _sentences(writer)
    kept: list[_Sentence] = []
    for sentence in sorted(sentences, key=lambda sentence: -sentence.weight):
        if limit.allows(_paragraph([*kept, sentence])):
            kept.append(sentence)
    if kept:
        yield _paragraph([sentence for sentence in sentences if sentence in kept])


def _paragraph(sentences: Sequence[_Sentence]) -> str:
    return " ".join(sentence.text for sentence in sentences)


def _sentences(writer: _Writer) -> list[_Sentence]:
    """All that can be said, in reading order; the weights say what would be missed most."""
    found = writer.found
    written: list[_Sentence] = []

    def add(weight: int, text: str | None) -> None:
        if text is not None:
            written.append(_Sentence(_sentence(text), weight))

    add(100, writer.say("lead", wording.LEAD))
    add(80, writer.say("damage", wording.DAMAGE))
    if found.damaged and not found.has("decoded"):
        add(80, writer.pick("problems", wording.FILE_PROBLEMS))
    add(40, writer.say("other tempo", wording.OTHER_TEMPO))
    add(70, writer.say("harmony", wording.HARMONY))
    add(65, writer.say("form", wording.FORM))
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


def _not_measured(writer: _Writer) -> str | None:
    """One sentence for each reason, all together: the later ones lean on the first."""
    sentences = [
        writer.say("not measured", wording.NOR_MEASURED if at else wording.NOT_MEASURED, **gaps)
        for at, gaps in enumerate(writer.gaps_by_reason())
    ]
    return ". ".join(_capitalised(text) for text in sentences if text) or None


def _technical(writer: _Writer, limit: _Limit) -> Iterator[str]:
    """A head of tempo, key and metre, and as many notes as fit."""
    heads = list(writer.ways("head", wording.HEAD_SURE)) if writer.found.key_is_sure else []
    heads += writer.ways("head", wording.HEAD)
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
    kept = heads[:1]
    for ways in notes:
        fitting = (note for note in ways if limit.allows("; ".join([*kept, note])))
        kept += list(fitting)[:1]
    if kept:
        yield _sentence("; ".join(kept))
    yield from map(_sentence, heads)


def _genre_mood(writer: _Writer, limit: _Limit) -> Iterator[str]:
    why = writer.why("key", "timbre")
    yield from map(_sentence, writer.ways("genre", wording.GENRE_NOT_HEARD, **why))


def _instrumentation(writer: _Writer, limit: _Limit) -> Iterator[str]:
    why = writer.why("timbre")
    yield from map(_sentence, writer.ways("inst", wording.INSTRUMENTS_NOT_HEARD, **why))


def _genre_mood_inst(writer: _Writer, limit: _Limit) -> Iterator[str]:
    why = writer.why("key", "timbre")
    yield from map(_sentence, writer.ways("neither", wording.NEITHER_HEARD, **why))


def _structure(writer: _Writer, limit: _Limit) -> Iterator[str]:
    yield from map(_sentence, writer.ways("structure", wording.STRUCTURE))
    for gap in writer.gaps_by_reason("sections"):
        yield from map(_sentence, writer.ways("structure", wording.STRUCTURE_NOT_MEASURED, **gap))
    if "sections" in writer.found.unsure:
        ways = writer.ways("structure", wording.STRUCTURE_UNSURE, unsure="sections")
        yield from map(_sentence, ways)


def _brief(writer: _Writer, limit: _Limit) -> Iterator[str]:
    tail = writer.say("tail", wording.BRIEF_TAILS)
    more = {} if tail is None else {"tail": tail}
    yield from map(_sentence, writer.ways("brief", wording.BRIEF, **more))


def _very_brief(writer: _Writer, limit: _Limit) -> Iterator[str]:
    yield from map(_sentence, writer.ways("very brief", wording.VERY_BRIEF))


_KINDS: Mapping[str, Callable[[_Writer, _Limit], Iterator[str]]] = {
    "full": _full,
    "technical": _technical,
    "genre_mood": _genre_mood,
    "instrumentation": _instrumentation,
    "structure": _structure,
    "brief": _brief,
    "genre_mood_inst": _genre_mood_inst,
    "very_brief": _very_brief,
}


def _slots_of(template: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(template) if name is not None}


def _with_article(adjectives: Sequence[str], noun: str) -> str:
    """`an energetic, bright track`."""
    words = f"{', '.join(adjectives)} {noun}".strip()
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def _sentence(text: str) -> str:
    return f"{_capitalised(text)}."


def _capitalised(text: str) -> str:
    return text[0].upper() + text[1:]
