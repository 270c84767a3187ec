"""Log-mel spectra, against transformers' own extractor."""

from __future__ import annotations

import numpy as np
import pytest
from transformers import WhisperFeatureExtractor

from antiphon.listen.mel import BANDS, HOP, SAMPLE_RATE, log_mel

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("seconds", [0.2, 1.0, 3.337, 30.0])
def test_as_whisper_computes_them(seconds: float) -> None:
    random = np.random.default_rng(1)
    count = round(seconds * SAMPLE_RATE)
    tone = np.sin(2 * np.pi * 440 * np.arange(count) / SAMPLE_RATE)
    samples = (0.3 * tone + random.normal(0, 0.01, count)).astype(np.float32)
    extractor = WhisperFeatureExtractor(feature_size=BANDS)
    theirs = extractor(
        samples, sampling_rate=SAMPLE_RATE, padding=False, return_tensors="np"
    ).input_features[0]
    ours = log_mel(samples)
    assert ours.shape == (-(-count // HOP), BANDS)
    frames = count // HOP  # theirs leaves out a frame that is not whole
    assert np.abs(ours[:frames] - theirs.T[:frames]).max() < 1e-4


def test_a_tone_lies_in_one_band_and_twice_as_loud_is_6_db_more() -> None:
    times = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    soft = log_mel((0.1 * np.sin(2 * np.pi * 1000 * times)).astype(np.float32))
    loud = log_mel((0.2 * np.sin(2 * np.pi * 1000 * times)).astype(np.float32))
    band = int(soft[50].argmax())
    assert loud[50, band] - soft[50, band] == pytest.approx(np.log10(4) / 4, abs=1e-3)
    # Hann's main lobe is 160 Hz wide, a band here 24.
    far = np.delete(soft[50], range(band - 6, band + 7))
    assert (far < soft[50, band] - 0.5).all()


@pytest.mark.parametrize("count", [0, 1, 150, 399, 401])
def test_very_little_sound(count: int) -> None:
    mels = log_mel(np.full(count, 0.1, np.float32))
    assert mels.shape == (-(-count // HOP), BANDS)
    assert np.isfinite(mels).all()


def test_silence_is_at_the_floor() -> None:
    assert log_mel(np.zeros(16_000, np.float32)).max() == pytest.approx(-1.5)
