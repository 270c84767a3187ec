"""The examples of docs/api.md, run as they stand against a service."""

from __future__ import annotations

import gc
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from antiphon.audio import read
from serve.served import Served

for _client in ("openai", "elevenlabs", "langchain_openai", "mcp"):
    pytest.importorskip(_client)
pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore"),  # of the clients' own
]
PAGE = Path(__file__).parents[2] / "docs" / "api.md"


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """What clients leave open is found here, where it is no failure, and not in another test."""
    yield
    gc.collect()


def blocks(kind: str, address: str) -> list[str]:
    text = PAGE.read_text(encoding="utf-8")
    found = re.findall(rf"```{kind}\n(.*?)```", text, re.S)
    host = address.removeprefix("http://")
    return [re.sub(r"(127\.0\.0\.1|localhost):8000", host, block) for block in found]


def test_every_python_example_runs(
    real: Served, song: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(song, "waltz.wav")
    names: dict[str, object] = {}
    examples = blocks("python", real.address)
    assert len(examples) == 4
    for example in examples:
        exec(example, names)
    assert read("jazz.mp3").waveform.duration_seconds == pytest.approx(10, abs=0.3)
    assert read("funk.wav").waveform.duration_seconds == 10.0


def test_the_curl_examples_run(real: Served, tmp_path: Path) -> None:
    shown = [block for block in blocks("console", real.address) if "curl" in block]
    assert len(shown) == 2
    lines = "".join(shown).replace("\\\n", " ").splitlines()
    commands = [line.removeprefix("$ ") for line in lines if line.startswith("$ curl")]
    ids: dict[str, str] = {}
    for command in commands:
        for name, found in ids.items():
            command = command.replace(f"{name}_…", found)
        command = command.partition(" #")[0]
        done = subprocess.run(
            command, shell=True, cwd=tmp_path, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        assert '"error":{' not in done.stdout
        for name in ("file", "answer", "music"):
            match = re.search(rf'"({name}_[\w-]{{20,}})"', done.stdout)
            if match and name not in ids:
                ids[name] = match[1]
    assert set(ids) == {"file", "answer", "music"}
    assert read(tmp_path / "funk.flac").waveform.duration_seconds == 20.0
    assert read(tmp_path / "waltz.wav").waveform.duration_seconds == 10.0
