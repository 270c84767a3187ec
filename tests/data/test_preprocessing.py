"""Clips to shards: which clips are in which, with what, and what makes them anew."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from antiphon.audio import Waveform, write
from antiphon.data import preprocessing
from antiphon.data.manifest import Clip, Manifest
from antiphon.data.preprocessing import Coding, Preprocessed, preprocess
from antiphon.data.running import Result, RunOptions
from antiphon.data.shards import read_shard, shard_paths
from antiphon.data.text_states import TextStates, open_text_encoder
from antiphon.errors import ConfigError, ModelError

sys.path.append(str(Path(__file__).parents[1] / "compose"))

from magnitude_models import trained_model
from t5_models import tiny_musicgen

pytestmark = pytest.mark.integration

RATE = 16_000
CONTROLS = {"tempo": 90.0, "mood": ["sad"]}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A codec, and two text encoders."""
    folder = tmp_path_factory.mktemp("models")
    (folder / "codec").mkdir()
    trained_model().save(folder / "codec")
    for seed, name in enumerate(("t5", "other")):
        (folder / name).mkdir()
        tiny_musicgen(folder / name, seed=seed)
    return folder


def manifest_of(folder: Path, *seconds: float) -> Manifest:
    """A manifest of noise: clips of so many seconds."""
    clips = []
    draws = np.random.default_rng(0)
    for number, length in enumerate(seconds):
        samples = draws.normal(0, 0.1, (1, round(length * RATE))).astype(np.float32)
        write(folder / f"{number}.wav", Waveform(samples, RATE))
        clip = Clip(str(number), f"{number}.wav", "ab", length, RATE, 1, "train", str(number))
        clips.append(clip)
    return Manifest(folder, tuple(clips))


def ids_of(folder: Path) -> list[tuple[str, ...]]:
    return [read_shard(path).ids for path in shard_paths(folder)]


def new_in(done: Preprocessed) -> int:
    return sum(outcome is not None and outcome.is_new for outcome in done.result.outcomes)


def test_a_shard_is_full_by_clips_or_by_sound(tmp_path: Path, models: Path) -> None:
    manifest = manifest_of(tmp_path, 1.0, 1.0, 1.0, 4.0, 1.0, 0.5, 0.5, 0.5, 0.5)
    coding = Coding(models / "codec", tmp_path / "cache", shard_clips=4, shard_seconds=2.5)
    preprocess(manifest, coding, tmp_path / "codes", RunOptions(1))
    expected = [("0", "1"), ("2",), ("3",), ("4", "5", "6", "7"), ("8",)]
    assert ids_of(tmp_path / "codes") == expected


def test_a_shard_of_much_sound_has_more_time(
    tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[float] = []

    def run_items(
        items: object, work: object, ledger: Path, options: RunOptions, _: object
    ) -> Result:
        told.append(options.timeout_seconds)
        return Result(())

    monkeypatch.setattr(preprocessing, "run_items", run_items)
    (tmp_path / "codes").mkdir()
    manifest = manifest_of(tmp_path, 1.0, 1.0)
    long = dataclasses.replace(manifest.clips[0], id="long", seconds=3600.0)
    coding = Coding(models / "codec", tmp_path / "cache")
    options = RunOptions(1, timeout_seconds=100.0)
    for clips in (manifest.clips, (*manifest.clips, long)):
        preprocess(Manifest(tmp_path, clips), coding, tmp_path / "codes", options)
    assert told == pytest.approx([100.0, 600.0], rel=0.01)


def test_text_states_go_with_the_codes(tmp_path: Path, models: Path) -> None:
    manifest = manifest_of(tmp_path, 0.5, 0.5, 0.5, 0.5)
    bare = manifest.clips
    clips = (
        dataclasses.replace(bare[0], caption="slow jazz piano", controls=CONTROLS),
        dataclasses.replace(bare[1], caption="fast music"),
        dataclasses.replace(bare[2], controls=CONTROLS),
        bare[3],
    )
    manifest = Manifest(tmp_path, clips)
    cache, codes = tmp_path / "cache", tmp_path / "codes"
    coding = Coding(models / "codec", cache, text_encoder=models / "t5")
    done = preprocess(manifest, coding, codes, RunOptions(1))
    assert (done.clips, new_in(done)) == (4, 1)
    shard = read_shard(codes / "codes-00000.parquet")
    assert shard.text_encoder is not None
    assert (shard.text_encoder.name, shard.text_encoder.width) == ("t5", 32)
    texts = TextStates(open_text_encoder(models / "t5", cache))
    for number, clip in enumerate(clips):
        found = shard.clip(number)
        for states, expected in (
            (found.caption_states, texts.of_caption(clip.caption)),
            (found.prompt_states, texts.of_prompt(clip.caption, clip.controls)),
        ):
            assert (states is None) == (expected is None)
            np.testing.assert_array_equal(states, expected)
    both = [(c.caption_states is None, c.prompt_states is None) for c in map(shard.clip, range(4))]
    assert both == [(False, False), (False, True), (True, False), (True, True)]
    # The same again is there; another encoder, or none, is not.
    assert new_in(preprocess(manifest, coding, codes, RunOptions(1))) == 0
    for place in (models / "other", None):
        other = dataclasses.replace(coding, text_encoder=place)
        assert new_in(preprocess(manifest, other, codes, RunOptions(1))) == 1
        assert new_in(preprocess(manifest, other, codes, RunOptions(1))) == 0
    plain = read_shard(codes / "codes-00000.parquet")
    assert plain.text_encoder is None
    assert plain.clip(0).caption_states is None
    np.testing.assert_array_equal(plain.codes(0), shard.codes(0))


def test_states_beyond_half_precision_are_told(tmp_path: Path, models: Path) -> None:
    loud = tmp_path / "loud"
    loud.mkdir()
    for path in (models / "t5").iterdir():
        (loud / path.name).write_bytes(path.read_bytes())
    weights = load_file(loud / "model.safetensors")
    weights["text_encoder.encoder.final_layer_norm.weight"] *= 1e6
    save_file(weights, loud / "model.safetensors")
    manifest = manifest_of(tmp_path, 0.5, 0.5)
    told = dataclasses.replace(manifest.clips[1], caption="slow jazz")
    coding = Coding(models / "codec", tmp_path / "cache", text_encoder=loud)
    done = preprocess(
        Manifest(tmp_path, (manifest.clips[0], told)), coding, tmp_path / "codes", RunOptions(1)
    )
    assert ids_of(tmp_path / "codes") == [("0",)]
    (failure,) = done.unread
    assert failure.id == "1"
    assert "states of 'slow jazz' reach" in failure.reason
    with pytest.raises(ModelError):
        preprocess(
            manifest,
            dataclasses.replace(coding, text_encoder=models / "codec"),
            tmp_path / "none",
            RunOptions(1),
        )
    assert not (tmp_path / "none").exists()


def test_a_shard_that_was_cut_is_made_anew(tmp_path: Path, models: Path) -> None:
    manifest = manifest_of(tmp_path, 0.5, 0.5, 0.5)
    coding = Coding(models / "codec", tmp_path / "cache", shard_clips=1)
    preprocess(manifest, coding, tmp_path / "codes", RunOptions(1))
    path = shard_paths(tmp_path / "codes")[1]
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert new_in(preprocess(manifest, coding, tmp_path / "codes", RunOptions(1))) == 1
    assert path.read_bytes() == whole
    # So is one whose codes are damaged and whose end is not.
    path.write_bytes(whole[:99] + bytes([whole[99] ^ 255]) + whole[100:])
    with pytest.raises(ConfigError, match="CRC checksum verification failed"):
        read_shard(path)
    assert new_in(preprocess(manifest, coding, tmp_path / "codes", RunOptions(1))) == 1
    assert path.read_bytes() == whole
