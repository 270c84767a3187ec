"""From a folder of music to a model that plays: the commands as a person types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import soundfile

from antiphon.cli.main import run
from antiphon.data.manifest import read_manifest

pytestmark = pytest.mark.integration

PIECES = 40
CODEC = (
    "trainer.accelerator=cpu", "trainer.threads=1", "training.max_steps=160",
    "training.batch_size=4", "model.width=32", "model.encoder_blocks=1", "model.decoder_blocks=1",
    "model.codebook_size=64", "model.latent_width=16", "data.crop_seconds=0.64",
)  # fmt: skip
COMPOSER = (
    "trainer.accelerator=cpu", "trainer.threads=1", "training.max_steps=40",
    "training.batch_size=4", "training.learning_rate=3e-3", "training.warmup_steps=5",
    "model.hidden_size=64", "model.layers=2", "model.heads=4", "model.ffn_size=128",
    "model.text_width=32", "model.text_layers=1", "model.text_heads=2", "model.text_ffn_size=64",
    "model.vocabulary=400", "data.lengths=[2,4]", "log.every_steps=1",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ANTIPHON_CACHE", str(tmp_path / "cache"))


def does(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    code = run(list(arguments))
    out, err = capsys.readouterr()
    assert code == 0, err
    return out


def test_from_a_folder_of_music_to_a_model_that_plays(
    capsys: pytest.CaptureFixture[str],
) -> None:
    made = ("--duration", "5", "--sample-rate", "16000", "--output-dir", "some music")
    does(capsys, "data", "synthesize", "--count", str(PIECES), "--seed", "1", *made)
    rows = [
        {"path": clip.path, "caption": clip.caption, "licence": clip.licence}
        for clip in read_manifest(Path("some music/manifest.parquet")).clips
    ]
    Path("captions.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))

    prepared = ("--captions", "captions.jsonl", "--splits", "0.8,0.1,0.1")
    out = does(capsys, "data", "prepare", "some music", *prepared, "--output", "music.parquet")
    assert out == "music.parquet\n"
    codec = ("train", "codec", *CODEC, "data.manifest=music.parquet")
    assert does(capsys, *codec) == "runs/codec/codec\n"
    coded = ("--codec", "runs/codec/codec", "--output-dir", "codes")
    assert does(capsys, "data", "preprocess", "music.parquet", *coded) == "codes\n"
    assert "sound: 0 errors" in does(capsys, "data", "validate", "music.parquet")
    shown = does(capsys, "data", "inspect", "codes", "--batches", "2", *COMPOSER)
    assert "batch 1: columns [4, 4, 53], counted [4, 4, 53], tokens [4, " in shown
    assert "clips a second" in shown
    learned = ("train", "composer", *COMPOSER, "data.codes=codes", "data.codec=runs/codec/codec")
    assert does(capsys, *learned) == "runs/composer/composer\n"
    lines = map(json.loads, Path("runs/composer/metrics.jsonl").read_text().splitlines())
    losses = [line["losses"]["total"] for line in lines if "losses" in line]
    assert sum(losses[-5:]) / 5 < 0.95 * losses[0]
    assert does(capsys, "export", "runs/composer", "--output", "mine") == "mine\n"
    same = [
        Path(folder, "model.safetensors").read_bytes()
        for folder in ("mine", "runs/composer/composer")
    ]
    assert same[0] == same[1]
    played = ("generate", "calm jazz at 90 bpm", "--model", "mine", "--duration", "3", "--json")
    (piece,) = json.loads(does(capsys, *played, "--output", "a.wav"))["outputs"]
    assert piece["seconds"] == 3.0
    assert soundfile.info("a.wav").frames == 48_000
    assert (
        f"| CC0-1.0 | {len(read_manifest(Path('music.parquet')).clips)} |"
        not in Path("mine/README.md").read_text()
    )  # only those it learned from
    assert "| CC0-1.0 |" in Path("mine/README.md").read_text()
