"""A recording's melody as melody checkpoints take it: the strongest pitch class of each moment."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from antiphon.analysis.features import CHROMA_RATE, SAMPLE_RATE, FeatureExtractor
from antiphon.analysis.harmony import mean_between, tuned_chroma
from antiphon.audio import Waveform, resample
from antiphon.weights import Float32

FRAME_SECONDS = (
    4096 / 32_000
)  # the hop of the chroma that the published checkpoints were trained on


def melody_chroma(waveform: Waveform, frames: int, bins: int) -> Float32:
    """One-hot pitch classes [frames, bins], C first, by the chroma that `measure` hears (Copet et
    al. 2023, section 2.3 takes the arg-max too, to leave timbre out).

    A recording that is shorter is repeated, as the checkpoints were trained; the rest of a longer
    one is left out.
    """
    extractor = FeatureExtractor()
    extractor.push(resample(waveform.mono(), SAMPLE_RATE).samples[0])
    treble = tuned_chroma(extractor.finish()).treble
    count = max(1, min(frames, round(waveform.duration_seconds / FRAME_SECONDS)))
    edges = np.arange(-0.5, count + 0.5) * FRAME_SECONDS
    classes = mean_between(treble, CHROMA_RATE, edges).argmax(-1)
    return one_hot(np.resize(classes, frames), bins)


def no_melody(frames: int, bins: int) -> Float32:
    """What stands for no melody: the first pitch class throughout, as in transformers."""
    return one_hot(np.zeros(frames, np.int64), bins)


def one_hot(classes: NDArray[np.integer], bins: int) -> Float32:
    rows: Float32 = np.eye(bins, dtype=np.float32)[classes]
    return rows
