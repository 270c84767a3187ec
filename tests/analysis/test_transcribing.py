"""Notes out of sound, by a network that is not here: what is made of what it hears."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from antiphon.analysis import measure, transcribing
from antiphon.analysis.transcribing import transcribe, transcription_model
from antiphon.arrange import arrange
from antiphon.audio import Waveform
from antiphon.controls import Controls
from antiphon.errors import DependencyError
from antiphon.synth import render

pytestmark = pytest.mark.unit

FRAME_SECONDS = 256 / 22_050


def heard(sounding: dict[int, list[tuple[int, int]]], begins: dict[int, list[int]]) -> object:
    """What the network says: of MIDI pitches, the frames in which they sound and begin."""
    times = np.arange(400) * FRAME_SECONDS
    notes, onsets = np.zeros((2, 400, 88), np.float32)
    for pitch, spans in sounding.items():
        for start, stop in spans:
            notes[start:stop, pitch - 21] = 0.8
    for pitch, frames in begins.items():
        onsets[frames, pitch - 21] = 0.9
    return lambda samples, model: (times, notes, onsets)


@pytest.fixture
def sound() -> Waveform:
    return render(arrange(Controls(genre="pop", tempo_bpm=120.0, key=None, bars=4), 1))


def test_what_is_heard_becomes_notes(monkeypatch: pytest.MonkeyPatch, sound: Waveform) -> None:
    """Two notes of one pitch, one with a short hole, a third that is too short."""
    both = heard({60: [(10, 50), (50, 90)], 64: [(20, 60), (66, 100)], 70: [(30, 33)]},
                 {60: [10, 50], 64: [20], 70: [30]})  # fmt: skip
    monkeypatch.setattr(transcribing, "_heard", both)
    monkeypatch.setattr(transcribing, "transcription_model", lambda: Path("nmp.onnx"))
    facts = measure(sound)
    score = transcribe(sound, facts)
    assert score.tempo_bpm == facts.tempo.bpm == pytest.approx(120, rel=0.01)
    assert score.key is not None
    assert score.key.name == facts.key.name
    beat = FRAME_SECONDS * score.tempo_bpm / 60
    found = [(note.pitch, note.start_beat / beat, note.duration_beats / beat, note.velocity)
             for note in score.notes()]  # fmt: skip
    expected = [(60, 10, 40, 102), (64, 20, 80, 94), (60, 50, 40, 102)]
    assert [pytest.approx(one, rel=1e-6) for one in expected] == found


class Ear:
    """In the place of the network: every pitch sounds in a frame whose samples do."""

    def run(self, names: list[str], inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        (window,) = inputs.values()
        assert window.shape == (1, 43_844, 1)
        frames = np.pad(window[0, :, 0], (0, 172 * 256 - 43_844)).reshape(172, 256)
        heard = np.repeat(np.abs(frames).max(axis=1)[:, None], 88, axis=1)[None]
        return [heard for _ in names]


@pytest.mark.parametrize("seconds", [0.5, 1.99, 10.0])
def test_each_moment_is_in_one_window(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    monkeypatch.setattr(transcribing, "open_graph", lambda *arguments: Ear())
    samples = np.zeros(round(seconds * 22_050), np.float32)
    clicks = np.arange(2_000, len(samples), 9_000)
    samples[clicks] = 1.0
    times, sounding, onsets = transcribing._heard(samples, Path("nmp.onnx"))
    assert (np.diff(times) > 0).all()
    assert sounding.shape == onsets.shape == (len(times), 88)
    found = times[sounding[:, 0] > 0.5]
    assert len(found) == len(clicks)
    assert np.abs(found - clicks / 22_050).max() <= FRAME_SECONDS


def test_nothing_heard_is_a_score_without_notes(
    monkeypatch: pytest.MonkeyPatch, sound: Waveform
) -> None:
    monkeypatch.setattr(transcribing, "_heard", heard({}, {}))
    monkeypatch.setattr(transcribing, "transcription_model", lambda: Path("nmp.onnx"))
    assert transcribe(sound, measure(sound)).tracks == ()


@pytest.fixture
def without_basic_pitch(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(transcribing, "find_spec", lambda name: None)
    transcription_model.cache_clear()
    yield
    transcription_model.cache_clear()


@pytest.mark.usefixtures("without_basic_pitch")
def test_without_the_network_it_says_what_to_install(sound: Waveform) -> None:
    with pytest.raises(DependencyError, match="pip install --no-deps basic-pitch"):
        transcribe(sound, measure(sound))
