"""Where things start, and what does not count as a start."""

from __future__ import annotations

import numpy as np
import pytest
from sounds import (
    HELD_SOUNDS,
    RATE,
    features_of,
    noise,
    place,
    seconds_axis,
    sine,
    strike,
    thump,
    tone,
)

from antiphon.analysis import onsets
from antiphon.analysis.features import MEL_FLOOR_DB, MEL_RATE
from antiphon.analysis.onsets import Envelope, Onsets, loudness_floor_db, onset_strength

pytestmark = pytest.mark.unit

TIMES = np.array([0.5, 1.1, 1.7, 2.6, 3.0, 3.7])


def onsets_of(samples: np.ndarray) -> Onsets:
    return onset_strength(features_of(samples))


def strongest(envelope: Envelope, count: int) -> np.ndarray:
    """Times of the `count` highest peaks, in order."""
    is_peak = (envelope.strength == envelope.nearby) & (envelope.strength > 0)
    frames = np.flatnonzero(is_peak)
    best = frames[np.argsort(-envelope.strength[frames])[:count]]
    return np.sort(best) / MEL_RATE


@pytest.mark.parametrize("gain", [1.0, 0.03])
def test_struck_sounds_start_when_they_are_struck(gain: float) -> None:
    sound = place([(t, strike(seed=n)) for n, t in enumerate(TIMES)], 4.2, gain)
    assert strongest(onsets_of(sound).full, len(TIMES)) == pytest.approx(TIMES, abs=0.025)


def test_soft_notes_start_when_they_change() -> None:
    """Held tones that glide into each other in 40 ms, at one level and with one spectrum."""
    t = seconds_axis(4.2)
    pitch = 64.0 + np.interp(t, *_staircase(TIMES, (0, 1, 3, 1, 2, 0, 2), 0.04))
    phase = 2 * np.pi * np.cumsum(440.0 * 2 ** ((pitch - 69.0) / 12)) / RATE
    sound = np.float32(0.1 * sum(np.sin(n * phase) / n for n in (1, 2, 3, 4)))
    onsets = onsets_of(sound)
    inside = onsets.notes.strength.copy()
    edge = round(0.2 * MEL_RATE)  # the sound itself begins and ends
    inside[:edge] = inside[-edge:] = 0.0
    heard = strongest(Envelope(inside, np.where(inside > 0, onsets.notes.nearby, -1)), len(TIMES))
    assert heard == pytest.approx(TIMES, abs=0.06)


def _staircase(
    times: np.ndarray, levels: tuple[int, ...], width: float
) -> tuple[np.ndarray, np.ndarray]:
    return (
        np.concatenate([[t - width / 2, t + width / 2] for t in times]),
        np.repeat(np.array(levels, float), 2)[1:-1],
    )


def test_low_and_high_are_told_apart() -> None:
    kicks, hats = TIMES[::2], TIMES[1::2]
    hiss = np.diff(strike(0.06, seed=3), n=3, prepend=(0, 0, 0)).astype(np.float32)
    events = [(t, thump()) for t in kicks] + [(t, 0.3 * hiss) for t in hats]
    onsets = onsets_of(place(events, 4.2))
    assert onsets.low.at(kicks * MEL_RATE).min() > 4 * onsets.low.at(hats * MEL_RATE).max()
    assert onsets.high.at(hats * MEL_RATE).min() > onsets.high.at(kicks * MEL_RATE).max()


def test_a_gain_changes_nothing() -> None:
    """Away from the floor of the spectrogram, level is a constant that a difference takes out."""
    sound = place([(t, tone(60 + n, 0.5)) for n, t in enumerate(TIMES)], 4.2) + noise(4.2, 1e-2)
    loud, quiet = onsets_of(sound), onsets_of(np.float32(0.1) * sound)
    for name in ("full", "low", "high"):
        np.testing.assert_allclose(
            getattr(quiet, name).strength, getattr(loud, name).strength, atol=0.35
        )
        correlation = np.corrcoef(getattr(quiet, name).strength, getattr(loud, name).strength)
        assert correlation[0, 1] > 0.995


def test_vibrato_is_no_onset() -> None:
    """A semitone to each side, five times a second, beside one real note."""
    t = seconds_axis(4.0)
    hz = 880.0 * 2 ** (np.sin(2 * np.pi * 5.0 * t) / 12)
    wobble = np.float32(0.1 * np.sin(2 * np.pi * np.cumsum(hz) / RATE))
    onsets = onsets_of(wobble + place([(2.0, tone(57, 1.0))], 4.0))
    strength = onsets.full.strength
    away = np.abs(np.arange(len(strength)) / MEL_RATE - 2.0) > 0.2
    away[: round(0.3 * MEL_RATE)] = False
    assert strength[~away].max() > 2 * strength[away].max()


def test_strength_is_nowhere_negative_and_of_unit_deviation() -> None:
    onsets = onsets_of(place([(1.0, strike())], 2.0))
    for envelope in (onsets.full, onsets.notes, onsets.low, onsets.high):
        assert envelope.strength.min() >= 0
        assert envelope.strength.std() == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("gain", [1.0, 0.05])
def test_what_starts_is_counted(gain: float) -> None:
    struck = place([(t, strike(seed=n)) for n, t in enumerate(TIMES)], 4.2, gain)
    assert onsets_of(struck).count == len(TIMES)
    played = place([(t, tone(52 + 2 * n, 0.5)) for n, t in enumerate(TIMES)], 4.2, gain)
    assert onsets_of(played).count == pytest.approx(len(TIMES), abs=2)  # some ends are heard too


def test_a_flam_is_one_onset() -> None:
    strokes = [(t + late, strike(seed=n)) for n, t in enumerate(TIMES) for late in (0.0, 0.05)]
    assert onsets_of(place(strokes, 4.2)).count == len(TIMES)


@pytest.mark.parametrize("name", HELD_SOUNDS)
def test_a_sound_that_never_changes_starts_once(name: str) -> None:
    assert onsets_of(HELD_SOUNDS[name]).count <= 2


def test_silence_has_no_onsets() -> None:
    assert onsets_of(np.zeros(2 * RATE, np.float32)).count == 0
    assert onsets_of(np.zeros(1, np.float32)).count == 0


def test_strength_is_asked_for_near_a_frame_and_at_the_edges() -> None:
    strength = np.zeros(20, np.float32)
    strength[10] = 3.0
    envelope = onsets_of(place([(1.0, strike())], 2.0)).full
    peak = int(envelope.strength.argmax())
    top = envelope.strength[peak]
    assert envelope.at(np.array([peak - 2.4, peak, peak + 2.0])) == pytest.approx([top] * 3)
    assert (envelope.at(np.array([peak - 3.6, peak + 3.6])) < top).all()
    assert np.isfinite(envelope.at(np.array([-50.0, 1e6]))).all()


def test_peaks_are_counted_per_second() -> None:
    sound = place([(t, strike(seed=4)) for t in np.arange(0.25, 9.9, 0.25)], 10.0)
    assert onsets_of(sound).full.peaks_per_second(1.0) == pytest.approx(4.0, abs=0.25)


def test_the_floor_lies_60_db_below_the_loud_frames() -> None:
    log_mel = np.full((1000, 40), -95.0, np.float16)
    log_mel[200:, 7] = -20.0
    assert loudness_floor_db(log_mel) == pytest.approx(-80.0)
    assert loudness_floor_db(log_mel[:100]) == MEL_FLOOR_DB
    assert loudness_floor_db(log_mel[:0]) == MEL_FLOOR_DB


def test_long_recordings_are_taken_in_parts_without_seams(monkeypatch: pytest.MonkeyPatch) -> None:
    features = features_of(place([(t, tone(60, 0.5)) for t in TIMES], 4.2))
    whole = onset_strength(features)
    for frames in (10, 101):
        monkeypatch.setattr(onsets, "_CHUNK_FRAMES", frames)
        parts = onset_strength(features)
        for name in ("full", "low", "high"):
            np.testing.assert_allclose(
                getattr(parts, name).strength, getattr(whole, name).strength, atol=1e-5
            )


def test_what_starts_far_below_the_music_is_not_heard() -> None:
    loud = np.concatenate([sine(440.0, 2.0, 0.5), np.zeros(2 * RATE, np.float32)])
    faint = place([(3.0, strike())], 4.0, 1e-5)
    onsets = onsets_of(loud + faint)
    assert onsets.full.at(np.array([3.0 * MEL_RATE]))[0] < 0.05
    assert onsets_of(faint).full.at(np.array([3.0 * MEL_RATE]))[0] > 1.0
