"""Pulses of known tempo: bands as plain as can be, one that speeds up, and arranged pieces."""

from __future__ import annotations

from functools import lru_cache

import mir_eval
import numpy as np
import pytest
import scipy.ndimage
from sounds import RATE, beat_times, features_of, groove, noise, piece, place, strike

from antiphon.analysis.features import MEL_RATE, Features
from antiphon.analysis.harmony import HarmonicChange, tuned_chroma
from antiphon.analysis.onsets import onset_strength
from antiphon.analysis.tempo import (
    MAX_BPM,
    MIN_BPM,
    TIGHTNESS,
    WINDOW_SECONDS,
    Pulse,
    find_pulse,
    onset_autocorrelation,
    refine_beats,
    track_beats,
)

pytestmark = pytest.mark.unit

SECONDS = 20.0


def pulse_in(features: Features) -> Pulse:
    change = HarmonicChange(tuned_chroma(features))
    pulse = find_pulse(onset_strength(features), change)
    assert pulse is not None
    return pulse


def pulse_of(samples: np.ndarray) -> Pulse:
    return pulse_in(features_of(samples))


@lru_cache
def band_pulse(bpm: float, beats_per_bar: int) -> tuple[np.ndarray, Pulse]:
    """True beats and what was found."""
    times = beat_times(bpm, SECONDS)
    return times, pulse_of(groove(times, SECONDS, beats_per_bar))


def beat_f(truth: np.ndarray, pulse: Pulse) -> float:
    return float(mir_eval.beat.f_measure(truth, pulse.beat_frames / MEL_RATE))


def accelerating(first_bpm: float, last_bpm: float, seconds: float) -> np.ndarray:
    """Beat times whose tempo rises evenly: a quadratic phase, solved for whole beats."""
    slope = (last_bpm - first_bpm) / seconds / 60.0  # beats / s^2
    count = np.arange(int((first_bpm + last_bpm) / 120.0 * (seconds - 1.0)))
    speed = first_bpm / 60.0
    return 0.25 + (np.sqrt(speed**2 + 2.0 * slope * count) - speed) / slope


@pytest.mark.parametrize(
    ("bpm", "beats_per_bar"),
    [(70.0, 4), (84.0, 3), (100.0, 4), (112.0, 4), (120.0, 3), (132.0, 4)],
)
def test_a_plain_band_within_one_percent(bpm: float, beats_per_bar: int) -> None:
    times, pulse = band_pulse(bpm, beats_per_bar)
    assert pulse.bpm == pytest.approx(bpm, rel=0.01)
    assert beat_f(times, pulse) >= 0.95


@pytest.mark.parametrize("bpm", [60.0, 150.0, 175.0, 200.0])
def test_the_true_tempo_is_the_answer_or_among_the_rivals(bpm: float) -> None:
    """At the ends of the range half and double are fair readings."""
    _, pulse = band_pulse(bpm, 4)
    assert min(abs(pulse.bpm / (bpm * ratio) - 1.0) for ratio in (0.5, 1.0, 2.0)) < 0.01
    assert min(abs(other / bpm - 1.0) for other in (pulse.bpm, *dict(pulse.rivals))) < 0.01


@pytest.mark.parametrize("bpm", [66.0, 100.0, 150.0])
def test_bare_clicks_at_some_metrical_level(bpm: float) -> None:
    times = beat_times(bpm, SECONDS)
    pulse = pulse_of(place([(t, strike(seed=n)) for n, t in enumerate(times)], SECONDS))
    assert min(abs(pulse.bpm / (bpm * ratio) - 1.0) for ratio in (0.5, 1.0, 2.0)) < 0.01
    assert pulse.clarity > 0.8


def test_probabilities_are_shares_and_rivals_come_in_order() -> None:
    for bpm in (70.0, 100.0, 132.0):
        pulse = band_pulse(bpm, 4)[1]
        shares = [pulse.tempo_probability, *(share for _, share in pulse.rivals)]
        assert sum(shares) == pytest.approx(1.0)
        assert shares[1:] == sorted(shares[1:], reverse=True)
        assert 0.0 < pulse.phase_probability <= 1.0
        tempi = sorted([pulse.bpm, *dict(pulse.rivals)])
        assert tempi[0] >= MIN_BPM
        assert tempi[-1] <= MAX_BPM
        assert (np.diff(np.log(tempi)) > 0.02).all()  # no tempo twice


def test_beats_are_placed_within_a_fraction_of_a_frame() -> None:
    """A frame is 11.6 ms; a rise is seen some 2 ms late."""
    times, pulse = band_pulse(100.0, 4)
    found = pulse.beat_frames / MEL_RATE
    errors = np.array([found[np.abs(found - time).argmin()] - time for time in times])
    assert abs(errors.mean()) < 0.005
    assert errors.std() < 0.003


@pytest.mark.parametrize(("bpm", "beat_gain"), [(84.0, 0.1), (100.0, 0.3)])
def test_off_beats_may_be_louder_than_beats(bpm: float, beat_gain: float) -> None:
    """Tracking by loudness alone keeps to the off-beats here; bass and chords know better."""
    times = beat_times(bpm, SECONDS)
    off_beats = [(t + 30.0 / bpm, strike(0.1, seed=5)) for t in times]
    band = np.float32(beat_gain) * groove(times, SECONDS)
    sound = band + place(off_beats, SECONDS, 0.24)
    strength = onset_strength(features_of(sound)).full.strength
    tracked = track_beats(strength, 60.0 * MEL_RATE / bpm) / MEL_RATE
    assert mir_eval.beat.f_measure(times + 30.0 / bpm, tracked) > 0.9
    pulse = pulse_of(sound)
    assert beat_f(times, pulse) >= 0.95
    # Both phases count for the tempo, one for the beats.
    assert pulse.tempo_probability + sum(dict(pulse.rivals).values()) == pytest.approx(1.0)
    assert pulse.phase_probability < 1.0


def test_gain_changes_nothing() -> None:
    times = beat_times(100.0, SECONDS)
    sound = groove(times, SECONDS) + noise(SECONDS, 3e-3)
    loud, quiet = pulse_of(sound), pulse_of(sound * np.float32(10 ** (-30 / 20)))
    assert quiet.bpm == pytest.approx(loud.bpm, rel=1e-3)
    np.testing.assert_allclose(quiet.beat_frames, loud.beat_frames, atol=1.0)


def test_silence_in_front_moves_the_beats_with_the_sound() -> None:
    times = beat_times(100.0, SECONDS)
    sound = groove(times, SECONDS)
    later = pulse_of(np.concatenate([np.zeros(3 * RATE, np.float32), sound]))
    assert later.bpm == pytest.approx(100.0, rel=0.01)
    inside = later.beat_frames[later.beat_frames / MEL_RATE > 3.1]
    assert float(mir_eval.beat.f_measure(times + 3.0, inside / MEL_RATE)) >= 0.95


def test_a_band_that_speeds_up_is_followed() -> None:
    """From 100 to 110 BPM in a minute."""
    times = accelerating(100.0, 110.0, 60.0)
    assert 60.0 / np.diff(times)[[0, -1]] == pytest.approx([100.0, 110.0], abs=0.5)
    pulse = pulse_of(groove(times, 60.0))
    assert beat_f(times, pulse) >= 0.95
    assert pulse.bpm == pytest.approx(105.0, rel=0.01)


def test_clicks_that_speed_up_are_each_met_by_a_beat() -> None:
    times = accelerating(100.0, 110.0, 60.0)
    pulse = pulse_of(place([(t, strike(seed=1)) for t in times], 60.0))
    found = pulse.beat_frames / MEL_RATE
    missed = [t for t in times if np.abs(found - t).min() > 0.05]
    assert len(missed) <= 0.05 * len(times)


@pytest.mark.parametrize(
    ("genre", "bpm", "key"),
    [("rock", 120.0, "E minor"), ("pop", 96.0, "C major"), ("house", 124.0, "A minor")],
)
def test_arranged_pieces(genre: str, bpm: float, key: str) -> None:
    made = piece(genre, bpm, key)
    pulse = pulse_of(made.waveform.samples[0])
    assert pulse.bpm == pytest.approx(bpm, rel=0.01)
    assert beat_f(np.array(made.score.beat_times_seconds()), pulse) >= 0.9


def test_too_little_for_six_beats_has_no_pulse() -> None:
    features = features_of(place([(0.2, strike()), (0.6, strike())], 0.9))
    change = HarmonicChange(tuned_chroma(features))
    assert find_pulse(onset_strength(features), change) is None


def reference_beats(strength: np.ndarray, period: float) -> list[int]:
    """The same dynamic programme, one frame after the other (Ellis 2007, equations 4-6)."""
    reach = np.arange(-round(period), round(period) + 1)
    bell = np.exp(-0.5 * (reach * 32.0 / period) ** 2)
    local = scipy.ndimage.convolve1d(strength.astype(float), bell, mode="constant")
    local = local.astype(np.float32)
    shortest, longest = max(1, round(period / 2)), round(2 * period)
    lags = np.arange(longest, shortest - 1, -1)
    penalty = (-TIGHTNESS * np.log(lags / period) ** 2).astype(np.float32)
    best, previous = np.zeros(len(strength), np.float32), np.full(len(strength), -1)
    for frame in range(len(strength)):
        scores = np.array([best[frame - lag] if frame >= lag else 0.0 for lag in lags], np.float32)
        scores += penalty
        choice = int(scores.argmax())
        best[frame] = local[frame] + scores[choice]
        previous[frame] = frame - lags[choice]
    tail = max(0, len(strength) - round(period))
    frame = tail + int(best[tail:].argmax())
    beats = [frame]
    while previous[frame] >= 0:
        frame = int(previous[frame])
        beats.append(frame)
    return beats[::-1]


@pytest.mark.parametrize("period", [17.3, 43.07, 61.0])
@pytest.mark.parametrize("seed", range(3))
def test_tracking_equals_the_programme_frame_by_frame(seed: int, period: float) -> None:
    dice = np.random.default_rng(seed)
    strength = np.float32(np.maximum(dice.standard_normal(900), 0.0) ** 2)
    ideal = np.arange(dice.integers(0, 20), 900, period * dice.uniform(0.9, 1.1))
    strength[ideal.astype(int)] += np.float32(dice.uniform(0.0, 4.0))
    strength *= (1.0, 10.0, 300.0)[seed]  # against the penalty: strict, lenient, none
    assert track_beats(strength, period).tolist() == reference_beats(strength, period)


def test_tracking_bridges_missing_beats_and_ignores_strays() -> None:
    strength = np.zeros(2000, np.float32)
    ideal = np.arange(20, 2000, 43)
    strength[np.delete(ideal, [10, 11, 30])] = 3.0
    strength[[20 + 43 * 15 + 20, 20 + 43 * 25 + 12]] = 3.0
    beats = track_beats(strength, 43.0)
    assert np.abs(beats[:, None] - ideal).min(axis=1).max() <= 1
    assert len(beats) == pytest.approx(len(ideal), abs=1)


@pytest.mark.parametrize("frames", [1, 30, 86])
def test_what_is_shorter_than_two_periods_has_no_beats(frames: int) -> None:
    assert len(track_beats(np.ones(frames, np.float32), 43.0)) == 0


def test_beats_move_to_the_vertex_of_their_peak_and_no_further() -> None:
    frames = np.arange(100.0)
    strength = np.zeros(100, np.float32)
    for vertex in (20.3, 50.0, 79.6):
        strength = np.maximum(strength, np.float32(4.0 - (frames - vertex) ** 2))
    beats = refine_beats(np.array([20.0, 50.0, 80.0]), strength)
    assert beats == pytest.approx([20.3, 50.0, 79.6], abs=1e-3)
    beside = np.array([0.0, 21.0, 35.0, 99.0])  # on a slope, nowhere, and at the ends
    assert refine_beats(beside, strength).tolist() == beside.tolist()


def test_autocorrelation_of_a_repetition() -> None:
    strength = np.zeros(3000, np.float32)
    strength[::50] = 1.0
    correlation = onset_autocorrelation(strength)
    assert correlation[0] == pytest.approx(1.0, abs=1e-3)
    assert correlation[[50, 100, 400]] == pytest.approx(np.ones(3), abs=0.1)
    assert correlation[[25, 75, 220]].max() < 0.0
    np.testing.assert_allclose(onset_autocorrelation(strength * 100), correlation, atol=1e-3)
    assert len(correlation) == round(WINDOW_SECONDS * MEL_RATE)


def test_autocorrelation_of_noise_and_of_nothing() -> None:
    uneven = np.random.default_rng(0).random(20_000).astype(np.float32)
    assert np.abs(onset_autocorrelation(uneven)[1:500]).max() < 0.1
    assert not onset_autocorrelation(np.zeros(500, np.float32)).any()
