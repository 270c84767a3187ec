"""`antiphon data synthesize` and `preprocess` as a user types them."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import pytest

from antiphon.cli.main import run
from antiphon.data.manifest import read_manifest, write_manifest
from antiphon.data.shards import read_shard, shard_paths

sys.path.append(str(Path(__file__).parents[1] / "compose"))

from magnitude_models import trained_model

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ANTIPHON_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def codec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("codec")
    trained_model().save(folder)
    return folder


def test_pieces_to_codes(capsys: pytest.CaptureFixture[str], codec: Path) -> None:
    made = ["data", "synthesize", "--count", "5", "--duration", "4", "--sample-rate", "16000"]
    assert run([*made, "--seed", "3", "--output-dir", "a corpus", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == {"output": "a corpus/manifest.parquet", "pieces": 5, "failed": 0}
    assert "5 of 5 pieces" in err
    clips = read_manifest(Path("a corpus/manifest.parquet")).clips

    encoding = ["data", "preprocess", "a corpus/manifest.parquet", "--output-dir", "codes"]
    assert run([*encoding, "--codec", str(codec)]) == 0
    out, err = capsys.readouterr()
    assert out == "codes\n"
    assert "5 of 5 clips" in err
    (path,) = shard_paths(Path("codes"))
    shard = read_shard(path)
    assert shard.ids == tuple(clip.id for clip in clips)
    assert shard.frames.tolist() == [400] * 5  # of 10 ms each
    first = shard.clip(0)
    assert (first.caption, first.controls) == (clips[0].caption, clips[0].controls)
    assert first.codes.max() < 32
    assert first.score_frames is not None
    assert first.score_frames.shape == (400, shard.codec.score_width)
    before = path.read_bytes()
    assert run([*encoding, "--codec", str(codec)]) == 0
    assert path.read_bytes() == before


def test_a_clip_that_cannot_be_read_is_left_out_and_told(
    capsys: pytest.CaptureFixture[str], codec: Path
) -> None:
    made = ["data", "synthesize", "--count", "3", "--duration", "4", "--output-dir", "corpus"]
    assert run(made) == 0
    Path("corpus/000/000001.flac").write_text("no sound")
    encoding = ["data", "preprocess", "corpus/manifest.parquet", "--output-dir", "codes"]
    capsys.readouterr()
    assert run([*encoding, "--codec", str(codec), "--json"]) == 3
    out, err = capsys.readouterr()
    assert json.loads(out)["clips"] == 2
    assert json.loads(out)["failed"] == 1
    assert "error: synth-0-000001: " in err
    (path,) = shard_paths(Path("codes"))
    assert read_shard(path).ids == ("synth-0-000000", "synth-0-000002")
    # Mended, and tried again when asked to.
    Path("corpus/000/000001.flac").unlink()
    assert run(made) == 0
    assert run([*encoding, "--codec", str(codec)]) == 3
    assert run([*encoding, "--codec", str(codec), "--retry-failed"]) == 0
    assert len(read_shard(path)) == 3


def test_what_took_the_place_of_a_shard_is_noticed(codec: Path) -> None:
    made = ["data", "synthesize", "--count", "3", "--duration", "4", "--output-dir", "corpus"]
    assert run(made) == 0
    assert run([*made, "--seed", "1"]) == 2  # pieces of another recipe are there
    encoding = ["data", "preprocess", "corpus/manifest.parquet", "--output-dir", "codes"]
    assert run([*encoding, "--codec", str(codec)]) == 0
    (path,) = shard_paths(Path("codes"))
    before = path.read_bytes()
    clips = read_manifest(Path("corpus/manifest.parquet")).clips
    told = [dataclasses.replace(clip, caption="of something else") for clip in clips]
    write_manifest(Path("corpus/manifest.parquet"), told)
    assert run([*encoding, "--codec", str(codec)]) == 0
    assert path.read_bytes() != before
    write_manifest(Path("corpus/manifest.parquet"), clips)
    assert run([*encoding, "--codec", str(codec)]) == 0
    assert path.read_bytes() == before
    path.unlink()
    assert run([*encoding, "--codec", str(codec)]) == 0
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "code", "match"),
    [
        (["synthesize", "--count", "2", "--renderer", "x"], 2, "renderer is 'x'; expected one of"),
        (["synthesize", "--count", "2", "--duration", "1"], 2, "a piece lasts 1 s; expected 2 to"),
        (["synthesize", "--count", "2", "--genre", "polka"], 2, "genre 'polka' is not known"),
        (["preprocess", "none.parquet", "--codec", "."], 74, "cannot read 'none.parquet'"),
    ],
)
def test_what_is_refused(
    capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, match: str
) -> None:
    assert run(["data", *arguments, "--output-dir", "out"]) == code
    assert f"error: {match}" in capsys.readouterr().err
    assert not Path("out").exists()
