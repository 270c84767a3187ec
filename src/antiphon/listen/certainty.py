"""How sure a trained listener has to be of something for a text to say it.

From PLAIN on it is stated as it is, from ASSERTED on with a hedge (`wording_heard.HEDGES`), below
not at all. Knows no words.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from antiphon.description import Presence, Sounding, Tag

PLAIN = 0.75
ASSERTED = 0.5


@dataclass(frozen=True)
class Said:
    """Something that may be said, plainly or with a hedge."""

    name: str
    plain: bool


def said(name: str, confidence: float, *, doubted: bool = False) -> Said | None:
    """None where it is too uncertain; `doubted` things take a hedge however sure they are."""
    if confidence < ASSERTED:
        return None
    return Said(name, confidence >= PLAIN and not doubted)


def all_said(heard: Iterable[Tag | Sounding], *, doubted: bool = False) -> list[Said]:
    """What may be said of tags or instruments, the surest first."""
    surest_first = sorted(heard, key=lambda one: -one.confidence)
    found = (said(one.name, one.confidence, doubted=doubted) for one in surest_first)
    return [one for one in found if one is not None]


def presence_said(name: str, presence: Presence | None, *, doubted: bool = False) -> Said | None:
    """That it is there, under its name; None where it is not, or where that is too uncertain."""
    if presence is None or not presence.present:
        return None
    return said(name, presence.confidence, doubted=doubted)


def absence_said(name: str, presence: Presence | None, *, doubted: bool = False) -> Said | None:
    """That it is not there, under its name; None where it is, or where that is too uncertain."""
    if presence is None or presence.present:
        return None
    return said(name, presence.confidence, doubted=doubted)
