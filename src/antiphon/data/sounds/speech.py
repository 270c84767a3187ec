"""Speech by formants, after D. Klatt, "Software for a cascade/parallel formant synthesizer" (1980):
pulses of a voice and noise of a breath through resonances that move from sound to sound. It says
nothing, in the rhythm and the melody of a speaker.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.fft import irfft, rfft

from antiphon.audio.waveform import FloatArray
from antiphon.data.sounds.noises import Floats

_HOPS_PER_SECOND = 125
_HOPS_PER_WINDOW = 4
# Hz of three formants of a man, G. Peterson and H. Barney, "Control methods used in a study of the
# vowels" (1952).
_VOWELS = np.array([
    (270, 2290, 3010), (390, 1990, 2550), (530, 1840, 2480), (660, 1720, 2410), (730, 1090, 2440),
    (570, 840, 2410), (440, 1020, 2240), (300, 870, 2240), (640, 1190, 2390), (490, 1350, 1690),
], np.float64)  # fmt: skip
_NASAL, _LIQUIDS = (250.0, 1200.0, 2200.0), ((350.0, 1100.0, 2600.0), (320.0, 1200.0, 1600.0))
_FOURTH_HZ = 3500.0
_BANDWIDTHS_HZ = (70.0, 100.0, 150.0, 250.0)
_FRICTION_OCTAVES = 0.5
_TILT_HZ = 500.0  # above it a voice falls by 6 dB an octave more
# Men, women, children: the range of their mean pitch in Hz, and how far their formants lie above.
_SPEAKERS = (((85.0, 150.0), 1.0), ((165.0, 250.0), 1.16), ((240.0, 380.0), 1.32))
_PITCH_REACH = 0.35  # of the mean, up and down
LOWEST_PITCH_HZ, HIGHEST_PITCH_HZ = 85.0 * (1 - _PITCH_REACH), 380.0 * (1 + _PITCH_REACH)


@dataclass(frozen=True)
class _Sound:
    """A vowel or a consonant. `friction_hz` is where its noise lies, None where the noise is
    breath, which goes through the formants."""

    seconds: float
    formants_hz: tuple[float, float, float]
    voice: float = 0.0
    noise: float = 0.0
    friction_hz: float | None = None


@dataclass(frozen=True, eq=False)
class _Tracks:
    """What moves, one value for each hop, [H]; formants [H, 3]."""

    formants_hz: Floats
    voice: Floats
    noise: Floats
    friction: Floats
    friction_hz: Floats
    pitch_hz: Floats


def talk(frames: int, rate: int, draws: np.random.Generator) -> FloatArray:
    """A man, a woman or a child who talks in phrases, 3 to 6 syllables a second."""
    hop = rate // _HOPS_PER_SECOND
    pitches, scale = _SPEAKERS[draws.integers(len(_SPEAKERS))]
    tracks = _tracks(frames // hop + 2 * _HOPS_PER_WINDOW, draws.uniform(*pitches), draws)
    source = _voice(tracks, hop, rate, draws)
    noise = draws.standard_normal(len(source), dtype=np.float32)
    source += noise * np.repeat(tracks.noise, hop).astype(np.float32)
    scale *= draws.uniform(0.93, 1.07)
    return _filtered(source, tracks, hop, rate, scale, draws)[:frames]


def _tracks(hops: int, mean_hz: float, draws: np.random.Generator) -> _Tracks:
    sounds: list[_Sound] = []
    pitch: list[Floats] = []
    hops_of: list[int] = []
    syllables_per_second = draws.uniform(3, 6)
    liveliness = draws.uniform(0.3, 1)
    done = 0
    while done < hops:
        phrase = [
            sound
            for _ in range(int(draws.integers(3, 15)))
            for sound in _syllable(1 / syllables_per_second, draws)
        ]
        phrase.append(_Sound(draws.uniform(0.15, 1.2), phrase[-1].formants_hz))
        lengths = [max(1, round(sound.seconds * _HOPS_PER_SECOND)) for sound in phrase]
        pitch.append(_melody(sum(lengths), liveliness, draws))
        sounds += phrase
        hops_of += lengths
        done += sum(lengths)

    def track(values: list[float], hops_smoothed: int) -> Floats:
        steps = np.repeat(values, hops_of)
        smooth = np.hanning(hops_smoothed + 2)
        padded = np.pad(steps, hops_smoothed, mode="edge")
        found: Floats = np.convolve(padded, smooth / smooth.sum(), "same")
        return found[hops_smoothed : hops_smoothed + hops]

    centres = [sound.friction_hz or 3000.0 for sound in sounds]
    columns = [track([sound.formants_hz[index] for sound in sounds], 9) for index in range(3)]
    return _Tracks(
        np.stack(columns, axis=1),
        track([sound.voice for sound in sounds], 4),
        track([sound.noise for sound in sounds], 2),
        track([float(sound.friction_hz is not None) for sound in sounds], 2),
        track(centres, 2),
        mean_hz * np.concatenate(pitch)[:hops],
    )


def _syllable(seconds: float, draws: np.random.Generator) -> list[_Sound]:
    """A vowel, most often with a consonant before it and at times one behind."""
    vowel = _three(_VOWELS[draws.integers(len(_VOWELS))] * draws.uniform(0.93, 1.07))
    found = _consonant(vowel, draws) if draws.random() < 0.85 else []
    rest = seconds * draws.uniform(0.6, 1.4) - sum(sound.seconds for sound in found)
    loud = draws.uniform(0.6, 1)
    breath = draws.uniform(0.005, 0.03)
    found.append(_Sound(max(0.05, rest), vowel, loud, breath))
    if draws.random() < 0.1:  # a vowel that moves
        found.append(_Sound(0.07, _three(_VOWELS[draws.integers(len(_VOWELS))]), loud, breath))
    return found + (_consonant(vowel, draws) if draws.random() < 0.3 else [])


def _consonant(vowel: tuple[float, float, float], draws: np.random.Generator) -> list[_Sound]:
    way = draws.random()
    friction = float(np.exp(draws.uniform(np.log(1500), np.log(7000))))
    voiced = 0.25 * float(draws.random() < 0.4)
    if way < 0.3:  # s, f, z
        noise = draws.uniform(0.05, 0.3)
        return [_Sound(draws.uniform(0.05, 0.14), vowel, voiced, noise, friction)]
    if way < 0.7:  # t, k, b: closed, then a burst
        closed = _Sound(draws.uniform(0.03, 0.08), vowel, voiced * 0.4)
        burst = _Sound(draws.uniform(0.01, 0.03), vowel, voiced, draws.uniform(0.1, 0.4), friction)
        return [closed, burst]
    if way < 0.85:
        return [_Sound(draws.uniform(0.05, 0.1), _NASAL, 0.4)]
    return [_Sound(draws.uniform(0.04, 0.08), _LIQUIDS[draws.integers(2)], 0.5)]


def _melody(hops: int, liveliness: float, draws: np.random.Generator) -> Floats:
    """The pitch of a phrase over its mean, [hops]: it falls, with accents, and may rise in the end.
    It glides all the time and keeps to no note."""
    place = np.linspace(0, 1, hops)
    curve = 0.18 - 0.32 * place
    for _ in range(max(1, hops // 60)):
        height, width = draws.uniform(-0.12, 0.25), draws.uniform(8, 25) / hops
        curve += height * np.exp(-(((place - draws.random()) / width) ** 2))
    curve += draws.choice((0.0, 0.0, 0.0, 0.4)) * np.clip((place - 0.8) / 0.2, 0, 1) ** 2
    found: Floats = 1 + np.clip(liveliness * curve, -_PITCH_REACH, _PITCH_REACH)
    return found


def _voice(tracks: _Tracks, hop: int, rate: int, draws: np.random.Generator) -> FloatArray:
    """Pulses of the glottis [H * hop], no two quite alike."""
    places = np.arange(len(tracks.pitch_hz)) * hop
    turns = np.cumsum(tracks.pitch_hz) * hop / rate
    pulses = np.arange(np.ceil(turns[0]), turns[-1])
    at = np.interp(pulses + draws.normal(0, 0.008, len(pulses)), turns, places)
    gains = np.interp(at, places, tracks.voice) * draws.normal(1, 0.06, len(pulses))
    # As loud at any pitch.
    gains *= np.sqrt(rate / np.interp(at, places, tracks.pitch_hz))
    found = np.zeros(len(places) * hop, np.float32)
    whole = at.astype(int)
    share = at - whole
    np.add.at(found, whole, (gains * (1 - share)).astype(np.float32))
    np.add.at(found, np.minimum(whole + 1, len(found) - 1), (gains * share).astype(np.float32))
    return found


def _filtered(
    source: FloatArray,
    tracks: _Tracks,
    hop: int,
    rate: int,
    scale: float,
    draws: np.random.Generator,
) -> FloatArray:
    """Through the mouth: window by window, by gains over Hz."""
    size = _HOPS_PER_WINDOW * hop
    window = np.sqrt(np.hanning(size + 1)[:size] / (_HOPS_PER_WINDOW / 2)).astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(source, size)[::hop] * window  # [W, size]
    spectra = rfft(windows, axis=1)
    middles = np.arange(len(windows)) + _HOPS_PER_WINDOW // 2
    hertz = np.linspace(0, rate / 2, spectra.shape[1], dtype=np.float32)
    formants = (
        np.concatenate(
            [tracks.formants_hz[middles], np.full((len(middles), 1), _FOURTH_HZ)], axis=1
        )
        * scale
    )
    levels = np.array((1, 0.8, 0.6, 0.4)) * draws.uniform(0.6, 1.4, 4)
    gains = np.zeros(spectra.shape, np.float32)
    for index, width in enumerate(_BANDWIDTHS_HZ):
        place = formants[:, index, None].astype(np.float32)
        distance = (hertz - place) * np.float32(2 / (width * draws.uniform(0.8, 1.5)))
        gains += np.float32(levels[index]) * (1 + distance * distance) ** np.float32(-0.75)
    gains *= 1 / np.sqrt(1 + (hertz / np.float32(_TILT_HZ * draws.uniform(0.6, 2))) ** 2)
    friction = tracks.friction[middles].astype(np.float32)[:, None]
    rubbed = np.flatnonzero(friction[:, 0] > 0.01)
    octaves = np.log2(np.maximum(hertz, 20) / tracks.friction_hz[middles[rubbed], None])
    noisy = np.exp(-((octaves / _FRICTION_OCTAVES) ** 2)).astype(np.float32)
    gains[rubbed] += friction[rubbed] * (noisy - gains[rubbed] * np.float32(0.7))
    heard = irfft(spectra * gains, size, axis=1) * window
    found = np.zeros((len(windows) + _HOPS_PER_WINDOW - 1) * hop, np.float32)
    for part in range(_HOPS_PER_WINDOW):
        piece = heard[:, part * hop : (part + 1) * hop].reshape(-1)
        found[part * hop : part * hop + len(piece)] += piece
    return found


def _three(values: Floats) -> tuple[float, float, float]:
    first, second, third = values.tolist()
    return first, second, third
