"""Sounds that are not music, for models that learn what music is: weather, machines, crowds, blows,
signals, speech, silence, and two of them at once.

No kind but the siren keeps pitches in a beat, and none has a scale or chords that follow each
other. Knows no file and no manifest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal, get_args

import numpy as np

from antiphon.audio import Waveform
from antiphon.audio.waveform import FloatArray
from antiphon.data.sounds import events, noises, tones
from antiphon.data.sounds.espeak import Espeak
from antiphon.data.sounds.speech import talk

Kind = Literal[
    "noise", "wind", "rain", "surf", "hum", "crackle", "fan", "engine",
    "applause", "footsteps", "knocking", "typing", "clicks", "clock", "impacts", "birds",
    "tone", "sweep", "dialling", "telephone", "siren", "silence",
    "speech", "babble", "mixture",
]  # fmt: skip
KINDS: tuple[Kind, ...] = get_args(Kind)
# In no split but the test: whether a model has learned more than the kinds it was shown.
HELD_OUT_KINDS: tuple[Kind, ...] = ("typing", "birds")

LOWEST_RATE = 8000  # Hz; below it some kinds would lie above half the rate

_HELD_OUT_SHARE = 0.25  # of the test
_WEIGHTS: Mapping[Kind, float] = {"speech": 5, "mixture": 5, "babble": 2, "applause": 2}  # others 1
_BACKGROUNDS: tuple[Kind, ...] = (
    "noise", "wind", "rain", "surf", "hum", "crackle", "fan", "engine", "applause", "babble",
)  # fmt: skip
_BEHIND_DB = (-25.0, 3.0)  # of a background against what is before it
_IN_TURN, _TURN_SECONDS = 0.3, 0.1
_ESPEAK_SHARE = 0.6  # of the speakers, where espeak-ng is there
_SPEAKERS = (3, 7)  # of a babble
_PEAKS = (0.1, 0.95)

Maker = Callable[[int, int, np.random.Generator], FloatArray]


def not_music(
    kind: Kind,
    seconds: float,
    sample_rate: int,
    draws: np.random.Generator,
    espeak: Espeak | None = None,
) -> Waveform:
    """A sound of `kind` [1, T], peak .1 to .95, but for `silence`, which is as silent as it is.

    It lasts 2 seconds or more, at `LOWEST_RATE` or above. The same `draws` give the same sound,
    with the same `espeak`, which then says a part of the speech. Raises EngineError where that
    program fails.
    """
    frames = round(seconds * sample_rate)
    samples = _maker(kind, espeak)(frames, sample_rate, draws)
    if kind != "silence":
        samples = samples - samples.mean()
        samples *= np.float32(draws.uniform(*_PEAKS) / np.abs(samples).max())
    return Waveform(np.ascontiguousarray(samples[None], np.float32), sample_rate)


def drawn_kind(*, is_test: bool, draws: np.random.Generator) -> Kind:
    """A kind for a piece of the test, or of another split."""
    if is_test and draws.random() < _HELD_OUT_SHARE:
        return HELD_OUT_KINDS[draws.integers(len(HELD_OUT_KINDS))]
    return _drawn([kind for kind in KINDS if kind not in HELD_OUT_KINDS], draws)


def _drawn(kinds: list[Kind], draws: np.random.Generator) -> Kind:
    weights = np.array([_WEIGHTS.get(kind, 1.0) for kind in kinds])
    return kinds[draws.choice(len(kinds), p=weights / weights.sum())]


def _maker(kind: Kind, espeak: Espeak | None) -> Maker:
    if kind == "speech":
        return partial(_speech, espeak=espeak)
    if kind == "babble":
        return partial(_babble, espeak=espeak)
    if kind == "mixture":
        return partial(_mixture, espeak=espeak)
    return _MAKERS[kind]


_MAKERS: Mapping[Kind, Maker] = {
    "noise": noises.noise, "wind": noises.wind, "rain": noises.rain, "surf": noises.surf,
    "hum": noises.hum, "crackle": noises.crackle, "fan": noises.fan, "engine": noises.engine,
    "applause": events.applause, "footsteps": events.footsteps, "knocking": events.knocking,
    "typing": events.typing, "clicks": events.clicks, "clock": events.clock,
    "impacts": events.impacts, "birds": events.birds,
    "tone": tones.tone, "sweep": tones.sweep, "dialling": tones.dialling,
    "telephone": tones.telephone, "siren": tones.siren, "silence": tones.silence,
}  # fmt: skip


def _speech(
    frames: int, rate: int, draws: np.random.Generator, espeak: Espeak | None
) -> FloatArray:
    if espeak is not None and draws.random() < _ESPEAK_SHARE:
        return espeak.talk(frames, rate, draws)
    return talk(frames, rate, draws)


def _babble(
    frames: int, rate: int, draws: np.random.Generator, espeak: Espeak | None
) -> FloatArray:
    """Several people who do not listen to each other, each at a distance of his own."""
    found = np.zeros(frames, np.float32)
    for _ in range(int(draws.integers(*_SPEAKERS))):
        voice = _speech(frames, rate, draws, espeak)
        # Where they begin together, the first second is no babble.
        voice = np.roll(voice, int(draws.integers(frames)))
        found += voice * np.float32(draws.uniform(0.2, 1) / _rms(voice))
    return found


def _mixture(
    frames: int, rate: int, draws: np.random.Generator, espeak: Espeak | None
) -> FloatArray:
    """One sound before another, or one after the other. Kinds that are held out are in none."""
    fronts = [kind for kind in _MAKERS if kind not in (*HELD_OUT_KINDS, "silence")]
    front = _drawn([*fronts, "speech", "babble"], draws)
    behind = _drawn([kind for kind in _BACKGROUNDS if kind != front], draws)
    first, second = (_maker(kind, espeak)(frames, rate, draws) for kind in (front, behind))
    first /= _rms(first)
    second *= np.float32(10 ** (draws.uniform(*_BEHIND_DB) / 20)) / _rms(second)
    if draws.random() >= _IN_TURN:
        first += second
        return first
    turn = draws.uniform(0.2, 0.8) * frames
    share = np.clip((np.arange(frames) - turn) / (_TURN_SECONDS * rate), 0, 1).astype(np.float32)
    first += share * (second - first)
    return first


def _rms(samples: FloatArray) -> np.float32:
    return np.float32(np.sqrt(np.mean(samples**2)) + 1e-9)
