"""What differs between sections, against sections made so that the answer is known."""

from __future__ import annotations

import pytest

from antiphon.description import HeardSection, Presence, Tag
from antiphon.facts import Span
from antiphon.listen.certainty import Said
from antiphon.listen.changes import Change, playing, section_changes

pytestmark = pytest.mark.unit

SPANS = (Span(0, 20, "A"), Span(20.4, 40, "B"))


def section(start: float, drums: Presence | None = None, **instruments: float) -> HeardSection:
    tags = tuple(Tag(name, confidence) for name, confidence in instruments.items())
    return HeardSection(start, start + 20, (), tags, drums)


def change(before: HeardSection, now: HeardSection, *, doubted: bool = False) -> Change | None:
    found = section_changes((before, now), SPANS, doubted=doubted)
    return found[0] if found else None


@pytest.mark.parametrize(
    ("old", "new", "joins"),
    [
        (0.0, 0.9, (Said("piano", plain=True),)),
        (0.4, 0.9, (Said("piano", plain=True),)),
        (0.6, 0.9, ()),  # it may have been there
        (0.1, 0.6, (Said("piano", plain=False),)),
        (0.4, 0.6, ()),  # two uncertain readings make no change
        (0.0, 0.4, ()),
    ],
)
def test_what_joins(old: float, new: float, joins: tuple[Said, ...]) -> None:
    found = change(section(0, piano=old), section(20, piano=new))
    assert (found.joins if found else ()) == joins


@pytest.mark.parametrize(
    ("old", "new", "leaves"),
    [(0.9, 0.0, ("piano",)), (0.9, 0.2, ("piano",)), (0.9, 0.4, ()), (0.6, 0.0, ())],
)
def test_what_leaves(old: float, new: float, leaves: tuple[str, ...]) -> None:
    found = change(section(0, piano=old), section(20, piano=new))
    assert (found.leaves if found else ()) == leaves


def test_drums_join_and_leave_only_where_both_sections_know_of_them() -> None:
    there, gone = Presence(True, 0.9), Presence(False, 0.9)
    joined = change(section(0, gone), section(20, there))
    assert joined is not None
    assert joined.joins == (Said("drums", plain=True),)
    left = change(section(0, there), section(20, gone))
    assert left is not None
    assert left.leaves == ("drums",)
    assert change(section(0), section(20, there)) is None
    assert change(section(0, there), section(20)) is None


def test_what_stays_is_what_others_join() -> None:
    drums = Presence(True, 0.9)
    found = change(section(0, drums, bass=0.9), section(20, drums, bass=0.8, strings=0.8))
    assert found == Change(20, "B", (Said("strings", plain=True),), stays=("bass", "drums"))


def test_energy_and_genre_are_as_certain_as_the_less_certain_section() -> None:
    before = HeardSection(0, 20, (Tag("rock", 0.9),), energy="low", energy_confidence=0.9)
    now = HeardSection(20, 40, (Tag("folk", 0.6),), energy="high", energy_confidence=0.8)
    found = change(before, now)
    assert found is not None
    assert found.energy == Said("up", plain=True)
    assert found.genre == Said("folk", plain=False)
    assert change(before, before) is None


def test_where_music_is_doubted_nothing_is_plain() -> None:
    found = change(section(0, bass=0.9, organ=0.9), section(20, bass=0.9, flute=0.9), doubted=True)
    assert found is not None
    assert found.joins == (Said("flute", plain=False),)
    assert found.leaves == ()


def test_a_section_that_was_not_measured_has_no_name() -> None:
    found = section_changes((section(0), section(33, piano=0.9)), SPANS)
    assert found[0].part is None


def test_playing_names_what_is_sure_with_drums_last() -> None:
    heard = section(0, Presence(True, 0.8), piano=0.76, bass=0.9, flute=0.6)
    assert playing(heard) == ("bass", "piano", "drums")


def test_a_piece_does_not_turn_to_what_it_is_called_as_a_whole() -> None:
    parts = [
        HeardSection(20.0 * n, 20.0 * n + 20, (Tag(genre, 0.9),), (), None)
        for n, genre in enumerate(("rock", "jazz", "rock", "jazz"))
    ]

    def told(whole: str | None) -> list[tuple[float, str]]:
        found = section_changes(parts, SPANS, whole)
        return [(c.start_seconds, c.genre.name) for c in found if c.genre is not None]

    assert told(None) == [(20, "jazz"), (40, "rock"), (60, "jazz")]
    assert told("rock") == [(20, "jazz"), (40, "rock"), (60, "jazz")]
    assert told("jazz") == [(40, "rock"), (60, "jazz")]
