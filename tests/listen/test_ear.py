"""The trained listener in the package, from a recording to its texts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.signal import butter, sosfilt
from toy_listener import write_toy

import antiphon
from antiphon.arrange import arrange
from antiphon.audio import Limits, Waveform, resample, write
from antiphon.cli.main import run
from antiphon.controls import Controls
from antiphon.description import Description, Heard, Presence
from antiphon.listen.ear import Ear, built_in_ear
from antiphon.listen.listener import TRAINED_MODEL, Listener
from antiphon.listen.loading import load_listener
from antiphon.listen.phrases_heard import music_of
from antiphon.synth import render

pytestmark = pytest.mark.integration
RATE = 16_000


@pytest.fixture(scope="module")
def funk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A piece of 20 s, as a file in a folder with a space in its name."""
    path = tmp_path_factory.mktemp("a folder") / "funk.flac"
    score = arrange(Controls(genre="funk", energy="high", duration_seconds=20), seed=4)
    write(path, render(score))
    return path


def test_out_of_the_box(funk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["describe", str(funk), "--json"]) == 0
    description = Description.from_json(capsys.readouterr().out)
    heard = description.heard
    assert heard is not None
    assert heard.music is not None
    assert heard.music.present
    assert heard.genre
    assert heard.instruments
    assert heard.drums is not None
    assert heard.drums.present
    for tag in (*heard.genre, *heard.instruments):
        assert 0 <= tag.confidence <= 1
    assert description.provenance.model == TRAINED_MODEL
    assert description.provenance.revision == built_in_ear().revision
    # What is sure is said, and named as it was heard.
    sure = [tag.name for tag in heard.instruments if tag.confidence >= 0.75]
    assert sure
    text = description.texts["instrumentation"].lower()
    assert all(name in text for name in sure[:2])


def test_for_people(funk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["describe", str(funk)]) == 0
    out = capsys.readouterr().out
    assert "  genre       " in out
    assert "  instruments " in out
    assert "  drums       yes" in out


def test_questions_are_answered_from_what_is_heard(
    funk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["ask", str(funk), "Are there drums?"]) == 0
    assert capsys.readouterr().out.startswith("Yes: drums are there, from 0:00 to 0:")


def test_a_listener_of_ones_own(
    funk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toy = write_toy(tmp_path / "mine")
    assert run(["describe", str(funk), "--model", str(toy), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["provenance"]["revision"] == Ear(toy).revision
    assert found["provenance"]["revision"] != built_in_ear().revision
    assert load_listener(toy).describe(funk).provenance.model == TRAINED_MODEL
    assert run(["describe", str(funk), "--model", str(toy), "--precision", "fp16"]) == 2
    assert "it has no options" in capsys.readouterr().err


def test_a_folder_of_tracks(funk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.jsonl"
    assert run(["describe", str(funk.parent), "--jsonl", str(out), "--jobs", "2"]) == 0
    (line,) = out.read_text().splitlines()
    assert json.loads(line)["heard"]["genre"]


def test_silence_is_heard_as_no_music(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    silence = Waveform(np.zeros((1, 5 * RATE), np.float32), RATE)
    description = load_listener().describe(silence)
    assert description.heard == Heard(music=Presence(False, 1.0))
    write(tmp_path / "silence.wav", silence)
    assert run(["ask", str(tmp_path / "silence.wav"), "Which instruments play?"]) == 0
    assert "not heard as music" in capsys.readouterr().out


def heard_of(waveform: Waveform) -> Heard:
    heard = built_in_ear().hear(waveform, antiphon.measure(waveform), Limits())
    assert heard.music is not None
    return heard


def part_of(waveform: Waveform, seconds: float) -> Waveform:
    rate = waveform.sample_rate
    return Waveform(waveform.samples[:, : round(seconds * rate)], rate)


def test_of_less_sound_it_is_less_sure() -> None:
    """On average: of one piece the beginning may be the clearest part."""
    pieces = [
        render(arrange(Controls(genre=genre, duration_seconds=30), seed=number))
        for number, genre in enumerate(("rock", "jazz", "classical", "house", "folk", "reggae"))
    ]
    whole = [max(tag.confidence for tag in heard_of(piece).genre) for piece in pieces]
    short = [
        max((tag.confidence for tag in heard_of(part_of(piece, 3)).genre), default=0.0)
        for piece in pieces
    ]
    assert np.mean(short) < np.mean(whole) - 0.02


def test_two_songs_in_one_file() -> None:
    rock = render(arrange(Controls(genre="metal", energy="high", duration_seconds=24), seed=2))
    piano = render(
        arrange(Controls(genre="classical", without=("drums",), duration_seconds=24), seed=3)
    )
    both = Waveform(np.concatenate([rock.samples, piano.samples], axis=1), rock.sample_rate)
    sections = heard_of(both).sections
    first, last = sections[0], sections[-1]
    assert first.drums is not None
    assert last.drums is not None
    assert first.drums.present
    assert not last.drums.present
    assert first.genre[0].name != last.genre[0].name


def test_one_instrument_alone() -> None:
    piano = Controls(genre="classical", instruments=("piano",), duration_seconds=16)
    score = arrange(piano, seed=5)
    alone = replace(score, tracks=tuple(t for t in score.tracks if t.instrument == "piano"))
    heard = heard_of(render(alone))
    assert heard.drums is not None
    assert not heard.drums.present
    asserted = [one.name for one in heard.instruments if one.confidence >= 0.5]
    assert asserted[0] == "piano"
    assert len(asserted) <= 2


def test_facts_alone_hear_nothing(funk: Path) -> None:
    description = Listener().describe(funk)
    assert description.heard is None
    assert "not heard" in description.texts["instrumentation"]


def test_by_telephone() -> None:
    """8 kHz, mono, 300 to 3,400 Hz, as a phone has it: still music, and less sure of it all."""
    piece = render(arrange(Controls(genre="rock", energy="high", duration_seconds=20), seed=1))
    band = butter(6, (300, 3400), "bandpass", fs=piece.sample_rate, output="sos")
    narrow = sosfilt(band, piece.samples.mean(0, keepdims=True)).astype(np.float32)
    heard = heard_of(resample(Waveform(narrow, piece.sample_rate), 8_000))
    assert heard.music is not None
    assert heard.music.present
    assert heard.drums is not None
    assert heard.drums.present


def test_a_tune_of_plain_tones_is_not_denied_to_be_music() -> None:
    """A scale in A major, four times, of tones with six overtones and nothing else."""
    steps = [0, 2, 4, 5, 7, 9, 11, 12, 11, 9, 7, 5, 4, 2]
    time = np.arange(RATE // 4) / RATE
    fading = np.exp(-4 * time)
    notes = [
        sum(np.sin(2 * np.pi * 220 * 2 ** (step / 12) * k * time) / k for k in range(1, 8)) * fading
        for step in steps * 4
    ]
    tune = Waveform(0.2 * np.concatenate(notes)[None].astype(np.float32), RATE)
    description = load_listener().describe(tune)
    assert description.facts.key.name == "A major"
    assert description.heard is not None
    assert music_of(description.heard) != "no"
    assert description.facts.key.name in " ".join(description.texts.values())
