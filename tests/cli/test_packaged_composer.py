"""The composer in the package, as a user meets it: it obeys, says how well, and plays what it has
sampled."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from antiphon.analysis import adherence, measure
from antiphon.audio import Waveform, read, write
from antiphon.cli.main import run
from antiphon.compose.composer import Piece
from antiphon.compose.generation import Frame
from antiphon.compose.musicgen import MusicGen
from antiphon.compose.requests import Request
from antiphon.controls import Controls
from antiphon.hearing import hear, load_composer
from antiphon.midi import read_midi
from antiphon.models.finding import packaged
from antiphon.score import Score

pytestmark = pytest.mark.integration

PROMPT = "energetic funk in E minor, 105 bpm, with organ, no guitar"
SIZE_LIMIT_BYTES = 20_000_000


def generated(
    capsys: pytest.CaptureFixture[str], *arguments: str, prompt: str = PROMPT
) -> dict[str, object]:
    assert run(["generate", prompt, "--seed", "7", "--output", "a.wav", "--json", *arguments]) == 0
    (one,) = json.loads(capsys.readouterr().out)["outputs"]
    return one


def test_it_obeys_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    one = generated(capsys, "--duration", "12", "--midi", "a.mid", "--score", "s.json")
    assert one["provenance"]["model"] == "composer"
    assert one["provenance"]["licence"] == "CC0-1.0"
    for name in ("tempo", "duration"):
        assert one["adherence"][name]["ok"], one["adherence"]
    assert {"tempo", "key", "duration", "genre"} <= set(one["adherence"])
    assert {"tempo", "key", "metre", "duration", "loudness", "genre", "drums"} == set(
        one["measured"]
    )
    assert json.loads(Path("a.json").read_text())["adherence"] == one["adherence"]
    score = Score.from_json(Path("s.json").read_text())
    assert json.loads(score.to_json()) == one["score"]
    assert len(list(read_midi(Path("a.mid")).notes())) == len(list(score.notes()))
    assert score.tempo_bpm == 105.0
    assert not any("guitar" in track.instrument for track in score.tracks)


def test_the_package_stays_small() -> None:
    files = [path for path in packaged("composer").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= SIZE_LIMIT_BYTES
    assert {path.suffix for path in files} == {".json", ".md", ".safetensors"}
    assert not (packaged("composer").parent / "codec").exists()


@pytest.fixture(scope="module")
def pieces() -> list[Piece]:
    """Two wishes as different as can be."""
    composer = load_composer()
    slow = "sad ambient music in C minor, 65 bpm, strings, no drums"
    fast = "energetic rock in A major, 140 bpm, with drums"
    return [composer.generate(prompt, duration_seconds=12.0, seed=5) for prompt in (slow, fast)]


def test_swapped_sounds_obey_less(pieces: list[Piece]) -> None:
    """Adherence is of the sound, not of what was planned."""

    def kept(piece: Piece, waveform: Waveform) -> int:
        facts = measure(waveform)
        judged = adherence(
            Controls.from_options(dict(piece.requested)), facts, hear(waveform, facts)
        )
        return sum(one.ok for name, one in judged.items() if name != "duration")

    slow, fast = pieces
    right = kept(slow, slow.waveform) + kept(fast, fast.waveform)
    wrong = kept(slow, fast.waveform) + kept(fast, slow.waveform)
    assert right == sum(
        one.ok for piece in pieces for name, one in piece.adherence.items() if name != "duration"
    )
    assert right >= 4
    assert wrong <= 1


def test_two_seeds_of_one_score_sample_other_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sound is sampled, not the score's own sound in codes."""
    from antiphon.arrange import arrange
    from antiphon.compose import musicgen

    score = arrange(Controls(genre="pop", tempo_bpm=100.0, bars=4), 3)
    written: list[np.ndarray] = []
    write_codes = musicgen.write_codes

    def keep(*arguments: object) -> object:
        frames: list[np.ndarray] = []
        for moment in write_codes(*arguments):  # type: ignore[arg-type]
            frames += [frame.codes for frame in moment if isinstance(frame, Frame)]
            yield moment
        written.append(np.stack(frames, axis=1))

    monkeypatch.setattr(musicgen, "write_codes", keep)
    composer = load_composer()
    assert isinstance(composer.renderer, MusicGen)
    for seed in (1, 2, 1):
        composer.compose([Request("bright pop", seed, score=score)])
    assert (written[0] != written[1]).mean() >= 0.3
    assert np.array_equal(written[0], written[2])


def test_of_several_candidates_the_best_stays(capsys: pytest.CaptureFixture[str]) -> None:
    one = generated(capsys, "--duration", "6", "--candidates", "3")
    candidates = one["candidates"]
    assert [candidate["seed"] for candidate in candidates] == [7, 8, 9]
    (best,) = [candidate for candidate in candidates if candidate["chosen"]]
    assert best["kept"] == max(candidate["kept"] for candidate in candidates)
    assert one["seed"] == best["seed"]
    assert any(note.startswith(f"kept seed {best['seed']}, which keeps") for note in one["notes"])
    assert sorted(path.name for path in Path().iterdir()) == ["a.json", "a.wav"]
    chosen = read("a.wav").waveform.samples
    again = ["generate", PROMPT, "--seed", str(best["seed"]), "--duration", "6"]
    assert run([*again, "--output", "b.wav"]) == 0
    assert np.array_equal(chosen, read("b.wav").waveform.samples)


def test_what_nobody_can_play_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """A tempo that is not kept is named, and the synth is offered."""
    one = generated(capsys, "--duration", "2", prompt="solo ambient pads at 41 bpm in F# major")
    missed = [name for name, found in one["adherence"].items() if not found["ok"]]
    assert missed
    assert any(
        note.startswith("not kept: ") and note.endswith("--model synth --seed 7 plays the same "
                                                        "score exactly")
        for note in one["notes"]
    )  # fmt: skip


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_a_loop_has_no_seam(rate: int, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--loop-bars", "4", "--sample-rate", str(rate)]
    one = generated(capsys, *arguments, prompt="house at 124 bpm, 4/4")
    sound = read("a.wav").waveform
    assert sound.frames == pytest.approx(4 * 4 * 60 / 124 * rate, abs=2)
    assert one["adherence"]["duration"]["ok"]
    twice = Waveform(np.concatenate([sound.samples] * 2, axis=1), rate)
    steps = np.abs(np.diff(twice.samples[0]))
    assert steps[sound.frames - 1] <= np.quantile(steps, 0.9999)
    facts = measure(Waveform(np.concatenate([sound.samples] * 3, axis=1), rate))
    assert facts.tempo.bpm == pytest.approx(124, rel=0.04)


def test_somebodys_own_midi_is_played(capsys: pytest.CaptureFixture[str]) -> None:
    arrange_it = ["arrange", "--genre", "pop", "--tempo", "96", "--key", "D major", "--bars", "4"]
    assert run([*arrange_it, "--seed", "2", "--midi", "tune.mid"]) == 0
    capsys.readouterr()
    one = generated(capsys, "--from-score", "tune.mid", prompt="calm pop")
    score = Score.from_json(json.dumps(one["score"]))
    assert score.tempo_bpm == pytest.approx(96, rel=1e-3)
    assert one["requested"]["key"] == "D major"
    assert one["seconds"] == pytest.approx(score.duration_seconds, abs=0.1)
    assert one["adherence"]["tempo"]["ok"]


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("s.json", b"{}", "score 's.json': "),
        ("s.json", b"", "has 0 bytes; expected a score in JSON"),
        ("s.json", b"MThd", "is a MIDI file; expected a name that ends in .mid"),
        ("s.mid", b"", "is empty (0 bytes)"),
        ("s.mid", b"MThd\x00\x00\x00\x06\x00\x01", "damaged"),
    ],
)
def test_scores_that_are_none(
    name: str, content: bytes, match: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(name).write_bytes(content)
    assert run(["generate", "x", "--from-score", name, "--output", "a.wav"]) == 2
    assert match in capsys.readouterr().err
    assert not Path("a.wav").exists()


def test_a_recording_goes_on_in_its_key_and_tempo(capsys: pytest.CaptureFixture[str]) -> None:
    arrange_it = ["arrange", "--genre", "rock", "--tempo", "112", "--key", "A minor"]
    assert run([*arrange_it, "--bars", "4", "--seed", "4", "--output", "first.wav"]) == 0
    capsys.readouterr()
    one = generated(capsys, "--continue", "first.wav", "--duration", "20", prompt="rock goes on")
    assert one["seconds"] == pytest.approx(20.0, abs=0.01)
    assert any(note.startswith("goes on at the recording's 11") for note in one["notes"])
    whole = read("a.wav").waveform
    write("new.wav", Waveform(whole.samples[:, 10 * whole.sample_rate :], whole.sample_rate))
    assert measure("new.wav").tempo.bpm == pytest.approx(112, rel=0.04)
