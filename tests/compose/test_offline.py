"""Nothing of ours and of what we load reports to anybody, or leaves files but our own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from t5_models import tiny_musicgen

pytestmark = pytest.mark.integration


def test_only_our_own_folder_appears_in_the_cache(tmp_path: Path) -> None:
    tiny_musicgen(tmp_path / "model")
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    environment.pop("ANTIPHON_CACHE", None)
    command = [sys.executable, "-m", "antiphon", "generate", "jazz", "--model", "model"]
    options = ["--duration", "1", "--output", "a.wav"]
    subprocess.run([*command, *options], cwd=tmp_path, env=environment, check=True)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["antiphon"]
