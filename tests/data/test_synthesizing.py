"""Synthesized pieces: what is said of them is true, and each is a function of its number."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from antiphon.controls import Controls
from antiphon.data.manifest import read_manifest
from antiphon.data.running import RunOptions
from antiphon.data.synthesizing import Recipe, synthesize, write_piece
from antiphon.data.tunes import piece_split
from antiphon.data.wording import _read
from antiphon.errors import ConfigError, DependencyError
from antiphon.score import Score
from antiphon.synth import FluidSynthPlayer

pytestmark = pytest.mark.integration

RECIPE = Recipe(3, seed=5, seconds=6.0, sample_rate=16_000)
DEEP = Recipe(1, seconds=30.0)


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name[0] != ".")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_a_corpus_is_the_same_whoever_makes_it(tmp_path: Path) -> None:
    assert not synthesize(RECIPE, tmp_path / "one", RunOptions(1)).failures
    synthesize(Recipe(1, seed=5, seconds=6.0, sample_rate=16_000), tmp_path / "two", RunOptions(1))
    result = synthesize(RECIPE, tmp_path / "two", RunOptions(2))
    assert [o.is_new for o in result.outcomes if o is not None] == [False, True, True]
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    manifest = read_manifest(tmp_path / "one/manifest.parquet")
    assert [clip.id for clip in manifest.clips] == [f"synth-5-{n:06}" for n in range(3)]
    for number, clip in enumerate(manifest.clips):
        sound = soundfile.info(manifest.path_of(clip))
        assert (sound.frames, sound.samplerate, sound.channels) == (96_000, 16_000, 1)
        assert clip.score is not None
        score = Score.from_json((manifest.folder / clip.score).read_bytes())
        assert score == write_piece(RECIPE, number).score
        assert clip.controls is not None
        assert clip.controls["tempo"] == pytest.approx(score.tempo_bpm, abs=0.01)


def test_a_small_corpus_has_something_for_validation(tmp_path: Path) -> None:
    splits = [piece_split(number) for number in range(1000)]
    assert splits[:8].count("validation") == 1
    assert [splits.count(name) / 1000 for name in ("train", "validation", "test")] == [
        0.9, 0.05, 0.05
    ]  # fmt: skip
    # A ledger of an earlier version said other splits of the same pieces.
    recipe = Recipe(9, seconds=2.0, sample_rate=16_000)
    synthesize(Recipe(8, seconds=2.0, sample_rate=16_000), tmp_path, RunOptions(1))
    ledger = tmp_path / ".synthesize.jsonl"
    ledger.write_text(ledger.read_text().replace('"validation"', '"train"'))
    synthesize(recipe, tmp_path, RunOptions(1))
    clips = read_manifest(tmp_path / "manifest.parquet").clips
    assert [clip.split for clip in clips] == splits[:9]


def test_captions_say_what_is_true() -> None:
    said: dict[str, int] = {}
    texts = set()
    for number in range(400):
        piece = write_piece(DEEP, number)
        truth = piece.truth.to_dict()
        texts.add(piece.caption)
        for name, value in _read(piece.caption).items():
            said[name] = said.get(name, 0) + 1
            true = truth.get(name)
            if name == "tempo":
                assert abs(float(str(value)) - float(str(true))) <= 0.5, piece.caption
            elif isinstance(value, list):
                assert isinstance(true, list), piece.caption
                assert set(value) <= set(true), piece.caption
            else:
                assert value == true, piece.caption
    assert min(said[name] for name in ("genre", "tempo", "key", "instruments", "mood")) > 100
    assert said["without"] > 50
    assert said["metre"] > 30
    assert len(texts) == 400


def test_what_is_drawn_is_varied() -> None:
    pieces = [write_piece(DEEP, number) for number in range(400)]
    truths = [piece.truth for piece in pieces]
    assert len({truth.genre for truth in truths}) == 14
    assert len({truth.key for truth in truths}) == 24
    drumless = sum("drums" in truth.without for truth in truths) / len(truths)
    assert 0.3 < drumless < 0.55
    for piece in pieces:
        played = {track.instrument for track in piece.score.tracks if track.notes}
        assert played.isdisjoint(piece.truth.without)
        assert played.issuperset(piece.truth.instruments)


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"count": 0}, "count is 0; expected 1 or more"),
        ({"seconds": 1.0}, "lasts 1 s; expected 2 to 600 s"),
        ({"channels": 3}, "channels is 3; expected 1 or 2"),
        ({"genres": ("polka",)}, "genre 'polka' is not known"),
        ({"soundfonts": (Path("x.sf2"),)}, "a soundfont is for FluidSynth"),
        ({"renderers": ("piano",)}, "renderer is 'piano'; expected one of synth, fluidsynth"),
        ({"variation": "wild"}, "variation is 'wild'; expected one of none, light, strong"),
    ],
)
def test_recipes_that_cannot_be_made(values: dict[str, object], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        Recipe(**{"count": 1, **values})  # type: ignore[arg-type]


def test_controls_are_whole() -> None:
    assert Controls.from_options(write_piece(DEEP, 0).truth.to_dict()) == write_piece(DEEP, 0).truth


def test_a_piece_is_the_same_in_every_process() -> None:
    """A set's order is another one in each."""
    program = (
        "from antiphon.data.synthesizing import Recipe, write_piece\n"
        "for number in range(60):\n"
        "    piece = write_piece(Recipe(1), number)\n"
        "    print(piece.truth, piece.caption)\n"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert said[0] == said[1]


def test_fluidsynth_plays_the_same_pieces(tmp_path: Path) -> None:
    try:
        FluidSynthPlayer().__exit__()
    except DependencyError as error:
        pytest.skip(str(error))
    recipe = Recipe(2, seed=5, seconds=6.0, renderers=("fluidsynth",))
    assert not synthesize(recipe, tmp_path, RunOptions(1)).failures
    manifest = read_manifest(tmp_path / "manifest.parquet")
    assert manifest.clips[0].caption == write_piece(RECIPE, 0).caption
    assert soundfile.info(manifest.path_of(manifest.clips[0])).frames == 6 * 32_000
