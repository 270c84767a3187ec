"""How pitch is written: note names, keys and chord labels. Knows no sound and no score."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from antiphon.errors import ConfigError

if TYPE_CHECKING:
    from pydantic_core import CoreSchema

Mode = Literal["major", "minor"]

# The spelling with the fewest accidentals in its key signature; F#/Gb major is a tie.
MAJOR_NAMES = ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
MINOR_NAMES = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "G#", "A", "Bb", "B")

_LETTERS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_SHIFTS = {"": 0, "#": 1, "b": -1, "♯": 1, "♭": -1, "sharp": 1, "flat": -1}
_TONIC = r"([a-g])[\s-]*(#|♯|♭|b(?=m|[^a-z]|$)|sharp|flat)?"
_KEY = re.compile(rf"^\s*{_TONIC}[\s:-]*(major|minor|maj|min|m)?\s*$", re.IGNORECASE)

MAJOR_SCALE = (0, 2, 4, 5, 7, 9, 11)
MINOR_SCALE = (0, 2, 3, 5, 7, 8, 10)  # natural minor

# Chord qualities in Harte's notation (Harte et al., ISMIR 2005), as pitch classes above the root.
CHORD_QUALITIES: dict[str, tuple[int, ...]] = {
    "maj": (0, 4, 7),
    "min": (0, 3, 7),
    "dim": (0, 3, 6),
    "aug": (0, 4, 8),
    "sus4": (0, 5, 7),
    "maj7": (0, 4, 7, 11),
    "min7": (0, 3, 7, 10),
    "7": (0, 4, 7, 10),
    "hdim7": (0, 3, 6, 10),
    "dim7": (0, 3, 6, 9),
    "maj9": (0, 4, 7, 11, 2),
    "min9": (0, 3, 7, 10, 2),
    "9": (0, 4, 7, 10, 2),
}


@dataclass(frozen=True, order=True)
class Key:
    """A major or minor key; `tonic` is a pitch class, 0 = C ... 11 = B."""

    tonic: int
    mode: Mode

    def __post_init__(self) -> None:
        if not 0 <= self.tonic < 12:
            raise ValueError(f"tonic is {self.tonic}; expected a pitch class from 0 (C) to 11 (B)")

    @property
    def name(self) -> str:
        """As in `C# minor`, `Bb major`."""
        names = MAJOR_NAMES if self.mode == "major" else MINOR_NAMES
        return f"{names[self.tonic]} {self.mode}"

    @property
    def scale(self) -> tuple[int, ...]:
        """Its seven pitch classes from the tonic upwards (natural minor)."""
        steps = MAJOR_SCALE if self.mode == "major" else MINOR_SCALE
        return tuple((self.tonic + step) % 12 for step in steps)

    @classmethod
    def parse(cls, text: str) -> Key:
        """Read `C# minor`, `F sharp minor`, `Bb`, `am` or `e-flat major`; no mode means major.

        Raises ConfigError for anything else.
        """
        match = _KEY.match(text)
        if match is None:
            raise ConfigError(
                f"key {text!r} is not a key; expected a note from A to G, optionally # or b, "
                "then major or minor, such as 'C# minor' or 'Bb major'"
            )
        letter, accidental, mode = match.groups()
        tonic = (_LETTERS[letter.upper()] + _SHIFTS[(accidental or "").lower()]) % 12
        # A lone capital M is how jazz charts write major; 'Am' and 'am' are minor.
        minor = mode is not None and mode != "M" and mode.lower() in ("minor", "min", "m")
        return cls(tonic, "minor" if minor else "major")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: object) -> CoreSchema:
        return _schema_from_text(cls.parse)


ALL_KEYS = tuple(Key(tonic, mode) for mode in ("major", "minor") for tonic in range(12))


@dataclass(frozen=True)
class Chord:
    """A root pitch class and a quality of `CHORD_QUALITIES`."""

    root: int
    quality: str

    def __post_init__(self) -> None:
        if not 0 <= self.root < 12:
            raise ValueError(f"root is {self.root}; expected a pitch class from 0 (C) to 11 (B)")
        if self.quality not in CHORD_QUALITIES:
            known = ", ".join(CHORD_QUALITIES)
            raise ValueError(
                f"chord quality {self.quality!r} is not known; expected one of {known}"
            )

    @property
    def label(self) -> str:
        """Harte notation, as in `C:maj`, `F#:min7`."""
        flat_side = self.quality.startswith("maj") or self.quality in ("7", "9", "aug", "sus4")
        return f"{(MAJOR_NAMES if flat_side else MINOR_NAMES)[self.root]}:{self.quality}"

    @property
    def pitch_classes(self) -> tuple[int, ...]:
        """Sounding pitch classes, root first."""
        return tuple((self.root + step) % 12 for step in CHORD_QUALITIES[self.quality])

    @classmethod
    def parse(cls, label: str) -> Chord:
        """Read a label such as `C:maj` or `F#:min7`. Raises ConfigError otherwise."""
        tonic, _, quality = label.partition(":")
        match = re.fullmatch(r"([A-G])([#b]?)", tonic)
        if match is None or quality not in CHORD_QUALITIES:
            raise ConfigError(
                f"chord label {label!r} is not understood; expected ROOT:QUALITY such as 'C:maj', "
                f"with a quality out of {', '.join(CHORD_QUALITIES)}"
            )
        return cls((_LETTERS[match[1]] + _SHIFTS[match[2]]) % 12, quality)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: object) -> CoreSchema:
        return _schema_from_text(cls.parse)


def _schema_from_text(parse: Callable[[str], object]) -> CoreSchema:
    """In JSON, keys and chords are written by name."""
    from pydantic_core import core_schema

    return core_schema.no_info_after_validator_function(parse, core_schema.str_schema(strict=True))
