"""What differs from one section to the next in what a trained listener hears.

Pure functions of what was heard; knows no wording. An instrument that is not among the tags of a
section counts as not heard there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from antiphon.controls import ENERGIES
from antiphon.description import HeardSection, Tag
from antiphon.facts import Span
from antiphon.listen.certainty import ASSERTED, PLAIN, Said, said

_SAME_SECONDS = 1.0  # a heard section is the measured one whose start lies as near as this
DRUMS = "drums"


@dataclass(frozen=True)
class Change:
    """What is new from `start_seconds` on; `energy` is named "up" or "down", or is None."""

    start_seconds: float
    part: str | None  # label of the measured section
    joins: tuple[Said, ...] = ()
    leaves: tuple[str, ...] = ()
    stays: tuple[str, ...] = ()
    energy: Said | None = None
    genre: Said | None = None


def section_changes(
    sections: Sequence[HeardSection],
    measured: Sequence[Span],
    genre: str | None = None,
    *,
    doubted: bool = False,
) -> tuple[Change, ...]:
    """The sections in which something differs from the one before, in order.

    An instrument joins where it may be said and could not be before; the less sure it is now, the
    surer its absence before has to be. It leaves where it could be said plainly and is now as
    plainly not there. What is called `genre` as a whole does not turn to it, but may turn back.
    """
    found = []
    for before, now in zip(sections[:-1], sections[1:], strict=True):
        change = _change(before, now, _label(now, measured), doubted)
        if change.genre is not None and change.genre.name == genre:
            change = replace(change, genre=None)
        elif change.genre is not None:
            genre = change.genre.name
        if change.joins or change.leaves or change.energy or change.genre:
            found.append(change)
    return tuple(found)


def playing(section: HeardSection) -> tuple[str, ...]:
    """Instruments of which it can be said plainly that they play in a section, drums last."""
    sure = _confidences(section)
    return tuple(name for name, confidence in sure.items() if confidence >= PLAIN)


def _change(before: HeardSection, now: HeardSection, part: str | None, doubted: bool) -> Change:
    was, is_now = _confidences(before), _confidences(now)
    joins, leaves, stays = [], [], []
    for name in {**is_now, **was}:
        if name == DRUMS and not (DRUMS in was and DRUMS in is_now):
            continue
        old, new = was.get(name, 0.0), is_now.get(name, 0.0)
        if old < (ASSERTED if new >= PLAIN else 1 - PLAIN):
            joined = said(name, new, doubted=doubted)
            joins += [] if joined is None else [joined]
        elif old >= PLAIN and not doubted:
            leaves += [name] if new < 1 - PLAIN else []
            stays += [name] if new >= PLAIN else []
    return Change(
        now.start_seconds,
        part,
        tuple(joins),
        tuple(leaves),
        tuple(stays),
        _energy_change(before, now, doubted),
        _genre_change(before, now, doubted),
    )


def _confidences(section: HeardSection) -> dict[str, float]:
    """That each plays, 0 to 1, the surest first and drums last, if anything is known of drums."""
    surest_first = sorted(section.instruments, key=lambda tag: -tag.confidence)
    found = {tag.name: tag.confidence for tag in surest_first}
    if section.drums is not None:
        sure = section.drums.confidence
        found[DRUMS] = sure if section.drums.present else 1 - sure
    return found


def _energy_change(before: HeardSection, now: HeardSection, doubted: bool) -> Said | None:
    if before.energy is None or now.energy is None or before.energy == now.energy:
        return None
    up = ENERGIES.index(now.energy) > ENERGIES.index(before.energy)
    sure = min(before.energy_confidence or 0.0, now.energy_confidence or 0.0)
    return said("up" if up else "down", sure, doubted=doubted)


def _genre_change(before: HeardSection, now: HeardSection, doubted: bool) -> Said | None:
    old, new = _genre(before), _genre(now)
    if old is None or new is None or old.name == new.name:
        return None
    if min(old.confidence, new.confidence) < ASSERTED:
        return None
    return said(new.name, min(old.confidence, new.confidence), doubted=doubted)


def _genre(section: HeardSection) -> Tag | None:
    return max(section.genre, key=lambda tag: tag.confidence, default=None)


def _label(section: HeardSection, measured: Sequence[Span]) -> str | None:
    near = [
        span.label
        for span in measured
        if abs(span.start_seconds - section.start_seconds) <= _SAME_SECONDS
    ]
    return near[0] if near else None
