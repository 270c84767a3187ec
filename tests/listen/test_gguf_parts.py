"""The parts of the GGUF engine that need no model: its windows, its memory, what it tells."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile

from antiphon.listen.engines import gguf, gguf_worker
from antiphon.listen.engines.gguf_audio import fit_windows, wav_bytes
from antiphon.listen.windows import SAMPLE_RATE, WINDOW_SAMPLES

pytestmark = pytest.mark.unit


class SilentWorker:
    cancelled = False

    def __init__(self) -> None:
        self.stopped = 0

    def stop_answer(self) -> None:
        self.stopped += 1


def test_a_loop_is_ended_and_told() -> None:
    worker = SilentWorker()
    teller = gguf._Teller(worker, None)  # type: ignore[arg-type]
    for _ in range(500):
        teller.take("drums and bass, ")
    assert worker.stopped == 1
    assert teller.finish("stop") == "repetition"
    assert len(teller.text) < 1_000


def test_thoughts_are_not_told() -> None:
    shown: list[str] = []
    teller = gguf._Teller(SilentWorker(), shown.append)  # type: ignore[arg-type]
    for piece in ("<th", "ink>It is", " loud.</th", "ink>\n", "An ", "organ."):
        teller.take(piece)
    assert teller.finish("stop") == "stop"
    assert "".join(shown) == "An organ."


@pytest.mark.parametrize(
    ("seconds", "windows", "note"),
    [
        (0.2, 1, "the last 0.2 s were repeated to fill a window of 30 s"),
        (29.9, 1, "the last 29.9 s were repeated to fill a window of 30 s"),
        (29.99, 1, None),
        (30.0, 1, None),
        (34.9, 1, "the last 4.9 s were left out"),
        (45.0, 2, "the last 15.0 s were repeated to fill a window of 30 s"),
        (59.995, 2, None),
        (60.0, 2, None),
    ],
)
def test_windows_are_full_but_for_161_samples(
    seconds: float, windows: int, note: str | None
) -> None:
    samples = np.arange(round(seconds * SAMPLE_RATE), dtype=np.float32)
    fitted, notes = fit_windows(samples)
    assert len(fitted) == windows * WINDOW_SAMPLES - 161
    kept = min(len(samples), len(fitted))
    assert np.array_equal(fitted[:kept], samples[:kept])
    assert notes == (() if note is None else (note,))


def test_the_wav_is_read_as_it_was_written() -> None:
    samples = np.array([0.0, 0.5, -1.0, 1.5, 1e-6], np.float32)
    read, rate = soundfile.read(io.BytesIO(wav_bytes(samples)), dtype="float32")
    assert rate == SAMPLE_RATE
    assert np.abs(read - np.clip(samples, -1, 1)).max() <= 1 / 32_768


@pytest.mark.parametrize(
    ("free", "expected"),
    [(None, 19_096), (1 << 40, 19_096), (8 << 30, 15_872), (1 << 30, 5_000)],
)
def test_the_context_is_what_memory_allows(
    monkeypatch: pytest.MonkeyPatch, free: int | None, expected: int
) -> None:
    """Of an 8-billion model with 56 KiB a token."""
    monkeypatch.setattr(gguf_worker, "free_bytes", lambda: free)
    load = {"context": 19_096, "least_context": 5_000, "bytes_per_token": 56 << 10}
    load["weight_bytes"] = (6 << 30) + (150 << 20)
    assert gguf_worker._context_that_fits(load) == expected


def test_every_backend_has_a_line_to_install_it() -> None:
    lines = dict(gguf.install_hint())
    assert {name.split()[0] for name in lines} == {"CPU", "CUDA", "ROCm", "Vulkan", "Metal"}
    assert all(line.startswith("pip install ") for line in lines.values())
