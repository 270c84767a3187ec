"""From logits to the next codes: guidance, temperature, top-k, top-p. Knows no model.

I items, B branches of guidance, K codebooks, V entries of each.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from antiphon.compose.patterns import Codes
from antiphon.errors import ConfigError
from antiphon.weights import Float32

MAX_TEMPERATURE, MAX_GUIDANCE = 10.0, 100.0
_USUAL_TOP_K = 250  # MusicGen's, of 2,048 entries


@dataclass(frozen=True)
class Sampling:
    """How codes are chosen; the defaults are MusicGen's.

    `temperature` 0 takes the likeliest code; `top_k` 0 and `top_p` 1 leave all in, a `top_k` of
    None is 250, or all where a codebook has fewer entries; `guidance` is the weight of the prompt
    against no prompt (Ho & Salimans 2022): 0 ignores it, 1 leaves guidance out. `score_guidance` is
    the same for a score against none; None: as `guidance`. Raises ConfigError for values that make
    no sense.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0
    guidance: float = 3.0
    score_guidance: float | None = None

    def __post_init__(self) -> None:
        _require("temperature", self.temperature, 0.0, MAX_TEMPERATURE)
        _require("guidance", self.guidance, 0.0, MAX_GUIDANCE)
        if self.score_guidance is not None:
            _require("score guidance", self.score_guidance, 0.0, MAX_GUIDANCE)
        if not 0.0 < self.top_p <= 1.0:  # so written that NaN fails too
            raise ConfigError(
                f"top-p is {self.top_p:g}; expected more than 0, up to 1 (1 leaves all in)"
            )
        if self.top_k is not None and self.top_k < 0:
            raise ConfigError(f"top-k is {self.top_k}; expected 1 or more, or 0 for no limit")

    def kept_of(self, card: int) -> int:
        """How many of `card` entries top-k leaves in."""
        return min((_USUAL_TOP_K if self.top_k is None else self.top_k) or card, card)

    def require_fits(self, card: int) -> None:
        """Raise ConfigError if top-k asks for more entries than a codebook has."""
        if self.top_k is not None and self.top_k > card:
            raise ConfigError(
                f"top-k is {self.top_k}; expected 1 to {card}, the entries of a codebook of this "
                "model, or 0 for no limit"
            )


def _require(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ConfigError(f"{name} is {value:g}; expected {low:g} to {high:g}")


def guided(logits: Float32, weights: tuple[float, ...]) -> Float32:
    """[I, B, K, V] -> [I, K, V]: the first branch, then by its weight each one's difference to the
    one before: (nothing, text, text and score) with a weight for the text and one for the score."""
    assert logits.shape[1] == len(weights) + 1, f"{len(weights)} weights for {logits.shape[1]} rows"
    result = logits[:, 0]
    for number, weight in enumerate(weights):
        result = result + np.float32(weight) * (logits[:, number + 1] - logits[:, number])
    return result


def choose(logits: Float32, draws: NDArray[np.float64], sampling: Sampling) -> Codes:
    """[..., V] -> [...]: one entry each, by the inverse of its distribution at `draws` [...], which
    lie in [0, 1): the same logits and draws give the same codes in any company.

    Top-k first, then of what is left the fewest that together reach top-p (Holtzman et al. 2020).
    """
    if sampling.temperature == 0:
        likeliest: Codes = logits.argmax(-1)
        return likeliest
    count = sampling.kept_of(logits.shape[-1])
    order = _likeliest(logits, count)
    kept = np.take_along_axis(logits, order, -1).astype(np.float64)
    with np.errstate(over="ignore"):  # a temperature near 0 leaves the likeliest alone
        shares = np.exp((kept - kept[..., :1]) / sampling.temperature)
    sums = shares.cumsum(-1)
    total = sums[..., -1:]
    if sampling.top_p < 1.0:
        last = (sums < sampling.top_p * total).sum(-1, keepdims=True)
        total = np.take_along_axis(sums, np.minimum(last, count - 1), -1)
    place = (sums <= draws[..., None] * total).sum(-1, keepdims=True)
    codes: Codes = np.take_along_axis(order, np.minimum(place, count - 1), -1)[..., 0]
    return codes


def _likeliest(logits: Float32, count: int) -> Codes:
    """[..., V] -> [..., count]: the likeliest entries, the likeliest first, those of one likelihood
    by their number: no tie is left to chance."""
    card = logits.shape[-1]
    if count < card:  # parting is three times as fast as sorting all
        some = np.sort(np.argpartition(logits, card - count, axis=-1)[..., card - count :], axis=-1)
        values = np.take_along_axis(logits, some, -1)
        if ((logits >= values.min(-1, keepdims=True)).sum(-1) == count).all():
            order = np.argsort(-values, axis=-1, kind="stable")
            likeliest: Codes = np.take_along_axis(some, order, -1)
            return likeliest
    order = np.argsort(-logits, axis=-1, kind="stable")[..., :count]
    return order


def draws_of(seed: int) -> np.random.Generator:
    """The random numbers of one item: of its seed alone, whatever else is made beside it."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed)))
