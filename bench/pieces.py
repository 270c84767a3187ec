"""The pieces that the analyser is fitted and judged on: what they are, and their sound.

Both sets come from FluidSynth with two soundfonts, so that the truth is exact. No seed is in both.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import patterns
import tunes
from antiphon.analysis.features import SAMPLE_RATE, FeatureExtractor, Features
from antiphon.arrange import arrange
from antiphon.audio import Waveform, resample
from antiphon.controls import GENRES, Controls
from antiphon.score import Score
from antiphon.synth import render_fluidsynth
from antiphon.synth.fluidsynth import SOUNDFONT_FOLDERS

SOUNDFONTS = ("MuseScore_General_Lite.sf3", "FluidR3_GM.sf2")
TUNING_SEED = 1000  # of the first arranged piece for tuning; those for reporting are below
TUNING_ARRANGED = 300
TUNING_PATTERNS = 132
TUNING_TUNES = 128
REPORTING_PER_GENRE = 22
Source = Literal["arranged", "patterns", "tunes"]
METRES = (None, None, "3/4", "4/4")

_BLOCK_FRAMES = 65_536


@dataclass(frozen=True)
class Plan:
    """How to make a piece; `genre` is one of `GENRES`, `patterns.STYLES` or `tunes.STYLES`."""

    name: str
    source: Source
    genre: str
    seed: int
    metre: str | None
    soundfont: str


def tuning_plans() -> list[Plan]:
    """The pieces to fit on: arranged in all genres, plain songs, and music without drums."""
    seeds = range(TUNING_SEED, TUNING_SEED + TUNING_ARRANGED)
    return [
        *(_arranged(seed) for seed in seeds),
        *(_plan("patterns", tuple(patterns.STYLES), seed, None) for seed in range(TUNING_PATTERNS)),
        *(_plan("tunes", tunes.STYLES, seed, None) for seed in range(TUNING_TUNES)),
    ]


def reporting_plans() -> list[Plan]:
    """The pieces to report on: arranged, as many in each genre, each genre on both soundfonts."""
    return [_arranged(seed) for seed in range(REPORTING_PER_GENRE * len(GENRES))]


def _arranged(seed: int) -> Plan:
    metre = random.Random(seed).choice(METRES)
    return _plan("arranged", GENRES, seed, metre)


def _plan(source: Source, genres: Sequence[str], seed: int, metre: str | None) -> Plan:
    """Genres come in turn, and in each the soundfonts."""
    turn, number = divmod(seed, len(genres))
    font = SOUNDFONTS[(turn + number) % len(SOUNDFONTS)]
    return Plan(f"{source}-{seed}", source, genres[number], seed, metre, font)


def make_score(plan: Plan) -> Score:
    if plan.source == "patterns":
        return patterns.make_song(plan.genre, plan.seed)
    if plan.source == "tunes":
        return tunes.make_tune(plan.genre, plan.seed)
    return arrange(Controls(genre=plan.genre, metre=plan.metre), plan.seed)


def find_soundfont(name: str) -> Path:
    """Where the soundfont of this file name is. Raises SystemExit with what to install."""
    for folder in SOUNDFONT_FOLDERS:
        if (folder / name).is_file():
            return folder / name
    raise SystemExit(
        f"soundfont {name} is not on this machine; "
        "try: apt-get install fluidsynth musescore-general-soundfont-small fluid-soundfont-gm"
    )


def render(plan: Plan, score: Score) -> Waveform:
    """The piece on its soundfont, stereo at 44.1 kHz."""
    return render_fluidsynth(score, find_soundfont(plan.soundfont))


def extract(waveform: Waveform) -> Features:
    """The features that `antiphon.measure` takes from the same sound."""
    samples = resample(waveform.mono(), SAMPLE_RATE).samples[0]
    extractor = FeatureExtractor()
    for start in range(0, len(samples), _BLOCK_FRAMES):
        extractor.push(samples[start : start + _BLOCK_FRAMES])
    return extractor.finish()
