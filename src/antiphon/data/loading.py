"""Clips of codes in the order in which a training run sees them.

Which clip has which position is a function of (seed, position) alone: a run that goes on at a
position sees what it would have seen. Every clip comes once in each epoch. Knows no model.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from antiphon.data.manifest import Split
from antiphon.data.shards import CodecIdentity, CodedClip, Shard, read_shard, shard_paths
from antiphon.errors import ConfigError

POOL_SHARDS = 16  # whose clips are mixed with each other, and held in memory


class Corpus:
    """The clips of one split of a folder of shards.

    Shards are shuffled, and within pools of them all clips: so that a corpus of any size is read a
    few shards at a time.
    """

    def __init__(self, folder: Path, split: Split) -> None:
        """Raises ConfigError for a folder without shards, or with shards of different codecs; what
        `read_shard` raises for one that is damaged."""
        self._split = split
        self._paths = []
        counts = []
        codec: CodecIdentity | None = None
        digest = hashlib.blake2b(digest_size=16)
        for path in shard_paths(folder):
            shard = read_shard(path, split)
            if codec is not None and shard.codec != codec:
                raise ConfigError(
                    f"{path} holds codes of another codec than the shards before it; expected "
                    "those of one: preprocess into a folder of their own"
                )
            codec = shard.codec
            digest.update(f"{path.name} {shard.content}\n".encode())
            if len(shard):
                self._paths.append(path)
                counts.append(len(shard))
        assert codec is not None, "a folder with shards"
        self.codec = codec
        self.checksum = digest.hexdigest()
        """Tells what the shards hold."""
        self._counts = np.array(counts, np.int64)
        self._held: OrderedDict[int, Shard] = OrderedDict()
        self._order: tuple[tuple[int, int], NDArray[np.int64]] | None = None

    def __len__(self) -> int:
        return int(self._counts.sum())

    def licences(self) -> Iterator[str | None]:
        """Of every clip."""
        for path in self._paths:
            yield from read_shard(path, self._split).licences()

    def clip(self, seed: int, position: int) -> CodedClip:
        """The clip at a position of an endless run over the corpus."""
        shard, number = self._place(seed, position)
        return self._shard(shard).clip(number)

    def _place(self, seed: int, position: int) -> tuple[int, int]:
        epoch, index = divmod(position, len(self))
        key = (seed, epoch)
        if self._order is None or self._order[0] != key:
            self._order = key, self._shuffled(seed, epoch)
        shard, number = self._order[1][index]
        return int(shard), int(number)

    def _shuffled(self, seed: int, epoch: int) -> NDArray[np.int64]:
        """(shard, number in it) of every clip, in the order of an epoch, [N, 2]."""
        draws = np.random.default_rng((seed, epoch))
        shards = draws.permutation(len(self._counts))
        pools = []
        for start in range(0, len(shards), POOL_SHARDS):
            pool = np.concatenate(
                [
                    np.stack([np.full(self._counts[s], s), np.arange(self._counts[s])], axis=1)
                    for s in shards[start : start + POOL_SHARDS]
                ]
            )
            pools.append(draws.permutation(pool))
        return np.concatenate(pools)

    def _shard(self, number: int) -> Shard:
        if number in self._held:
            self._held.move_to_end(number)
            return self._held[number]
        shard = read_shard(self._paths[number], self._split)
        self._held[number] = shard
        if len(self._held) > 2 * POOL_SHARDS:
            self._held.popitem(last=False)
        return shard
