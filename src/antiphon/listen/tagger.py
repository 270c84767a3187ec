"""The trained listener at work: a recording in, logits for every moment of it out.

Without torch: the encoder and its heads run as one graph. Letters: N chunks, F mel frames (10 ms),
T moments (40 ms), C classes.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from antiphon import graphs
from antiphon.audio import FloatArray, Limits, Resampler, Source, Waveform, open_stream, resample
from antiphon.files import storage_error
from antiphon.listen.heads import (
    HEAD_WEIGHTS_NAME,
    HEADS,
    MOMENT_FRAMES,
    MOMENT_SECONDS,
    Heads,
    read_heads,
)
from antiphon.listen.mel import BANDS, HOP, SAMPLE_RATE, WINDOW_SECONDS, log_mel
from antiphon.listen.tagger_graph import read_encoder_config, write_tagger_graph
from antiphon.weights import Weights, weight_files

MIN_SECONDS = 0.1  # less sound than this is not listened to
DEFAULT_LIMITS = Limits()
_GRAPH = "tagger"
_WINDOW = WINDOW_SECONDS * SAMPLE_RATE
# The encoder was trained on crops of some seconds, and attention costs the square of the length.
_CHUNK_FRAMES = 1000
# Of log-mel, where 1 is 40 dB: what is softer than the one, or so far below the loudest, is taken
# for silence.
_SILENT, _FAR_BELOW = -1.25, 1.5


@dataclass(frozen=True, eq=False)
class Moments:
    """What the heads say of a recording: logits [T, C] by head, and when it is `audible` [T]."""

    logits: Mapping[str, NDArray[np.float32]]
    audible: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.audible)

    def between(self, start_seconds: float, end_seconds: float) -> Moments:
        """Those of a passage."""
        first, last = (round(at / MOMENT_SECONDS) for at in (start_seconds, end_seconds))
        some = slice(first, max(first, last))
        return Moments({n: rows[some] for n, rows in self.logits.items()}, self.audible[some])

    @property
    def audible_seconds(self) -> float:
        return float(self.audible.sum()) * MOMENT_SECONDS


class Tagger:
    """A folder that `antiphon train listener` exported, loaded; used for many recordings."""

    def __init__(self, folder: Path, threads: int = 1) -> None:
        """Raises ModelError for a folder that is no listener of ours or is damaged, EngineError if
        onnxruntime refuses it, StorageError where there is no room for a graph in the system's
        temporary folder."""
        self.heads: Heads = read_heads(folder)
        config = read_encoder_config(folder)
        with (
            Weights(weight_files(folder)) as encoder,
            Weights((folder / HEAD_WEIGHTS_NAME,)) as heads,
            _temporary_folder() as place,
        ):
            # Not kept: a tenth of a second writes it, and listening needs no cache.
            write_tagger_graph(graphs.GraphWriter(place, _GRAPH), encoder, heads, config)
            self._session = graphs.open_graph(place, _GRAPH, threads)

    def listen(
        self, source: Source | Waveform, limits: Limits = DEFAULT_LIMITS, *, isolated: bool = False
    ) -> Moments:
        """Hear a recording, window by window: hours of it take the memory of their logits, 160
        bytes a moment.

        Raises AudioError and StorageError as `audio.open_stream`.
        """
        found: dict[str, list[NDArray[np.float32]]] = {name: [] for name in HEADS}
        audible: list[NDArray[np.bool_]] = []
        for samples, new in _windows(_blocks(source, limits, isolated=isolated)):
            mels = log_mel(samples)
            moments = math.ceil(new / (HOP * MOMENT_FRAMES))
            for name, rows in self.of_mels(mels).items():
                found[name].append(rows[len(rows) - moments :])
            audible.append(audible_in(mels)[-moments:])
        if not audible:
            return Moments({n: np.zeros((0, len(c)), np.float32) for n, c in HEADS.items()},
                           np.zeros(0, bool))  # fmt: skip
        return Moments(
            {name: np.concatenate(rows) for name, rows in found.items()}, np.concatenate(audible)
        )

    def of_mels(self, mels: FloatArray) -> dict[str, NDArray[np.float32]]:
        """Log-mel frames [F, 128] of one window to logits [ceil(F / 4), C] by head."""
        moments = math.ceil(len(mels) / MOMENT_FRAMES)
        chunks = math.ceil(moments * MOMENT_FRAMES / _CHUNK_FRAMES)
        length = math.ceil(moments / chunks)
        missing = chunks * length * MOMENT_FRAMES - len(mels)
        padded = np.pad(mels, ((0, missing), (0, 0)), mode="edge")
        batch = padded.reshape(chunks, length * MOMENT_FRAMES, BANDS)
        names = list(HEADS)
        results = self._session.run(names, {"mels": batch})
        return {
            name: rows.reshape(-1, rows.shape[-1])[:moments]
            for name, rows in zip(names, results, strict=True)
        }


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    try:
        with tempfile.TemporaryDirectory(prefix="antiphon-") as name:
            yield Path(name)
    except OSError as error:
        raise storage_error("write", Path(tempfile.gettempdir()), error) from error


def audible_in(mels: FloatArray) -> NDArray[np.bool_]:
    """Log-mel frames [F, 128] of one window to moments [ceil(F / 4)]: which have sound."""
    loudest = mels.max(1)
    frames = loudest > max(_SILENT, float(loudest.max()) - _FAR_BELOW)
    padded = np.pad(frames, (0, -len(frames) % MOMENT_FRAMES))
    return np.asarray(padded.reshape(-1, MOMENT_FRAMES).any(1))


def _blocks(source: Source | Waveform, limits: Limits, *, isolated: bool) -> Iterator[FloatArray]:
    """Mono at 16 kHz, [n]."""
    if isinstance(source, Waveform):
        # A Waveform handed in may hold what a decoder would have cleaned.
        samples = np.nan_to_num(source.samples, nan=0.0, posinf=0.0, neginf=0.0)
        yield resample(Waveform(samples, source.sample_rate).mono(), SAMPLE_RATE).samples[0]
        return
    with open_stream(source, limits=limits, isolated=isolated) as stream:
        resampler = Resampler(stream.sample_rate, SAMPLE_RATE, 1)
        for block in stream.blocks():
            yield resampler.process(block.mean(axis=0, keepdims=True))[0]
        yield resampler.flush()[0]


def _windows(blocks: Iterator[FloatArray]) -> Iterator[tuple[FloatArray, int]]:
    """Windows of 30 s, and how many samples at the end of each were in none before: the last one
    reaches back, so that no short rest is heard by itself."""
    kept = np.zeros(0, np.float32)  # the window before, and what came after it
    heard = 0  # samples of `kept` that were given out
    for block in blocks:
        kept = np.concatenate([kept, block])
        while len(kept) - heard >= _WINDOW:
            yield kept[heard : heard + _WINDOW], _WINDOW
            kept, heard = kept[heard:], _WINDOW
    rest = len(kept) - heard
    if rest >= MIN_SECONDS * SAMPLE_RATE:
        yield kept[-_WINDOW:], rest
