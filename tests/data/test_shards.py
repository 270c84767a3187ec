"""Shards of codes: what is written comes back, and what is wrong is named."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from antiphon.data.manifest import Clip, write_manifest
from antiphon.data.shards import (
    CodecIdentity,
    CodedClip,
    TextEncoderIdentity,
    made_from_of,
    read_outline,
    read_shard,
    shard_paths,
    write_shard,
)
from antiphon.errors import ConfigError, StorageError

pytestmark = pytest.mark.unit

T5 = TextEncoderIdentity("cd" * 32, "t5", 5)
CODEC = CodecIdentity("ab" * 32, "magnitude", 16_000, 1, 25, 4, 1024, score_width=3)


def clips() -> list[CodedClip]:
    draws = np.random.default_rng(0)
    codes = [draws.integers(0, 1024, (4, frames), np.uint16) for frames in (30, 7, 0)]
    scored = draws.integers(-127, 128, (30, 3)).astype(np.int8)
    controls = {"tempo": 90.0, "mood": ["sad"]}
    return [
        CodedClip("a", "train", codes[0], "slow é", controls, "CC0-1.0", scored),
        CodedClip("b", "test", codes[1]),
        CodedClip("c", "train", codes[2]),
    ]


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "codes-00000.parquet"
    write_shard(path, CODEC, clips())
    shard = read_shard(path)
    assert shard.codec == CODEC
    assert shard.ids == ("a", "b", "c")
    assert shard.frames.tolist() == [30, 7, 0]
    for number, expected in enumerate(clips()):
        found = shard.clip(number)
        np.testing.assert_array_equal(found.codes, expected.codes)
        np.testing.assert_array_equal(shard.codes(number), expected.codes)
        for name in ("id", "split", "caption", "controls", "licence"):
            assert getattr(found, name) == getattr(expected, name)
    np.testing.assert_array_equal(shard.clip(0).score_frames, clips()[0].score_frames)
    assert shard.clip(1).score_frames is None
    assert read_shard(path, "train").ids == ("a", "c")
    assert len(read_shard(path, "validation")) == 0
    before = path.read_bytes()
    write_shard(path, CODEC, clips())
    assert path.read_bytes() == before
    assert shard_paths(tmp_path) == [path]


def test_a_bit_that_flipped_is_found(tmp_path: Path) -> None:
    path = tmp_path / "codes-00000.parquet"
    write_shard(path, CODEC, clips(), "made so")
    assert made_from_of(path) == "made so"
    whole = bytearray(path.read_bytes())
    draws = np.random.default_rng(1)
    for place in draws.integers(4, len(whole) // 2, 40):
        spoilt = bytearray(whole)
        spoilt[place] ^= 1 << int(draws.integers(8))
        path.write_bytes(spoilt)
        try:
            shard = read_shard(path)
        except ConfigError:
            continue
        for number, expected in enumerate(clips()):
            np.testing.assert_array_equal(shard.codes(number), expected.codes)
            assert shard.clip(number).caption == expected.caption
    path.write_bytes(b"no shard")
    assert made_from_of(path) is None


def test_what_is_no_shard(tmp_path: Path) -> None:
    path = tmp_path / "codes-00000.parquet"
    with pytest.raises(ConfigError, match=r"holds no shards \(codes-\*.parquet\)"):
        shard_paths(tmp_path)
    with pytest.raises(StorageError, match="No such file"):
        read_shard(path)
    write_shard(path, CODEC, clips())
    whole = path.read_bytes()
    for end in (0, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:end])
        with pytest.raises(ConfigError, match="no whole Parquet file.*expected a shard of codes"):
            read_shard(path)
    write_manifest(path, [Clip("a", "a.wav", "ab", 1.0, 16_000, 1, "train", "g")])
    with pytest.raises(ConfigError, match="is no shard of codes: .*; preprocess again"):
        read_shard(path)
    with pytest.raises(AssertionError, match="b: codes"):
        write_shard(path, dataclasses.replace(CODEC, codebooks=8), clips()[1:])


def test_states_of_texts_come_back(tmp_path: Path) -> None:
    path = tmp_path / "codes-00000.parquet"
    draws = np.random.default_rng(2)
    caption, prompt = (draws.normal(size=(length, 5)).astype(np.float16) for length in (7, 12))
    told = [
        dataclasses.replace(clips()[0], caption_states=caption, prompt_states=prompt),
        clips()[1],
        dataclasses.replace(clips()[2], prompt_states=prompt),
    ]
    write_shard(path, CODEC, told, text_encoder=T5)
    shard = read_shard(path)
    assert shard.text_encoder == read_outline(path).text_encoder == T5
    for number, expected in enumerate(told):
        for name in ("caption_states", "prompt_states"):
            found, wanted = getattr(shard.clip(number), name), getattr(expected, name)
            assert (found is None) == (wanted is None)
            if wanted is not None:
                assert found.dtype == np.float16
                np.testing.assert_array_equal(found, wanted)
    bare = read_shard(path, with_states=False).clip(0)
    assert (bare.caption_states, bare.prompt_states) == (None, None)
    with pytest.raises(AssertionError, match="states are of a text encoder"):
        write_shard(path, CODEC, told)
    with pytest.raises(AssertionError, match=r"states \(7, 5\)"):
        write_shard(path, CODEC, told, text_encoder=dataclasses.replace(T5, width=6))


def test_shards_of_another_schema_are_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "codes-00000.parquet"
    with monkeypatch.context() as earlier:
        earlier.setattr("antiphon.data.shards.SCHEMA_VERSION", 1)
        write_shard(path, CODEC, clips(), "made so")
    assert made_from_of(path) is None
    for read in (read_shard, read_outline):
        with pytest.raises(ConfigError, match="schema version 1; expected 2: preprocess again"):
            read(path)
