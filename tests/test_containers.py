"""The containers as far as they can be looked at without an engine that builds them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.unit
FOLDER = Path(__file__).parents[1] / "containers"
SERVING = ("Dockerfile", "Dockerfile.cuda")


@pytest.mark.parametrize("path", sorted(FOLDER.glob("Dockerfile*")), ids=lambda path: path.name)
def test_hadolint_finds_nothing(path: Path) -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([hadolint, path], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", SERVING)
def test_a_service_runs_as_nobody_keeps_its_state_apart_and_is_asked_how_it_is(name: str) -> None:
    text = (FOLDER / name).read_text(encoding="utf-8")
    assert text.count("USER 10001:10001") == 1
    assert 'VOLUME ["/state", "/models"]' in text
    assert "ANTIPHON_STATE=/state" in text
    assert "HEALTHCHECK" in text
    assert "/health" in text
    assert "--insecure" not in text
    assert ":latest" not in text


def test_the_compose_file_keeps_the_root_read_only_and_the_port_here() -> None:
    api = yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))["services"]["api"]
    assert api["read_only"] is True
    assert api["cap_drop"] == ["ALL"]
    assert "state:/state" in api["volumes"]
    assert all(port.startswith("127.0.0.1:") for port in api["ports"])
    assert (FOLDER / ".." / api["build"]["dockerfile"]).is_file()
