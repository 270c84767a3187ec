"""The magnitude codec in torch, to be trained; `antiphon.compose.codecs.magnitude` plays it.

Everything a training run needs to go on bit for bit is in the state dict, as parameters or
buffers; what is drawn is drawn by (seed, step), never from a global state.
Letters: B batch, T samples, N STFT frames, F code frames, K codebooks, V entries, L latent width,
W width, M rows of latents.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn
from torch.nn import functional

from antiphon.analysis.mel import mel_filters
from antiphon.compose.checkpoint import codec_part, read_codec_config
from antiphon.compose.codecs import magnitude_graph
from antiphon.compose.codecs.magnitude_config import MagnitudeConfig, read_magnitude_config
from antiphon.compose.codecs.magnitude_graph import DECODER_KERNEL, EXPANSION, KERNEL, LOUDEST_LOG
from antiphon.compose.codecs.phase import margin
from antiphon.compose.config_values import CONFIG_NAME
from antiphon.compose.patterns import Codes
from antiphon.errors import EngineError, ModelError
from antiphon.files import atomic_write, storage_error
from antiphon.weights import WEIGHTS_NAME, Weights, weight_files

MEL_BANDS = 100
COLLECT_FROM_STEP = 110  # quantising from the first step on collapses: few entries are ever used
LATENTS_PER_ENTRY = 8  # that are collected before the k-means start
KMEANS_ROUNDS = 10
EMA_DECAY = 0.99
DEAD_SHARE = 0.1  # an entry used less often than this part of its fair share starts anew


@dataclass(frozen=True)
class CodecLosses:
    """Each a scalar; `total` is what to minimise."""

    total: Tensor
    log_magnitude: Tensor
    mel: Tensor
    root_magnitude: Tensor
    commitment: Tensor


class Block(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """ConvNeXt (Liu et al. 2022) along time: [B, F, W] -> [B, F, W]."""

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(width, width, KERNEL, padding=KERNEL // 2, groups=width)
        self.norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, EXPANSION * width)
        self.narrow = nn.Linear(EXPANSION * width, width)
        self.scale = nn.Parameter(torch.full((width,), 1 / blocks))

    def forward(self, x: Tensor) -> Tensor:
        y = self.depthwise(x.transpose(1, 2)).transpose(1, 2)
        return x + self.scale * self.narrow(functional.gelu(self.widen(self.norm(y))))


class Encoder(nn.Module):  # type: ignore[misc]
    """Standardised log-magnitudes of code frames [B, F, frames_per_code * bins] -> [B, F, L]."""

    def __init__(self, config: MagnitudeConfig) -> None:
        super().__init__()
        self.project = nn.Linear(config.frames_per_code * config.bins, config.width)
        self.blocks = _blocks(config.width, config.encoder_blocks)
        self.latent = nn.Linear(config.width, config.latent_width)

    def forward(self, x: Tensor) -> Tensor:
        return self.latent(self.blocks(self.project(x)))


class Decoder(nn.Module):  # type: ignore[misc]
    """Latents [B, F, L] -> standardised log-magnitudes [B, F, frames_per_code * bins]."""

    def __init__(self, config: MagnitudeConfig) -> None:
        super().__init__()
        self.project = nn.Conv1d(
            config.latent_width, config.width, DECODER_KERNEL, padding=DECODER_KERNEL // 2
        )
        self.blocks = _blocks(config.width, config.decoder_blocks)
        self.norm = nn.LayerNorm(config.width)
        self.log_magnitude = nn.Linear(config.width, config.frames_per_code * config.bins)

    def forward(self, x: Tensor) -> Tensor:
        x = self.project(x.transpose(1, 2)).transpose(1, 2)
        return self.log_magnitude(self.norm(self.blocks(x)))


def _blocks(width: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(Block(width, count) for _ in range(count)))


class ResidualQuantiser(nn.Module):  # type: ignore[misc]
    """K codebooks, each for what the ones before left (Zeghidour et al. 2021).

    Entries follow the mean of the latents they stand for (exponential moving averages, van den Oord
    et al. 2017); they begin as k-means of latents that are collected before. The first `fixed` ones
    are another codec's and stay as they are.
    """

    def __init__(self, config: MagnitudeConfig, seed: int, fixed: int = 0) -> None:
        super().__init__()
        self.fixed = fixed
        entries, width = config.codebook_size, config.latent_width
        self.register_buffer("seed", torch.tensor(seed))
        self.register_buffer("codebooks", torch.zeros(config.codebooks, entries, width))
        self.register_buffer("started", torch.tensor(False))
        # Of each entry: how many latents a step it stood for, and their sum.
        self.register_buffer("counts", torch.zeros(config.codebooks, entries))
        self.register_buffer("sums", torch.zeros(config.codebooks, entries, width))
        self.register_buffer("collected", torch.zeros(LATENTS_PER_ENTRY * entries, width))
        self.register_buffer("collected_count", torch.tensor(0))
        # What `started` says, to be asked without a look into a tensor.
        self.is_started = False
        self.register_load_state_dict_post_hook(lambda module, _: module._look())

    def forward(self, latents: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Latents [M, L] to their quantised ones, with the gradient of the latents, and the
        commitment loss. In training it also collects, starts and follows. Until it has started,
        latents pass as they are."""
        if not self.is_started and (not self.training or step < first_collected(self.fixed)):
            return latents, latents.new_zeros(())
        # What is not finite must not stay in the buffers: the step is left out by who takes it.
        learns = self.training and self.fixed < len(self.codebooks)
        moves = learns and bool(torch.isfinite(latents).all())
        if not self.is_started:
            if moves:
                self._collect(latents.detach(), step)
            return latents, latents.new_zeros(())
        rest, quantised, commitment = latents, torch.zeros_like(latents), latents.new_zeros(())
        for number in range(len(self.codebooks)):
            codes = self._nearest(rest.detach(), number)
            entries = self.codebooks[number][codes]
            if moves and number >= self.fixed:
                self._follow(rest.detach(), codes, number, step)
            commitment = commitment + functional.mse_loss(rest, entries)
            quantised = quantised + entries
            rest = rest - entries
        return latents + (quantised - latents).detach(), commitment / len(self.codebooks)

    def mark_started(self) -> None:
        """From now on it quantises."""
        self.started.fill_(True)
        self._look()

    def _look(self) -> None:
        self.is_started = bool(self.started)

    def encode(self, latents: Tensor) -> Tensor:
        """[M, L] -> codes [K, M]"""
        rows, rest = [], latents
        for number, entries in enumerate(self.codebooks):
            rows.append(self._nearest(rest, number))
            rest = rest - entries[rows[-1]]
        return torch.stack(rows)

    def decode(self, codes: Tensor) -> Tensor:
        """[K, M] -> [M, L]"""
        return sum(entries[row] for entries, row in zip(self.codebooks, codes, strict=True))

    def _nearest(self, rest: Tensor, number: int) -> Tensor:
        return _nearest(rest, self.codebooks[number])

    def _random(self, step: int, number: int) -> np.random.Generator:
        return np.random.default_rng((int(self.seed), step, number))

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def _collect(self, latents: Tensor, step: int) -> None:
        start = int(self.collected_count)
        kept = latents[: len(self.collected) - start]
        self.collected[start : start + len(kept)] = kept
        self.collected_count += len(kept)
        if self.collected_count == len(self.collected):
            self._start(len(latents), step)

    def _start(self, latents_per_step: int, step: int) -> None:
        rest = self.collected.clone()
        for number in range(len(self.codebooks)):
            if number < self.fixed:
                rest = rest - self.codebooks[number][self._nearest(rest, number)]
                continue
            random = self._random(step, number)
            centres, codes = _kmeans(rest, self.codebooks.shape[1], random)
            counts = functional.one_hot(codes, len(centres)).to(rest.dtype).sum(0)
            self.codebooks[number] = centres
            self.counts[number] = counts * latents_per_step / len(rest)
            rest = rest - centres[codes]
        self.sums.copy_(self.codebooks * self.counts[..., None])
        self.mark_started()

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def _follow(self, rest: Tensor, codes: Tensor, number: int, step: int) -> None:
        """Move the entries towards what they stand for; those that died start anew, as latents of
        this step."""
        counts, sums = self.counts[number], self.sums[number]
        # A product, not `index_add_`, whose order of adding is not fixed on GPUs.
        chosen = functional.one_hot(codes, len(counts)).to(rest.dtype)  # [M, V]
        counts.lerp_(chosen.sum(0), 1 - EMA_DECAY)
        sums.lerp_(chosen.T @ rest, 1 - EMA_DECAY)
        fair = len(rest) / len(counts)
        dead = torch.nonzero(counts < DEAD_SHARE * fair)[:, 0]
        if len(dead):
            random = self._random(step, number)
            drawn = torch.from_numpy(random.integers(len(rest), size=len(dead))).to(rest.device)
            counts[dead] = fair
            sums[dead] = rest[drawn] * fair
        self.codebooks[number] = sums / counts[:, None]


def _nearest(latents: Tensor, entries: Tensor) -> Tensor:
    """For latents [M, L] the number [M] of the nearest of [V, L]."""
    # |x - e|^2 = |x|^2 - 2 (x e - |e|^2 / 2)
    return (latents @ entries.T - entries.square().sum(1) / 2).argmax(1)


def _kmeans(latents: Tensor, count: int, random: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Lloyd's algorithm from latents drawn: centres [count, L], and the centre of each latent.

    A centre that stands for no latent becomes one that is drawn anew.
    """
    drawn = random.choice(len(latents), count, replace=False)
    centres = latents[torch.from_numpy(drawn).to(latents.device)]
    for _ in range(KMEANS_ROUNDS):
        chosen = functional.one_hot(_nearest(latents, centres), count).to(latents.dtype)
        counts = chosen.sum(0)
        others = torch.from_numpy(random.integers(len(latents), size=count)).to(latents.device)
        means = chosen.T @ latents / counts.clamp(min=1)[:, None]
        centres = torch.where(counts[:, None] > 0, means, latents[others])
    return centres, _nearest(latents, centres)


class MagnitudeModel(nn.Module):  # type: ignore[misc]
    """Encoder, quantiser, decoder; the tensors of `magnitude_graph.shapes`, and a run's state.

    May run under autocast: statistics, quantiser and losses stay in float32.
    """

    def __init__(self, config: MagnitudeConfig, seed: int = 0, begin: Path | None = None) -> None:
        """`seed` draws the first weights and, with the step, all that is drawn in training.

        `begin` is a codec, by itself or the part of a MusicGen, of the same sizes but for the
        number of codebooks: its encoder and its codebooks stay as they are, what is learned is the
        decoder, which begins as its own, and further codebooks. Raises ModelError for another.
        """
        super().__init__()
        self.config = config
        begun = None if begin is None else _begun(begin, config)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.encoder = Encoder(config)
            self.decoder = Decoder(config)
        fixed = 0 if begun is None else len(begun[magnitude_graph.CODEBOOKS])
        self.quantiser = ResidualQuantiser(config, seed, fixed)
        self.register_buffer("mean", torch.zeros(config.bins))
        self.register_buffer("deviation", torch.ones(config.bins))
        # Not in the state dict: they follow from the config.
        filters = torch.from_numpy(mel_filters(MEL_BANDS, config.window, config.sample_rate))
        self.register_buffer("_mel_filters", filters, persistent=False)
        self.register_buffer("_taper", torch.hann_window(config.window), persistent=False)
        if begun is not None:
            self._take_over(begun)

    def _take_over(self, tensors: dict[str, Tensor]) -> None:
        codebooks = tensors.pop(magnitude_graph.CODEBOOKS)
        self.load_state_dict(tensors, strict=False)  # the rest is the state of a run
        self.quantiser.codebooks[: len(codebooks)] = codebooks
        self.encoder.requires_grad_(False)
        if len(codebooks) == self.config.codebooks:
            self.quantiser.mark_started()

    @property
    def is_begun(self) -> bool:
        """Whether it has another codec's encoder, which brings its statistics."""
        return self.quantiser.fixed > 0

    @property
    def quantising(self) -> bool:
        """Whether the quantiser has started."""
        return self.quantiser.is_started

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def fit_statistics(self, waveforms: Tensor) -> None:
        """Take mean and deviation of the log-magnitudes, per bin, from waveforms [B, T]."""
        logs = self._log(self.magnitudes(waveforms))
        self.mean.copy_(logs.mean((0, 1)))
        # A bin that never changes would be divided by nothing.
        self.deviation.copy_(logs.std((0, 1)).clamp(min=0.1))

    def magnitudes(self, waveforms: Tensor) -> Tensor:
        """Waveforms [B, T], filled up to whole code frames, to [B, N, bins]; as `phase.analyse`."""
        config = self.config
        reach = margin(config.window, config.stft_hop)
        missing = -waveforms.shape[1] % config.hop
        padded = functional.pad(waveforms.float(), (reach, reach + missing))
        frames = padded.unfold(1, config.window, config.stft_hop) * self._taper
        return torch.fft.rfft(frames).abs()

    def latents(self, magnitudes: Tensor) -> Tensor:
        """[B, N, bins] -> [B, F, L]"""
        standard = (self._log(magnitudes) - self.mean) / self.deviation
        return self.encoder(standard.unflatten(1, (-1, self.config.frames_per_code)).flatten(2))

    def log_magnitudes(self, latents: Tensor) -> Tensor:
        """[B, F, L] -> ln(magnitude + log floor) [B, N, bins]"""
        config = self.config
        joined = self.decoder(latents).float()
        frames = joined.unflatten(2, (config.frames_per_code, config.bins)).flatten(1, 2)
        return frames * self.deviation + self.mean

    def encode(self, waveforms: Tensor) -> Tensor:
        """[B, T] -> codes [B, K, F]"""
        latents = self.latents(self.magnitudes(waveforms))
        codes = self.quantiser.encode(latents.flatten(0, 1).float())  # [K, B * F]
        return codes.unflatten(1, latents.shape[:2]).transpose(0, 1)

    def decode(self, codes: Tensor) -> Tensor:
        """Codes [B, K, F] -> ln(magnitude + log floor) [B, N, bins]"""
        latents = self.quantiser.decode(codes.transpose(0, 1).flatten(1))
        return self.log_magnitudes(latents.unflatten(0, (len(codes), -1)))

    def losses(self, waveforms: Tensor, step: int) -> CodecLosses:
        """Of waveforms [B, T]. In training mode this is what moves the quantiser, too: `step` says
        when it starts and seeds what it draws."""
        magnitudes = self.magnitudes(waveforms)
        latents = self.latents(magnitudes)
        with torch.autocast(waveforms.device.type, enabled=False):
            quantised, commitment = self.quantiser(latents.flatten(0, 1).float(), step)
        logs = self.log_magnitudes(quantised.unflatten(0, latents.shape[:2]))
        with torch.autocast(waveforms.device.type, enabled=False):
            return self._losses(magnitudes, logs, commitment)

    def _losses(self, magnitudes: Tensor, logs: Tensor, commitment: Tensor) -> CodecLosses:
        # Zeros would have an endless slope below the root.
        decoded = (logs.clamp(max=LOUDEST_LOG).exp() - self.config.log_floor).clamp(min=1e-6)
        log_magnitude = functional.l1_loss(logs, self._log(magnitudes))
        mels = [self._log(values @ self._mel_filters) for values in (decoded, magnitudes)]
        mel = functional.l1_loss(*mels)
        root_magnitude = functional.l1_loss(decoded.sqrt(), (magnitudes + 1e-6).sqrt())
        total = 0.5 * log_magnitude + mel + 1.5 * root_magnitude + 0.05 * commitment
        return CodecLosses(total, log_magnitude, mel, root_magnitude, commitment)

    def _log(self, magnitudes: Tensor) -> Tensor:
        return (magnitudes + self.config.log_floor).log()

    def save(self, folder: Path) -> None:
        """Write config.json and model.safetensors, for `load` and `open_codec`.

        Raises EngineError before the quantiser has started, StorageError.
        """
        if not self.quantising:
            raise EngineError(
                "the quantiser has not started; expected more than "
                f"{first_collected(self.quantiser.fixed)} steps of "
                "training before this codec is saved"
            )
        state = self.state_dict()
        tensors = {
            name: state[name].detach().cpu().contiguous()
            for name in magnitude_graph.shapes(self.config)
        }
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise storage_error("write", folder, error) from error
        atomic_write(folder / WEIGHTS_NAME, to_safetensors(tensors))
        config = json.dumps(self.config.values(), indent=2) + "\n"
        atomic_write(folder / CONFIG_NAME, config.encode())

    @classmethod
    def load(cls, folder: Path, seed: int = 0) -> Self:
        """What `save` has written. Raises ModelError for a folder that holds no such codec."""
        config = read_magnitude_config(folder)
        shapes = magnitude_graph.shapes(config)
        with Weights(weight_files(folder)) as weights:
            weights.require(shapes)
            model = cls(config, seed)
            model.load_state_dict(_read(weights, shapes), strict=False)
        quantiser = model.quantiser
        quantiser.counts.fill_(1)
        quantiser.sums.copy_(quantiser.codebooks)
        quantiser.mark_started()
        return model


def first_collected(fixed: int) -> int:
    """The step from which on latents are collected, where so many codebooks are there already: of
    an encoder that does not move, nearly the first, by which memory is measured."""
    return 1 if fixed else COLLECT_FROM_STEP


def _begun(folder: Path, config: MagnitudeConfig) -> dict[str, Tensor]:
    """The tensors of the codec that one of `config` begins with."""
    found = read_codec_config(folder)
    if not isinstance(found, MagnitudeConfig):
        raise ModelError(f"the codec of {folder} is no magnitude codec; expected one")
    if replace(found, codebooks=config.codebooks) != config or found.codebooks > config.codebooks:
        raise ModelError(
            f"the codec of {folder} is {found}; expected one of the same sizes as {config}, with "
            "as many codebooks or fewer"
        )
    with Weights(weight_files(folder)) as everything:
        weights, shapes = codec_part(everything), magnitude_graph.shapes(found)
        weights.require(shapes)
        return _read(weights, shapes)


def _read(weights: Weights, names: Iterable[str]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(weights.read(name)) for name in names}


def codebook_perplexity(codes: Codes, codebook_size: int) -> NDArray[np.float64]:
    """exp of the entropy of each row of codes [K, F]: how many entries are in use, [K]."""
    shares = [np.bincount(row, minlength=codebook_size) / codes.shape[1] for row in codes]
    logs = [np.log(share, where=share > 0, out=np.zeros_like(share)) for share in shares]
    return np.exp([-(share * log).sum() for share, log in zip(shares, logs, strict=True)])
