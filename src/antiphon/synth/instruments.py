"""Turns a timbre, a pitch and a velocity layer into the samples of one note. Knows no score.

Every note is a sum of partials below the Nyquist frequency, so nothing aliases, and each partial
has its exact frequency and decay: a plucked string is the closed form of Karplus and Strong's
(1983) loop with an exactly tuned delay.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from antiphon.audio.waveform import FloatArray
from antiphon.synth.effects import k_weighting
from antiphon.synth.timbres import Noise, Timbre

VELOCITY_LAYERS = 4
HOP = 64  # frames between the points of an envelope; 1.5 ms at 44.1 kHz
_WEAKEST_DB = -72.0  # partials below this are left out
_MAX_PARTIALS = 64
# Left and right differ by the shares of the detuned voices and by small turns of the phases. Phases
# drawn freely for each side would cancel whole partials where a listener mixes down to mono.
_SPREAD = 0.4
_TURN = math.pi / 4.0
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
    ratios, levels, rates = _partials(timbre, pitch, layer, sample_rate)
    frames = max(1, round(seconds * sample_rate))
    times = np.arange(-(-frames // HOP) + 1) * (HOP / sample_rate)  # [M]
    envelopes = levels * _decay(timbre, rates, times) * _attack(timbre, ratios, times)  # [M, K]
    if timbre.tremolo_db:
        swing = np.sin(2.0 * np.pi * timbre.vibrato_hz * times)
        envelopes *= 10.0 ** (timbre.tremolo_db / 40.0 * swing)[:, None]
    warped = _warped_times(timbre, times, rng)
    spread = np.linspace(-1.0, 1.0, timbre.voices) if timbre.voices > 1 else np.zeros(1)
    detunes = 2.0 ** (timbre.detune_cents * spread / 1200.0)  # [V]
    hertz = pitch_hz(pitch) * (detunes[:, None] * ratios).ravel()  # [V * K]
    phases = rng.uniform(0.0, 2.0 * np.pi, hertz.size)
    power = ((levels * k_weighting(pitch_hz(pitch) * ratios)) ** 2).sum() / 2.0
    envelopes /= math.sqrt(max(power, 1e-12))
    sides = (-1.0, 1.0) if timbre.wide else (0.0,)
    samples = np.empty((len(sides), frames), dtype=np.float32)
    for side, channel in zip(sides, samples, strict=True):
        shares = 1.0 + _SPREAD * side * spread
        shares /= math.sqrt((shares**2).sum())
        amplitudes = np.concatenate([share * envelopes for share in shares], axis=1)
        turned = phases + abs(side) * rng.uniform(-_TURN, _TURN, hertz.size)
        channel[:] = additive(hertz, amplitudes, warped, turned, sample_rate)[:frames]
        if timbre.noise is not None:
            channel += _noise(timbre, timbre.noise, frames, sample_rate, rng)
    return samples


def additive(
    hertz: Floats, amplitudes: Floats, warped: Floats, phases: Floats, sample_rate: int
) -> FloatArray:
    """A sum of K sinusoids with amplitudes [M, K] given every `HOP` samples, [(M - 1) * HOP].

    `warped` [M] is the running time in seconds as vibrato bends it. Each point of the envelope is
    a grain under a triangle that overlaps its neighbours by half, all grains one matrix product:
    for steady partials this is exact, and the amplitudes are interpolated linearly.
    """
    turns = warped[:, None] * hertz  # [M, K]
    angles = ((turns - np.floor(turns)) * (2.0 * np.pi) + phases).astype(np.float32)
    loud = amplitudes.astype(np.float32)
    left = np.concatenate([loud * np.cos(angles), -loud * np.sin(angles)], axis=1)  # [M, 2K]
    offsets = np.arange(-HOP, HOP)
    inner = 2.0 * np.pi / sample_rate * hertz[:, None] * offsets
    triangle = 1.0 - np.abs(offsets) / HOP
    right = np.concatenate([np.cos(inner) * triangle, np.sin(inner) * triangle])  # [2K, 2 hops]
    grains = left @ right.astype(np.float32)  # [M, 2 hops]
    summed: FloatArray = (grains[:-1, HOP:] + grains[1:, :HOP]).ravel()
    return summed


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


def _decay(timbre: Timbre, rates: Floats, times: Floats) -> Floats:
    fall: Floats = np.exp(-np.outer(times, rates))
    if timbre.aftersound:
        slow = np.exp(-np.outer(times, rates / 5.0))
        fall += timbre.aftersound * (slow - fall)
    return fall


def _attack(timbre: Timbre, ratios: Floats, times: Floats) -> Floats:
    seconds = timbre.attack_seconds * (1.0 + timbre.attack_lag * (ratios - 1.0))
    rise: Floats = np.sin(0.5 * np.pi * np.minimum(1.0, times[:, None] / seconds)) ** 2
    return rise


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


def _noise(
    timbre: Timbre, noise: Noise, frames: int, sample_rate: int, rng: np.random.Generator
) -> FloatArray:
    level = 10.0 ** (noise.level_db / 20.0)
    if noise.t60_seconds is None:
        count = frames
        envelope = np.minimum(1.0, np.arange(count) / (timbre.attack_seconds * sample_rate))
    else:
        count = min(frames, math.ceil(1.2 * noise.t60_seconds * sample_rate))
        elapsed = np.arange(count) / sample_rate
        envelope = np.exp(-_T60 / noise.t60_seconds * elapsed) * np.minimum(1.0, elapsed / 0.001)
    sound = np.zeros(frames, dtype=np.float32)
    sound[:count] = (
        level * envelope * band_noise(rng, count, noise.low_hz, noise.high_hz, sample_rate)
    )
    return sound


def band_noise(
    rng: np.random.Generator, frames: int, low_hz: float, high_hz: float, sample_rate: int
) -> FloatArray:
    """Noise between two frequencies (12 dB per octave beyond them), RMS 1, [frames]."""
    from scipy.fft import irfft, next_fast_len, rfft

    size = next_fast_len(max(frames, 256), real=True)
    spectrum = rfft(rng.standard_normal(size, dtype=np.float32))
    hertz = np.fft.rfftfreq(size, 1 / sample_rate) + 1e-3
    shape = 1.0 / np.sqrt((1.0 + (low_hz / hertz) ** 4) * (1.0 + (hertz / high_hz) ** 4))
    shape[hertz > 0.46 * sample_rate] = 0.0
    shape[0] = 0.0
    sound: FloatArray = irfft(spectrum * shape.astype(np.float32), size)[:frames]
    return sound / np.float32(max(float(np.sqrt(np.mean(sound**2))), 1e-9))
