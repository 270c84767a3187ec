"""Damaged and odd files: a damage report or one clear error each, no crash, little memory."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import odd_files
from antiphon import audio
from antiphon.errors import AntiphonError, AudioError, StorageError
from odd_files import ODD_FILES, OddFile

pytestmark = pytest.mark.integration

LIGHT = [name for name, kind in ODD_FILES.items() if not kind.heavy]
HEAVY = [name for name, kind in ODD_FILES.items() if kind.heavy]


def check(kind: OddFile, path: Path) -> None:
    if kind.expect == "refused":
        with pytest.raises((AudioError, StorageError)) as caught:
            audio.read(path)
        message = str(caught.value)
        assert path.name.isprintable() is False or path.name in message
        assert "\n" not in message
        assert "Traceback" not in message
        assert re.search(kind.match, message)
        return
    with audio.open_stream(path) as stream:
        frames = 0
        for block in stream.blocks():
            assert np.isfinite(block).all()
            frames += block.shape[1]
        damage = stream.damage()
    assert frames == round(damage.decoded_seconds * stream.sample_rate) > 0
    assert bool(damage.problems) == (kind.expect == "salvaged"), damage
    assert re.search(kind.match, "; ".join(damage.problems))


def test_there_are_at_least_fifty_kinds() -> None:
    assert len(ODD_FILES) >= 50


@pytest.mark.parametrize("name", LIGHT)
def test_each_leads_to_what_it_says(name: str, tmp_path: Path) -> None:
    threads = threading.active_count()
    path = ODD_FILES[name].make(tmp_path)
    files = set(tmp_path.iterdir())
    check(ODD_FILES[name], path)
    assert set(tmp_path.iterdir()) == files
    assert threading.active_count() == threads


@pytest.mark.slow
@pytest.mark.parametrize("name", HEAVY)
def test_heavy_ones_lead_to_what_they_say(name: str, tmp_path: Path) -> None:
    check(ODD_FILES[name], ODD_FILES[name].make(tmp_path))


def test_a_file_that_may_not_be_read_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "secret.wav"
    path.write_bytes(odd_files.wav())
    path.chmod(0)
    user = os.geteuid()
    try:
        if user == 0:
            os.seteuid(65_534)  # who runs the tests may read everything
        with pytest.raises(StorageError, match=r"secret\.wav cannot be read: Permission denied"):
            audio.read(path)
    finally:
        os.seteuid(user)


def test_all_of_them_one_after_another_take_little_memory(tmp_path: Path) -> None:
    paths = []
    for name in LIGHT:
        folder = tmp_path / name
        folder.mkdir()
        paths.append(ODD_FILES[name].make(folder))
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    result = subprocess.run(
        [sys.executable, "-c", READ_ALL, *map(os.fsencode, paths)],
        env={**os.environ, "TMPDIR": str(temporary)},
        capture_output=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    count, growth_mb = map(float, result.stdout.split())
    assert count == len(paths)
    assert growth_mb < 80
    assert list(temporary.iterdir()) == []


READ_ALL = """
import resource, sys
import av
from antiphon import audio
from antiphon.errors import AntiphonError
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
audio.Resampler(44100, 16000, 2)
before, count = peak(), 0
for path in sys.argv[1:]:
    count += 1
    try:
        with audio.open_stream(path) as stream:
            for block in stream.blocks():
                pass
    except AntiphonError:
        pass
print(count, peak() - before)
"""


def test_cut_anywhere_it_is_an_error_or_a_report() -> None:
    for data in (odd_files.wav(), odd_files.mp3(), odd_files.flac(), odd_files.ogg()):
        for length in [*range(1, 200, 7), *range(200, 4096, 211)]:
            try:
                recording = audio.read(data[:length])
            except AntiphonError:
                continue
            assert recording.damage.problems or length > 200


MUTATE = """
import random, sys
import odd_files
from antiphon import audio
from antiphon.errors import AntiphonError
first, count = int(sys.argv[1]), int(sys.argv[2])
originals = [
    odd_files.wav(), odd_files.mp3(), odd_files.flac(), odd_files.ogg(), odd_files.opus(),
    odd_files.wav("IMA_ADPCM", channels=1, rate=8000), odd_files.encoded("AIFF", "PCM_16"),
    odd_files.encoded("CAF", "PCM_16"), odd_files.encoded_by_ffmpeg("ipod", "aac"),
    odd_files.encoded_by_ffmpeg("webm", "libopus"), odd_files.encoded_by_ffmpeg("asf", "wmav2"),
]
limits = audio.Limits(max_seconds=60.0, max_decoded_bytes=200_000_000)
for seed in range(first, first + count):
    chance = random.Random(seed)
    data = bytearray(originals[seed % len(originals)])
    reach = chance.choice((64, 512, len(data)))
    for _ in range(chance.choice((1, 4, 32))):
        at = chance.randrange(min(reach, len(data)))
        data[at] = chance.choice((0, 255, chance.randrange(256)))
    try:
        with audio.open_stream(bytes(data), limits=limits) as stream:
            for block in stream.blocks():
                assert abs(block).max() <= 1e6
    except AntiphonError:
        pass
print("done")
"""


def mutate(first: int, count: int) -> None:
    result = subprocess.run(
        [sys.executable, "-c", MUTATE, str(first), str(count)],
        env={**os.environ, "PYTHONPATH": str(Path(odd_files.__file__).parent)},
        capture_output=True,
        check=False,
    )
    assert result.stdout.strip() == b"done", (result.returncode, result.stderr[-2000:])


def test_bytes_changed_at_random_crash_nothing() -> None:
    mutate(0, 220)


@pytest.mark.slow
def test_bytes_changed_at_random_crash_nothing_in_the_long_run() -> None:
    for first in range(1_000, 21_000, 2_000):
        mutate(first, 2_000)
