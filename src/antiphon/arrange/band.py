"""Who plays: instruments with their ranges and programs, and the casting of a style's roles."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import get_args

from antiphon.arrange.plan import Plan
from antiphon.arrange.styles import Role
from antiphon.controls import Controls
from antiphon.errors import ConfigError


@dataclass(frozen=True)
class Instrument:
    """Range as MIDI pitches, General MIDI programs, and the roles it takes, best first."""

    low: int
    high: int
    programs: tuple[int, ...]
    roles: tuple[Role, ...]


# Ranges: Adler, The Study of Orchestration, kept to the part that is played every day.
PLAYABLE = {
    "piano": Instrument(28, 100, (0, 1), ("chords", "melody", "riff")),
    "electric piano": Instrument(33, 96, (4, 5), ("chords", "melody")),
    "organ": Instrument(36, 96, (16, 17, 18), ("pad", "chords", "melody")),
    "acoustic guitar": Instrument(40, 83, (24, 25), ("chords", "riff", "melody")),
    "electric guitar": Instrument(40, 86, (26, 27, 28), ("chords", "riff", "melody")),
    "distorted guitar": Instrument(40, 86, (29, 30), ("chords", "melody", "riff")),
    "bass": Instrument(28, 60, (32, 33, 34), ("bass",)),
    "strings": Instrument(36, 93, (48, 49), ("pad", "chords", "counter")),
    "violin": Instrument(55, 98, (40,), ("melody", "counter")),
    "cello": Instrument(36, 76, (42,), ("counter", "melody", "bass")),
    "choir": Instrument(45, 81, (52, 53), ("pad", "counter")),
    "brass": Instrument(43, 82, (61, 62), ("counter", "pad", "melody")),
    "trumpet": Instrument(54, 84, (56,), ("melody", "counter")),
    "saxophone": Instrument(49, 82, (65, 66), ("melody", "counter")),
    "flute": Instrument(60, 96, (73,), ("melody", "counter")),
    "clarinet": Instrument(50, 91, (71,), ("melody", "counter")),
    "synth lead": Instrument(40, 96, (80, 81), ("melody", "riff", "counter")),
    "synth pad": Instrument(36, 93, (88, 89), ("pad", "chords")),
    "mallets": Instrument(53, 89, (11, 12), ("riff", "melody", "counter")),
    "harp": Instrument(28, 100, (46,), ("riff", "chords")),
    "accordion": Instrument(41, 91, (21,), ("chords", "melody", "pad")),
    "drums": Instrument(35, 82, (0,), ("drums",)),
}
ROLES: tuple[Role, ...] = get_args(Role)
PITCHED = tuple(name for name in PLAYABLE if name != "drums")
_CORE: tuple[Role, ...] = ("drums", "bass", "chords", "melody")
_GAIN_DB = {"drums": 0, "bass": -1, "chords": -5, "pad": -8, "riff": -7, "melody": 0, "counter": -4}
_PANS = {"chords": 0.3, "pad": -0.2, "riff": -0.45, "counter": 0.4}


@dataclass(frozen=True)
class Player:
    """One track to be."""

    role: Role
    instrument: str
    program: int
    pan: float
    gain_db: float
    wanted: bool
    desk: int  # 0 for the first player of a role, 1 for the second ...

    @property
    def low(self) -> int:
        return PLAYABLE[self.instrument].low

    @property
    def high(self) -> int:
        return PLAYABLE[self.instrument].high


def cast(plan: Plan, controls: Controls) -> tuple[Player, ...]:
    """Everybody wanted, then the roles still free; nobody refused. Roles no one is left for stay
    empty. Raises ConfigError when every instrument is refused."""
    if len(set(controls.without)) == len(PLAYABLE):
        raise ConfigError(
            "every instrument is refused by --without, so nothing can play; allow at least one"
        )
    rng = plan.stream("band")
    parts: list[tuple[Role, str]] = []
    for instrument in controls.instruments:
        parts.append((_wanted_role(plan, instrument, [role for role, _ in parts]), instrument))
    for role in ROLES:
        present = rng.random() < _chance(plan, role)
        if not present or role in [part for part, _ in parts]:
            continue
        chosen = _choose(plan, role, controls.without, [name for _, name in parts], rng)
        if chosen is not None:
            parts.append((role, chosen))
    parts.sort(key=lambda part: ROLES.index(part[0]))
    if not parts:  # all that may play is what this band has no need of, such as drums in ambient
        parts = [_last_resort(controls.without)]
    side = rng.choice((-1, 1))
    return tuple(
        Player(
            role=role,
            instrument=name,
            program=rng.choice(_programs(plan, role, name)),
            pan=side * _PANS[role] if role in _PANS else 0.0,
            gain_db=float(_GAIN_DB[role]),
            wanted=name in controls.instruments,
            desk=[part for part, _ in parts[:place]].count(role),
        )
        for place, (role, name) in enumerate(parts)
    )


def _chance(plan: Plan, role: Role) -> float:
    if role == "drums":
        return plan.style.drum_chance
    if role in _CORE:
        return 1.0
    return 0.3 + 0.5 * plan.intensity if role in plan.style.band else 0.0


def _wanted_role(plan: Plan, instrument: str, taken: list[Role]) -> Role:
    """The first role free that the style, or else the instrument itself, has for it."""
    usual = [role for role, players in plan.style.band.items() if instrument in players]
    options = [*usual, *PLAYABLE[instrument].roles]
    return next((role for role in options if role not in taken), options[0])


def _choose(
    plan: Plan, role: Role, refused: tuple[str, ...], used: list[str], rng: Random
) -> str | None:
    if role == "drums":
        return None if "drums" in refused else "drums"
    usual = [name for name in plan.style.band.get(role, {}) if name not in refused]
    fresh = [name for name in usual if name not in used]
    if fresh or role not in _CORE:
        return rng.choice(fresh) if fresh else None
    # A second guitar of the same kind, before an instrument that the style does not know.
    able = [name for name in PITCHED if role in PLAYABLE[name].roles and name not in refused]
    options = usual or [name for name in able if name not in used] or able
    return rng.choice(options) if options else None


def _last_resort(refused: tuple[str, ...]) -> tuple[Role, str]:
    name = next(name for name in PLAYABLE if name not in refused)
    return PLAYABLE[name].roles[0], name


def _programs(plan: Plan, role: Role, name: str) -> tuple[int, ...]:
    if role == "drums":
        return plan.style.kits
    return plan.style.band.get(role, {}).get(name) or PLAYABLE[name].programs
