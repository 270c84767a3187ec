"""The physics of single notes: tuning, band limits, decay, starts."""

from __future__ import annotations

import math

import numpy as np
import pytest

from antiphon.synth.instruments import additive, pitch_hz, render_note, velocity_layer
from antiphon.synth.timbres import TIMBRES

pytestmark = pytest.mark.unit

RATE = 44100


def fundamental_cents(sound: np.ndarray, expected_hz: float) -> float:
    """Centre of the power within a semitone of `expected_hz`, in cents from it."""
    size = 1 << 19
    power = np.abs(np.fft.rfft(sound * np.hanning(sound.size), size)) ** 2
    hertz = np.fft.rfftfreq(size, 1 / RATE)
    near = np.abs(np.log2(np.maximum(hertz, 1.0) / expected_hz)) < 1 / 20
    return float(
        1200.0 * math.log2((power[near] * hertz[near]).sum() / power[near].sum() / expected_hz)
    )


@pytest.mark.parametrize("name", TIMBRES)
def test_every_timbre_is_in_tune(name: str) -> None:
    for pitch in (57, 69, 81):
        note = render_note(TIMBRES[name], pitch, 2, 4.0, RATE, seed=1).mean(axis=0)
        assert abs(fundamental_cents(note, pitch_hz(pitch))) < 1.0


def test_equal_temperament() -> None:
    assert pitch_hz(69) == 440.0
    assert pitch_hz(81) == 880.0
    assert pitch_hz(70) / pitch_hz(69) == pytest.approx(2 ** (1 / 12))


@pytest.mark.parametrize("name", TIMBRES)
@pytest.mark.parametrize("pitch", [24, 60, 108])
def test_nothing_aliases(name: str, pitch: int) -> None:
    """What is folded at the Nyquist frequency shows between the highest partial and it."""
    note = render_note(TIMBRES[name], pitch, 3, 0.5, RATE, seed=1)[0]
    power = np.abs(np.fft.rfft(note * np.blackman(note.size))) ** 2
    hertz = np.fft.rfftfreq(note.size, 1 / RATE)
    above = power[hertz > 0.475 * RATE].sum() / power.sum()
    assert 10.0 * math.log10(above + 1e-20) < -60.0


def test_a_steady_sound_has_its_partials_and_nothing_else() -> None:
    timbre = TIMBRES["square lead"]
    note = render_note(timbre, 93, 3, 1.0, RATE, seed=1)[0, : round(0.25 * RATE)]  # no vibrato yet
    power = np.abs(np.fft.rfft(note * np.blackman(note.size))) ** 2
    hertz = np.fft.rfftfreq(note.size, 1 / RATE)
    order = hertz / pitch_hz(93)
    off = np.abs(order - np.rint(order)) > 0.1
    assert 10.0 * math.log10(power[off].sum() / power.sum()) < -50.0


@pytest.mark.parametrize("name", TIMBRES)
def test_notes_start_at_zero_without_dc_and_at_one_loudness(name: str) -> None:
    note = render_note(TIMBRES[name], 62, 2, 2.0, RATE, seed=1)
    assert np.abs(note[:, 0]).max() < 1e-6
    rms = np.sqrt(np.mean(note**2))
    assert np.abs(note.mean(axis=1)).max() < 0.01 * rms
    assert np.isfinite(note).all()


def test_strings_die_away_faster_when_high() -> None:
    def fall_db(pitch: int) -> float:
        note = render_note(TIMBRES["acoustic guitar"], pitch, 2, 1.2, RATE, seed=1)[0]
        early, late = note[2000:8000], note[-6000:]
        return float(10.0 * np.log10(np.mean(early**2) / np.mean(late**2)))

    assert 3.0 < fall_db(45) < fall_db(57) < fall_db(81)


def test_the_decay_is_the_one_asked_for() -> None:
    timbre = TIMBRES["marimba"]
    assert timbre.t60_seconds is not None
    note = render_note(timbre, 69, 2, 1.0, RATE, seed=1)[0]
    spectrum = [np.abs(np.fft.rfft(note[start : start + 4410] * np.hanning(4410)))[44]
                for start in (8820, 30870)]  # fmt: skip
    fall_db = 20.0 * math.log10(spectrum[0] / spectrum[1])
    assert fall_db == pytest.approx(60.0 * 0.5 / timbre.t60_seconds, abs=1.0)


def test_additive_equals_the_plain_sum_of_sines() -> None:
    hertz = np.array([[220.0, 441.3, 5000.0], [221.0, 450.0, 5100.0]])
    points = 3000  # more than are computed at a time
    times = np.arange(points) * 64 / RATE
    levels = np.array([1.0, 0.5, 0.25])
    phases = np.array([[0.1, 2.0, 4.0], [1.0, 3.0, 5.0]])
    found = additive(hertz, np.tile(levels, (points, 1)), phases, times, RATE)
    seconds = np.arange(found.shape[1]) / RATE
    for voice in range(2):
        angles = 2.0 * np.pi * seconds[:, None] * hertz[voice] + phases[voice]
        np.testing.assert_allclose(found[voice], (levels * np.cos(angles)).sum(axis=1), atol=2e-4)


def test_velocity_layers_cover_the_midi_range() -> None:
    layers = [velocity_layer(velocity) for velocity in range(1, 128)]
    assert layers == sorted(layers)
    assert set(layers) == {0, 1, 2, 3}
