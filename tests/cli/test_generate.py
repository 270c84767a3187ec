"""`antiphon generate`: a prompt in, a file out, or one line that says why not."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile

from antiphon.arrange import arrange
from antiphon.audio import Waveform, read, write
from antiphon.cli import composing
from antiphon.cli.main import run
from antiphon.controls import Controls
from antiphon.midi import read_midi
from antiphon.score import Score

sys.path.append(str(Path(__file__).parents[1] / "compose"))

from t5_models import tiny_musicgen

pytestmark = pytest.mark.integration

PROGRAM = [sys.executable, "-m", "antiphon"]
RATE = 32_000


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints `tiny` and `melody`, and a `cache` of what was prepared of them."""
    folder = tmp_path_factory.mktemp("made")
    tiny_musicgen(folder / "tiny")
    tiny_musicgen(folder / "melody", melody=True)
    return folder


@pytest.fixture(autouse=True)
def prepared(away: Path, made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTIPHON_CACHE", str(made / "cache"))
    monkeypatch.setenv("ANTIPHON_MODELS", str(away / "models"))


def command(
    made: Path, *arguments: str, prompt: str = "slow jazz", seconds: str = "1"
) -> list[str]:
    model = ["--model", str(made / "tiny"), "--threads", "1"]
    return ["generate", prompt, *model, "--duration", seconds, "--seed", "1", *arguments]


def refused(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> tuple[int, str]:
    """Run what must fail: the exit code and the one error line; no file is there after it."""
    before = sorted(Path().rglob("*"))
    code = run(arguments)
    out, err = capsys.readouterr()
    errors = [line for line in err.splitlines() if line.startswith("error:")]
    assert code != 0
    assert out == ""
    assert len(errors) == 1, err
    assert "defect of antiphon" not in err
    assert "Traceback" not in err
    assert sorted(Path().rglob("*")) == before
    return code, errors[0]


def test_json_of_a_checkpoint(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--tempo", "100", "--output", "a.wav", "--json"]
    assert run(command(made, *arguments, seconds="1.337")) == 0
    out, err = capsys.readouterr()
    assert "error" not in err
    result = json.loads(out)
    assert list(result) == ["outputs", "real_time_factor"]
    assert result["real_time_factor"] > 0
    (one,) = result["outputs"]
    assert set(one) >= {
        "path", "seconds", "seed", "requested", "measured", "adherence", "score", "provenance",
    }  # fmt: skip
    assert (one["path"], one["seed"], one["score"]) == ("a.wav", 1, None)
    assert one["seconds"] == pytest.approx(1.337, abs=1e-4)
    assert one["requested"]["tempo"] == 100.0
    assert one["requested"]["duration"] == 1.337
    judged = one["adherence"]["duration"]
    assert (judged["requested"], judged["ok"]) == (1.337, True)
    assert judged["measured"] == one["measured"]["duration"]
    said = one["provenance"]
    assert (said["model"], said["prompt"], said["seed"]) == ("tiny", "slow jazz", 1)
    assert said["text"] == "slow jazz. bpm: 100.0"
    assert said["settings"]["precision"] == "8bit"
    assert {"revision", "licence", "version"} <= set(said)
    with soundfile.SoundFile("a.wav") as file:
        assert (file.samplerate, file.frames) == (RATE, round(1.337 * RATE))
        assert json.loads(file.comment) == said
    beside = json.loads(Path("a.json").read_text())
    assert beside["provenance"] == said
    assert sorted(os.listdir()) == ["a.json", "a.wav"]


def test_json_of_synth(capsys: pytest.CaptureFixture[str]) -> None:
    files = ["--output", "a.wav", "--midi", "a.mid", "--score", "score.json"]
    arguments = ["generate", "happy folk in d minor, no drums", "--bars", "4", "--tempo", "120"]
    assert run([*arguments, "--model", "synth", "--seed", "3", *files, "--json"]) == 0
    (one,) = json.loads(capsys.readouterr().out)["outputs"]
    assert one["provenance"]["model"] == "synth"
    assert one["provenance"]["text"] is None
    assert one["requested"]["key"] == "D minor"
    assert one["score"] == json.loads(Path("score.json").read_text())
    score = Score.from_json(Path("score.json").read_text())
    assert len(list(read_midi(Path("a.mid")).notes())) == len(list(score.notes()))
    assert one["seconds"] == pytest.approx(read("a.wav").waveform.duration_seconds)
    assert not any(track.is_drums for track in score.tracks)


def test_for_people(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command(made, "--output", "a.wav")) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0] == "tiny, seed 1"
    assert lines[1].startswith("kept 1 of 3 wishes: duration 1.0; missed: tempo 70.0, measured ")
    assert lines[-1] == "a.wav"
    assert "understood: " in err
    assert "x real time" in err


def test_the_old_name_of_the_option_and_a_file_name_of_our_own(
    made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["generate", "Slow JAZZ, with piano!", "--model_path", str(made / "tiny")]
    arguments += ["--duration", "1", "--seed", "5", "--top_k", "7", "--json"]
    assert run(arguments) == 0
    (one,) = json.loads(capsys.readouterr().out)["outputs"]
    assert one["path"] == "slow-jazz-with-piano-5.wav"
    assert one["provenance"]["settings"]["top_k"] == 7
    code, error = refused(capsys, arguments)  # and never takes the place of another
    assert (code, "slow-jazz-with-piano-5.wav" in error) == (2, True)


def test_a_seed_is_drawn_and_told(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = ["--model", str(made / "tiny"), "--duration", "1", "--json"]
    told = []
    for name in ("a.wav", "b.wav"):
        assert run(["generate", "jazz", *model, "--output", name]) == 0
        told.append(json.loads(capsys.readouterr().out)["outputs"][0]["seed"])
    assert told[0] != told[1]
    again = ["--seed", str(told[0]), "--output", "c.wav"]
    assert run(["generate", "jazz", *model, *again]) == 0
    assert Path("c.wav").read_bytes() == Path("a.wav").read_bytes()


def test_models_that_are_not_here(capsys: pytest.CaptureFixture[str]) -> None:
    base = ["generate", "x", "--output", "a.wav"]
    code, error = refused(capsys, [*base, "--model-size", "small"])
    assert code == 4
    assert "facebook/musicgen-small" in error
    code, error = refused(capsys, [*base, "--model", "none/such"])
    assert code == 4


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["--duration", "0"], "duration is 0 seconds; expected 1 to"),
        (["--duration", "-1"], "duration is -1 seconds"),
        (["--duration", "nan"], "duration is nan"),
        (["--duration", "36000"], "duration is 36000 seconds"),
        (["--duration", "soon"], "duration"),
        (["--top-k", "65"], "top-k is 65; expected 1 to 64"),
        (["--top-k", "-1"], "top-k is -1"),
        (["--top-p", "0"], "top-p is 0; expected more than 0"),
        (["--top-p", "1.5"], "top-p is 1.5"),
        (["--temperature", "-1"], "temperature is -1"),
        (["--temperature", "nan"], "temperature is nan"),
        (["--guidance", "-3"], "guidance is -3"),
        (["--seed", "-1"], "seed is -1"),
        (["--seed", "99999999999999999999"], "seed is 99999999999999999999"),
        (["--seed", "x"], "seed"),
        (["--sample-rate", "12345"], "sample rate is 12345; expected one of"),
        (["--bit-depth", "12"], "bit_depth is 12; expected for wav: 16, 24, 32"),
        (["--channels", "6"], "channels is 6; expected 1 or 2"),
        (["--format", "aiff"], "the format is 'aiff'"),
        (["--loudness", "5"], "loudness is 5 LUFS"),
        (["--fade-out", "-1"], "fade is -1 s"),
        (["--output", "none/a.wav"], "no folder 'none'; create it first"),
        (["--output", "a.xyz"], "the format is 'xyz'"),
        (["--output", "-"], "expected --stream with it"),
        (["--output", "-", "--stream", "--json"], "no --json"),
        (["--stream", "--loudness", "-14"], "loudness and fade need the whole piece"),
        (["--section", "nonsense"], "section 'nonsense' is not understood; expected TEXT@SECONDS"),
        (["--section", "x@y"], "section 'x@y' is not understood"),
        (["--section", "@0.5"], "section '@0.5' is not understood"),
        (["--section", "a@0.6", "--section", "b@0.5"], "section 'b' starts at 0.5 s; expected"),
        (["--section", "a@5"], "section 'a' starts at 5 s, and the piece ends at 1 s"),
        (["--section", "a@inf"], "section 'a' starts at inf s"),
        (["--section", "a@0"], "section 'a' starts at 0 s; expected more than 0 s"),
        (["--continue", "none.wav"], "none.wav"),
        (["--continue", "noise.bin"], "noise.bin"),
        (["--continue", "long.wav"], "the file to continue 2.00 s; expected a longer --duration"),
        (["--melody", "long.wav"], "--melody needs a checkpoint that was trained on melodies"),
        (["--score", "a.json"], "are both 'a.json'"),
        (["--precision", "int3"], "precision is 'int3'"),
        (["--device", "quantum"], "quantum"),
        (["--model-size", "small"], "--model and --model-size both name a model"),
        (["--nonsense"], "no such option"),
    ],
)  # fmt: skip
def test_bad_values_are_one_line_and_no_file(
    made: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], match: str
) -> None:
    Path("noise.bin").write_bytes(bytes(range(256)) * 40)
    write("long.wav", Waveform(np.zeros((1, 2 * RATE), np.float32), RATE))
    _, error = refused(capsys, command(made, "--output", "a.wav", *arguments))
    assert match in error


def test_notes_of_a_model_without_a_score(
    made: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are transcribed where basic-pitch is installed, and refused where it is not."""
    from antiphon.analysis import transcribing

    asked = ["--output", "a.wav", "--midi", "a.mid", "--score", "s.json"]
    monkeypatch.setattr(transcribing, "transcription_model", lambda: None)
    _, error = refused(capsys, command(made, *asked))
    assert "--midi needs a score" in error
    assert "pip install --no-deps basic-pitch" in error
    heard = arrange(Controls(genre="pop", bars=1), 1)
    monkeypatch.setattr(transcribing, "transcription_model", lambda: Path("nmp.onnx"))
    monkeypatch.setattr(transcribing, "transcribe", lambda path, facts: heard)
    _, error = refused(capsys, command(made, "--stream", *asked[2:], "--output", "-"))
    assert "or a file as --output" in error
    assert run(command(made, *asked)) == 0
    assert "the notes are what basic-pitch hears in the sound" in capsys.readouterr().err
    assert Score.from_json(Path("s.json").read_text()) == heard
    assert len(list(read_midi(Path("a.mid")).notes())) == len(list(heard.notes()))
    assert json.loads(Path("a.json").read_text())["score"] is None  # it was not played from


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["--duration", "0"], "duration is 0"),
        (["--section", "a@2"], "--section needs a neural model"),
        (["--negative", "drums"], "--negative needs a neural model"),
        (["--continue", "long.wav"], "--continue needs a neural model"),
        (["--melody", "long.wav"], "--melody needs a neural model"),
        (["--top-p", "0"], "top-p is 0"),
        (["--temperature", "0.5"], "--score-guidance needs a neural model"),
        (["--precision", "8bit"], "--precision is an option of a neural model"),
        (["--adapter", "a"], "--adapter is an option of a neural model"),
        (["--score-guidance", "2"], "--score-guidance needs a neural model"),
        (["--loop-bars", "0"], "loop bars is 0; expected 1 to 2000"),
        (["--candidates", "99"], "candidates is 99; expected 1 to 16"),
        (["--from-score", "gone.json"], "gone.json"),
        (["--sample-rate", "12345"], "sample rate is 12345"),
        (["--model-size", "huge"], "huge"),
    ],
)
def test_bad_values_for_synth(
    capsys: pytest.CaptureFixture[str], arguments: list[str], match: str
) -> None:
    write("long.wav", Waveform(np.zeros((1, 2 * RATE), np.float32), RATE))
    base = ["generate", "jazz", "--model", "synth", "--output", "a.wav"]
    _, error = refused(capsys, [*base, *arguments])
    assert match in error


def empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def t5_alone(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())["text_encoder"]
    (folder / "config.json").write_text(json.dumps(config))


def a_listener(folder: Path) -> None:
    config = {"model_type": "audioflamingo3", "text_config": {"hidden_size": 8}}
    (folder / "config.json").write_text(json.dumps(config))


def no_json(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def truncated(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def flipped_header(folder: Path) -> None:
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[20] ^= 0xFF
    path.write_bytes(data)


def huge_header(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(struct.pack("<Q", 100 << 30) + path.read_bytes()[8:])


def huge_tensor(folder: Path) -> None:
    header = json.dumps(
        {"x": {"dtype": "F32", "shape": [25 << 30], "data_offsets": [0, 100 << 30]}}
    ).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)


def renamed_pickle(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(pickle.dumps({"x": [1.0] * 100}))


def audiocraft(folder: Path) -> None:
    empty(folder)
    (folder / "state_dict.bin").write_bytes(pickle.dumps({}))


def pickled_weights(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def other_sizes(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["decoder"]["num_hidden_layers"] = 7
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (empty, "has no config.json; expected a MusicGen checkpoint folder"),
        (t5_alone, "is a text encoder alone, not a composer"),
        (a_listener, "is a listener, not a composer"),
        (no_json, "config.json is no valid JSON"),
        (truncated, "is no whole safetensors file"),
        (flipped_header, "is no whole safetensors file"),
        (huge_header, "is no whole safetensors file"),
        (huge_tensor, "is no whole safetensors file"),
        (renamed_pickle, "it looks like a pickle"),
        (audiocraft, "layout of audiocraft, pickles that may run code"),
        (pickled_weights, "it has pytorch_model.bin, a pickle, which may run code"),
        (no_tokenizer, "has no tokenizer.json; copy tokenizer.json from"),
        (other_sizes, "has no tensor 'decoder.model.decoder.layers.2."),
    ],
)
def test_folders_that_are_no_checkpoint(
    made: Path, away: Path, capsys: pytest.CaptureFixture[str],
    change: Callable[[Path], None], match: str,
) -> None:  # fmt: skip
    folder = away / "model"
    shutil.copytree(made / "tiny", folder)
    change(folder)
    arguments = ["generate", "x", "--model", str(folder), "--duration", "1", "--output", "a.wav"]
    code, error = refused(capsys, arguments)
    assert code == 1
    assert match in error


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        "jazz",
        "  two  spaces. and a dot.  ",
        "party 🎵👩‍🎤 time",
        "موسيقى هادئة \u202eevitaler\u202c",
        "a\nb\r\n\tc",
        "bpm: 120. key: c minor -- \"quotes\" 'and' \\backslashes\\",
        "--leading dashes",
        "half \ud83c of a pair",
    ],
)
def test_a_prompt_reaches_the_model_word_for_word(
    made: Path, capsys: pytest.CaptureFixture[str], prompt: str
) -> None:
    arguments = command(made, "--output", "a.wav", "--json")
    arguments = [arguments[0], *arguments[2:], "--", prompt]
    assert run(arguments) == 0
    (one,) = json.loads(capsys.readouterr().out)["outputs"]
    assert one["provenance"]["text"] == one["provenance"]["prompt"] == prompt
    assert json.loads(Path("a.json").read_text())["provenance"]["text"] == prompt
    assert one["seconds"] == 1.0


def test_ten_thousand_words_are_cut_and_it_is_said(
    made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prompt = "jazz " * 10_000
    assert run(command(made, "--output", "a.wav", "--json", prompt=prompt)) == 0
    out, err = capsys.readouterr()
    (one,) = json.loads(out)["outputs"]
    assert one["notes"][0] == (
        "too long, its last 9489 tokens are not heard: 'jazz jazz jazz jazz jazz jazz jazz jazz …'"
    )
    assert one["provenance"]["text"] == prompt
    with soundfile.SoundFile("a.wav") as file:
        assert json.loads(file.comment)["prompt"].startswith("jazz jazz")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--guidance", "0"],
        ["--guidance", "1"],
        ["--temperature", "0"],
        ["--top-k", "1", "--top-p", "0.5"],
        ["--top-k", "0"],
        ["--negative", ""],
        ["--negative", "drums", "--guidance", "7.5"],
        ["--precision", "fp32"],
        ["--precision", "4bit"],
        ["--section", "fast guitar@0.5"],
        ["--section", "with an @ in it@0.5"],
        ["--intro", "--ending"],
        ["--continue", "short.wav"],
        ["--sample-rate", "48000", "--channels", "2", "--bit-depth", "24", "--fade-out", "0.2"],
        ["--loudness", "-23"],
        ["--stream"],
        ["--format", "flac"],
    ],
)
def test_odd_values_that_work(
    made: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    write("short.wav", Waveform(np.full((1, RATE // 2), 0.1, np.float32), RATE))
    assert run(command(made, *arguments, "--output", "a.wav", "--json")) == 0
    (one,) = json.loads(capsys.readouterr().out)["outputs"]
    assert one["seconds"] == 1.0
    assert np.abs(read("a.wav").waveform.samples).max() > 1e-3


def test_a_melody_is_followed(made: Path) -> None:
    tune = np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE).astype(np.float32)
    write("tune.wav", Waveform(0.3 * tune[None], RATE))
    base = ["generate", "jazz", "--model", str(made / "melody"), "--duration", "1", "--seed", "1"]
    assert run([*base, "--melody", "tune.wav", "--output", "a.wav"]) == 0
    assert run([*base, "--output", "b.wav"]) == 0
    assert Path("a.wav").read_bytes() != Path("b.wav").read_bytes()


def test_folders_and_files_with_spaces(made: Path, away: Path) -> None:
    folder = away / "my models" / "ti ny"
    shutil.copytree(made / "tiny", folder)
    Path("out put").mkdir()
    arguments = ["--model", str(folder), "--duration", "1", "--output", "out put/a b.wav"]
    assert run(["generate", "x", *arguments]) == 0
    assert sorted(os.listdir("out put")) == ["a b.json", "a b.wav"]


def test_streamed_and_whole_are_the_same(made: Path) -> None:
    assert run(command(made, "--output", "a.wav", "--bit-depth", "32")) == 0
    assert run(command(made, "--output", "b.wav", "--bit-depth", "32", "--stream")) == 0
    assert Path("a.wav").read_bytes() == Path("b.wav").read_bytes()


def test_bare_pcm_on_stdout(made: Path) -> None:
    arguments = command(made, "--stream", "--output", "-", seconds="1.5")
    result = subprocess.run([*PROGRAM, *arguments], capture_output=True, check=True)
    assert b"raw PCM: S16_LE, 32000 Hz, 1 channels" in result.stderr
    assert run(command(made, "--output", "a.wav", seconds="1.5")) == 0
    pcm = np.frombuffer(result.stdout, "<i2") / 32_767
    assert np.abs(pcm - read("a.wav").waveform.samples[0]).max() < 1e-4
    assert sorted(os.listdir()) == ["a.json", "a.wav"]  # of the second run


def test_bare_pcm_of_synth_may_have_its_notes_beside_it() -> None:
    arguments = ["generate", "folk", "--model", "synth", "--duration", "2"]
    arguments += ["--stream", "--output", "-"]
    result = subprocess.run(
        [*PROGRAM, *arguments, "--midi", "a.mid"], capture_output=True, check=True
    )
    assert len(result.stdout) == 2 * 44_100 * 2 * 2
    assert list(read_midi(Path("a.mid")).notes())


def started(made: Path, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*PROGRAM, *command(made, *arguments, seconds="1500")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def wait_for(ready: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 60
    while not ready():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.parametrize("format", ["wav", "flac", "mp3"])
def test_an_interrupted_stream_leaves_what_can_be_played(made: Path, format: str) -> None:
    path = Path(f"a.{format}")
    with started(made, "--stream", "--output", str(path)) as process:
        wait_for(lambda: path.exists() and path.stat().st_size > 40_000, process)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == b""
    assert b"Traceback" not in err
    recording = read(path)
    assert recording.waveform.duration_seconds > 0.5  # of WAV, 40 kB are .62 s
    assert recording.damage.problems == ()
    assert os.listdir() == [path.name]


def test_an_interruption_of_a_whole_piece_leaves_nothing(made: Path) -> None:
    def has_begun() -> bool:
        for file in Path(f"/proc/{process.pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed meanwhile
                if os.readlink(file).startswith(f"{os.getcwd()}/"):
                    return True
        return False

    with started(made, "--output", "a.wav") as process:
        wait_for(has_begun, process)  # a nameless file beside the place of the piece
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert b"Traceback" not in err
    assert os.listdir() == []


def test_a_player_that_goes_away_ends_the_program(made: Path) -> None:
    with started(made, "--stream", "--output", "-") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert len(process.stdout.read(1000)) == 1000
        process.stdout.close()
        err = process.stderr.read()
        assert process.wait(timeout=60) == 1  # as of other commands in a pipe
    assert b"Traceback" not in err
    assert b"defect" not in err


def test_the_pace_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(composing.time, "perf_counter", lambda: now[0])
    pace = composing.Pace(40 * RATE, RATE)
    assert (pace.real_time_factor, pace.left_seconds) == (None, None)
    now[0] += 6.0
    pace.add(8 * RATE)
    pace.add(2 * RATE)
    assert pace.seconds == 10.0
    assert pace.real_time_factor == pytest.approx(0.6)
    assert pace.left_seconds == pytest.approx(18.0)
    assert str(pace) == "10.0 of 40.0 s, 0.60 x real time, 18 s left"
