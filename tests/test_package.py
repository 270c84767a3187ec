"""The wheel and the sdist: they build, and the wheel works where nothing else is installed."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist it was built from."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return folder


def test_both_hold_the_data_and_the_licence(built: Path) -> None:
    wheel = set(zipfile.ZipFile(next(built.glob("*.whl"))).namelist())
    with tarfile.open(next(built.glob("*.tar.gz"))) as sdist:
        sources = {name.partition("/")[2] for name in sdist.getnames()}

    package = ROOT / "src" / "antiphon"
    data = [
        path.relative_to(ROOT / "src").as_posix()
        for path in package.rglob("*")
        if path.suffix in {".py", ".yaml", ".json", ".typed"}
    ]
    assert len(data) > 50
    assert set(data) <= wheel
    assert {f"src/{name}" for name in data} <= sources
    assert any(name.endswith("LICENSE") for name in wheel)
    assert not any(name.startswith(("tests", "bench")) for name in wheel)


def test_the_wheel_works_in_an_empty_environment(built: Path, tmp_path: Path) -> None:
    python = tmp_path / "venv" / "bin" / "python"
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True, timeout=120)
    wheel = str(next(built.glob("*.whl")))
    constraints = ["--constraint", str(ROOT / "constraints.txt")]
    subprocess.run([*pip, *constraints, wheel], check=True, timeout=600)
    antiphon = str(python.with_name("antiphon"))

    options = ["--genre", "rock", "--bars", "12", "--tempo", "120", "--seed", "1"]
    subprocess.run(
        [antiphon, "arrange", *options, "--output", "piece.wav"],
        cwd=tmp_path,
        check=True,
        timeout=300,
    )
    described = subprocess.run(
        [antiphon, "describe", "piece.wav", "--json"],
        cwd=tmp_path,
        check=True,
        timeout=300,
        capture_output=True,
    )

    record = json.loads(described.stdout)
    assert record["facts"]["tempo"]["bpm"] == pytest.approx(120, rel=0.04)
    assert set(record["texts"]) == {
        "full",
        "technical",
        "genre_mood",
        "instrumentation",
        "structure",
    }
