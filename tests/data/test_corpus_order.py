"""The order in which clips are seen, and what of a corpus is read for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from antiphon.data import loading
from antiphon.data.loading import Corpus
from antiphon.data.shards import CodecIdentity, CodedClip, TextEncoderIdentity, write_shard
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


T5 = TextEncoderIdentity("ef", "t5", 4)


def write_lengths(folder: Path, lengths: list[list[int]]) -> None:
    """A shard of each list, with a clip of so many frames for each number."""
    for shard, frames in enumerate(lengths):
        clips = [
            CodedClip(f"{shard}-{n}", "train", np.zeros((2, count), np.uint16))
            for n, count in enumerate(frames)
        ]
        write_shard(folder / f"codes-{shard:05}.parquet", CODEC, clips)


def padding(corpus: Corpus, batch_size: int) -> float:
    """Which share of the batches of an epoch would be padding."""
    held = padded = 0
    for start in range(0, len(corpus), batch_size):
        frames = [corpus.clip(0, start + n).codes.shape[1] for n in range(batch_size)]
        held += sum(frames)
        padded += max(frames) * batch_size
    return 1 - held / padded


def test_clips_of_like_length_are_in_one_batch(tmp_path: Path) -> None:
    # Half of 2 s, half of 30 s.
    write_lengths(tmp_path, [[50, 750] * 64 for _ in range(8)])
    assert padding(Corpus(tmp_path, "train"), 8) > 0.4
    corpus = Corpus(tmp_path, "train", 8)
    assert padding(corpus, 8) < 0.1
    assert corpus.frames.sum() == 800 * 64 * 8
    # Long and short batches come mixed, not one kind after the other.
    longest = [corpus.clip(0, 8 * n).codes.shape[1] for n in range(32)]
    assert 5 < sum(a != b for a, b in zip(longest, longest[1:], strict=False)) < 27


@pytest.mark.parametrize("batch_size", [2, 3, 7, 64])
def test_every_clip_comes_once_also_in_buckets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch_size: int
) -> None:
    monkeypatch.setattr(loading, "POOL_SHARDS", 2)
    monkeypatch.setattr(loading, "WINDOW_BATCHES", 3)
    write_lengths(tmp_path, [[n + 1 for n in range(count)] for count in (5, 11, 8, 4, 3)])
    corpus = Corpus(tmp_path, "train", batch_size)
    epochs = [seen(corpus, 1, 31 * epoch, 31) for epoch in range(4)]
    assert all(len(set(epoch)) == 31 for epoch in epochs)
    assert epochs[0] != epochs[1]
    again = Corpus(tmp_path, "train", batch_size)
    assert seen(again, 1, 40, 60) == [id for epoch in epochs for id in epoch][40:100]
    assert seen(again, 2, 0, 31) != epochs[0]


def test_batches_stay_aligned_from_epoch_to_epoch(tmp_path: Path) -> None:
    # 2 * 35 clips in batches of 4: an epoch begins within a batch. All batches but the one over the
    # seam, and the one in which the two lengths meet in a window, are of one length.
    write_lengths(tmp_path, [[10, 90] * 35])
    corpus = Corpus(tmp_path, "train", 4)
    for epoch in range(1, 5):
        first = -(-70 * epoch // 4)
        mixed = 0
        for batch in range(first, 70 * (epoch + 1) // 4):
            frames = {corpus.clip(0, 4 * batch + n).codes.shape[1] for n in range(4)}
            mixed += len(frames) > 1
        assert mixed <= 1


def test_lengths_above_the_longest_crop_are_alike(tmp_path: Path) -> None:
    write_lengths(tmp_path, [list(range(20, 84))])
    order = seen(Corpus(tmp_path, "train"), 0, 0, 64)
    alike = Corpus(tmp_path, "train", 4, longest_seconds=0.8)
    batches = [order[start : start + 4] for start in range(0, 64, 4)]
    found = seen(alike, 0, 0, 64)
    # Batches as they were drawn, in another order.
    assert sorted(found[start : start + 4] for start in range(0, 64, 4)) == sorted(batches)
    assert found != order
    unlike = seen(Corpus(tmp_path, "train", 4), 0, 0, 64)
    numbers = [int(id.split("-")[1]) for id in unlike]
    assert all(max(numbers[n : n + 4]) - min(numbers[n : n + 4]) == 3 for n in range(0, 64, 4))


def test_opening_reads_no_codes(tmp_path: Path) -> None:
    draws = np.random.default_rng(0)
    clips = [
        CodedClip(
            str(n),
            "validation" if n == 3 else "train",
            draws.integers(0, 64, (2, 2000), np.uint16),
            f"text {n}",
            {"tempo": 90.0 + n},
            f"licence {n}",
        )
        for n in range(8)
    ]
    path = tmp_path / "codes-00000.parquet"
    write_shard(path, CODEC, clips)
    spoilt = bytearray(path.read_bytes())
    place = len(spoilt) // 2  # among the codes, which are nearly all of it
    spoilt[place : place + 64] = bytes(64)
    path.write_bytes(spoilt)
    corpus = Corpus(tmp_path, "train")
    assert (len(corpus), corpus.frames.tolist()) == (7, [2000] * 7)
    expected = [(f"text {n}", {"tempo": 90.0 + n}) for n in range(8) if n != 3]
    assert list(corpus.texts()) == expected
    assert list(corpus.licences()) == [f"licence {n}" for n in range(8) if n != 3]
    # But its damage is found when a clip is asked for, and named.
    with pytest.raises(ConfigError, match=r"codes-00000.parquet is no whole.*remove it and run"):
        corpus.clip(0, 0)
    with pytest.raises(ConfigError, match="holds no whole shard; expected one at least: .*00000"):
        Corpus(tmp_path, "train", skip_damaged=True)


@pytest.mark.parametrize("way", ["cut", "spoilt"])
def test_damaged_shards_are_named_or_left_out(tmp_path: Path, way: str) -> None:
    write(tmp_path, [40, 40, 40])
    whole = Corpus(tmp_path, "train")
    path = tmp_path / "codes-00001.parquet"
    content = bytearray(path.read_bytes())
    if way == "cut":
        path.write_bytes(content[: len(content) // 2])
        with pytest.raises(ConfigError, match="codes-00001.parquet is no whole Parquet file"):
            Corpus(tmp_path, "train")
    else:
        content[40:400] = bytes(360)
        path.write_bytes(content)
    corpus = Corpus(tmp_path, "train", skip_damaged=True)
    assert corpus.damaged == (path,)
    assert len(corpus) == 78
    assert {id.split("-")[0] for id in seen(corpus, 0, 0, 78)} == {"0", "2"}
    assert corpus.checksum != whole.checksum
    path.unlink()
    gone = Corpus(tmp_path, "train", skip_damaged=True)
    assert gone.damaged == whole.damaged == ()
    assert gone.checksum == corpus.checksum


def test_states_of_two_text_encoders_are_not_mixed(tmp_path: Path) -> None:
    states = np.ones((3, 4), np.float16)
    clips = [CodedClip("a", "train", np.zeros((2, 3), np.uint16), "x", caption_states=states)]
    write_shard(tmp_path / "codes-00000.parquet", CODEC, clips, text_encoder=T5)
    corpus = Corpus(tmp_path, "train")
    assert corpus.text_encoder == T5
    found = corpus.clip(0, 0).caption_states
    assert found is not None
    np.testing.assert_array_equal(found, states)
    assert Corpus(tmp_path, "train", with_states=False).clip(0, 0).caption_states is None
    write_shard(tmp_path / "codes-00001.parquet", CODEC, [])
    with pytest.raises(
        ConfigError, match=r"00001.parquet holds the states of no text encoder, .* encoder 't5'"
    ):
        Corpus(tmp_path, "train")
