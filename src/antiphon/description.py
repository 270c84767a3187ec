"""Description: the words about one recording, with the facts and the provenance they rest on.

Knows no model and no file format of sidecars or exports.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from antiphon.facts import Facts
from antiphon.plain import read_json, write_json

Verdict = Literal["confirmed", "octave", "contradicted", "unmeasured"]
Quantity = Literal["tempo", "key", "metre", "duration", "chords", "loudness", "time"]


@dataclass(frozen=True)
class Claim:
    """A number or key that a model's text of `kind` states, against what was measured."""

    kind: str
    quantity: Quantity
    said: str
    measured: str | None
    verdict: Verdict


@dataclass(frozen=True)
class Tag:
    """A genre or an instrument that a trained listener hears; 0.5 and more counts as asserted."""

    name: str
    confidence: float


@dataclass(frozen=True)
class Presence:
    """Whether something is there at all."""

    present: bool
    confidence: float


@dataclass(frozen=True)
class Heard:
    """What a trained listener hears beyond the measured facts."""

    genre: tuple[Tag, ...] = ()
    instruments: tuple[Tag, ...] = ()
    drums: Presence | None = None
    energy: str | None = None


@dataclass(frozen=True)
class Provenance:
    """What made the texts; `settings` is whatever changes them."""

    model: str
    revision: str | None
    licence: str | None
    settings: Mapping[str, str | int | float | bool | None]
    version: str


@dataclass(frozen=True)
class Description:
    """Texts by kind, with what they rest on; `heard` is None without a trained listener."""

    path: str | None
    texts: Mapping[str, str]
    facts: Facts
    provenance: Provenance
    claims: tuple[Claim, ...] = ()
    heard: Heard | None = None

    def to_json(self) -> str:
        """One line of strict JSON."""
        return write_json(self)

    @classmethod
    def from_json(cls, text: str | bytes) -> Description:
        """Read what `to_json` wrote. Unknown keys and wrong types raise ConfigError."""
        return read_json(cls, text, "description")
