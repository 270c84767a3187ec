"""Sounds that are not music: each is what its name says, by its physics."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from antiphon.data.not_music import HELD_OUT_KINDS, KINDS, Kind, drawn_kind, not_music
from antiphon.data.sounds.espeak import Espeak, find_espeak
from antiphon.data.sounds.noises import coloured, cycles_of, shaped, wandering, wave
from antiphon.data.sounds.speech import HIGHEST_PITCH_HZ, LOWEST_PITCH_HZ, talk
from antiphon.data.sounds.tones import dialling
from antiphon.errors import EngineError

pytestmark = pytest.mark.unit

RATE = 16_000


def made(kind: Kind, seed: int, seconds: float = 6.0, rate: int = RATE) -> np.ndarray:
    return not_music(kind, seconds, rate, np.random.default_rng(seed)).samples[0]


def frames_of(samples: np.ndarray, seconds: float) -> np.ndarray:
    size = round(seconds * RATE)
    return samples[: len(samples) // size * size].reshape(-1, size)


def periodicity(frame: np.ndarray, low_hz: float, high_hz: float) -> tuple[float, float]:
    """How much a frame repeats itself, 0 to 1, and how many times a second."""
    spectrum = np.fft.rfft(frame - frame.mean(), 2 * len(frame))
    found = np.fft.irfft(np.abs(spectrum) ** 2)[: len(frame)]
    found /= (found[0] + 1e-12) * (1 - np.arange(len(frame)) / len(frame))
    lags = np.arange(int(RATE / high_hz), int(RATE / low_hz))
    best = lags[np.argmax(found[lags])]
    return float(found[best]), RATE / float(best)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_sound_and_the_same_again(kind: Kind) -> None:
    for seed, seconds, rate in ((0, 2.0, 16_000), (1, 2.0, 8_000), (2, 7.3, 44_100)):
        once = made(kind, seed, seconds, rate)
        assert once.shape == (round(seconds * rate),)
        assert once.dtype == np.float32
        assert np.isfinite(once).all()
        assert np.abs(once).max() <= 0.951
        assert kind == "silence" or np.abs(once).max() > 0.09
        assert np.array_equal(once, made(kind, seed, seconds, rate))
        assert kind == "silence" or not np.array_equal(once, made(kind, seed + 9, seconds, rate))


@pytest.mark.parametrize(("exponent", "db_per_octave"), [(0.0, 0.0), (-0.5, -3.01), (-1.0, -6.02)])
def test_colours_fall_as_they_should(exponent: float, db_per_octave: float) -> None:
    noise = shaped(20 * RATE, RATE, coloured(exponent), np.random.default_rng(4))
    power = np.abs(np.fft.rfft(noise)) ** 2
    hertz = np.fft.rfftfreq(len(noise), 1 / RATE)
    edges = 62.5 * 2.0 ** np.arange(7)
    levels = [10 * np.log10(power[(hertz >= low) & (hertz < 2 * low)].mean()) for low in edges[:-1]]
    assert np.polyfit(range(len(levels)), levels, 1)[0] == pytest.approx(db_per_octave, abs=0.2)
    assert np.sqrt(np.mean(noise**2)) == pytest.approx(1, abs=1e-3)


def test_a_sine_has_its_frequency_and_nothing_else() -> None:
    sine = wave(cycles_of(440.0, 2 * RATE, RATE), [1.0])
    power = np.abs(np.fft.rfft(sine)) ** 2
    assert np.argmax(power) == 880
    assert power[880] / power.sum() > 0.99999


def test_a_test_tone_keeps_its_pitch() -> None:
    for seed in range(12):
        sound = made("tone", seed)
        first, last = (np.abs(np.fft.rfft(part)) for part in (sound[:RATE], sound[-RATE:]))
        # One or two pitches and their harmonics: nearly all in few bins, the same at the end.
        loud = np.argsort(first)[-60:]
        assert (first[loud] ** 2).sum() / (first**2).sum() > 0.9
        assert np.abs(np.argmax(first) - np.argmax(last)) <= 1


def test_a_curve_wanders_without_jumps() -> None:
    curve = wandering(10 * RATE, RATE, 0.5, np.random.default_rng(0))
    assert 0 <= curve.min() < 0.4 < 0.6 < curve.max() <= 1
    assert np.abs(np.diff(curve)).max() < np.pi / 2 * 0.5 / RATE * 1.1


def test_silence_is_silent() -> None:
    loudest, share = [], []
    for seed in range(40):
        sound = made("silence", seed)
        loudest.append(np.abs(sound).max())
        share.append(np.mean(np.abs(sound) > 2**-14))
    assert min(loudest) == 0
    assert sum(level == 2**-15 for level in loudest) > 5
    assert 0 < max(share) < 0.001


def test_dialled_keys_are_those_of_a_telephone() -> None:
    keys = set()
    for seed in range(5):
        sound = dialling(10 * RATE, RATE, np.random.default_rng(seed))
        for frame in frames_of(sound, 0.04):
            if np.sqrt(np.mean(frame**2)) < 0.95:  # not wholly within one key
                continue
            spectrum = np.abs(np.fft.rfft(frame * np.hanning(len(frame)), RATE))
            row, column = np.argmax(spectrum[600:1050]) + 600, np.argmax(spectrum[1100:1800]) + 1100
            nearest = [
                min(tones, key=lambda tone: abs(tone - found))
                for tones, found in (
                    ((697, 770, 852, 941), row),
                    ((1209, 1336, 1477, 1633), column),
                )
            ]
            assert abs(nearest[0] - row) < 8
            assert abs(nearest[1] - column) < 8
            keys.add(tuple(nearest))
    assert len(keys) > 10


def test_speech_is_voiced_in_range_with_pauses_and_no_fixed_notes() -> None:
    means = []
    for seed in range(8):
        sound = talk(12 * RATE, RATE, np.random.default_rng(seed))
        frames = frames_of(sound, 0.04)
        loud = np.sqrt((frames**2).mean(axis=1))
        assert 0.03 < np.mean(loud < 0.03 * loud.max()) < 0.6
        found = [periodicity(frame, 50, 550) for frame in frames[loud > 0.2 * loud.max()]]
        pitches = np.array([pitch for strength, pitch in found if strength > 0.8])
        assert len(pitches) > 0.4 * len(found)
        inside = (pitches > LOWEST_PITCH_HZ * 0.95) & (pitches < HIGHEST_PITCH_HZ * 1.05)
        assert inside.mean() > 0.95
        # It glides over more than a tone of music, and not in steps of semitones.
        semitones = 12 * np.log2(pitches / np.median(pitches))
        assert np.percentile(semitones, 90) - np.percentile(semitones, 10) > 1.5
        means.append(np.median(pitches))
        syllables = np.convolve(loud, np.hanning(5), "same")
        peaks = (syllables[1:-1] > syllables[:-2]) & (syllables[1:-1] > syllables[2:])
        assert 1.5 < peaks.sum() / 12 < 8
    assert min(means) < 150
    assert max(means) > 200


def test_applause_has_no_pitch_and_speech_has() -> None:
    def median(kind: Kind) -> float:
        found = []
        for seed in range(6):
            frames = frames_of(made(kind, seed), 0.06)
            loud = np.sqrt((frames**2).mean(axis=1))
            found += [periodicity(one, 80, 800)[0] for one in frames[loud > 0.2 * loud.max()]]
        return float(np.median(found))

    assert median("applause") < 0.35
    assert median("rain") < 0.35
    assert median("speech") > 0.6


def test_hum_is_of_the_mains() -> None:
    mains = set()
    for seed in range(10):
        strength, hertz = periodicity(made("hum", seed)[: RATE // 5], 45, 66)
        assert strength > 0.8
        mains.add(round(hertz))
    assert mains == {50, 60}


def test_only_a_clock_is_steady() -> None:
    """How well its blows keep to one period, by their power."""

    def steadiness(kind: Kind, seed: int) -> float:
        power = np.sqrt((frames_of(made(kind, seed, 20.0), 0.005) ** 2).mean(axis=1))
        rises = np.maximum(np.diff(power), 0)
        rises -= rises.mean()
        found = np.fft.irfft(np.abs(np.fft.rfft(rises, 2 * len(rises))) ** 2)
        # Over many periods: two knocks at one distance are chance.
        return float(found[600:2000].max() / found[0])

    for kind in ("footsteps", "knocking", "typing", "clicks", "applause", "impacts", "birds"):
        assert np.median([steadiness(kind, seed) for seed in range(8)]) < 0.4, kind
    assert np.median([steadiness("clock", seed) for seed in range(8)]) > 0.4


def test_held_out_kinds_are_in_the_test_alone() -> None:
    draws = np.random.default_rng(0)
    learned = Counter(drawn_kind(is_test=False, draws=draws) for _ in range(3000))
    assert set(learned) == set(KINDS) - set(HELD_OUT_KINDS)
    judged = Counter(drawn_kind(is_test=True, draws=draws) for _ in range(3000))
    assert set(judged) == set(KINDS)
    assert 0.2 < sum(judged[kind] for kind in HELD_OUT_KINDS) / 3000 < 0.3
    assert learned["speech"] > 300


def test_espeak_talks_the_same_again() -> None:
    espeak = find_espeak()
    if espeak is None:
        pytest.skip("espeak-ng is not installed")
    assert "eSpeak NG" in espeak.version
    once, again, other = (
        espeak.talk(5 * RATE, RATE, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert once.shape == (5 * RATE,)
    assert np.array_equal(once, again)
    assert not np.array_equal(once, other)
    for seed in range(12):  # to the end, whoever speaks
        said = espeak.talk(20 * RATE, RATE, np.random.default_rng(seed))
        assert 0.01 < np.abs(said[-3 * RATE :]).max() <= 1.1
    sounds = [
        not_music("speech", 2.0, RATE, np.random.default_rng(seed), speaker).samples
        for seed in range(6)
        for speaker in (None, espeak)
    ]
    differs = [not np.array_equal(a, b) for a, b in zip(sounds[::2], sounds[1::2], strict=True)]
    assert any(differs)


def test_a_speaker_that_fails_is_named(tmp_path: Path) -> None:
    program = tmp_path / "espeak-ng"
    program.write_text("#!/bin/sh\necho no such voice >&2\nexit 3\n")
    program.chmod(0o755)
    with pytest.raises(EngineError, match="espeak-ng failed: no such voice; mend or remove it"):
        Espeak(program, "1").talk(RATE, RATE, np.random.default_rng(0))
    with pytest.raises(EngineError, match="absent failed: .*No such file"):
        Espeak(tmp_path / "absent", "1").talk(RATE, RATE, np.random.default_rng(0))
    program.write_text("#!/bin/sh\ncat > /dev/null\n")
    with pytest.raises(EngineError, match="espeak-ng said nothing with the voice"):
        Espeak(program, "1").talk(RATE, RATE, np.random.default_rng(0))
