import json

import pytest
from hypothesis import given, settings

from antiphon.errors import ConfigError
from antiphon.notation import Chord, Key
from antiphon.score import MAX_TRACKS, ChordSpan, Note, Score, Section, Track
from drawn_scores import scores

pytestmark = pytest.mark.unit

C_MAJOR = Key.parse("C major")


def make_score(**changes: object) -> Score:
    values: dict[str, object] = {
        "tempo_bpm": 120.0,
        "beats_per_bar": 4,
        "key": C_MAJOR,
        "bars": 8,
        "sections": (Section("verse", 0, 4), Section("chorus", 4, 4)),
        "chords": (ChordSpan(0.0, 4.0, Chord.parse("C:maj")),),
        "tracks": (Track("piano", 0, (Note(0.0, 1.0, 60, 80),)),),
    }
    return Score(**{**values, **changes})  # type: ignore[arg-type]


def test_bars_beats_and_seconds_at_120_bpm() -> None:
    score = make_score()
    assert score.total_beats == 32
    assert score.duration_seconds == 16.0
    assert score.bar_to_seconds(1) == 2.0
    assert score.seconds_to_bar(3.0) == 1.5
    assert score.beat_times_seconds()[:3] == (0.0, 0.5, 1.0)
    assert len(score.beat_times_seconds()) == 32


def test_a_waltz_has_three_beats_to_the_bar() -> None:
    score = make_score(beats_per_bar=3, tempo_bpm=90.0, sections=(), chords=())
    assert score.bar_to_seconds(8) == pytest.approx(16.0)


def test_seconds_and_beats_are_inverse() -> None:
    score = make_score(tempo_bpm=97.3)
    assert score.seconds_to_beat(score.beat_to_seconds(13.7)) == pytest.approx(13.7)


def test_a_note_that_rings_past_the_last_bar_lengthens_the_piece() -> None:
    ringing = Track("piano", 0, (Note(31.0, 3.0, 60, 80),))
    assert make_score(tracks=(ringing,)).duration_seconds == 17.0


@settings(max_examples=40, deadline=None)
@given(scores())
def test_json_brings_every_score_back(score: Score) -> None:
    assert Score.from_json(score.to_json()) == score


def test_json_writes_key_and_chords_by_name() -> None:
    data = json.loads(make_score().to_json())
    assert data["key"] == "C major"
    assert data["chords"][0]["chord"] == "C:maj"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colour": "blue"}, "colour"),
        ({"bars": "8"}, "bars"),
        ({"key": "H major"}, "H major"),
        ({"bars": 3}, "section 'verse' ends at bar 4"),
        ({"tempo_bpm": None}, "tempo_bpm"),
    ],
)
def test_json_that_is_not_a_score_names_the_place(change: dict[str, object], message: str) -> None:
    data = json.loads(make_score().to_json()) | change
    with pytest.raises(ConfigError, match=message):
        Score.from_json(json.dumps(data))


def test_broken_json_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="score is not valid"):
        Score.from_json('{"tempo_bpm": 120')


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tempo_bpm": 5.0}, "tempo is 5"),
        ({"tempo_bpm": 501.0}, "tempo is 501 BPM"),
        ({"tempo_bpm": float("nan")}, "tempo is nan"),
        ({"beats_per_bar": 0}, "beats per bar is 0"),
        ({"bars": 0}, "number of bars is 0"),
        ({"sections": (Section("a", 0, 5), Section("b", 4, 2))}, "'b' starts at bar 4, before"),
        ({"sections": (Section("a", 0, 9),)}, "ends at bar 9; the piece has 8 bars"),
        ({"chords": (ChordSpan(30.0, 4.0, Chord.parse("C:maj")),)}, "ends at beat 34"),
        ({"tracks": (Track("piano", 0, ()),) * (MAX_TRACKS + 1)}, "65 tracks; expected 64"),
    ],
)
def test_parts_that_contradict_each_other(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_score(**changes)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((-0.1, 1.0, 60, 80), "note start is -0.1"),
        ((0.0, 0.0, 60, 80), "note duration is 0.0; expected a finite number, more than 0"),
        ((0.0, float("inf"), 60, 80), "note duration is inf"),
        ((0.0, 1.0, 128, 80), "note pitch is 128; expected 0 to 127"),
        ((0.0, 1.0, 60, 0), "note velocity is 0; expected 1 to 127"),
    ],
)
def test_impossible_notes(values: tuple[float, float, int, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Note(*values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"program": 128}, "program is 128"),
        ({"program": 0, "pan": 1.5}, "pan is 1.5; expected -1"),
        ({"program": 0, "gain_db": float("-inf")}, "gain is -inf"),
    ],
)
def test_impossible_tracks(values: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Track("piano", notes=(), **values)  # type: ignore[arg-type]


def test_too_many_notes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("antiphon.score.MAX_NOTES", 3)
    notes = tuple(Note(float(beat), 1.0, 60, 80) for beat in range(4))
    with pytest.raises(ConfigError, match="4 notes; expected 3 at most"):
        make_score(tracks=(Track("piano", 0, notes),))
