"""The drum kit by General MIDI note number: what each drum is made of, and its samples.

Knows no score. Every drum is a few tones that fall in pitch, metal partials and bands of noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from antiphon.audio.waveform import FloatArray
from antiphon.synth.instruments import HOP, VELOCITY_LAYERS, additive, band_noise

_T60 = math.log(1000.0)
# Partials of a cymbal-like square bank, in Hz: the oscillators of the classic analogue hi-hat.
_METAL_HZ = (205.3, 304.4, 369.6, 522.7, 540.0, 800.0)


@dataclass(frozen=True)
class Tone:
    """A sine that falls from `start_hz` to `hz` within about `fall_seconds`."""

    hz: float
    t60_seconds: float
    level_db: float = 0.0
    start_hz: float = 0.0  # 0: no fall
    fall_seconds: float = 0.02


@dataclass(frozen=True)
class Hiss:
    """A band of noise; `metal` mixes in the partials of a cymbal; `bursts` are its starts in s."""

    low_hz: float
    high_hz: float
    t60_seconds: float
    level_db: float = 0.0
    attack_seconds: float = 0.0005
    metal: float = 0.0
    bursts: tuple[float, ...] = (0.0,)


@dataclass(frozen=True)
class Drum:
    """One drum; drums of one `choke` group cut each other off. `pan` -1 left ... 1 right."""

    tones: tuple[Tone, ...] = ()
    hisses: tuple[Hiss, ...] = ()
    level_db: float = 0.0
    pan: float = 0.0
    choke: str = ""
    reverb_db: float = -18.0


def _tom(hz: float, pan: float) -> Drum:
    return Drum(
        (Tone(hz, 0.55, 0, hz * 1.6, 0.04), Tone(hz * 1.58, 0.25, -9, hz * 2.0, 0.03)),
        (Hiss(300, 4000, 0.06, -14),),
        level_db=-4, pan=pan, reverb_db=-14,
    )  # fmt: skip


def _skin(hz: float, t60_seconds: float, pan: float, slap_db: float = -12.0) -> Drum:
    return Drum(
        (Tone(hz, t60_seconds, 0, hz * 1.25, 0.015), Tone(hz * 1.9, t60_seconds / 2, -10)),
        (Hiss(1000, 6000, 0.03, slap_db),),
        level_db=-6, pan=pan, reverb_db=-15,
    )  # fmt: skip


def _wood(hz: float, t60_seconds: float, pan: float) -> Drum:
    return Drum(
        (Tone(hz, t60_seconds), Tone(hz * 2.6, t60_seconds / 2, -12)),
        (Hiss(hz, hz * 3, 0.01, -10),),
        level_db=-9, pan=pan, reverb_db=-13,
    )  # fmt: skip


def _rattle(low_hz: float, high_hz: float, t60_seconds: float, attack_seconds: float) -> Drum:
    return Drum(
        hisses=(Hiss(low_hz, high_hz, t60_seconds, 0, attack_seconds),), level_db=-10, pan=0.35
    )


def _metal(low_hz: float, t60_seconds: float, level_db: float, pan: float, choke: str = "") -> Drum:
    """A hi-hat, or a cymbal when it rings for long."""
    return Drum(
        hisses=(
            Hiss(low_hz, 15000, t60_seconds, 0, metal=0.5),
            Hiss(low_hz * 0.6, 11000, min(0.05, t60_seconds), 2),
        ),
        level_db=level_db, pan=pan, choke=choke,
    )  # fmt: skip


_KICK = Drum(
    (Tone(50, 0.5, 0, 170, 0.022), Tone(100, 0.16, -10, 260, 0.02)),
    (Hiss(1800, 6000, 0.02, -11), Hiss(60, 500, 0.05, -10)),
    level_db=-5, reverb_db=-32,
)  # fmt: skip
_SNARE = Drum(
    (Tone(186, 0.17, -3, 260, 0.015), Tone(332, 0.11, -9, 400, 0.01)),
    (Hiss(1500, 10000, 0.24, -3), Hiss(400, 2500, 0.1, -7)),
    level_db=-2, pan=-0.05, reverb_db=-14,
)  # fmt: skip
_BRUSH = Drum(
    (Tone(210, 0.12, -8, 260, 0.015),),
    (Hiss(900, 8000, 0.3, 0, 0.004),),
    level_db=-4, pan=-0.05, reverb_db=-13,
)  # fmt: skip
_RIM = Drum(
    (Tone(1750, 0.05), Tone(480, 0.06, -5)),
    (Hiss(1500, 8000, 0.02, -8),),
    level_db=-6, pan=-0.1, reverb_db=-14,
)  # fmt: skip
_CLAP = Drum(
    hisses=(Hiss(900, 2400, 0.03, 0, bursts=(0.0, 0.011, 0.022)), Hiss(900, 5000, 0.22, -5)),
    level_db=-2, pan=0.08, reverb_db=-11,
)  # fmt: skip
_RIDE = Drum(
    (Tone(3120, 0.5, -14), Tone(4735, 0.4, -16), Tone(6210, 0.3, -18)),
    (Hiss(4500, 14000, 1.4, -8, metal=0.8), Hiss(3000, 12000, 0.04, -3)),
    level_db=-11, pan=-0.35, reverb_db=-18,
)  # fmt: skip
_RIDE_BELL = Drum(
    (Tone(835, 0.7, -4), Tone(2130, 0.8, -3), Tone(3480, 0.6, -7), Tone(5210, 0.4, -12)),
    (Hiss(4500, 14000, 0.9, -16, metal=0.8),),
    level_db=-11, pan=-0.35, reverb_db=-17,
)  # fmt: skip
_COWBELL = Drum(
    (Tone(562, 0.25), Tone(845, 0.22, -1), Tone(1686, 0.12, -10), Tone(2535, 0.1, -12)),
    (Hiss(1000, 6000, 0.015, -12),),
    level_db=-10, pan=0.2,
)  # fmt: skip
_TAMBOURINE = Drum(
    hisses=(Hiss(6000, 14000, 0.18, 0, metal=0.6), Hiss(1500, 6000, 0.03, -8)),
    level_db=-10, pan=0.3, reverb_db=-14,
)  # fmt: skip
_TRIANGLE = (Tone(4150, 1.6), Tone(6890, 1.2, -5), Tone(9520, 0.8, -10))
_STICKS = _wood(2100, 0.05, 0.0)

KIT: dict[int, Drum] = {
    35: _KICK, 36: _KICK, 37: _RIM, 38: _SNARE, 39: _CLAP, 40: _SNARE,
    41: _tom(82, 0.4), 43: _tom(98, 0.3), 45: _tom(117, 0.15), 47: _tom(138, 0.0),
    48: _tom(165, -0.15), 50: _tom(196, -0.3),
    42: _metal(7000, 0.08, -10, 0.25, "hat"), 44: _metal(6000, 0.1, -13, 0.25, "hat"),
    46: _metal(5500, 0.7, -12, 0.25, "hat"),
    49: _metal(2600, 2.2, -8, -0.4), 57: _metal(2300, 2.4, -8, 0.4),
    52: _metal(1800, 1.3, -9, 0.45), 55: _metal(3500, 0.8, -9, -0.2),
    51: _RIDE, 59: _RIDE, 53: _RIDE_BELL, 54: _TAMBOURINE, 56: _COWBELL,
    58: Drum(hisses=(Hiss(2000, 5000, 0.5, 0, bursts=(0.0, 0.03, 0.06, 0.09, 0.12)),),
             level_db=-11, pan=0.3),
    60: _skin(420, 0.14, 0.2), 61: _skin(300, 0.18, 0.2),
    62: _skin(330, 0.08, -0.2, -4), 63: _skin(280, 0.28, -0.2), 64: _skin(195, 0.34, -0.25),
    65: _skin(400, 0.3, 0.25, -6), 66: _skin(270, 0.35, 0.25, -6),
    67: _wood(1420, 0.35, -0.3), 68: _wood(940, 0.35, -0.3),
    69: _rattle(4500, 11000, 0.09, 0.012), 70: _rattle(5000, 12000, 0.06, 0.006),
    71: Drum((Tone(2350, 0.3),), level_db=-16, choke="whistle"),
    72: Drum((Tone(2350, 1.2),), level_db=-16, choke="whistle"),
    73: Drum(hisses=(Hiss(2500, 7000, 0.1, 0, 0.01),), level_db=-12, choke="guiro"),
    74: Drum(hisses=(Hiss(2500, 7000, 0.4, 0, 0.02, bursts=(0.0, 0.05, 0.1)),),
             level_db=-12, choke="guiro"),
    75: _wood(2500, 0.07, -0.2), 76: _wood(1050, 0.09, 0.25), 77: _wood(760, 0.1, 0.25),
    78: Drum((Tone(520, 0.12, 0, 380, 0.03),), level_db=-10, choke="cuica"),
    79: Drum((Tone(640, 0.25, 0, 420, 0.05),), level_db=-10, choke="cuica"),
    80: Drum(tuple(Tone(t.hz, t.t60_seconds / 8, t.level_db) for t in _TRIANGLE),
             level_db=-18, pan=-0.3, choke="triangle"),
    81: Drum(_TRIANGLE, level_db=-18, pan=-0.3, choke="triangle", reverb_db=-12),
    82: _rattle(4000, 12000, 0.11, 0.015),
    83: _TAMBOURINE, 84: Drum(_TRIANGLE, level_db=-24, pan=0.3, reverb_db=-10),
    25: _BRUSH, 26: _BRUSH, 28: _CLAP,
}  # fmt: skip


_MACHINE_KICK = Drum(
    (Tone(47, 0.85, 0, 125, 0.03), Tone(94, 0.12, -12, 300, 0.012)),
    (Hiss(1500, 5000, 0.012, -12),),
    level_db=-6, reverb_db=-36,
)  # fmt: skip
_MACHINE_SNARE = Drum(
    (Tone(178, 0.13, -2, 220, 0.01), Tone(330, 0.09, -5)),
    (Hiss(2500, 12000, 0.17, -3),),
    level_db=-3, reverb_db=-18,
)  # fmt: skip
_SOFT_KICK = Drum(
    (Tone(62, 0.38, 0, 120, 0.02), Tone(124, 0.12, -9)),
    (Hiss(200, 1500, 0.03, -10),),
    level_db=-9, reverb_db=-22,
)  # fmt: skip
_SOFT_SNARE = replace(_SNARE, level_db=-5, reverb_db=-15)
_BIG_SNARE = Drum(
    (Tone(172, 0.24, -2, 260, 0.015), Tone(318, 0.15, -8, 400, 0.01)),
    (Hiss(1200, 9000, 0.34, -2), Hiss(400, 2500, 0.16, -6)),
    level_db=-1, reverb_db=-9,
)  # fmt: skip
_MACHINE_HATS = {
    42: Drum(hisses=(Hiss(7500, 14000, 0.05, 0, metal=2.0),), level_db=-11, pan=0.2, choke="hat"),
    44: Drum(hisses=(Hiss(7000, 14000, 0.07, 0, metal=2.0),), level_db=-13, pan=0.2, choke="hat"),
    46: Drum(hisses=(Hiss(6500, 14000, 0.4, 0, metal=2.0),), level_db=-12, pan=0.2, choke="hat"),
}
_MACHINE = {35: _MACHINE_KICK, 36: _MACHINE_KICK, 38: _MACHINE_SNARE, 40: _MACHINE_SNARE}
_SOFT = {35: _SOFT_KICK, 36: _SOFT_KICK}

# What other kits change; their numbers are those of Roland's GS, as programs of a drum track.
_KITS: dict[int, dict[int, Drum]] = {
    16: {38: _BIG_SNARE, 40: _BIG_SNARE},
    24: _MACHINE | _MACHINE_HATS,
    25: _MACHINE | _MACHINE_HATS,
    32: _SOFT | {38: _SOFT_SNARE, 40: _SOFT_SNARE},
    40: _SOFT | {38: _BRUSH, 39: replace(_BRUSH, level_db=-2), 40: _BRUSH},
}


def drum(pitch: int, kit: int = 0) -> Drum:
    """The drum of a General MIDI note number in a GS kit; sticks for numbers that name none."""
    return _KITS.get(kit, {}).get(pitch) or KIT.get(pitch, _STICKS)


@lru_cache(maxsize=256)
def render_drum(part: Drum, layer: int, sample_rate: int, take: int) -> FloatArray:
    """One stroke, [1, T], peak 1.0, read-only. Softer layers are duller, each `take` differs."""
    rng = np.random.default_rng([take, layer])
    longest = max(
        [tone.t60_seconds for tone in part.tones]
        + [hiss.t60_seconds + hiss.bursts[-1] for hiss in part.hisses]
    )
    frames = math.ceil(longest * sample_rate)
    softness = 1.0 - layer / (VELOCITY_LAYERS - 1)  # 0 loud ... 1 soft
    sound = np.zeros(frames, dtype=np.float32)
    for tone in part.tones:
        sound += _tone(tone, frames, sample_rate)
    for hiss in part.hisses:
        duller = 10.0 ** (-4.0 * softness / 20.0)
        for start_seconds in hiss.bursts:
            start = round(start_seconds * sample_rate)
            sound[start:] += duller * _hiss(hiss, frames - start, softness, sample_rate, rng)
    # A falling sine has a mean; repeated strokes would add up to an offset of the whole mix.
    sound -= np.hanning(frames).astype(np.float32) * (2.0 * sound.mean())
    fade = min(frames, round(0.005 * sample_rate))
    sound[frames - fade :] *= np.linspace(1.0, 0.0, fade, dtype=np.float32)
    sound /= np.abs(sound).max()
    sound.flags.writeable = False
    return sound[None, :]


def _tone(tone: Tone, frames: int, sample_rate: int) -> FloatArray:
    if tone.hz > 0.46 * sample_rate:
        return np.zeros(frames, dtype=np.float32)
    seconds = np.arange(frames, dtype=np.float32) / np.float32(sample_rate)
    turns = tone.hz * seconds
    if tone.start_hz:
        fallen = 1.0 - np.exp(-seconds / tone.fall_seconds)
        turns = turns + (tone.start_hz - tone.hz) * tone.fall_seconds * fallen
    level = np.float32(10.0 ** (tone.level_db / 20.0))
    sound: FloatArray = (
        level * np.sin(2.0 * np.pi * turns) * np.exp(-_T60 / tone.t60_seconds * seconds)
    )
    return sound.astype(np.float32)


def _hiss(
    hiss: Hiss, frames: int, softness: float, sample_rate: int, rng: np.random.Generator
) -> FloatArray:
    count = min(frames, math.ceil(hiss.t60_seconds * sample_rate))
    high_hz = min(hiss.high_hz * (1.0 - 0.35 * softness), 0.45 * sample_rate)
    low_hz = min(hiss.low_hz, 0.7 * high_hz)
    raw = band_noise(rng, count, low_hz, high_hz, sample_rate)
    seconds = np.arange(count, dtype=np.float32) / np.float32(sample_rate)
    if hiss.metal:
        raw = raw + np.float32(hiss.metal) * _metal_partials(count, low_hz, high_hz, sample_rate)
    envelope = np.exp(-_T60 / hiss.t60_seconds * seconds)
    envelope *= np.minimum(1.0, seconds / hiss.attack_seconds)
    sound = np.zeros(frames, dtype=np.float32)
    sound[:count] = 10.0 ** (hiss.level_db / 20.0) / 3.0 * envelope * raw
    return sound


def _metal_partials(frames: int, low_hz: float, high_hz: float, sample_rate: int) -> FloatArray:
    """Odd harmonics of the metal oscillators that lie in the band, RMS 1, [frames]."""
    hertz = np.outer(_METAL_HZ, np.arange(1, 60, 2)).ravel()
    hertz = hertz[(hertz > low_hz) & (hertz < high_hz)]
    if not hertz.size:
        return np.zeros(frames, dtype=np.float32)
    points = -(-frames // HOP) + 1
    steady = np.full((points, hertz.size), math.sqrt(2.0 / hertz.size))
    times = np.arange(points) * (HOP / sample_rate)
    phases = np.zeros((1, hertz.size))
    return additive(hertz[None, :], steady, phases, times, sample_rate)[0, :frames]
