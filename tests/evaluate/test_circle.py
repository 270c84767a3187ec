"""Was what was asked for heard? By a composer that obeys, and by one that does not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest

from antiphon.cli.main import run
from antiphon.compose.composer import Composer
from antiphon.compose.requests import Performance, Request
from antiphon.compose.synth_renderer import Synth
from antiphon.controls import GENRES
from antiphon.data.tunes import tune_split
from antiphon.evaluate.circle import CONTROLS, CircleResult, held_out_prompts, play_circle
from antiphon.evaluate.statistics import correlation_of, mean_of

pytestmark = pytest.mark.integration

PROMPTS = 14


class Deaf(Synth):
    """Plays the same whatever it is asked."""

    def perform(self, requests: Sequence[Request]) -> Performance:
        said = "calm ambient strings in Eb minor, 63 bpm, no drums"
        return super().perform([replace(request, prompt=said) for request in requests])


@pytest.fixture(scope="module")
def obeying() -> CircleResult:
    return play_circle(Composer(Synth()), PROMPTS, lambda done, total: None)


def test_prompts_are_of_all_genres_and_of_held_out_chords() -> None:
    asked = list(held_out_prompts(2 * len(GENRES)))
    assert [one.wishes.genre for one in asked] == 2 * list(GENRES)
    assert {tune_split(one.score) for one in asked} == {"test"}
    assert len({one.request.prompt for one in asked}) == len(asked)
    assert [one.request for one in held_out_prompts(3)] != [
        one.request for one in held_out_prompts(3, seed=7)
    ]


def test_who_obeys_is_heard_to(obeying: CircleResult) -> None:
    rows = {row.control: row for row in obeying.rows}
    assert tuple(rows) == CONTROLS
    assert obeying.prompts == PROMPTS
    for control, least in (("drums", 0.8), ("key", 0.7), ("genre", 0.5)):
        heard, chance = rows[control].heard.value, rows[control].chance.value
        assert heard is not None
        assert chance is not None
        assert heard >= least
        assert heard >= chance + 0.2


def test_who_does_not_obey_is_no_better_than_chance(obeying: CircleResult) -> None:
    deaf = play_circle(Composer(Deaf()), PROMPTS, lambda done, total: None)
    for before, row in zip(obeying.rows, deaf.rows, strict=True):
        assert row.ceiling == before.ceiling  # the same scores, by the same instruments
        if row.control in ("genre", "key"):
            assert row.heard.value is not None
            assert row.heard.value <= 0.2


def test_the_command_gives_a_table_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["evaluate", "circle", "--model", "synth", "--prompts", "2"]
    assert run([*arguments, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["prompts"] == 2
    assert set(result["rows"]) == set(CONTROLS)
    assert set(result["rows"]["genre"]) == {"heard", "ceiling", "chance"}
    assert run(arguments) == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines()[0].split() == (
        ["heard", "by", "instruments", "other", "prompts", "wishes"]
    )
    assert "heard 4 of 4 pieces" in captured.err


def test_intervals_hold_the_figure() -> None:
    shares = mean_of([1.0] * 60 + [0.0] * 40)
    assert shares.value == 0.6
    assert shares.low is not None
    assert shares.high is not None
    # The binomial's: .6 +- 1.96 sqrt(.24 / 100).
    assert shares.low == pytest.approx(0.504, abs=0.02)
    assert shares.high == pytest.approx(0.696, abs=0.02)
    assert mean_of([]).value is None
    assert correlation_of([0, 0.5, 1], [1.0, 2.0, 3.0]).value == pytest.approx(1.0)
    assert correlation_of([0, 0.5, 1], [2.0, 2.0, 2.0]).value == 0.0
