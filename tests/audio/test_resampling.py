"""Resampling: the same streamed or whole, flat where it should be, silent where it should be."""

from __future__ import annotations

import numpy as np
import pytest

from antiphon import audio
from antiphon.errors import ConfigError

pytestmark = pytest.mark.unit


def tone(hz: float, rate: int, seconds: float = 2.0) -> audio.Waveform:
    times = np.arange(round(seconds * rate)) / rate
    return audio.Waveform(np.sin(2 * np.pi * hz * times).astype(np.float32)[None], rate)


def level_db(waveform: audio.Waveform) -> float:
    """Power of the middle, against a sine at full scale."""
    middle = waveform.samples[:, waveform.frames // 4 : -waveform.frames // 4].astype(float)
    return float(10 * np.log10(2 * np.mean(middle**2) + 1e-30))


@pytest.mark.parametrize(
    ("from_rate", "to_rate"), [(44_100, 16_000), (16_000, 48_000), (48_000, 44_100)]
)
@pytest.mark.parametrize("size", [1, 997, 4_096, 1_000_000])
def test_streamed_is_whole_bit_for_bit(from_rate: int, to_rate: int, size: int) -> None:
    frames = 3_000 if size == 1 else 100_000
    samples = np.random.default_rng(1).standard_normal((2, frames)).astype(np.float32)
    whole = audio.resample(audio.Waveform(samples, from_rate), to_rate).samples
    resampler = audio.Resampler(from_rate, to_rate, 2)
    parts = [resampler.process(samples[:, at : at + size]) for at in range(0, frames, size)]
    assert np.array_equal(np.concatenate([*parts, resampler.flush()], axis=1), whole)
    assert whole.shape == (2, round(frames * to_rate / from_rate))


def test_it_is_what_soxr_does_in_one_call() -> None:
    import soxr

    samples = np.random.default_rng(2).standard_normal((2, 100_000)).astype(np.float32)
    got = audio.resample(audio.Waveform(samples, 44_100), 16_000).samples
    assert np.array_equal(got, soxr.resample(samples.T, 44_100, 16_000, quality="HQ").T)


@pytest.mark.parametrize("hz", [50, 1_000, 7_000])
def test_what_fits_keeps_its_level(hz: float) -> None:
    assert level_db(audio.resample(tone(hz, 44_100), 16_000)) == pytest.approx(0.0, abs=0.01)


@pytest.mark.parametrize("hz", [8_400, 9_000, 15_000, 20_000])
def test_what_does_not_fit_leaves_no_alias(hz: float) -> None:
    assert level_db(audio.resample(tone(hz, 44_100), 16_000)) < -120


def test_time_stays_where_it_was() -> None:
    click = np.zeros((1, 44_100), np.float32)
    click[0, 22_050] = 1.0
    assert np.argmax(audio.resample(audio.Waveform(click, 44_100), 16_000).samples) == 8_000


def test_equal_rates_change_nothing() -> None:
    waveform = tone(440, 44_100)
    assert audio.resample(waveform, 44_100) is waveform
    resampler = audio.Resampler(44_100, 44_100, 1)
    assert resampler.process(waveform.samples) is waveform.samples
    assert resampler.flush().shape == (1, 0)


def test_a_rate_that_is_none_and_a_block_of_other_channels_are_errors() -> None:
    with pytest.raises(ConfigError, match="0 Hz; expected a positive"):
        audio.resample(tone(440, 44_100), 0)
    with pytest.raises(ValueError, match="block has 1 channels; expected 2"):
        audio.Resampler(44_100, 16_000, 2).process(np.zeros((1, 10), np.float32))
