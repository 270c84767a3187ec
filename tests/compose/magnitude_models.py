"""A small magnitude codec that is trained for seconds, and what it is trained on."""

from __future__ import annotations

import numpy as np
import torch

from antiphon.compose.codecs.magnitude_config import MagnitudeConfig
from antiphon.train.magnitude_model import MagnitudeModel

SMALL = MagnitudeConfig(
    sample_rate=16_000, window=256, stft_hop=40, frames_per_code=4, codebooks=2, codebook_size=32,
    width=24, encoder_blocks=2, decoder_blocks=2, latent_width=16, griffin_lim_iterations=4,
)  # fmt: skip
SINES_HZ = (500.0, 1000.0, 2250.0)
_STEPS, _SAMPLES = 300, 3200


def sine(hz: float, samples: int, amplitude: float = 0.3) -> np.ndarray:
    times = np.arange(samples) / SMALL.sample_rate
    return (amplitude * np.sin(2 * np.pi * hz * times)).astype(np.float32)


def trained_model() -> MagnitudeModel:
    """It knows silence and a few sines, whole and with a late start."""
    model = MagnitudeModel(SMALL, seed=3)
    random = np.random.default_rng(0)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(_STEPS):
        sounds = [sine(hz, _SAMPLES) for hz in SINES_HZ for _ in "ab"]
        for sound in sounds[::2]:
            sound[: random.integers(_SAMPLES)] = 0
        batch = torch.from_numpy(np.stack([*sounds, np.zeros(_SAMPLES, np.float32)]))
        if step == 0:
            model.fit_statistics(batch)
        optimiser.param_groups[0]["lr"] = 3e-3 * (1 - step / _STEPS)
        model.losses(batch, step).total.backward()
        optimiser.step()
        optimiser.zero_grad()
    return model.eval()
