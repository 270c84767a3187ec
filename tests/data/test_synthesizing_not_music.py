"""A corpus with a share that is not music: the music in it stays what it was."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from antiphon.cli.main import run
from antiphon.data import synthesizing
from antiphon.data.manifest import Clip, Manifest, read_manifest
from antiphon.data.not_music import HELD_OUT_KINDS, KINDS
from antiphon.data.running import RunOptions
from antiphon.data.sounds.espeak import Espeak
from antiphon.data.synthesizing import Recipe, synthesize
from antiphon.data.tunes import piece_split
from antiphon.errors import ConfigError

pytestmark = pytest.mark.integration

RECIPE = Recipe(2, seed=5, seconds=2.0, sample_rate=16_000)


@pytest.fixture(autouse=True)
def _no_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same corpora on every machine."""
    monkeypatch.setattr(synthesizing, "find_espeak", lambda: None)


def kind_of(clip: Clip) -> str:
    assert clip.source is not None
    return clip.source.removeprefix("synthesized: ")


def sound_of(manifest: Manifest, clip: Clip) -> np.ndarray:
    samples, _ = soundfile.read(manifest.path_of(clip))
    return samples


def test_without_a_share_keys_and_recipe_are_those_of_before(tmp_path: Path) -> None:
    """Written down before there was such a share: corpora of then are added to, not refused."""
    plain = replace(RECIPE, seconds=6.0)
    synthesize(plain, tmp_path / "plain", RunOptions(1))
    lines = (tmp_path / "plain/.synthesize.jsonl").read_text().splitlines()
    assert {json.loads(line)["key"] for line in lines} == {
        "ac5be1f9dd3bb46d0ba68db4a853ab8f",
        "6a984f78d4659a7c8e08e4ef45929d55",
    }
    said = json.loads((tmp_path / "plain/recipe.json").read_text())
    assert list(said) == [
        "count", "seed", "seconds", "sample_rate", "channels", "renderers", "soundfonts",
        "variation", "genres", "version",
    ]  # fmt: skip
    # A ledger of then, which says nothing of music.
    ledger = tmp_path / "plain/.synthesize.jsonl"
    assert '"music": true' in ledger.read_text()
    ledger.write_text(ledger.read_text().replace(', "music": true', ""))
    result = synthesize(replace(plain, count=3), tmp_path / "plain", RunOptions(1))
    assert [o.is_new for o in result.outcomes if o is not None] == [False, False, True]
    clips = read_manifest(tmp_path / "plain/manifest.parquet").clips
    assert [clip.music for clip in clips] == [True, True, True]


def test_the_share_is_kept_and_the_music_stays(tmp_path: Path) -> None:
    numbers = range(4000)
    for share in (0.1, 0.3):
        recipe = replace(RECIPE, not_music=share)
        not_music = [n for n in numbers if not synthesizing.is_music(recipe, n)]
        assert len(not_music) / 4000 == pytest.approx(share, abs=0.02)
        more = replace(RECIPE, not_music=share + 0.2)
        assert not any(synthesizing.is_music(more, n) for n in not_music)
    assert all(synthesizing.is_music(RECIPE, n) for n in numbers)

    half = replace(RECIPE, count=10, not_music=0.5)
    assert not synthesize(half, tmp_path / "half", RunOptions(1)).failures
    synthesize(replace(half, not_music=0.0), tmp_path / "none", RunOptions(1))
    mixed, plain = (
        read_manifest(tmp_path / name / "manifest.parquet") for name in ("half", "none")
    )
    assert 2 <= sum(clip.music is True for clip in mixed.clips) <= 8
    for clip, before in zip(mixed.clips, plain.clips, strict=True):
        assert (clip.split, clip.group, clip.path) == (before.split, before.group, before.path)
        if clip.music:
            assert clip == before
            continue
        assert (clip.music, clip.controls, clip.score) == (False, None, None)
        assert kind_of(clip) in KINDS
        assert clip.caption == f"{kind_of(clip)}, not music"
        assert soundfile.info(mixed.path_of(clip)).frames == 32_000
    # Again: nothing is missing, though these have no score.
    again = synthesize(half, tmp_path / "half", RunOptions(1))
    assert not any(outcome.is_new for outcome in again.outcomes if outcome is not None)


def test_splits_and_silence_of_recorded_sounds(tmp_path: Path) -> None:
    recipe = replace(RECIPE, count=118, not_music=1.0, variation="strong", channels=2)
    assert not synthesize(recipe, tmp_path, RunOptions(1)).failures
    manifest = read_manifest(tmp_path / "manifest.parquet")
    kinds = [kind_of(clip) for clip in manifest.clips]
    assert len(set(kinds)) > 12
    held_out = [n for n, kind in enumerate(kinds) if kind in HELD_OUT_KINDS]
    assert held_out
    assert {piece_split(number) for number in held_out} == {"test"}
    levels = []
    for clip, kind in zip(manifest.clips, kinds, strict=True):
        samples = sound_of(manifest, clip)
        assert samples.shape == (32_000, 2)
        if kind == "silence":  # no gain makes a noise of its dither
            assert np.sqrt(np.mean(samples**2)) < 0.01
        else:
            levels.append(20 * np.log10(np.abs(samples).max()))
    assert "silence" in kinds
    assert -26 < min(levels) < -15
    assert -6 < max(levels) <= 0


def test_another_speaker_makes_another_corpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(RECIPE, not_music=0.5)
    synthesize(recipe, tmp_path, RunOptions(1))
    assert json.loads((tmp_path / "recipe.json").read_text())["espeak"] is None
    espeak = Espeak(Path("/bin/false"), "eSpeak NG text-to-speech: 9")
    monkeypatch.setattr(synthesizing, "find_espeak", lambda: espeak)
    with pytest.raises(ConfigError, match="made another way .*expected the same .*espeak-ng"):
        synthesize(recipe, tmp_path, RunOptions(1))


@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
def test_shares_that_cannot_be(share: float) -> None:
    with pytest.raises(ConfigError, match="the share that is not music is .*; expected 0 to 1"):
        Recipe(1, not_music=share)


def test_a_rate_too_low_for_them_is_refused() -> None:
    assert Recipe(1, sample_rate=4000).sample_rate == 4000
    with pytest.raises(ConfigError, match="sample_rate is 4000 Hz; expected 8000 Hz or more"):
        Recipe(1, sample_rate=4000, not_music=0.1)


def test_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    made = ["data", "synthesize", "--count", "6", "--duration", "2", "--sample-rate", "16000"]
    assert run([*made, "--not-music", "1", "--output-dir", "sounds", "--jobs", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["pieces"] == 6
    clips = read_manifest(Path("sounds/manifest.parquet")).clips
    assert [clip.music for clip in clips] == [False] * 6
    assert run([*made, "--output-dir", "sounds"]) == 2  # of another share
    assert run([*made, "--not-music", "1.2", "--output-dir", "other"]) == 2
    assert "'--not-music': Input should be less than or equal to 1" in capsys.readouterr().err
    assert not Path("other").exists()
