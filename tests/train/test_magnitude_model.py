"""Training the magnitude codec: it learns, it starts to quantise, and a run goes on bit for bit."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from antiphon.compose.codecs.magnitude_config import MagnitudeConfig
from antiphon.compose.codecs.magnitude_graph import CODEBOOKS, shapes
from antiphon.compose.codecs.phase import analyse, margin
from antiphon.errors import EngineError, ModelError
from antiphon.train.magnitude_model import (
    COLLECT_FROM_STEP,
    LATENTS_PER_ENTRY,
    MagnitudeModel,
    ResidualQuantiser,
    codebook_perplexity,
)

pytestmark = pytest.mark.unit

CONFIG = MagnitudeConfig(
    sample_rate=8_000, window=128, stft_hop=20, frames_per_code=4, codebooks=3, codebook_size=16,
    width=16, encoder_blocks=1, decoder_blocks=2, latent_width=8, griffin_lim_iterations=4,
)  # fmt: skip
BATCH, SAMPLES = 4, 16 * 80
# Steps of 4 x 16 latents until there are 8 for each of 16 entries.
START_STEP = COLLECT_FROM_STEP + LATENTS_PER_ENTRY * 16 // (BATCH * 16) - 1


def waveforms(seed: int, samples: int = SAMPLES) -> Tensor:
    """Sines of any pitch and loudness over noise: [B, T]."""
    random = np.random.default_rng(seed)
    times = np.arange(samples) / CONFIG.sample_rate
    hz, gain = random.uniform(100, 3000, (BATCH, 1)), random.uniform(0.01, 0.5, (BATCH, 1))
    noise = random.normal(0, 0.005, (BATCH, samples))
    return torch.from_numpy((gain * np.sin(2 * np.pi * hz * times) + noise).astype(np.float32))


class Run:
    """A model and its optimiser."""

    def __init__(self, seed: int = 5) -> None:
        self.model = MagnitudeModel(CONFIG, seed)
        self.model.fit_statistics(waveforms(1000))
        self.optimiser = torch.optim.AdamW(self.model.parameters(), lr=3e-3)

    def steps(self, first: int, stop: int) -> list[float]:
        """The total losses of steps [first, stop)."""
        totals = []
        for step in range(first, stop):
            total = self.model.losses(waveforms(step), step).total
            total.backward()
            self.optimiser.step()
            self.optimiser.zero_grad()
            totals.append(float(total.detach()))
        return totals

    def state(self) -> dict[str, object]:
        both = {"model": self.model.state_dict(), "optimiser": self.optimiser.state_dict()}
        return copy.deepcopy(both)

    def restore(self, state: dict[str, object]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])


@pytest.fixture(scope="module")
def trained() -> Run:
    run = Run()
    run.steps(0, START_STEP + 60)
    return run


def test_the_loss_falls_before_and_after_the_start() -> None:
    run = Run()
    before = run.steps(0, START_STEP + 1)
    after = run.steps(START_STEP + 1, START_STEP + 150)
    assert np.mean(before[-10:]) < 0.85 * np.mean(before[:10])
    assert np.mean(after[-10:]) < 0.95 * np.mean(after[:10])


def test_quantising_starts_when_enough_latents_are_collected() -> None:
    run = Run()
    run.steps(COLLECT_FROM_STEP - 2, COLLECT_FROM_STEP)
    assert run.model.quantiser.collected_count == 0
    run.steps(COLLECT_FROM_STEP, START_STEP)
    assert not run.model.quantising
    assert float(run.model.losses(waveforms(0), 0).commitment) == 0
    run.steps(START_STEP, START_STEP + 1)
    assert run.model.quantising
    codes = run.model.encode(waveforms(START_STEP)).transpose(0, 1).flatten(1).numpy()
    assert (codebook_perplexity(codes, 16) > 5).all()  # 16 at best; 1 if it had collapsed
    assert float(run.model.losses(waveforms(0), 0).commitment.detach()) > 0


def test_each_codebook_comes_nearer(trained: Run) -> None:
    model = trained.model
    with torch.no_grad():
        latents = model.latents(model.magnitudes(waveforms(7))).flatten(0, 1)
        codes = model.quantiser.encode(latents)
        rest, errors = latents, [float(latents.square().mean())]
        for entries, row in zip(model.quantiser.codebooks, codes, strict=True):
            # The nearest one, by the definition of distance.
            assert torch.equal(row, torch.cdist(rest, entries).argmin(1))
            rest = rest - entries[row]
            errors.append(float(rest.square().mean()))
        assert errors == sorted(errors, reverse=True)
        assert torch.allclose(model.quantiser.decode(codes), latents - rest, atol=1e-5)


@pytest.mark.parametrize("at", [60, COLLECT_FROM_STEP + 1, START_STEP + 1, START_STEP + 20])
def test_an_interrupted_run_goes_on_bit_for_bit(at: int) -> None:
    """Interrupted before latents are collected, in between, after the start, and later; dead
    entries start anew on the way."""
    whole = Run()
    whole.steps(50, at)
    state = whole.state()
    stop = START_STEP + 30

    def go_on(run: Run) -> tuple[list[float], Tensor]:
        losses = run.steps(at, max(at, START_STEP + 25))
        run.model.quantiser.counts[1, :4] = 0  # dead: the next step lets them start anew
        return losses + run.steps(max(at, START_STEP + 25), stop), run.model.quantiser.codebooks

    losses, codebooks = go_on(whole)
    assert (whole.model.quantiser.counts[1, :4] > 0).all()
    other = Run(seed=9)
    other.steps(0, 3)  # what it had is gone when the state is restored
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002  # the global state must not matter
    other.restore(state)
    losses_again, codebooks_again = go_on(other)
    assert losses == losses_again
    assert torch.equal(codebooks, codebooks_again)


def test_what_is_drawn_depends_on_the_seed() -> None:
    start = [START_STEP - 3, START_STEP + 3]
    runs = [Run(seed=5), Run(seed=5)]
    runs[1].model.quantiser.seed.fill_(6)
    assert runs[0].steps(*start)[:4] == runs[1].steps(*start)[:4]
    codebooks = [run.model.quantiser.codebooks for run in runs]
    assert not torch.equal(codebooks[0], codebooks[1])
    first = [MagnitudeModel(CONFIG, seed).encoder.latent.weight for seed in (5, 5, 6)]
    assert torch.equal(first[0], first[1])
    assert not torch.equal(first[0], first[2])


def test_building_one_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    MagnitudeModel(CONFIG)
    assert torch.equal(torch.rand(3), expected)


def test_a_dead_entry_starts_anew_as_a_latent(trained: Run) -> None:
    model = copy.deepcopy(trained.model)
    quantiser = model.quantiser
    quantiser.codebooks[0, 3] = 1e3  # so far away that nothing chooses it
    quantiser.counts[0, 3] = 0
    model.losses(waveforms(8), 500)
    latents = model.latents(model.magnitudes(waveforms(8))).flatten(0, 1).detach()
    nearest = (latents - quantiser.codebooks[0, 3]).abs().amax(1).min()
    assert nearest < 1e-5
    quantiser.codebooks[0, 3] = 1e3
    quantiser.sums[0, 3] = 1e3
    quantiser.counts[0, 3] = 1
    model.losses(waveforms(8), 501)
    assert quantiser.codebooks[0, 3].min() > 900  # not dead yet


def test_evaluating_changes_nothing(trained: Run) -> None:
    model = copy.deepcopy(trained.model).eval()
    before = copy.deepcopy(model.state_dict())
    losses = [float(model.losses(waveforms(9), step).total.detach()) for step in (200, 201)]
    assert losses[0] == losses[1]
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    fresh = MagnitudeModel(CONFIG).eval()
    fresh.losses(waveforms(9), COLLECT_FROM_STEP)
    assert fresh.quantiser.collected_count == 0


def test_the_losses_are_what_they_say(trained: Run) -> None:
    model = copy.deepcopy(trained.model).eval()
    sound = waveforms(3)
    with torch.no_grad():
        losses = model.losses(sound, 0)
        true = model.magnitudes(sound)
        logs = model.decode(model.encode(sound))
    total = 0.5 * losses.log_magnitude + losses.mel + 1.5 * losses.root_magnitude
    assert losses.total == pytest.approx(float(total + 0.05 * losses.commitment))
    made = (logs.exp() - CONFIG.log_floor).clamp(min=0)
    expected = (logs - (true + CONFIG.log_floor).log()).abs().mean()
    assert float(losses.log_magnitude) == pytest.approx(float(expected), rel=1e-4)
    expected = (made.sqrt() - true.sqrt()).abs().mean()
    assert float(losses.root_magnitude) == pytest.approx(float(expected), rel=0.02)


def test_what_is_decoded_teaches_the_encoder(trained: Run) -> None:
    model = copy.deepcopy(trained.model).eval()
    model.losses(waveforms(3), 0).log_magnitude.backward()
    assert float(model.encoder.project.weight.grad.abs().max()) > 0


@pytest.mark.parametrize("samples", [80, 81, 1000])
def test_magnitudes_are_those_of_the_codec(samples: int) -> None:
    sound = waveforms(2, samples)
    reach = margin(CONFIG.window, CONFIG.stft_hop)
    padded = np.pad(sound[0].numpy(), (reach, reach + -samples % CONFIG.hop))
    expected = analyse(padded, CONFIG.window, CONFIG.stft_hop)
    found = MagnitudeModel(CONFIG).magnitudes(sound)[0].numpy()
    assert found.shape == expected.shape == (-(-samples // CONFIG.hop) * 4, CONFIG.bins)
    assert np.abs(found - expected).max() < 1e-5


def test_statistics_are_those_of_the_waveforms() -> None:
    model = MagnitudeModel(CONFIG)
    sound = waveforms(4)
    model.fit_statistics(sound)
    logs = (model.magnitudes(sound) + CONFIG.log_floor).log().numpy()
    assert np.abs(model.mean.numpy() - logs.mean((0, 1))).max() < 1e-4
    assert np.abs(model.deviation.numpy() - logs.std((0, 1))).max() < 0.01
    model.fit_statistics(torch.zeros_like(sound))
    assert float(model.deviation.min()) > 0  # silence must not divide by nothing


def test_it_trains_under_autocast() -> None:
    run = Run()
    with torch.autocast("cpu", torch.bfloat16):
        totals = run.steps(START_STEP - 20, START_STEP + 20)
    assert np.isfinite(totals).all()
    assert run.model.quantising
    kinds = {value.dtype for value in run.model.state_dict().values() if value.is_floating_point()}
    assert kinds == {torch.float32}


def test_a_codec_comes_back(trained: Run, tmp_path: Path) -> None:
    trained.model.save(tmp_path / "new" / "codec")
    loaded = MagnitudeModel.load(tmp_path / "new" / "codec")
    assert loaded.config == CONFIG
    assert loaded.quantising
    codes = trained.model.encode(waveforms(6))
    assert torch.equal(loaded.encode(waveforms(6)), codes)
    assert torch.equal(loaded.decode(codes), trained.model.decode(codes))
    assert sorted(path.name for path in (tmp_path / "new" / "codec").iterdir()) == [
        "config.json",
        "model.safetensors",
    ]


def test_a_codec_that_came_back_can_be_trained_on(trained: Run, tmp_path: Path) -> None:
    trained.model.save(tmp_path)
    loaded = MagnitudeModel.load(tmp_path)
    before = float(loaded.losses(waveforms(6), 300).total.detach())
    for step in range(300, 340):
        loaded.losses(waveforms(step), step)
    assert float(loaded.losses(waveforms(6), 341).total.detach()) < 1.2 * before


def test_further_codebooks_leave_codes_as_they_are(trained: Run, tmp_path: Path) -> None:
    trained.model.save(tmp_path / "codec")
    config = replace(CONFIG, codebooks=5)
    model = MagnitudeModel(config, 7, begin=tmp_path / "codec")
    assert model.is_begun
    assert not model.quantising
    before = copy.deepcopy(model.state_dict())
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(learned, lr=1e-3)
    for step in range(40):
        model.losses(waveforms(step), step).total.backward()
        optimiser.step()
        optimiser.zero_grad()
    assert model.quantising
    sound = waveforms(500)
    model.eval()
    trained.model.eval()
    with torch.no_grad():
        codes, old = model.encode(sound), trained.model.encode(sound)
        latents = model.latents(model.magnitudes(sound)).flatten(0, 1)
        flat = codes.transpose(0, 1).flatten(1)
        left = [
            float((latents - ResidualQuantiser.decode(part, flat[:count])).square().mean())
            for count, part in ((3, trained.model.quantiser), (5, model.quantiser))
        ]
    trained.model.train()
    assert codes.shape[1] == 5
    assert torch.equal(codes[:, :3], old)
    assert left[1] < 0.8 * left[0]
    moved = {
        name.partition(".")[0]
        for name, tensor in model.state_dict().items()
        if not torch.equal(tensor, before[name]) and not name.startswith("quantiser.")
    }
    assert moved == {"decoder"}
    model.save(tmp_path / "finer")
    again = MagnitudeModel(config, begin=tmp_path / "finer")
    assert again.quantising  # nothing but its decoder is left to learn
    again.losses(waveforms(0), 0)
    assert torch.equal(again.quantiser.codebooks, model.quantiser.codebooks)


def test_only_a_codec_of_its_sizes_is_begun_with(trained: Run, tmp_path: Path) -> None:
    trained.model.save(tmp_path)
    for other in (replace(CONFIG, codebooks=2), replace(CONFIG, width=32)):
        with pytest.raises(ModelError, match="expected one of the same sizes"):
            MagnitudeModel(other, begin=tmp_path)


def test_all_tensors_of_the_codec_are_in_the_state(trained: Run) -> None:
    state = trained.model.state_dict()
    assert {name: tuple(state[name].shape) for name in shapes(CONFIG)} == shapes(CONFIG)
    parameters = {name for name, _ in trained.model.named_parameters()}
    assert parameters <= shapes(CONFIG).keys()


def test_a_codec_that_does_not_quantise_yet_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"has not started; expected more than 110 steps"):
        MagnitudeModel(CONFIG).save(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_holds_another(trained: Run, tmp_path: Path) -> None:
    trained.model.save(tmp_path)
    text = (tmp_path / "config.json").read_text()
    (tmp_path / "config.json").write_text(text.replace('"codebooks": 3', '"codebooks": 4'))
    with pytest.raises(ModelError, match=rf"'{CODEBOOKS}' has the shape \(3, 16, 8\); expected"):
        MagnitudeModel.load(tmp_path)


def test_perplexity_counts_the_entries_in_use() -> None:
    every = np.tile(np.arange(16), 10)
    codes = np.stack([every, every % 4, np.zeros_like(every)])
    assert codebook_perplexity(codes, 16) == pytest.approx([16, 4, 1])
    uneven = np.array([[0, 0, 0, 1]])
    expected = np.exp(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25)))
    assert codebook_perplexity(uneven, 1024) == pytest.approx([expected])
