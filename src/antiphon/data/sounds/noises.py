"""Steady noises: coloured ones, weather, hum, records, fans and engines; and the curves and waves
that other sounds are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len

from antiphon.audio.waveform import FloatArray

Floats = NDArray[np.float64]
Gains = Callable[[Floats], Floats]

TOP = 0.45  # of the rate: no partial lies higher
_LOWEST_HZ = 20.0
_TABLE_SIZE = 4096
_COLOURS = (0.0, -0.5, -1.0)  # exponents of the amplitude over Hz: white, pink, brown


def shaped(frames: int, rate: int, gains: Gains, draws: np.random.Generator) -> FloatArray:
    """Gaussian noise [T] of RMS 1 whose amplitude over Hz is `gains`."""
    size = next_fast_len(frames, real=True)
    bins = size // 2 + 1
    spectrum = draws.standard_normal(2 * bins, dtype=np.float32).view(np.complex64)
    spectrum *= gains(np.linspace(0, rate / 2, bins)).astype(np.float32)
    spectrum[0] = 0
    found: FloatArray = irfft(spectrum, size)[:frames]
    found /= np.float32(np.sqrt(np.mean(found**2)) + 1e-12)
    return found


def coloured(exponent: float) -> Gains:
    """Amplitude that goes with Hz to the `exponent`: 6 dB an octave for each 1."""
    return lambda hertz: np.maximum(hertz, _LOWEST_HZ) ** exponent


def band(centre_hz: float, octaves: float) -> Gains:
    """A bell over octaves, down to 1/e after `octaves` on either side."""
    return lambda hertz: np.exp(
        -((np.log2(np.maximum(hertz, _LOWEST_HZ) / centre_hz) / octaves) ** 2)
    )


def wandering(frames: int, rate: int, hertz: float, draws: np.random.Generator) -> FloatArray:
    """A smooth random curve [T] from 0 to 1 that turns about `hertz` times a second."""
    count = int(frames * hertz / rate) + 3
    # Corners of straight lines would be heard in a gliding pitch.
    fine = np.linspace(0, count - 1, 16 * count)
    left = np.minimum(fine.astype(int), count - 2)
    share = (1 - np.cos(np.pi * (fine - left))) / 2
    values = draws.random(count)
    smooth = values[left] * (1 - share) + values[left + 1] * share
    curve: Floats = np.interp(np.arange(frames), fine * (rate / hertz), smooth)
    return curve.astype(np.float32)


def wave(cycles: Floats | FloatArray, partials: Sequence[float] | Floats) -> FloatArray:
    """A wave [T] at `cycles` [T] turns since its start; `partials` are the amplitudes of its
    harmonics from the first on."""
    turn = np.arange(_TABLE_SIZE) / _TABLE_SIZE
    numbers = np.arange(1, len(partials) + 1)
    # Each with a phase of its own, that of the first 0: all in phase are a click.
    phases = np.modf(numbers**2 * 0.137)[0] - 0.137
    table = np.asarray(partials) @ np.sin(2 * np.pi * (numbers[:, None] * turn + phases[:, None]))
    places = (np.modf(cycles)[0] * _TABLE_SIZE).astype(np.int32)
    found: FloatArray = table.astype(np.float32)[places]
    return found


def cycles_of(hertz: Floats | FloatArray | float, frames: int, rate: int) -> Floats:
    """How many turns [T] a tone of `hertz`, one value or [T], has made."""
    if isinstance(hertz, float):
        return np.arange(frames, dtype=np.float64) * (hertz / rate)
    turns: Floats = np.cumsum(hertz, dtype=np.float64)
    turns /= rate
    return turns


def harmonics(
    fundamental_hz: float, rate: int, most: int, fall: float, draws: np.random.Generator
) -> Floats:
    """Random amplitudes of at most `most` harmonics below the highest partial; the n-th falls with
    n to the power of `fall`."""
    count = max(1, min(most, int(TOP * rate / fundamental_hz)))
    return draws.uniform(0.2, 1.0, count) * np.arange(1, count + 1) ** -fall


def noise(frames: int, rate: int, draws: np.random.Generator) -> FloatArray:
    """White, pink, brown, or of a band; steady, or slowly louder and softer."""
    gains = coloured(float(draws.choice(_COLOURS)))
    if draws.random() < 0.4:
        centre = float(np.exp(draws.uniform(np.log(120), np.log(TOP * rate))))
        gains = band(centre, draws.uniform(0.15, 2))
    found = shaped(frames, rate, gains, draws)
    if draws.random() < 0.3:
        found *= 0.05 + wandering(frames, rate, draws.uniform(0.1, 2), draws)
    return found


def wind(frames: int, rate: int, draws: np.random.Generator) -> FloatArray:
    """Low noise in gusts, and a whistling band that follows them."""
    gusts = wandering(frames, rate, draws.uniform(0.2, 0.8), draws) ** 2
    low = shaped(frames, rate, coloured(draws.uniform(-1.4, -0.8)), draws)
    whistling = band(draws.uniform(300, 1200), draws.uniform(0.08, 0.5))
    high = shaped(frames, rate, whistling, draws)
    return (0.1 + gusts) * low + np.float32(draws.uniform(0, 0.5)) * gusts * high


def rain(frames: int, rate: int, draws: np.random.Generator) -> FloatArray:
    """A hiss of many drops, and single ones."""
    found = shaped(frames, rate, coloured(draws.uniform(-0.5, 0.1)), draws)
    found *= 0.7 + 0.3 * wandering(frames, rate, 0.3, draws)
    drops = _sparks(frames, rate, draws.uniform(5, 200), draws)
    heard = shaped(round(0.01 * rate), rate, band(draws.uniform(1500, 5000), 0.6), draws)
    heard *= np.exp(-np.arange(len(heard)) / (0.002 * rate)).astype(np.float32)
    return found + np.float32(draws.uniform(0.5, 3)) * _struck(drops, heard)


def surf(frames: int, rate: int, draws: np.random.Generator) -> FloatArray:
    """Waves that come every few seconds: dull while far, bright where they break."""
    swell = wandering(frames, rate, draws.uniform(0.15, 0.4), draws)
    dull = shaped(frames, rate, coloured(-1.0), draws)
    bright = shaped(frames, rate, coloured(-0.3), draws)
    return (0.1 + swell) * dull + np.float32(draws.uniform(0.3, 1)) * swell**3 * bright


def hum(frames: int, rate: int, draws: np.random.Generator) -> FloatArray:
    """Of the mains, 50 or 60 Hz with harmonics, over a little hiss."""
    mains = float(draws.choice((50.0, 60.0)) * draws.uniform(0.998, 1.002))
    partials = harmonics(mains, rate, 30, draws.uniform(0.5, 2), draws)
    partials[::2] *= draws.uniform(0.1, 1)  # rectified: the even ones are the louder
    found = wave(cycles_of(mains, frames, rate), partials)
    found /= np.float32(found.std())
    return found + np.float32(draws.uniform(0.003, 0.3)) * shaped(
        frames, rate, coloured(-0.3), draws
    )


def crackle(frames: int, rate: int, draws: np.random.Generator) -> FloatArray:
    """An empty groove: crackles, hiss and rumble."""
    crackles = _sparks(frames, rate, draws.uniform(3, 60), draws)
    heard = shaped(round(0.002 * rate) + 8, rate, coloured(0.0), draws)
    heard *= np.exp(-np.arange(len(heard)) / (0.0004 * rate)).astype(np.float32)
    hiss = shaped(frames, rate, coloured(draws.uniform(-0.2, 0.3)), draws)
    rumble = shaped(frames, rate, band(30, 0.5), draws)
    levels = draws.uniform((0.01, 0.005), (0.15, 0.1)).astype(np.float32)
    found = _struck(crackles, heard)
    found += levels[0] * hiss + levels[1] * rumble
    return found


def fan(frames: int, rate: int, draws: np.random.Generator) -> FloatArray:
    """A fan, a vacuum cleaner, a drill: air, with the blades and the motor in it."""
    blades = draws.uniform(8, 60) * (1 + 0.01 * wandering(frames, rate, 1, draws))
    air = shaped(frames, rate, coloured(draws.uniform(-1, -0.2)), draws)
    turns = cycles_of(blades, frames, rate)
    depth = np.float32(draws.uniform(0.05, 0.4))
    air *= 1 + depth * wave(turns, [1.0])
    ratio = float(draws.integers(3, 12))
    partials = harmonics(70 * ratio, rate, 25, draws.uniform(0.7, 2), draws)
    motor = wave(turns * ratio, partials)
    air += np.float32(draws.uniform(0, 1) / motor.std()) * motor
    return air


def engine(frames: int, rate: int, draws: np.random.Generator) -> FloatArray:
    """A motor that idles, runs or is revved: uneven bangs over a rumble."""
    lowest = draws.uniform(12, 60)
    reach = draws.choice((0.05, 0.5, 2.0))
    firing = lowest * (1 + reach * wandering(frames, rate, draws.uniform(0.1, 0.5), draws))
    partials = harmonics(lowest * (1 + reach), rate, 40, draws.uniform(0.4, 1.2), draws)
    # Not all cylinders are alike: the wave of two turns lets them differ.
    bangs = wave(cycles_of(firing, frames, rate) / 2, partials)
    rough = 0.6 + 0.8 * wandering(frames, rate, 25, draws)
    rumble = shaped(frames, rate, coloured(-1.0), draws)
    air = shaped(frames, rate, band(draws.uniform(300, 2000), 1.5), draws)
    bangs /= np.float32(bangs.std())
    levels = draws.uniform(0.05, 0.5, 2).astype(np.float32)
    rumble *= levels[0]
    rumble += rough * bangs + levels[1] * np.abs(bangs) * air
    return rumble


def _sparks(frames: int, rate: int, per_second: float, draws: np.random.Generator) -> FloatArray:
    """Single samples at random places, most of them small, [T]."""
    count = max(1, int(draws.poisson(per_second * frames / rate)))
    found = np.zeros(frames, np.float32)
    found[draws.integers(0, frames, count)] = draws.standard_normal(count) ** 3 * 0.3
    return found


def _struck(sparks: FloatArray, heard: FloatArray) -> FloatArray:
    """`heard` at each of the `sparks`, [T]; they are few, and no transform is needed."""
    found = np.zeros(len(sparks) + len(heard), np.float32)
    for place in np.flatnonzero(sparks):
        found[place : place + len(heard)] += sparks[place] * heard
    return found[: len(sparks)]
