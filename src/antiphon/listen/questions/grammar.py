"""From the text of a question to what it asks for. Knows no recording and no answer."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from antiphon.listen.questions import patterns, vocabulary
from antiphon.listen.questions.patterns import DECLINED, Rule, Topic
from antiphon.listen.questions.words import Clause, clauses

MOST_CHARACTERS = 1000  # of a question
_MOST_ASKS = 8
_MOST_STRANGE_SHARE = 0.5  # of the words, where it is STRANGE_WORDS or more
_STRANGE_WORDS = 3
# Of these, a stretch of the recording has a value of its own.
PLACED = ("chords", "loudness", "energy", "instruments", "genre", "mood", "sections")


@dataclass(frozen=True)
class Place:
    """A time, a section by its number (1 the first, -1 the last) or its label, or a half."""

    seconds: float | None = None
    section: int | None = None
    label: str | None = None
    half: int | None = None


@dataclass(frozen=True)
class Ask:
    """One thing that is asked for.

    `aspect` says what of the topic; `names` are what it is asked about (instruments, a genre, a
    key); `why` asks how sure the answer is; `negated` is whether something is not so.
    """

    topic: Topic
    aspect: str = "value"
    names: tuple[str, ...] = ()
    places: tuple[Place, ...] = ()
    why: bool = False
    negated: bool = False


@dataclass(frozen=True)
class _Found:
    ask: Ask
    at: int


def read_question(text: str, before: Sequence[Ask] = ()) -> tuple[Ask, ...]:
    """What is asked for, in order; empty where the question is not understood.

    `before` is what the turn before asked for, which `and the second section?` leans on.
    """
    if len(text) > MOST_CHARACTERS:
        return ()
    asks: list[Ask] = []
    for clause in clauses(text):
        negated = patterns.NEGATED.search(clause.text) is not None
        read = [
            replace(ask, negated=negated)
            for ask in _read_clause(clause, (*before, *asks)[-_MOST_ASKS:])
        ]
        asks += [ask for ask in read if ask not in asks]
    specific = [ask for ask in asks if ask.topic not in ("help", "describe")]
    return tuple(specific or asks)[:_MOST_ASKS]


def _read_clause(clause: Clause, before: Sequence[Ask]) -> list[Ask]:
    full = clause.text
    why = patterns.WHY.search(full) is not None
    about, text = _matches(full, patterns.ABOUT_RULES)
    if clause.strange >= _STRANGE_WORDS and clause.strange > _MOST_STRANGE_SHARE * clause.words:
        return []
    places, text = _places(text)
    declined, text = _matches(text, patterns.DECLINED_RULES)
    named, text = _named(text, full)
    rules = [rule for rule in patterns.RULES if not (places and rule.topic == "duration")]
    matched, text = _matches(text, rules)
    late, text = _matches(text, patterns.LATE_DECLINED_RULES)
    found = _settled([*declined, *named, *matched, *late], full, places)
    compared = _comparison(full, places, found)
    if compared is not None:
        rest = [f.ask for f in found if f.ask.topic in DECLINED]
        return [compared, *rest]
    read = [replace(f.ask, why=why) for f in sorted(found, key=lambda f: f.at)]
    if not read and about:
        read = [about[0].ask] if not places else []
        if places and any(f.ask.topic == "describe" for f in about):
            return [Ask("sections", "at", (), places)]
    elif any(f.ask.topic == "about" for f in about):
        read = [Ask("about"), *(ask for ask in read if ask.topic != "sections")]
    if not read:
        return _leaning(full, places, before, why)
    if patterns.FOLLOW_UP.search(full):
        read = [_leaning_on(ask, before) for ask in read]
    return read


def _matches(text: str, rules: Sequence[Rule]) -> tuple[list[_Found], str]:
    """The asks of `rules` in a text, and the text without their words."""
    found: list[_Found] = []
    for rule in rules:
        for match in rule.pattern.finditer(text):
            if "~" in match.group():
                continue
            names = tuple(value for value in match.groupdict().values() if value)
            ask = Ask(rule.topic, rule.aspect, names or _numbers(rule, match))
            if all(ask != f.ask for f in found) and rule.topic not in _once(found):
                found.append(_Found(ask, match.start()))
            text = _without(text, match)
    return found, text


def _once(found: Sequence[_Found]) -> set[Topic]:
    """Topics that have no aspects, and of which one mention is enough."""
    return {f.ask.topic for f in found} & {*DECLINED, "help", "describe", "about"}


def _numbers(rule: Rule, match: re.Match[str]) -> tuple[str, ...]:
    """The value that a question holds a measured one against."""
    words = match.group()
    if rule.topic == "metre":
        beats = {"waltz": "3", "triple": "3", "three": "3", "3": "3", "common": "4", "four": "4",
                 "4": "4", "five": "5", "5": "5", "6": "6", "six": "6", "seven": "7", "7": "7",
                 "2": "2", "duple": "2"}  # fmt: skip
        if not words.startswith(("time", "beat", "metr", "how")):
            return tuple(n for word, n in beats.items() if re.search(rf"\b{word}", words))[:1]
    if (rule.topic, rule.aspect) == ("tempo", "pace"):
        return (words,)
    return (words,) if words in ("440", "432", "a 440") else ()


def _without(text: str, match: re.Match[str]) -> str:
    return text[: match.start()] + "~" * (match.end() - match.start()) + text[match.end() :]


def _named(text: str, full: str) -> tuple[list[_Found], str]:
    """Instruments, genres and moods that are called by name."""
    found: list[_Found] = []

    def take(topic: Topic, words: re.Pattern[str], names: tuple[str, ...] | None) -> None:
        nonlocal text
        for match in words.finditer(text):
            if text[: match.start()].endswith("my "):
                continue  # the asker's own
            called = names or (f"?{match.group()}",)  # ? is none that the listener knows
            found.append(_Found(Ask(topic, "named", called), match.start()))
            text = _without(text, match)

    take("instruments", vocabulary.OTHER_INSTRUMENTS, None)
    for words, names in vocabulary.INSTRUMENT_WORDS:
        take("instruments", words, names)
    for words, names in vocabulary.GENRE_WORDS:
        take("genre", words, names)
    take("genre", vocabulary.OTHER_GENRES, None)
    for words, names in vocabulary.MOOD_WORDS:
        take("mood", words, names)
    take("mood", vocabulary.OTHER_MOODS, None)
    if re.search(r"\b(?:moods?|feel\w*|vibes?|atmosphere)\b", full):
        for name in ("dark", "bright", "energetic"):
            take("mood", re.compile(rf"\b{name}\b"), (name,))
    return found, text


def _places(text: str) -> tuple[tuple[Place, ...], str]:
    """The places that a text names, in order, and the text without their words."""
    found: list[tuple[int, Place]] = []

    def take(words: str) -> Iterator[re.Match[str]]:
        nonlocal text
        for match in re.finditer(words, text):
            text = _without(text, match)
            yield match

    ordinal = "|".join(vocabulary.ORDINALS)
    names = "|".join(sorted(vocabulary.SECTION_NAMES, key=len, reverse=True))
    for m in take(r"(?<!than )(?<!over )(?<!under )@(\d+(?:\.\d+)?)"):
        if not re.search(r"\blast|seconds? long|longer|shorter", text):
            found.append((m.start(), Place(seconds=float(m[1]))))
    for m in take(r"\b(first|1st|second|2nd|last|other) half\b"):
        found.append((m.start(), Place(half=1 if m[1] in ("first", "1st") else 2)))
    for m in take(r"\b(first|second) (?=(?:and|with|to|versus|vs) (?:the )?~)"):
        found.append((m.start(), Place(half=1 if m[1] == "first" else 2)))
    for m in take(rf"\b({ordinal}) (?:section|part|segment|passage)s?\b"):
        found.append((m.start(), Place(section=vocabulary.ORDINALS[m[1]])))
    for m in take(rf"\b({ordinal}) (?=(?:and|with|to|versus|vs) (?:the )?~)"):
        found.append((m.start(), Place(section=vocabulary.ORDINALS[m[1]])))
    numbers = r"(\d{1,2}|one|two|three|four|five|six)"
    for m in take(rf"\b(?:section|part|segment)s? (?:number |no )?{numbers}\b"):
        found.append((m.start(), Place(section=_number(m[1]))))
    for m in take(r"\b(?:section|part|segment)s? (a_|[a-z])\b(?! (?:~|section|part))"):
        found.append((m.start(), Place(label=m[1][0].upper())))
    for m in take(r"\b(a_|[b-h]) (?:section|part|segment)s?\b|\b(a_)"):
        found.append((m.start(), Place(label=(m[1] or m[2])[0].upper())))
    if found or patterns.COMPARE.search(text):
        pattern = r"\b([a-h])(?= (?:and|with|to|versus|vs|from|or|louder)\b)|"
        pattern += r"(?<=and )([a-h])\b|(?<=with )([a-h])\b|(?<=to )([b-h])\b|(?<=from )([a-h])\b"
        pattern += r"|(?<=vs )([a-h])\b|(?<=versus )([a-h])\b|(?<=or )([a-h])\b|(?<=than )([a-h])\b"
        pattern += r"|\b([b-h])$"
        for m in take(pattern):
            label = next(group for group in m.groups() if group)
            found.append((m.start(), Place(label=label.upper())))
    before = rf"\b(?:the |an? |is |when |where )(?:(?:{ordinal}) )?|\b(?:{ordinal}) |^"
    for m in take(rf"(?:{before})({names})\b(?! (?:of|instrument|out))"):
        found.append((m.start(), Place(label=m[1])))
    for m in take(
        r"\b(?:at|in|near|during|from) (?:the )?(?:very )?(?:beginning|start|opening)\b"
        r"|\bhow does (?:it|this|the song|the piece|the track) (?:start|begin|open)\b"
    ):
        if "to ~" not in text and not re.search(r"\bto (?:the )?end", text):
            found.append((m.start(), Place(section=1)))
    for m in take(
        r"\b(?:at|near|in|towards?) (?:the )?(?:very )?end\b"
        r"|\bhow does (?:it|this|the song|the piece|the track) (?:end|finish|close)\b"
    ):
        found.append((m.start(), Place(section=-1)))
    unique = dict.fromkeys(place for _, place in sorted(found, key=lambda item: item[0]))
    return tuple(unique), text


def _number(word: str) -> int:
    words = ("zero", "one", "two", "three", "four", "five", "six")
    return words.index(word) if word in words else int(word)


def _settled(found: list[_Found], full: str, places: tuple[Place, ...]) -> list[_Found]:
    """What a clause asks for, once the words that only say where, when or how much are seen so."""
    topics = {f.ask.topic for f in found}
    others = topics - {"sections", "duration"}
    if others and "duration" in topics and not re.search(r"\b(?:duration|minutes|length)\b", full):
        found = [f for f in found if f.ask.topic != "duration"]
    if others - {"compare"} and "sections" in topics and _only_where(full):
        found = [f for f in found if f.ask.topic != "sections"]
    for topic in ("instruments", "genre", "mood", "tempo", "key", "chords", "loudness", "metre"):
        special = [f for f in found if f.ask.topic == topic and f.ask.aspect != "value"]
        if special:  # `instruments` beside `piano` only introduces it
            found = [f for f in found if f.ask.topic != topic or f in special]
    if "beats" in topics and topics & {"metre", "dance", "tempo"}:
        found = [f for f in found if f.ask.topic != "beats"]
    found = _merged(found)
    settled = []
    for f in found:
        ask = f.ask
        if ask.topic == "instruments":
            ask = replace(ask, aspect=_instrument_aspect(full, ask))
        elif ask.topic == "sections" and ask.aspect == "value" and places:
            ask = replace(ask, aspect=_section_aspect(full))
        elif ask.topic == "loudness" and ask.aspect == "value" and patterns.WHEN.search(full):
            ask = replace(ask, aspect="quietest" if "quiet" in full else ask.aspect)
        if ask.topic in PLACED:
            ask = replace(ask, places=places)
        settled.append(replace(f, ask=ask))
    return settled


def _merged(found: Sequence[_Found]) -> list[_Found]:
    """`rock or pop` is one question; `piano or guitar` are two, each of several names."""
    merged: dict[tuple[str, ...], _Found] = {}
    for f in found:
        key: tuple[str, ...] = (f.ask.topic, f.ask.aspect)
        if f.ask.topic == "instruments":
            key += f.ask.names
        if key in merged:
            first = merged[key]
            names = tuple(dict.fromkeys((*first.ask.names, *f.ask.names)))
            f = replace(first, ask=replace(first.ask, names=names))
        merged[key] = f
    return list(merged.values())


def _only_where(full: str) -> bool:
    return patterns.WHICH_PART.search(full) is not None and not re.search(
        r"\b(?:structure|form|sections and|and sections|, sections|arrangement|layout)\b", full
    )


def _instrument_aspect(full: str, ask: Ask) -> str:
    if patterns.THROUGHOUT.search(full):
        return "throughout" if ask.names else ask.aspect
    if ask.names and patterns.STOP.search(full):
        return "stop"
    if ask.names and patterns.OPENS.search(full) and not patterns.WHEN.search(full):
        return "opens"
    if ask.names and patterns.START.search(full):
        return "start"
    if ask.names and (patterns.WHEN.search(full) or patterns.HOW_LONG.search(full)):
        return "when"
    if patterns.HOW_MANY.search(full) and not ask.names:
        return "count"
    if ask.names and patterns.MANNER.search(full):
        return "manner"
    return ask.aspect


def _section_aspect(full: str) -> str:
    if patterns.HOW_LONG.search(full):
        return "length"
    if patterns.WHEN.search(full) and patterns.STOP.search(full):
        return "end"
    if patterns.WHEN.search(full):
        return "start"
    return "at"


def _comparison(full: str, places: tuple[Place, ...], found: Sequence[_Found]) -> Ask | None:
    """`compare A with B`, `is the second half louder than the first`."""
    if patterns.COMPARE.search(full) is None and not (
        len(places) == 2 and re.search(r"\b(?:or|between|more|less|\w+er)\b", full)
    ):
        return None
    if len(places) >= 2:
        return Ask("compare", "value", (), places[:2])
    if re.search(r"\b(?:compar\w+|differences?|contrast)\b", full) and not any(
        f.ask.topic not in ("sections", *DECLINED) for f in found
    ):
        return Ask("compare", "value", (), places)
    if len(places) == 1 and places[0].half and re.search(r"\bthan\b", full):
        return Ask("compare", "value", (), (Place(half=3 - places[0].half), places[0]))
    return None


def _leaning(full: str, places: tuple[Place, ...], before: Sequence[Ask], why: bool) -> list[Ask]:
    """A question without a subject of its own: that of the question before, or a place alone."""
    last = before[-1] if before else None
    if why and last is not None:
        return [replace(ask, why=True) for ask in before if ask.topic not in DECLINED][-1:]
    leans = patterns.FOLLOW_UP.search(full) is not None or len(full.split()) <= 4
    if places:
        if leans and last is not None and last.topic in PLACED and last.aspect not in ("start",):
            aspect = last.aspect if last.topic != "sections" else last.aspect or "at"
            if last.topic == "sections" and aspect in ("value", "count"):
                aspect = "at"
            return [replace(last, aspect=aspect, places=places, why=False)]
        if last is not None and leans and last.topic == "sections":
            return [replace(last, places=places)]
        return [Ask("sections", _section_aspect(full), (), places)]
    if last is not None and last.topic == "instruments":
        if patterns.THROUGHOUT.search(full) and last.names:
            return [replace(last, aspect="throughout", places=())]
        if patterns.STOP.search(full):
            return [replace(last, aspect="stop", places=())]
        if patterns.START.search(full):
            return [replace(last, aspect="start", places=())]
        if patterns.WHEN.search(full):
            return [replace(last, aspect="when", places=())]
    if last is not None and leans and patterns.WHEN.search(full) and last.topic == "energy":
        return [replace(last, aspect="most")]
    return []


def _leaning_on(ask: Ask, before: Sequence[Ask]) -> Ask:
    """`and the guitar?` after `when does the piano start?` asks when, too."""
    last = before[-1] if before else None
    same = last is not None and last.topic == ask.topic == "instruments"
    if same and last is not None and ask.aspect == "named" and last.names:
        return replace(ask, aspect=last.aspect)
    return ask
