"""librosa, the peer: what it hears in the same sound. Knows nothing of ours.

Its compiled loops are kept apart from the environment's and made by `prepare`, before several
processes want them: two that compile at once leave a cache that crashes (numba #10128).
"""

from __future__ import annotations

import multiprocessing
import os
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from antiphon.analysis.harmony import MAJOR_PROFILE, MINOR_PROFILE
from antiphon.audio import Waveform, resample
from antiphon.notation import ALL_KEYS
from probes import ONE_THREAD

NUMBA_CACHE = Path(__file__).parents[1] / "runs" / "bench" / "numba"
os.environ["NUMBA_CACHE_DIR"] = str(NUMBA_CACHE)  # read when librosa is imported

WORKERS = 2
SAMPLE_RATE = 22_050  # Hz, librosa's default


@dataclass(frozen=True)
class Reading:
    """Tempo, beats and key; no tempo where it finds none."""

    bpm: float | None
    beats_seconds: tuple[float, ...]
    key: str


def listen(waveform: Waveform) -> Reading:
    """Tempo and beats of `beat_track`; the key out of `chroma_cens`, its best chroma for keys, by
    correlation with the profiles of Albrecht and Shanahan, the best for it."""
    import librosa

    samples = resample(waveform.mono(), SAMPLE_RATE).samples[0]
    tempo, beats = librosa.beat.beat_track(y=samples, sr=SAMPLE_RATE, units="time")
    chroma = librosa.feature.chroma_cens(y=samples, sr=SAMPLE_RATE).mean(axis=1)
    profiles = {"major": MAJOR_PROFILE, "minor": MINOR_PROFILE}
    fits = [np.corrcoef(chroma, np.roll(profiles[key.mode], key.tonic))[0, 1] for key in ALL_KEYS]
    bpm = float(np.atleast_1d(tempo)[0])
    return Reading(bpm if bpm > 0 else None, tuple(beats), ALL_KEYS[int(np.argmax(fits))].name)


@contextmanager
def worker_pool() -> Iterator[ProcessPoolExecutor]:
    """WORKERS processes of one thread each, all of which may listen."""
    prepare()
    os.environ.update(ONE_THREAD)  # for the workers: they are spawned
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(WORKERS, context, warnings.simplefilter, ("ignore",)) as pool:
        yield pool


def prepare() -> None:
    """Compile, or find compiled, everything that `listen` uses."""
    noise = np.random.default_rng(0).standard_normal((1, 4 * SAMPLE_RATE)).astype(np.float32)
    listen(Waveform(noise, SAMPLE_RATE))
