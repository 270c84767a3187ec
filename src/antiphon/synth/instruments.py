"""Turns a timbre, a pitch and a velocity layer into the samples of one note. Knows no score.

Every note is a sum of partials below the Nyquist frequency, so nothing aliases, and each partial
has its exact frequency and decay: a plucked string is the closed form of Karplus and Strong's
(1983) loop with an exactly tuned delay.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from antiphon.audio.waveform import FloatArray
from antiphon.loudness import k_weighting_gains
from antiphon.synth.timbres import Noise, Timbre

VELOCITY_LAYERS = 4
HOP = 64  # frames between the points of an envelope; 1.5 ms at 44.1 kHz
_GRAINS = 192  # computed at a time: what fits into a core's cache
_WEAKEST_DB = -56.0  # partials below this are left out
_MAX_PARTIALS = 64
# Left and right differ by their shares of the detuned voices. Voices that hardly drift apart start
# nearly in phase: else some partials would cancel for as long as the note lasts.
_SPREAD = 0.6
_FREE_CENTS = 6.0  # from this detuning on the voices start at phases of their own
_T60 = math.log(1000.0)  # decay rate times T60

Floats: TypeAlias = NDArray[np.floating]


def pitch_hz(pitch: float) -> float:
    """Equal temperament at A4 = 440 Hz."""
    return float(440.0 * 2.0 ** ((pitch - 69.0) / 12.0))


def velocity_layer(velocity: int) -> int:
    """0 (soft) ... `VELOCITY_LAYERS` - 1 (loud)."""
    return velocity * VELOCITY_LAYERS // 128


def render_note(
    timbre: Timbre, pitch: int, layer: int, seconds: float, sample_rate: int, seed: int
) -> FloatArray:
    """`seconds` of a note held down, [1, T], or [2, T] for a wide timbre, at unit loudness.

    It starts at zero and does not end by itself: the caller fades it where it is released.
    """
    rng = np.random.default_rng([seed, pitch, layer])
    ratios, levels, rates = _partials(timbre, pitch, layer, sample_rate)  # [K]
    power = ((levels * k_weighting_gains(pitch_hz(pitch) * ratios)) ** 2).sum() / 2.0
    frames = max(1, round(seconds * sample_rate))
    times = np.arange(-(-frames // HOP) + 1) * (HOP / sample_rate)  # [M]
    envelopes = _envelopes(timbre, ratios, rates, times)  # [M, K]
    envelopes *= (levels / math.sqrt(max(power, 1e-12))).astype(np.float32)
    spread = np.linspace(-1.0, 1.0, timbre.voices) if timbre.voices > 1 else np.zeros(1)
    detunes = 2.0 ** (timbre.detune_cents * spread / 1200.0)  # [V]
    hertz = pitch_hz(pitch) * detunes[:, None] * ratios  # [V, K]
    turn = np.pi * min(1.0, timbre.detune_cents / _FREE_CENTS)
    phases = rng.uniform(0.0, 2.0 * np.pi, ratios.size) + rng.uniform(-turn, turn, hertz.shape)
    warped = _warped_times(timbre, times, rng)
    voices = additive(hertz, envelopes, phases, warped, sample_rate)[:, :frames]
    sides = np.array([-1.0, 1.0] if timbre.wide else [0.0])[:, None]  # [C, 1]
    shares = 1.0 + _SPREAD * sides * spread  # [C, V]
    alike = np.sinc(turn / np.pi) ** 2  # the share of two voices' power that adds as amplitudes
    apart = (shares**2).sum(axis=1, keepdims=True)
    together = shares.sum(axis=1, keepdims=True) ** 2
    shares /= np.sqrt(apart + alike * (together - apart))
    samples = shares.astype(np.float32) @ voices
    if timbre.noise is not None:
        _add_noise(samples, timbre, timbre.noise, sample_rate, rng)
    return samples


def additive(
    hertz: Floats, amplitudes: Floats, phases: Floats, warped: Floats, sample_rate: int
) -> FloatArray:
    """V voices of K sinusoids each at `hertz` [V, K], starting at `phases`; [V, (M - 1) * HOP].

    The voices share `amplitudes` [M, K], given every `HOP` samples. `warped` [M] is the running
    time in seconds as vibrato bends it. Each point of the envelope is a grain under a triangle that
    overlaps its neighbours by half, and many grains are one matrix product: for steady partials
    this is exact, and the amplitudes are interpolated linearly.
    """
    offsets = np.arange(-HOP, HOP)
    triangle = 1.0 - np.abs(offsets) / HOP
    inner = 2.0 * np.pi / sample_rate * hertz[:, :, None] * offsets + phases[:, :, None]
    right = np.concatenate([np.cos(inner) * triangle, -np.sin(inner) * triangle], axis=1)
    right = right.astype(np.float32)  # [V, 2 K, 2 hops]
    loud = amplitudes.astype(np.float32, copy=False)
    intervals, partials = warped.size - 1, hertz.shape[1]
    samples = np.empty((len(hertz), intervals * HOP), dtype=np.float32)
    for first in range(0, intervals, _GRAINS):
        chunk = slice(first, min(first + _GRAINS, intervals) + 1)
        turns = warped[chunk, None] * hertz[:, None, :]  # [V, grains, K]
        turns -= np.rint(turns)  # in doubles: after minutes a float would be out of tune
        angles = turns.astype(np.float32) * np.float32(2.0 * np.pi)
        left = np.empty((*angles.shape[:2], 2 * partials), dtype=np.float32)
        np.multiply(np.cos(angles), loud[chunk], out=left[:, :, :partials])
        np.multiply(np.sin(angles), loud[chunk], out=left[:, :, partials:])
        grains = left @ right  # [V, grains, 2 hops]
        joined = grains[:, :-1, HOP:] + grains[:, 1:, :HOP]
        samples[:, first * HOP : chunk.stop * HOP - HOP] = joined.reshape(len(hertz), -1)
    return samples


def _partials(
    timbre: Timbre, pitch: int, layer: int, sample_rate: int
) -> tuple[Floats, Floats, Floats]:
    """Frequency ratios, amplitudes and decay rates (1/s) of the partials that are heard, [K]."""
    fundamental = pitch_hz(pitch)
    if timbre.partials:
        ratios, levels_db = (
            np.array(column, dtype=float) for column in zip(*timbre.partials, strict=True)
        )
    else:
        ratios = np.arange(1.0, _MAX_PARTIALS + 1)
        levels_db = timbre.slope_db * np.log2(ratios)
        levels_db[1::2] += timbre.even_db
        if timbre.pluck:
            comb = np.abs(np.sin(np.pi * ratios * timbre.pluck)) / math.sin(np.pi * timbre.pluck)
            levels_db += 20.0 * np.log10(np.maximum(comb, 0.03))
    loudness = 2.0 * layer / (VELOCITY_LAYERS - 1) - 1.0  # -1 soft ... 1 loud
    levels_db = levels_db + timbre.bright_db * loudness * np.log2(ratios)
    number = ratios
    if timbre.stretch:
        stiffness = timbre.stretch * 2.0 ** ((pitch - 60) / 12.0)
        ratios = ratios * np.sqrt((1.0 + stiffness * ratios**2) / (1.0 + stiffness))
    hertz = fundamental * ratios
    for centre_hz, octaves, gain_db in timbre.humps:
        levels_db = levels_db + gain_db * np.exp(-0.5 * (np.log2(hertz / centre_hz) / octaves) ** 2)
    levels_db = levels_db - 12.0 * np.log2(1.0 + (hertz / timbre.top_hz) ** 4) / 2.0
    # The highest notes of a lowpassed timbre keep their fundamental.
    audible = (hertz < 0.46 * sample_rate) & (levels_db > levels_db.max() + _WEAKEST_DB)
    audible[0] = hertz[0] < 0.49 * sample_rate
    rates = np.zeros(ratios.size)
    if timbre.t60_seconds is not None:
        t60 = timbre.t60_seconds * 2.0 ** (-timbre.t60_octave * (pitch - 69) / 12.0)
        rates = _T60 / t60 * (1.0 + timbre.damping * (number - 1.0))
    levels = 10.0 ** (levels_db / 20.0)
    return ratios[audible], levels[audible], rates[audible]


def _envelopes(timbre: Timbre, ratios: Floats, rates: Floats, times: Floats) -> Floats:
    """Attack, decay and tremolo of each partial at `times` [M], [M, K]."""
    if timbre.t60_seconds is None:
        envelopes: Floats = np.ones((times.size, ratios.size), dtype=np.float32)
    else:
        envelopes = np.exp(-np.outer(times, rates).astype(np.float32))
        if timbre.aftersound:
            slow = np.exp(-np.outer(times, rates / 5.0).astype(np.float32))
            envelopes += timbre.aftersound * (slow - envelopes)
    rise_seconds = timbre.attack_seconds * (1.0 + timbre.attack_lag * (ratios - 1.0))  # [K]
    rising = times[times < rise_seconds.max()]
    progress = np.minimum(1.0, rising[:, None] / rise_seconds)
    envelopes[: rising.size] *= np.sin(0.5 * np.pi * progress) ** 2
    if timbre.tremolo_db:
        swing = np.sin(2.0 * np.pi * timbre.vibrato_hz * times)
        envelopes *= 10.0 ** (timbre.tremolo_db / 40.0 * swing)[:, None]
    return envelopes


def _warped_times(timbre: Timbre, times: Floats, rng: np.random.Generator) -> Floats:
    """The running time that makes a steady partial vibrate: its slope is the pitch's ratio."""
    if not timbre.vibrato_cents:
        return times
    depth = (2.0 ** (timbre.vibrato_cents / 1200.0) - 1.0) * np.clip(
        (times - timbre.vibrato_delay_seconds) / 0.3, 0.0, 1.0
    )
    # Starting at zero and symmetric: the mean pitch stays exact.
    rate_hz = timbre.vibrato_hz * rng.uniform(0.95, 1.05)
    slope = depth * np.sin(2.0 * np.pi * rate_hz * times)
    steps = (slope[1:] + slope[:-1]) / 2.0 * (times[1] - times[0])
    bent: Floats = times + np.concatenate([[0.0], np.cumsum(steps)])
    return bent


def _add_noise(
    samples: FloatArray, timbre: Timbre, noise: Noise, sample_rate: int, rng: np.random.Generator
) -> None:
    """Add the noise of the stroke, or that of the breath, to `samples` [C, T] in place."""
    loop = _noise_loop(noise.low_hz, noise.high_hz, sample_rate)
    if noise.t60_seconds is None:
        seconds = np.arange(samples.shape[1], dtype=np.float32) / np.float32(sample_rate)
        envelope = np.minimum(1.0, seconds / np.float32(timbre.attack_seconds))
    else:
        count = min(samples.shape[1], math.ceil(1.2 * noise.t60_seconds * sample_rate))
        seconds = np.arange(count, dtype=np.float32) / np.float32(sample_rate)
        envelope = np.exp(-_T60 / noise.t60_seconds * seconds) * np.minimum(1.0, seconds / 0.001)
    envelope *= np.float32(10.0 ** (noise.level_db / 20.0))
    for channel in samples:
        turned = np.roll(loop, rng.integers(loop.size))
        channel[: envelope.size] += envelope * np.resize(turned, envelope.size)


@lru_cache(maxsize=64)
def _noise_loop(low_hz: float, high_hz: float, sample_rate: int) -> FloatArray:
    """0.7 s of noise whose end joins its beginning."""
    from scipy.fft import next_fast_len

    frames = next_fast_len(round(0.7 * sample_rate), real=True)
    return band_noise(np.random.default_rng(frames), frames, low_hz, high_hz, sample_rate)


def band_noise(
    rng: np.random.Generator, frames: int, low_hz: float, high_hz: float, sample_rate: int
) -> FloatArray:
    """Noise between two frequencies (12 dB per octave beyond them), RMS 1, [frames].

    Its end joins its beginning if `frames` is a fast length of the FFT.
    """
    from scipy.fft import irfft, next_fast_len, rfft

    size = next_fast_len(max(frames, 256), real=True)
    spectrum = rfft(rng.standard_normal(size, dtype=np.float32))
    hertz = np.fft.rfftfreq(size, 1 / sample_rate) + 1e-3
    shape = 1.0 / np.sqrt((1.0 + (low_hz / hertz) ** 4) * (1.0 + (hertz / high_hz) ** 4))
    shape[hertz > 0.46 * sample_rate] = 0.0
    shape[0] = 0.0
    sound: FloatArray = irfft(spectrum * shape.astype(np.float32), size)[:frames]
    return sound / np.float32(max(float(np.sqrt(np.mean(sound**2))), 1e-9))
