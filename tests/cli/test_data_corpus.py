"""`antiphon data synthesize`, `preprocess` and `inspect` as a user types them."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from antiphon.cli.main import run
from antiphon.data.manifest import read_manifest, write_manifest
from antiphon.data.shards import (
    CodecIdentity,
    CodedClip,
    TextEncoderIdentity,
    read_shard,
    shard_paths,
    write_shard,
)

sys.path.append(str(Path(__file__).parents[1] / "compose"))

from magnitude_models import trained_model
from t5_models import tiny_musicgen

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


def test_states_of_texts_go_with_the_codes(capsys: pytest.CaptureFixture[str], codec: Path) -> None:
    made = ["data", "synthesize", "--count", "2", "--duration", "2", "--output-dir", "corpus"]
    assert run(made) == 0
    tiny_musicgen(Path("musicgen"))
    encoding = ["data", "preprocess", "corpus/manifest.parquet", "--codec", str(codec)]
    assert run([*encoding, "--output-dir", "codes", "--text-encoder", "musicgen"]) == 0
    (path,) = shard_paths(Path("codes"))
    states = read_shard(path).clip(0).caption_states
    assert states is not None
    assert states.shape[1] == 32
    capsys.readouterr()
    assert run([*encoding, "--output-dir", "out", "--text-encoder", str(codec)]) == 1
    assert "error: " in capsys.readouterr().err
    assert not Path("out").exists()


SMALL = (
    "training.batch_size=2", "model.hidden_size=16", "model.layers=1", "model.heads=2",
    "model.ffn_size=16", "model.text_width=8", "model.text_layers=1", "model.text_heads=2",
    "model.text_ffn_size=16", "model.vocabulary=100", "data.lengths=[1]",
)  # fmt: skip


def write_codes(folder: Path, *, encoder: TextEncoderIdentity | None = None) -> None:
    """Two shards of four clips."""
    folder.mkdir(parents=True)
    for shard in range(2):
        clips = [
            CodedClip(f"{shard}-{n}", "train", np.zeros((2, 50), np.uint16), "slow jazz piano")
            for n in range(4)
        ]
        path = folder / f"codes-{shard:05}.parquet"
        write_shard(path, CodecIdentity("ab", "tiny", 16_000, 1, 25, 2, 8), clips, "", encoder)


@pytest.mark.parametrize("name", ["it's", "a ${b}", "a\\b' c"])
def test_codes_in_a_folder_of_any_name(capsys: pytest.CaptureFixture[str], name: str) -> None:
    write_codes(Path(name))
    assert run(["data", "inspect", name, *SMALL]) == 0
    out = capsys.readouterr().out
    assert "train: 8 clips, 0.00 h, codec tiny, no text states\nbatch 0: columns [2, 2," in out
    assert out.count("slow jazz piano") == 2


def test_inspect_tells_of_states(capsys: pytest.CaptureFixture[str]) -> None:
    write_codes(Path("codes"), encoder=TextEncoderIdentity("ef", "t5-base", 768))
    assert run(["data", "inspect", "codes", *SMALL]) == 0
    assert "codec tiny, text states of t5-base, width 768\n" in capsys.readouterr().out
    assert run(["data", "inspect", "codes", *SMALL, "--json", "--batches", "2"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["batch"], line["text_states_width"]) for line in lines] == [(0, 768), (1, 768)]
    assert lines[0]["texts"] == ["slow jazz piano"] * 2
    assert lines[0]["damaged"] == []


def test_a_shard_that_is_cut_is_named_or_skipped(capsys: pytest.CaptureFixture[str]) -> None:
    write_codes(Path("codes"))
    path = Path("codes/codes-00001.parquet")
    path.write_bytes(path.read_bytes()[:900])
    assert run(["data", "inspect", "codes", *SMALL]) == 2
    assert "error: codes/codes-00001.parquet is no whole Parquet file" in capsys.readouterr().err
    assert run(["data", "inspect", "codes", "--skip-damaged", *SMALL]) == 0
    out, err = capsys.readouterr()
    assert "train: 4 clips" in out
    assert err == "damaged, left out: codes/codes-00001.parquet\n"


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
