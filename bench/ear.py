"""An ear for the composer's bench, trained here: genre and energy from sound alone.

No part of antiphon has it, so that nothing was made to please it. It learns from pieces of other
seeds than those that are judged, by the soundfonts of the composer and one more. Letters: B clips,
N frames, M mel bands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from antiphon.analysis.mel import hann, mel_filters
from antiphon.audio import Waveform, read, resample
from antiphon.controls import ENERGIES, GENRES
from antiphon.data.manifest import Clip, read_manifest
from antiphon.data.running import RunOptions
from antiphon.data.synthesizing import Recipe, synthesize
from antiphon.threads import usable_cores

RATE, WINDOW, HOP, BANDS, FLOOR = 16_000, 1024, 320, 64, 1e-3
PIECES, SEED, SECONDS = 6000, 940_000, 10.0  # a seed that no corpus has
CROP_FRAMES, BATCH, EPOCHS, LEARNING_RATE = 320, 32, 20, 3e-3
_FILTERS = mel_filters(BANDS, WINDOW, RATE)
Floats = NDArray[np.float32]


class _Net(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """[B, N, M] -> genres [B, 14] and an energy [B]."""

    def __init__(self) -> None:
        super().__init__()
        sizes = (1, 16, 32, 64, 128)
        blocks = [_block(before, after) for before, after in zip(sizes, sizes[1:], strict=False)]
        last = nn.Conv2d(128, 192, (BANDS // 16, 3), padding=(0, 1))
        self.layers = nn.Sequential(*blocks, last, nn.BatchNorm2d(192), nn.ReLU())
        self.dropout = nn.Dropout(0.3)
        self.genre = nn.Linear(384, len(GENRES))
        self.energy = nn.Linear(384, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        seen = self.layers(x.transpose(1, 2)[:, None])[:, :, 0]
        pooled = self.dropout(torch.cat([seen.mean(2), seen.amax(2)], 1))
        return self.genre(pooled), self.energy(pooled)[:, 0]


def _block(before: int, after: int) -> nn.Sequential:
    conv = nn.Conv2d(before, after, 3, padding=1)
    return nn.Sequential(conv, nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2))


@dataclass(frozen=True, eq=False)
class Opinion:
    """Of some sounds: the number of the likeliest genre, and how energetic they are."""

    genre: NDArray[np.int64]
    energy: Floats


class BenchEar:
    """Trained; `accuracy` is its share of right genres on the pieces that it did not learn from."""

    def __init__(self, net: _Net, mean: Tensor, deviation: Tensor) -> None:
        self._net, self._mean, self._deviation = net.eval(), mean, deviation
        self.accuracy = 0.0
        self.judged = 0

    def hear(self, sounds: Sequence[Waveform]) -> Opinion:
        """Sounds of one length."""
        return self.judge(np.stack([spectrum(sound) for sound in sounds]))

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def judge(self, spectra: Floats) -> Opinion:
        """By [B, N, M]."""
        x = (torch.from_numpy(spectra.astype(np.float32)) - self._mean) / self._deviation
        found = [self._net(part) for part in x.split(BATCH)]
        genre = torch.cat([one for one, _ in found]).argmax(1).numpy()
        return Opinion(genre, torch.cat([energy for _, energy in found]).numpy())


def spectrum(sound: Waveform) -> Floats:
    """Log-mel [N, M] of the mono sound at 16 kHz, brought to full scale."""
    mono = resample(sound.mono(), RATE)
    samples = mono.samples[0] / max(float(np.abs(mono.samples).max()), 1e-6)
    frames = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP] * hann(WINDOW)
    magnitudes = np.abs(np.fft.rfft(frames)).astype(np.float32)
    logs: Floats = np.log(magnitudes @ _FILTERS + FLOOR)
    return logs.astype(np.float32)


def trained(folder: Path, soundfonts: Sequence[Path], pieces: int = PIECES) -> BenchEar:
    """Make the pieces in `folder`, and learn from those of the splits train and validation."""
    recipe = Recipe(
        pieces, SEED, SECONDS, RATE, renderers=("synth", *["fluidsynth"] * len(soundfonts)),
        soundfonts=tuple(soundfonts), variation="light",
    )  # fmt: skip
    synthesize(recipe, folder, RunOptions(usable_cores()))
    clips = read_manifest(folder / "manifest.parquet").clips
    learned = _table(folder, [clip for clip in clips if clip.split != "test"])
    held = _table(folder, [clip for clip in clips if clip.split == "test"])
    ear = _learn(*learned)
    ear.accuracy = float((ear.judge(held[0]).genre == held[1].numpy()).mean())
    ear.judged = len(held[1])
    return ear


def _table(folder: Path, clips: Sequence[Clip]) -> tuple[Floats, Tensor, Tensor]:
    """Spectra [B, N, M], genres [B], and energies [B] of 0 to 1, not a number where none is."""
    spectra, genres, energies = [], [], []
    for clip in clips:
        spectra.append(spectrum(read(folder / clip.path).waveform).astype(np.float16))
        controls = clip.controls or {}
        genres.append(GENRES.index(str(controls["genre"])))
        known = str(controls.get("energy"))
        energies.append(ENERGIES.index(known) / 2 if known in ENERGIES else np.nan)
    tensors = torch.tensor(genres), torch.tensor(energies, dtype=torch.float32)
    return np.stack(spectra), *tensors


def _learn(spectra: Floats, genres: Tensor, energies: Tensor) -> BenchEar:
    torch.manual_seed(0)
    torch.set_num_threads(usable_cores())
    x = torch.from_numpy(spectra.astype(np.float32))
    mean, deviation = x.mean((0, 1)), x.std((0, 1))
    x = (x - mean) / deviation
    net = _Net().to(memory_format=torch.channels_last)
    steps = len(x) // BATCH
    optimizer = torch.optim.AdamW(net.parameters(), LEARNING_RATE, weight_decay=0.05)
    rates = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, LEARNING_RATE, total_steps=EPOCHS * steps
    )
    for _ in range(EPOCHS):
        for chosen in torch.randperm(len(x)).split(BATCH)[:steps]:
            with torch.autocast("cpu", torch.bfloat16):
                genre, energy = net(_spoilt(x[chosen]))
            loss = functional.cross_entropy(genre.float(), genres[chosen], label_smoothing=0.05)
            known = ~energies[chosen].isnan()
            if known.any():
                loss = loss + functional.mse_loss(energy.float()[known], energies[chosen][known])
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            rates.step()
    return BenchEar(net, mean, deviation)


def _spoilt(x: Tensor) -> Tensor:
    """A part in time, at another level, a little higher or lower, without some bands."""
    start = int(torch.randint(0, x.shape[1] - CROP_FRAMES + 1, ()))
    x = x[:, start : start + CROP_FRAMES] + 0.3 * torch.randn(len(x), 1, 1)
    x = torch.roll(x, int(torch.randint(-1, 2, ())), 2)
    first = int(torch.randint(0, BANDS - 8, ()))
    x[:, :, first : first + int(torch.randint(0, 8, ()))] = 0
    return x
