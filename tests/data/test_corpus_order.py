"""The order in which clips are seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from antiphon.data import loading
from antiphon.data.loading import Corpus
from antiphon.data.shards import CodecIdentity, CodedClip, write_shard
from antiphon.errors import ConfigError

pytestmark = pytest.mark.unit

CODEC = CodecIdentity("ab", "m", 16_000, 1, 25, 2, 64)


def write(folder: Path, counts: list[int], codec: CodecIdentity = CODEC) -> None:
    for number, count in enumerate(counts):
        clips = [
            CodedClip(
                f"{number}-{n}", "test" if n == 0 else "train", np.full((2, 3), n, np.uint16),
                licence="CC0-1.0",
            )
            for n in range(count)
        ]  # fmt: skip
        write_shard(folder / f"codes-{number:05}.parquet", codec, clips)


def seen(corpus: Corpus, seed: int, start: int, count: int) -> list[str]:
    return [corpus.clip(seed, position).id for position in range(start, start + count)]


def test_every_clip_comes_once_in_each_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "POOL_SHARDS", 2)
    write(tmp_path, [5, 1, 8, 4, 7])
    corpus = Corpus(tmp_path, "train")
    assert len(corpus) == 4 + 0 + 7 + 3 + 6
    epochs = [seen(corpus, 3, epoch * 20, 20) for epoch in range(3)]
    assert all(sorted(epoch) == sorted(epochs[0]) for epoch in epochs)
    assert len({id for id in epochs[0] if not id.endswith("-0")}) == 20
    assert epochs[0] != epochs[1] != epochs[2]
    assert len(corpus._held) <= 4
    # From any position on, by another object, in any order of asking.
    again = Corpus(tmp_path, "train")
    assert seen(again, 3, 33, 20) == (epochs[1] + epochs[2])[13:33]
    assert seen(again, 3, 0, 20) == epochs[0]
    assert seen(again, 4, 0, 20) != epochs[0]
    # A pool mixes its shards.
    assert len({id.split("-")[0] for id in epochs[0][:5]}) > 1
    assert list(corpus.licences()) == ["CC0-1.0"] * 20
    assert len(Corpus(tmp_path, "validation")) == 0


def test_codes_of_two_codecs_are_not_mixed(tmp_path: Path) -> None:
    write(tmp_path, [3, 3])
    other = CodecIdentity("cd", "m", 16_000, 1, 25, 2, 64)
    write_shard(tmp_path / "codes-00009.parquet", other, [])
    with pytest.raises(ConfigError, match="codes-00009.parquet holds codes of another codec"):
        Corpus(tmp_path, "train")
