"""arrange.drums: grooves, fills and crashes."""

import pytest

from antiphon.arrange import arrange
from antiphon.arrange.drums import fill_length
from antiphon.arrange.styles import DRUM_PITCHES
from antiphon.controls import GENRES, Controls, SectionPlan
from antiphon.score import Note, Score

pytestmark = pytest.mark.unit


def drums(score: Score) -> tuple[Note, ...]:
    return next(track.notes for track in score.tracks if track.is_drums)


def hits(score: Score, voice: str) -> list[float]:
    """Beats of a voice, to the nearest sixteenth."""
    return [round(n.start_beat * 4) / 4 for n in drums(score) if n.pitch == DRUM_PITCHES[voice]]


def test_house_has_the_kick_on_every_beat() -> None:
    for seed in range(10):
        score = arrange(Controls(genre="house", sections=(SectionPlan("chorus", 7),)), seed)
        kicks = hits(score, "kick")
        assert {0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0} <= set(kicks)


def test_rock_has_its_backbeat() -> None:
    for seed in range(10):
        controls = Controls(genre="rock", metre="4/4", sections=(SectionPlan("verse", 7),))
        assert {1.0, 3.0, 5.0, 7.0} <= set(hits(arrange(controls, seed), "snare"))


def test_jazz_rides() -> None:
    for seed in range(10):
        controls = Controls(genre="jazz", metre="4/4", sections=(SectionPlan("verse", 7),))
        assert {0.0, 1.0, 2.0, 3.0} <= set(hits(arrange(controls, seed), "ride"))


def second_half(notes: tuple[Note, ...], bar: int) -> set[tuple[int, int]]:
    """Drum and sixteenth of the hits in the last two beats of a bar of four."""
    steps = {(note.pitch, round(note.start_beat * 4) - 16 * bar) for note in notes}
    return {(pitch, step) for pitch, step in steps if 8 <= step < 16}


def test_the_last_bar_of_a_section_often_has_a_fill() -> None:
    filled = 0
    for seed in range(30):
        controls = Controls(genre="rock", metre="4/4", sections=(SectionPlan("chorus", 8),))
        notes = drums(arrange(controls, seed))
        filled += second_half(notes, 1) != second_half(notes, 7)
    assert filled >= 15


def test_a_new_section_begins_with_a_crash() -> None:
    plan = (SectionPlan("verse", 4), SectionPlan("chorus", 4))
    score = arrange(Controls(genre="rock", metre="4/4", energy="high", sections=plan), 3)
    assert 16.0 in hits(score, "crash")
    assert 0.0 not in hits(score, "crash")


def test_fills_keep_to_their_bar_in_both_metres() -> None:
    assert fill_length({"snare": "xxxx xxxx xxxx xxxx"}, 3) == 3
    assert fill_length({"snare": "xxxx xx.."}, 4) == 2
    assert fill_length({}, 4) == 0
    for seed, genre in enumerate(GENRES):
        for metre in ("3/4", "4/4"):
            controls = Controls(
                genre=genre, metre=metre, energy="high", instruments=("drums",), bars=8
            )
            score = arrange(controls, seed)
            starts = [note.start_beat for note in drums(score)]
            assert min(starts) >= 0
            assert max(starts) < score.total_beats
