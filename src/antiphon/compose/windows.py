"""A long piece in windows that overlap: which frames each one is shown, and which it writes.

A decoder was trained on so many seconds; what goes on longer is written by showing it the end of
what there is (Copet et al. 2023; audiocraft's `extend_stride`). Knows no model. Everything counts
code frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

WINDOW_SECONDS = 30.0  # what the published checkpoints were trained on
STRIDE_SHARE = 0.6  # of each window, what is new; the rest is context


@dataclass(frozen=True)
class Window:
    """Frames `shown` to `start` are shown, `start` to `end` written, under section `section`."""

    shown: int
    start: int
    end: int
    section: int


def plan(
    frames: int, section_starts: Sequence[int], known: int, window: int, stride: int
) -> tuple[Window, ...]:
    """The windows of a piece of `frames` frames, of which the first `known` are there already.

    Sections start at the given frames, the first at 0; each begins a window of its own, so that
    its prompt holds from its first frame on. A window is at most `window` frames, and shows at most
    `window - stride` of what went before.
    """
    assert section_starts[0] == 0, f"the first section starts at {section_starts[0]}"
    assert 0 < stride <= window, f"a stride of {stride} in a window of {window}"
    windows: list[Window] = []
    at = known
    for number, (start, end) in enumerate(pairwise([*section_starts, frames])):
        at = max(at, start)
        while at < end:
            shown = max(0, at - (window - stride))
            upto = min(end, shown + window)
            windows.append(Window(shown, at, upto, number))
            at = upto
    return tuple(windows)
