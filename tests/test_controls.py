import pytest

from antiphon.controls import GENRES, Controls, SectionPlan
from antiphon.errors import ConfigError
from antiphon.notation import Key

pytestmark = pytest.mark.unit


def test_options_as_a_command_line_gives_them() -> None:
    controls = Controls.from_options(
        {
            "genre": "Jazz",
            "mood": "calm, romantic",
            "tempo": "97.5",
            "key": "c sharp minor",
            "metre": "3/4",
            "instruments": ["piano", "saxophone"],
            "without": "drums",
            "energy": "low",
            "sections": "intro:4,verse:8",
            "ending": True,
        }
    )
    assert controls == Controls(
        genre="jazz",
        moods=("calm", "romantic"),
        tempo_bpm=97.5,
        key=Key(1, "minor"),
        metre="3/4",
        instruments=("piano", "saxophone"),
        without=("drums",),
        energy="low",
        sections=(SectionPlan("intro", 4), SectionPlan("verse", 8)),
        ending=True,
    )
    assert controls.beats_per_bar == 3


def test_nothing_given_leaves_all_to_the_arranger() -> None:
    assert Controls.from_options({"genre": None, "tempo": None}) == Controls()
    assert Controls().to_dict() == {}
    assert Controls().beats_per_bar is None


@pytest.mark.parametrize(
    "controls",
    [
        Controls(),
        Controls(genre="hip-hop", tempo_bpm=90.0, key=Key(3, "major"), duration_seconds=30.0),
        Controls(moods=("dark",), metre="4/4", bars=16, intro=True, ending=True),
        Controls(without=("drums", "bass"), sections=(SectionPlan("solo", 12),), energy="high"),
    ],
)
def test_what_was_asked_for_can_be_written_down_and_read_again(controls: Controls) -> None:
    assert Controls.from_options(controls.to_dict()) == controls


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"genre": "jaz"}, r"genre 'jaz' is not known \(did you mean 'jazz'\?\)"),
        ({"mood": "hapy"}, "did you mean 'happy'"),
        ({"metre": "6/8"}, "expected one of 3/4, 4/4"),
        ({"instruments": "kazoo"}, "instrument 'kazoo' is not known"),
        ({"without": "kazoo"}, "instrument to leave out 'kazoo'"),
        ({"energy": "huge"}, "expected one of low, medium, high"),
        ({"tempo": 39.9}, "tempo is 39.9 BPM; expected 40 to 240 BPM"),
        ({"tempo": float("nan")}, "tempo is nan"),
        ({"tempo": "fast"}, "tempo is 'fast'; expected a number"),
        ({"tempo": True}, "tempo is True; expected a number"),
        ({"duration": 0.5}, "duration is 0.5 seconds"),
        ({"bars": 0}, "bars is 0 bars"),
        ({"bars": 2.5}, "bars is 2.5; expected a whole number"),
        ({"key": 3}, "key is 3; expected text"),
        ({"sections": "verse"}, "expected LABEL:BARS"),
        ({"sections": "verse:0"}, "'verse' has 0 bars"),
        ({"sections": "coda:4"}, "section 'coda' is not known"),
        ({"intro": "yes"}, "intro is 'yes'; expected true or false"),
        ({"mood": 3}, "expected a list or comma-separated text"),
        ({"instruments": "drums", "without": "drums"}, "both wanted and refused"),
        ({"bars": 8, "duration": 30}, "--duration and --bars; give it by one"),
        ({"tempos": 100}, r"'tempos' is not known \(did you mean 'tempo'\?\)"),
    ],
)
def test_a_wish_that_cannot_be_met_names_itself(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Controls.from_options(options)


def test_genres_are_written_once() -> None:
    assert len(set(GENRES)) == len(GENRES)
