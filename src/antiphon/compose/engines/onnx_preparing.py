"""A checkpoint's decoder made ready for onnxruntime: graphs written, an 8-bit cache calibrated."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import cycle
from pathlib import Path

import numpy as np

from antiphon.compose.checkpoint import MusicGenConfig
from antiphon.compose.decoder_graph import CacheScales, cached_width, write_decoder
from antiphon.compose.engines import Branch
from antiphon.compose.engines.onnx import OnnxDecoder, OnnxSession
from antiphon.compose.melody import no_melody
from antiphon.compose.sampling import Sampling, draws_of
from antiphon.graphs import Precision, kept
from antiphon.weights import Weights

_INT8_MAX = 127.0
_HEADROOM = 1.5  # of the range over the largest value that was seen: music is long
CALIBRATION_STEPS = 48
_POSITIONS = (0, 450, 1000, 1450)  # of a window: the sums in the cache depend on them
_LEAST = 1e-6  # of a channel that is always zero


def prepare_decoder(
    weights: Weights,
    config: MusicGenConfig,
    precision: Precision,
    *,
    cache: Path,
    content: str,
    threads: int,
    usual: Callable[[], Sequence[Branch]],
    on_layer: Callable[[int, int], None] = lambda done, total: None,
) -> OnnxDecoder:
    """Load a checkpoint's decoder; its graphs are written when they are not in `cache`, where
    `content`, the fingerprint of the weights, finds them.

    With weights of 8 or 4 bits the cache has 8: it is most of what a step of a long piece reads.
    Its range is found by playing a little with a cache of float32; `usual` gives what it is usually
    conditioned on for that. `on_layer` is told how many layers of how many are written.

    Raises ModelError for weights that do not fit the config, StorageError.
    """
    in_8_bits = precision != "fp32"
    done, total = 0, config.decoder.layers * (2 if in_8_bits else 1)

    def count() -> None:
        nonlocal done
        done += 1
        on_layer(done, total)

    def build(folder: Path) -> None:
        scales = None
        if in_8_bits:
            with tempfile.TemporaryDirectory(dir=folder) as name:
                write_decoder(Path(name), weights, config, precision, None, count)
                scales = calibrated(OnnxDecoder(Path(name), config, threads), usual())
        write_decoder(folder, weights, config, precision, scales, count)

    folder = kept(cache, f"decoder {precision} {config} {content}", build)
    return OnnxDecoder(folder, config, threads)


def calibrated(engine: OnnxDecoder, usual: Sequence[Branch]) -> CacheScales:
    """Scales for an 8-bit cache: the largest values of each channel while an engine with a float32
    cache plays from several places of a window, with some room. Deterministic."""
    decoder = engine.config.decoder
    shape = (2, decoder.layers, decoder.heads, cached_width(engine.config))
    peaks = np.full(shape, _LEAST, np.float32)
    chroma = None
    if engine.config.chroma_bins is not None and engine.config.chroma_frames is not None:
        chroma = no_melody(engine.config.chroma_frames, engine.config.chroma_bins)
    for branch, first in zip(cycle(usual), _POSITIONS, strict=False):
        item = [Branch(None, chroma), replace(branch, chroma=chroma)]
        session = OnnxSession(engine, [item], (3.0,), Sampling(), CALIBRATION_STEPS, first)
        draws = draws_of(first)
        codes = np.full((1, decoder.codebooks), decoder.card)
        for _ in range(CALIBRATION_STEPS):
            codes = session.next_codes(codes, draws.random(codes.shape))
        for layer, pair in enumerate(session.cached()):
            for side, cached in zip(peaks, pair, strict=True):
                side[layer] = np.maximum(side[layer], np.abs(cached).max(axis=(0, 2)))
    scales = (peaks * (_HEADROOM / _INT8_MAX)).reshape(2, decoder.layers, -1)
    return CacheScales(scales[0], scales[1])
