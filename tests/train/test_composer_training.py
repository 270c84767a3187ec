"""A composer trained on codes: it learns them by heart, and plays what it learned everywhere."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.fabric import Fabric
from lightning.fabric.plugins import MixedPrecision
from safetensors.torch import load_file
from transformers import MusicgenForConditionalGeneration

from antiphon import settings
from antiphon.compose.generation import Item, write_codes
from antiphon.compose.loading import LoadOptions, load_musicgen
from antiphon.compose.patterns import delay
from antiphon.compose.requests import Request
from antiphon.compose.sampling import Sampling, draws_of
from antiphon.compose.score_adapter import ScoreAdapter
from antiphon.compose.score_frames import WIDTH
from antiphon.compose.windows import plan
from antiphon.data.preprocessing import codec_checksum
from antiphon.data.shards import CodecIdentity, CodedClip, read_shard, write_shard
from antiphon.errors import ConfigError, EngineError, ModelError
from antiphon.train.checkpoints import read_checkpoint
from antiphon.train.composer import ComposerTask, export_composer
from antiphon.train.config import CodecConfig, ComposerConfig, load_config, plain
from antiphon.train.logs import RunLog
from antiphon.train.loop import Finished, train
from antiphon.train.memory import require_memory
from antiphon.train.optimizing import learning_rate
from antiphon.train.resuming import find_checkpoint, kept_of, require_same_run
from antiphon.train.runs import export_checkpoint, export_run
from antiphon.train.tokenizer import new_tokenizer

sys.path.append(str(Path(__file__).parents[1] / "compose"))

from t5_models import tiny_musicgen

pytestmark = pytest.mark.integration

FRAMES, CARD = 20, 64
CAPTIONS = ("slow jazz", "fast rock", "calm folk", "dark techno")
TINY = (
    "trainer.accelerator=cpu", "trainer.precision=32-true", "trainer.threads=1",
    "training.batch_size=4", "model.hidden_size=48", "model.layers=2", "model.heads=4",
    "model.ffn_size=96", "model.text_width=32", "model.text_layers=1", "model.text_heads=2",
    "model.text_ffn_size=64", "model.vocabulary=300", "model.adapter_hidden=16",
    "log.every_steps=1", "log.validate_every_steps=20", "log.validation_batches=1",
    "checkpoint.every_steps=10", "training.warmup_steps=5",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Data:
    codec: Path
    codes: Path
    clips: tuple[CodedClip, ...]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    return data_of(tmp_path_factory.mktemp("data"))


def data_of(folder: Path) -> Data:
    """Codes that nobody can guess: what is known of them can only be learned by heart."""
    codec = folder / "codec"
    tiny_musicgen(codec)
    cache = settings.load().cache / "graphs"
    identity = CodecIdentity(codec_checksum(codec, cache), "tiny", 32_000, 1, 50, 4, CARD, WIDTH)
    draws = np.random.default_rng(0)
    clips = tuple(
        CodedClip(
            str(number), "train", draws.integers(0, CARD, (4, FRAMES), np.uint16), caption,
            {"tempo": 90.0}, "CC0-1.0", draws.integers(-127, 128, (FRAMES, WIDTH)).astype(np.int8),
        )
        for number, caption in enumerate(CAPTIONS)
    )  # fmt: skip
    held = dataclasses.replace(clips[0], id="held", split="validation")
    (folder / "codes").mkdir(parents=True)
    write_shard(folder / "codes/codes-00000.parquet", identity, [*clips, held])
    return Data(codec, folder / "codes", clips)


def config_of(data: Data, folder: Path, *more: str) -> ComposerConfig:
    places = (f"data.codes={data.codes}", f"data.codec={data.codec}", f"output_dir={folder}")
    return load_config(ComposerConfig, None, [*TINY, *places, *more])


def run(config: ComposerConfig, resume: str | None = None, stop_at: int = 1 << 30) -> Finished:
    output = Path(config.output_dir)
    task = ComposerTask(config)
    steps: list[int] = []

    def should_stop() -> bool:
        steps.append(0)
        return len(steps) > stop_at

    start = find_checkpoint(output, resume)
    return train(task, config, resume=start, should_stop=should_stop, log=RunLog(output, "codes"))


def totals(folder: Path) -> list[float]:
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [line["losses"]["total"] for line in lines if "losses" in line]


@pytest.fixture(scope="module")
def learned(data: Data, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("learned")
    learned_by_heart(data, folder)
    return folder


def learned_by_heart(data: Data, folder: Path) -> None:
    """A run that learns four clips by heart from their captions alone, and its composer."""
    config = config_of(
        data, folder, "training.max_steps=400", "training.learning_rate=6e-3", "model.dropout=0",
        "data.text_dropout=0", "data.score_dropout=1", "data.controls_share=0",
        f"data.lengths=[{FRAMES / 50}]", "training.weight_decay=0",
        "log.validate_every_steps=1000", "checkpoint.every_steps=1000",
    )  # fmt: skip
    finished = run(config)
    checkpoint = read_checkpoint(finished.checkpoint)
    export_checkpoint(checkpoint, folder / "composer", str(finished.checkpoint))


def written_again(composer: Path, clip: CodedClip) -> float:
    """The share of a clip's codes that a composer writes to its caption."""
    model = load_musicgen(composer, LoadOptions("fp32", 1))
    greedy = Sampling(temperature=0.0, guidance=1.0)
    branches = model.guidance(
        Request(clip.caption or "", 0, sampling=greedy), [clip.caption]
    ).sections
    item = Item(plan(FRAMES, [0], 0, 1500, 900), branches, np.zeros((4, 0), np.int64), draws_of(0))
    frames = [
        frame.codes
        for moment in write_codes(model.engine, [item], (), greedy, delay(4))
        for frame in moment
    ]
    return float((np.stack(frames, axis=1) == clip.codes).mean())


def test_clips_are_learned_by_heart_and_written_again(learned: Path, data: Data) -> None:
    losses = totals(learned)
    assert losses[0] == pytest.approx(np.log(CARD), rel=0.05)
    assert losses[-1] < 0.1 * losses[0]
    for clip in data.clips:
        assert written_again(learned / "composer", clip) > 0.98, clip.caption


def test_transformers_loads_it_and_computes_the_same(learned: Path, data: Data) -> None:
    folder = learned / "composer"
    model, info = MusicgenForConditionalGeneration.from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    ours = ComposerTask(config_of(data, learned, "model.dropout=0"))
    ours.model.load_state_dict(read_checkpoint(newest(learned)).parts["model"])
    ours.model.eval()
    batch = {name: value[:1] for name, value in ours.batch(0, 0, 1).items()}
    batch["score_heard"] = torch.zeros(1, dtype=torch.bool)
    batch["text_heard"] = torch.ones(1, dtype=torch.bool)
    columns = batch["columns"]  # [1, 4, S]
    inputs = torch.nn.functional.pad(columns[..., :-1], (1, 0), value=CARD)
    with torch.no_grad():
        theirs = model.eval()(
            input_ids=batch["tokens"], decoder_input_ids=inputs[0]
        ).logits  # [4, S, V]
        logits = ours.model.logits(batch)[0]
    torch.testing.assert_close(logits, theirs, rtol=0, atol=2e-4)
    sound = model.generate(input_ids=batch["tokens"], max_new_tokens=30, do_sample=True)
    assert torch.isfinite(sound).all()
    card = (folder / "README.md").read_text()
    assert "| CC0-1.0 | 4 |" in card


def newest(folder: Path) -> Path:
    found = find_checkpoint(folder, "auto")
    assert found is not None
    return found


def test_the_adapter_adds_nothing_at_first(data: Data, tmp_path: Path) -> None:
    with_one = ComposerTask(config_of(data, tmp_path))
    without = ComposerTask(config_of(data, tmp_path, "model.score_adapter=false"))
    batch = with_one.batch(0, 0, 1)
    with_one.model.eval()
    without.model.eval()
    with torch.no_grad():
        assert torch.equal(with_one.model.logits(batch), without.model.logits(batch))
    state = with_one.model.state_dict()
    metrics = {"validation total": 3.5}
    export_composer(tmp_path / "made", with_one.config, state, with_one.kept, metrics)
    assert "| validation total | 3.5 |" in (tmp_path / "made/README.md").read_text()
    adapter = ScoreAdapter.load(tmp_path / "made/adapter")
    assert not adapter.extra(np.ones((5, WIDTH), np.float32), 5).any()


def test_a_run_that_goes_on_is_the_run_that_never_stopped(data: Data, tmp_path: Path) -> None:
    common = ("training.max_steps=24", "training.ema_decay=0.9", "training.accumulate=2")
    run(config_of(data, tmp_path / "whole", *common))
    torn = config_of(data, tmp_path / "torn", *common)
    for stop_at in (3, 9):
        assert run(torn, "auto", stop_at).stopped
    assert not run(torn, "auto").stopped
    assert totals(tmp_path / "torn") == totals(tmp_path / "whole")
    names = ("model", "optimizer", "average")
    whole, other = newest(tmp_path / "whole"), newest(tmp_path / "torn")
    for name in names:
        one, two = (load_file(path / f"{name}.safetensors") for path in (whole, other))
        assert one.keys() == two.keys()
        assert all(torch.equal(one[key], two[key]) for key in one)


def test_a_sample_that_fails_ends_nothing(data: Data, tmp_path: Path) -> None:
    config = config_of(data, tmp_path, "training.max_steps=4", "log.samples_every_steps=2")
    task = ComposerTask(config)

    def samples(folder: Path, count: int) -> list[tuple[str, Path]]:
        assert find_checkpoint(tmp_path, "auto") or len(totals(tmp_path)) < 4, "saved before"
        raise EngineError("no codec is here")

    task.samples = samples  # type: ignore[method-assign, assignment]
    assert train(task, config, log=RunLog(tmp_path, "codes")).step == 4
    assert "no sounds after 2: no codec is here" in (tmp_path / "training.log").read_text()


def test_a_tokenizer_is_the_same_in_every_process() -> None:
    code = (
        "import random; from antiphon.train.tokenizer import new_tokenizer\n"
        "signs = [chr(0x4E00 + n) for n in range(3000)]; random.Random(0).shuffle(signs)\n"
        "texts = [''.join(signs[n:n + 9]) for n in range(0, 3000, 9)]\n"
        "print(sorted(new_tokenizer(texts, 2000).get_vocab().items()))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout
        for _ in range(3)
    }
    assert len(found) == 1
    assert len(found.pop()) > 10_000


def test_a_batch_that_is_proposed_fits(
    data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = ComposerTask(config_of(data, tmp_path))

    def check(rows: int) -> None:
        require_memory(task, rows, 1, torch.device("cpu"), nullcontext)

    free = 60_000_000
    monkeypatch.setattr("antiphon.train.memory.free_bytes", lambda: free)
    check(1)
    with pytest.raises(EngineError, match="training.batch_size=100000 needs about") as caught:
        check(100_000)
    found = re.search(r"expected training.batch_size=(\d+) or less", str(caught.value))
    assert found is not None
    check(int(found[1]))
    with pytest.raises(EngineError, match="needs about"):
        check(round(1.1 * int(found[1])) + 1)
    free = 1000
    with pytest.raises(EngineError, match="not even one row fits"):
        check(2)


def test_what_may_change_and_what_may_not() -> None:
    config = plain(ComposerConfig())
    trainer = {**config["trainer"], "accelerator": "cuda", "threads": 7}  # type: ignore[dict-item]
    require_same_run(config, {**config, "trainer": trainer, "experiment_name": "other"})
    with pytest.raises(ConfigError, match="another config: trainer.devices: 1 -> 2; expected the"):
        require_same_run(config, {**config, "trainer": {**trainer, "devices": 2}})
    with pytest.raises(
        ModelError, match="the checkpoint is of a composer; expected one of a codec"
    ):
        require_same_run(config, plain(CodecConfig()))


def test_half_precision_goes_on_with_its_scale(
    data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def halved(**_: object) -> Fabric:
        # What Fabric does on a GPU for 16-mixed; on a processor it would refuse.
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40, growth_interval=3)
        return Fabric(
            accelerator="cpu", devices=1, plugins=MixedPrecision("16-mixed", "cpu", scaler)
        )

    monkeypatch.setattr("antiphon.train.devices.Fabric", halved)
    more = ("training.max_steps=40", "training.max_bad_steps=35")
    run(config_of(data, tmp_path / "whole", *more))
    torn = config_of(data, tmp_path / "torn", *more)
    for stop_at in (7, 20):
        assert run(torn, "auto", stop_at).stopped
    run(torn, "auto")
    states = [read_checkpoint(newest(tmp_path / name)).state for name in ("whole", "torn")]
    assert states[0]["scaler"] == states[1]["scaler"]
    scaler = states[0]["scaler"]
    assert isinstance(scaler, dict)
    assert scaler["scale"] < 2**40  # that much was too much, and steps were left out
    told = totals(tmp_path / "whole")
    assert told == totals(tmp_path / "torn")
    assert told[-1] < told[0] - 0.05  # and then it learned


def test_half_precision_needs_a_gpu(data: Data, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="trainer.precision is 16-mixed, in which a processor"):
        run(config_of(data, tmp_path, "trainer.precision=16"))


def test_what_is_dropped_is_dropped_as_often_as_asked(data: Data, tmp_path: Path) -> None:
    dropped = ("data.text_dropout=0.25", "data.score_dropout=0.5")
    task = ComposerTask(config_of(data, tmp_path, *dropped))
    batches = [task.batch(position, 0, 1) for position in range(250)]
    text = torch.cat([batch["text_heard"] for batch in batches]).float().mean()
    score = torch.cat([batch["score_heard"] for batch in batches]).float().mean()
    assert float(text) == pytest.approx(0.75, abs=0.05)
    assert float(score) == pytest.approx(0.5, abs=0.06)
    held = task.validation_batch(0)
    assert held is not None
    assert held["text_heard"].all()
    assert held["score_heard"].all()
    # Two processes see what one sees of twice the batch.
    twice = config_of(data, tmp_path, *dropped, "training.batch_size=8")
    one = ComposerTask(twice).batch(3, 0, 1)
    for rank in range(2):
        part = task.batch(3, rank, 2)
        for name in ("columns", "score_frames", "text_heard"):
            assert torch.equal(part[name], one[name][4 * rank : 4 * rank + 4])


def test_a_run_goes_on_with_its_own_tokenizer_and_data_only(data: Data, tmp_path: Path) -> None:
    config = config_of(data, tmp_path / "run", "training.max_steps=6")
    assert run(config, stop_at=3).stopped
    task = ComposerTask(config)
    other = new_tokenizer(iter(["nothing of this was ever said"] * 9), 300)
    task.tokenizer = other
    checkpoint = newest(tmp_path / "run")
    task.adopt(kept_of(read_checkpoint(checkpoint)))
    assert task.tokenizer.to_str() != other.to_str()
    assert (
        task.tokenizer.encode("slow jazz").tokens
        == ComposerTask(config).tokenizer.encode("slow jazz").tokens
    )
    moved = tmp_path / "moved"
    (tmp_path / "run").rename(moved)
    assert export_run(moved, tmp_path / "made") == 3
    assert (tmp_path / "made/tokenizer.json").read_text() == task.tokenizer.to_str()
    assert not (tmp_path / "run").exists()

    codes = tmp_path / "codes"
    shutil.copytree(data.codes, codes)
    path = codes / "codes-00000.parquet"
    shard = read_shard(path)
    write_shard(path, shard.codec, [shard.clip(n) for n in range(1, len(shard))])
    changed = config_of(data, moved, "training.max_steps=6")
    shutil.move(data.codes, tmp_path / "aside")
    try:
        shutil.copytree(codes, data.codes)
        config = dataclasses.replace(changed, output_dir=str(tmp_path / "run"))
        moved.rename(tmp_path / "run")
        with pytest.raises(ConfigError, match="the data are not those that the run began with"):
            run(config, "auto")
    finally:
        shutil.rmtree(data.codes)
        shutil.move(tmp_path / "aside", data.codes)


def test_what_was_saved_and_not_yet_judged_is_judged(data: Data, tmp_path: Path) -> None:
    config = config_of(data, tmp_path, "training.max_steps=4", "log.validate_every_steps=2")
    run(config)
    (tmp_path / "checkpoints/best.json").unlink()  # as a kill before it would leave it
    finished = run(config, "auto")
    assert finished.best == newest(tmp_path)


def test_steps_that_are_not_finite_are_left_out_and_end_the_run(data: Data, tmp_path: Path) -> None:
    config = config_of(data, tmp_path, "training.max_steps=12", "training.max_bad_steps=3")
    task = ComposerTask(config)
    good = task.batch
    spoilt = {4, 5, 8, 9, 10}

    def batch(position: int, rank: int, world: int) -> dict[str, torch.Tensor]:
        found = dict(good(position, rank, world))
        if position in spoilt:
            found["score_frames"] = found["score_frames"] * torch.nan
            found["score_heard"] = torch.ones_like(found["score_heard"])
        return found

    task.batch = batch  # type: ignore[method-assign]
    before = {name: value.clone() for name, value in task.model.state_dict().items()}
    with pytest.raises(EngineError, match="3 steps in a row were not finite; expected some"):
        train(task, config, log=RunLog(tmp_path, "codes"))
    assert all(torch.isfinite(value).all() for value in task.model.state_dict().values())
    assert any(not torch.equal(before[n], v) for n, v in task.model.state_dict().items())
    assert "step 5 is left out" in (tmp_path / "training.log").read_text()

    def strict(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    entries = [json.loads(line, parse_constant=strict) for line in lines]
    told = {entry["step"]: entry for entry in entries if "losses" in entry}
    assert told[5]["losses"]["total"] is None
    assert [told[step]["bad_steps"] for step in (4, 5, 6, 7)] == [0, 1, 2, 0]


def test_the_learning_rate_rises_and_falls() -> None:
    training = ComposerConfig().training
    training = dataclasses.replace(
        training, max_steps=110, warmup_steps=10, learning_rate=2.0, final_learning_rate=0.5
    )
    assert [learning_rate(training, step) for step in (0, 4, 9)] == pytest.approx([0.2, 1.0, 2.0])
    assert learning_rate(training, 60) == pytest.approx(1.25)
    assert learning_rate(training, 110) == pytest.approx(0.5)
    flat = dataclasses.replace(training, schedule="constant")
    assert learning_rate(flat, 100) == 2.0


@pytest.mark.parametrize(
    ("more", "match"),
    [
        (["data.codes="], "data.codes is empty"),
        (["data.codec="], "are of the codec 'tiny' with the hash"),
        (["data.codes={tmp}"], r"holds no shards"),
        (["data.lengths=[0]"], "lengths is"),
        (["data.lengths=[200]"], "above 0 and up to 60"),
        (["log.every_steps=0"], "every_steps is 0; expected 1 or more"),
        (["checkpoint.keep=0"], "keep is 0; expected 1 or more"),
        (["training.accumulate=0"], "accumulate is 0; expected 1 or more"),
        (["training.seed=-1"], "seed is -1; expected 0 or more"),
        (["model.heads=5"], "hidden_size is 48; expected a multiple of heads, 5"),
        (["model.dropout=2"], "dropout is 2; expected 0 to 0.9"),
        (["trainer.precision=int8"], "trainer.precision: Input should be '32-true', 'bf16-mixed'"),
        (["model.hidden=3"], r"'model.hidden' is not known \(did you mean 'hidden_size'"),
        (["+model.hidden=3"], r"'hidden' is not known \(did you mean 'hidden_size'"),
        (["training.batch_size=many"], "training.batch_size: Input should be a valid integer"),
    ],
)
def test_what_cannot_be_trained_is_refused(
    data: Data, tmp_path: Path, more: list[str], match: str
) -> None:
    with pytest.raises(ConfigError, match=match):
        ComposerTask(config_of(data, tmp_path, *(text.format(tmp=tmp_path) for text in more)))


def test_codes_of_another_codec_and_checkpoints_of_another_run(data: Data, tmp_path: Path) -> None:
    tiny_musicgen(tmp_path / "other", seed=5)
    with pytest.raises(ConfigError, match="the codes in .* are of the codec 'tiny' with the hash"):
        ComposerTask(config_of(data, tmp_path, f"data.codec={tmp_path / 'other'}"))
    run(config_of(data, tmp_path / "a", "training.max_steps=2"))
    changed = config_of(data, tmp_path / "a", "training.max_steps=2", "training.seed=1")
    with pytest.raises(ConfigError, match=r"another config: training.seed: 0 -> 1; expected the"):
        run(changed, "auto")
    with pytest.raises(ModelError, match="is no checkpoint: it has no state.json"):
        run(config_of(data, tmp_path / "b", "training.max_steps=2"), str(tmp_path))
    path = newest(tmp_path / "a") / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ModelError, match="model.safetensors is damaged or missing"):
        run(config_of(data, tmp_path / "a", "training.max_steps=2"), "auto")
