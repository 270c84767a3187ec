"""Frames of a score, and the adapter that reads them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from antiphon.compose import score_frames as sf
from antiphon.compose.score_adapter import (
    OFFSETS,
    AdapterConfig,
    ScoreAdapter,
    shown_frames,
    write_adapter,
)
from antiphon.compose.score_frames import WIDTH, score_frames
from antiphon.controls import SECTIONS
from antiphon.errors import ModelError
from antiphon.notation import Chord
from antiphon.score import ChordSpan, Note, Score, Section, Track
from antiphon.train.composer_model import ScoreAdapterModel

pytestmark = pytest.mark.unit

RATE = 25  # frames a second; at 120 BPM a beat has 12.5


def score() -> Score:
    drums = Track("drums", 0, (Note(4.0, 0.1, 36, 127), Note(5.0, 0.1, 38, 100)), is_drums=True)
    tune = Track("flute", 73, (Note(1.0, 1.0, 64, 64),), role="melody")
    chords = (
        ChordSpan(0.0, 4.0, Chord.parse("A:min")),
        ChordSpan(4.0, 4.0, Chord.parse("C:maj")),
    )
    sections = (Section("intro", 0, 1), Section("chorus", 1, 1))
    return Score(120.0, 4, None, 2, sections, chords, (tune, drums))


def test_what_a_frame_says() -> None:
    frames = score_frames(score(), RATE, 110)
    assert frames.shape == (110, WIDTH)
    assert np.abs(frames).max() <= 1.0
    root, chord, melody = frames[:, sf.ROOT], frames[:, sf.CHORD], frames[:, sf.MELODY]
    assert root[10].nonzero()[0].tolist() == [9]
    assert chord[10].nonzero()[0].tolist() == [0, 4, 9]
    assert root[60].nonzero()[0].tolist() == [0]
    assert chord[60].nonzero()[0].tolist() == [0, 4, 7]
    assert melody.nonzero()[0].tolist() == list(range(12, 25))  # of one beat from the second on
    assert melody[12].nonzero()[0].tolist() == [4]
    begins, sounds = frames[:, sf.TUNE].T
    assert begins.nonzero()[0].tolist() == [12]
    assert sounds.nonzero()[0].tolist() == list(range(12, 25))
    has_drums, level = frames[:, sf.BAR].T
    assert has_drums.nonzero()[0].tolist() == list(range(50, 100))  # the bar with drums
    assert 0 < level[10] < level[60] < 1
    labels = [SECTIONS[row.argmax()] for row in frames[[10, 60], sf.SECTION]]
    assert labels == ["intro", "chorus"]
    assert not frames[100:].any()  # beyond its end


def test_how_hard_each_drum_is_hit() -> None:
    kick, snare, *others = frames_of_drums = score_frames(score(), RATE, 110)[:, sf.DRUMS].T
    assert len(frames_of_drums) == 6
    assert kick.nonzero()[0].tolist() == [50]
    assert snare.nonzero()[0].tolist() == [62]
    assert kick[50] == 1.0
    assert snare[62] == pytest.approx(100 / 127)
    assert not any(one.any() for one in others)


def test_who_plays_which_pitches() -> None:
    frames = score_frames(score(), RATE, 110)
    pitches, begins = frames[:, sf.SOUNDING], frames[:, sf.BEGINNING]
    assert pitches[12].nonzero()[0].tolist() == [64 - sf.LOWEST_PITCH]
    assert pitches[12].max() == pytest.approx(64 / 127)
    assert begins.any(axis=1).nonzero()[0].tolist() == [12]
    players = frames[:, sf.PLAYERS].reshape(110, len(sf.PITCHED), 3)
    assert players.any(axis=(0, 2)).nonzero()[0].tolist() == [sf.PITCHED.index("flute")]
    loud, beginning, height = players[12, sf.PITCHED.index("flute")]
    assert loud == beginning == pytest.approx(64 / 127)
    assert 0 < height < 1


def test_an_instrument_without_a_name_of_ours_is_one_of_its_family() -> None:
    note = Note(0.0, 1.0, 8, 127)  # lower than any column
    tracks = (Track("viola", 41, (note,)), Track("glockenspiel", 9, (note,), gain_db=-20.0))
    frames = score_frames(Score(120.0, 4, None, 1, tracks=tracks), RATE, 5)
    players = frames[0, sf.PLAYERS].reshape(-1, 3)[:, 0]
    found = {sf.PITCHED[n]: players[n] for n in players.nonzero()[0]}
    assert found == {"strings": pytest.approx(1.0), "mallets": pytest.approx(0.1)}
    # Two octaves up.
    assert frames[0, sf.SOUNDING].nonzero()[0].tolist() == [8 + 24 - sf.LOWEST_PITCH]


def test_phases_turn_with_the_beat() -> None:
    frames = score_frames(score(), 1000, 4000)
    phases = frames[:, sf.PHASES].T
    for number, seconds in enumerate((0.25, 0.5, 2.0)):
        turn = np.unwrap(np.arctan2(phases[2 * number], phases[2 * number + 1]))
        assert (turn[-1] - turn[0]) / (2 * np.pi) == pytest.approx(3.999 / seconds, rel=1e-4)


def test_a_step_sees_the_frame_it_predicts_and_its_neighbours() -> None:
    frames = np.arange(1, 8, dtype=np.float32)[:, None]
    seen = shown_frames(frames, 10)
    assert seen.shape == (10, len(OFFSETS))
    for step in range(10):
        expected = [float(n + 1) if 0 <= (n := step + offset) < 7 else 0.0 for offset in OFFSETS]
        assert seen[step].tolist() == expected


def test_numpy_and_torch_add_the_same(tmp_path: Path) -> None:
    config = AdapterConfig(width=24, hidden=16, frame_rate=RATE)
    model = ScoreAdapterModel(config)
    frames = score_frames(score(), RATE, 100)
    with torch.no_grad():
        assert not model(torch.from_numpy(frames)[None], 103).any()  # at first
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
        expected = model(torch.from_numpy(frames)[None], 103)[0].numpy()
    tensors = {name: value.detach().numpy() for name, value in model.state_dict().items()}
    write_adapter(tmp_path / "a", config, tensors)
    adapter = ScoreAdapter.load(tmp_path / "a")
    assert adapter.config == config
    np.testing.assert_allclose(adapter.extra(frames, 103), expected, atol=1e-5)
    (tmp_path / "a/model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"has no model.safetensors; expected a score adapter"):
        ScoreAdapter.load(tmp_path / "a")
    (tmp_path / "a/config.json").write_text('{"model_type": "musicgen"}')
    with pytest.raises(ModelError, match="model_type is 'musicgen'; expected 'antiphon_score_ad"):
        ScoreAdapter.load(tmp_path / "a")
