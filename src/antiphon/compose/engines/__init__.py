"""The seam to what computes MusicGen's decoder: the loop that writes codes knows no engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from antiphon.compose.checkpoint import MusicGenConfig
from antiphon.compose.patterns import Codes
from antiphon.compose.sampling import Sampling
from antiphon.errors import EngineError
from antiphon.weights import Float32


@dataclass(frozen=True, eq=False)
class Branch:
    """One thing that an item is conditioned on.

    `text` [L, W]: the states of a prompt; None: of no prompt, whose states are zeros.
    `chroma` [F, bins]: the melody, for checkpoints that know one. `added` [S, D]: what a score adds
    to the embedding of each step, from the first that is fed; None: nothing.
    """

    text: Float32 | None
    chroma: Float32 | None = None
    added: Float32 | None = None


class DecoderSession(Protocol):
    """Several items on their way through the decoder, step by step. I items, K codebooks."""

    def feed(self, codes: Codes) -> None:
        """Take in steps [I, K, S] that are known already."""

    def logits(self, codes: Codes) -> Float32:
        """Take in one step [I, K]; the guided logits [I, K, V] of the next.

        Raises EngineError if they are not finite, naming step and layer.
        """

    def next_codes(self, codes: Codes, draws: NDArray[np.float64]) -> Codes:
        """Take in one step [I, K] and choose the next [I, K] at `draws` [I, K] from [0, 1)."""


def require_positions(wanted: int, config: MusicGenConfig) -> None:
    """Raise EngineError for more positions than the decoder has."""
    if wanted > config.decoder.max_positions:
        raise EngineError(
            f"{wanted} positions are asked of a decoder that has "
            f"{config.decoder.max_positions}; make the window shorter"
        )


def not_finite(step: int, broken: Sequence[int], layers: int) -> str:
    """What to say of numbers that are not finite: `broken` are the layers, from 0, that attend to
    some already."""
    if not broken:
        where = f"after the attention of layer {layers}, the last"
    elif broken[0] == 0:
        where = f"in the attention of layer 1 of {layers}, or before it"
    else:
        where = f"between the attentions of layers {broken[0]} and {broken[0] + 1} of {layers}"
    return (
        f"the decoder gave numbers that are not finite at step {step}, first {where}; the weights "
        "are damaged ('antiphon models verify' tells), or the precision is too low for them "
        "(--precision fp32)"
    )


class DecoderEngine(Protocol):
    """A loaded decoder."""

    config: MusicGenConfig

    def begin(
        self,
        items: Sequence[Sequence[Branch]],
        weights: tuple[float, ...],
        sampling: Sampling,
        steps: int,
    ) -> DecoderSession:
        """Start with these items, each with its branches in the order of `sampling.guided`, whose
        weights are `weights`; at most `steps` steps will be fed.

        On a processor the same item gives the same codes, bit for bit, alone and among others, on
        any number of threads. Raises EngineError for more steps than the decoder has positions.
        """
