"""The same seed, the same score: in another process, with another hash seed."""

import hashlib
import os
import subprocess
import sys

import pytest

from antiphon.arrange import arrange
from antiphon.controls import Controls

pytestmark = pytest.mark.integration

PROGRAM = """
import hashlib
from antiphon.arrange import arrange
from antiphon.controls import Controls
for seed, controls in enumerate([
    Controls(),
    Controls(genre="jazz", moods=("calm", "dark"), instruments=("flute", "cello")),
    Controls(genre="latin", without=("bass",), duration_seconds=20.0, ending=True),
]):
    print(hashlib.sha256(arrange(controls, seed).to_json().encode()).hexdigest())
"""


def digests(hash_seed: str) -> list[str]:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, check=True, text=True
    )
    return done.stdout.split()


def test_processes_agree() -> None:
    first = digests("1")
    assert len(set(first)) == 3
    assert digests("2") == first
    here = arrange(Controls(), 0).to_json().encode()
    assert hashlib.sha256(here).hexdigest() == first[0]
