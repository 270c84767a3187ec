"""Description: the words about one recording, with the facts and the provenance they rest on.

Knows no model and no file format of sidecars or exports.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from antiphon.facts import Facts
from antiphon.plain import read_json, write_json

Setting = str | int | float | bool | None
Policy = Literal["annotate", "correct", "drop", "off"]  # what becomes of contradicted claims
POLICIES: tuple[Policy, ...] = get_args(Policy)
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
    """Something that a trained listener hears; 0.5 and more counts as asserted."""

    name: str
    confidence: float


@dataclass(frozen=True)
class Passage:
    """A stretch of a recording."""

    start_seconds: float
    end_seconds: float


@dataclass(frozen=True)
class Sounding:
    """An instrument that is heard, and when."""

    name: str
    confidence: float
    passages: tuple[Passage, ...] = ()


@dataclass(frozen=True)
class Presence:
    """Whether something is there, how sure that is (0.5 to 1), and when it is."""

    present: bool
    confidence: float
    passages: tuple[Passage, ...] = ()


@dataclass(frozen=True)
class EnergyCurve:
    """Energy as heard, 0 (low) to 1 (high), at equal steps."""

    step_seconds: float
    level: tuple[float, ...]


@dataclass(frozen=True)
class HeardSection:
    """What is heard in one of the measured sections."""

    start_seconds: float
    end_seconds: float
    genre: tuple[Tag, ...] = ()
    instruments: tuple[Tag, ...] = ()
    drums: Presence | None = None
    energy: str | None = None
    energy_confidence: float | None = None


@dataclass(frozen=True)
class Heard:
    """What a trained listener hears beyond the measured facts, the surest first.

    Tags below 0.5 are listed but not asserted. `music` says whether it is music at all; where it is
    not, nothing else is asserted. `moods` and `dance` follow from the rest by rule.
    """

    music: Presence | None = None
    genre: tuple[Tag, ...] = ()
    instruments: tuple[Sounding, ...] = ()
    drums: Presence | None = None
    energy: str | None = None
    energy_confidence: float | None = None
    energy_curve: EnergyCurve | None = None
    moods: tuple[Tag, ...] = ()
    dance: Presence | None = None
    sections: tuple[HeardSection, ...] = ()


@dataclass(frozen=True)
class Provenance:
    """What made the texts; `settings` is whatever changes them."""

    model: str
    revision: str | None
    licence: str | None
    settings: Mapping[str, Setting]
    version: str


@dataclass(frozen=True)
class Reply:
    """One answer about a recording, or of a conversation; `str` of it is the answer alone."""

    path: str | None
    question: str
    answer: str
    claims: tuple[Claim, ...]
    provenance: Provenance
    notes: tuple[str, ...] = ()
    thoughts: str | None = None

    def __str__(self) -> str:
        return self.answer

    def to_json(self) -> str:
        """One line of strict JSON."""
        return write_json(self)


@dataclass(frozen=True)
class Description:
    """Texts by kind, with what they rest on; `heard` is None without a trained listener.

    `notes` say what was done otherwise than asked: sound that was cut, a text that was shortened.
    """

    path: str | None
    texts: Mapping[str, str]
    facts: Facts
    provenance: Provenance
    claims: tuple[Claim, ...] = ()
    heard: Heard | None = None
    notes: tuple[str, ...] = ()

    def only(self, kinds: Collection[str]) -> Description:
        """The same with the texts of `kinds` alone, and what belongs to them."""
        others = tuple(f"{kind}: " for kind in self.texts if kind not in kinds)
        return replace(
            self,
            texts={kind: text for kind, text in self.texts.items() if kind in kinds},
            claims=tuple(claim for claim in self.claims if claim.kind in kinds),
            notes=tuple(note for note in self.notes if not (others and note.startswith(others))),
        )

    def to_json(self) -> str:
        """One line of strict JSON."""
        return write_json(self)

    @classmethod
    def from_json(cls, text: str | bytes) -> Description:
        """Read what `to_json` wrote. Unknown keys and wrong types raise ConfigError."""
        return read_json(cls, text, "description")


def joined(descriptions: Sequence[Description], kinds: Sequence[str]) -> Description:
    """One description of the texts of several of the same recording, in the order of `kinds`.

    Each kind comes from the first that has it; all else is the first's.
    """
    rest = list(kinds)
    found: list[Description] = []
    for description in descriptions:
        mine = [kind for kind in rest if kind in description.texts]
        rest = [kind for kind in rest if kind not in mine]
        found.append(description.only(mine))
    texts = {kind: text for part in found for kind, text in part.texts.items()}
    first = found[0]
    return replace(
        first,
        texts={kind: texts[kind] for kind in kinds},
        claims=tuple(c for kind in kinds for part in found for c in part.claims if c.kind == kind),
        notes=tuple(dict.fromkeys(note for part in found for note in part.notes)),
        provenance=replace(
            first.provenance, settings={**first.provenance.settings, "kinds": ",".join(kinds)}
        ),
    )
