"""Training a listener: it learns what sounds when, a run goes on bit for bit, heads can be trained
alone, and what comes out is a folder that hears the same without torch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from antiphon.controls import ENERGIES, GENRES, INSTRUMENTS
from antiphon.data.manifest import Clip, Manifest, read_manifest, write_manifest
from antiphon.data.running import RunOptions
from antiphon.data.synthesizing import Recipe, synthesize
from antiphon.errors import ConfigError
from antiphon.listen.heads import HEADS, Calibration, read_heads, write_heads
from antiphon.listen.tagger import Tagger
from antiphon.score import Note, Score, Track
from antiphon.train.calibrating import Judged, _fit, _weights, reliability_error
from antiphon.train.checkpoints import CheckpointFolder, read_checkpoint
from antiphon.train.config import (
    ListenerConfig,
    ListenerModelConfig,
    TrainingConfig,
    load_config,
)
from antiphon.train.hearing import MOMENTS, heard, mels_of, sounding_of
from antiphon.train.labels import UNKNOWN, labels_of
from antiphon.train.listener import ListenerTask
from antiphon.train.listener_model import ListenerModel, pooled
from antiphon.train.logs import RunLog
from antiphon.train.loop import train
from antiphon.train.optimizing import new_optimizer, set_learning_rates
from antiphon.train.runs import export_run

pytestmark = pytest.mark.integration

TINY = ListenerModelConfig(width=32, layers=3, heads=2, ffn_width=64)
RUN = [
    "training.batch_size=8", "training.max_steps=8", "training.learning_rate=2e-3",
    "training.warmup_steps=2", "trainer.threads=1", "trainer.precision=32-true",
    "log.validate_every_steps=4", "log.validation_batches=1", "checkpoint.every_steps=4",
    "data.crop_seconds=2", "model.width=32", "model.layers=3", "model.heads=2",
    "model.ffn_width=64",
]  # fmt: skip


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("heard")
    synthesize(Recipe(30, seconds=4.0, sample_rate=16_000), folder, RunOptions(2))
    return folder / "manifest.parquet"


def config_of(corpus: Path, output: Path, *more: str) -> ListenerConfig:
    own = [f"data.manifests=[{corpus}]", f"output_dir={output}", f"data.cache={corpus.parent}/mel"]
    return load_config(ListenerConfig, None, [*RUN, *own, *more])


def run(config: ListenerConfig, resume: Path | None = None, stop_after: int = 10**9) -> None:
    seen = 0

    def should_stop() -> bool:
        nonlocal seen
        seen += 1
        return seen > stop_after

    with RunLog(Path(config.output_dir), "frames", show=lambda line: None) as log:
        train(ListenerTask(config), config, resume=resume, should_stop=should_stop, log=log)


def weights_of(output: Path) -> dict[str, torch.Tensor]:
    newest = CheckpointFolder(output / "checkpoints", 1).newest()
    assert newest is not None
    return dict(read_checkpoint(newest).parts["model"])


def test_it_learns_which_instrument_sounds_when() -> None:
    """Each of four instruments is a band of its own, here for parts of the time."""
    model = ListenerModel(TINY, 0)
    optimiser = torch.optim.AdamW(model.parameters(), lr=4e-3)
    random = np.random.default_rng(0)
    for step in range(300):
        batch, _ = _bands(random)
        model.train()
        model(batch, step)["total"].backward()
        optimiser.step()
        optimiser.zero_grad()
    model.eval()
    batch, sounding = _bands(random)
    with torch.no_grad():
        found = model.hear(batch["mels"])["instruments"].sigmoid()[..., :4].numpy() > 0.5
    assert (found == sounding).mean() > 0.9
    assert 0.2 < sounding.mean() < 0.8


def _bands(random: np.random.Generator) -> tuple[dict[str, torch.Tensor], np.ndarray]:
    rows, moments = 16, 50
    starts = random.integers(0, 2, (rows, 2, 4)).astype(bool)
    sounding = np.repeat(starts, moments // 2, axis=1)  # [B, T, 4]
    mels = random.normal(-0.5, 0.05, (rows, 4 * moments, 128))
    for one in range(4):
        mels[:, :, 30 * one : 30 * one + 20] += np.repeat(sounding[..., one], 4, 1)[..., None]
    shown = np.zeros((rows, moments, len(INSTRUMENTS)), bool)
    shown[..., :4] = sounding
    batch = {
        "mels": torch.from_numpy(mels.astype(np.float32)),
        "offsets": torch.from_numpy(random.integers(0, 1000, rows)),
        "sounding": torch.from_numpy(shown),
        "timed": torch.ones(rows, dtype=torch.bool),
        "tags": torch.from_numpy(shown.any(1).astype(np.float32)),
        "genre": torch.full((rows, len(GENRES)), float(UNKNOWN)),
        "energy": torch.full((rows,), UNKNOWN),
        "music": torch.ones(rows, 1),
    }
    return batch, sounding


def test_labels_that_nobody_gave_change_nothing() -> None:
    model = ListenerModel(TINY, 0).eval()
    batch, _ = _bands(np.random.default_rng(1))
    with torch.no_grad():
        losses = model(batch, 0)
    assert float(losses["genre"]) == float(losses["energy"]) == 0
    assert float(losses["frames"]) > 0
    batch["timed"][:] = False
    batch["tags"][:] = UNKNOWN
    batch["music"][:] = UNKNOWN
    with torch.no_grad():
        assert float(model(batch, 0)["total"]) == 0


def test_pooling_hears_a_short_solo() -> None:
    logits = torch.full((1, 750, 1), -5.0)
    assert float(pooled(logits)) < 0.02
    logits[0, 300:400] = 4.0
    assert float(pooled(logits)) > 0.75


def test_what_sounds_when_is_taken_from_the_score() -> None:
    notes = (Note(0, 1, 60, 90), Note(4, 0.01, 62, 90))
    tracks = (Track("piano", 0, notes), Track("kazoo", 0, notes), Track("flute", 73, notes[1:]))
    score = replace(Score.from_json(_any_score()), tempo_bpm=60.0, tracks=tracks)
    sounding = sounding_of(score, 4.5)
    piano, flute = (sounding[:, INSTRUMENTS.index(name)] for name in ("piano", "flute"))
    assert np.flatnonzero(piano).tolist() == [*range(25), 100]  # the first second, and 4.0 s
    assert np.flatnonzero(flute).tolist() == [100]
    assert sounding.sum() == 27
    assert not sounding_of(score, 3.9)[97:].any()
    assert sounding.shape == (MOMENTS, len(INSTRUMENTS))


def _any_score() -> bytes:
    from antiphon.arrange import arrange
    from antiphon.controls import Controls

    return arrange(Controls(genre="jazz", bars=2), seed=1).to_json().encode()


def clip(**values: object) -> Clip:
    return replace(Clip("a", "a.wav", "0", 30.0, 16_000, 1, "train", "g"), **values)  # type: ignore[arg-type]


def test_a_manifest_that_is_listed_twice_is_read_once_and_drawn_twice(
    corpus: Path, tmp_path: Path
) -> None:
    manifest = read_manifest(corpus)
    once = heard([manifest], "train", tmp_path)
    twice = heard([manifest, manifest], "train", tmp_path)
    assert once is not None
    assert twice is not None
    assert twice.kept.tolist() == [*once.kept, *once.kept]
    for number in twice.kept:
        assert np.array_equal(twice.mels[number], once.mels[number])
        assert twice.mels[number].any()


def test_labels_of_a_folder_of_ones_own() -> None:
    silence = np.zeros((50, len(INSTRUMENTS)), bool)
    found = labels_of(
        clip(controls={"genre": "jazz", "instruments": ["piano", "bass"], "energy": "low"}),
        silence,
    )
    assert not found["timed"]
    assert found["tags"].sum() == 2
    assert found["tags"][INSTRUMENTS.index("piano")] == 1
    assert found["genre"].tolist() == [float(name == "jazz") for name in GENRES]
    assert found["energy"] == ENERGIES.index("low")
    assert found["music"] == UNKNOWN
    nothing = labels_of(clip(), silence)
    assert (nothing["tags"] == UNKNOWN).all()
    assert (nothing["genre"] == UNKNOWN).all()
    assert nothing["energy"] == UNKNOWN
    noise = labels_of(clip(music=False), silence)
    assert noise["timed"]
    assert not noise["tags"].any()
    assert not noise["genre"].any()
    assert noise["music"] == 0


def test_what_hardly_sounds_is_not_judged() -> None:
    sounding = np.zeros((150, len(INSTRUMENTS)), bool)
    sounding[:3, 0] = sounding[:, 1] = True
    tags = labels_of(clip(score="a.json"), sounding)["tags"]
    assert tags[:3].tolist() == [UNKNOWN, 1, 0]


def test_a_run_that_was_stopped_ends_with_the_same_weights(corpus: Path, tmp_path: Path) -> None:
    run(config_of(corpus, tmp_path / "whole"))
    run(config_of(corpus, tmp_path / "parts"), stop_after=3)
    newest = CheckpointFolder(tmp_path / "parts/checkpoints", 1).newest()
    assert newest is not None
    assert read_checkpoint(newest).step < 8
    run(config_of(corpus, tmp_path / "parts"), resume=newest)
    whole, parts = weights_of(tmp_path / "whole"), weights_of(tmp_path / "parts")
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_muon_moves_the_layers_and_goes_on_where_it_stopped(corpus: Path, tmp_path: Path) -> None:
    muon = "training.muon_learning_rate=3e-3"
    run(config_of(corpus, tmp_path / "adamw"))
    run(config_of(corpus, tmp_path / "whole", muon))
    run(config_of(corpus, tmp_path / "parts", muon), stop_after=3)
    newest = CheckpointFolder(tmp_path / "parts/checkpoints", 1).newest()
    run(config_of(corpus, tmp_path / "parts", muon), resume=newest)
    whole, parts = weights_of(tmp_path / "whole"), weights_of(tmp_path / "parts")
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    adamw = weights_of(tmp_path / "adamw")
    layer = "encoder.layers.0.fc1.weight"
    assert not torch.allclose(adamw[layer], whole[layer], atol=1e-3)


def test_muon_follows_the_schedule() -> None:
    training = TrainingConfig(
        learning_rate=1e-3, muon_learning_rate=3e-3, warmup_steps=10, max_steps=20
    )
    model = ListenerModel(TINY, 0)
    optimizer = new_optimizer(model, training)
    rate = set_learning_rates(optimizer, training, 4)
    assert rate == pytest.approx(5e-4)
    rates = {group["lr"] for group in optimizer.param_groups}
    assert sorted(rates) == pytest.approx([5e-4, 1.5e-3])
    moved = [p for group in optimizer.param_groups for p in group["params"]]
    assert len(moved) == len(list(model.parameters()))
    with pytest.raises(ConfigError, match="expected more beside a muon_learning_rate"):
        TrainingConfig(learning_rate=0, muon_learning_rate=1e-3)


def test_what_is_exported_hears_the_same(corpus: Path, tmp_path: Path) -> None:
    config = config_of(corpus, tmp_path / "run")
    run(config)
    told: list[tuple[int, int]] = []
    export_run(tmp_path / "run", tmp_path / "listener", lambda *told_of: told.append(told_of))
    clips = told[0][1]
    assert told == [(done, clips) for done in range(1, clips + 1)]
    tagger = Tagger(tmp_path / "listener")
    held = heard([read_manifest(corpus)], "validation", corpus.parent / "mel")
    assert held is not None
    mels = mels_of(held.mels[0, :400])
    best = CheckpointFolder(tmp_path / "run/checkpoints", 1).best()
    assert best is not None
    model = ListenerModel(config.model, 0).eval()
    parts = read_checkpoint(best[0]).parts
    model.load_state_dict(dict(parts.get("average", parts["model"])))
    with torch.no_grad():
        expected = model.hear(torch.from_numpy(mels)[None])
    found = tagger.of_mels(mels)
    for name in HEADS:
        assert np.abs(found[name] - expected[name][0].numpy()).max() < 1e-3


def test_heads_alone_leave_the_encoder_as_it_is(corpus: Path, tmp_path: Path) -> None:
    run(config_of(corpus, tmp_path / "run"))
    export_run(tmp_path / "run", tmp_path / "base")
    table = tmp_path / "mine.parquet"
    manifest = read_manifest(corpus)
    labelled = [replace(one, path=str(manifest.path_of(one)), score=None) for one in manifest.clips]
    write_manifest(table, Manifest(tmp_path, tuple(labelled)).clips)
    config = replace(
        config_of(corpus, tmp_path / "heads"),
        model=ListenerModelConfig(32, 3, 2, 64, base=str(tmp_path / "base"), tune="heads"),
    )
    config = replace(config, data=replace(config.data, manifests=(str(table),)))
    run(config)
    export_run(tmp_path / "heads", tmp_path / "tuned")
    base, tuned = read_heads(tmp_path / "base"), read_heads(tmp_path / "tuned")
    assert base.encoder == tuned.encoder
    before = (tmp_path / "base/heads.safetensors").read_bytes()
    assert before != (tmp_path / "tuned/heads.safetensors").read_bytes()
    # Too few clips held back to fit confidences to: they are those of the base.
    calibrated = Calibration((30.0,), (0.5,), (0.0,), ((0.0,),))
    write_heads(tmp_path / "base", {"music": calibrated})
    export_run(tmp_path / "heads", tmp_path / "kept")
    assert read_heads(tmp_path / "kept").calibration["music"] == calibrated
    assert "base: music." in (tmp_path / "kept/README.md").read_text()
    # Its checkpoints hold the heads alone.
    assert all(name.startswith("heads.") for name in weights_of(tmp_path / "heads"))
    run(config_of(corpus, tmp_path / "other", "training.seed=3"))
    (tmp_path / "base").rename(tmp_path / "away")
    export_run(tmp_path / "other", tmp_path / "base")
    with pytest.raises(ConfigError, match="another listener than the run began as"):
        export_run(tmp_path / "heads", tmp_path / "again")


def test_without_music_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data.manifests is empty"):
        ListenerTask(load_config(ListenerConfig, None, [f"output_dir={tmp_path}"]))
    with pytest.raises(ConfigError, match="tune is heads, and there is no base"):
        load_config(ListenerConfig, None, ["model.tune=heads"])


def test_calibration_finds_what_was_distorted() -> None:
    """Logits that are three times too sure, and one class that is too low by 1."""
    random = np.random.default_rng(0)
    true = random.normal(0, 1.5, (4000, 3))
    truth = (random.random(true.shape) < 1 / (1 + np.exp(-true))).astype(float)
    case = Judged(3 * true - [0, 3, 0], truth, np.ones(4000), 30)
    scale, rival, shift = _fit(case, "instruments")
    assert rival == 0
    assert scale == pytest.approx(1 / 3, rel=0.06)
    assert shift == pytest.approx([0, 1, 0], abs=0.12)


def test_each_manifest_counts_alike() -> None:
    assert _weights([0, 0, 0, 2]).tolist() == pytest.approx([2 / 3, 2 / 3, 2 / 3, 2])


def test_calibration_of_one_of_all() -> None:
    random = np.random.default_rng(0)
    true = random.normal(0, 1.5, (4000, 3))
    shares = np.exp(true) / np.exp(true).sum(1, keepdims=True)
    chosen = (random.random((4000, 1)) > shares.cumsum(1)).sum(1)
    truth = np.eye(3)[chosen]
    scale, _, shift = _fit(Judged(2 * true + [2, 0, 0], truth, np.ones(4000), 30), "energy")
    assert scale == pytest.approx(0.5, rel=0.06)
    assert np.array(shift) - shift[1] == pytest.approx([-1, 0, 0], abs=0.15)


def test_the_surest_genre_is_as_sure_as_it_is_right() -> None:
    """Of one true genre each, whose logits tell of all the others, too: by itself each would be
    less sure than the best of them may be."""
    random = np.random.default_rng(0)
    true = random.normal(0, 2, (6000, 14))
    shares = np.exp(true) / np.exp(true).sum(1, keepdims=True)
    chosen = (random.random((6000, 1)) > shares.cumsum(1)).sum(1)
    truth = np.eye(14)[chosen]
    errors = {}
    for head in ("genre", "instruments"):
        scale, rival, shift = _fit(Judged(true - 3, truth, np.ones(6000), 30), head)
        known = Calibration((30,), (scale,), (rival,), (tuple(shift),))
        confidences = 1 / (1 + np.exp(-known.applied((true - 3).astype(np.float32), 30)))
        right = confidences.argmax(1) == chosen
        errors[head] = reliability_error(confidences.max(1).astype(float), right)
    assert errors["genre"] < 0.02
    assert errors["instruments"] > 2 * errors["genre"]


def test_how_far_confidences_are_off() -> None:
    random = np.random.default_rng(0)
    confidences = random.random(20_000)
    fair = random.random(20_000) < confidences
    assert reliability_error(confidences, fair) < 0.02
    assert reliability_error(np.full(1000, 0.9), np.arange(1000) < 500) == pytest.approx(0.4)
