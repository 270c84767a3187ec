"""From wishes to a plan: style, tempo, key, metre and intensity.

What was asked for is kept; what was left open is chosen by the style, the moods and the seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from antiphon.arrange.figures import stream
from antiphon.arrange.form import make_form
from antiphon.arrange.styles import Metre, Style, load_style
from antiphon.controls import GENRES, MAX_TEMPO_BPM, MIN_TEMPO_BPM, Controls, SectionPlan
from antiphon.notation import Key

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
    """Raises ConfigError when the length asked for is too short for the form, or too long."""
    style = load_style(controls.genre or _choose_genre(controls, stream(seed, "genre")))
    rng = stream(seed, "plan", style.genre)
    moods = [MOODS[name] for name in controls.moods]
    is_waltz = rng.random() < style.waltz
    metre: Metre = "3/4" if controls.metre == "3/4" or (not controls.metre and is_waltz) else "4/4"
    intensity = _intensity(controls, moods, rng)
    tempo_bpm = controls.tempo_bpm or _choose_tempo(style, controls, moods, rng)
    key = controls.key or _choose_key(style, moods, rng)
    sections, tempo_bpm = make_form(
        style, controls, tempo_bpm, int(metre[0]), stream(seed, "form", style.genre)
    )
    return Plan(
        seed=seed,
        style=style,
        tempo_bpm=tempo_bpm,
        metre=metre,
        key=key,
        sections=sections,
        intensity=intensity,
        register=sum(mood.register for mood in moods),
        legato=min([mood.legato for mood in moods], default=1.0),
    )


def _choose_genre(controls: Controls, rng: Random) -> str:
    """A genre that has the instruments asked for, and the tempo in its range if it can be."""
    if not (controls.instruments or controls.without or controls.tempo_bpm):
        return rng.choice(GENRES)

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
