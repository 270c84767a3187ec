"""`antiphon benchmark`: the figures a script can rely on, and what is refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from antiphon.cli.main import run

sys.path.append(str(Path(__file__).parents[1] / "compose"))

from t5_models import tiny_musicgen

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("a model")
    tiny_musicgen(folder)
    return folder


def test_the_figures(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTIPHON_CACHE", "cache")
    command = ["benchmark", str(folder), "--duration", "2", "--threads", "1"]
    assert run([*command, "--against", "transformers", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["model"] == folder.name
    assert (found["precision"], found["threads"], found["seconds"]) == ("8bit", 1, 2.0)
    assert 0 < found["first_audio_seconds"] <= 2 * found["real_time_factor"]
    # 100 steps, codec and sampling are in the whole: a step alone is no more.
    assert found["step_ms"] == pytest.approx(1000 * found["real_time_factor"] / 50, rel=0.01)
    assert set(found["step_ms_at"]) == {"0", "1000"}
    assert 30 < found["peak_memory_mb"] < 20_000
    assert 0.5 < found["bandwidth_gb_s"] < 2000
    for position in ("at_0", "at_1000"):
        one = found["against"][position]
        ratio = one["theirs_ms"] / one["ours_ms"]
        assert one["times_faster"] == pytest.approx(ratio, rel=0.1)

    assert run(command) == 0
    shown = capsys.readouterr().out
    assert "real time factor" in shown
    assert "step ms at" in shown


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--against", "jax"], 2, "--against is 'jax'; expected transformers"),
        (["--duration", "0"], 2, "duration"),
        (["--precision", "int7"], 2, "precision is 'int7'; expected"),
        (["--compile"], 2, "--compile is for torch"),
    ],
)
def test_what_is_refused(
    folder: Path, options: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["benchmark", str(folder), *options]) == code
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("error:") == 1
    assert captured.out == ""


def test_a_model_that_is_not_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["benchmark", "facebook/musicgen-small"]) == 4
    assert "antiphon models pull facebook/musicgen-small" in capsys.readouterr().err
