import pytest

from antiphon.arrange.band import PLAYABLE, Player, cast
from antiphon.arrange.layers import choose_layers
from antiphon.arrange.parts import make_parts
from antiphon.arrange.plan import make_plan
from antiphon.controls import GENRES, INSTRUMENTS, SECTIONS, Controls, SectionPlan

pytestmark = pytest.mark.unit


def band(seed: int = 1, **controls: object) -> tuple[Player, ...]:
    wishes = Controls(**controls)  # type: ignore[arg-type]
    return cast(make_plan(wishes, seed), wishes)


@pytest.mark.parametrize("genre", GENRES)
def test_a_band_has_its_core_and_no_role_twice_unasked(genre: str) -> None:
    for seed in range(10):
        roles = [player.role for player in band(seed, genre=genre)]
        assert {"bass", "chords", "melody"} <= set(roles)
        assert len(roles) == len(set(roles))


def test_higher_intensity_brings_more_players() -> None:
    def size(energy: str) -> int:
        return sum(len(band(seed, genre="pop", energy=energy)) for seed in range(40))

    assert size("low") < size("high")


def test_an_instrument_asked_for_takes_the_role_it_has_in_the_style() -> None:
    (sax,) = (p for p in band(genre="jazz", instruments=("saxophone",)) if p.wanted)
    assert sax.role == "melody"
    (strings,) = (p for p in band(genre="pop", instruments=("strings",)) if p.wanted)
    assert strings.role == "pad"


def test_seeds_choose_different_instruments() -> None:
    melodies = {
        player.instrument
        for seed in range(40)
        for player in band(seed, genre="jazz")
        if player.role == "melody"
    }
    assert len(melodies) >= 5


def test_everybody_asked_for_is_in_some_layer() -> None:
    for seed in range(60):
        wanted = tuple(INSTRUMENTS[(seed * 7 + k * 5) % len(INSTRUMENTS)] for k in range(4))
        sections = (SectionPlan(SECTIONS[seed % len(SECTIONS)], 4),)
        controls = Controls(
            genre=GENRES[seed % len(GENRES)],
            instruments=tuple(dict.fromkeys(wanted)),
            sections=sections,
        )
        plan = make_plan(controls, seed)
        players = cast(plan, controls)
        (layer,) = choose_layers(make_parts(plan), players)
        assert {p.instrument for p in layer} >= set(wanted)
        assert any(player.role != "drums" for player in layer)


def test_only_the_one_left_over_plays() -> None:
    for name in PLAYABLE:
        without = tuple(other for other in PLAYABLE if other != name)
        assert {player.instrument for player in band(without=without)} == {name}
