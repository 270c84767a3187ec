"""How fast a checkpoint composes on this machine, and what the machine could do at best."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from antiphon.compose.engines import Branch, DecoderEngine, DecoderSession
from antiphon.compose.loading import LoadOptions, load_musicgen
from antiphon.compose.musicgen import MusicGen
from antiphon.compose.requests import Request
from antiphon.compose.sampling import Sampling
from antiphon.controls import Controls

PROMPT = "upbeat jazz with saxophone and drums"
STEP_POSITIONS = (0, 1000)
_REPEATS = 15
_BANDWIDTH_BYTES = 1 << 28  # far beyond any cache, shared by the threads
_LEAST_BANDWIDTH_BYTES = 1 << 25


@dataclass(frozen=True)
class Benchmark:
    """What was measured; `real_time_factor` is seconds of work for a second of sound, loading
    excluded; `step_ms` the mean over the piece, guidance, sampling and codec included;
    `step_ms_at` the decoder alone, by position; `bandwidth_gb_s` what the threads read at once."""

    model: str
    precision: str
    threads: int
    seconds: float
    load_seconds: float
    first_audio_seconds: float
    real_time_factor: float
    step_ms: float
    step_ms_at: dict[str, float]
    peak_memory_mb: float
    bandwidth_gb_s: float


def benchmark(
    folder: Path,
    options: LoadOptions,
    seconds: float,
    on_stage: Callable[[str], None] = lambda stage: None,
) -> Benchmark:
    """Compose `seconds` of sound once, and time single steps. What must be prepared first is
    prepared, and not counted."""
    on_stage("preparing")
    load_musicgen(folder, options)
    started = time.perf_counter()
    model = load_musicgen(folder, options)
    load_seconds = time.perf_counter() - started
    _forget_peak()
    on_stage(f"composing {seconds:g} s")
    first, spent = composed(model, seconds)
    on_stage("timing single steps")
    (branches,) = model.guidance(Request(PROMPT, seed=0), [PROMPT]).sections
    at = {str(position): step_ms(model.engine, branches, position) for position in STEP_POSITIONS}
    return Benchmark(
        model=folder.resolve().name,
        precision=str(model.settings["precision"]),
        threads=int(str(model.settings["threads"])),
        seconds=seconds,
        load_seconds=round(load_seconds, 3),
        first_audio_seconds=round(first, 3),
        real_time_factor=round(spent / seconds, 4),
        step_ms=round(1000 * spent / (seconds * model.codec.frame_rate), 3),
        step_ms_at={name: round(value, 3) for name, value in at.items()},
        peak_memory_mb=round(peak_memory_mb(), 1),
        bandwidth_gb_s=round(bandwidth_gb_s(int(str(model.settings["threads"]))), 1),
    )


def composed(model: MusicGen, seconds: float) -> tuple[float, float]:
    """Seconds until there is sound, and until all is there."""
    controls = Controls(duration_seconds=seconds)
    started = time.perf_counter()
    first = 0.0
    for block in model.perform([Request(PROMPT, seed=0, controls=controls)]).blocks():
        if not first and block.samples.shape[1]:
            first = time.perf_counter() - started
    return first, time.perf_counter() - started


def step_ms(engine: DecoderEngine, branches: Sequence[Branch], position: int) -> float:
    """Milliseconds of one guided step with `position` steps in the cache: the median of several."""
    session = session_at(engine, branches, position)
    codes = np.zeros((1, engine.config.decoder.codebooks), np.int64)
    times = []
    for _ in range(_REPEATS):
        started = time.perf_counter()
        session.logits(codes)
        times.append(time.perf_counter() - started)
    return 1000 * statistics.median(times)


def session_at(engine: DecoderEngine, branches: Sequence[Branch], position: int) -> DecoderSession:
    """A session of one item with `position` steps taken in."""
    weights = tuple([3.0] * (len(branches) - 1))
    session = engine.begin([branches], weights, Sampling(), position + _REPEATS)
    codebooks, card = engine.config.decoder.codebooks, engine.config.decoder.card
    session.feed(np.random.default_rng(0).integers(0, card, (1, codebooks, position)))
    return session


def bandwidth_gb_s(threads: int, repeats: int = 5) -> float:
    """How much memory so many threads read in a second: dot products of arrays beyond any cache."""
    size_bytes = max(_BANDWIDTH_BYTES // threads, _LEAST_BANDWIDTH_BYTES)
    count = size_bytes // 4
    arrays = [(np.ones(count, np.float32), np.ones(count, np.float32)) for _ in range(threads)]
    best = 0.0
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(repeats):
            started = time.perf_counter()
            list(pool.map(lambda pair: np.dot(*pair), arrays))
            spent = time.perf_counter() - started
            best = max(best, 2 * size_bytes * threads / spent / 1e9)
    return best


def peak_memory_mb() -> float:
    """The most memory this process had, in 10^6 bytes."""
    import resource

    with suppress(OSError):  # only Linux can forget an earlier peak
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def _forget_peak() -> None:
    """Of what was prepared before, where the system can."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
