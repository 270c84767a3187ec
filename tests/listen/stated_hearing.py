"""An independent checker of what texts say was heard: it knows nothing of how texts are made.

It reads a text word by word against a closed vocabulary. Words for genres, moods, instruments,
drums, energy, dancing and sound have to be supported by what was heard or measured, with a hedge
exactly where the certainty asks for one; a word that is in no list is itself an error, so that
nothing can be said in words that are not checked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from stated_facts import without_quotations, wrong_statements

from antiphon.description import Heard, HeardSection
from antiphon.facts import Facts
from antiphon.listen.observations import energy as measured_energy

PLAIN, HEDGED = 0.75, 0.5
# Of two words the longer one is listed first where one begins with the other.
GENRES = {
    "rock": "rock", "pop": "pop", "jazz": "jazz", "classical": "classical",
    "electronic": "electronic", "house": "house", "hip-hop": "hip-hop", "latin": "latin",
    "folk": "folk", "ambient": "ambient", "funk": "funk", "blues": "blues", "reggae": "reggae",
    "metal": "metal",
}  # fmt: skip
MOODS = {
    "happy": "happy", "cheerful": "happy", "upbeat": "happy", "sad": "sad", "sorrowful": "sad",
    "mournful": "sad", "calm": "calm", "peaceful": "calm", "tranquil": "calm", "dark": "dark",
    "sombre": "dark", "bright": "bright", "sunny": "bright", "tense": "tense", "restless": "tense",
    "relaxed": "relaxed", "laid-back": "relaxed", "easy-going": "relaxed",
    "romantic": "romantic", "tender": "romantic", "melancholic": "melancholic",
    "wistful": "melancholic", "playful": "playful", "light-hearted": "playful",
    "solemn": "solemn", "grave": "solemn", "lively": "energetic", "spirited": "energetic",
}  # fmt: skip
ENERGY = {
    "moderately energetic": "medium", "medium-energy": "medium", "medium energy": "medium",
    "high-energy": "high", "high energy": "high", "energetic": "high", "low-energy": "low",
    "low energy": "low", "high": "high", "medium": "medium", "low": "low",
}  # fmt: skip
INSTRUMENTS = {
    "electric piano": "electric piano", "piano": "piano", "organ": "organ",
    "acoustic guitar": "acoustic guitar", "electric guitar": "electric guitar",
    "distorted guitar": "distorted guitar", "bass": "bass", "strings": "strings",
    "violin": "violin", "cello": "cello", "choir": "choir", "brass": "brass",
    "trumpet": "trumpet", "saxophone": "saxophone", "flute": "flute", "clarinet": "clarinet",
    "synth lead": "synth lead", "synth pad": "synth pad", "mallet instruments": "mallets",
    "mallets": "mallets", "harp": "harp", "accordion": "accordion", "drums": "drums",
}  # fmt: skip
HEDGES = ("probably", "apparently", "most likely")
NO_DRUMS = ("without drums", "no drums are heard", "no drums")
STILL = ("not made for dancing", "not meant for dancing", "not for dancing")
DANCEABLE = (
    "danceable", "good to dance to", "made for dancing", "dance to it", "invites dancing",
)  # fmt: skip
NOT_MUSIC = ("does not sound like music", "not music by its sound", "not music")
PERHAPS_NO_MUSIC = (
    "may not be music", "not certain that this is music", "perhaps not music", "possibly not music",
)  # fmt: skip
JOIN = ("joins", "join", "comes in", "come in", "enters", "enter")
LEAVE = ("drops out", "drop out", "falls silent", "fall silent", "stops", "stop")
UP = ("rises", "goes up", "gains energy")
DOWN = ("falls", "goes down", "loses energy")
NEW_STYLE = ("turns to", "changes to")
# What is measured of level and form, though it uses words of energy and drums.
MEASURED = ("the level rises", "falls back", "drops in level", "without a marked change")
# What a hedge does not reach over; right after a hedge they may stand.
ENDS = (
    "with", "featuring", "in", "at", "over", "while", "from", "can be heard as well",
    "can be heard", "plays too", "play too",
)  # fmt: skip
TONES = (
    (900, "dark"), (1600, "mellow"), (2600, "medium-bright"), (3800, "bright"),
    (float("inf"), "very bright"),
)  # fmt: skip
ATTACKS = (
    (0.12, "mostly sustained"), (0.3, "lightly percussive"), (0.55, "clearly percussive"),
    (float("inf"), "strongly percussive"),
)  # fmt: skip
PACES = ((72, "slow"), (108, "moderate"), (138, "brisk"), (float("inf"), "fast"))
LEVELS = (
    (-27, "very quiet"), (-19, "quiet"), (-14, "moderately loud"), (-9, "loud"),
    (float("inf"), "very loud"),
)  # fmt: skip
RANGES = ((4, "narrow"), (9, "moderate"), (float("inf"), "wide"))
# Words that say nothing about the music by themselves, and those of measured things whose values
# `stated_facts.py` checks.
FREE = frozenset(
    """
    a about above across again all almost also an and appear appears approximate are around as
    back bar be beat beats beginning begins below besides boundaries bpm built by call called can
    carries centroid cents change changes changing chord chords clipped clipping clips closes come
    comes confidence continuous could counted cycle damage dbtp declared decoded decoding
    described dips double drawing draws eight eighteen either eleven end ends energy entirely even
    fade fade-out fades falling feeling felt fifteen file finishes first fits five flat follow for
    form found four fourteen frequent full genre given go goes grows half halfway hardly
    harmonically harmony has heard held here highest holds hz instruments integrated is it its
    keeps key khz labels laid last lasting lasts leaves length level lies long louder loudest
    loudness lowest lu lufs mainly major major-mode makes measured measurement measures met metre
    middle millisecond milliseconds minor minor-mode mode moment mood most mostly moves much music
    name named near nearly nine nineteen no nor not of on one only opens or order out outline part
    peak peaks percussive piece pitch plan plus progression pulse quieter range reach reaches
    reads recording recovers recurring recurs remained repeats rest resting rests returning rising
    round runs sample samples scale second seconds section sections seem seems seven seventeen
    share sharp showed shows signal silence silent single sinks six sixteen so sound sounds
    spectral stands starts state stay staying stays style surrounds swells takes tempo ten than
    that the there these third thirteen this though three through throughout timbre time times to
    tonally tone too towards track transients true tuned tuning turn turning turns twelve twenty
    two uncertain under unnamed up was well were what when where which
    """.split()  # noqa: SIM905
)
_NUMBER = r"-?\d[\d,]*(?:\.\d+)?(?:-(?:second|millisecond)s?)?%?"
_TIME = r"(?:\d+:)?\d+:\d\d"
_SYMBOL = r"[A-G][#b]?(?:maj9|maj7|m7b5|dim7|dim|aug|sus4|m9|m7|m|9|7)?"
_CHORDS = rf"{_SYMBOL}(?:-{_SYMBOL})*(?![\w#-])"
_LETTERS = r"[A-Z](?:-[A-Z])*(?![\w#-])"


@dataclass(frozen=True, eq=False)
class Token:
    sort: str
    word: str
    name: str = ""


def _words(sort: str, words: dict[str, str] | Sequence[str]) -> list[tuple[str, str, str]]:
    names = words if isinstance(words, dict) else {word: word for word in words}
    return [(sort, word, name) for word, name in names.items()]


_LEXICON = sorted(
    [
        *_words("genre", GENRES), *_words("mood", MOODS), *_words("energy", ENERGY),
        *_words("instrument", INSTRUMENTS), *_words("hedge", HEDGES), *_words("no drums", NO_DRUMS),
        *_words("still", STILL), *_words("danceable", DANCEABLE), *_words("not music", NOT_MUSIC),
        *_words("doubt", PERHAPS_NO_MUSIC), *_words("join", JOIN), *_words("leave", LEAVE),
        *_words("up", UP), *_words("down", DOWN), *_words("new style", NEW_STYLE),
        *_words("end", ENDS), *_words("free", MEASURED),
    ],
    key=lambda entry: -len(entry[1]),
)  # fmt: skip


def supported(text: str, facts: Facts, heard: Heard | None) -> list[str]:
    """Everything in `text` that neither the facts nor what was heard supports, and what is hedged
    without need or not hedged where it has to be; empty when all is well."""
    if heard is not None and (facts.silence.share or 0.0) >= 0.99:
        heard = None
    wrong = wrong_statements(text, facts, _moments(heard))
    plain = without_quotations(text, facts)
    plain, found = _measured_words(plain, facts)
    wrong += found
    not_music = _is_music(heard) == "no"
    if not_music:
        wrong += re.findall(rf"\b(?:BPM|to the bar|major|minor|{_SYMBOL}-{_SYMBOL})\b", plain)
    segments = [
        segment
        for sentence in re.split(r"(?<=\.) +|\.$", plain)
        for segment in re.split(r"; ", sentence)
        if segment.strip()
    ]
    for segment in segments:
        tokens = list(_tokens(segment))
        wrong += [f"unknown: {token.word}" for token in tokens if token.sort == "unknown"]
        wrong += _judge(tokens, facts, heard)
    return wrong


def _tokens(segment: str) -> Iterator[Token]:
    at = 0
    while at < len(segment):
        rest = segment[at:]
        if match := re.match(r"[\s~()\"/=]+", rest):
            at += match.end()
            continue
        if match := re.match(r"[,:.]", rest):
            yield Token("mark", match[0])
        elif match := re.match(_TIME, rest):
            yield Token("time", match[0])
        elif match := re.match(_NUMBER, rest):
            yield Token("number", match[0])
        elif entry := next(
            (e for e in _LEXICON if re.match(rf"{re.escape(e[1])}(?![\w-])", rest, re.I)), None
        ):
            match = re.match(re.escape(entry[1]), rest, re.I)
            yield Token(entry[0], entry[1], entry[2])
        elif (match := re.match(r"[A-Za-z]+(?:-[A-Za-z]+)*(?![\w#-])", rest)) and match[
            0
        ].lower() in FREE:
            yield Token("free", match[0].lower())
        elif match := re.match(_CHORDS, rest) or re.match(_LETTERS, rest):
            yield Token("number", match[0])
        else:
            match = re.match(r"\S+", rest)
            yield Token("unknown", match[0] if match else rest)
        at += match.end() if match else 1


def _judge(tokens: Sequence[Token], facts: Facts, heard: Heard | None) -> list[str]:
    """What is not supported in one clause between full stops or semicolons."""
    sorts = {token.sort for token in tokens}
    words = [token.word for token in tokens]
    wrong: list[str] = []
    times = [_seconds(token.word) for token in tokens if token.sort == "time"]
    told = heard or Heard()
    the_instrument = words[:1] == ["the"] and [t.sort for t in tokens[1:2]] == ["instrument"]
    if the_instrument and "join" in sorts:
        return _judge_entries(tokens, told)
    if sorts & {"join", "leave", "up", "down", "new style"} and times:
        return _judge_section(tokens, times, told)
    if words[:3] in (["it", verb, "with"] for verb in ("opens", "begins", "starts")):
        first = told.sections[0] if told.sections else HeardSection(0, 0)
        return [
            f"opening: {token.word}"
            for token in tokens
            if token.sort == "instrument" and _plays(first, token.name) < PLAIN
        ]
    at_time = {"from"} & set(words) and len(times) == 1 and len(tokens) == 3
    for token, hedged in _hedged(tokens):
        if token.sort == "instrument" and at_time:
            wrong += [] if _comes_in(told, token.name, times[0]) else [f"entry: {token.word}"]
        elif not _is_supported(token, hedged, facts, heard):
            wrong.append(f"{'hedged ' if hedged else ''}{token.sort}: {token.word}")
    return wrong


def _hedged(tokens: Sequence[Token]) -> Iterator[tuple[Token, bool]]:
    """Each word that asserts something, and whether a hedge holds for it."""
    hedge, sort = False, ""
    for at, token in enumerate(tokens):
        if token.sort == "hedge":
            hedge, sort = True, ""
        elif token.sort in ("end", "join", "leave", "up", "down"):
            if token.sort in ("join", "leave", "up", "down"):
                yield token, hedge
            hedge = hedge and not sort and token.sort == "end"
        elif token.sort == "mark":
            following = [t for t in tokens[at + 1 :] if t.word not in ("a", "an")][:1]
            same = bool(following) and following[0].sort == sort
            hedge = hedge and (token.word == "," and same)
        elif token.sort not in ("free", "number", "time", "unknown"):
            yield token, hedge
            sort = token.sort


def _is_supported(token: Token, hedged: bool, facts: Facts, heard: Heard | None) -> bool:
    sure = heard or Heard()
    doubted = _is_music(heard) == "doubted"

    def fits(confidence: float) -> bool:
        plainly = confidence >= PLAIN and not doubted
        return confidence >= HEDGED and plainly != hedged

    music = sure.music.confidence if sure.music is not None and not sure.music.present else 0.0
    if token.sort == "not music":
        return music >= PLAIN
    if token.sort == "doubt":
        return doubted
    if _is_music(heard) == "no":
        return False
    if token.sort == "genre":
        return fits(max((t.confidence for t in sure.genre if t.name == token.name), default=0.0))
    if token.sort == "mood":
        return fits(max((t.confidence for t in sure.moods if t.name == token.name), default=0.0))
    if token.sort == "energy":
        moods = [t.confidence for t in sure.moods if t.name == token.word]
        return any(map(fits, moods)) or _energy_fits(token.name, hedged, facts, sure, doubted)
    if token.sort == "instrument" and token.name != "drums":
        tags = (one.confidence for one in sure.instruments if one.name == token.name)
        return fits(max(tags, default=0.0))
    if token.sort in ("instrument", "no drums"):
        there = token.sort == "instrument"
        return (
            sure.drums is not None and sure.drums.present == there and fits(sure.drums.confidence)
        )
    if token.sort in ("danceable", "still"):
        can = token.sort == "danceable"
        return sure.dance is not None and sure.dance.present == can and fits(sure.dance.confidence)
    return False


def _energy_fits(name: str, hedged: bool, facts: Facts, heard: Heard, doubted: bool) -> bool:
    confidence = heard.energy_confidence or 0.0
    if heard.energy is not None and confidence >= HEDGED:
        return name == heard.energy and (confidence >= PLAIN and not doubted) != hedged
    measured = measured_energy(facts, tempo_is_sure=facts.tempo.confidence >= 0.6)
    return not hedged and {"moderate": "medium"}.get(str(measured), str(measured)) == name


def _judge_section(tokens: Sequence[Token], times: Sequence[float], heard: Heard) -> list[str]:
    """Changes at a time, against the two sections that meet there; one place has to bear all."""
    doubted = _is_music(heard) == "doubted"
    pairs = [
        (before, now)
        for before, now in zip(heard.sections[:-1], heard.sections[1:], strict=True)
        if any(abs(now.start_seconds - time) <= 0.5 for time in times)
    ]
    if not pairs:
        return [f"no section at {times}"]
    return min((_wrong_in_pair(tokens, *pair, doubted) for pair in pairs), key=len)


def _wrong_in_pair(
    tokens: Sequence[Token], before: HeardSection, now: HeardSection, doubted: bool
) -> list[str]:
    wrong: list[str] = []
    waiting: list[tuple[Token, bool]] = []
    joined_over = _after_over(tokens)
    new_style = False
    for token, hedged in _hedged(tokens):
        old, new = _plays(before, token.name), _plays(now, token.name)
        if token in joined_over:
            wrong += [] if min(old, new) >= PLAIN and not doubted else [f"stays: {token.word}"]
        elif token.sort == "instrument":
            waiting.append((token, hedged))
        elif token.sort in ("join", "leave"):
            judge = _joins if token.sort == "join" else _leaves
            wrong += [
                f"{token.sort}s: {one.word}"
                for one, maybe in waiting
                if not judge(_plays(before, one.name), _plays(now, one.name), maybe, doubted)
            ]
            waiting = []
        elif token.sort in ("up", "down"):
            if not _energy_moves(token.sort, hedged, before, now, doubted):
                wrong.append(f"energy {token.sort}")
        elif token.sort == "new style":
            new_style = True
        elif token.sort == "genre" and new_style:
            old_genre, new_genre = _top_genre(before), _top_genre(now)
            sure = min(old_genre[1], new_genre[1])
            maybe = any(t.sort == "hedge" for t in _just_before(tokens, "new style"))
            fits = new_genre[0] == token.name != old_genre[0] and sure >= HEDGED
            if not fits or (sure >= PLAIN and not doubted) == maybe:
                wrong.append(f"style: {token.word}")
        else:
            wrong.append(f"{token.sort} in a section: {token.word}")
    return wrong + [f"without a verb: {one.word}" for one, _ in waiting]


def _joins(old: float, new: float, maybe: bool, doubted: bool) -> bool:
    return new >= HEDGED > old and (new >= PLAIN and not doubted) != maybe


def _leaves(old: float, new: float, maybe: bool, doubted: bool) -> bool:
    return old >= PLAIN and new < 1 - PLAIN and not maybe and not doubted


def _after_over(tokens: Sequence[Token]) -> list[Token]:
    """The very tokens of what something joins over: up to the next comma."""
    found, over = [], False
    for token in tokens:
        over = token.word == "over" or (over and token.sort != "mark")
        found += [token] if over and token.sort == "instrument" else []
    return found


def _just_before(tokens: Sequence[Token], sort: str) -> Sequence[Token]:
    at = next(n for n, token in enumerate(tokens) if token.sort == sort)
    return tokens[max(0, at - 1) : at]


def _energy_moves(
    way: str, hedged: bool, before: HeardSection, now: HeardSection, doubted: bool
) -> bool:
    order = ["low", "medium", "high"]
    if before.energy is None or now.energy is None:
        return False
    sure = min(before.energy_confidence or 0.0, now.energy_confidence or 0.0)
    step = order.index(now.energy) - order.index(before.energy)
    moves = step > 0 if way == "up" else step < 0
    return moves and sure >= HEDGED and (sure >= PLAIN and not doubted) != hedged


def _judge_entries(tokens: Sequence[Token], heard: Heard) -> list[str]:
    """`The strings come in at 0:16 and the drums at 0:32`."""
    names = [token for token in tokens if token.sort == "instrument"]
    times = [_seconds(token.word) for token in tokens if token.sort == "time"]
    if len(names) != len(times):
        return ["entries without times"]
    return [
        f"entry: {token.word}"
        for token, time in zip(names, times, strict=True)
        if not _comes_in(heard, token.name, time)
    ]


def _comes_in(heard: Heard, name: str, seconds: float) -> bool:
    sources = [one for one in heard.instruments if one.name == name]
    found = [(one.confidence, one.passages) for one in sources]
    if name == "drums" and heard.drums is not None and heard.drums.present:
        found = [(heard.drums.confidence, heard.drums.passages)]
    return any(
        confidence >= PLAIN
        and passages
        and abs(min(passage.start_seconds for passage in passages) - seconds) <= 0.5
        for confidence, passages in found
    )


def _plays(section: HeardSection, name: str) -> float:
    if name == "drums":
        if section.drums is None:
            return 0.6  # nothing is known: neither joined nor left nor stayed
        sure = section.drums.confidence
        return sure if section.drums.present else 1 - sure
    return max((tag.confidence for tag in section.instruments if tag.name == name), default=0.0)


def _top_genre(section: HeardSection) -> tuple[str, float]:
    tag = max(section.genre, key=lambda tag: tag.confidence, default=None)
    return ("", 0.0) if tag is None else (tag.name, tag.confidence)


def _is_music(heard: Heard | None) -> str:
    if heard is None or heard.music is None:
        return "yes"
    if heard.music.confidence < PLAIN:
        return "doubted"
    return "yes" if heard.music.present else "no"


def _moments(heard: Heard | None) -> list[float]:
    if heard is None:
        return []
    passages = [p for one in heard.instruments for p in one.passages]
    passages += heard.drums.passages if heard.drums is not None else ()
    starts = [section.start_seconds for section in heard.sections]
    return [*starts, *(passage.start_seconds for passage in passages)]


def _seconds(clock: str) -> float:
    seconds = 0
    for part in clock.split(":"):
        seconds = 60 * seconds + int(part)
    return seconds


def _measured_words(text: str, facts: Facts) -> tuple[str, list[str]]:
    """Check the words that stand for measured values, and take them out of the text."""
    wrong: list[str] = []

    def take(pattern: str, value: float | None, scale: Sequence[tuple[float, str]]) -> None:
        nonlocal text
        right = None if value is None else next(word for top, word in scale if value < top)
        for match in re.finditer(pattern, text, re.I):
            if match[1].lower() != right:
                wrong.append(match[0])
        text = re.sub(pattern, " ~ ", text, flags=re.I)

    def either(scale: Sequence[tuple[float, str]]) -> str:
        return "|".join(sorted((word for _, word in scale), key=len, reverse=True))

    tones = either(TONES)
    hertz, lufs = facts.timbre.brightness_hz, facts.loudness.integrated_lufs
    take(rf"\b({either(ATTACKS)})\b", facts.timbre.percussive_share, ATTACKS)
    take(rf"\b({tones})(?= in tone| tone)", hertz, TONES)
    take(rf"(?<=one is )({tones})\b", hertz, TONES)
    take(rf"(?<=ally it is )({tones})\b", hertz, TONES)
    take(rf"(?<=sound is )({tones})\b", hertz, TONES)
    take(rf"(?<=the tone )({tones})\b", hertz, TONES)
    take(rf"\b({tones})(?=(?:, its| \()?,? ?(?:its )?spectral centroid)", hertz, TONES)
    take(rf"(?<=energy\) and )({tones})\b", hertz, TONES)
    take(rf"\b({either(PACES)}) (?=\d+ BPM)", facts.tempo.bpm, PACES)
    levels = ("low", "moderate", "high")
    energy = measured_energy(facts, tempo_is_sure=facts.tempo.confidence >= 0.6)
    level = None if energy is None else float(levels.index(energy))
    take(
        r"\b(low|moderate|high)(?= in energy)",
        level,
        tuple(zip((0.5, 1.5, 2.5), levels, strict=True)),
    )
    take(rf"\b({either(LEVELS)})\b", lufs, LEVELS)
    take(rf"\b({either(RANGES)})\b", facts.loudness.range_lu, RANGES)
    return text, wrong
