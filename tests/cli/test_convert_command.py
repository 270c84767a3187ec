"""`antiphon convert` and `antiphon export` as commands: what is printed where, and exit codes."""

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

from audiocraft_folders import write_audiocraft
from t5_models import tiny_musicgen

from antiphon.cli import byte_progress
from antiphon.cli.main import run

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A checkpoint of transformers, and the same in the layout of audiocraft."""
    folder = tmp_path_factory.mktemp("checkpoints")
    model = tiny_musicgen(folder / "tiny")
    return folder / "tiny", write_audiocraft(folder / "audiocraft", model)


@pytest.fixture(autouse=True)
def models(away: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty models folder."""
    monkeypatch.setenv("ANTIPHON_MODELS", str(away / "models"))
    return away / "models"


def ended(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    """Exit code, stdout, stderr."""
    code = run([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return code, out, err


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("convert", "export"):
        code, text, _ = ended(capsys, command, "-h")
        assert code == 0
        assert f"antiphon {command}" in text.partition("Examples:")[2]


def test_from_audiocraft_to_a_piece(
    capsys: pytest.CaptureFixture[str], tiny: tuple[Path, Path]
) -> None:
    checkpoint, audiocraft = tiny
    code, out, err = ended(
        capsys, "convert", audiocraft, "--output", "made", "--text-encoder", checkpoint
    )
    assert (code, out) == (0, "made\n")
    assert "transformers, fp32: 4 files, 1.6 MB; checked: largest difference of a value 0" in err
    assert "the licence of the source goes on with it" in err

    code, out, err = ended(
        capsys, "export", "made", "--output", "small", "--threads", "1", "--json"
    )
    assert code == 0
    result = json.loads(out)
    assert (result["source"], result["output"]) == ("made", "small")
    assert (result["format"], result["precision"]) == ("onnx", "8bit")
    assert "decoder/step.onnx" in result["files"]
    assert 0 < result["parity"]["max_difference"] < result["parity"]["tolerance"]
    assert result["parity"]["ok"] is True

    code, out, err = ended(
        capsys, "generate", "jazz", "--model", "small", "--duration", "1", "--seed", "1",
        "--output", "a.wav", "--json",
    )  # fmt: skip
    assert code == 0, err
    assert json.loads(out)["outputs"][0]["path"].endswith("a.wav")


def test_errors_have_their_codes(
    capsys: pytest.CaptureFixture[str], tiny: tuple[Path, Path]
) -> None:
    checkpoint, audiocraft = tiny
    code, _, err = ended(capsys, "convert", audiocraft, "--output", "made")
    assert code == 4
    assert "google-t5/t5-base" in err
    assert "--text-encoder DIR" in err
    assert ended(capsys, "convert", checkpoint, "--output", "made")[0] == 2
    assert ended(capsys, "export", "facebook/musicgen-small", "--output", "made")[0] == 4
    code, _, err = ended(capsys, "export", checkpoint, "--output", "made", "--precision", "int8")
    assert code == 2
    assert "expected for onnx one of 8bit, fp32, 4bit" in err
    assert not Path("made").exists()


def test_a_model_that_is_not_here(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = ended(capsys, "generate", "jazz", "--model", "facebook/musicgen-small")
    assert (code, out) == (4, "")
    assert "fetch it with 'antiphon models pull facebook/musicgen-small'" in err


@pytest.mark.skipif(os.name == "nt", reason="there are no such signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_leaves_nothing(tiny: tuple[Path, Path], number: int) -> None:
    checkpoint, _ = tiny
    program = (
        "import sys, time\n"
        "from antiphon.compose.conversion import export\n"
        "right = export._write_graphs\n"
        "def slow(*arguments):\n"
        "    right(*arguments)\n"
        "    print('ready', file=sys.stderr, flush=True)\n"
        "    time.sleep(60)\n"
        "export._write_graphs = slow\n"
        "from antiphon.cli.main import run\n"
        f"sys.exit(run(['export', {str(checkpoint)!r}, '--output', 'made']))\n"
    )
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            assert any("ready" in line for line in process.stderr)
            assert list(Path().glob(".made.tmp/*"))
            time.sleep(0.1)
            process.send_signal(number)
            assert process.wait(20) == 128 + number
        finally:
            process.kill()
    assert list(Path().iterdir()) == []


def test_stages_are_shown_one_after_the_other(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(byte_progress.time, "monotonic", lambda: now)
    with byte_progress.shown_stages() as show:
        for stage in ("writing", "comparing"):
            for done in (10**8, 2 * 10**8, 3 * 10**8):
                now += 10
                show(stage, done, 3 * 10**8)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "writing: 200.0 MB of 300.0 MB, 20.0 MB/s, about 5 s left",
        "comparing: 200.0 MB of 300.0 MB, 20.0 MB/s, about 5 s left",
    ]
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with byte_progress.shown_stages() as show:
        show("writing [bold]", 1000, 6000)
    assert "writing [bold]" in capsys.readouterr().err
