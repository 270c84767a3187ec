import statistics

import pytest

from antiphon.arrange.plan import Plan, make_plan
from antiphon.arrange.styles import load_style
from antiphon.controls import GENRES, MOODS, Controls

pytestmark = pytest.mark.unit


def plans(count: int = 56, **controls: object) -> list[Plan]:
    return [
        make_plan(Controls(genre=GENRES[seed % len(GENRES)], **controls), seed)  # type: ignore[arg-type]
        for seed in range(count)
    ]


def minor_share(moods: tuple[str, ...]) -> float:
    return statistics.fmean(plan.key.mode == "minor" for plan in plans(moods=moods))


def test_moods_choose_the_mode() -> None:
    assert minor_share(("happy",)) < 0.1
    assert minor_share(("bright",)) < 0.2
    assert minor_share(("sad",)) > 0.9
    assert minor_share(("dark",)) > 0.9
    assert 0.25 < minor_share(()) < 0.75


def test_a_key_asked_for_outranks_the_mood() -> None:
    controls = Controls.from_options({"mood": "happy", "key": "C minor"})
    assert make_plan(controls, 1).key.name == "C minor"


def test_moods_and_energy_move_the_tempo() -> None:
    def tempo(**controls: object) -> float:
        return statistics.fmean(plan.tempo_bpm for plan in plans(**controls))

    assert tempo(moods=("sad",)) < tempo() < tempo(moods=("energetic",))
    assert tempo(energy="low") < tempo(energy="medium") < tempo(energy="high")


def test_a_style_keeps_near_its_own_tempo_whatever_the_mood() -> None:
    for mood in MOODS:
        for plan in plans(14, moods=(mood,)):
            low, high = plan.style.tempo_bpm
            assert 0.85 * low - 1 <= plan.tempo_bpm <= 1.15 * high + 1


def test_energy_asked_for_outranks_the_mood() -> None:
    calm = [plan.intensity for plan in plans(energy="high", moods=("calm",))]
    wild = [plan.intensity for plan in plans(energy="low", moods=("energetic",))]
    assert min(calm) > max(wild)


def test_moods_move_the_register() -> None:
    assert make_plan(Controls(moods=("dark",)), 1).register < 0
    assert make_plan(Controls(moods=("bright",)), 1).register > 0
    assert make_plan(Controls(moods=("playful",)), 1).legato < 1


def test_all_keys_and_genres_come_up_when_nothing_is_asked() -> None:
    drawn = [make_plan(Controls(), seed) for seed in range(400)]
    assert {plan.style.genre for plan in drawn} == set(GENRES)
    assert len({plan.key for plan in drawn}) == 24
    assert {plan.metre for plan in drawn} == {"3/4", "4/4"}


def test_the_genre_left_open_suits_what_was_asked() -> None:
    drawn = [
        make_plan(Controls(instruments=("distorted guitar",), tempo_bpm=140.0), seed).style.genre
        for seed in range(60)
    ]
    assert sum(genre in ("rock", "metal") for genre in drawn) > 35
    slow = [make_plan(Controls(tempo_bpm=60.0), seed).style.tempo_bpm[0] for seed in range(60)]
    assert sum(low <= 60 / 0.9 for low in slow) > 50


def test_waltzes_come_up_where_they_belong() -> None:
    folk = [make_plan(Controls(genre="folk"), seed).metre for seed in range(200)]
    assert folk.count("3/4") / 200 == pytest.approx(load_style("folk").waltz, abs=0.1)
    assert all(make_plan(Controls(genre="house"), seed).metre == "4/4" for seed in range(50))
