"""In which order the codebooks of a frame are written (Copet et al. 2023, section 2.2), as data.

A pattern says by how many steps each codebook comes later than the first; a layout of so many
frames says for every codebook and step which frame it holds, if any. Knows no model. K codebooks,
F code frames, S steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.int64]


@dataclass(frozen=True)
class Pattern:
    """`delays[k]` is by how many steps codebook k comes after the frame's first."""

    delays: tuple[int, ...]

    def __post_init__(self) -> None:
        assert min(self.delays) == 0, f"delays {self.delays} do not begin at 0"

    @property
    def longest_delay(self) -> int:
        return max(self.delays)

    def layout(self, frames: int) -> Layout:
        return Layout(self, frames)


def delay(codebooks: int) -> Pattern:
    """Each codebook one step after the one before: MusicGen's own."""
    return Pattern(tuple(range(codebooks)))


def stereo_delay(codebooks: int) -> Pattern:
    """Codebooks alternate left and right; both sides of one level together, levels delayed."""
    return Pattern(tuple(number // 2 for number in range(codebooks)))


def parallel(codebooks: int) -> Pattern:
    """All codebooks of a frame at once."""
    return Pattern((0,) * codebooks)


@dataclass(frozen=True)
class Layout:
    """A pattern over `frames` frames."""

    pattern: Pattern
    frames: int

    @property
    def steps(self) -> int:
        """How many steps hold all frames of all codebooks."""
        return self.frames + self.pattern.longest_delay if self.frames else 0

    @cached_property
    def frame_of(self) -> NDArray[np.int64]:
        """[K, S]: the frame that a codebook holds at a step; meaningless where not `valid`."""
        frames: Codes = np.arange(self.steps) - np.array(self.pattern.delays)[:, None]
        return frames

    @cached_property
    def valid(self) -> NDArray[np.bool_]:
        """[K, S]: where there is a frame at all."""
        return (self.frame_of >= 0) & (self.frame_of < self.frames)

    @cached_property
    def step_of(self) -> NDArray[np.int64]:
        """[K, F]: the step at which a codebook holds a frame."""
        steps: Codes = np.arange(self.frames) + np.array(self.pattern.delays)[:, None]
        return steps

    def interleave(self, codes: Codes, empty: int) -> Codes:
        """[..., K, f] -> [..., K, S] with `empty` where there is no frame; of f frames, those
        beyond the layout are dropped, missing ones are empty."""
        known = codes.shape[-1]
        held = self.valid & (self.frame_of < known)
        index = np.broadcast_to(np.where(held, self.frame_of, 0), (*codes.shape[:-1], self.steps))
        taken = np.take_along_axis(codes, index, -1) if known else np.zeros(index.shape, np.int64)
        steps: Codes = np.where(held, taken, empty)
        return steps

    def deinterleave(self, steps: Codes) -> Codes:
        """[..., K, S] -> [..., K, F]: the inverse."""
        index = np.broadcast_to(self.step_of, (*steps.shape[:-1], self.frames))
        codes: Codes = np.take_along_axis(steps, index, -1)
        return codes
