from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pyloudnorm
import pytest

from antiphon.errors import ConfigError, DependencyError
from antiphon.score import Note, Score, Track
from antiphon.synth import FluidSynthPlayer, find_soundfont, fluidsynth, render_fluidsynth

pytestmark = pytest.mark.integration

RATE = 44100


@pytest.fixture
def machine() -> None:
    """Skip where FluidSynth or a soundfont is not installed: both come from the system."""
    try:
        fluidsynth._load_library()
        find_soundfont()
    except DependencyError as error:
        pytest.skip(str(error))


def score_of(*tracks: Track, bars: int = 2) -> Score:
    return Score(120.0, 4, None, bars, tracks=tracks)


def power_db(samples: np.ndarray) -> float:
    return float(10.0 * np.log10(np.mean(np.square(samples, dtype=np.float64)) + 1e-20))


@pytest.mark.usefixtures("machine")
def test_notes_start_where_the_score_says() -> None:
    beats = (0.0, 1.0, 2.37, 3.5, 5.0)
    wood = tuple(Note(beat, 0.2, 76, 110) for beat in beats)  # a woodblock has a sharp start
    waveform = render_fluidsynth(score_of(Track("drums", 0, wood, is_drums=True)), reverb=False)
    loud = np.abs(waveform.samples).max(axis=0)
    for beat in beats:
        at = round(beat * 0.5 * RATE)
        before = loud[max(0, at - round(0.03 * RATE)) : at].max(initial=0.0)
        after = loud[at : at + round(0.01 * RATE)].max()
        assert after > 0.1 * loud.max()
        assert before < 0.5 * after


@pytest.mark.usefixtures("machine")
def test_a_player_plays_each_score_as_if_it_were_the_first() -> None:
    chord = tuple(Note(0.0, 1.5, pitch, 90) for pitch in (60, 64, 67))
    scores = [score_of(Track("organ", 16, chord)), score_of(Track("flute", 73, chord))]
    with FluidSynthPlayer() as player:
        played = [player.render(scores[n]).samples for n in (0, 1, 0)]
    for samples, score in zip(played, (scores[0], scores[1], scores[0]), strict=True):
        np.testing.assert_array_equal(samples, render_fluidsynth(score).samples)


@pytest.mark.usefixtures("machine")
def test_level_length_and_repeatability(capfd: pytest.CaptureFixture[str]) -> None:
    chords = tuple(Note(2.0 * beat, 1.9, pitch, 90) for beat in range(4) for pitch in (60, 64, 67))
    score = score_of(Track("organ", 16, chords), Track("flute", 73, chords, pan=0.5))
    first, second = render_fluidsynth(score), render_fluidsynth(score)
    np.testing.assert_array_equal(first.samples, second.samples)
    loudness = pyloudnorm.Meter(RATE).integrated_loudness(first.samples.T)
    assert -18.0 <= loudness <= -16.0
    assert np.abs(first.samples).max() <= 10 ** (-1.0 / 20)
    assert score.duration_seconds <= first.duration_seconds < score.duration_seconds + 8.0
    assert capfd.readouterr() == ("", "")  # FluidSynth keeps its remarks to itself


@pytest.mark.usefixtures("machine")
def test_pan_gain_and_program_are_honoured() -> None:
    note = (Note(0.0, 2.0, 60, 90),)
    later = (Note(4.0, 2.0, 60, 90),)
    score = score_of(
        Track("flute", 73, note, pan=-1.0), Track("flute", 73, later, pan=1.0, gain_db=-12.0)
    )
    samples = render_fluidsynth(score, reverb=False).samples
    early, late = samples[:, :RATE], samples[:, 2 * RATE : 3 * RATE]
    assert power_db(early[0]) > power_db(early[1]) + 20.0
    assert power_db(late[1]) > power_db(late[0]) + 20.0
    assert power_db(early) - power_db(late) == pytest.approx(12.0, abs=1.0)


@pytest.mark.usefixtures("machine")
def test_a_repeated_note_is_not_silenced_by_the_end_of_the_one_before() -> None:
    organ = (Note(0.0, 3.0, 60, 90), Note(2.0, 4.0, 60, 90))  # the first would end at beat 3
    samples = render_fluidsynth(score_of(Track("organ", 16, organ)), reverb=False).samples
    held = samples[:, round(1.8 * RATE) : round(2.8 * RATE)]
    assert power_db(held) > power_db(samples[:, :RATE]) - 3.0


@pytest.mark.usefixtures("machine")
def test_more_tracks_than_midi_has_channels() -> None:
    tracks = tuple(Track("", 73, (Note(index / 4, 0.2, 60 + index, 90),)) for index in range(20))
    samples = render_fluidsynth(score_of(*tracks), reverb=False).samples
    for index in (9, 19):  # MIDI's drum channel, and one beyond the sixteenth
        at = round((index / 8 + 0.05) * RATE)
        assert power_db(samples[:, at : at + 2000]) > -40.0


@pytest.mark.usefixtures("machine")
def test_soundfonts_that_cannot_be_used_are_named(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    score = score_of(Track("piano", 0, (Note(0.0, 1.0, 60, 90),)))
    with pytest.raises(ConfigError, match="none.sf2 cannot be read"):
        render_fluidsynth(score, tmp_path / "none.sf2")
    text = tmp_path / "text.sf2"
    text.write_text("not a soundfont")
    with pytest.raises(ConfigError, match="text.sf2 is not a soundfont"):
        render_fluidsynth(score, text)
    assert capfd.readouterr().err == ""
    cut = tmp_path / "cut.sf2"
    cut.write_bytes(find_soundfont().read_bytes()[:4000])
    with pytest.raises(ConfigError, match="cut.sf2 is damaged"):
        render_fluidsynth(score, cut)
    with pytest.raises(ConfigError, match="sample rate is 192000 Hz"):
        render_fluidsynth(score, sample_rate=192000)


def test_a_missing_package_is_named_with_the_way_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fluidsynth", None)
    with pytest.raises(DependencyError, match=r"pip install 'antiphon\[synth\]'"):
        render_fluidsynth(score_of())


def test_a_missing_library_is_named_with_the_way_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "fluidsynth.py").write_text("raise ImportError('no library')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "fluidsynth", raising=False)
    with pytest.raises(DependencyError, match="apt-get install fluidsynth musescore"):
        render_fluidsynth(score_of())


def test_a_missing_soundfont_is_named_with_the_way_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(fluidsynth, "SOUNDFONT_FOLDERS", (tmp_path,))
    with pytest.raises(DependencyError, match="apt-get install musescore-general-soundfont-small"):
        find_soundfont()
    (tmp_path / "mine.sf3").touch()
    (tmp_path / "FluidR3_GM.sf2").touch()
    assert find_soundfont().name == "FluidR3_GM.sf2"
