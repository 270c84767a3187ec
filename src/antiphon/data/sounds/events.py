"""Sounds made of many short ones, at times that no musician keeps: claps, steps, keys, chirps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from antiphon.audio.waveform import FloatArray
from antiphon.data.sounds.noises import TOP, Floats, band, coloured, cycles_of, shaped, wave

_MOST_CLAPPERS = 60  # heard one by one; more of them are a noise
_CLAPS = 24  # that differ


def applause(frames: int, rate: int, draws: np.random.Generator) -> FloatArray:
    """A few people or hundreds, who begin and leave off one by one; at times somebody whistles."""
    seconds = frames / rate
    clappers = int(np.exp(draws.uniform(np.log(3), np.log(400))))
    claps = [
        _burst(rate, draws.uniform(700, 2600), draws.uniform(0.3, 0.9), draws.uniform(3, 9), draws)
        for _ in range(_CLAPS)
    ]
    begins, ends = np.sort(draws.uniform((-4, 2), (seconds / 3, seconds + 8)))
    found = np.zeros(frames, np.float32)
    for _ in range(min(clappers, _MOST_CLAPPERS)):
        first, last = begins + draws.exponential(1.5), ends - draws.exponential(2.5)
        # Nobody keeps to the next one's time, nor to his own.
        gaps = draws.uniform(0.17, 0.4) * draws.normal(1, 0.12, int(6 * seconds) + 9).clip(0.5, 2)
        times = first + np.cumsum(gaps)
        times = times[(times >= 0) & (times < min(last, seconds))]
        own = [claps[index] for index in draws.integers(0, _CLAPS, 3)]
        scatter(found, times, own, draws.lognormal(-0.5, 0.5), rate, draws)
    if clappers > _MOST_CLAPPERS:
        many = shaped(frames, rate, band(draws.uniform(1000, 2000), 1.3), draws)
        fade = np.clip(np.minimum(np.arange(frames) / rate - begins,
                                  ends - np.arange(frames) / rate) / 2.5, 0, 1)  # fmt: skip
        found += many * fade.astype(np.float32) * np.float32(0.03 * clappers**0.5)
    for _ in range(int(draws.poisson(seconds / 20)) if draws.random() < 0.3 else 0):
        whistle = _glide(rate, draws.uniform(1500, 3200), draws.uniform(0.3, 0.9), draws)
        scatter(found, draws.uniform(0, seconds, 1), [whistle], 0.3, rate, draws)
    # Where all of them had left off before the first second.
    return found if found.any() else shaped(frames, rate, band(1500, 1), draws)


def footsteps(frames: int, rate: int, draws: np.random.Generator) -> FloatArray:
    """Somebody walks, stands still, walks on."""
    heels = [_thud(rate, draws.uniform(60, 250), draws.uniform(10, 40), draws) for _ in range(4)]
    scrapes = [
        _burst(rate, draws.uniform(1200, 4000), 1.0, draws.uniform(10, 50), draws) for _ in range(4)
    ]
    times = _in_bouts(frames / rate, draws.uniform(0.4, 0.75), 0.08, (4, 25), (0.5, 3), draws)
    found = scatter(np.zeros(frames, np.float32), times, heels, 1.0, rate, draws)
    return scatter(found, times + 0.02, scrapes, draws.uniform(0.1, 0.6), rate, draws)


def knocking(frames: int, rate: int, draws: np.random.Generator) -> FloatArray:
    """On wood, or a hammer: a few blows, a pause."""
    blows = [_thud(rate, draws.uniform(120, 700), draws.uniform(8, 40), draws) for _ in range(3)]
    times = _in_bouts(frames / rate, draws.uniform(0.12, 0.5), 0.15, (2, 7), (0.6, 4), draws)
    return scatter(np.zeros(frames, np.float32), times, blows, 1.0, rate, draws)


def typing(frames: int, rate: int, draws: np.random.Generator) -> FloatArray:
    """On a keyboard: words in a hurry, and thinking."""
    keys = [
        _burst(rate, draws.uniform(1500, 5000), draws.uniform(0.4, 1), draws.uniform(2, 8), draws)
        for _ in range(12)
    ]
    times = _in_bouts(frames / rate, draws.uniform(0.09, 0.2), 0.45, (3, 40), (0.2, 2.5), draws)
    found = scatter(np.zeros(frames, np.float32), times, keys, 1.0, rate, draws)
    # A key is heard again when it comes up.
    return scatter(found, times + draws.uniform(0.05, 0.1), keys, 0.3, rate, draws)


def clicks(frames: int, rate: int, draws: np.random.Generator) -> FloatArray:
    """Clicks and pops at random times."""
    some = [
        _burst(rate, draws.uniform(500, 5000), draws.uniform(0.3, 2), draws.uniform(0.3, 6), draws)
        for _ in range(4)
    ]
    seconds = frames / rate
    count = 1 + int(draws.poisson(seconds * np.exp(draws.uniform(np.log(0.3), np.log(10)))))
    times = draws.uniform(0, seconds, count)
    return scatter(np.zeros(frames, np.float32), times, some, 1.0, rate, draws)


def clock(frames: int, rate: int, draws: np.random.Generator) -> FloatArray:
    """A clock or a metronome: steady, two clicks in turn, and nothing else."""
    gap = 1 / draws.choice((1.0, 2.0, 2.5, 4.0, 5.0))
    if draws.random() < 0.5:
        gap = 60 / draws.uniform(40, 208)
    times = np.arange(draws.uniform(0, gap), frames / rate, gap)
    found = np.zeros(frames, np.float32)
    for phase in range(2):
        click = _burst(rate, draws.uniform(1500, 5000), 0.4, draws.uniform(1, 8), draws)
        scatter(found, times[phase::2], [click], draws.uniform(0.4, 1), rate, draws)
    return found


def impacts(frames: int, rate: int, draws: np.random.Generator) -> FloatArray:
    """Glass and metal that is struck, dropped or broken."""
    seconds = frames / rate
    pieces = [_ringing(rate, draws) for _ in range(int(draws.integers(1, 5)))]
    times = draws.uniform(0, seconds, 1 + int(draws.poisson(seconds * draws.uniform(0.2, 2))))
    if draws.random() < 0.4:  # what is dropped jumps, or falls into splinters
        falls = times[:, None] + np.cumsum(draws.exponential(0.08, (len(times), 8)), axis=1)
        times = np.concatenate([times, falls.ravel()])
    return scatter(np.zeros(frames, np.float32), times, pieces, 1.0, rate, draws)


def birds(frames: int, rate: int, draws: np.random.Generator) -> FloatArray:
    """Chirps that glide, in calls, over leaves."""
    found = 0.01 * shaped(frames, rate, coloured(-0.4), draws)
    for _ in range(int(draws.integers(1, 5))):
        low, high = np.sort(draws.uniform(1800, min(8000.0, TOP * rate), 2))
        length = draws.uniform(0.03, 0.2)
        calls = [_glide(rate, draws.uniform(low, high), length, draws) for _ in range(4)]
        times = _in_bouts(frames / rate, length * 1.5, 0.3, (1, 9), (0.5, 6), draws)
        scatter(found, times, calls, draws.uniform(0.1, 1), rate, draws)
    return found


def scatter(
    into: FloatArray,
    times: Iterable[float],
    grains: Sequence[FloatArray],
    level: float,
    rate: int,
    draws: np.random.Generator,
) -> FloatArray:
    """Add one of `grains` at each of `times`, in seconds, some louder than others; gives `into`."""
    starts = np.round(np.asarray(times) * rate).astype(int)
    starts = starts[(starts >= 0) & (starts < len(into))]
    which = draws.integers(0, len(grains), len(starts))
    gains = (level * draws.lognormal(0, 0.35, len(starts))).astype(np.float32)
    for start, index, gain in zip(starts.tolist(), which.tolist(), gains, strict=True):
        part = grains[index][: len(into) - start]
        into[start : start + len(part)] += gain * part
    return into


def _in_bouts(
    seconds: float,
    gap: float,
    jitter: float,
    sizes: tuple[int, int],
    pauses: tuple[float, float],
    draws: np.random.Generator,
) -> Floats:
    """Times in bouts of `sizes` events, each about `gap` seconds after the other, with `pauses`
    between; there is one at least."""
    count = int(seconds / gap) + 2
    gaps = gap * np.maximum(0.3, draws.normal(1, jitter, count))
    place = 0
    while place < count:
        gaps[place] += draws.uniform(*pauses)
        place += int(draws.integers(sizes[0], sizes[1] + 1))
    times: Floats = np.cumsum(gaps) - gaps[0] + draws.uniform(0, min(1, seconds / 2))
    return times


def _burst(
    rate: int, centre_hz: float, octaves: float, decay_ms: float, draws: np.random.Generator
) -> FloatArray:
    """A short noise of a band that dies away, peak 1."""
    count = max(16, round(7 * decay_ms / 1000 * rate))
    grain = shaped(count, rate, band(min(centre_hz, TOP * rate), octaves), draws)
    return _dying(grain, decay_ms, rate)


def _thud(rate: int, hertz: float, decay_ms: float, draws: np.random.Generator) -> FloatArray:
    """A blow on something that hardly rings, peak 1."""
    return _burst(rate, hertz, draws.uniform(0.5, 1), decay_ms, draws)


def _ringing(rate: int, draws: np.random.Generator) -> FloatArray:
    """A piece of glass or metal: partials that are no harmonics, and the blow, peak 1."""
    count = int(draws.integers(5, 14))
    lowest = np.exp(draws.uniform(np.log(250), np.log(2500)))
    partials = np.minimum(lowest * draws.uniform(1, 8, count), TOP * rate)
    seconds = draws.uniform(0.1, 1.2)
    at = np.arange(round(seconds * rate)) / rate
    decays = draws.uniform(0.02, 0.25, count) * seconds
    sines = np.sin(2 * np.pi * (partials[:, None] * at + draws.random((count, 1))))
    rung = (draws.uniform(0.2, 1, (count, 1)) * np.exp(-at / decays[:, None]) * sines).sum(0)
    blow = _burst(rate, 3000, 1.5, 4, draws)[: len(at)]
    rung[: len(blow)] += blow
    found: FloatArray = (rung / np.abs(rung).max()).astype(np.float32)
    return found


def _glide(rate: int, hertz: float, seconds: float, draws: np.random.Generator) -> FloatArray:
    """A whistled tone that bends up or down or both, peak 1."""
    place = np.linspace(-1, 1, max(32, round(seconds * rate)))
    bend = draws.uniform(-0.4, 0.4) * place + draws.uniform(-0.4, 0.4) * place**2
    pitch = np.minimum(hertz * 2**bend, TOP * rate)
    window = np.cos(np.pi / 2 * place) ** 0.7
    return wave(cycles_of(pitch, len(place), rate), [1.0]) * window.astype(np.float32)


def _dying(grain: FloatArray, decay_ms: float, rate: int) -> FloatArray:
    grain = grain * np.exp(-np.arange(len(grain)) / (decay_ms / 1000 * rate)).astype(np.float32)
    return grain / np.float32(np.abs(grain).max() + 1e-9)
