"""Facts as JSON: the keys of the contract, there and back, and nothing but what belongs."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon.errors import ConfigError
from antiphon.facts import (
    Beats,
    Clipping,
    DamageReport,
    Dynamics,
    Facts,
    KeyEstimate,
    Loudness,
    Metre,
    Pitch,
    Silence,
    Span,
    Spans,
    Tempo,
    TempoCandidate,
    Timbre,
    Tuning,
)

pytestmark = pytest.mark.unit

FACTS = Facts(
    path="/music/Ode an die Freude – 🎵.flac",
    duration_seconds=12.5,
    sample_rate=44_100,
    channels=2,
    tempo=Tempo(120.0, 0.9, (TempoCandidate(60.0, 0.2),)),
    beats=Beats((0.5, 1.0), 0.8),
    downbeats=Beats(None, reason="too few beats"),
    metre=Metre(4, 0.7),
    tuning=Tuning(-3.5, 0.9),
    key=KeyEstimate("C# minor", 0.9, "E major"),
    chords=Spans((Span(0.0, 2.0, "C#:min"), Span(2.0, 12.5, "N")), 0.8),
    sections=Spans((Span(0.0, 12.5, "A"),), 0.5),
    loudness=Loudness(-14.2, -0.9, None, "too short"),
    dynamics=Dynamics(0.5, (-20.0, -18.0)),
    silence=Silence(0.1),
    clipping=Clipping(3),
    timbre=Timbre(1800.0, 0.4),
    damage=DamageReport(12.5, None, ("lost sync",)),
)

_number = st.floats(allow_nan=False, allow_infinity=False)
_share = st.floats(0, 1)
_reason = st.none() | st.text(max_size=20)
_times = st.none() | st.lists(_number, max_size=3).map(tuple)
_spans = st.none() | st.lists(
    st.builds(Span, _number, _number, st.text(max_size=5)), max_size=3
).map(tuple)
_beats = st.builds(Beats, _times, _share, _reason)
any_facts = st.builds(
    Facts,
    path=st.none() | st.text(),
    duration_seconds=_number,
    sample_rate=st.integers(),
    channels=st.integers(),
    tempo=st.builds(
        Tempo,
        st.none() | _number,
        _share,
        st.lists(st.builds(TempoCandidate, _number, _share), max_size=2).map(tuple),
        _reason,
    ),
    beats=_beats,
    downbeats=_beats,
    metre=st.builds(Metre, st.none() | st.integers(), _share, _reason),
    tuning=st.builds(Tuning, st.none() | _number, _share, _reason),
    key=st.builds(KeyEstimate, st.none() | st.text(), _share, st.none() | st.text(), _reason),
    chords=st.builds(Spans, _spans, _share, _reason),
    sections=st.builds(Spans, _spans, _share, _reason),
    loudness=st.builds(
        Loudness, st.none() | _number, st.none() | _number, st.none() | _number, _reason
    ),
    dynamics=st.builds(Dynamics, _number, st.lists(_number, max_size=3).map(tuple)),
    silence=st.builds(Silence, st.none() | _number, _reason),
    clipping=st.builds(Clipping, st.integers()),
    timbre=st.builds(Timbre, st.none() | _number, st.none() | _number, _reason),
    damage=st.builds(
        DamageReport, _number, st.none() | _number, st.lists(st.text(), max_size=2).map(tuple)
    ),
    pitch=st.none()
    | st.builds(
        Pitch, _number, st.lists(st.none() | _number, max_size=3).map(tuple), _share, _reason
    ),
)


@settings(deadline=None)  # the first reading builds the schema
@given(any_facts)
def test_there_and_back(facts: Facts) -> None:
    assert Facts.from_json(facts.to_json()) == facts


def test_the_keys_are_those_of_the_contract() -> None:
    data = json.loads(FACTS.to_json())
    confidence = {"confidence"}
    assert {key: set(value) for key, value in data.items() if isinstance(value, dict)} == {
        "tempo": {"bpm", "alternatives"} | confidence,
        "beats": {"times_seconds"} | confidence,
        "downbeats": {"times_seconds", "reason"} | confidence,
        "metre": {"beats_per_bar"} | confidence,
        "tuning": {"cents"} | confidence,
        "key": {"name", "runner_up"} | confidence,
        "chords": {"spans"} | confidence,
        "sections": {"spans"} | confidence,
        "loudness": {"integrated_lufs", "true_peak_dbtp", "range_lu", "reason"},
        "dynamics": {"step_seconds", "level_db"},
        "silence": {"share"},
        "clipping": {"samples"},
        "timbre": {"brightness_hz", "percussive_share"},
        "damage": {"decoded_seconds", "declared_seconds", "problems"},
    }
    plain = {key for key, value in data.items() if not isinstance(value, dict)}
    assert plain == {"path", "duration_seconds", "sample_rate", "channels"}
    assert data["tempo"]["alternatives"] == [{"bpm": 60.0, "confidence": 0.2}]
    assert data["chords"]["spans"][0] == {
        "start_seconds": 0.0,
        "end_seconds": 2.0,
        "label": "C#:min",
    }


def test_what_could_not_be_had_is_null_with_the_reason_beside_it() -> None:
    data = json.loads(FACTS.to_json())
    assert data["downbeats"] == {
        "times_seconds": None,
        "confidence": 0.0,
        "reason": "too few beats",
    }
    assert data["loudness"]["range_lu"] is None
    assert data["loudness"]["reason"] == "too short"


def test_pitch_is_there_on_request_only() -> None:
    assert "pitch" not in json.loads(FACTS.to_json())
    tracked = replace(FACTS, pitch=Pitch(0.01, (440.0, None), 0.9))
    assert json.loads(tracked.to_json())["pitch"] == {
        "step_seconds": 0.01,
        "hz": [440.0, None],
        "confidence": 0.9,
    }


def test_json_is_one_line_that_keeps_letters() -> None:
    text = FACTS.to_json()
    assert "\n" not in text
    assert "Ode an die Freude – 🎵" in text


def changed(**groups: object) -> str:
    return json.dumps({**json.loads(FACTS.to_json()), **groups})


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (changed(mood="happy"), "mood"),
        (changed(silence={"share": 0.1, "quiet": 1}), r"silence\.quiet"),
        (changed(sample_rate="44100"), "sample_rate"),
        (changed(sample_rate=44_100.5), "sample_rate"),
        (changed(channels=True), "channels"),
        (changed(metre={"beats_per_bar": "4"}), r"metre\.beats_per_bar"),
        (changed(path=7), "path"),
        (changed(beats={"times_seconds": [0.5, "1.0"]}), r"beats\.times_seconds\.1"),
        (changed(chords={"spans": [{"start_seconds": 0.0}]}), r"chords\.spans\.0\.end_seconds"),
        (changed(tempo=None), "tempo"),
        (FACTS.to_json().replace("12.5", "NaN"), "duration_seconds"),
        (FACTS.to_json().replace("120.0", "Infinity"), r"tempo\.bpm"),
        (FACTS.to_json().replace("120.0", "1e999"), r"tempo\.bpm"),
        ("{}", "path"),
        ("[]", "facts"),
        ("not json", "facts"),
        ("", "facts"),
    ],
)
def test_what_does_not_belong_is_refused_and_named(text: str, named: str) -> None:
    with pytest.raises(ConfigError, match=rf"facts is not valid.*{named}"):
        Facts.from_json(text)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_value_that_is_no_number_is_never_written(value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        replace(FACTS, duration_seconds=value).to_json()
    with pytest.raises(ValueError, match="not JSON compliant"):
        replace(FACTS, tempo=Tempo(value)).to_json()


def test_another_path_changes_nothing_else() -> None:
    moved = FACTS.with_path("elsewhere.wav")
    assert moved.path == "elsewhere.wav"
    assert moved.with_path(FACTS.path) == FACTS
