"""What a style is, and its reading from `styles/GENRE.yaml`. Knows no score: only data."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal, get_args

import yaml

from antiphon.arrange.figures import STEPS_PER_BEAT
from antiphon.controls import INSTRUMENTS, SECTIONS
from antiphon.errors import ConfigError
from antiphon.plain import read_json

Metre = Literal["3/4", "4/4"]
Role = Literal["drums", "bass", "chords", "pad", "riff", "melody", "counter"]
Figures = dict[Metre, tuple[str, ...]]  # from sparse to busy
Band = dict[Role, dict[str, tuple[int, ...]]]  # role -> instrument -> General MIDI programs

# General MIDI percussion keys.
DRUM_PITCHES = {
    "kick": 36, "rim": 37, "snare": 38, "clap": 39, "brush": 40, "low_tom": 45, "mid_tom": 47,
    "high_tom": 50, "hat": 42, "pedal_hat": 44, "open_hat": 46, "crash": 49, "ride": 51,
    "ride_bell": 53, "tambourine": 54, "cowbell": 56, "high_bongo": 60, "low_bongo": 61,
    "mute_conga": 62, "open_conga": 63, "low_conga": 64, "high_timbale": 65, "low_timbale": 66,
    "maracas": 70, "guiro": 73, "clave": 75, "triangle": 81, "shaker": 82,
}  # fmt: skip
WALKING = "walking"  # a bass line made note by note instead of from a figure


@dataclass(frozen=True)
class HarmonyStyle:
    """Which grammar of `grammars.yaml` is spoken, how fast, and how rich its chords are.

    `rhythms`: chords in each bar of a four-bar phrase, `0` going on with the chord before.
    `sevenths`, `ninths`: the chance that a triad grows to one. `loop`: the chance that a section
    repeats one phrase instead of answering it with a cadence.
    """

    grammar: str
    rhythms: tuple[str, ...]
    sevenths: float = 0.0
    ninths: float = 0.0
    loop: float = 0.0

    def __post_init__(self) -> None:
        for rhythm in self.rhythms:
            if not re.fullmatch("[12][012]{3}", rhythm):
                raise ConfigError(
                    f"harmonic rhythm {rhythm!r} is not understood; expected the number of chords "
                    "in each of four bars, 0 to 2, the first at least 1"
                )


@dataclass(frozen=True)
class MelodyStyle:
    """`cells`: rhythms of one beat and their weights; `rest`: the chance that a bar is left out."""

    cells: dict[str, float]
    scale: Literal["diatonic", "pentatonic", "blues"] = "diatonic"
    leap: float = 0.12
    rest: float = 0.0
    legato: float = 0.95

    def __post_init__(self) -> None:
        for cell in self.cells:
            if len(cell) != STEPS_PER_BEAT:
                raise ConfigError(f"cell {cell!r} has {len(cell)} steps; expected a beat of four")


@dataclass(frozen=True)
class Style:
    """Everything that makes a genre; lists of figures go from sparse to busy."""

    genre: str
    tempo_bpm: tuple[float, float]
    waltz: float
    minor: float
    harmony: HarmonyStyle
    melody: MelodyStyle
    band: Band
    bass: Figures
    chords: Figures
    grooves: dict[Metre, tuple[dict[str, str], ...]]
    riff: Figures
    fills: tuple[dict[str, str], ...] = ()
    kits: tuple[int, ...] = (0,)
    swing: Literal["none", "eighths", "sixteenths"] = "none"
    human_ms: float = 4.0
    section_bars: int = 8
    forms: tuple[str, ...] = ("verse chorus verse chorus bridge chorus",)
    crash: bool = True
    drum_chance: float = 1.0

    def __post_init__(self) -> None:
        """Raise ConfigError for a figure that does not fill its bars or a name nobody knows."""
        for metre in get_args(Metre):
            for table in (self.bass, self.chords, self.riff, self.grooves):
                if not table.get(metre):
                    raise ConfigError(f"style {self.genre!r}: nothing to play in {metre}; add some")
            for groove in self.grooves[metre]:
                for voice, figure in groove.items():
                    self._require_known("drum voice", voice, DRUM_PITCHES)
                    self._require_whole_bars(figure, metre)
            for figure in (*self.bass[metre], *self.chords[metre], *self.riff[metre]):
                if figure != WALKING:
                    self._require_whole_bars(figure, metre)
        for fill in self.fills:
            for voice, figure in fill.items():
                self._require_known("drum voice", voice, DRUM_PITCHES)
                self._require_whole_beats(figure, like=next(iter(fill.values())))
        for players in self.band.values():
            for instrument in players:
                self._require_known("instrument", instrument, INSTRUMENTS)
        for form in self.forms:
            for label in form.split():
                self._require_known("section", label, SECTIONS)

    def _require_known(self, kind: str, name: str, known: Iterable[str]) -> None:
        if name not in known:
            raise ConfigError(
                f"style {self.genre!r}: {kind} {name!r} is not known; "
                f"expected one of {', '.join(known)}"
            )

    def _require_whole_beats(self, figure: str, like: str) -> None:
        steps, others = (len(text.replace(" ", "")) for text in (figure, like))
        if not steps or steps % STEPS_PER_BEAT or steps != others or steps > 4 * STEPS_PER_BEAT:
            raise ConfigError(
                f"style {self.genre!r}: fill {figure!r} has {steps} steps; expected one to four "
                f"beats of {STEPS_PER_BEAT} steps, the same for all its voices"
            )

    def _require_whole_bars(self, figure: str, metre: Metre) -> None:
        steps = len(figure.replace(" ", ""))
        bar = int(metre[0]) * STEPS_PER_BEAT
        if not steps or steps % bar:
            raise ConfigError(
                f"style {self.genre!r}: figure {figure!r} has {steps} steps; "
                f"expected a multiple of {bar} in {metre}"
            )


def read_data(name: str) -> object:
    """A packaged YAML file of this folder."""
    text = files("antiphon.arrange").joinpath(name).read_text(encoding="utf-8")
    # libyaml, where PyYAML was built with it, is eight times as fast.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load(text, Loader=loader)


@cache
def load_style(genre: str) -> Style:
    """The style of a genre. Raises ConfigError when its file is not as `Style` says."""
    return read_json(Style, json.dumps(read_data(f"styles/{genre}.yaml")), f"style {genre}")
