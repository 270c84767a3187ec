"""Short pieces, and what is no piece, as files; made once a session."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from antiphon.arrange import arrange
from antiphon.audio import Waveform, write
from antiphon.controls import Controls
from antiphon.notation import Key
from antiphon.synth import render

RATE = 16_000


@lru_cache(maxsize=64)
def piece(
    seed: int,
    genre: str = "rock",
    seconds: float = 6.0,
    tempo: float | None = None,
    key: str | None = None,
) -> Waveform:
    """An arranged piece, mono."""
    wishes = Controls(
        genre=genre,
        duration_seconds=seconds,
        tempo_bpm=tempo,
        key=None if key is None else Key.parse(key),
    )
    return render(arrange(wishes, seed), sample_rate=RATE).mono()


def write_pieces(folder: Path, *seeds: int, genre: str = "rock") -> list[Path]:
    """`<seed>.flac` of each."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{seed}.flac" for seed in seeds]
    for seed, path in zip(seeds, paths, strict=True):
        write(path, piece(seed, genre))
    return paths


def silence(seconds: float = 5.0) -> Waveform:
    return Waveform(np.zeros((1, round(seconds * RATE)), np.float32), RATE)


def noise(seconds: float = 8.0) -> Waveform:
    samples = np.random.default_rng(0).normal(0, 0.1, (1, round(seconds * RATE)))
    return Waveform(samples.astype(np.float32), RATE)


def clipped(seed: int = 1) -> Waveform:
    loud = np.clip(piece(seed).samples * 30.0, -1.0, 1.0)
    return Waveform(loud, RATE)
