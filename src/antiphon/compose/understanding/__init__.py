"""What a prompt asks for: its words and figures as controls, the rest left as text.

Where a text contradicts itself, what is said first holds, but that a tempo in BPM holds over a word
such as `slow`, a noun such as `jazz` over an adjective such as `funky`, and a choir asked for by
name over `instrumental`. Those are refinements; what is contradictory, a far tempo included, is
noted. Of adjoining genres the last is meant, as in `blues rock`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from antiphon.compose.understanding.amounts import Amount, find_amounts
from antiphon.compose.understanding.lexicon import lexicon
from antiphon.compose.understanding.phrases import Mark, find_marks
from antiphon.controls import OPTION_NAMES

OptionValue = str | float | int | bool | tuple[str, ...]

_FAR_TEMPO = 1.5  # `slow` beside a number that much faster is a contradiction
_WEAK_REFUSALS = ("without", "refusable")
_INSTRUMENT_SENSES = ("instruments", "family", "refusable", "without")


@dataclass(frozen=True)
class Reading:
    """`words`, at `text[start:end]`, were understood as a value of a control's option.

    `False` is an intro or ending that was refused.
    """

    start: int
    end: int
    words: str
    option: str
    value: str | float | int | bool

    def __str__(self) -> str:
        value = f"{self.value:g}" if isinstance(self.value, float) else self.value
        return f"{self.words} -> {self.option} {value}"


@dataclass(frozen=True)
class Understanding:
    """What was made of a text.

    `options`: values for `Controls.from_options`. `readings`: which words they come from, in the
    order of the text. `unknown`: the words with a meaning that no control has. `notes`: sentences
    on what was contradictory, out of range or refused without effect.
    """

    text: str
    options: Mapping[str, OptionValue]
    readings: tuple[Reading, ...] = ()
    unknown: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def understand(text: str) -> Understanding:
    """Read the wishes out of any text, in linear time; never raises."""
    words, marks = find_marks(text, find_amounts(text))
    resolver = _Resolver(text)
    for mark in marks:
        resolver.take(mark)
    resolver.settle()
    covered = {
        index for mark in marks if mark.is_understood for index in range(mark.first, mark.last)
    }
    fillers = lexicon().fillers
    unknown = (
        text[word.start : word.end]
        for index, word in enumerate(words)
        if index not in covered and word.name not in fillers
    )
    return Understanding(
        text,
        MappingProxyType({o: resolver.options[o] for o in OPTION_NAMES if o in resolver.options}),
        tuple(sorted(resolver.readings, key=lambda reading: (reading.start, reading.option))),
        tuple(dict.fromkeys(unknown)),
        tuple(dict.fromkeys(resolver.notes)),
    )


class _Resolver:
    """Gathers what the marks of a text say, then decides among it."""

    def __init__(self, text: str) -> None:
        self.options: dict[str, OptionValue] = {}
        self.readings: list[Reading] = []
        self.notes: list[str] = []
        self._text = text
        self._said: dict[str, list[Reading]] = {}  # by sense
        self._instruments: list[tuple[Mark, str, str]] = []  # with sense and value

    def take(self, mark: Mark) -> None:
        if mark.amount is not None:
            self._take_amount(mark, mark.amount)
            return
        for meaning in mark.meanings:
            if meaning.sense in _INSTRUMENT_SENSES:
                if not mark.is_dropped:
                    self._instruments.append((mark, meaning.sense, meaning.value))
            elif meaning.sense in ("intro", "ending"):
                self._say(mark, meaning.sense, mark.stance == "wanted")
            elif mark.stance == "wanted" and meaning.sense not in ("refusing", "nothing"):
                value = float(meaning.value) if meaning.sense == "tempo" else meaning.value
                self._say(mark, meaning.sense, value)
        if mark.is_dropped:
            self._note_dropped(mark)

    def _take_amount(self, mark: Mark, amount: Amount) -> None:
        if amount.value is None:
            self.notes.append(amount.note)
        elif mark.stance != "wanted":
            self._note_dropped(mark)
        else:
            if amount.note:
                self.notes.append(amount.note)
            option = amount.option
            sense = {"tempo": "bpm", "duration": "length", "bars": "length"}.get(option, option)
            self._said.setdefault(sense, []).append(self._reading(mark, option, amount.value))

    def _note_dropped(self, mark: Mark) -> None:
        words = self._words(mark)
        self.notes.append(f"{words!r} is refused; no control can say so, it stays text")

    def settle(self) -> None:
        """Decide among what was said; in `options`, `readings` and `notes` afterwards."""
        self._settle_tempo()
        self._settle_genre()
        for sense in ("key", "metre", "energy", "length", "intro", "ending"):
            self._first(self._said.get(sense, []))
        moods = self._said.get("mood", [])
        if moods:
            self.options["mood"] = _unique(str(reading.value) for reading in moods)
            self.readings += moods
        self._settle_instruments()

    def _settle_tempo(self) -> None:
        exact, words = self._said.get("bpm", []), self._said.get("tempo", [])
        self._first(exact or words)
        if exact:
            for word in words:
                low, high = sorted((float(word.value), float(exact[0].value)))
                if high > _FAR_TEMPO * low:
                    self._note(exact[0], word, "being exact,")

    def _settle_genre(self) -> None:
        nouns, hints = self._said.get("genre", []), self._said.get("genre_hint", [])
        compounds: list[list[Reading]] = []
        for reading in nouns:
            between = self._text[compounds[-1][-1].end : reading.start] if compounds else ","
            if between.strip(" -"):
                compounds.append([reading])
            else:
                compounds[-1].append(reading)
        heads = [compound[-1] for compound in compounds]
        self._first(heads or [replace(hint, option="genre") for hint in hints])

    def _settle_instruments(self) -> None:
        wanted: dict[str, Reading] = {}
        refused: dict[str, Reading] = {}
        open_families: set[str] = set()
        # `instrumental` and `no vocals` are weak: they yield to a choir asked for by name.
        for mark, sense, value in sorted(
            self._instruments, key=lambda said: (said[1] in _WEAK_REFUSALS, said[0].start)
        ):
            if sense == "family" and mark.stance == "wanted":
                open_families.add(value)
                continue
            if sense == "family" and value in open_families:
                wish = self._reading(mark, "instruments", value)
                self._note(wish, replace(wish, option="without"), "said first,")
                continue
            is_refusal = mark.stance == "refused" or sense == "without"
            if sense == "refusable" and not is_refusal:
                continue
            names = lexicon().families[value].members if sense == "family" else (value,)
            ours, others = (refused, wanted) if is_refusal else (wanted, refused)
            free = [name for name in names if name not in others]
            option = "without" if is_refusal else "instruments"
            reading = self._reading(mark, option, ", ".join(free or names))
            for name in names:
                if name in free:
                    ours.setdefault(name, reading)
                elif sense not in _WEAK_REFUSALS:
                    self._note(others[name], reading, "said first,")
            if free:
                self.readings.append(reading)
        for mark, sense, value in self._instruments:
            if sense == "family" and mark.stance == "wanted":
                self._choose(mark, value, wanted, refused)
        for option, found in (("instruments", wanted), ("without", refused)):
            if found:
                in_order = sorted(found, key=lambda name: found[name].start)
                self.options[option] = tuple(in_order)

    def _choose(
        self, mark: Mark, value: str, wanted: dict[str, Reading], refused: dict[str, Reading]
    ) -> None:
        """Which `guitar` it is: one that was named, else the genre's, else one not refused."""
        family = lexicon().families[value]
        named = [name for name in family.members if name in wanted]
        usual = family.by_genre.get(str(self.options.get("genre")), family.members[0])
        open_ = [name for name in (*named, usual, *family.members) if name not in refused]
        if not open_:
            wish = self._reading(mark, "instruments", value)
            self._note(refused[usual], wish, "the refusal,")
            return
        reading = self._reading(mark, "instruments", open_[0])
        wanted.setdefault(open_[0], reading)
        self.readings.append(reading)

    def _first(self, said: Sequence[Reading]) -> None:
        if not said:
            return
        first = said[0]
        self.options.update({first.option: first.value} if first.value is not False else {})
        for reading in said:
            if (reading.option, reading.value) == (first.option, first.value):
                self.readings.append(reading)
            else:
                self._note(first, reading, "said first,")

    def _note(self, holds: Reading, yields: Reading, why: str) -> None:
        said = [
            f"no {reading.words!r}" if reading.option == "without" else repr(reading.words)
            for reading in (holds, yields)
        ]
        self.notes.append(f"the text says {said[0]} and {said[1]}; {why} {said[0]} holds")

    def _say(self, mark: Mark, sense: str, value: str | float | bool) -> None:
        self._said.setdefault(sense, []).append(self._reading(mark, sense, value))

    def _reading(self, mark: Mark, option: str, value: str | float | int | bool) -> Reading:
        return Reading(mark.start, mark.end, self._words(mark), option, value)

    def _words(self, mark: Mark) -> str:
        return self._text[mark.start : mark.end]


def _unique(values: Iterator[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))
