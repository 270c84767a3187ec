import pytest

from antiphon.arrange.form import DEFAULT_BARS, PHRASE_BARS, section_lengths
from antiphon.arrange.plan import make_plan
from antiphon.controls import GENRES, Controls, SectionPlan
from antiphon.errors import ConfigError

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("usual", [8, 12])
def test_any_number_of_bars_is_split_without_rest(usual: int) -> None:
    assert section_lengths(0, usual) == []
    for bars in range(1, 600):
        lengths = section_lengths(bars, usual)
        assert sum(lengths) == bars
        assert min(lengths) >= 1
        assert max(lengths) <= 3 * usual
        # Odd bars only in the last section.
        assert all(length % PHRASE_BARS == 0 for length in lengths[:-1])


def test_whole_multiples_stay_whole() -> None:
    assert section_lengths(32, 8) == [8, 8, 8, 8]
    assert section_lengths(12, 12) == [12]
    assert section_lengths(8, 8) == [4, 4]


def test_a_piece_nobody_measured_is_about_a_minute_long() -> None:
    seconds = []
    for seed in range(140):
        plan = make_plan(Controls(genre=GENRES[seed % len(GENRES)]), seed)
        assert DEFAULT_BARS[0] - 8 <= plan.bars <= DEFAULT_BARS[1] + 8
        seconds.append(plan.bars * plan.beats_per_bar * 60 / plan.tempo_bpm)
    assert 50 <= sum(seconds) / len(seconds) <= 85


def test_fitting_a_duration_moves_the_tempo_little() -> None:
    for seed in range(140):
        genre = GENRES[seed % len(GENRES)]
        free = make_plan(Controls(genre=genre), seed)
        fitted = make_plan(Controls(genre=genre, duration_seconds=60.0), seed)
        assert fitted.tempo_bpm == pytest.approx(free.tempo_bpm, rel=0.07)


def test_sections_that_have_their_intro_get_no_second_one() -> None:
    asked = (SectionPlan("intro", 2), SectionPlan("verse", 4), SectionPlan("ending", 3))
    plan = make_plan(Controls(sections=asked, intro=True, ending=True), 1)
    assert plan.sections == asked


def test_the_shortest_pieces_with_frames() -> None:
    (only,) = make_plan(Controls(bars=1, ending=True), 1).sections
    assert only == SectionPlan("ending", 1)
    both = make_plan(Controls(bars=2, intro=True, ending=True), 1).sections
    assert [section.label for section in both] == ["intro", "ending"]
    with pytest.raises(ConfigError, match="too short for an intro and an ending"):
        make_plan(Controls(bars=1, intro=True, ending=True), 1)


def test_a_loop_of_exact_bars_has_no_frames_unasked() -> None:
    for seed in range(20):
        labels = {section.label for section in make_plan(Controls(bars=32), seed).sections}
        assert not labels & {"intro", "ending"}
