"""Decoding in a child: the same result, and whatever happens to the child is an error here."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

import odd_files
from antiphon import audio
from antiphon.audio import isolated
from antiphon.errors import (
    AudioDecodeError,
    AudioLimitError,
    AudioTooShortError,
    DependencyError,
    StorageError,
)
from odd_files import ODD_FILES

pytestmark = pytest.mark.integration


def children() -> list[psutil.Process]:
    return psutil.Process().children()


@pytest.mark.parametrize(
    "name", ["wav_float", "mp3_garbage", "opus", "nan_samples", "junk_before_wav", "m4a_aac"]
)
def test_it_is_the_same_bit_for_bit(name: str, tmp_path: Path) -> None:
    path = ODD_FILES[name].make(tmp_path)
    part = {"start_seconds": 0.1, "duration_seconds": 1.2}
    direct = audio.read(path, **part)
    apart = audio.read(path, **part, isolated=True)
    assert np.array_equal(direct.waveform.samples, apart.waveform.samples)
    assert direct.waveform.sample_rate == apart.waveform.sample_rate
    assert direct.damage == apart.damage
    assert children() == []


def test_bytes_and_objects_go_through_too() -> None:
    data = odd_files.encoded("FLAC", "PCM_16", seconds=4.0)
    expected = audio.read(data).waveform.samples
    for source in (data, io.BytesIO(data)):
        assert np.array_equal(audio.read(source, isolated=True).waveform.samples, expected)


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("html_called_mp3", AudioDecodeError),
        ("flac_declaring_256_gib", AudioLimitError),
        ("wav_no_samples", AudioTooShortError),
        ("missing", StorageError),
        ("folder", StorageError),
    ],
)
def test_errors_are_the_same(name: str, error: type[Exception], tmp_path: Path) -> None:
    path = ODD_FILES[name].make(tmp_path)
    with pytest.raises(error) as direct:
        audio.read(path)
    with pytest.raises(error) as apart:
        audio.read(path, isolated=True)
    assert str(apart.value) == str(direct.value)
    assert children() == []


def test_stderr_stays_clean(tmp_path: Path) -> None:
    path = ODD_FILES["mp3_garbage"].make(tmp_path)
    code = "import sys; from antiphon import audio; audio.read(sys.argv[1], isolated=True)"
    result = subprocess.run([sys.executable, "-c", code, path], capture_output=True, check=True)
    assert result.stderr == b""


def test_too_little_memory_is_an_error() -> None:
    data = odd_files.wav()
    with pytest.raises(AudioDecodeError, match="memory|ended early|crashed"):
        audio.read(data, isolated=True, limits=audio.Limits(child_memory_bytes=60 * 2**20))
    assert children() == []


def test_memory_is_capped_where_it_is_used() -> None:
    # 64 channels in a block are 16 MiB, three times over.
    data = odd_files.encode(np.zeros((200_000, 64), "f4"), "WAV")
    usual = audio.Limits(child_memory_bytes=400 * 2**20)
    assert audio.read(data, isolated=True, limits=usual).waveform.channels == 64
    with pytest.raises(AudioDecodeError):
        audio.read(data, isolated=True, limits=audio.Limits(child_memory_bytes=115 * 2**20))


def test_too_long_a_wait_kills_the_child() -> None:
    began = time.monotonic()
    with pytest.raises(AudioDecodeError, match=r"took longer than 0\.05 s"):
        audio.read(odd_files.wav(), isolated=True, limits=audio.Limits(child_timeout_seconds=0.05))
    assert time.monotonic() - began < 2
    assert children() == []


def test_a_slow_reader_is_not_taken_for_a_slow_child() -> None:
    data = odd_files.encoded("FLAC", "PCM_16", seconds=8.0)
    limits = audio.Limits(child_timeout_seconds=3.0)
    with audio.open_stream(data, isolated=True, limits=limits) as stream:
        blocks = stream.blocks()
        next(blocks)
        time.sleep(3.2)
        assert sum(block.shape[1] for block in blocks) > 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_child_that_dies_is_an_error(number: signal.Signals) -> None:
    data = odd_files.encoded("FLAC", "PCM_16", seconds=8.0)
    with audio.open_stream(data, isolated=True) as stream:
        blocks = stream.blocks()
        next(blocks)
        (child,) = children()
        os.kill(child.pid, number)
        with pytest.raises(AudioDecodeError, match=f"crashed .{number.name}"):
            for _ in blocks:
                pass


def test_leaving_in_the_middle_leaves_no_child() -> None:
    threads = threading.active_count()
    data = odd_files.encoded("FLAC", "PCM_16", seconds=8.0)
    with audio.open_stream(data, isolated=True) as stream:
        next(stream.blocks())
        assert len(children()) == 1
    assert children() == []
    assert threading.active_count() == threads


def fake_child(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Let a few lines of Python stand for the child."""

    def start(*_: object) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)

    monkeypatch.setattr(isolated, "_start", start)


SEND = """
import json, os, struct, sys, time
def send(**fields): os.write(1, struct.pack("<I", 0) + json.dumps(fields).encode() + b"\\n")
"""


@pytest.mark.parametrize(
    ("code", "error", "match"),
    [
        ("", AudioDecodeError, "ended early"),
        ("os.write(1, b'\\1\\0\\0\\0')", AudioDecodeError, "sent no header"),
        ("send(sample_rate='x', channels=1)", AudioDecodeError, "sent 'x' as sample_rate"),
        ("send(sample_rate=float('nan'), channels=1)", AudioDecodeError, "sent nan as sample_rate"),
        ("send(sample_rate=8000, channels=10**9)", AudioLimitError, "1000000000 channels"),
        (
            "send(sample_rate=8000, channels=1); os.write(1, struct.pack('<I', 2**31))",
            AudioDecodeError,
            "sent a block of",
        ),
        ("send(error='SystemExit', message='no')", AudioDecodeError, "no"),
        ("send(error='DependencyError', message='no')", DependencyError, "no"),
        (
            "os.write(1, bytes(4) + b'[' * 99999); time.sleep(9)",
            AudioDecodeError,
            "answer that cannot be read",
        ),
        ("os.write(1, bytes(4) + b'[1]\\n')", AudioDecodeError, "answer that cannot be read"),
        ("send(sample_rate=8000, channels=1); send(x=1)", AudioDecodeError, "None as decoded"),
    ],
)
def test_a_child_that_lies_is_not_believed(
    monkeypatch: pytest.MonkeyPatch, code: str, error: type[Exception], match: str
) -> None:
    fake_child(monkeypatch, SEND + code)
    with pytest.raises(error, match=match):
        audio.read(odd_files.wav(), isolated=True)
    assert children() == []


def test_a_child_that_sends_for_ever_meets_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    code = """
send(sample_rate=8000, channels=1)
while True: os.write(1, struct.pack("<I", 8000) + bytes(32000))
"""
    fake_child(monkeypatch, SEND + code)
    with pytest.raises(AudioLimitError, match="at most 0:00:10"):
        audio.read(odd_files.wav(), isolated=True, limits=audio.Limits(max_seconds=10.0))
    assert children() == []


def test_the_child_sees_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setenv("ANTIPHON_API_KEY", "secret")
    start = subprocess.Popen

    def spy(*arguments: object, **options: object) -> subprocess.Popen[bytes]:
        seen.append(options["env"])
        return start(*arguments, **options)  # type: ignore[call-overload,no-any-return]

    monkeypatch.setattr(subprocess, "Popen", spy)
    audio.read(odd_files.wav(), isolated=True)
    assert "secret" not in str(seen)
    assert len(seen) == 1
