"""Controls: what may be asked of a piece, checked before anything is made of it.

Knows no style and no sound: whether an arranger can play a genre is the arranger's business.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches

from antiphon.errors import ConfigError
from antiphon.notation import Key

GENRES = (
    "rock", "pop", "jazz", "classical", "electronic", "house", "hip-hop", "latin", "folk",
    "ambient", "funk", "blues", "reggae", "metal",
)  # fmt: skip
MOODS = (
    "happy", "sad", "calm", "energetic", "dark", "bright", "tense", "relaxed", "romantic",
    "melancholic", "playful", "solemn",
)  # fmt: skip
INSTRUMENTS = (
    "piano", "electric piano", "organ", "acoustic guitar", "electric guitar", "distorted guitar",
    "bass", "strings", "violin", "cello", "choir", "brass", "trumpet", "saxophone", "flute",
    "clarinet", "synth lead", "synth pad", "mallets", "harp", "accordion", "drums",
)  # fmt: skip
ENERGIES = ("low", "medium", "high")
METRES = ("3/4", "4/4")
SECTIONS = ("intro", "verse", "chorus", "bridge", "solo", "ending")

MIN_TEMPO_BPM, MAX_TEMPO_BPM = 40.0, 240.0
MAX_DURATION_SECONDS = 1800.0
MAX_BARS = 2000


@dataclass(frozen=True)
class SectionPlan:
    """A section of the form and its length in bars."""

    label: str
    bars: int

    def __post_init__(self) -> None:
        _require_known("section", self.label, SECTIONS)
        if not 1 <= self.bars <= MAX_BARS:
            raise ConfigError(
                f"section {self.label!r} has {self.bars} bars; expected 1 to {MAX_BARS}"
            )


@dataclass(frozen=True)
class Controls:
    """What is asked for; a field left at None (or empty, or False) is left to the arranger."""

    genre: str | None = None
    moods: tuple[str, ...] = ()
    tempo_bpm: float | None = None
    key: Key | None = None
    metre: str | None = None
    instruments: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    energy: str | None = None
    duration_seconds: float | None = None
    bars: int | None = None
    sections: tuple[SectionPlan, ...] = ()
    intro: bool = False
    ending: bool = False

    def __post_init__(self) -> None:
        """Raise ConfigError for a value out of range, or for wishes that exclude each other."""
        for name, values, known in (
            ("genre", [self.genre], GENRES),
            ("mood", self.moods, MOODS),
            ("metre", [self.metre], METRES),
            ("instrument", self.instruments, INSTRUMENTS),
            ("instrument to leave out", self.without, INSTRUMENTS),
            ("energy", [self.energy], ENERGIES),
        ):
            for value in values:
                if value is not None:
                    _require_known(name, value, known)
        _require_between("tempo", self.tempo_bpm, MIN_TEMPO_BPM, MAX_TEMPO_BPM, "BPM")
        _require_between("duration", self.duration_seconds, 1.0, MAX_DURATION_SECONDS, "seconds")
        _require_between("bars", self.bars, 1, MAX_BARS, "bars")
        wanted_and_refused = sorted(set(self.instruments) & set(self.without))
        if wanted_and_refused:
            raise ConfigError(
                f"instrument {wanted_and_refused[0]!r} is both wanted and refused; "
                "name it in --instruments or in --without, not in both"
            )
        lengths = [
            option
            for option, given in (
                ("--duration", self.duration_seconds is not None),
                ("--bars", self.bars is not None),
                ("--sections", bool(self.sections)),
            )
            if given
        ]
        if len(lengths) > 1:
            raise ConfigError(
                f"the length is given by {' and '.join(lengths)}; give it by one of them"
            )

    @property
    def beats_per_bar(self) -> int | None:
        return None if self.metre is None else int(self.metre.partition("/")[0])

    def to_dict(self) -> dict[str, object]:
        """What was asked for under the option names of the command line; absent fields left out."""
        values: dict[str, object] = {
            "genre": self.genre,
            "mood": list(self.moods),
            "tempo": self.tempo_bpm,
            "key": None if self.key is None else self.key.name,
            "metre": self.metre,
            "instruments": list(self.instruments),
            "without": list(self.without),
            "energy": self.energy,
            "duration": self.duration_seconds,
            "bars": self.bars,
            "sections": [f"{section.label}:{section.bars}" for section in self.sections],
            "intro": self.intro,
            "ending": self.ending,
        }
        return {name: value for name, value in values.items() if value not in (None, [], False)}

    @classmethod
    def from_options(cls, options: Mapping[str, object]) -> Controls:
        """Build from option names and values as a command line or a JSON row gives them.

        Lists may be real lists or comma-separated text; `key` is text; `sections` is text such as
        `intro:4,verse:8`. None means not given. Raises ConfigError.
        """
        unknown = sorted(set(options) - set(OPTION_NAMES))
        if unknown:
            raise ConfigError(
                f"control {unknown[0]!r} is not known{_suggestion(unknown[0], OPTION_NAMES)}; "
                f"expected one of {', '.join(OPTION_NAMES)}"
            )
        given = {name: value for name, value in options.items() if value is not None}
        return cls(
            genre=_word(given, "genre"),
            moods=_words(given, "mood"),
            tempo_bpm=number(given, "tempo"),
            key=Key.parse(_text(given["key"], "key")) if "key" in given else None,
            metre=_word(given, "metre"),
            instruments=_words(given, "instruments"),
            without=_words(given, "without"),
            energy=_word(given, "energy"),
            duration_seconds=number(given, "duration"),
            bars=whole_number(given, "bars"),
            sections=tuple(_section(item) for item in _words(given, "sections")),
            intro=_flag(given, "intro"),
            ending=_flag(given, "ending"),
        )


OPTION_NAMES = tuple(
    {"moods": "mood", "tempo_bpm": "tempo", "duration_seconds": "duration"}.get(f.name, f.name)
    for f in fields(Controls)
)


def _require_known(name: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise ConfigError(
            f"{name} {value!r} is not known{_suggestion(value, known)}; "
            f"expected one of {', '.join(known)}"
        )


def _suggestion(value: str, known: Sequence[str]) -> str:
    close = get_close_matches(value, known, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _require_between(name: str, value: float | None, low: float, high: float, unit: str) -> None:
    # Written so that NaN fails too.
    if value is not None and not low <= value <= high:
        raise ConfigError(f"{name} is {value:g} {unit}; expected {low:g} to {high:g} {unit}")


def _text(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"{name} is {value!r}; expected text")
    return value.strip()


def _word(options: Mapping[str, object], name: str) -> str | None:
    return _text(options[name], name).lower() if name in options else None


def _words(options: Mapping[str, object], name: str) -> tuple[str, ...]:
    value = options.get(name, ())
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, Sequence):
        raise ConfigError(f"{name} is {value!r}; expected a list or comma-separated text")
    words = [_text(item, name).lower() for item in items]
    return tuple(dict.fromkeys(word for word in words if word))


def number(options: Mapping[str, object], name: str) -> float | None:
    """The option's value, also from text; None if it is not there. Raises ConfigError."""
    if name not in options:
        return None
    value = options[name]
    try:
        if isinstance(value, int | float | str) and not isinstance(value, bool):
            return float(value)
    except (ValueError, OverflowError):
        pass  # the message below names the value
    raise ConfigError(f"{name} is {value!r:.50}; expected a number")


def whole_number(options: Mapping[str, object], name: str) -> int | None:
    """As `number`, for what is counted."""
    value = number(options, name)
    if value is None:
        return None
    if not value.is_integer():
        raise ConfigError(f"{name} is {value:g}; expected a whole number")
    return int(value)


def _flag(options: Mapping[str, object], name: str) -> bool:
    value = options.get(name, False)
    if not isinstance(value, bool):
        raise ConfigError(f"{name} is {value!r}; expected true or false")
    return value


def _section(text: str) -> SectionPlan:
    label, colon, bars = text.partition(":")
    if not colon or not bars.strip().isdigit():
        raise ConfigError(
            f"section {text!r} is not understood; expected LABEL:BARS such as 'verse:8'"
        )
    return SectionPlan(label.strip(), int(bars))
