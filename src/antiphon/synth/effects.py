"""What is done to a whole mix: reverb, loudness, limiter, tail. Knows no note and no score."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from antiphon.audio.waveform import FloatArray, Waveform
from antiphon.loudness import k_weighting_gains

TARGET_LUFS = -17.0
CEILING_DB = -1.2  # sample peak; leaves room for the peaks between samples
MAX_LIMITING_DB = 6.0  # beyond this a limiter is heard: sparse drums stay quieter instead
FLOOR_DB = -66.0  # what lies below the peak by more than this is the end of the tail

_REVERB_SECONDS = 1.3
_PRE_DELAY_SECONDS = 0.018
_LOUDNESS_BLOCK_SECONDS = 0.4  # ITU-R BS.1770
_CHUNK_FRAMES = 1 << 16
_CUT_FADE_SECONDS = 0.3


@lru_cache(maxsize=2)
def reverb_response(sample_rate: int) -> FloatArray:
    """A synthetic hall [2, T]: on average 0 dB per channel from 300 to 3000 Hz.

    Band-wise exponentially decaying noise after Moorer (1979), with highs that die first as air
    absorbs them, a few early reflections, and independent noise left and right for width.
    """
    from scipy.fft import irfft, rfft

    frames = int(_REVERB_SECONDS * sample_rate)
    pre_delay = int(_PRE_DELAY_SECONDS * sample_rate)
    seconds = np.arange(frames) / sample_rate
    rng = np.random.default_rng(1979)
    noise = rfft(rng.standard_normal((2, frames)), axis=1)
    hertz = np.fft.rfftfreq(frames, 1 / sample_rate)
    response = np.zeros((2, frames))
    # (centre of an octave-wide band, seconds to fall by 60 dB, level)
    for centre_hz, rt60_seconds, level in (
        (200.0, 1.3, 0.6), (500.0, 1.4, 0.8), (1250.0, 1.3, 1.0), (3000.0, 1.1, 0.8),
        (7000.0, 0.7, 0.5),
    ):  # fmt: skip
        octaves = np.log2(np.maximum(hertz, 1.0) / centre_hz)
        band = irfft(noise * np.exp(-0.5 * (octaves / 0.55) ** 2), frames, axis=1)
        response += level * band * 10.0 ** (-3.0 * seconds / rt60_seconds)
    response *= np.minimum(1.0, seconds / 0.012)  # diffuse sound builds up
    response *= np.clip((_REVERB_SECONDS - seconds) / 0.2, 0.0, 1.0)
    scale = np.abs(response).max()
    for channel in range(2):
        for delay_seconds in rng.uniform(0.0, 0.045, size=6):
            sign = rng.choice((-1.0, 1.0))
            response[channel, int(delay_seconds * sample_rate)] += sign * scale * rng.uniform(1, 2)
    middle = (hertz > 300.0) & (hertz < 3000.0)
    power = np.abs(rfft(response, axis=1)[:, middle]) ** 2
    response /= np.sqrt(power.mean(axis=1, keepdims=True))
    return np.pad(response, ((0, 0), (pre_delay, 0))).astype(np.float32)


def add_reverb(mix: FloatArray, send: FloatArray, response: FloatArray) -> None:
    """Add `send` [T] convolved with `response` [2, R] to `mix` [2, T] in place, by overlap-add.

    Four blocks are transformed at a time: that fills the vector units, a third faster than one.
    """
    from scipy.fft import irfft, rfft

    total, length = mix.shape[1], response.shape[1]
    size = 1 << math.ceil(math.log2(min(3 * length, total + length)))
    hop = size - length + 1
    spectra = rfft(response, size, axis=1)[:, None, :]  # [2, 1, size / 2 + 1]
    blocks = np.zeros((4, size), dtype=np.float32)
    for first in range(0, total, 4 * hop):
        group = np.zeros(4 * hop, dtype=np.float32)
        part = send[first : first + group.size]
        group[: part.size] = part
        blocks[:, :hop] = group.reshape(4, hop)
        wet = irfft(spectra * rfft(blocks, axis=1), size, axis=2)  # [2, 4, size]
        for index, start in enumerate(range(first, min(first + group.size, total), hop)):
            stop = min(start + size, total)
            mix[:, start:stop] += wet[:, index, : stop - start]


def loudness_lufs(mix: FloatArray, sample_rate: int) -> float:
    """Gated loudness of `mix` [C, T] after ITU-R BS.1770-4; -inf for silence.

    Blocks do not overlap, long sound is sampled by every second one, and the weighting is applied
    to spectra: within 0.3 LU of the standard's filters on music, at a tenth of their cost.
    """
    from scipy.fft import rfft

    size = round(_LOUDNESS_BLOCK_SECONDS * sample_rate)
    count = mix.shape[1] // size
    if count == 0:
        mix = np.pad(mix, ((0, 0), (0, size - mix.shape[1])))
        count = 1
    gains = k_weighting_gains(np.fft.rfftfreq(size, 1 / sample_rate))
    weights = np.square(gains).astype(np.float32)
    powers = []
    stride = 2 if count > 100 else 1
    for first in range(0, count, 32):
        last = min(first + 32, count)
        blocks = mix[:, first * size : last * size].reshape(mix.shape[0], last - first, size)
        spectra = rfft(blocks[:, ::stride], axis=2)
        squared = spectra.real**2 + spectra.imag**2  # [C, blocks, bins]
        powers.append((squared @ weights).sum(axis=0) * (2.0 / size**2))
    power = np.concatenate(powers)
    gate = 10.0 ** ((-70.0 + 0.691) / 10.0)
    if not (power > gate).any():
        return float("-inf")
    gate = max(gate, 0.1 * float(power[power > gate].mean()))  # 10 LU below the first mean
    return float(-0.691 + 10.0 * np.log10(power[power > gate].mean()))


def master(mix: FloatArray, sample_rate: int) -> None:
    """Bring `mix` [C, T] in place to `TARGET_LUFS` with peaks under `CEILING_DB`.

    Silence stays silence. Where the peaks would need more than `MAX_LIMITING_DB` of limiting the
    whole stays quieter.
    """
    peak = float(max(mix.max(initial=0.0), -mix.min(initial=0.0)))
    if peak == 0.0:
        return
    ceiling = 10.0 ** (CEILING_DB / 20.0)
    gain = 10.0 ** ((TARGET_LUFS - loudness_lufs(mix, sample_rate)) / 20.0)
    gain = min(gain, ceiling / peak * 10.0 ** (MAX_LIMITING_DB / 20.0))
    mix *= np.float32(gain)
    if gain * peak > ceiling:
        _limit(mix, sample_rate, ceiling)


def _limit(mix: FloatArray, sample_rate: int, ceiling: float) -> None:
    """Look-ahead limiter in place: a gain that bends over 40 ms to both sides of each peak."""
    from scipy.ndimage import minimum_filter1d

    hop = 32
    count = -(-mix.shape[1] // hop)
    peaks = np.zeros(count)
    for start in range(0, mix.shape[1], _CHUNK_FRAMES):
        chunk = np.abs(mix[:, start : start + _CHUNK_FRAMES]).max(axis=0)
        chunk = np.pad(chunk, (0, -chunk.size % hop))
        first = start // hop
        peaks[first : first + chunk.size // hop] = chunk.reshape(-1, hop).max(axis=1)
    needed = np.minimum(1.0, ceiling / np.maximum(peaks, 1e-9))
    reach = max(1, round(0.04 * sample_rate / hop))
    # One hop more than the smoothing reaches, because the gain is interpolated between hops.
    lowest = minimum_filter1d(needed, 2 * (reach + 1) + 1, mode="nearest")
    window = np.hanning(2 * reach + 3)[1:-1]
    padded = np.pad(lowest, reach, mode="edge")
    gains = np.convolve(padded, window / window.sum(), mode="valid")
    centres = (np.arange(count) + 0.5) * hop
    for start in range(0, mix.shape[1], _CHUNK_FRAMES):
        stop = min(start + _CHUNK_FRAMES, mix.shape[1])
        nearby = gains[max(start // hop - 1, 0) : stop // hop + 2]
        if nearby.min() < 1.0 - 1e-9:
            mix[:, start:stop] *= np.interp(np.arange(start, stop), centres, gains)


def ring_out(mix: FloatArray, sample_rate: int, minimum_frames: int) -> FloatArray:
    """Cut `mix` [C, T] where it has died away, never before `minimum_frames`; fade the last 50 ms.

    Returns a view.
    """
    peak = float(max(mix.max(initial=0.0), -mix.min(initial=0.0)))
    floor = peak * 10.0 ** (FLOOR_DB / 20.0)
    end = mix.shape[1]
    step = max(1, sample_rate // 20)
    while end - step >= minimum_frames and np.abs(mix[:, end - step : end]).max() <= floor:
        end -= step
    fade = min(step, end)
    mix[:, end - fade : end] *= np.linspace(1.0, 0.0, fade, dtype=np.float32)
    return mix[:, :end]


def fit_length(waveform: Waveform, seconds: float) -> Waveform:
    """The waveform cut, or filled with silence, to a length; what is cut off fades out before."""
    frames = round(seconds * waveform.sample_rate)
    samples = np.zeros((waveform.channels, frames), np.float32)
    kept = min(frames, waveform.frames)
    samples[:, :kept] = waveform.samples[:, :kept]
    if waveform.frames > frames:
        fade = min(frames, round(_CUT_FADE_SECONDS * waveform.sample_rate))
        samples[:, frames - fade :] *= np.linspace(1.0, 0.0, fade, dtype=np.float32)
    return Waveform(samples, waveform.sample_rate)
