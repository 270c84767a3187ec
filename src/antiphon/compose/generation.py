"""The loop that writes codes: step by step through a pattern, window by window. Knows no engine.

I items, K codebooks, F code frames, S steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from antiphon.compose.engines import Branch, DecoderEngine
from antiphon.compose.patterns import Codes, Pattern
from antiphon.compose.sampling import Sampling
from antiphon.compose.windows import Window
from antiphon.weights import Float32


@dataclass(frozen=True, eq=False)
class Item:
    """One piece to write: its windows, for each section its branches, the codes there are already
    [K, F], and the numbers it draws from.

    `score` gives what the score adds to the embedding of so many steps of a window [S, D]; it is
    heard in the last branch.
    """

    windows: tuple[Window, ...]
    sections: tuple[tuple[Branch, ...], ...]
    known: Codes
    draws: np.random.Generator
    score: Callable[[Window, int], Float32] | None = None

    def branches(self, window: Window, steps: int) -> tuple[Branch, ...]:
        """What is conditioned on in a window."""
        branches = self.sections[window.section]
        if self.score is None:
            return branches
        *others, last = branches
        return (*others, replace(last, added=self.score(window, steps)))


@dataclass(frozen=True, eq=False)
class Frame:
    """The codes [K] of one more frame of an item."""

    item: int
    codes: Codes


def write_codes(
    engine: DecoderEngine,
    items: Sequence[Item],
    weights: tuple[float, ...],
    sampling: Sampling,
    pattern: Pattern,
) -> Iterator[tuple[Frame, ...]]:
    """Write all items side by side; the frames of one moment are given out as soon as all their
    codebooks are there.

    Items may end at different frames, but their windows must begin at the same ones
    (`side_by_side`). What an item becomes depends on nothing but the item.
    """
    # Of what was written, only what a later window may show is kept.
    written = [item.known for item in items]
    for number in range(max(len(item.windows) for item in items)):
        going = [i for i, item in enumerate(items) if number < len(item.windows)]
        windows = [items[i].windows[number] for i in going]
        contexts = [
            written[i][:, written[i].shape[1] - (window.start - window.shown) :]
            for i, window in zip(going, windows, strict=True)
        ]
        new: list[list[Codes]] = [[] for _ in going]
        some = [items[i] for i in going]
        for moment in _write_window(engine, some, windows, contexts, weights, sampling, pattern):
            for place, codes in moment.items():
                new[place].append(codes)
            yield tuple(Frame(going[place], codes) for place, codes in moment.items())
        for place, i in enumerate(going):
            written[i] = np.concatenate([contexts[place], np.stack(new[place], 1)], axis=1)


def side_by_side(items: Sequence[tuple[Window, ...]]) -> bool:
    """Whether pieces with these windows can be written in one batch: all windows that two have in
    common must begin alike; only the last of a piece may end earlier."""
    longest = max(items, key=lambda windows: (len(windows), windows[-1].end))
    for windows in items:
        for number, (mine, theirs) in enumerate(zip(windows, longest, strict=False)):
            alike = (mine.shown, mine.start, mine.section) == (
                theirs.shown,
                theirs.start,
                theirs.section,
            )
            is_last = number == len(windows) - 1
            if not alike or (not is_last and mine.end != theirs.end):
                return False
    return True


def _write_window(
    engine: DecoderEngine,
    items: Sequence[Item],
    windows: Sequence[Window],
    contexts: Sequence[Codes],
    weights: tuple[float, ...],
    sampling: Sampling,
    pattern: Pattern,
) -> Iterator[dict[int, Codes]]:
    """The new frames of one window, moment by moment: codes [K] by item."""
    empty = engine.config.decoder.card
    codebooks = len(pattern.delays)
    shown = contexts[0].shape[1]
    layouts = [pattern.layout(window.end - window.shown) for window in windows]
    steps = max(layout.steps for layout in layouts)
    # What is not sampled: the context, and the corners of the pattern that hold no frame. An item
    # that ends before its neighbours sees the same corner as if it were alone.
    fixed = np.full((len(items), codebooks, steps), empty)
    free = np.zeros(fixed.shape, bool)
    for i, (layout, context) in enumerate(zip(layouts, contexts, strict=True)):
        fixed[i, :, : layout.steps] = layout.interleave(context, empty)
        free[i, :, : layout.steps] = layout.valid & (layout.frame_of >= shown)

    branches = [
        item.branches(window, layout.steps)
        for item, window, layout in zip(items, windows, layouts, strict=True)
    ]
    session = engine.begin(branches, weights, sampling, steps)
    column = np.full((len(items), codebooks), empty)
    if shown:
        session.feed(np.concatenate([column[..., None], fixed[..., : shown - 1]], axis=-1))
        column = fixed[..., shown - 1]
    for step in range(shown, steps):
        draws = np.stack([item.draws.random(codebooks) for item in items])
        chosen = session.next_codes(column, draws)
        column = np.where(free[..., step], chosen, fixed[..., step])
        fixed[..., step] = column
        frame = step - pattern.longest_delay
        if frame < shown:
            continue
        yield {
            i: fixed[i, np.arange(codebooks), layout.step_of[:, frame]]
            for i, layout in enumerate(layouts)
            if frame < layout.frames
        }
