"""What `export` writes, loaded where the checkpoint is not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from t5_models import CARD, tiny_musicgen
from transformers import MusicgenForConditionalGeneration, MusicgenMelodyForConditionalGeneration

from antiphon.compose.composer import load_composer
from antiphon.compose.conversion import export as exporting
from antiphon.compose.conversion.export import export
from antiphon.compose.loading import LoadOptions, load_musicgen
from antiphon.errors import ConfigError, EngineError, ModelError
from antiphon.models import find, locate, verify
from antiphon.models.manifest import Model, ModelFile
from antiphon.models.record import Record, write_record

pytestmark = pytest.mark.unit

KINDS: dict[str, dict[str, bool]] = {
    "mono": {}, "stereo": {"stereo": True}, "melody": {"melody": True},
}  # fmt: skip


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {}
    for kind, options in KINDS.items():
        made[kind] = tmp_path_factory.mktemp(kind) / "tiny"
        tiny_musicgen(made[kind], **options)
    return made


@pytest.fixture
def mono(checkpoints: dict[str, Path]) -> Path:
    return checkpoints["mono"]


@pytest.fixture(scope="module")
def exported(checkpoints: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The mono checkpoint at 8 bits."""
    folder = tmp_path_factory.mktemp("exported") / "out"
    export(checkpoints["mono"], folder, threads=1)
    return folder


@pytest.mark.parametrize(
    ("kind", "precision"), [("mono", "fp32"), ("stereo", "8bit"), ("melody", "4bit")]
)
def test_graphs_alone_play_what_the_checkpoint_plays(
    checkpoints: dict[str, Path], kind: str, precision: str, tmp_path: Path
) -> None:
    source = checkpoints[kind]
    made = export(source, tmp_path / "out", precision=precision, threads=1)
    assert made.parity.max_difference <= made.parity.tolerance == exporting.TOLERANCES[precision]
    assert not list(made.output.glob("model*.safetensors"))
    moved = tmp_path / "elsewhere"
    made.output.rename(moved)

    ours = load_musicgen(source, LoadOptions(precision, 1), tmp_path / "cache")
    alone = load_composer(moved, LoadOptions(threads=1))
    request = {"duration_seconds": 1.0, "seed": 3}
    piece = alone.generate("slow jazz piano", **request)
    expected = type(alone)(ours).generate("slow jazz piano", **request)
    np.testing.assert_array_equal(piece.waveform.samples, expected.waveform.samples)
    assert piece.provenance["settings"] == expected.provenance["settings"]


def test_nothing_is_written_to_the_cache(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTIPHON_CACHE", str(tmp_path / "cache"))
    load_musicgen(exported, LoadOptions(threads=1))
    assert not (tmp_path / "cache").exists()


def test_what_each_file_is(exported: Path) -> None:
    told = json.loads((exported / "antiphon.json").read_text())
    names = {p.relative_to(exported).as_posix() for p in exported.rglob("*") if p.is_file()}
    assert names == {*told["files"], "antiphon.json", "antiphon-model.json"}
    assert told["precision"] == "8bit"
    assert (
        told["files"]["decoder/step.onnx"] == "one step of the decoder: codes and cache to logits"
    )


def test_origin_and_licence_go_along(mono: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(mono, source)
    record = Record("facebook/musicgen-small", "c" * 40, "x", (ModelFile("config.json"),))
    write_record(source, record, keep_others=False)
    (tmp_path / "models").mkdir()
    export(source, tmp_path / "models/small-8bit", threads=1)
    folder = find("small-8bit", tmp_path / "models")
    told = json.loads((folder / "antiphon.json").read_text())
    origin = ("facebook/musicgen-small", "c" * 40, "CC-BY-NC 4.0")
    assert (told["model"], told["revision"], told["licence"]) == origin
    made = load_composer("small-8bit", LoadOptions(threads=1), models=tmp_path / "models")
    piece = made.generate("jazz", duration_seconds=1, seed=1)
    assert tuple(piece.provenance[n] for n in ("model", "revision", "licence")) == origin

    stored = locate(Model("small-8bit"), tmp_path / "models")
    assert stored.state == "complete"
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert stored.size_bytes == size - (folder / "antiphon-model.json").stat().st_size
    assert {check.verdict for check in verify(stored)} == {"ok"}
    (folder / "decoder/step.weights").unlink()
    assert locate(Model("small-8bit"), tmp_path / "models").state == "partial"


def test_options_that_are_not_in_the_folder(exported: Path) -> None:
    with pytest.raises(ConfigError, match="exported at 8bit; expected --precision 8bit or none"):
        load_musicgen(exported, LoadOptions("fp32", 1))
    with pytest.raises(
        ConfigError, match="for processors, which --device cuda is not for; expected --de"
    ):
        load_musicgen(exported, LoadOptions(device="cuda"))
    with pytest.raises(ConfigError, match="which --compile is not for"):
        load_musicgen(exported, LoadOptions(compile=True))
    assert load_musicgen(exported, LoadOptions("8bit", 1, "cpu")).sample_rate == 32_000
    with pytest.raises(ConfigError, match="exported folder already, at 8bit; expected --format tr"):
        export(exported, exported.parent / "again")


def test_a_damaged_folder(exported: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(exported, folder)
    (folder / "decoder/step.weights").unlink()
    with pytest.raises(ModelError, match=r"lacks decoder/step.weights, which antiphon.json names"):
        load_musicgen(folder, LoadOptions(threads=1))
    text = (folder / "antiphon.json").read_text()
    (folder / "antiphon.json").write_text(text.replace('"graph_format": ', '"graph_format": 9'))
    with pytest.raises(ModelError, match="holds graphs of the format 9.*export the checkpoint"):
        load_musicgen(folder, LoadOptions(threads=1))
    (folder / "antiphon.json").write_text('{"about": 3}')
    with pytest.raises(ModelError, match=r"antiphon.json is not valid.*export the checkpoint"):
        load_musicgen(folder, LoadOptions(threads=1))


@pytest.mark.parametrize("kind", ["mono", "melody"])
def test_half_precision_is_half_the_size_and_transformers_loads_it(
    checkpoints: dict[str, Path], kind: str, tmp_path: Path
) -> None:
    made = export(
        checkpoints[kind], tmp_path / "out", format="transformers", precision="fp16", threads=1
    )
    melody, text = MusicgenMelodyForConditionalGeneration, MusicgenForConditionalGeneration
    model = melody if kind == "melody" else text
    loaded, info = model.from_pretrained(made.output, output_loading_info=True)
    assert not any(info.values())
    assert loaded.dtype == torch.float16
    stored = load_file(made.output / "model.safetensors")
    for name, values in load_file(checkpoints[kind] / "model.safetensors").items():
        codec = name.startswith("audio_encoder.")
        assert torch.equal(stored[name], values if codec else values.half()), name
    assert loaded.generation_config.decoder_start_token_id == CARD


def test_full_precision_again(mono: Path, tmp_path: Path) -> None:
    half = export(mono, tmp_path / "half", format="transformers", precision="fp16", threads=1)
    full = export(half.output, tmp_path / "full", format="transformers", threads=1)
    assert (full.precision, full.parity.max_difference) == ("fp32", 0.0)
    stored = load_file(full.output / "model.safetensors")
    for name, values in load_file(half.output / "model.safetensors").items():
        assert torch.equal(stored[name], values.float())
    loaded = MusicgenForConditionalGeneration.from_pretrained(full.output)
    assert loaded.dtype == torch.float32


def test_values_that_half_precision_lacks(mono: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(mono, source)
    tensors = load_file(source / "model.safetensors")
    tensors["decoder.lm_heads.0.weight"][0, 0] = 1e6
    save_file(tensors, source / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=r"'decoder.lm_heads.0.weight' has values up to 1e\+06"):
        export(source, tmp_path / "out", format="transformers", precision="fp16", threads=1)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_what_there_is_not(mono: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--format is 'gguf'; expected one of onnx, transformers"):
        export(mono, tmp_path / "out", format="gguf")
    with pytest.raises(ConfigError, match="'fp16'; expected for onnx one of 8bit, fp32, 4bit"):
        export(mono, tmp_path / "out", precision="fp16")
    with pytest.raises(ConfigError, match="'4bit'; expected for transformers one of fp32, fp16"):
        export(mono, tmp_path / "out", format="transformers", precision="4bit")
    with pytest.raises(ModelError, match="none is no folder"):
        export(tmp_path / "none", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_an_interruption_and_a_failed_check_leave_nothing(
    mono: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages: list[str] = []

    def interrupt(stage: str, done: int, total: int) -> None:
        stages.append(stage)
        if stage == "checking the source":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(mono, tmp_path / "out", threads=1, on_progress=interrupt)
    assert list(dict.fromkeys(stages)) == ["preparing", "checking the source"]
    assert list(tmp_path.iterdir()) == []

    monkeypatch.setitem(exporting.TOLERANCES, "8bit", 1e-6)  # type: ignore[misc]
    with pytest.raises(EngineError, match=r"differs from its source by 0\.0.*at most 1e-06"):
        export(mono, tmp_path / "out", threads=1)
    assert list(tmp_path.iterdir()) == []
