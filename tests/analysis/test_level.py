"""Loudness against pyloudnorm and against the table of BS.1770, true peak against interpolation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.signal
from pyloudnorm import Meter
from sounds import FloatArray, noise, sine

from antiphon.analysis.level import LevelMeter, TruePeakMeter
from antiphon.facts import SILENCE_FLOOR_DB

pytestmark = pytest.mark.unit

RATES = (8_000, 22_050, 44_100, 48_000, 96_000)


def meter(samples: FloatArray, rate: int, block: int = 65_536) -> LevelMeter:
    """A meter that has heard samples [C, T] in blocks."""
    result = LevelMeter(rate, len(samples))
    for start in range(0, samples.shape[1], block):
        result.push(samples[:, start : start + block])
    return result


def integrated(samples: FloatArray, rate: int) -> float:
    value = meter(samples, rate).loudness().integrated_lufs
    assert value is not None
    return value


def true_peak(samples: FloatArray, rate: int) -> float:
    value = meter(samples, rate).loudness().true_peak_dbtp
    assert value is not None
    return value


def uneven(seconds: float, channels: int, rate: int, seed: int = 0) -> FloatArray:
    """Noise [C, T] whose level jumps every second, 50 dB up and down, so that both gates close."""
    dice = np.random.default_rng(seed)
    count = round(seconds * rate)
    level = np.repeat(10.0 ** dice.uniform(-2.5, 0.0, math.ceil(seconds)), rate)[:count]
    level[rate : 2 * rate] = 1e-5
    return np.float32(0.1 * level * dice.standard_normal((channels, count)))


def faded_sine(cycles_per_sample: float, phase: float, seconds: float, rate: int) -> FloatArray:
    """[1, T], at half scale; without the fades its corners would overshoot."""
    count = round(seconds * rate)
    n = np.arange(count)
    fade = np.minimum(1.0, np.minimum(n, n[::-1]) / (count / 10))
    return np.float32(0.5 * fade * np.sin(2 * np.pi * cycles_per_sample * n + phase))[None]


@pytest.mark.parametrize(
    ("rate", "channels"), [*((rate, 2) for rate in RATES), (8_000, 1), (48_000, 1), (44_100, 5)]
)
def test_integrated_loudness_is_pyloudnorms(rate: int, channels: int) -> None:
    samples = uneven(6.0, channels, rate, seed=channels)
    expected = Meter(rate).integrated_loudness(samples.T.astype(float))
    assert integrated(samples, rate) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("hz", [60.0, 997.0, 3000.0])
def test_integrated_loudness_of_tones_is_pyloudnorms(hz: float) -> None:
    for rate in RATES:
        samples = sine(hz, 3.0, 0.25, rate)[None]
        expected = Meter(rate).integrated_loudness(samples.T.astype(float))
        assert integrated(samples, rate) == pytest.approx(expected, abs=0.02)


def test_k_weighting_is_that_of_the_standard() -> None:
    """BS.1770-4, tables 1 and 2, for 48 kHz; meters may differ by 0.1 LU (EBU Tech 3341)."""
    shelf = (
        [1.53512485958697, -2.69169618940638, 1.19839281085285],
        [
            1.0,
            -1.69065929318241,
            0.73248077421585,
        ],
    )
    high_pass = [1.0, -2.0, 1.0], [1.0, -1.99004745483398, 0.99007225036621]
    for hz in (30.0, 60.0, 200.0, 1000.0, 3000.0, 10_000.0):
        samples = sine(hz, 4.0, 0.25, 48_000)
        weighted = scipy.signal.lfilter(*high_pass, scipy.signal.lfilter(*shelf, samples))
        expected = -0.691 + 10 * np.log10(np.mean(weighted[24_000:] ** 2))
        assert integrated(samples[None], 48_000) == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize("rate", [22_050, 44_100, 48_000, 96_000])
def test_a_full_scale_sine_at_997_hz_is_at_minus_3_lufs(rate: int) -> None:
    assert integrated(sine(997.0, 4.0, 1.0, rate)[None], rate) == pytest.approx(-3.01, abs=0.1)
    # Twice the power in two channels, as EBU Tech 3341 calibrates stereo at -23.
    both = np.tile(sine(997.0, 4.0, 10 ** (-23.0 / 20), rate), (2, 1))
    assert integrated(both, rate) == pytest.approx(-23.0, abs=0.1)


@pytest.mark.parametrize("outermost_db", [None, -72.0])
def test_the_gates_of_ebu_tech_3341(outermost_db: float | None) -> None:
    """Its test signals 3 and 4: what is 10 LU below the rest, or below -70 LUFS, is left out."""
    parts = [(-36.0, 10.0), (-23.0, 60.0), (-36.0, 10.0)]
    if outermost_db is not None:
        parts = [(outermost_db, 10.0), *parts, (outermost_db, 10.0)]
    tones = [sine(1000.0, seconds, 10 ** ((lufs + 3.01) / 20), 22_050) for lufs, seconds in parts]
    assert integrated(np.concatenate(tones)[None], 22_050) == pytest.approx(-23.0, abs=0.1)


def test_loudness_follows_gain_and_ignores_the_low_frequency_channel() -> None:
    rate = 22_050
    sound = np.tile(noise(3.0, 0.1, rate), (6, 1))
    assert integrated(0.5 * sound, rate) == pytest.approx(integrated(sound, rate) - 6.02, abs=0.01)
    without = sound.copy()
    without[3] = 0.0
    assert integrated(sound, rate) == integrated(without, rate)
    only = np.zeros_like(sound)
    only[4] = sound[4]  # surround: 1.41-fold, 1.5 LU
    assert integrated(only, rate) == pytest.approx(integrated(sound[:1], rate) + 1.49, abs=0.02)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_loudness_range_is_pyloudnorms(seed: int) -> None:
    """Within 0.5 LU: it steps by 90 ms, we by 100; it adds 1.5 s of silence, so we get them too."""
    rate, seconds = 22_050, 40
    dice = np.random.default_rng(seed)
    level_db = np.interp(
        np.arange(seconds * rate) / rate, np.arange(0, seconds + 1, 2), dice.uniform(-30, 0, 21)
    )
    samples = noise(seconds, 0.2, rate, seed)[None] * np.float32(10 ** (level_db / 20))
    padded = np.pad(samples, ((0, 0), (0, 3 * rate // 2)))
    expected = Meter(rate).loudness_range(samples.T.astype(float))
    assert meter(padded, rate).loudness().range_lu == pytest.approx(expected, abs=0.5)


def test_loudness_range_of_steps_is_their_difference() -> None:
    """Test signals 1 and 2 of EBU Tech 3342: 20 s at one level, 20 s at another."""
    rate = 22_050
    for quiet_db, expected in ((-30.0, 10.0), (-25.0, 5.0), (-20.0, 0.0)):
        loud = sine(1000.0, 20.0, 0.1, rate)
        samples = np.concatenate([loud, loud * np.float32(10 ** ((quiet_db + 20.0) / 20))])
        assert meter(samples[None], rate).loudness().range_lu == pytest.approx(expected, abs=1.0)
    # What lies 20 LU below the rest is left out: its test signal 4, of 20 s each.
    peaks_db = (-50.0, -35.0, -20.0, -35.0, -50.0)
    arch = np.concatenate([sine(1000.0, 20.0, 10 ** (peak / 20), rate) for peak in peaks_db])
    assert meter(arch[None], rate).loudness().range_lu == pytest.approx(15.0, abs=1.0)
    steady = meter(loud[None], rate).loudness().range_lu
    assert steady == pytest.approx(0.0, abs=0.05)


def test_true_peak_of_a_sine_whose_samples_miss_the_top() -> None:
    """At a quarter of the rate, 45 degrees off, all samples lie 3 dB below the peak."""
    for rate in (44_100, 96_000):
        samples = faded_sine(0.25, math.pi / 4, 0.5, rate)
        sample_peak = 20 * np.log10(np.abs(samples).max())
        assert sample_peak == pytest.approx(-9.03, abs=0.01)
        assert true_peak(samples, rate) - sample_peak == pytest.approx(3.01, abs=0.05)
        aligned = faded_sine(0.25, 0.0, 0.5, rate)
        assert true_peak(aligned, rate) == pytest.approx(-6.02, abs=0.02)


@pytest.mark.parametrize("seed", range(4))
def test_true_peak_is_that_of_the_polyphase_filter(seed: int) -> None:
    samples = noise(0.5, 0.2, 44_100, seed)[None]
    interpolated = scipy.signal.resample_poly(samples[0].astype(float), 4, 1)
    expected = 20 * np.log10(np.abs(interpolated).max())
    assert true_peak(samples, 44_100) == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize("seed", range(4))
def test_true_peak_is_near_the_continuous_maximum(seed: int) -> None:
    """Band-limited to a quarter of the rate, four-fold samples miss cos(pi / 16) at most."""
    count = 22_050
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(count))
    spectrum[count // 4 :] = 0.0
    # Silent at both ends: the transform is periodic, the meter is not.
    window = np.minimum(1.0, np.minimum(np.arange(count), np.arange(count)[::-1]) / 500)
    samples = np.float32(0.2 * np.fft.irfft(spectrum, count) * window)
    fine = np.fft.irfft(np.fft.rfft(samples.astype(float)), 32 * count) * 32
    truth = 20 * np.log10(np.abs(fine).max())
    assert truth - 0.2 <= true_peak(samples[None], 44_100) <= truth + 0.05


def test_true_peak_sees_every_channel_and_both_signs() -> None:
    samples = np.zeros((3, 5000), np.float32)
    samples[2, 2500] = -0.5  # an impulse is its own peak
    assert true_peak(samples, 44_100) == pytest.approx(-6.02, abs=0.01)


@pytest.mark.parametrize("position", [0, 31, 32, 33, 4095, 4096, 4990, 4999])
def test_true_peak_is_found_anywhere_however_the_stream_is_cut(position: int) -> None:
    """The pair of samples overshoots between them; blocks and rows may part the two."""
    samples = np.zeros((1, 5000), np.float32)
    samples[0, position : position + 2] = 0.5
    whole = TruePeakMeter(1)
    whole.push(samples)
    expected = np.abs(scipy.signal.resample_poly(samples[0].astype(float), 4, 1)).max()
    assert whole.finish() == pytest.approx(expected, rel=0.005)
    for block in (1, 7, 33, 4096):
        cut = TruePeakMeter(1)
        for start in range(0, 5000, block):
            cut.push(samples[:, start : start + block])
        assert cut.finish() == pytest.approx(whole.finish(), abs=1e-6)


@pytest.mark.parametrize("block", [997, 4410, 100_000])
def test_block_size_changes_nothing(block: int) -> None:
    samples = uneven(7.3, 2, 22_050)
    expected, cut = meter(samples, 22_050, 4096), meter(samples, 22_050, block)
    assert cut.loudness() == expected.loudness()
    assert cut.dynamics() == expected.dynamics()
    assert cut.silence() == expected.silence()


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100])
def test_dynamics_of_known_steps(rate: int) -> None:
    """A sine is 3 dB below its peak; a half second each, and a short rest that is left out."""
    peaks_db = [-10.0, -40.0, 0.0, -25.0]
    parts = [sine(1000.0, 0.5, 10 ** (peak / 20), rate) for peak in peaks_db]
    samples = np.concatenate([*parts, sine(1000.0, 0.15, 1.0, rate)])[None]
    dynamics = meter(samples, rate).dynamics()
    assert dynamics.step_seconds == 0.5
    assert dynamics.level_db == pytest.approx([peak - 3.01 for peak in peaks_db], abs=0.06)


def test_dynamics_counts_power_and_not_the_mix() -> None:
    """Opposite channels cancel when mixed, but not in the air."""
    left = sine(500.0, 1.0, 0.5)
    dynamics = meter(np.stack([left, -left]), 22_050).dynamics()
    assert dynamics.level_db == pytest.approx([-9.03, -9.03], abs=0.06)


def test_dynamics_of_less_than_a_step_and_of_silence() -> None:
    assert len(meter(sine(500.0, 0.05)[None], 22_050).dynamics().level_db) == 1
    silent = meter(np.zeros((1, 22_050), np.float32), 22_050).dynamics()
    assert silent.level_db == (SILENCE_FLOOR_DB, SILENCE_FLOOR_DB)


def test_silence_is_counted_in_steps_below_minus_60() -> None:
    rate = 22_050
    samples = np.concatenate(
        [sine(440, 3.0, 0.5), np.zeros(rate, np.float32), sine(440, 1.0, 0.002)]
    )
    assert meter(samples[None], rate).silence().share == pytest.approx(0.2, abs=0.021)
    barely = sine(440, 1.0, 0.0011 * math.sqrt(2))  # -59.2 dB
    beneath = sine(440, 1.0, 0.0009 * math.sqrt(2))  # -60.9 dB
    assert meter(barely[None], rate).silence().share == 0.0
    assert meter(beneath[None], rate).silence().share == 1.0


def test_silence_has_no_loudness_and_says_so() -> None:
    loudness = meter(np.zeros((2, 44_100), np.float32), 44_100).loudness()
    assert loudness.integrated_lufs is loudness.true_peak_dbtp is loudness.range_lu is None
    assert "-70 LUFS" in (loudness.reason or "")


def test_what_is_quieter_than_the_absolute_gate_has_no_loudness() -> None:
    below = meter(sine(997, 2.0, 10 ** (-68.0 / 20), 48_000)[None], 48_000).loudness()
    assert below.integrated_lufs is None
    assert "-70 LUFS" in (below.reason or "")
    above = sine(997, 2.0, 10 ** (-66.0 / 20), 48_000)[None]
    assert integrated(above, 48_000) == pytest.approx(-69.0, abs=0.1)


def test_less_than_one_block_has_no_loudness_and_says_so() -> None:
    loudness = meter(sine(997, 0.39, 0.5, 48_000)[None], 48_000).loudness()
    assert loudness.integrated_lufs is None
    assert "0.39 s is shorter than the 0.4 s" in (loudness.reason or "")
    assert loudness.true_peak_dbtp is not None
    assert integrated(sine(997, 0.4, 0.5, 48_000)[None], 48_000) == pytest.approx(-9.0, abs=0.3)


def test_less_than_a_short_term_window_has_no_range_and_says_so() -> None:
    loudness = meter(noise(2.9)[None], 22_050).loudness()
    assert loudness.integrated_lufs is not None
    assert loudness.range_lu is None
    assert "two stretches of 3 s" in (loudness.reason or "")
    longer = meter(noise(3.2)[None], 22_050).loudness()
    assert longer.range_lu is not None
    assert longer.reason is None


@pytest.mark.parametrize("sample_rate", [1000, 2000, 3000, 3999])
def test_a_rate_below_the_weighting_filter_has_no_loudness(sample_rate: int) -> None:
    noise = np.random.default_rng(0).standard_normal((1, sample_rate * 4)).astype(np.float32) * 0.1
    meter = LevelMeter(sample_rate, 1)

    meter.push(noise)

    loudness = meter.loudness()
    assert loudness.integrated_lufs is None
    assert loudness.range_lu is None
    assert loudness.reason is not None
    assert f"{sample_rate} Hz is too low" in loudness.reason
    assert loudness.true_peak_dbtp is not None


def test_a_rate_below_the_shelf_of_the_weighting_has_no_loudness_and_says_so() -> None:
    low = meter(noise(5.0, rate=3_999)[None], 3_999)
    loudness = low.loudness()
    assert loudness.integrated_lufs is loudness.range_lu is None
    assert "3999 Hz is too low a rate" in (loudness.reason or "")
    assert loudness.true_peak_dbtp is not None
    assert low.dynamics().level_db == pytest.approx([-20.0] * 10, abs=0.5)
    assert meter(noise(5.0, rate=4_000)[None], 4_000).loudness().reason is None
