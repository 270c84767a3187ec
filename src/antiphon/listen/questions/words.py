"""A question as clauses of plain words: no contractions, no typing mistakes, times as `@65`.

Knows no music but the words that people mistype.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache, lru_cache

_CONTRACTIONS = {
    "whats": "what is", "wats": "what is", "wat": "what", "wut": "what", "its": "it is",
    "whens": "when is", "wheres": "where is", "hows": "how is", "whos": "who is",
    "theres": "there is", "thats": "that is", "isnt": "is not", "arent": "are not",
    "doesnt": "does not", "dont": "do not", "cant": "can not", "didnt": "did not",
    "hasnt": "has not", "wont": "will not", "im": "i am", "id": "i would", "ive": "i have",
    "youre": "you are", "lets": "let us", "u": "you", "ur": "your", "r": "are", "pls": "please",
    "plz": "please", "sec": "second", "wheres the": "where is the", "hes": "he is",
    "shes": "she is", "theyre": "they are", "whatre": "what are", "gimme": "give me",
    "1st": "first", "2nd": "second", "3rd": "third", "4th": "fourth", "5th": "fifth",
    "6th": "sixth", "instr": "instruments", "sig": "signature", "secs": "seconds",
    "mins": "minutes", "kye": "key", "cords": "chords", "cord": "chord", "tmpo": "tempo",
    "drumz": "drums", "gonna": "going to", "wanna": "want to", "kinda": "kind of",
}  # fmt: skip
_NUMBERS = {
    "half a": 0.5, "one": 1, "a": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6,
    "seven": 7, "eight": 8, "nine": 9, "ten": 10, "fifteen": 15, "twenty": 20, "thirty": 30,
    "forty": 40, "forty five": 45, "fifty": 50, "sixty": 60, "ninety": 90,
}  # fmt: skip
_NUMBER = r"(\d{1,4}(?:\.\d+)?|" + "|".join(sorted(_NUMBERS, key=len, reverse=True)) + ")"
_CLOCK = re.compile(r"(?<![\d:.])(?:(\d{1,2}):)?(\d{1,3}):(\d{2})(?:\.\d+)?(?![\d:])")
_MINUTES_AND_SECONDS = re.compile(
    rf"\b{_NUMBER} ?(?:m|mins?|minutes?),?(?: and)? ?{_NUMBER} ?(?:s|secs?|seconds?)?\b(?! ?bpm)"
)
_MINUTES = re.compile(rf"\b{_NUMBER}[ -]?(?:m|mins?|minutes?)\b")
_SECONDS = re.compile(rf"\b(?<!the ){_NUMBER}[ -]?(?:s|secs?|seconds)\b|\bseconds? (\d{{1,4}})\b")
# Where one question ends and the next begins.
_SENTENCE_ENDS = re.compile(r"[?!;\n。？！]+|\.(?=\s|$)")
_QUESTION_WORDS = (
    "what|which|how|when|where|who|whose|why|is|are|was|does|do|did|can|could|has|have|tell|give"
    "|in what|in which|at what|at which|name|list|describe|compare"
)
_CONJUNCTIONS = re.compile(
    r"\s*(?:,|&|\b(?:and|plus|also|but|then|as well as)\b)(?:\s|,|\b(?:and|also|then|plus)\b)*"
    rf"(?=(?:please )?(?:{_QUESTION_WORDS})\b)"
)
_KEPT = re.compile(r"[^\w@#/. -]+")
_MOST_WORDS = 120
# A capital A within a sentence is a section, unless it is a note.
_SECTION_A = re.compile(
    r"(?<=\w )A\b(?! ?(?:minor|major|min|maj|m|flat|sharp|chord|=|4\d\d|#|b)\b)"
)


def _word_set(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Words whose mistyped forms are put right; whatever is in COMMON is a word of its own.
MUSIC_WORDS = _word_set(
    """
    accordion acoustic ambient arrangement atmosphere bars bass beat beats bpm brass bridge
    bright brightness cello chord chords chorus clarinet classical clipped clipping compare
    dance danceable decibels describe differ difference differs distorted distortion downbeat
    drum drums duration dynamic dynamics electric electronic energetic energy flute genre
    guitar guitars harmony instrument instrumental instrumentation instruments intense
    intensity intro key length loud louder loudest loudness lufs lyrics major measures melody
    meter metre minor minutes mode mood music organ outro percussion piano pitch progression
    quiet quieter quietest range recording reggae relative saxophone scale second seconds
    section sections signature silence silent singer singing sings song sound stereo strings
    structure style summary synth synthesizer tempo throughout timbre title trumpet tuned
    tuning verse violin vocals voice volume waltz
    """
)
COMMON = _word_set(
    """
    a about above actually after again album all almost also am an and another any anything
    approximately are around artist as ask at available average away back band base be because
    been before begin beginning begins being below between bit both but by call called can cat
    change changes changing clip clips close come comes coming complete composer could count
    cover curious current currently did different do does doing done down drop during each
    early either else end ending ends enough enter enters entire estimate even ever every
    exact exactly exist fast feel few file final find finish first five follow for four from
    full game general generally get gets give go goes going good got had happen happening
    happens has have he hear heard hello help her here hey hi high his how i if in include
    included including info interested into is it its join joins just kick kind know last late
    least less let level like likely list listen little long longer look looking lot low
    lowest made main make makes many maximum may me mean means might minute moment more most
    mostly much must my name near need next no not note notes now number of off often ok okay
    on once one only onto open opens or other our out over overall part parts per piece place
    play played player playing plays please point possible present probably put question quick
    quickly quite rate rather ratio real really right roughly run runs said same say says see
    seem seems set several she short should show so some someone something sort sounds start
    starts state step still stop stops such sure take takes talk tell than thank thanks that
    the their them then there these they thing things think third this those three through
    throw time times to together tone too top total track tracks tune two type under until up
    upon us use used using value very want was way we well were what when where which while
    who whole whose why will wish with within without wonder wondering word words would year
    yes you your
    """
)


@dataclass(frozen=True)
class Clause:
    """One question of perhaps several; `strange` of its words are not known."""

    text: str
    words: int
    strange: int


def clauses(question: str) -> tuple[Clause, ...]:
    """The questions in a text, in order; none where it has no words."""
    text = unicodedata.normalize("NFKC", question).replace("\u2019", "'").replace("\u2018", "'")
    text = text.replace("\u266f", "#").replace("\u266d", "b").replace("@", " ")
    if not text.isupper():
        text = _SECTION_A.sub("a_", text)
    text = _times(_expanded(text.casefold()))
    found = []
    for sentence in _SENTENCE_ENDS.split(text):
        for part in _CONJUNCTIONS.split(sentence):
            if (clause := _clause(part)) is not None:
                found.append(clause)
    return tuple(found)


@cache
def _pattern_words() -> frozenset[str]:
    """Every whole word that a pattern has."""
    from antiphon.listen.questions import patterns, vocabulary

    text = " ".join(
        [rule.pattern.pattern for group in patterns.ALL_RULES for rule in group]
        + [words.pattern for words in (*patterns.ALL_FRAMES, *vocabulary.ALL_NAMES)]
    )
    return frozenset(re.findall(r"[a-z]{2,}", text.replace(r"\b", " ").replace(r"\w", " ")))


def known(word: str) -> bool:
    """Whether this is a word of ours, in one of its forms."""
    ours = _pattern_words()
    forms = {word, word.removesuffix("s"), word.removesuffix("es"), word.removesuffix("ing"),
             word.removesuffix("ed"), word.removesuffix("ly"), word.removesuffix("er")}  # fmt: skip
    return not word.isalpha() or not forms.isdisjoint(ours | COMMON | MUSIC_WORDS)


def _expanded(text: str) -> str:
    def expand(match: re.Match[str]) -> str:
        word = match.group()
        bare = word.replace("'", "")
        if bare == "its" and word != "it's":
            return word
        if word.endswith("'s") and bare not in _CONTRACTIONS:
            return word[:-2]  # a possessive
        return _CONTRACTIONS.get(bare, bare)

    return re.sub(r"[a-z0-9]+(?:'[a-z]+)?", expand, text)


def _times(text: str) -> str:
    """Times in seconds after `@`: `at 1:05`, `1 min 5 s` and `65 seconds` are `@65`."""

    def number(word: str | None) -> float:
        return 0.0 if word is None else _NUMBERS[word] if word in _NUMBERS else float(word)

    text = _CLOCK.sub(
        lambda m: f" @{number(m[1]) * 3600 + number(m[2]) * 60 + number(m[3]):g} ", text
    )
    text = _MINUTES_AND_SECONDS.sub(
        lambda m: f" @{number(m[1]) * 60 + number(m[2]):g} " if m[2] != "a" else m[0], text
    )
    text = _MINUTES.sub(lambda m: m[0] if m[1] == "a" else f" @{number(m[1]) * 60:g} ", text)
    return _SECONDS.sub(
        lambda m: m[0] if m[1] in ("a", "one") else f" @{number(m[1] or m[2]):g} ", text
    )


def _clause(text: str) -> Clause | None:
    kept = _KEPT.sub(" ", text.replace("-", " "))
    kept = re.sub(r"\.(?!\d)|(?<!\d)\.", " ", kept)
    kept = "".join(c if c.isascii() or c.isalpha() else " " for c in kept)
    words = kept.split()[:_MOST_WORDS]
    if not words:
        return None
    words = [_corrected(word) for word in words]
    strange = sum(not known(word) for word in words)
    return Clause(" ".join(words), len(words), strange)


@lru_cache(4096)
def _corrected(word: str) -> str:
    """The word of ours that is meant, if a word that is not known is close to one."""
    if len(word) < 4 or len(word) > 20 or known(word):
        return word
    for other in sorted(MUSIC_WORDS):  # letters that changed places
        if len(other) == len(word) and other[0] == word[0] and sorted(other) == sorted(word):
            return other
    close = get_close_matches(word, sorted(MUSIC_WORDS), n=1, cutoff=0.82)
    return close[0] if close else word
