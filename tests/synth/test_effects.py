from __future__ import annotations

import numpy as np
import pyloudnorm
import pytest
from scipy.signal import fftconvolve

from antiphon.audio import Waveform
from antiphon.synth.effects import (
    CEILING_DB,
    TARGET_LUFS,
    add_reverb,
    fit_length,
    loudness_lufs,
    master,
    reverb_response,
    ring_out,
)

pytestmark = pytest.mark.unit

RATE = 44100


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (0.1 * rng.standard_normal((2, round(seconds * RATE)))).astype(np.float32)


def test_reverb_equals_plain_convolution() -> None:
    response = reverb_response(8000)
    send = noise(3.0)[0]  # several groups of blocks
    mix = np.zeros((2, send.size + response.shape[1] - 1), dtype=np.float32)
    add_reverb(mix, send, response)
    for channel in range(2):
        plain = fftconvolve(send.astype(float), response[channel].astype(float))
        np.testing.assert_allclose(mix[channel], plain, atol=1e-4)


def test_the_hall_decays_evenly_without_dc_and_differs_left_and_right() -> None:
    left, right = reverb_response(RATE).astype(float)
    energy = np.cumsum((left**2)[::-1])[::-1]  # Schroeder's backward integration
    decay_db = 10.0 * np.log10(energy / energy[0])
    t20 = np.argmax(decay_db < -25.0) - np.argmax(decay_db < -5.0)
    assert 0.6 < 3.0 * t20 / RATE < 1.8  # seconds to -60 dB
    assert abs(left.sum()) < 0.1
    assert abs(np.corrcoef(left, right)[0, 1]) < 0.1


@pytest.mark.parametrize("seconds", [0.1, 5.0, 60.0])
def test_loudness_agrees_with_the_standard(seconds: float) -> None:
    swell = np.linspace(0.1, 1.0, round(seconds * RATE), dtype=np.float32)
    mix = noise(seconds) * swell
    measured = loudness_lufs(mix, RATE)
    padded = np.pad(mix, ((0, 0), (0, max(0, RATE // 2 - mix.shape[1]))))
    if seconds > 1.0:
        expected = pyloudnorm.Meter(RATE).integrated_loudness(padded.T)
        assert measured == pytest.approx(expected, abs=0.3)
    else:
        assert np.isfinite(measured)


def test_master_brings_music_to_its_level_and_keeps_silence() -> None:
    mix = noise(5.0)
    master(mix, RATE)
    assert loudness_lufs(mix, RATE) == pytest.approx(TARGET_LUFS, abs=0.1)
    silence = np.zeros((2, RATE), dtype=np.float32)
    master(silence, RATE)
    assert not silence.any()


def test_the_limiter_holds_the_ceiling_and_leaves_the_rest_alone() -> None:
    mix = noise(20.0)
    mix[:, ::44100] = 3.0  # a click every second
    quiet = mix.copy()
    master(mix, RATE)
    assert np.abs(mix).max() <= 10 ** (CEILING_DB / 20) * 1.0001
    far = slice(22050 - 2000, 22050 + 2000)
    gain = mix[:, far] / quiet[:, far]
    assert gain.std() < 1e-3 * gain.mean()


def test_a_lone_click_is_not_raised_to_a_wall() -> None:
    mix = np.zeros((2, 10 * RATE), dtype=np.float32)
    mix[:, RATE] = 1.0
    master(mix, RATE)
    assert loudness_lufs(mix, RATE) < TARGET_LUFS
    assert np.abs(mix).max() <= 10 ** (CEILING_DB / 20) * 1.0001


def test_ring_out_cuts_silence_but_no_music() -> None:
    mix = np.zeros((2, 5 * RATE), dtype=np.float32)
    mix[:, :RATE] = noise(1.0)
    assert RATE <= ring_out(mix.copy(), RATE, 0).shape[1] < 1.2 * RATE
    assert ring_out(mix.copy(), RATE, 3 * RATE).shape[1] == pytest.approx(3 * RATE, abs=RATE // 20)


@pytest.mark.parametrize(("frames", "seconds"), [(44_100, 0.5), (44_100, 1.5), (44_100, 1.0)])
def test_fit_length_is_exact_and_cuts_without_a_click(frames: int, seconds: float) -> None:
    sound = Waveform(np.full((2, frames), 0.5, np.float32), 44_100)

    fitted = fit_length(sound, seconds)

    assert fitted.frames == round(seconds * 44_100)
    assert np.array_equal(fitted.samples[:, :1000], sound.samples[:, :1000])
    if fitted.frames < frames:
        assert np.abs(np.diff(fitted.samples)).max() < 1e-3
        assert fitted.samples[0, -1] == 0.0
