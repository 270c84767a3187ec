"""YIN on tones of known frequency; no voice where there is none."""

from __future__ import annotations

import numpy as np
import pytest
from sounds import RATE, noise, pink_noise, seconds_axis, sine

from antiphon.analysis.pitch import HOP, MAX_HZ, MIN_HZ, PitchTracker

pytestmark = pytest.mark.unit


def track(samples: np.ndarray, block: int = 10_000) -> tuple[np.ndarray, np.ndarray]:
    tracker = PitchTracker()
    for start in range(0, len(samples), block):
        tracker.push(np.float32(samples[start : start + block]))
    return tracker.finish()


def harmonic(hz: np.ndarray | float, seconds: float, partials: int = 10) -> np.ndarray:
    phase = 2 * np.pi * np.cumsum(np.broadcast_to(hz, round(seconds * RATE))) / RATE
    top = min(partials, int(RATE / 2 / np.max(hz)))
    return 0.1 * sum(np.sin(n * phase + n) / n for n in range(1, top + 1))


def inner(values: np.ndarray) -> np.ndarray:
    """Without the frames that hang over an end."""
    return values[6:-6]


def cents(hz: np.ndarray, truth: np.ndarray | float) -> np.ndarray:
    return 1200.0 * np.log2(hz / truth)


@pytest.mark.parametrize(
    "hz", [60.0, 82.4, 110.0, 196.0, 261.6, 440.0, 659.3, 987.8, 1273.5, 1500.0]
)
@pytest.mark.parametrize(("partials", "tolerance"), [(1, 5.0), (5, 5.0), (10, 9.0)])
def test_a_tone_within_5_cents(hz: float, partials: int, tolerance: float) -> None:
    """Within 9 where partials reach the Nyquist frequency: the dip is narrower than a sample."""
    found, aperiodicity = track(harmonic(hz, 0.5, partials))
    assert np.abs(cents(inner(found), hz)).max() < tolerance
    assert inner(aperiodicity).max() < 0.1


def test_a_tone_without_its_fundamental_keeps_its_pitch() -> None:
    t = seconds_axis(1.0)
    sound = 0.1 * sum(np.sin(2 * np.pi * 200.0 * n * t) for n in (2, 3, 4, 5))
    assert np.abs(cents(inner(track(sound)[0]), 200.0)).max() < 5.0


def test_a_tone_in_some_noise_at_any_level() -> None:
    sound = harmonic(220.0, 1.0) + noise(1.0, 0.005)
    for gain in (1.0, 0.05):
        assert np.abs(cents(inner(track(gain * sound)[0]), 220.0)).max() < 20.0


def test_a_glide_is_followed() -> None:
    """Two octaves in four seconds, each frame against the frequency at its centre."""
    t = seconds_axis(4.0)
    hz = 150.0 * 2.0 ** (t / 2.0)
    found, _ = track(harmonic(hz, 4.0, 5))
    truth = hz[np.minimum(np.arange(len(found)) * HOP, len(hz) - 1)]
    assert np.abs(inner(cents(found, truth))).max() < 15.0


def test_frames_stand_at_their_times() -> None:
    """An octave leap after one second shows within half a window, 33 ms, of it."""
    found, _ = track(np.concatenate([harmonic(220.0, 1.0), harmonic(440.0, 1.0)]))
    times = np.arange(len(found)) * HOP / RATE
    before, after = found[(times > 0.1) & (times < 0.96)], found[(times > 1.04) & (times < 1.9)]
    assert np.abs(cents(before, 220.0)).max() < 5.0
    assert np.abs(cents(after, 440.0)).max() < 5.0
    assert len(found) == np.ceil(2.0 * RATE / HOP)


@pytest.mark.parametrize("sound", [noise(3.0), pink_noise(3.0)], ids=["white", "pink"])
def test_noise_has_no_voice(sound: np.ndarray) -> None:
    found, aperiodicity = track(sound)
    assert np.isnan(found).mean() > 0.98
    assert aperiodicity.mean() > 0.3


def test_silence_and_what_is_far_too_quiet_have_no_voice() -> None:
    assert np.isnan(track(np.zeros(RATE))[0]).all()
    assert np.isnan(track(sine(220.0, 1.0, 1e-4))[0]).all()
    assert not np.isnan(inner(track(sine(220.0, 1.0, 0.01))[0])).any()


@pytest.mark.parametrize("hz", [25.0, 5000.0])
def test_a_frequency_out_of_range_is_never_reported_as_it_is(hz: float) -> None:
    found, _ = track(sine(hz, 1.0))
    voiced = found[~np.isnan(found)]
    assert ((voiced > MIN_HZ * 0.97) & (voiced < MAX_HZ * 1.1)).all()


def test_streamed_equals_whole() -> None:
    sound = harmonic(220.0, 1.0)
    for found, expected in zip(track(sound, 777), track(sound, len(sound)), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
