"""From wishes to a plan: style, tempo, key, metre, intensity and the form in bars.

Whatever was asked is kept; what was left open is chosen by the style, the moods and the seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from antiphon.arrange.figures import stream
from antiphon.arrange.styles import Metre, Style, load_style
from antiphon.controls import (
    GENRES,
    MAX_BARS,
    MAX_TEMPO_BPM,
    MIN_TEMPO_BPM,
    Controls,
    SectionPlan,
)
from antiphon.errors import ConfigError
from antiphon.notation import Key

DEFAULT_SECONDS = 60.0
DEFAULT_BARS = (24, 40)
ENERGY_INTENSITY = {"low": 0.22, "medium": 0.5, "high": 0.8}


@dataclass(frozen=True)
class Mood:
    """How a mood bends a style; `register` in semitones, the others added or multiplied."""

    minor: float = 0.0
    tempo: float = 1.0
    intensity: float = 0.0
    register: int = 0
    legato: float = 1.0


# Directions as listeners rate them (Juslin and Laukka 2003; Eerola, Friberg and Bresin 2013):
# mode first, then tempo, register, loudness and articulation.
MOODS = {
    "happy": Mood(minor=-0.9, tempo=1.08, intensity=0.08, register=2, legato=0.85),
    "sad": Mood(minor=0.9, tempo=0.84, intensity=-0.16, register=-3),
    "calm": Mood(tempo=0.86, intensity=-0.25, legato=1.05),
    "energetic": Mood(tempo=1.12, intensity=0.25, register=1, legato=0.9),
    "dark": Mood(minor=0.9, tempo=0.95, register=-6),
    "bright": Mood(minor=-0.8, tempo=1.04, intensity=0.05, register=5),
    "tense": Mood(minor=0.8, tempo=1.06, intensity=0.12),
    "relaxed": Mood(minor=-0.3, tempo=0.9, intensity=-0.18),
    "romantic": Mood(tempo=0.86, intensity=-0.08, legato=1.05),
    "melancholic": Mood(minor=0.8, tempo=0.88, intensity=-0.12, register=-2),
    "playful": Mood(minor=-0.6, tempo=1.06, intensity=0.05, register=4, legato=0.65),
    "solemn": Mood(minor=0.4, tempo=0.8, intensity=-0.05, register=-4, legato=1.05),
}


@dataclass(frozen=True)
class Plan:
    """What all players agree on before the first note."""

    seed: int
    style: Style
    tempo_bpm: float
    metre: Metre
    key: Key
    sections: tuple[SectionPlan, ...]
    intensity: float
    register: int
    legato: float

    @property
    def beats_per_bar(self) -> int:
        return int(self.metre[0])

    def stream(self, *purpose: object) -> Random:
        """Randomness of its own for each purpose, so that one choice does not move the others."""
        return stream(self.seed, self.style.genre, *purpose)

    @property
    def bars(self) -> int:
        return sum(section.bars for section in self.sections)


def make_plan(controls: Controls, seed: int) -> Plan:
    """Raises ConfigError when the length asked for needs more than MAX_BARS bars."""
    style = load_style(controls.genre or _choose_genre(controls, stream(seed, "genre")))
    rng = stream(seed, "plan", style.genre)
    moods = [MOODS[name] for name in controls.moods]
    is_waltz = rng.random() < style.waltz
    metre: Metre = "3/4" if controls.metre == "3/4" or (not controls.metre and is_waltz) else "4/4"
    intensity = _intensity(controls, moods, rng)
    tempo_bpm = controls.tempo_bpm or _choose_tempo(style, controls, moods, rng)
    key = controls.key or _choose_key(style, moods, rng)
    bars, tempo_bpm = _choose_bars(controls, tempo_bpm, int(metre[0]))
    if bars > MAX_BARS:
        raise ConfigError(
            f"the piece would have {bars} bars; expected {MAX_BARS} at most: "
            "ask for a shorter duration or a slower tempo"
        )
    return Plan(
        seed=seed,
        style=style,
        tempo_bpm=tempo_bpm,
        metre=metre,
        key=key,
        sections=_make_form(style, controls, bars, stream(seed, "form")),
        intensity=intensity,
        register=sum(mood.register for mood in moods),
        legato=min([mood.legato for mood in moods], default=1.0),
    )


def _choose_genre(controls: Controls, rng: Random) -> str:
    """A genre that has the instruments asked for, and the tempo in its range if it can be."""

    def fit(style: Style) -> float:
        known = {name for players in style.band.values() for name in players}
        low, high = style.tempo_bpm
        tempo = controls.tempo_bpm
        in_range = tempo is None or 0.9 * low <= tempo <= 1.1 * high
        drumless = "drums" in controls.without and style.drum_chance == 1
        return (
            (1 + 4 * len(known & set(controls.instruments)))
            * (1 if in_range else 0.02)
            * (0.3 if drumless else 1)
        )

    return rng.choices(GENRES, [fit(load_style(genre)) for genre in GENRES])[0]


def _intensity(controls: Controls, moods: list[Mood], rng: Random) -> float:
    base = ENERGY_INTENSITY[controls.energy] if controls.energy else rng.uniform(0.4, 0.65)
    # An energy asked for outranks what a mood suggests.
    bend = sum(mood.intensity for mood in moods) * (0.3 if controls.energy else 1.0)
    return min(max(base + bend, 0.1), 0.9)


def _choose_tempo(style: Style, controls: Controls, moods: list[Mood], rng: Random) -> float:
    low, high = style.tempo_bpm
    place = rng.random()
    if controls.energy == "low":
        place *= 0.5
    elif controls.energy == "high":
        place = 0.5 + 0.5 * place
    tempo = low + place * (high - low)
    for mood in moods:
        tempo *= mood.tempo
    # Beyond this a style is not recognised any more.
    tempo = min(max(tempo, 0.85 * low), 1.15 * high)
    return float(round(min(max(tempo, MIN_TEMPO_BPM), MAX_TEMPO_BPM)))


def _choose_key(style: Style, moods: list[Mood], rng: Random) -> Key:
    minor = style.minor + sum(mood.minor for mood in moods)
    mode_draw, tonic = rng.random(), rng.randrange(12)
    return Key(tonic, "minor" if mode_draw < minor else "major")


def _choose_bars(controls: Controls, tempo_bpm: float, beats_per_bar: int) -> tuple[int, float]:
    """Number of bars and tempo.

    With a duration and a tempo asked, the last bar line falls within half a bar of the duration.
    With a duration alone, the tempo is moved (a few percent at most once there are eight bars) so
    that the last bar line falls on it exactly, and groups of four bars are preferred.
    """
    if controls.bars is not None:
        return controls.bars, tempo_bpm
    if controls.sections:
        sections = _with_flags(controls)
        return sum(section.bars for section in sections), tempo_bpm
    exact_bars = (controls.duration_seconds or DEFAULT_SECONDS) * tempo_bpm / 60 / beats_per_bar
    if controls.duration_seconds is None:
        low, high = DEFAULT_BARS
        return min(max(4 * round(exact_bars / 4), low), high), tempo_bpm
    if controls.tempo_bpm is not None:
        return max(round(exact_bars), 1), tempo_bpm
    beats_per_minute_per_bar = 60 * beats_per_bar / controls.duration_seconds
    candidates = [
        bars
        for bars in range(max(int(exact_bars) - 3, 1), int(exact_bars) + 6)
        if MIN_TEMPO_BPM <= bars * beats_per_minute_per_bar <= MAX_TEMPO_BPM
    ]
    bars = min(
        candidates,
        key=lambda count: (
            abs(count / exact_bars - 1) + 0.02 * (count % 2 > 0) + 0.02 * (count % 4 > 0)
        ),
    )
    return bars, bars * beats_per_minute_per_bar


def _with_flags(controls: Controls) -> tuple[SectionPlan, ...]:
    sections = controls.sections
    if controls.intro and sections[0].label != "intro":
        sections = (SectionPlan("intro", 4), *sections)
    if controls.ending and sections[-1].label != "ending":
        sections = (*sections, SectionPlan("ending", 4))
    return sections


def _make_form(style: Style, controls: Controls, bars: int, rng: Random) -> tuple[SectionPlan, ...]:
    """Sections that fill `bars` bars: a form of the style, with an intro and an ending if asked
    or if there is room."""
    if controls.sections:
        return _with_flags(controls)
    room = controls.bars is None and bars >= 20
    has_intro = (controls.intro or (room and rng.random() < 0.7)) and bars >= 2
    has_ending = (controls.ending or (room and rng.random() < 0.7)) and bars >= 2 + has_intro
    frame = 4 if bars >= 16 else 2 if bars >= 6 else 1
    body = bars - frame * (has_intro + has_ending)
    labels = rng.choice(style.forms).split()
    lengths = _section_lengths(body, style.section_bars)
    middle = [SectionPlan(labels[i % len(labels)], length) for i, length in enumerate(lengths)]
    return (
        *([SectionPlan("intro", frame)] if has_intro else []),
        *middle,
        *([SectionPlan("ending", frame)] if has_ending else []),
    )


def _section_lengths(bars: int, unit: int) -> list[int]:
    """Split `bars` into lengths near `unit`, in whole phrases of four bars where that works out."""
    while bars < 2 * unit and unit > 4:
        unit = unit - 4 if unit > 8 else 4
    if bars > 16 * unit:
        unit *= 2
    count = max(round(bars / unit), 1)
    lengths = [unit] * count
    spare = bars - unit * count
    # Whole phrases go to (or come from) the sections at the end, odd bars to the last one.
    place = count - 1
    while abs(spare) >= 4 and (spare > 0 or lengths[place] > 4):
        change = 4 if spare > 0 else -4
        lengths[place] += change
        spare -= change
        place = place - 1 if place else count - 1
    lengths[-1] += spare
    return lengths
