"""Tones that nobody plays: test tones, sweeps, dialling, telephones and sirens; and silence."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from antiphon.audio.waveform import FloatArray
from antiphon.data.sounds.noises import TOP, Floats, cycles_of, harmonics, wandering, wave

_LSB = 2.0**-15  # of 16 bits
_FADE_SECONDS = 0.003
_PARTIALS = 40
_DIAL_ROWS, _DIAL_COLUMNS = (697, 770, 852, 941), (1209, 1336, 1477, 1633)  # Hz, ITU-T Q.23
_RINGS = ((440, 480), (400, 450), (425, 425), (350, 440))  # Hz, of exchanges


def tone(frames: int, rate: int, draws: np.random.Generator) -> FloatArray:
    """One pitch, or two at once, for the whole length: sine, square or saw."""
    number = np.arange(1, _PARTIALS + 1)
    shape = [(number == 1) * 1.0, (number % 2) / number, 1 / number][draws.integers(3)]
    found = np.zeros(frames, np.float32)
    for _ in range(1 + int(draws.random() < 0.25)):
        hertz = float(np.exp(draws.uniform(np.log(50), np.log(min(6000.0, TOP * rate)))))
        partials = shape[: max(1, int(TOP * rate / hertz))]
        found += np.float32(draws.uniform(0.3, 1)) * wave(cycles_of(hertz, frames, rate), partials)
    return found


def sweep(frames: int, rate: int, draws: np.random.Generator) -> FloatArray:
    """A tone that glides: from end to end over octaves, or up and down as it likes."""
    top = TOP * rate
    low, high = np.sort(np.exp(draws.uniform(np.log(30), np.log(top), 2)))
    if draws.random() < 0.5:
        every = min(frames, round(draws.uniform(3, 40) * rate))
        place = (np.arange(frames) % every) / every
        place = place if draws.random() < 0.6 else 1 - place
    else:
        place = wandering(frames, rate, draws.uniform(0.1, 0.6), draws).astype(np.float64)
    hertz = low * (high / low) ** place
    partials = harmonics(high, rate, 8, 1.5, draws)
    return wave(cycles_of(hertz, frames, rate), partials if draws.random() < 0.4 else [1.0])


def dialling(frames: int, rate: int, draws: np.random.Generator) -> FloatArray:
    """Numbers dialled by hand, each key two tones."""
    found = np.zeros(frames, np.float32)
    second = draws.uniform(0, 0.5)
    while second * rate < frames:
        for _ in range(int(draws.integers(3, 13))):
            length = draws.uniform(0.06, 0.3)
            pair = (draws.choice(_DIAL_ROWS), draws.choice(_DIAL_COLUMNS))
            _put(found, second, _sines(pair, length, rate), rate)
            second += length + draws.uniform(0.04, 0.4)
        second += draws.uniform(0.8, 5)
    return found


def telephone(frames: int, rate: int, draws: np.random.Generator) -> FloatArray:
    """A ring of an exchange or of a set, now and then; or beeps of one pitch, at no steady time."""
    found = np.zeros(frames, np.float32)
    second = draws.uniform(0, 1)
    way = draws.integers(3)
    pair = _RINGS[draws.integers(len(_RINGS))]
    pitch, warble = draws.uniform(600, 2600), draws.uniform(1.1, 1.5)
    turns, length = draws.uniform(12, 25), draws.uniform(0.8, 2)
    while second * rate < frames:
        if way == 0:
            _put(found, second, _sines(pair, length, rate), rate)
            second += length + draws.uniform(2, 4)
        elif way == 1:
            at = np.arange(round(length * rate)) / rate
            hertz = np.where(np.modf(at * turns)[0] < 0.5, pitch, min(pitch * warble, TOP * rate))
            ringing = wave(cycles_of(hertz, len(at), rate), [1.0, 0.0, 0.3])
            _put(found, second, _faded(ringing, rate), rate)
            second += length + draws.uniform(1, 4)
        else:
            beep = draws.uniform(0.05, 0.5)
            _put(found, second, _sines((pitch,), beep, rate), rate)
            second += beep + draws.exponential(1.5) + 0.1
    return found


def siren(frames: int, rate: int, draws: np.random.Generator) -> FloatArray:
    """Of the police, of an ambulance with two tones, of an air raid; it may come and go."""
    at = np.arange(frames) / rate
    low = draws.uniform(300, 700)
    high = low * draws.uniform(1.2, 2.5)
    way = draws.integers(3)
    if way == 0:  # a wail or a yelp
        turns = float(np.exp(draws.uniform(np.log(0.1), np.log(4))))
        place = (1 - np.cos(2 * np.pi * turns * at)) / 2
    elif way == 1:
        place = (np.modf(at / draws.uniform(0.8, 1.6))[0] < 0.5).astype(np.float64)
    else:
        low = draws.uniform(80, 200)
        place = wandering(frames, rate, draws.uniform(0.08, 0.2), draws).astype(np.float64)
    # It drives past: louder, and its pitch falls.
    passing = (at - draws.uniform(-10, 40)) / draws.uniform(0.5, 3)
    nearness = 0.05 + 1 / (1 + (passing / 4) ** 2)
    hertz = low * (high / low) ** place * (1 - 0.04 * np.tanh(passing))
    partials = harmonics(high * 1.05, rate, 10, draws.uniform(0.5, 1.5), draws)
    found: FloatArray = wave(cycles_of(hertz, frames, rate), partials) * nearness.astype(np.float32)
    return found


def silence(frames: int, rate: int, draws: np.random.Generator) -> FloatArray:
    """Digital silence, the dither of 16 bits, or silence with a click or two."""
    way = draws.integers(3)
    if way == 1:
        dither = draws.random((2, frames), dtype=np.float32)
        steps: FloatArray = np.round(dither[0] - dither[1]) * np.float32(_LSB)
        return steps
    found = np.zeros(frames, np.float32)
    if way == 2:
        for _ in range(int(draws.integers(1, 3))):
            click = draws.standard_normal(round(0.001 * rate) + 2) * draws.uniform(0.01, 0.2)
            _put(found, draws.uniform(0, frames / rate), click.astype(np.float32), rate)
    return found.clip(-1, 1)


def _sines(hertz: Sequence[float], seconds: float, rate: int) -> FloatArray:
    at = np.arange(round(seconds * rate)) / rate
    total: Floats = np.sum([np.sin(2 * np.pi * one * at) for one in hertz if one < TOP * rate], 0)
    return _faded(np.broadcast_to(total, at.shape).astype(np.float32), rate)


def _faded(samples: FloatArray, rate: int) -> FloatArray:
    """Without the clicks of a hard start and end."""
    count = min(round(_FADE_SECONDS * rate), len(samples) // 2)
    ramp = np.linspace(0, 1, count, dtype=np.float32)
    samples[:count] *= ramp
    samples[len(samples) - count :] *= ramp[::-1]
    return samples


def _put(into: FloatArray, second: float, samples: FloatArray, rate: int) -> None:
    start = round(second * rate)
    part = samples[: max(0, len(into) - start)]
    into[start : start + len(part)] += part
