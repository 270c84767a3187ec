"""Mel filters and distances of sounds whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from antiphon.analysis.mel import DISTANCE_FLOOR, mel_distance, mel_filters
from antiphon.errors import AudioError

pytestmark = pytest.mark.unit

RATE = 16_000


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, samples).astype(np.float32)


@pytest.mark.parametrize(("bands", "window"), [(80, 512), (80, 2048), (100, 1024), (100, 256)])
def test_no_filter_is_empty_and_each_sums_to_one(bands: int, window: int) -> None:
    filters = mel_filters(bands, window, RATE)
    assert filters.shape == (window // 2 + 1, bands)
    assert np.abs(filters.sum(axis=0) - 1).max() < 1e-6
    assert (filters >= 0).all()
    centres = filters.argmax(axis=0)
    assert (np.diff(centres) >= 0).all()
    assert centres[-1] * RATE / window > 7000


def test_a_filter_lies_where_the_mel_scale_says() -> None:
    filters = mel_filters(80, 2048, RATE)
    # 1000 mel are 1000 Hz by definition of the scale; band b is centred on mel (b + 1) / 81 of
    # the way from 20 Hz (31.7 mel) to 8 kHz (2840 mel).
    band = round((1000 - 31.7) / (2840 - 31.7) * 81) - 1
    assert filters[:, band].argmax() * RATE / 2048 == pytest.approx(1000, rel=0.03)


def test_a_sound_is_at_no_distance_from_itself() -> None:
    assert mel_distance(noise(5000), noise(5000), RATE) == 0


def test_a_gain_is_its_logarithm() -> None:
    sound = noise(RATE)
    assert mel_distance(sound, 2 * sound, RATE) == pytest.approx(np.log(2), rel=0.01)


def test_silence_is_as_far_as_the_floor() -> None:
    # In every frame the loudest bin of a sine of amplitude 1 is near magnitude 1.
    sine = np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE).astype(np.float32)
    distance = mel_distance(sine, np.zeros_like(sine), RATE)
    assert 0.5 < distance < -np.log(DISTANCE_FLOOR)


@pytest.mark.parametrize("samples", [1, 100, 511, 2047, 256 * 512 + 3])
def test_any_length(samples: int) -> None:
    a, b = noise(samples, 1), noise(samples, 2)
    assert 0 < mel_distance(a, b, RATE) < 3
    assert mel_distance(a, b, RATE) == pytest.approx(mel_distance(b, a, RATE))


@pytest.mark.parametrize(
    ("a", "b", "match"),
    [
        (noise(10), noise(11), r"\(10,\) and \(11,\)"),
        (noise(10)[None], noise(10)[None], r"\(1, 10\)"),
        (noise(0), noise(0), r"\(0,\)"),
    ],
)
def test_sounds_that_cannot_be_compared(a: np.ndarray, b: np.ndarray, match: str) -> None:
    with pytest.raises(AudioError, match=match):
        mel_distance(a, b, RATE)
