"""`antiphon generate-batch`: rows in, files out, whatever happens in between."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "compose"))

from t5_models import tiny_musicgen

from antiphon.cli.main import run

pytestmark = pytest.mark.integration

PROGRAM = [sys.executable, "-m", "antiphon"]
COMMAND = [
    "generate-batch", "--model", "synth", "--prompts", "p.csv", "--output-dir", "out",
    "--duration", "1",
]  # fmt: skip
MANY = ["generate-batch", "--model", "synth", "--prompts", "many.txt"]
ROWS = """\
prompt,output,tempo,seed,duration
happy jazz with piano,a.wav,,7,
slow blues,,,,
"house, loud",house.flac,124,,2
"""


def files(folder: str = "out") -> dict[str, bytes]:
    """All of them but for the ledger."""
    found = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
    assert found.pop(".antiphon-batch.jsonl")
    return found


def test_json_now_and_later(capsys: pytest.CaptureFixture[str]) -> None:
    Path("p.csv").write_text(ROWS)
    assert run([*COMMAND, "--seed", "100", "--json"]) == 0
    out, err = capsys.readouterr()
    assert err.startswith("3 composed, 3 of them now, 0.")
    result = json.loads(out)
    assert list(result) == ["outputs", "real_time_factor", "failed"]
    assert result["failed"] == 0
    assert 0 < result["real_time_factor"] < 5
    assert [
        (one["row"], one["path"], one["seed"], one["seconds"]) for one in result["outputs"]
    ] == [
        (0, "out/a.wav", 7, 1.0),
        (1, "out/0001-slow-blues.wav", 101, 1.0),
        (2, "out/house.flac", 102, 2.0),
    ]
    house = result["outputs"][2]
    assert house["requested"]["tempo"] == 124
    assert house["adherence"]["duration"]["ok"]
    assert house["score"]["tempo_bpm"] == 124
    assert house["provenance"]["prompt"] == "house, loud"

    assert run([*COMMAND, "--seed", "100", "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == "3 composed, 0 of them now\n"
    assert json.loads(out) == {**result, "real_time_factor": None}


def test_each_piece_is_what_generate_makes(capsys: pytest.CaptureFixture[str]) -> None:
    Path("p.jsonl").write_text('{"prompt": "slow blues", "tempo": 80, "without": ["drums"]}')
    batch = ["generate-batch", "--prompts", "p.jsonl", "--output-dir", "out"]
    options = ["--duration", "1.5", "--seed", "3", "--loudness", "-20", "--format", "flac"]
    assert run([*batch, *options]) == 0
    assert capsys.readouterr().out == "out/0000-slow-blues.flac\n"
    row = ["--tempo", "80", "--without", "drums", "--output", "0000-slow-blues.flac"]
    assert run(["generate", "slow blues", *row, *options]) == 0
    for name in ("0000-slow-blues.flac", "0000-slow-blues.json"):
        assert Path("out", name).read_bytes() == Path(name).read_bytes()


def test_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    prompts = Path("p.csv")
    prompts.write_text("prompt,tempo\nslow blues,80\nx,300\ny,400\n")
    assert run([*COMMAND, "--json"]) == 3
    out, err = capsys.readouterr()
    assert "error: p.csv, line 3: tempo is 300 BPM; expected 40 to 240 BPM\n" in err
    result = json.loads(out)
    assert result["failed"] == 2
    assert result["outputs"][1] == {
        "row": 1,
        "path": None,
        "error": "tempo is 300 BPM; expected 40 to 240 BPM",
    }
    listed = [json.loads(line) for line in Path("out/failed.jsonl").read_text().splitlines()]
    assert [(one["row"], one["line"]) for one in listed] == [(1, 3), (2, 4)]
    assert run([*COMMAND, "--retry-failed"]) == 3
    assert run([*COMMAND, "--limit", "1"]) == 0
    assert not Path("out/failed.jsonl").exists()
    prompts.write_text("prompt,tempo\nx,300\n")
    assert run(COMMAND) == 2
    prompts.write_text("prompt,continue\nx,gone.wav\n")
    assert run(COMMAND) == 74
    prompts.write_text("prompt,negative\nx,loud\n")
    assert run(COMMAND) == 2  # an option of a neural model
    Path("file").write_text("")
    for arguments, code, message in (
        (["--tempo", "fast"], 2, "tempo is 'fast'"),
        (["--sample-rate", "7"], 2, "sample rate is 7"),
        (["--prompts", "gone.csv"], 74, "gone.csv"),
        (["--output-dir", "file"], 74, "'file'"),
        (["--model", "no/model"], 4, "no/model"),
        (["--precision", "fp32"], 2, "--precision"),
        (["--batch-size", "0"], 2, "batch-size"),
    ):
        capsys.readouterr()
        assert run([*COMMAND, *arguments]) == code, arguments
        out, err = capsys.readouterr()
        assert (out, err.count("error: ")) == ("", 1)
        assert message in err


def test_killed_at_every_step_it_ends_with_the_same_files() -> None:
    Path("p.csv").write_text(ROWS)
    assert run(COMMAND) == 0
    undisturbed = files()
    kill = (
        "import os, signal, sys\n"
        "from antiphon.__main__ import run\n"
        "left, sync = int(sys.argv.pop(1)), os.fsync\n"
        "def fsync(file):\n"
        "    global left\n"
        "    left -= 1\n"
        "    if not left:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    sync(file)\n"
        "os.fsync = fsync\n"
        "sys.exit(run())\n"
    )
    command = [*COMMAND]
    command[command.index("out")] = "killed"
    codes = []
    while not codes or codes[-1] != 0:  # each run comes a step further than the one before
        arguments = [sys.executable, "-c", kill, str(len(codes) + 1), *command]
        codes.append(subprocess.run(arguments, stderr=subprocess.DEVNULL, timeout=60).returncode)
        assert codes[-1] in (0, -signal.SIGKILL)
    assert len(codes) > 6  # begun, the sound, its folder, the description, its folder, done
    assert files("killed") == undisturbed


class Running:
    """The command in a process of its own, with many rows, that has finished one or two."""

    def __init__(self, folder: str) -> None:
        Path("many.txt").write_text("".join(f"slow blues {n}\n" for n in range(200)))
        self.process = subprocess.Popen(
            [*PROGRAM, *MANY, "--output-dir", folder],
            stderr=subprocess.PIPE,
        )
        deadline = time.monotonic() + 60
        # The second is written when the first is in the ledger.
        while len(list(Path(folder).glob("*.json"))) < 2:
            assert self.process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_at_once_and_what_is_finished_stays(
    number: signal.Signals, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    running = Running("out")
    os.kill(running.process.pid, number)
    _, err = running.process.communicate(timeout=20)
    assert running.process.returncode == code
    assert b"Traceback" not in err
    done = len(list(Path("out").glob("*.json")))
    assert 1 <= done < 200
    assert not [path for path in Path("out").iterdir() if path.suffix in (".tmp", ".lock")]
    rows = ["--limit", "1"]
    assert run([*MANY, "--output-dir", "out", *rows]) == 0
    assert "0 of them now" in capsys.readouterr().err


def test_a_second_run_into_the_folder(capsys: pytest.CaptureFixture[str]) -> None:
    running = Running("out")
    Path("p.csv").write_text(ROWS)
    assert run(COMMAND) == 74
    assert "another run is composing into 'out'" in capsys.readouterr().err
    running.process.kill()
    running.process.communicate()
    assert run(COMMAND) == 0


def test_with_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ANTIPHON_CACHE", str(tmp_path / "cache"))
    tiny_musicgen(tmp_path / "tiny")
    Path("p.csv").write_text("prompt,seed\nslow jazz,1\nfast piano,2\n")
    command = [*COMMAND, "--model", str(tmp_path / "tiny"), "--threads", "1"]
    assert run(command) == 0
    before = files()
    assert run([*command, "--batch-size", "1"]) == 0
    assert "0 of them now" in capsys.readouterr().err
    other = ["--guidance", "2", "--temperature", "0"]
    assert run([*command, *other]) == 0
    assert "2 of them now" in capsys.readouterr().err
    tiny_musicgen(tmp_path / "tiny", seed=1)  # other weights under the same name
    assert run([*command, *other]) == 0
    assert "2 of them now" in capsys.readouterr().err
    assert files().keys() == before.keys()
    used = json.loads(files()["0000-slow-jazz.json"])["provenance"]["settings"]
    assert (used["guidance"], used["temperature"]) == (2, 0)


def test_the_program_is_also_called_music_gen() -> None:
    for name, shown in (
        ("music-gen", "music-gen"),
        ("/x/music-gen.exe", "music-gen"),
        ("x", "antiphon"),
    ):
        code = (
            "import sys; from antiphon.__main__ import run; "
            f"sys.argv[0] = {name!r}; sys.exit(run())"
        )
        for arguments, expected in (
            (["generate-batch", "--help"], f"Usage: {shown} generate-batch "),
            (["generate-batch"], f"'{shown} generate-batch --help' tells more"),
        ):
            done = subprocess.run(
                [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60
            )
            assert expected in done.stdout + done.stderr
