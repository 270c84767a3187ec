"""What is held has no share of what is struck, and the other way round."""

from __future__ import annotations

import numpy as np
import pytest
from sounds import RATE, features_of, noise, place, sine, strike, tone

from antiphon.analysis import timbre
from antiphon.analysis.timbre import percussive_share

pytestmark = pytest.mark.unit


def share(samples: np.ndarray) -> float:
    value = percussive_share(features_of(samples).log_mel)
    assert value is not None
    return value


CLICKS = place([(t, strike(seed=n)) for n, t in enumerate(np.arange(0.3, 9.5, 0.5))], 10.0, 0.5)


@pytest.mark.parametrize("hz", [82.0, 440.0, 3000.0])
def test_a_held_sine_is_not_percussive(hz: float) -> None:
    assert share(sine(hz, 10.0)) < 0.02


def test_clicks_are_percussive() -> None:
    assert share(CLICKS) > 0.8


def test_noise_is_held_and_tones_lie_between_sines_and_clicks() -> None:
    """Steady noise flutters but lasts; a plucked tone starts suddenly and lasts."""
    plucked = place([(t, tone(60, 0.5, 0.3)) for t in np.arange(0.0, 9.5, 0.5)], 10.0)
    assert share(sine(440.0, 10.0)) < share(noise(10.0)) < 0.35
    assert share(sine(440.0, 10.0)) < share(plucked) < share(CLICKS)


def test_it_grows_with_the_drums_and_not_with_the_gain() -> None:
    held = sine(440.0, 10.0, 0.05)
    shares = [share(held + np.float32(gain) * CLICKS) for gain in (0.0, 0.1, 0.3, 1.0)]
    assert shares == sorted(shares)
    assert shares[3] > shares[0] + 0.3
    both = held + CLICKS
    assert share(np.float32(0.1) * both) == pytest.approx(share(both), abs=0.01)


def test_it_is_one_sum_over_the_whole_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """Long recordings are taken in parts; their seams must not show. Time reversed is the same."""
    log_mel = features_of(0.5 * CLICKS + sine(440.0, 10.0, 0.05)).log_mel
    whole = percussive_share(log_mel)
    assert percussive_share(log_mel[::-1]) == pytest.approx(whole, abs=1e-4)
    for frames in (7, 100, 861):
        monkeypatch.setattr(timbre, "_CHUNK_FRAMES", frames)
        assert percussive_share(log_mel) == pytest.approx(whole, rel=1e-5)


def test_silence_has_none() -> None:
    assert percussive_share(features_of(np.zeros(RATE, np.float32)).log_mel) is None
    assert percussive_share(np.zeros((0, 40), np.float16)) is None
