"""The damage meter: the same counts however the sound is cut into blocks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon import audio
from antiphon.audio.damage import CLIP_LEVEL, CLIP_RUN, DamageMeter, length_problem

pytestmark = pytest.mark.unit


def clipped_one_by_one(samples: np.ndarray) -> int:
    """Samples in runs of at least three at full scale, counted the slow way."""
    total = 0
    for channel in samples:
        run = 0
        for sample in [*channel, 0.0]:
            if abs(sample) >= CLIP_LEVEL:
                run += 1
                continue
            total += run if run >= CLIP_RUN else 0
            run = 0
    return total


def measure(samples: np.ndarray, cuts: list[int]) -> DamageMeter:
    meter = DamageMeter(samples.shape[0])
    for block in np.split(samples, sorted(cut % samples.shape[1] for cut in cuts), axis=1):
        if block.size:
            meter.clean(np.ascontiguousarray(block))
    return meter


@given(
    levels=st.lists(st.sampled_from([0.0, 0.5, 0.9998, 1.0, -1.0, 1.5]), min_size=1, max_size=60),
    cuts=st.lists(st.integers(0, 59), max_size=6),
)
def test_clipping_is_counted_the_same_in_any_blocks(levels: list[float], cuts: list[int]) -> None:
    samples = np.array([levels, levels[::-1]], np.float32)
    assert measure(samples, cuts).clipped_samples == clipped_one_by_one(samples)


def test_a_clipped_sine_is_counted_and_a_full_scale_one_is_not() -> None:
    times = np.arange(44_100) / 44_100
    sine = np.sin(2 * np.pi * 440 * times).astype(np.float32)[None]
    assert measure(sine.copy(), []).clipped_samples == 0
    loud = np.clip(2 * sine, -1, 1)
    # |sin| > 1/2 for two thirds of the time.
    assert measure(loud, []).clipped_samples == pytest.approx(2 / 3 * 44_100, rel=0.03)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e7, -1e30])
def test_what_is_no_sound_becomes_silence_and_is_counted(value: float) -> None:
    block = np.full((2, 1000), 0.25, np.float32)
    block[1, 500] = value
    meter = DamageMeter(2)
    meter.clean(block)
    assert meter.nan_samples == 1
    assert block[1, 500] == 0.0
    assert np.count_nonzero(block == 0.25) == 1999


def test_clipping_beside_a_non_number_is_still_seen() -> None:
    block = np.zeros((1, 100), np.float32)
    block[0, 10] = np.nan
    block[0, 20:25] = 1.0
    meter = DamageMeter(1)
    meter.clean(block)
    assert (meter.nan_samples, meter.clipped_samples) == (1, 5)


def test_length_is_compared_with_a_codecs_delay_allowed_for() -> None:
    assert length_problem(180.0, 180.05) is None
    assert length_problem(90.0, 180.0) == "ends after 90.0 of 180.0 s"
    assert length_problem(181.0, 180.0) == "holds 181.0 s where its header says 180.0 s"


def test_a_read_reports_what_the_meter_counted() -> None:
    import odd_files

    samples = odd_files.sound()
    samples[100:110, 0] = 1.0
    samples[200, 1] = np.nan
    damage = audio.read(odd_files.encode(samples, "WAV", "FLOAT")).damage
    assert (damage.clipped_samples, damage.nan_samples) == (10, 1)
