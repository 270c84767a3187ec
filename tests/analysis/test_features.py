"""Frequencies, times and tuning of sounds that were made to have them; streamed as whole."""

from __future__ import annotations

import numpy as np
import pytest
from sounds import RATE, babble, features_of, noise, place, sine, tone

from antiphon.analysis.features import (
    CHROMA_RATE,
    MEL_BANDS,
    MEL_FLOOR_DB,
    MEL_RATE,
    NOTE_RATE,
    PITCH_BINS,
    TREBLE_CENTRE,
    TREBLE_WIDTH,
    FeatureExtractor,
    Features,
    Framer,
)

pytestmark = pytest.mark.unit


def cents_of(features: Features) -> float:
    return float(np.angle(features.tuning_vector.sum()) / (2 * np.pi) * 100)


@pytest.mark.parametrize("hz", [220.0, 1000.0, 3000.0, 8000.0])
def test_centroid_of_a_sine_is_its_frequency(hz: float) -> None:
    assert features_of(sine(hz, 3.0)).centroid_hz == pytest.approx(hz, rel=0.02)


def test_centroid_of_white_noise_is_half_way_and_no_question_of_gain() -> None:
    sound = noise(3.0)
    assert features_of(sound).centroid_hz == pytest.approx(RATE / 4, rel=0.01)
    assert features_of(0.01 * sound).centroid_hz == pytest.approx(RATE / 4, rel=0.01)


def test_centroid_of_two_equal_sines_is_their_mean() -> None:
    both = sine(1000.0, 3.0, 0.2) + sine(4000.0, 3.0, 0.2)
    assert features_of(both).centroid_hz == pytest.approx(2500.0, rel=0.01)


def test_silence_has_no_centroid_and_no_peaks() -> None:
    features = features_of(np.zeros(RATE, np.float32))
    assert features.centroid_hz is None
    assert not features.treble.any()
    assert not features.peak_weight.any()
    assert not features.note_rise.any()
    assert (features.log_mel == MEL_FLOOR_DB).all()


@pytest.mark.parametrize("blocks", [(1, 255, 256, 257, 1023), (4999,), (17, 8192, 3)])
def test_streamed_in_odd_blocks_equals_whole(blocks: tuple[int, ...]) -> None:
    """Bit for bit, but for what goes through matrix products: these round by their shape."""
    sound = babble(3.0) + tone(57, 3.0) * np.float32(0.1)
    whole = features_of(sound, len(sound))
    extractor = FeatureExtractor()
    start = turn = 0
    while start < len(sound):
        stop = start + blocks[turn % len(blocks)]
        extractor.push(sound[start:stop])
        start, turn = stop, turn + 1
    streamed = extractor.finish()
    for name in ("treble", "bass", "tuning_vector", "peak_weight"):
        np.testing.assert_array_equal(getattr(streamed, name), getattr(whole, name), name)
    np.testing.assert_allclose(streamed.note_rise, whole.note_rise, rtol=1e-5)
    np.testing.assert_allclose(streamed.log_mel, whole.log_mel, atol=0.07)  # one float16 at -100
    assert streamed.centroid_hz == pytest.approx(whole.centroid_hz, rel=1e-6)
    assert streamed.duration_seconds == whole.duration_seconds == 3.0


@pytest.mark.parametrize(
    ("window", "hop", "count"), [(16, 4, 100), (16, 4, 3), (8, 8, 40), (9, 2, 31)]
)
def test_framer_cuts_as_if_padded(window: int, hop: int, count: int) -> None:
    """Frame f is centred on sample f * hop; there is one for every hop that begins."""
    samples = np.arange(1, count + 1, dtype=np.float32)
    padded = np.pad(samples, (window // 2, window))
    expected = [padded[at : at + window] for at in range(0, count, hop)]
    for block in (1, 5, count):
        framer = Framer(window, hop)
        frames = [
            frame.copy()
            for start in range(0, count, block)
            for batch in framer.push(samples[start : start + block])
            for frame in batch
        ]
        frames += [frame.copy() for batch in framer.flush() for frame in batch]
        np.testing.assert_array_equal(frames, expected)


@pytest.mark.parametrize("seconds", [0.1, 1.0, 2.345])
def test_a_click_stands_in_the_frame_of_its_time(seconds: float) -> None:
    sound = np.zeros(3 * RATE, np.float32)
    sound[round(seconds * RATE)] = 1.0
    features = features_of(sound)
    loudest = int(features.log_mel.astype(float).sum(axis=1).argmax())
    assert loudest == round(seconds * MEL_RATE)
    # It enters the window of a note frame half a window, 46 ms, before the frame's time.
    assert np.argmax(features.note_rise) / NOTE_RATE == pytest.approx(seconds, abs=0.047)


def test_one_frame_for_every_hop() -> None:
    features = features_of(noise(2.0))
    assert features.log_mel.shape == (np.ceil(2.0 * MEL_RATE), MEL_BANDS)
    assert features.treble.shape == features.bass.shape
    assert features.treble.shape == (np.ceil(2.0 * CHROMA_RATE), PITCH_BINS)
    assert features.note_rise.shape == (np.ceil(2.0 * NOTE_RATE),)


def test_log_mel_falls_with_the_gain_and_rises_with_frequency() -> None:
    loud, quiet = features_of(sine(440.0, 1.0, 0.5)), features_of(sine(440.0, 1.0, 0.05))
    band = int(loud.log_mel[40].argmax())
    difference = loud.log_mel[40, band] - quiet.log_mel[40, band]
    assert difference == pytest.approx(20.0, abs=0.1)
    bands = [
        int(features_of(sine(hz, 1.0)).log_mel[40].argmax()) for hz in (60, 250, 1e3, 4e3, 1e4)
    ]
    assert bands == sorted(set(bands))


@pytest.mark.parametrize("cents", [-50.0, -35.0, -20.0, 0.0, 7.0, 35.0, 45.0])
def test_tuning_of_detuned_sines_within_one_cent(cents: float) -> None:
    """Around the middle of the chroma's range, where nothing but the peak itself is near."""
    pitches = np.array([57, 62, 66, 71, 76]) + cents / 100.0
    sound = sum(sine(440.0 * 2 ** ((p - 69) / 12), 2.0, 0.1) for p in pitches)
    error = (cents_of(features_of(sound)) - cents + 50.0) % 100.0 - 50.0
    assert abs(error) < 1.0


@pytest.mark.parametrize("pitch", [45.3, 48.0, 52.2, 57.45, 64.7, 69.1, 76.0, 81.6])
def test_tuning_of_a_single_sine_within_one_cent(pitch: float) -> None:
    """Peaks lie anywhere between two bins of 2.7 Hz, 42 cents at A2."""
    found = cents_of(features_of(sine(440.0 * 2 ** ((pitch - 69.0) / 12), 2.0)))
    assert (found - 100.0 * pitch + 50.0) % 100.0 - 50.0 == pytest.approx(0.0, abs=1.0)


@pytest.mark.parametrize("pitch", [48, 60, 72])
def test_salience_is_the_root_of_the_amplitude_under_the_bell(pitch: int) -> None:
    bell = np.exp(-0.5 * ((pitch - TREBLE_CENTRE) / TREBLE_WIDTH) ** 2)
    for amplitude in (0.04, 0.25):
        features = features_of(sine(440.0 * 2 ** ((pitch - 69.0) / 12), 2.0, amplitude))
        assert features.treble[10].max() == pytest.approx(np.sqrt(amplitude) * bell, rel=0.1)


@pytest.mark.parametrize("cents", [-35.0, 0.0, 35.0])
def test_tuning_of_harmonic_tones(cents: float) -> None:
    """Third partials lie 2 cents above the scale, fifth ones 14 below."""
    sound = place(
        [(0.5 * n, tone(p + cents / 100, 0.5)) for n, p in enumerate((48, 55, 60, 64))], 2.0
    )
    assert cents_of(features_of(sound)) == pytest.approx(cents, abs=3.0)


@pytest.mark.parametrize("pitch", [50.0, 57.3, 60.0, 69.0, 76.8])
def test_a_pitch_is_heard_in_its_class(pitch: float) -> None:
    features = features_of(sine(440.0 * 2 ** ((pitch - 69.0) / 12), 2.0, 0.2))
    expected = round(pitch * 10) % PITCH_BINS
    assert int(features.treble[10].argmax()) == expected
    octave_up = features_of(sine(880.0 * 2 ** ((pitch - 69.0) / 12), 2.0, 0.2))
    assert int(octave_up.treble[10].argmax()) == expected


def test_bass_hears_low_notes_and_treble_high_ones() -> None:
    low, high = features_of(sine(82.4, 2.0)), features_of(sine(523.3, 2.0))
    assert low.bass.sum() > 2 * low.treble.sum()
    assert high.treble.sum() > 100 * high.bass.sum()


def test_a_note_that_changes_within_a_mel_band_rises_in_narrow_bands() -> None:
    """A semitone at 1.5 kHz is 89 Hz, half a mel band: to the log-mel it is the same sound."""
    glued = np.concatenate([sine(1500.0, 1.0, 0.2), sine(1589.2, 1.0, 0.2)])
    rise = features_of(glued).note_rise
    inside = np.arange(len(rise)) / NOTE_RATE
    at_change = rise[np.abs(inside - 1.0) < 0.08].max()
    elsewhere = rise[(np.abs(inside - 1.0) > 0.15) & (inside > 0.15) & (inside < 1.85)].max()
    assert at_change > 20 * elsewhere


def test_one_sample_is_enough_for_every_stream() -> None:
    features = features_of(np.array([0.5], np.float32))
    assert len(features.log_mel) == len(features.treble) == len(features.note_rise) == 1
    assert np.isfinite(features.log_mel).all()
    assert features.duration_seconds == pytest.approx(1 / RATE)


def test_what_is_far_too_loud_overflows_nothing() -> None:
    """Float files may go beyond full scale: here by 60 dB."""
    features = features_of(np.float32(1000.0) * np.sign(sine(100.0, 1.0)))
    for name in ("log_mel", "treble", "bass", "note_rise", "peak_weight"):
        assert np.isfinite(getattr(features, name)).all(), name
