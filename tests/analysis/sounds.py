"""Sounds whose truth is known because they were built from it: mono float32 [T] at RATE."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy.signal
from numpy.typing import NDArray

from antiphon.analysis.features import SAMPLE_RATE, FeatureExtractor, Features
from antiphon.arrange import arrange
from antiphon.audio import Waveform
from antiphon.controls import Controls
from antiphon.notation import Key
from antiphon.score import Score
from antiphon.synth import render

FloatArray = NDArray[np.float32]

RATE = SAMPLE_RATE  # what the analysis works at, so that nothing is resampled


def seconds_axis(seconds: float, rate: int = RATE) -> NDArray[np.float64]:
    return np.arange(round(seconds * rate)) / rate


def sine(
    hz: float, seconds: float, amplitude: float = 0.5, rate: int = RATE, phase: float = 0.0
) -> FloatArray:
    return np.float32(amplitude * np.sin(2 * np.pi * hz * seconds_axis(seconds, rate) + phase))


def noise(seconds: float, amplitude: float = 0.1, rate: int = RATE, seed: int = 1) -> FloatArray:
    """White, with this standard deviation."""
    count = round(seconds * rate)
    return np.float32(amplitude * np.random.default_rng(seed).standard_normal(count))


def pink_noise(seconds: float, amplitude: float = 0.1, seed: int = 1) -> FloatArray:
    """Power falling with 1 / f above 20 Hz, with this standard deviation."""
    spectrum = np.fft.rfft(noise(seconds, 1.0, seed=seed).astype(float))
    spectrum /= np.sqrt(np.maximum(np.fft.rfftfreq(round(seconds * RATE), 1 / RATE), 20.0))
    coloured = np.fft.irfft(spectrum, round(seconds * RATE))
    return np.float32(amplitude * coloured / coloured.std())


def tone(pitch: float, seconds: float, decay_seconds: float = 1.0) -> FloatArray:
    """A plucked harmonic tone at a MIDI pitch, fractions allowed; eight partials falling by 1/n."""
    t = seconds_axis(seconds)
    hz = 440.0 * 2.0 ** ((pitch - 69.0) / 12.0)
    partials = sum(np.sin(2 * np.pi * n * hz * t + n) / n for n in range(1, 9))
    edge = np.minimum(1.0, np.minimum(t, seconds - t) / 0.004)
    return np.float32(partials * edge * np.exp(-t / decay_seconds))


def strike(seconds: float = 0.06, seed: int = 0) -> FloatArray:
    """A burst of noise that dies away in 15 ms."""
    return noise(seconds, 1.0, seed=seed) * np.float32(np.exp(-seconds_axis(seconds) / 0.015))


def thump() -> FloatArray:
    """A kick drum: a low sine that falls in pitch and dies away."""
    t = seconds_axis(0.15)
    cycles = 55.0 * t + 2.0 * (1.0 - np.exp(-t / 0.02))
    return np.float32(np.sin(2 * np.pi * cycles) * np.exp(-t / 0.06))


def place(
    events: Sequence[tuple[float, FloatArray]], seconds: float, gain: float = 0.2
) -> FloatArray:
    """Add each sound at its time in seconds."""
    result = np.zeros(round(seconds * RATE), np.float32)
    for time, sound in events:
        start = round(time * RATE)
        heard = sound[: max(0, len(result) - start)]
        result[start : start + len(heard)] += gain * heard
    return result


def beat_times(bpm: float, seconds: float, start: float = 0.25) -> NDArray[np.float64]:
    return np.arange(start, seconds - 0.3, 60.0 / bpm)


def groove(
    times: NDArray[np.float64],
    seconds: float,
    beats_per_bar: int = 4,
    roots: Sequence[int] = (0, 9, 5, 7),
) -> FloatArray:
    """A band as plain as can be, for beats at these times. On the first of each bar: kick, a new
    major chord and its bass note; 4/4: kick on the third, snare on the second and fourth; 3/4:
    snare on the second and third; a hat on every half beat, the chord on every beat."""
    steps = np.diff(times, append=2 * times[-1] - times[-2])
    events: list[tuple[float, FloatArray]] = []
    for number, (time, step) in enumerate(zip(times, steps, strict=True)):
        bar, beat = divmod(number, beats_per_bar)
        root = roots[bar % len(roots)]
        events += [(at, 0.15 * strike(seed=1)) for at in (time, time + step / 2)]
        events += [(time, 0.3 * tone(60 + (root + up) % 12, step, 0.3)) for up in (0, 4, 7)]
        if beat == 0:
            events += [(time, 2.0 * thump()), (time, 1.2 * tone(36 + root, step * beats_per_bar))]
        elif beats_per_bar == 4 and beat == 2:
            events.append((time, 1.5 * thump()))
        else:
            events.append((time, 0.9 * strike(0.12, seed=2)))
    return place(events, seconds)


def babble(seconds: float, seed: int = 1) -> FloatArray:
    """Like speech: syllables of uneven length, a gliding voice through three formants, hisses."""
    dice = np.random.default_rng(seed)
    result = np.zeros(round(seconds * RATE), np.float32)
    at = 0.1
    while at < seconds - 0.5:
        length = dice.uniform(0.08, 0.32)
        t = seconds_axis(length)
        if dice.random() < 0.25:
            sound = scipy.signal.lfilter(
                [1.0, -0.95], [1.0], noise(length, 0.1, seed=round(at * 1000))
            )
        else:
            hz = dice.uniform(90, 180) * 2.0 ** (dice.uniform(-0.6, 0.6) * t / length)
            pulses = scipy.signal.sawtooth(2 * np.pi * np.cumsum(hz) / RATE)
            sound = np.zeros(len(t))
            for low, high in ((300, 850), (900, 2300), (2300, 3200)):
                formant = dice.uniform(low, high)
                b, a = scipy.signal.iirpeak(formant, formant / 90.0, RATE)
                sound += scipy.signal.lfilter(b, a, pulses)
        sound = 0.2 * sound * np.sin(np.pi * t / length) ** 0.7
        start = round(at * RATE)
        result[start : start + len(t)] += np.float32(sound)
        at += length + (dice.uniform(0.2, 0.7) if dice.random() < 0.15 else dice.uniform(0.0, 0.09))
    return result


def organ(pitches: Sequence[int], seconds: float) -> FloatArray:
    """Harmonic tones held at one level from the first sample to the last."""
    t = seconds_axis(seconds)
    tones = [
        np.sin(2 * np.pi * n * 440.0 * 2.0 ** ((pitch - 69) / 12) * t + n * pitch) / n
        for pitch in pitches
        for n in range(1, 9)
    ]
    return np.float32(0.05 * np.sum(tones, axis=0))


HELD_SECONDS = 12.0
HELD_SOUNDS: dict[str, FloatArray] = {
    "sine": sine(440.0, HELD_SECONDS),
    "fifth of sines": sine(220.0, HELD_SECONDS, 0.3) + sine(330.0, HELD_SECONDS, 0.3),
    "organ triad": organ((60, 64, 67), HELD_SECONDS),
    "organ seventh": organ((57, 60, 64, 67), HELD_SECONDS),
    "organ triad and hiss": organ((60, 64, 67), HELD_SECONDS) + noise(HELD_SECONDS, 0.005),
    "sawtooth": np.float32(
        0.3 * scipy.signal.sawtooth(2 * np.pi * 110 * seconds_axis(HELD_SECONDS))
    ),
    "mains hum": np.float32(0.3 * scipy.signal.square(2 * np.pi * 50 * seconds_axis(HELD_SECONDS))),
}


def features_of(samples: FloatArray, block: int = 65_536) -> Features:
    """The features of samples [T] pushed in blocks."""
    extractor = FeatureExtractor()
    for start in range(0, len(samples), block):
        extractor.push(samples[start : start + block])
    return extractor.finish()


def mono(samples: FloatArray, rate: int = RATE) -> Waveform:
    return Waveform(samples[None, :], rate)


@dataclass(frozen=True, eq=False)
class Piece:
    """What was asked for and written, and its sound [1, T] at RATE."""

    score: Score
    waveform: Waveform


@lru_cache(maxsize=16)
def piece(
    genre: str, bpm: float, key: str, metre: str = "4/4", bars: int = 12, seed: int = 1
) -> Piece:
    """Arranged and played on our own instruments."""
    controls = Controls(genre=genre, tempo_bpm=bpm, key=Key.parse(key), metre=metre, bars=bars)
    score = arrange(controls, seed)
    waveform = render(score, sample_rate=RATE).mono()
    waveform.samples.setflags(write=False)
    return Piece(score, waveform)
