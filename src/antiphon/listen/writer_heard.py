"""Slots for what is heard: genre, moods, instruments and sections put together into phrases.

Each phrase carries its own hedge where it needs one, so that no sentence has to know how sure a
thing is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from antiphon.description import Heard
from antiphon.facts import Facts
from antiphon.listen import wording, wording_heard
from antiphon.listen.certainty import Said
from antiphon.listen.changes import DRUMS, Change
from antiphon.listen.phrases import UNNAMED, clock, label_of, listed, phrases_for
from antiphon.listen.phrases_heard import heard_phrases, music_of
from antiphon.listen.writer import Choice, Writer, with_article

_LEVELS = {"low": "low", "moderate": "medium", "high": "high"}
_MOST_MOODS = 2  # before a noun
MOST_PERHAPS = 2  # of those that take a hedge, in the lead
_BASS = "bass"
# Every phrase that may take a hedge of its own, in the order in which they mostly come.
_HEDGED = ("kind", "band", "mood", "energy", "no drums", "dance")


class HeardWriter(Writer):
    """The phrases of some facts and of what was heard, and the choice of words for them."""

    def __init__(self, facts: Facts, heard: Heard, choice: Choice) -> None:
        super().__init__(phrases_for(facts, musical=music_of(heard) != "no"), choice)
        self.heard = heard_phrases(heard, facts)
        self._told: Sequence[Said] = ()  # the moods that `a_heard` names
        self._energy_told = False
        if self.heard.music != "no":
            self._add_kind()
            self._add_instruments()
            self._add_notes()

    def ways(self, name: str, tiers: wording.Tiers, **more: str) -> Iterator[str]:
        yield from super().ways(name, tiers, **{"hedge": self.hedge(name), **more})

    def hedge(self, name: str) -> str:
        """Neighbours in a sentence take different ones."""
        hedges = self.shuffled("hedges", wording_heard.HEDGES)
        if name in _HEDGED:
            return hedges[_HEDGED.index(name) % len(hedges)]
        return self.pick(f"{name} hedge", wording_heard.HEDGES)

    def instrument(self, name: str) -> str:
        return self.pick(name, wording_heard.INSTRUMENT_NAMES.get(name, (name,)))

    def played_by(self, names: Sequence[str]) -> str:
        """`a piano and strings`, as the subject of a sentence."""
        words = {name: self.instrument(name) for name in names}
        return listed(
            [
                word if name in wording_heard.NO_ARTICLE else with_article([], word)
                for name, word in words.items()
            ]
        )

    def moods(self, moods: Sequence[Said]) -> str:
        """`calm`, `calm and probably sad`, `probably calm`."""
        plain = [self._mood(mood) for mood in moods if mood.plain]
        hedged = [self._mood(mood) for mood in moods if not mood.plain]
        if not hedged:
            return listed(plain)
        perhaps = f"{self.hedge('mood')} {listed(hedged)}"
        return f"{', '.join(plain)} and {perhaps}" if plain else perhaps

    def band(self, most: int, most_perhaps: int) -> str | None:
        """The surest instruments and the drums, then those that take a hedge; None if none is left.

        `most` does not count the drums, without which a rhythm section would be torn apart.
        """
        plain, _ = self._apart(plain=True, most=most)
        hedged, _ = self._apart(plain=False, most=most_perhaps)
        sure = self.played(_in_order(plain)) if most else ""
        perhaps = listed([self.instrument(name) for name in _in_order(hedged)])
        if not perhaps:
            return sure or None
        perhaps = f"{self.hedge('band')} {perhaps}"
        if not sure:
            return perhaps
        return f"{sure} and {perhaps}," if len(plain) == 1 else f"{sure}, plus {perhaps},"

    def _apart(self, *, plain: bool, most: int) -> tuple[list[str], list[str]]:
        """The instruments of one certainty that are named first, and the rest."""
        names = [one.name for one in self.heard.instruments if one.plain == plain]
        if not plain:
            return names[:most], names[most:]
        others = [name for name in names if name != DRUMS]
        drums = [DRUMS] if DRUMS in names else []
        return ([*others[:most], *drums], others[most:]) if most else ([], names)

    def played(self, names: Sequence[str]) -> str:
        """`piano, bass and drums`, or `piano over bass and drums`."""
        rhythm = [name for name in (_BASS, DRUMS) if name in names]
        others = [self.instrument(name) for name in names if name not in rhythm]
        if len(rhythm) == 2 and others and self.pick("band over", ("and", "over")) == "over":
            return f"{listed(others)} over {listed(rhythm)}"
        return listed([*others, *rhythm])

    def rest_of_instruments(self, told: int, told_perhaps: int) -> tuple[list[str], list[str]]:
        """What `band` leaves out: those that are sure, those that take a hedge."""
        _, plain = self._apart(plain=True, most=told)
        _, hedged = self._apart(plain=False, most=told_perhaps)
        return _in_order(plain), _in_order(hedged)

    def rest_of_moods(self) -> tuple[Said, ...]:
        """The moods that the slot `a_heard` leaves out."""
        return tuple(mood for mood in self.heard.moods if mood not in self._told)

    def changes(self, most: int) -> list[Change]:
        """The most telling changes, in order of time."""

        def telling(change: Change) -> int:
            return 4 * (change.genre is not None) + len(change.joins) + len(change.leaves)

        late = [change for change in self.heard.changes if round(change.start_seconds) > 0]
        chosen = sorted(late, key=telling, reverse=True)[:most]
        return sorted(chosen, key=lambda change: change.start_seconds)

    def clauses(self, change: Change, *, over: bool = True) -> list[str]:
        """What is new from a section on, one clause for each sort of thing; `over` adds to those
        that join what plays on."""
        name = clock(change.start_seconds)
        plain = _in_order([one.name for one in change.joins if one.plain])
        hedged = _in_order([one.name for one in change.joins if not one.plain])
        found = []
        if plain:
            clause = f"{self.played_by(plain)} {self._verb(name, plain, wording_heard.JOIN)}"
            under = _in_order(change.stays)[-2:]
            if under and over:
                clause += f" over {listed([self.instrument(one) for one in under])}"
            found.append(clause)
        if hedged:
            found.append(
                f"{self.hedge(name)} {self.played_by(hedged)} "
                + self._verb(name, hedged, wording_heard.JOIN)
            )
        if change.leaves:
            leaving = _in_order(change.leaves)
            names = listed([self.instrument(one) for one in leaving])
            found.append(f"the {names} {self._verb(name, leaving, wording_heard.LEAVE)}")
        if change.energy is not None:
            template = self.pick(f"energy {name}", wording_heard.ENERGY_CHANGES[change.energy.name])
            maybe = "" if change.energy.plain else f"{self.hedge(name)} "
            found.append(template.format(maybe=maybe))
        if change.genre is not None:
            template = self.pick(f"genre {name}", wording_heard.GENRE_CHANGES)
            maybe = "" if change.genre.plain else f"{self.hedge(name)} "
            found.append(template.format(maybe=maybe, genre=_genre_name(change.genre.name)))
        return found

    def part_of(self, change: Change) -> str | None:
        """`part B`, `the chorus`; None where the section has no name to be called by."""
        label = UNNAMED if change.part is None else label_of(change.part)
        if label == UNNAMED:
            return None
        return f"part {label}" if len(label) == 1 else f"the {label}"

    def _verb(self, name: str, names: Sequence[str], verbs: tuple[tuple[str, str], ...]) -> str:
        """`joins` of a piano, `join` of strings."""
        one, several = zip(*verbs, strict=True)
        return self.pick(f"{verbs[0][0]} {name}", several if is_plural(names) else one)

    def _mood(self, mood: Said) -> str:
        return self.pick(f"mood {mood.name}", wording_heard.MOOD_WORDS[mood.name])

    def _add_kind(self) -> None:
        """What kind of music: `a_heard` with a noun, `style` as one would ask for it.

        What takes a hedge follows what does not, so that the hedge reaches no further.
        """
        found, slots = self.heard, self.found.slots
        if not (found.genres or found.moods or found.energy or found.instruments):
            return  # nothing was heard surely enough: what was measured is all there is
        genre = next(iter(found.genres), None)
        plain = [mood for mood in found.moods if mood.plain][:_MOST_MOODS]
        hedged = [mood for mood in found.moods if not mood.plain][:1]
        hedge = self.hedge("kind")
        adjectives = [self._mood(mood) for mood in plain]
        energy = self._energy_adjective(plain)
        if energy is not None and len(adjectives) < _MOST_MOODS:
            adjectives.append(energy)
            self._energy_told = True
        self._told = plain or hedged
        perhaps = "" if plain or not hedged else f", {hedge} {self._mood(hedged[0])},"
        if genre is None:
            noun = self.pick("heard noun", wording.MUSIC_NOUNS)
            slots["a_heard"] = with_article(adjectives, noun) + perhaps
            slots["style"] = _before(adjectives, "music") + perhaps
        else:
            nouns = wording_heard.GENRE_NOUNS.get(genre.name, wording_heard.TRACKS)
            noun, alone = self.pick("heard noun", nouns), _genre_name(genre.name)
            adjective = wording_heard.GENRE_ADJECTIVES.get(genre.name, genre.name)
            if genre.plain:
                slots["a_heard"] = with_article(adjectives, f"{adjective} {noun}") + perhaps
                slots["style"] = _before(adjectives, alone) + perhaps
            elif adjectives:
                self._told = plain
                slots["a_heard"] = f"{with_article(adjectives, noun)}, {hedge} {adjective},"
                slots["style"] = f"{_before(adjectives, 'music')}, {hedge} {adjective},"
            else:
                adjectives = [self._mood(mood) for mood in hedged]
                slots["a_heard"] = f"{hedge} {with_article(adjectives, f'{adjective} {noun}')}"
                slots["style"] = f"{hedge} {_before(adjectives, alone)}"
        if adjectives or genre is not None:
            slots["a_kind"] = slots["a_heard"]
        self._add_short_kind(genre, [self._mood(mood) for mood in plain] or adjectives[:1])

    def _add_short_kind(self, genre: Said | None, adjectives: Sequence[str]) -> None:
        """The kind of music in two or three words, and what else it could be called."""
        slots = self.found.slots
        if genre is None:
            if adjectives:
                slots["short_style"] = _before(adjectives[:1], "music")
            return
        alone = _genre_name(genre.name)
        hedge = "" if genre.plain else f"{self.hedge('kind')} "
        slots["genre_only"] = f"{hedge}{alone}"
        slots["short_style"] = f"{hedge}{_before(adjectives[:1] if genre.plain else [], alone)}"
        if len(self.heard.genres) > 1:
            slots["other_genre"] = _genre_name(self.heard.genres[1].name)

    def _energy_adjective(self, moods: Sequence[Said]) -> str | None:
        """As heard if that may be said plainly, else as measured if nothing was heard of it."""
        heard, measured = self.heard.energy, self.found.energy
        if heard is None and measured is not None and not self.found.silent:
            heard = Said(_LEVELS[measured], plain=self.heard.music == "yes")
        if heard is None or not heard.plain:
            return None
        if wording_heard.MOODS_OF_ENERGY[heard.name] & {mood.name for mood in moods}:
            return None
        return self.pick("heard energy", wording_heard.ENERGY_ADJECTIVES[heard.name])

    def _add_instruments(self) -> None:
        """The main instruments; as few as one, then rather none of the rhythm section."""
        slots, heard = self.found.slots, self.heard.instruments
        if not heard:
            return
        plain = heard[0].plain
        hedge = "" if plain else f"{self.hedge('band')} "
        joined = self.pick("with", wording_heard.WITH) if plain else f"{hedge}with"
        for name, most in (("band", 3), ("few", 2)):
            band = self.band(most, 0) if plain else self.band(0, min(most, MOST_PERHAPS))
            if band is not None:
                slots[name] = band
                slots[f"with_{name}"] = f"{joined} {band.removeprefix(hedge)}"
                if plain:
                    slots[f"sure_{name}"] = band
        alike = [one for one in heard if one.plain == plain]
        pitched = [one for one in alike if one.name not in (_BASS, DRUMS)]
        first = self.instrument((pitched or alike)[0].name)
        slots["one"] = f"{hedge}{first}"
        slots["with_one"] = f"{hedge}with {first}"

    def _add_notes(self) -> None:
        """Short remarks, each with its hedge."""
        found, slots = self.heard, self.found.slots
        if rest := self.rest_of_moods():
            slots["mood_rest"] = self.moods(rest)
        if found.energy is not None and not self._energy_told:
            covered = wording_heard.MOODS_OF_ENERGY[found.energy.name]
            if not covered & {mood.name for mood in self._told}:
                hedge = "" if found.energy.plain else f"{self.hedge('energy')} "
                slots["energy_note"] = hedge + wording_heard.ENERGY_NOTES[found.energy.name]
                slots["energy_level"] = hedge + found.energy.name
        if found.no_drums is not None:
            hedge = "" if found.no_drums.plain else f"{self.hedge('no drums')} "
            slots["no_drums"] = hedge + (
                "without drums" if hedge else self.pick("no drums", wording_heard.NO_DRUMS_NOTES)
            )
        if found.dance is not None and found.dance.name in wording_heard.DANCE_NOTES:
            hedge = "" if found.dance.plain else f"{self.hedge('dance')} "
            options = wording_heard.DANCE_NOTES[found.dance.name]
            slots["dance_note"] = hedge + self.pick("dance", options)
        entries = [f"{self.instrument(e.name)} from {clock(e.seconds)}" for e in found.entries[:1]]
        if entries:
            slots["entry_note"] = entries[0]
        # A tone is called one, so that "dark" is not taken for a mood.
        if "tone" in slots:
            slots["toned"] = f"{slots['tone']} in tone"
        slots.pop("traits", None)
        slots.pop("sound_traits", None)
        self._add_traits("traits", ("energy_predicate", "mode", "toned", "attack"))
        self._add_traits("sound_traits", ("toned", "attack"))


def is_plural(names: Sequence[str]) -> bool:
    """Whether instruments take the verb of several."""
    return len(names) > 1 or names[0] in wording_heard.PLURAL_INSTRUMENTS


def together(clauses: Sequence[str]) -> str:
    """Clauses that hold lists of their own, so that commas part them."""
    if len(clauses) == 2:
        return f"{clauses[0]}, {'while' if clauses[1].startswith('the ') else 'and'} {clauses[1]}"
    return ", and ".join([", ".join(clauses[:-1]), clauses[-1]] if len(clauses) > 1 else clauses)


def _in_order(names: Sequence[str]) -> list[str]:
    """Bass and drums last, as a band is named."""
    return sorted(names, key=lambda name: (name == DRUMS, name == _BASS))


def _genre_name(name: str) -> str:
    return wording_heard.GENRE_NAMES.get(name, name)


def _before(adjectives: Sequence[str], noun: str) -> str:
    return f"{', '.join(adjectives)} {noun}".strip()
