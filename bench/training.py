"""How well models are trained: what the score teaches a composer, and how fast it learns.

python bench/run.py training
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from transformers import (
    EncodecConfig,
    MusicgenConfig,
    MusicgenDecoderConfig,
    MusicgenForConditionalGeneration,
    T5Config,
)

import training_runs
from antiphon import settings
from antiphon.compose.score_frames import WIDTH
from antiphon.data.loading import Corpus
from antiphon.data.manifest import read_manifest
from antiphon.data.preprocessing import SHARD_CLIPS, Coding, codec_checksum, preprocess
from antiphon.data.running import RunOptions
from antiphon.data.shards import CodecIdentity, CodedClip, write_shard
from antiphon.data.synthesizing import Recipe, synthesize
from antiphon.models.finding import packaged
from antiphon.threads import usable_cores
from antiphon.train.composer import ComposerTask
from antiphon.train.config import ComposerConfig, load_config
from antiphon.train.logs import RunLog
from antiphon.train.loop import train
from codec import CLIP_SECONDS, HELD_SEED
from report import Part, Row

ROUNDS = 9
SCORED_PIECES, SCORED_STEPS, HELD_BATCHES = 240, 400, 4
BATCH, CROP_SECONDS = 8, 10.0
SHARDS = 64


def run() -> Part:
    """All figures of training."""
    rows = [score_row(), *pace_rows(), reading_row(), *training_runs.rows()]
    notes = (
        "The pace: a composer of 256 x 6 with a text encoder of 192 x 2, "
        f"{BATCH} crops of {CROP_SECONDS:.0f} s, bf16 autocast, one thread, forward and backward "
        "in turn with transformers' own model of the same size; medians."
    )
    return Part("training", "Training", notes, rows)


def pace_rows() -> list[Row]:
    """Forward and backward of ours and transformers', and what a batch costs to make."""
    torch.set_num_threads(1)  # the run before took both
    with tempfile.TemporaryDirectory() as name:
        task = small_task(Path(name))
        frames = round(CROP_SECONDS * 25)
        theirs = transformers_model(task)
        batches = [task.batch(position, 0, 1) for position in range(ROUNDS)]
        mine, other, made = [], [], []
        for position, batch in enumerate(batches):
            mine.append(timed(ours_step, task, batch))
            other.append(timed(their_step, theirs, batch))
            made.append(timed(task.batch, ROUNDS + position, 0, 1))
        codes = BATCH * frames * 4
        step, peer = statistics.median(mine), statistics.median(other)
        return [
            Row(
                "training, codes a second: times those of transformers' forward and backward",
                peer / step, " times", at_least=1.2, digits=2,
                beside=f"{codes / step:,.0f} and {codes / peer:,.0f} codes/s",
            ),
            Row(
                "making a batch, share of a step", 100 * statistics.median(made) / step, " %",
                at_most=3.0, digits=2,
            ),
        ]  # fmt: skip


def reading_row() -> Row:
    """Clips of 30 s of a codec of 50 Hz with 4 codebooks, in the order of an epoch."""
    identity = CodecIdentity("", "none", 32_000, 1, 50, 4, 2048)
    draws = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        for number in range(SHARDS):
            clips = [
                CodedClip(
                    f"{number}-{clip}", "train", draws.integers(0, 2048, (4, 1500), np.uint16),
                    "an upbeat jazz tune with saxophone, piano and bass", {"tempo": 120.0},
                )
                for clip in range(SHARD_CLIPS)
            ]  # fmt: skip
            write_shard(Path(name) / f"codes-{number:05}.parquet", identity, clips)
        corpus = Corpus(Path(name), "train", BATCH)
        paces = []
        for epoch in range(3):
            started = time.process_time()
            for position in range(epoch * len(corpus), (epoch + 1) * len(corpus)):
                corpus.clip(0, position)
            paces.append(len(corpus) / (time.process_time() - started))
    return Row(
        "reading clips of 30 s in a shuffled order, from disk, one core", statistics.median(paces),
        " clips/s", at_least=100_000, digits=0,
        beside=f"{SHARDS} shards of {SHARD_CLIPS}, of which the memory holds half",
    )  # fmt: skip


def score_row() -> Row:
    """What the score is worth to a small composer, on pieces that it did not learn from."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recipe = Recipe(SCORED_PIECES, seed=HELD_SEED, seconds=CLIP_SECONDS, sample_rate=16_000)
        made = synthesize(recipe, folder / "music", RunOptions(usable_cores()))
        assert made.is_complete, "the pieces are there"
        assert not made.failures, made.failures
        manifest = read_manifest(folder / "music/manifest.parquet")
        cache = settings.load().cache / "graphs"
        coding = Coding(packaged("composer"), cache)
        preprocess(manifest, coding, folder / "codes", RunOptions(usable_cores()))
        overrides = (
            f"data.codes={folder / 'codes'}", f"output_dir={folder / 'run'}",
            "trainer.accelerator=cpu", "trainer.threads=2", "data.lengths=[5]",
            "training.batch_size=16", f"training.max_steps={SCORED_STEPS}",
            "training.learning_rate=3e-3", "training.warmup_steps=30", "model.hidden_size=128",
            "model.layers=3", "model.heads=4", "model.ffn_size=384",
            "log.validate_every_steps=100000", "checkpoint.every_steps=100000",
        )  # fmt: skip
        config = load_config(ComposerConfig, None, overrides)
        task = ComposerTask(config)
        train(task, config, log=RunLog(folder / "run", "codes"))
        task.model.eval()
        gains = []
        with torch.no_grad():
            for number in range(HELD_BATCHES):
                batch = dict(task.validation_batch(number) or {})
                for row in range(len(batch["columns"])):
                    one = {name: value[row : row + 1] for name, value in batch.items()}
                    heard = float(task.model(one, 0)["total"])
                    one["score_heard"] = torch.zeros_like(one["score_heard"])
                    gains.append(float(task.model(one, 0)["total"]) - heard)
    draws = np.random.default_rng(0).integers(0, len(gains), (2000, len(gains)))
    low, high = np.quantile(np.array(gains)[draws].mean(axis=1), (0.025, 0.975))
    return Row(
        "score adapter, small run: held-out loss without the score, less that with it",
        float(low), " nats", at_least=0.0, digits=3,
        beside=f"the lower end of 95 % by bootstrap over {len(gains)} crops; mean "
        f"{np.mean(gains):.3f}, upper end {high:.3f}",
    )  # fmt: skip


def small_task(folder: Path) -> ComposerTask:
    codec = packaged("composer")
    checksum = codec_checksum(codec, settings.load().cache / "graphs")
    identity = CodecIdentity(checksum, "codec", 16_000, 1, 25, 4, 1024, WIDTH)
    draws = np.random.default_rng(0)
    clips = [
        CodedClip(
            str(number), "train", draws.integers(0, 1024, (4, 750), np.uint16),
            "an upbeat jazz tune with saxophone, piano and bass", {"tempo": 120.0},
            score_frames=draws.integers(-127, 128, (750, WIDTH)).astype(np.int8),
        )
        for number in range(64)
    ]  # fmt: skip
    (folder / "codes").mkdir()
    write_shard(folder / "codes/codes-00000.parquet", identity, clips)
    overrides = (
        f"data.codes={folder / 'codes'}", f"data.codec={codec}", f"output_dir={folder / 'run'}",
        f"training.batch_size={BATCH}", f"data.lengths=[{CROP_SECONDS}]", "data.text_dropout=0",
    )  # fmt: skip
    return ComposerTask(load_config(ComposerConfig, None, overrides))


def transformers_model(task: ComposerTask) -> MusicgenForConditionalGeneration:
    config = task.model.musicgen
    text, decoder = config.text, config.decoder
    return MusicgenForConditionalGeneration(
        MusicgenConfig(
            text_encoder=T5Config(
                vocab_size=text.vocabulary, d_model=text.width, d_kv=text.head_width,
                d_ff=text.ffn_width, num_layers=text.layers, num_heads=text.heads,
            ),
            audio_encoder=EncodecConfig(num_filters=4, hidden_size=16, codebook_dim=16),
            decoder=MusicgenDecoderConfig(
                vocab_size=decoder.card, hidden_size=decoder.width,
                num_hidden_layers=decoder.layers, num_attention_heads=decoder.heads,
                ffn_dim=decoder.ffn_width, num_codebooks=decoder.codebooks,
                pad_token_id=decoder.card, bos_token_id=decoder.card,
                decoder_start_token_id=decoder.card, dropout=0.1,
            ),
        )
    ).train()  # fmt: skip


def ours_step(task: ComposerTask, batch: dict[str, torch.Tensor]) -> None:
    task.model.train()
    with torch.autocast("cpu", torch.bfloat16):
        loss = task.model(batch, 0)["total"]
    loss.backward()
    task.model.zero_grad(set_to_none=True)


def their_step(model: MusicgenForConditionalGeneration, batch: dict[str, torch.Tensor]) -> None:
    columns = batch["columns"]  # [B, K, S]
    card = model.config.decoder.vocab_size
    inputs = torch.nn.functional.pad(columns[..., :-1], (1, 0), value=card)
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(
            input_ids=batch["tokens"],
            attention_mask=batch["tokens"] != 0,
            decoder_input_ids=inputs.flatten(0, 1),
        ).logits  # [B * K, S, V]
        targets = columns.flatten(0, 1).masked_fill(~batch["counted"].flatten(0, 1), -100)
        loss = torch.nn.functional.cross_entropy(
            logits.float().transpose(1, 2), targets, ignore_index=-100
        )
    loss.backward()
    model.zero_grad(set_to_none=True)


def timed(work: Callable[..., object], *arguments: object) -> float:
    started = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - started
