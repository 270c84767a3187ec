"""One piece in many sounds: bands thinned out and recast, instruments of several soundfonts, other
tunings, rooms, microphones and encoders. Truths stay true: nothing moves in time. Knows no files.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Literal

import numpy as np
import soundfile
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft
from scipy.signal import oaconvolve

from antiphon.arrange.band import PLAYABLE
from antiphon.audio import Waveform, resample
from antiphon.audio.waveform import FloatArray
from antiphon.score import Score, Track
from antiphon.synth import fit_length

Floats = NDArray[np.float64]
Play = Callable[[Score], Waveform]
Variation = Literal["none", "light", "strong"]
VARIATIONS: tuple[Variation, ...] = ("none", "light", "strong")


@dataclass(frozen=True)
class _Strength:
    """How often a thing is done, as shares, and how much of it at most."""

    cents: float
    equalised: float
    equaliser_db: float
    in_a_room: float
    wet_db: tuple[float, float]
    noisy: float
    noise_db: tuple[float, float]
    """Below the music."""
    encoded: float
    narrow: float
    two_fonts: float
    thinned: float
    recast: float


_STRENGTHS = {
    "light": _Strength(8, 0.5, 3, 0.3, (-26, -16), 0, (0, 0), 0, 0, 0.2, 0, 0),
    "strong": _Strength(
        40, 0.8, 9, 0.4, (-24, -6), 0.4, (-60, -24), 0.2, 0.1, 0.35, 0.3, 0.5
    ),
}  # fmt: skip
_QUALITIES = (0.3, 0.5, 0.7, 0.9)  # of an MP3, as libsndfile counts: 1 is the smallest
_NARROWEST_HZ, _WIDEST_HZ = 3400.0, 9000.0
_LEVEL_DB = (-24.0, -1.0)  # of the loudest sample
_BALANCE_DB = 4.0
_ROOM_SECONDS = (0.2, 1.6)  # until a room has lost 60 dB

# Beside the programs that styles ask for, those that are the same instrument to an ear.
_KIN = {
    "piano": (0, 1, 2, 3), "organ": (16, 17, 18, 19, 20), "electric guitar": (26, 27, 28),
    "bass": (32, 33, 34, 35, 36, 38, 39), "strings": (44, 48, 49, 50, 51), "choir": (52, 53, 54),
    "brass": (61, 62, 63), "trumpet": (56, 59), "saxophone": (64, 65, 66, 67),
    "flute": (72, 73, 74), "synth lead": (80, 81, 82, 84, 87),
    "synth pad": (88, 89, 90, 91, 94, 95), "mallets": (9, 11, 12, 13, 14),
}  # fmt: skip


def varied_score(score: Score, variation: Variation, rng: Random) -> Score:
    """The piece with fewer players, other instruments of the same kinds, and another balance."""
    if variation != "strong":
        return score
    strength = _STRENGTHS[variation]
    tracks = [track for track in score.tracks if track.notes]
    if rng.random() < strength.thinned and len(tracks) > 1:
        tracks = rng.sample(tracks, rng.choice((1, 1, 2, 3)[: len(tracks)]))
    return replace(score, tracks=tuple(_recast(track, strength, rng) for track in tracks))


def _recast(track: Track, strength: _Strength, rng: Random) -> Track:
    gain = track.gain_db + rng.uniform(-_BALANCE_DB, _BALANCE_DB)
    pan = max(-1.0, min(1.0, track.pan + rng.uniform(-0.3, 0.3)))
    program = track.program
    if not track.is_drums and track.instrument in PLAYABLE and rng.random() < strength.recast:
        program = rng.choice(_KIN.get(track.instrument, PLAYABLE[track.instrument].programs))
    return replace(track, gain_db=gain, pan=pan, program=program)


@dataclass(frozen=True)
class Form:
    """What comes out: `channels` 1 or 2."""

    seconds: float
    sample_rate: int
    channels: int

    def of(self, waveform: Waveform) -> Waveform:
        """The same sound in this form."""
        waveform = waveform.mono() if self.channels == 1 else waveform
        return fit_length(resample(waveform, self.sample_rate), self.seconds)


def varied_sound(
    score: Score, players: Sequence[Play], form: Form, variation: Variation, rng: Random
) -> Waveform:
    """The piece as one of `players` plays it, or two of them half of the band each; then what a
    recording does to it."""
    if variation == "none":
        return form.of(rng.choice(players)(score))
    strength = _STRENGTHS[variation]
    cents = rng.uniform(-strength.cents, strength.cents)
    # Played slower or faster by as much as the pitch will be moved: in time it ends as it was.
    ratio = 2.0 ** (cents / 1200.0)
    slowed = replace(score, tempo_bpm=score.tempo_bpm / ratio)
    sound = _played(slowed, players, strength, rng)
    sped = Waveform(sound.samples, round(sound.sample_rate * ratio))
    return recorded(form.of(sped), variation, rng)


def _played(score: Score, players: Sequence[Play], strength: _Strength, rng: Random) -> Waveform:
    if len(players) < 2 or len(score.tracks) < 2 or rng.random() >= strength.two_fonts:
        return rng.choice(players)(score)
    tracks = list(score.tracks)
    rng.shuffle(tracks)
    cut = rng.randint(1, len(tracks) - 1)
    halves = [
        play(replace(score, tracks=tuple(some)))
        for play, some in zip(rng.sample(players, 2), (tracks[:cut], tracks[cut:]), strict=True)
    ]
    frames = max(half.frames for half in halves)
    mix = np.zeros((2, frames), np.float32)
    for half, some in zip(halves, (tracks[:cut], tracks[cut:]), strict=True):
        # Each half was brought to one loudness by itself; a band's is that of its players.
        mix[:, : half.frames] += half.samples * np.float32((len(some) / len(tracks)) ** 0.5)
    return Waveform(mix, halves[0].sample_rate)


def recorded(waveform: Waveform, variation: Variation, rng: Random) -> Waveform:
    """What a room, a microphone and an encoder make of a sound; at another level, below full
    scale."""
    if variation == "none":
        return waveform
    strength = _STRENGTHS[variation]
    samples, rate = waveform.samples, waveform.sample_rate
    draws = np.random.default_rng(rng.getrandbits(64))
    if rng.random() < strength.in_a_room:
        samples = _in_a_room(samples, rate, rng.uniform(*strength.wet_db), draws)
    if rng.random() < strength.equalised:
        samples = _equalised(samples, rate, strength.equaliser_db, draws)
    if rng.random() < strength.noisy:
        samples = _with_noise(samples, rate, rng.uniform(*strength.noise_db), draws)
    if rng.random() < strength.narrow:
        samples = _narrowed(samples, rate, rng.uniform(_NARROWEST_HZ, _WIDEST_HZ))
    peak = float(np.abs(samples).max(initial=1e-9))
    level = rng.uniform(*_LEVEL_DB) if strength.noisy else -1.0
    samples = (samples * (10 ** (level / 20) / peak)).astype(np.float32)
    if rng.random() < strength.encoded:
        samples = _encoded(samples, rate, rng.choice(_QUALITIES))
    return Waveform(np.ascontiguousarray(samples), rate)


def _in_a_room(
    samples: FloatArray, rate: int, wet_db: float, draws: np.random.Generator
) -> FloatArray:
    seconds = draws.uniform(*_ROOM_SECONDS)
    times = np.arange(round(seconds * rate)) / rate
    tail = draws.standard_normal(times.size) * 10 ** (-3 * times / seconds)
    # Walls take the highs first.
    tail = np.convolve(tail, np.ones(3) / 3, "same").astype(np.float32)
    tail /= np.sqrt((tail**2).sum())
    wet = oaconvolve(samples, tail[None], axes=1)[:, : samples.shape[1]]
    found: FloatArray = (samples + 10 ** (wet_db / 20) * wet).astype(np.float32)
    return found


def _equalised(
    samples: FloatArray, rate: int, most_db: float, draws: np.random.Generator
) -> FloatArray:
    """By a smooth curve over octaves: a tilt and three bells."""
    tilt = draws.uniform(-0.3, 0.3)
    bells = [
        (draws.uniform(-1, 1), draws.uniform(-4, 3.5), draws.uniform(0.3, 1.5)) for _ in range(3)
    ]

    def gains(hertz: Floats) -> Floats:
        octaves = np.log2(np.maximum(hertz, 20.0) / 1000.0)
        curve = tilt * octaves / 4
        for height, centre, width in bells:
            curve = curve + height * np.exp(-(((octaves - centre) / width) ** 2))
        gained: Floats = 10 ** (most_db * curve / 20)
        return gained

    return _filtered(samples, rate, gains)


def _with_noise(
    samples: FloatArray, rate: int, below_db: float, draws: np.random.Generator
) -> FloatArray:
    """White or pink."""
    noise = draws.standard_normal((1, samples.shape[1]), dtype=np.float32)
    if draws.random() < 0.7:
        noise = _filtered(noise, rate, lambda hertz: 1 / np.sqrt(np.maximum(hertz, 20.0)))
    loud = np.sqrt((samples**2).mean()) * 10 ** (below_db / 20)
    found: FloatArray = samples + np.float32(loud / noise.std()) * noise
    return found


def _narrowed(samples: FloatArray, rate: int, highest_hz: float) -> FloatArray:
    return _filtered(samples, rate, lambda hertz: 1 / (1 + (hertz / highest_hz) ** 12))


def _filtered(samples: FloatArray, rate: int, gains: Callable[[Floats], Floats]) -> FloatArray:
    """[C, T] by gains over Hz, without a shift in time."""
    frames = samples.shape[1]
    size = next_fast_len(frames + rate // 10, real=True)
    spectrum = rfft(samples, size, axis=1)
    spectrum *= gains(np.linspace(0, rate / 2, spectrum.shape[1])).astype(np.float32)
    found: FloatArray = irfft(spectrum, size, axis=1)[:, :frames]
    return found


def _encoded(samples: FloatArray, rate: int, quality: float) -> FloatArray:
    """To MP3 and back, of the same length; its delay is taken off again."""
    file = io.BytesIO()
    with soundfile.SoundFile(
        file, "w", rate, samples.shape[0], format="MP3", compression_level=quality
    ) as encoder:
        encoder.write(samples.T)
    file.seek(0)
    decoded, _ = soundfile.read(file, dtype="float32", always_2d=True)
    found = np.zeros_like(samples)
    count = min(samples.shape[1], len(decoded))
    found[:, :count] = decoded[:count].T
    return found
