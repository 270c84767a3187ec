"""Composers that begin as a checkpoint: LoRA, the whole decoder, or the score adapter alone."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel
from safetensors.numpy import load_file
from transformers import MusicgenForConditionalGeneration

from antiphon import settings
from antiphon.audio import Waveform, read, write
from antiphon.cli.main import run as main
from antiphon.compose.composer import load_composer
from antiphon.compose.loading import LoadOptions
from antiphon.compose.score_adapter import ScoreAdapter
from antiphon.compose.score_frames import WIDTH
from antiphon.data.preprocessing import codec_checksum
from antiphon.data.shards import CodecIdentity, CodedClip, write_shard
from antiphon.data.text_states import TextStates, open_text_encoder, text_encoder_identity
from antiphon.errors import ConfigError, ModelError
from antiphon.train.checkpoints import read_checkpoint
from antiphon.train.composer import ComposerTask
from antiphon.train.config import ComposerConfig, load_config
from antiphon.train.logs import RunLog
from antiphon.train.loop import Finished, train
from antiphon.train.resuming import find_checkpoint
from antiphon.train.runs import export_run

sys.path.append(str(Path(__file__).parents[1] / "compose"))

from t5_models import tiny_musicgen

pytestmark = pytest.mark.integration

FRAMES, CARD = 20, 64
CAPTIONS = ("slow jazz", "fast piano", "the music", None)
TINY = (
    "trainer.accelerator=cpu", "trainer.precision=32-true", "trainer.threads=1",
    "training.batch_size=4", "training.max_steps=30", "training.warmup_steps=2",
    "training.learning_rate=1e-2", "model.dropout=0", "model.lora.dropout=0",
    "model.score_adapter=false", "data.control_dropout=0", "data.text_dropout=0",
    f"data.lengths=[{FRAMES / 50}]", "log.every_steps=1", "log.validate_every_steps=10",
    "log.validation_batches=1", "checkpoint.every_steps=10",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Data:
    base: Path
    codes: Path


def clips(base: Path, codebook_size: int, frames: int, *, stated: bool) -> list[CodedClip]:
    """Codes that can only be learned by heart, with the states of what is said of them."""
    states = TextStates(open_text_encoder(base, settings.load().cache / "graphs"))
    draws = np.random.default_rng(0)
    found = [
        CodedClip(
            str(number), "train", draws.integers(0, codebook_size, (4, frames), np.uint16), caption,
            {"tempo": 90.0}, "CC0-1.0", draws.integers(-127, 128, (frames, WIDTH)).astype(np.int8),
            states.of_caption(caption) if stated else None,
            states.of_prompt(caption, {"tempo": 90.0}) if stated else None,
        )
        for number, caption in enumerate(CAPTIONS)
    ]  # fmt: skip
    return [*found, dataclasses.replace(found[0], id="held", split="validation")]


def written(
    folder: Path,
    base: Path,
    *,
    stated: bool = True,
    codebook_size: int = CARD,
    frames: int = FRAMES,
) -> Path:
    cache = settings.load().cache / "graphs"
    checksum = codec_checksum(base, cache)
    identity = CodecIdentity(checksum, "tiny", 32_000, 1, 50, 4, codebook_size, WIDTH)
    encoder = text_encoder_identity(base, cache) if stated else None
    folder.mkdir()
    rows = clips(base, codebook_size, frames, stated=stated)
    write_shard(folder / "codes-00000.parquet", identity, rows, text_encoder=encoder)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    folder = tmp_path_factory.mktemp("tuned")
    tiny_musicgen(folder / "base")
    return Data(folder / "base", written(folder / "codes", folder / "base"))


def config_of(data: Data, folder: Path, *more: str) -> ComposerConfig:
    places = (f"data.codes={data.codes}", f"model.base={data.base}", f"output_dir={folder}")
    return load_config(ComposerConfig, None, [*TINY, *places, *more])


def run(config: ComposerConfig, stop_at: int = 1 << 30) -> Finished:
    output = Path(config.output_dir)
    steps: list[int] = []

    def should_stop() -> bool:
        steps.append(0)
        return len(steps) > stop_at

    start = find_checkpoint(output, "auto")
    log = RunLog(output, "codes")
    return train(ComposerTask(config), config, resume=start, should_stop=should_stop, log=log)


def lines(folder: Path, kind: str) -> list[dict[str, float]]:
    entries = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [entry[kind] for entry in entries if kind in entry]


def logits_of(folder: Path, config: ComposerConfig) -> tuple[torch.Tensor, torch.Tensor]:
    """What transformers computes of the exported model, from the text on, and what a run of
    `config` computes with its newest weights."""
    task = ComposerTask(config)
    state = read_checkpoint(find_checkpoint(Path(config.output_dir), "auto") or Path())
    task.model.load_state_dict(state.parts["model"], strict=False)
    batch = {name: value[:1] for name, value in task.batch(0, 0, 1).items()}
    batch["text_heard"] = torch.ones(1, dtype=torch.bool)
    batch["score_heard"] = torch.zeros(1, dtype=torch.bool)
    inputs = torch.nn.functional.pad(batch["columns"][..., :-1], (1, 0), value=CARD)
    model, info = MusicgenForConditionalGeneration.from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"] | info["unexpected_keys"]
    states = batch["text_states"]
    with torch.no_grad():
        theirs = model.eval()(
            encoder_outputs=(states,),
            attention_mask=batch["text_mask"],
            decoder_input_ids=inputs[0],
        ).logits
        return theirs, task.model.eval().logits(batch)[0]


# PEFT asks transformers for an attribute by its old name.
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_lora_learns_and_is_merged(data: Data, tmp_path: Path) -> None:
    config = config_of(data, tmp_path / "run", "model.tune=lora", "model.lora.rank=8")
    task = ComposerTask(config)
    before = MusicgenForConditionalGeneration.from_pretrained(data.base).eval()
    batch = {name: value[:1] for name, value in task.batch(0, 0, 1).items()}
    columns = torch.nn.functional.pad(batch["columns"][..., :-1], (1, 0), value=CARD)
    inputs: dict[str, object] = {
        "encoder_outputs": (batch["text_states"],),
        "attention_mask": batch["text_mask"],
        "decoder_input_ids": columns[0],
    }
    with torch.no_grad():
        untuned = before(**inputs).logits
        ours = task.model.eval().logits(batch)[0]
    torch.testing.assert_close(ours, untuned, rtol=0, atol=1e-4)

    run(config)
    totals = [losses["total"] for losses in lines(tmp_path / "run", "losses")]
    assert totals[-1] < 0.8 * totals[0]
    judged = lines(tmp_path / "run", "validation")
    assert judged[0]["lora_change"] == 0  # before the first step
    assert judged[-1]["lora_change"] > 0.01
    # What is frozen is not saved.
    saved = load_file(str(find_checkpoint(tmp_path / "run", "auto")) + "/model.safetensors")
    assert saved.keys() == {
        f"decoder.layers.{n}.{part}.{kind}"
        for n in range(2)
        for part in ("qkv", "self_out", "cross_query", "cross_key_value", "cross_out")
        for kind in ("down", "up")
    }
    export_run(tmp_path / "run", tmp_path / "made")
    theirs, ours = logits_of(tmp_path / "made", config)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)
    assert not torch.allclose(theirs, untuned, atol=1e-2)
    merged, base = (
        load_file(folder / "model.safetensors") for folder in (tmp_path / "made", data.base)
    )
    kept = [name for name in base if not name.startswith("decoder.model.decoder.layers")]
    assert all((merged[name] == base[name]).all() for name in kept)
    require_peft(tmp_path / "made/lora", data.base, theirs, inputs)
    require_the_same_sound(data.base, tmp_path / "made")


def require_peft(folder: Path, base: Path, logits: torch.Tensor, inputs: dict[str, object]) -> None:
    """PEFT reads what was trained, and computes the same with it on the base."""
    model = PeftModel.from_pretrained(
        MusicgenForConditionalGeneration.from_pretrained(base), folder
    )
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(**inputs).logits, logits, rtol=0, atol=1e-4)


def require_the_same_sound(base: Path, merged: Path) -> None:
    """The base with the LoRA, loaded by itself, composes what the merged checkpoint does."""
    lora = LoadOptions("fp32", 1, adapters=(merged / "lora",))
    twice = LoadOptions("fp32", 1, adapters=(merged / "lora", merged / "lora"))
    plain = LoadOptions("fp32", 1)
    expected, tuned, untuned, more = (
        load_composer(*model).generate("slow jazz", duration_seconds=1.0, seed=1).waveform.samples
        for model in ((merged, plain), (base, lora), (base, plain), (base, twice))
    )
    np.testing.assert_allclose(tuned, expected, atol=1e-4)
    assert not np.allclose(untuned, expected, atol=1e-2)
    assert not np.allclose(more, expected, atol=1e-2)  # all that are named are added


def test_lora_that_is_interrupted_goes_on(data: Data, tmp_path: Path) -> None:
    more = ("model.tune=lora", "training.ema_decay=0.9", "training.max_steps=12")
    run(config_of(data, tmp_path / "whole", *more))
    torn = config_of(data, tmp_path / "torn", *more)
    assert run(torn, stop_at=5).stopped
    assert not run(torn).stopped
    one, other = (
        load_file(str(find_checkpoint(tmp_path / name, "auto")) + "/average.safetensors")
        for name in ("whole", "torn")
    )
    assert all((one[name] == other[name]).all() for name in one)


def test_the_whole_decoder_is_tuned_and_nothing_else(data: Data, tmp_path: Path) -> None:
    config = config_of(data, tmp_path / "run")
    run(config)
    totals = [losses["total"] for losses in lines(tmp_path / "run", "losses")]
    assert totals[-1] < 0.5 * totals[0]
    export_run(tmp_path / "run", tmp_path / "made")
    theirs, ours = logits_of(tmp_path / "made", config)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-4)
    made, base = (
        load_file(folder / "model.safetensors") for folder in (tmp_path / "made", data.base)
    )
    kept = [name for name in base if name.startswith(("text_encoder.", "audio_encoder."))]
    assert kept
    assert all((made[name] == base[name]).all() for name in kept)
    assert any((made[name] != base[name]).any() for name in base)
    tokenizers = [
        (folder / "tokenizer.json").read_bytes() for folder in (data.base, tmp_path / "made")
    ]
    assert tokenizers[0] == tokenizers[1]


def test_an_adapter_alone_leaves_the_decoder_as_it_is(data: Data, tmp_path: Path) -> None:
    more = ("model.tune=adapter", "model.score_adapter=true", "model.adapter_hidden=32")
    run(config_of(data, tmp_path / "run", *more, "log.samples_every_steps=30", "log.samples=1"))
    totals = [losses["total"] for losses in lines(tmp_path / "run", "losses")]
    assert totals[-1] < totals[0] - 0.2
    export_run(tmp_path / "run", tmp_path / "made")
    made, base = (
        load_file(folder / "model.safetensors") for folder in (tmp_path / "made", data.base)
    )
    assert made.keys() == base.keys()
    assert all((made[name] == base[name]).all() for name in base)
    frames = np.ones((5, WIDTH), np.float32)
    assert np.abs(ScoreAdapter.load(tmp_path / "made/adapter").extra(frames, 5)).max() > 1e-3
    (sounds,) = lines(tmp_path / "run", "sounds")
    sound = read(tmp_path / "run" / sounds[0]["file"])
    assert sound.waveform.frames == FRAMES * 640
    assert np.abs(sound.waveform.samples).max() > 0


def test_a_decoder_from_nothing_behind_a_t5_that_stays(data: Data, tmp_path: Path) -> None:
    more = (
        "model.base=", f"model.text_encoder={data.base}", "model.text_width=32", "model.heads=4",
        "model.hidden_size=48", "model.layers=2", "model.ffn_size=96", f"data.codec={data.base}",
    )  # fmt: skip
    config = config_of(data, tmp_path / "run", *more)
    run(config)
    export_run(tmp_path / "run", tmp_path / "made")
    theirs, ours = logits_of(tmp_path / "made", config)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-4)


@pytest.mark.parametrize(
    ("more", "match"),
    [
        (["model.tune=lora", "model.base="], "model.tune is 'lora' and model.base is empty"),
        (["model.hidden_size=96"], "model.hidden_size is 96; expected 64, which"),
        (["data.control_dropout=0.1"], "data.control_dropout is 0.1; expected 0 where the states"),
        (["model.text_encoder=x"], "text_encoder is 'x'; expected none beside a base"),
        (["model.tune=adapter"], "tune is 'adapter'; expected score_adapter to be true"),
        (["model.lora.targets=[]"], "targets is empty; expected one of self_attn"),
        (["model.lora.targets=[q]"], "model.lora.targets.0: Input should be 'self_attn'"),
        (["model.codebook_size=2048"], "model.codebook_size is 2048; expected 64"),
    ],
)  # fmt: skip
def test_what_cannot_be_tuned(data: Data, tmp_path: Path, more: list[str], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        ComposerTask(config_of(data, tmp_path, *more))


def test_states_and_bases_that_do_not_fit(data: Data, tmp_path: Path) -> None:
    without = written(tmp_path / "without", data.base, stated=False)
    with pytest.raises(ConfigError, match="holds no states of texts, and the text encoder of"):
        ComposerTask(config_of(data, tmp_path, f"data.codes={without}"))
    tiny_musicgen(tmp_path / "other", seed=3)
    with pytest.raises(ConfigError, match="holds states of the text encoder 'base' with the hash"):
        ComposerTask(config_of(data, tmp_path, f"model.base={tmp_path / 'other'}",
                               f"data.codec={data.base}"))  # fmt: skip
    tiny_musicgen(tmp_path / "melody", melody=True)
    with pytest.raises(ModelError, match="is conditioned on melodies, for which codes have no"):
        ComposerTask(config_of(data, tmp_path, f"model.base={tmp_path / 'melody'}"))


def test_a_stereo_base_is_tuned_from_sound_to_sound(tmp_path: Path) -> None:
    tiny_musicgen(tmp_path / "base", stereo=True)
    draws = np.random.default_rng(0)
    music = tmp_path / "music"
    music.mkdir()
    for number in range(6):
        sides = (0.2 * draws.standard_normal((2, 32_000))).astype(np.float32)
        write(music / f"{number}.wav", Waveform(sides, 32_000))
        (music / f"{number}.txt").write_text("slow jazz")
    splits = ("--splits", "0.5,0.5,0")
    manifest, codes = tmp_path / "m.parquet", tmp_path / "codes"
    base = str(tmp_path / "base")
    assert main(["data", "prepare", str(music), "--output", str(manifest), *splits]) == 0
    encode = ["data", "preprocess", str(manifest), "--codec", base, "--text-encoder", base]
    assert main([*encode, "--output-dir", str(codes)]) == 0
    more = ("model.tune=lora", "training.max_steps=4", "log.samples_every_steps=2", "log.samples=1")
    config = config_of(Data(tmp_path / "base", codes), tmp_path / "run", *more)
    run(config)
    (first, _) = lines(tmp_path / "run", "sounds")
    sound = read(tmp_path / "run" / first[0]["file"])  # type: ignore[index]
    assert sound.waveform.channels == 2
    export_run(tmp_path / "run", tmp_path / "made")
    output = str(tmp_path / "a.wav")
    made = ["generate", "slow jazz", "--model", str(tmp_path / "made"), "--duration", "1"]
    assert main([*made, "--output", output]) == 0
    assert read(output).waveform.channels == 2


def test_another_base_in_its_place_is_seen(data: Data, tmp_path: Path) -> None:
    base = tmp_path / "base"
    shutil.copytree(data.base, base)
    codes = written(tmp_path / "codes", base)
    config = config_of(Data(base, codes), tmp_path / "run", "model.tune=lora")
    assert run(config, stop_at=3).stopped
    # All may lie elsewhere, if they are the same.
    moved = tmp_path / "moved"
    moved.mkdir()
    base.rename(moved / "base")
    codes.rename(moved / "codes")
    elsewhere = config_of(
        Data(moved / "base", moved / "codes"), tmp_path / "run", "model.tune=lora"
    )
    assert not run(elsewhere).stopped
    shutil.rmtree(moved / "base")
    tiny_musicgen(moved / "base", seed=9)
    for source in (data.base / "tokenizer.json",):
        shutil.copy(source, moved / "base")
    with pytest.raises(ConfigError, match="model.base is not the one that the run began with"):
        export_run(tmp_path / "run", tmp_path / "made")
    assert not (tmp_path / "made").exists()


def test_an_export_that_was_killed_is_begun_again(data: Data, tmp_path: Path) -> None:
    run(config_of(data, tmp_path / "run", "model.tune=lora", "training.max_steps=2"))
    left = tmp_path / ".made.tmp"
    left.mkdir()
    (left / "model.safetensors").write_bytes(b"half")
    export_run(tmp_path / "run", tmp_path / "made")
    assert not left.exists()
    assert json.loads((tmp_path / "made/generation_config.json").read_text())["guidance_scale"] == 3
    card = (tmp_path / "made/README.md").read_text()
    assert "base_model: base" in card
    assert "| total |" in card


def test_an_adapter_needs_scores(data: Data, tmp_path: Path) -> None:
    cache = settings.load().cache / "graphs"
    codes = tmp_path / "codes"
    codes.mkdir()
    identity = CodecIdentity(codec_checksum(data.base, cache), "tiny", 32_000, 1, 50, 4, CARD)
    rows = [
        dataclasses.replace(clip, score_frames=None)
        for clip in clips(data.base, CARD, FRAMES, stated=True)
    ]
    encoder = text_encoder_identity(data.base, cache)
    write_shard(codes / "codes-00000.parquet", identity, rows, text_encoder=encoder)
    more = ("model.score_adapter=true", f"data.codes={codes}")
    with pytest.raises(ConfigError, match="model.tune is adapter, and no clip in .* has a score"):
        ComposerTask(config_of(data, tmp_path, *more, "model.tune=adapter"))
    task = ComposerTask(config_of(data, tmp_path, *more, "model.tune=lora"))
    assert task.notes == ["no clip has a score: the score adapter learns nothing"]
