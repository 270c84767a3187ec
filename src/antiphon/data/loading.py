"""Clips of codes in the order in which a training run sees them.

Which clip has which position is a function of (seed, position) alone: a run that goes on at a
position sees what it would have seen. Every clip comes once in each epoch. Knows no model. Letters:
N clips.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from antiphon.data.manifest import Split
from antiphon.data.shards import (
    CodedClip,
    Outline,
    Said,
    Shard,
    read_licences,
    read_outline,
    read_said,
    read_shard,
    shard_paths,
)
from antiphon.errors import ConfigError

POOL_SHARDS = 16  # whose clips are mixed with each other, and held in memory
WINDOW_BATCHES = 32  # whose clips are sorted by length


class Corpus:
    """The clips of one split of a folder of shards.

    Shards are shuffled, and within pools of them all clips: so that a corpus of any size is read a
    few shards at a time. Of this order, windows of `WINDOW_BATCHES` batches are sorted by length
    and the batches of each shuffled, so that clips of like length are in one batch and little of it
    is padding.

    Position p belongs to batch p // batch_size. Where an epoch is no multiple of batch_size, the
    batch over the seam has the last clips of the one and the first of the next, of any length.
    """

    def __init__(
        self,
        folder: Path,
        split: Split,
        batch_size: int = 1,
        *,
        longest_seconds: float | None = None,
        skip_damaged: bool = False,
        with_states: bool = True,
    ) -> None:
        """Opening reads neither codes nor states: damage in them shows when a clip is asked for.

        `batch_size` is that of all processes together, where several share a batch.
        `longest_seconds` is what clips are cut to: longer ones count as equally long.
        `skip_damaged` reads every shard whole, and leaves out those that cannot be read: they are
        in `damaged`. `with_states` False leaves the states of texts unread.

        Raises ConfigError for a folder without shards, with none that is whole, or with shards of
        different codecs or text encoders; what `read_shard` raises for one that is damaged.
        """
        assert batch_size >= 1, f"batch_size {batch_size}"
        self._split = split
        self._batch_size = batch_size
        self._with_states = with_states
        outlines, self.damaged = _outlines(folder, split, skip_damaged=skip_damaged)
        """The shards that were left out."""
        first = next(iter(outlines.values()))
        self.codec = first.codec
        self._longest_frames = None
        if longest_seconds is not None:
            self._longest_frames = max(1, round(longest_seconds * self.codec.frame_rate))
        self.text_encoder = first.text_encoder
        """Whose states of texts the shards hold; None: they hold none."""
        digest = hashlib.blake2b(digest_size=16)
        for path, outline in outlines.items():
            _require_same(path, outline, first)
            digest.update(f"{path.name} {outline.content}\n".encode())
        self.checksum = digest.hexdigest()
        """Tells what the shards hold."""
        kept = {path: outline for path, outline in outlines.items() if len(outline.frames)}
        self._paths = list(kept)
        counts = np.array([len(outline.frames) for outline in kept.values()], np.int64)
        self._ends = np.cumsum(counts)
        self._starts = self._ends - counts
        self.frames = np.concatenate(
            [np.zeros(0, np.int32), *(outline.frames for outline in kept.values())]
        )
        """The code frames of every clip, [N]."""
        self._held: OrderedDict[int, Shard] = OrderedDict()
        self._order: tuple[tuple[int, int], NDArray[np.int64]] | None = None

    def __len__(self) -> int:
        return len(self.frames)

    def licences(self) -> Iterator[str | None]:
        """Of every clip."""
        for path in self._paths:
            yield from read_licences(path, self._split)

    def texts(self) -> Iterator[Said]:
        """What is said of every clip: (caption, controls), in the order of the shards."""
        for path in self._paths:
            yield from read_said(path, self._split)

    def clip(self, seed: int, position: int) -> CodedClip:
        """The clip at a position of an endless run over the corpus."""
        shard, number = self._place(seed, position)
        return self._shard(shard).clip(number)

    def _place(self, seed: int, position: int) -> tuple[int, int]:
        epoch, index = divmod(position, len(self))
        key = (seed, epoch)
        if self._order is None or self._order[0] != key:
            self._order = key, self._placed(self._shuffled(seed, epoch))
        shard, number = self._order[1][index].tolist()
        return shard, number

    def _placed(self, order: NDArray[np.int64]) -> NDArray[np.int64]:
        """(shard, number in it) of clips by their number in the corpus, [N, 2]."""
        shards = np.searchsorted(self._ends, order, "right")
        return np.stack([shards, order - self._starts[shards]], axis=1)

    def _shuffled(self, seed: int, epoch: int) -> NDArray[np.int64]:
        """The clips in the order of an epoch, by their number in the corpus, [N]."""
        draws = np.random.default_rng((seed, epoch))
        shards = draws.permutation(len(self._paths))
        pools = []
        for start in range(0, len(shards), POOL_SHARDS):
            pool = [
                np.arange(self._starts[s], self._ends[s])
                for s in shards[start : start + POOL_SHARDS]
            ]
            pools.append(draws.permutation(np.concatenate(pool)))
        return self._bucketed(np.concatenate(pools), epoch, draws)

    def _bucketed(
        self, order: NDArray[np.int64], epoch: int, draws: np.random.Generator
    ) -> NDArray[np.int64]:
        """`order` with clips of like length in one batch; a window may reach from a pool into the
        next one."""
        size = self._batch_size
        if size == 1:
            return order
        head = min(-epoch * len(order) % size, len(order))  # they end the last epoch's last batch
        tail = (len(order) - head) % size  # and these begin the next one's
        sorted_end = len(order) - tail
        clips = order[head:sorted_end]
        window = np.arange(len(clips)) // (WINDOW_BATCHES * size)
        lengths = self.frames[clips]
        if self._longest_frames is not None:
            lengths = np.minimum(lengths, self._longest_frames)
        # Stable: clips of one length stay in the order that was drawn.
        batches = clips[np.lexsort((lengths, window))].reshape(-1, size)
        again = np.lexsort((draws.random(len(batches)), window[::size]))
        return np.concatenate([order[:head], batches[again].ravel(), order[sorted_end:]])

    def _shard(self, number: int) -> Shard:
        if number in self._held:
            self._held.move_to_end(number)
            return self._held[number]
        shard = read_shard(self._paths[number], self._split, with_states=self._with_states)
        self._held[number] = shard
        if len(self._held) > 2 * POOL_SHARDS:
            self._held.popitem(last=False)
        return shard


def _outlines(
    folder: Path, split: Split, *, skip_damaged: bool
) -> tuple[dict[Path, Outline], tuple[Path, ...]]:
    """The outlines of the shards of a folder, and which are damaged."""
    found: dict[Path, Outline] = {}
    damaged: dict[Path, ConfigError] = {}
    for path in shard_paths(folder):
        try:
            if skip_damaged:
                read_shard(path)  # or damage among its codes would end the run that it is for
            found[path] = read_outline(path, split)
        except ConfigError as error:
            if not skip_damaged:
                raise
            damaged[path] = error
    if not found:
        first = next(iter(damaged.values()))
        raise ConfigError(f"{folder} holds no whole shard; expected one at least: {first}")
    return found, tuple(damaged)


def _require_same(path: Path, outline: Outline, first: Outline) -> None:
    """Raise ConfigError for a shard of another codec or text encoder than the first."""
    if outline.codec != first.codec:
        raise ConfigError(
            f"{path} holds codes of another codec than the shards before it; expected those of "
            "one: preprocess into a folder of their own"
        )
    if outline.text_encoder != first.text_encoder:
        names = [
            "no text encoder" if one is None else f"the text encoder {one.name!r}"
            for one in (outline.text_encoder, first.text_encoder)
        ]
        raise ConfigError(
            f"{path} holds the states of {names[0]}, the shards before it of {names[1]}; expected "
            "those of one: preprocess again with one --text-encoder"
        )
