"""The small linear models behind the judgements: which octave is the beat, where is the downbeat,
which chord, which key, where does a section begin. Knows no music.

Their weights are plain numbers in weights.json, fitted by `bench/fit.py`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

DoubleArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LinearModel:
    """score = ((features - mean) / scale) @ weights; the bias is a feature that is always 1."""

    mean: DoubleArray  # [D]
    scale: DoubleArray  # [D]
    weights: DoubleArray  # [D] or [D, outputs]

    def score(self, features: DoubleArray) -> DoubleArray:
        """Features [..., D] to scores [...] or [..., outputs]."""
        return np.asarray(((features - self.mean) / self.scale) @ self.weights)


@lru_cache
def load_model(name: str) -> LinearModel:
    """The model `name` of weights.json."""
    return _all_models()[name]


@lru_cache
def _all_models() -> dict[str, LinearModel]:
    text = files("antiphon.analysis").joinpath("weights.json").read_text(encoding="utf-8")
    return {
        name: LinearModel(
            np.array(entry["mean"]), np.array(entry["scale"]), np.array(entry["weights"])
        )
        for name, entry in json.loads(text)["models"].items()
    }


def log_softmax(scores: DoubleArray) -> DoubleArray:
    """Scores [..., N] to log probabilities over the last axis."""
    shifted = scores - scores.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))
