"""Writing: wordings picked and filled, sentences fitted into a limit. Knows no kind of text.

Which of several wordings is taken depends on all that a text rests on, so that different recordings
read differently and the same one always reads the same.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from string import Formatter

from antiphon.description import Heard
from antiphon.facts import Facts
from antiphon.listen import wording
from antiphon.listen.phrases import UNNAMED, Phrases, listed

_MOST_STORY_PARTS = 5
# Whitespace and hyphens separate words, so that no way of counting finds more than the limit.
_WORD = re.compile(r"[^\s-]+")


def count_words(text: str) -> int:
    """Words of a text; the parts of a compound with hyphens count one by one."""
    return len(_WORD.findall(text))


@dataclass(frozen=True)
class Limit:
    """How long a text may be."""

    max_words: int | None

    def allows(self, text: str) -> bool:
        return self.max_words is None or count_words(text) <= self.max_words


@dataclass(frozen=True)
class Sentence:
    """A finished sentence; of two, the one with less weight is left out first."""

    text: str
    weight: int


class Choice:
    """Picks among wordings by a hash of the facts, of what was heard, and of a seed."""

    def __init__(self, facts: Facts, heard: Heard | None = None, seed: int = 0) -> None:
        # Not the path: a copy of the file reads the same.
        rests_on = repr(facts.with_path(None))
        if heard is not None or seed:
            rests_on += f"\0{heard!r}\0{seed}"
        self._seed = hashlib.sha256(rests_on.encode()).digest()

    def shuffled(self, name: str, options: Sequence[str]) -> list[str]:
        def order(option: str) -> bytes:
            return hashlib.sha256(self._seed + f"{name}\0{option}".encode()).digest()

        return sorted(options, key=order)


class Writer:
    """The phrases of some facts, and the choice of words for them."""

    def __init__(self, found: Phrases, choice: Choice) -> None:
        self.found = found
        self._choice = choice
        self._add_character()
        self._add_place()
        self._add_story()

    def shuffled(self, name: str, options: Sequence[str]) -> list[str]:
        return self._choice.shuffled(name, options)

    def pick(self, name: str, options: Sequence[str]) -> str:
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
        slots["a_noun"] = with_article(adjectives, slots["noun"])
        if "tone" in slots:
            adjectives.append(slots["tone"])
        slots["a_character"] = with_article(adjectives, slots["noun"])
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


def paragraph(sentences: Sequence[Sentence], limit: Limit) -> str | None:
    """The sentences of most weight that fit into the limit, in their order; None if none does."""
    kept: list[Sentence] = []
    for sentence in sorted(sentences, key=lambda sentence: -sentence.weight):
        if limit.allows(_joined([*kept, sentence])):
            kept.append(sentence)
    return _joined([sentence for sentence in sentences if sentence in kept]) or None


def _joined(sentences: Sequence[Sentence]) -> str:
    return " ".join(sentence.text for sentence in sentences)


def _slots_of(template: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(template) if name is not None}


def with_article(adjectives: Sequence[str], noun: str) -> str:
    """`an energetic, bright track`."""
    words = f"{', '.join(adjectives)} {noun}".strip()
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def finished(text: str) -> str:
    """A whole sentence; a phrase that ends in a comma may meet another mark."""
    return re.sub(r",(?=[,.;:])", "", f"{capitalised(text)}.")


def capitalised(text: str) -> str:
    return text[0].upper() + text[1:]
