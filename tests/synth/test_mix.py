"""What a listener and a measuring tool find in a rendered score."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pyloudnorm
import pytest

from antiphon.controls import INSTRUMENTS
from antiphon.errors import ConfigError
from antiphon.score import Note, Score, Track
from antiphon.synth import render

pytestmark = pytest.mark.unit

RATE = 44100
CHORDS = ((0, 4, 7), (9, 12, 16), (5, 9, 12), (7, 11, 14))


def score_of(*tracks: Track, bars: int = 2, tempo_bpm: float = 120.0) -> Score:
    return Score(tempo_bpm, 4, None, bars, tracks=tracks)


def single(program: int = 0, *, beat: float = 2.0, beats: float = 1.0, **track: float) -> Score:
    return score_of(Track("", program, (Note(beat, beats, 69, 96),), **track))  # type: ignore[arg-type]


def band(bars: int = 8) -> Score:
    """Drums, bass, chords and a melody."""
    drums, bass, chords, melody = [], [], [], []
    for bar in range(bars):
        for eighth in range(8):
            beat = 4.0 * bar + eighth / 2
            drums.append(Note(beat, 0.25, 42, 80))
            if eighth in (0, 4):
                drums.append(Note(beat, 0.25, 36, 105))
            if eighth in (2, 6):
                drums.append(Note(beat, 0.25, 38, 100))
            bass.append(Note(beat, 0.45, 36 + CHORDS[bar % 4][0], 90))
            melody.append(Note(beat, 0.45, 72 + CHORDS[bar % 4][eighth % 3], 95))
        chords += [Note(4.0 * bar, 3.9, 60 + step, 75) for step in CHORDS[bar % 4]]
    return score_of(
        Track("drums", 0, tuple(drums), is_drums=True),
        Track("bass", 33, tuple(bass)),
        Track("piano", 0, tuple(chords), gain_db=-5.0),
        Track("trumpet", 56, tuple(melody)),
        bars=bars,
    )


def power_db(samples: np.ndarray) -> float:
    return float(10.0 * np.log10(np.mean(np.square(samples, dtype=np.float64)) + 1e-20))


def test_level_is_even_and_nothing_clips() -> None:
    waveform = render(band())
    loudness = pyloudnorm.Meter(RATE).integrated_loudness(waveform.samples.T)
    assert -18.0 <= loudness <= -16.0
    assert np.abs(waveform.samples).max() <= 10 ** (-1.0 / 20)
    assert np.abs(waveform.samples.mean(axis=1, dtype=float)).max() < 5e-4  # no DC


def test_same_seed_same_samples_other_seed_other_samples() -> None:
    score = band(bars=1)
    first, second = render(score, seed=5), render(score, seed=5)
    np.testing.assert_array_equal(first.samples, second.samples)
    assert not np.array_equal(first.samples, render(score, seed=6).samples)
    np.testing.assert_array_equal(first.samples, render(replace(score, seed=5)).samples)


def test_the_melody_is_heard_over_the_chords_and_the_drums_do_not_drown_it() -> None:
    score = band(bars=4)
    whole = render(score).samples
    shares = {}
    for part, name in enumerate(("drums", "bass", "chords", "melody")):
        tracks = [
            track if number == part else replace(track, gain_db=-120.0)
            for number, track in enumerate(score.tracks)
        ]
        shares[name] = _share(whole, render(replace(score, tracks=tuple(tracks))).samples)
    assert shares["melody"] > shares["chords"]
    assert shares["drums"] > 0.02
    assert shares["bass"] > 0.02


def _share(whole: np.ndarray, part: np.ndarray) -> float:
    """The share of the energy of the mix that lies along the part."""
    frames = min(whole.shape[1], part.shape[1])
    a, b = whole[:, :frames].ravel().astype(float), part[:, :frames].ravel().astype(float)
    return float((a @ b) ** 2 / ((a @ a) * (b @ b)))


@pytest.mark.parametrize("program", range(0, 128, 3))
def test_every_program_sounds_at_its_onset(program: int) -> None:
    samples = np.abs(render(single(program)).samples).max(axis=0)
    onset_seconds = np.argmax(samples > 1e-3 * samples.max()) / RATE
    assert abs(onset_seconds - 1.0) < 0.005


@pytest.mark.parametrize("instrument", INSTRUMENTS)
def test_every_instrument_sounds(instrument: str) -> None:
    drums = instrument == "drums"
    track = Track(instrument, 0, (Note(0.0, 1.0, 38 if drums else 57, 96),), is_drums=drums)
    waveform = render(score_of(track, bars=1))
    assert -30.0 < power_db(waveform.samples[:, : RATE // 2]) < -8.0
    assert np.isfinite(waveform.samples).all()


@pytest.mark.parametrize("pitch", [36, 38, 42, 49, 51, 64, 82])
def test_drums_start_on_the_beat(pitch: int) -> None:
    track = Track("drums", 0, (Note(2.0, 0.25, pitch, 100),), is_drums=True)
    samples = np.abs(render(score_of(track)).samples).max(axis=0)
    assert abs(np.argmax(samples > 0.01 * samples.max()) / RATE - 1.0) < 0.005


def test_a_closed_hat_cuts_an_open_one() -> None:
    opened = Note(0.0, 0.25, 46, 100)
    closed = Note(1.0, 0.25, 42, 1)  # hardly heard, but it closes the hat
    ringing = Track("drums", 0, (opened,), is_drums=True)
    cut = Track("drums", 0, (opened, closed), is_drums=True)
    late = slice(round(0.56 * RATE), round(0.62 * RATE))
    level = power_db(render(score_of(ringing)).samples[:, late])
    assert power_db(render(score_of(cut)).samples[:, late]) < level - 6.0


def test_the_last_notes_ring_out_and_no_silence_follows() -> None:
    score = single(0, beat=7.0, beats=1.0)
    waveform = render(score)
    assert score.duration_seconds < waveform.duration_seconds < score.duration_seconds + 3.0
    peak = np.abs(waveform.samples).max()
    assert np.abs(waveform.samples[:, -1]).max() == 0.0
    assert np.abs(waveform.samples[:, -RATE // 4 :]).max() > peak * 1e-4
    # A piece that ends in rests lasts to its last bar line.
    assert render(single(0, beat=0.0)).duration_seconds == pytest.approx(4.0)


def test_pan_and_gain_are_honoured() -> None:
    left = render(single(73, pan=-1.0)).samples
    assert power_db(left[0]) > power_db(left[1]) + 6.0  # the reverb is on both sides
    two = (Note(0.0, 1.0, 60, 96),), (Note(4.0, 1.0, 60, 96),)
    score = score_of(Track("", 0, two[0]), Track("", 0, two[1], gain_db=-12.0))
    samples = render(score).samples
    drop = power_db(samples[:, : RATE // 2]) - power_db(samples[:, 2 * RATE : 5 * RATE // 2])
    assert drop == pytest.approx(12.0, abs=1.5)


def test_velocity_changes_level_and_brightness() -> None:
    def measure(velocity: int) -> tuple[float, float]:
        notes = (Note(0.0, 2.0, 57, velocity), Note(4.0, 2.0, 57, 127))
        samples = render(score_of(Track("", 0, notes))).samples.mean(axis=0)[:RATE]
        power = np.abs(np.fft.rfft(samples)) ** 2
        centroid = (power * np.fft.rfftfreq(RATE, 1 / RATE)).sum() / power.sum()
        return power_db(samples), float(centroid)

    (soft_db, soft_hz), (loud_db, loud_hz) = measure(30), measure(120)
    assert loud_db > soft_db + 6.0
    assert loud_hz > 1.2 * soft_hz


def test_no_clicks_where_notes_begin_and_end() -> None:
    notes = tuple(Note(0.37 * index, 0.3, 57, 100) for index in range(20))
    for program in (16, 48, 71, 73, 80, 89):
        samples = render(score_of(Track("", program, notes), bars=2)).samples
        jumps = np.abs(np.diff(samples, axis=1)).max(axis=0)
        # A click is a jump far above those of the tone itself.
        assert jumps.max() < 4.0 * np.quantile(jumps[: 3 * RATE], 0.99)


def test_stereo_survives_a_mono_mix() -> None:
    held = tuple(Note(2.0 * index, 1.9, 50 + 3 * index, 90) for index in range(4))
    for program in (0, 4, 16, 30, 46, 48, 52, 81, 89):
        samples = render(score_of(Track("", program, held), bars=2)).samples
        assert not np.array_equal(samples[0], samples[1])
        loss_db = power_db(samples) - power_db(samples.mean(axis=0))
        assert loss_db < 2.0


def test_empty_score_is_silence_of_its_length() -> None:
    waveform = render(score_of(bars=1))
    assert waveform.channels == 2
    assert waveform.duration_seconds == pytest.approx(2.0)
    assert not waveform.samples.any()


@pytest.mark.parametrize("sample_rate", [8000, 22050, 48000])
def test_other_sample_rates_give_the_same_music(sample_rate: int) -> None:
    waveform = render(single(73, beat=0.0, beats=4.0), sample_rate=sample_rate)
    assert waveform.sample_rate == sample_rate
    spectrum = np.abs(np.fft.rfft(waveform.mono().samples[0, : 2 * sample_rate]))
    peak_hz = np.argmax(spectrum) / 2.0
    assert abs(1200.0 * math.log2(peak_hz / 440.0)) < 5.0


def test_a_sample_rate_out_of_range_is_refused() -> None:
    with pytest.raises(ConfigError, match="sample rate is 100 Hz; expected 8000 to 192000"):
        render(single(), sample_rate=100)
