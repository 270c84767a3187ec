"""What a trained listener hears into what may be said of it, by certainty. Knows no word.

`certainty.py` holds the bounds. Where it is doubted that there is music, all else takes a hedge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from antiphon.description import Heard, Passage
from antiphon.facts import Facts
from antiphon.listen.certainty import PLAIN, Said, absence_said, all_said, presence_said, said
from antiphon.listen.changes import DRUMS, Change, playing, section_changes
from antiphon.listen.phrases import FAIR

# What sounds from the first seconds on does not come in.
_LATEST_START_SECONDS = 4.0

Music = Literal["yes", "doubted", "no"]


@dataclass(frozen=True)
class Entry:
    """An instrument that comes in after the beginning."""

    name: str
    seconds: float


@dataclass(frozen=True)
class HeardPhrases:
    """All that may be said; the surest first, with drums among the instruments.

    `dance` is named "danceable" or "still". `opening` are the instruments of the first section, and
    is empty like `changes` where the sections are not told.
    """

    music: Music
    genres: tuple[Said, ...] = ()
    moods: tuple[Said, ...] = ()
    instruments: tuple[Said, ...] = ()
    no_drums: Said | None = None
    energy: Said | None = None
    dance: Said | None = None
    entries: tuple[Entry, ...] = ()
    opening: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()


def music_of(heard: Heard) -> Music:
    """Whether it may be spoken of as music."""
    if heard.music is None:
        return "yes"
    if heard.music.confidence < PLAIN:
        return "doubted"
    return "yes" if heard.music.present else "no"


def heard_phrases(heard: Heard, facts: Facts) -> HeardPhrases:
    """Collect what may be said; nothing but that where it is not music."""
    music = music_of(heard)
    if music == "no":
        return HeardPhrases(music)
    doubted = music == "doubted"
    dance = None
    if heard.dance is not None:
        name = "danceable" if heard.dance.present else "still"
        dance = said(name, heard.dance.confidence, doubted=doubted)
    genres = tuple(all_said(heard.genre, doubted=doubted))
    opening: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()
    if facts.sections.spans and facts.sections.confidence >= FAIR:
        whole = genres[0].name if genres else None
        changes = section_changes(heard.sections, facts.sections.spans, whole, doubted=doubted)
        if changes and not doubted:
            opening = playing(heard.sections[0])
    energy = None
    if heard.energy is not None:
        energy = said(heard.energy, heard.energy_confidence or 0.0, doubted=doubted)
    return HeardPhrases(
        music,
        genres=genres,
        moods=tuple(all_said(heard.moods, doubted=doubted)),
        instruments=tuple(_instruments(heard, doubted)),
        no_drums=absence_said(DRUMS, heard.drums, doubted=doubted),
        energy=energy,
        dance=dance,
        entries=() if doubted else tuple(_entries(heard)),
        opening=opening,
        changes=changes,
    )


def _instruments(heard: Heard, doubted: bool) -> list[Said]:
    found = all_said((one for one in heard.instruments if one.name != DRUMS), doubted=doubted)
    drums = presence_said(DRUMS, heard.drums, doubted=doubted)
    # Those that take a hedge come last; among the others the drums do.
    found += [] if drums is None else [drums]
    return sorted(found, key=lambda one: not one.plain)


def _entries(heard: Heard) -> list[Entry]:
    """Instruments that are sure and come in later, in the order in which they do."""
    passages: dict[str, Sequence[Passage]] = {one.name: one.passages for one in heard.instruments}
    if heard.drums is not None:
        passages[DRUMS] = heard.drums.passages
    found = [
        Entry(one.name, min(passage.start_seconds for passage in passages[one.name]))
        for one in _instruments(heard, False)
        if one.plain and passages[one.name]
    ]
    late = [entry for entry in found if entry.seconds >= _LATEST_START_SECONDS]
    return sorted(late, key=lambda entry: entry.seconds)
