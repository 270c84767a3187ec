import dataclasses

import pytest
import yaml

from antiphon.arrange.band import PLAYABLE
from antiphon.arrange.harmony import load_grammars
from antiphon.arrange.plan import MOODS
from antiphon.arrange.styles import HarmonyStyle, MelodyStyle, Style, load_style, read_data
from antiphon.controls import GENRES, INSTRUMENTS, MAX_TEMPO_BPM, METRES, MIN_TEMPO_BPM
from antiphon.controls import MOODS as MOOD_NAMES
from antiphon.errors import ConfigError

pytestmark = pytest.mark.unit

SLOWEST_USUAL, FASTEST_USUAL = 50, 200


@pytest.mark.parametrize("genre", GENRES)
def test_every_genre_has_a_style_that_can_be_played(genre: str) -> None:
    style = load_style(genre)
    assert style.genre == genre
    low, high = style.tempo_bpm
    assert SLOWEST_USUAL <= low < high <= FASTEST_USUAL
    assert 0 <= style.waltz <= 1
    assert 0 <= style.minor <= 1
    assert style.harmony.grammar in load_grammars()
    assert {"bass", "chords", "melody"} <= set(style.band)
    for metre in METRES:
        assert len(style.grooves[metre]) >= 2  # type: ignore[index]
    for role, players in style.band.items():
        for name in players:
            assert (name == "drums") == (role == "drums")


def test_styles_differ() -> None:
    grooves = {str(load_style(genre).grooves) for genre in GENRES}
    assert len(grooves) == len(GENRES)


def test_every_instrument_and_mood_is_known() -> None:
    assert set(PLAYABLE) == set(INSTRUMENTS)
    assert set(MOODS) == set(MOOD_NAMES)
    for instrument in PLAYABLE.values():
        # Two octaves, so that every pitch class can be reached from anywhere.
        assert instrument.high - instrument.low >= 24
    assert MIN_TEMPO_BPM < SLOWEST_USUAL < FASTEST_USUAL < MAX_TEMPO_BPM


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bass": {"3/4": ["1---"], "4/4": ["1---"]}}, "'1---' has 4 steps; expected a multiple"),
        ({"chords": {"4/4": ["x---" * 4]}}, "nothing to play in 3/4"),
        ({"fills": [{"snare": "xxxxx"}]}, "fill 'xxxxx' has 5 steps"),
        ({"fills": [{"snare": "xxxx", "kick": "x... ...."}]}, "the same for all its voices"),
        ({"fills": [{"gong": "xxxx"}]}, "drum voice 'gong' is not known"),
        ({"band": {"bass": {"tuba": [58]}}}, "instrument 'tuba' is not known"),
        ({"band": {"singer": {"piano": [0]}}}, "band"),
        ({"forms": ["verse refrain"]}, "section 'refrain' is not known"),
        ({"harmony": {"grammar": "rock", "rhythms": ["111"]}}, "harmonic rhythm '111'"),
        ({"melody": {"cells": {"x--": 1}}}, "cell 'x--' has 3 steps"),
        ({"tempo": [100, 120]}, "tempo"),
        ({"swing": "triplets"}, "swing"),
    ],
)
def test_a_style_with_a_mistake_is_refused(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, object], message: str
) -> None:
    data = read_data("styles/rock.yaml")
    assert isinstance(data, dict)
    monkeypatch.setattr("antiphon.arrange.styles.read_data", lambda name: {**data, **changes})
    with pytest.raises(ConfigError, match=message):
        load_style.__wrapped__("rock")


def test_the_slow_reader_reads_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    fast = read_data("grammars.yaml")
    monkeypatch.delattr(yaml, "CSafeLoader", raising=False)
    assert read_data("grammars.yaml") == fast


def test_styles_cannot_be_changed_by_accident() -> None:
    style = load_style("rock")
    for part in (style, style.harmony, style.melody):
        assert isinstance(part, Style | HarmonyStyle | MelodyStyle)
        with pytest.raises(dataclasses.FrozenInstanceError):
            part.genre = "pop"  # type: ignore[misc, union-attr]
