"""`antiphon arrange`: what was asked for is in the files, and what was made is said."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from antiphon.audio import read
from antiphon.cli.main import run
from antiphon.midi import read_midi
from antiphon.score import Score

pytestmark = pytest.mark.integration

ASKED = ["arrange", "--genre", "folk", "--tempo", "120", "--key", "d minor", "--metre", "3/4",
         "--bars", "4", "--without", "drums", "--seed", "5"]  # fmt: skip


def test_sound_notes_and_score_agree(capsys: pytest.CaptureFixture[str]) -> None:
    files = ["--output", "a.flac", "--midi", "a.mid", "--score", "a.json"]
    assert run([*ASKED, *files, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["files"] == {"output": "a.flac", "midi": "a.mid", "score": "a.json"}
    assert told["requested"]["key"] == told["made"]["key"] == "D minor"
    assert (told["made"]["tempo"], told["made"]["bars"], told["seed"]) == (120.0, 4, 5)

    score = Score.from_json(Path("a.json").read_text())
    assert score.duration_seconds == pytest.approx(4 * 3 * 0.5)
    assert not any(track.is_drums for track in score.tracks)
    assert len(list(read_midi(Path("a.mid")).notes())) == len(list(score.notes()))
    with soundfile.SoundFile("a.flac") as sound:
        assert sound.frames / sound.samplerate == pytest.approx(told["seconds"])
        assert told["seconds"] >= score.duration_seconds
        assert json.loads(sound.comment)["seed"] == 5


def test_the_same_seed_is_the_same_piece() -> None:
    for name in ("a", "b"):
        assert run([*ASKED, "--output", f"{name}.wav"]) == 0
    assert Path("a.wav").read_bytes() == Path("b.wav").read_bytes()


def test_without_a_file_the_sound_gets_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(ASKED) == 0
    assert "D minor; 4 bars" in capsys.readouterr().out
    before = Path("folk-5.wav").read_bytes()
    assert run(ASKED) == 2  # and never takes the place of another
    assert "'folk-5.wav'" in capsys.readouterr().err
    assert Path("folk-5.wav").read_bytes() == before


def test_a_wrong_format_leaves_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*ASKED, "--output", "a.xyz", "--midi", "a.mid"]) == 2
    assert "xyz" in capsys.readouterr().err
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3", "ogg", "opus"])
def test_every_format_that_the_help_names(suffix: str) -> None:
    file = Path(f"a.{suffix}")
    assert run(["arrange", "--duration", "3", "--seed", "1", "--output", str(file)]) == 0
    waveform = read(file).waveform
    assert waveform.duration_seconds == pytest.approx(3.0, abs=0.1)
    assert np.abs(waveform.samples).max() > 0.05


def test_two_outputs_in_one_file_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["arrange", "--bars", "2", "--output", "a.wav", "--midi", "./a.wav"]) == 2
    assert "--output and --midi are both 'a.wav'" in capsys.readouterr().err
    assert not Path("a.wav").exists()
