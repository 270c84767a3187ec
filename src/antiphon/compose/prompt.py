"""Prompts: the text a MusicGen decoder is conditioned on, and flags joined with what text asks for.

MusicGen was trained on a description and its metadata in one line, as in
`warm evening. bpm: 120.0. key: c minor. genre: jazz. moods: calm, sad. instrument: piano, bass`
(audiocraft's `music_dataset.py`). What that line has no field for is left out of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from antiphon.compose.understanding import Understanding
from antiphon.controls import OPTION_NAMES, Controls
from antiphon.errors import ConfigError

# Option names of `Controls`, and the field of the text that carries them, in the text's order.
CARRIED = {
    "tempo": "bpm",
    "key": "key",
    "genre": "genre",
    "mood": "moods",
    "instruments": "instrument",
}
UNCARRIED = tuple(name for name in OPTION_NAMES if name not in CARRIED)

_LENGTHS = ("duration", "bars", "sections")  # one of them says how long a piece is
_SINGLE = ("genre", "tempo", "key", "metre", "energy")


def uncarried(controls: Controls) -> tuple[str, ...]:
    """The option names of what is asked for and cannot be said in MusicGen's text."""
    return tuple(name for name in controls.to_dict() if name in UNCARRIED)


def render(description: str, controls: Controls) -> str:
    """The text for a description and controls; absent fields are left out.

    Without a field to add it is the description itself, unchanged. Else full stops at its end are
    dropped, as in training, where `. ` joins it to the fields.
    """
    values = controls.to_dict()
    if controls.key is not None:
        values["key"] = controls.key.name.lower()
    if controls.tempo_bpm is not None:
        values["tempo"] = float(controls.tempo_bpm)
    parts = []
    for option, field in CARRIED.items():
        value = values.get(option)
        if value is not None:
            said = ", ".join(map(str, value)) if isinstance(value, list) else value
            parts.append(f"{field}: {said}")
    if not parts:
        return description
    return ". ".join([*filter(None, [description.rstrip(".")]), *parts])


@dataclass(frozen=True)
class Parsed:
    """A description, and the controls that the fields after it say."""

    description: str
    controls: Controls


def parse(text: str) -> Parsed:
    """Undo `render`: the fields at the end of a text, in any order, and what is before them.

    A field with a value that is not a control's (`genre: skronk`), or said twice, is part of the
    description, and so is all before it. A description that itself ends in fields cannot be told
    from fields.
    """
    options: dict[str, object] = {}
    rest = text
    while rest:
        before, joint, last = rest.rpartition(". ")
        option = _field(last)
        if option is None or option[0] in options:
            break
        options[option[0]] = option[1]
        # A dot that stands alone belongs to the description: `. bpm: 120.0` has an empty one.
        rest = before if joint else ""
    return Parsed(rest, Controls.from_options(options))


def _field(text: str) -> tuple[str, str] | None:
    name, colon, value = text.partition(": ")
    for option, field in CARRIED.items():
        if colon and name == field:
            try:
                controls = Controls.from_options({option: value})
            except ConfigError:
                return None  # a description may say `genre: skronk`
            return (option, value) if option in controls.to_dict() else None
    return None


@dataclass(frozen=True)
class Combined:
    """Controls from flags and a text; `contradictions` are sentences that name who won."""

    controls: Controls
    contradictions: tuple[str, ...] = ()


def combine(flags: Mapping[str, object], understanding: Understanding) -> Combined:
    """Join flags, by the option names of `Controls` (None: not given), with an understood text.

    Flags win. Moods and instruments add up, but that a flag's wish or refusal of an instrument
    takes it from the text's refusals or wishes. A length by flag replaces any length of the text.
    Raises ConfigError for a flag that `Controls.from_options` does not accept.
    """
    flagged = Controls.from_options(flags).to_dict()
    said = dict(understanding.options)
    contradictions: list[str] = []
    for option in (*_SINGLE, *_LENGTHS):
        rivals = [
            rival
            for rival in (_LENGTHS if option in _LENGTHS else (option,))
            if rival in flagged and option in said
        ]
        for rival in rivals:
            value = said.pop(option)
            if (rival, flagged[rival]) != (option, value):
                contradictions.append(_sentence(rival, flagged[rival], option, value))
    for option, opposite in (("instruments", "without"), ("without", "instruments")):
        ours, theirs = _names(flagged.get(option)), _names(said.get(opposite))
        contradictions += [
            _sentence(option, name, opposite, name) for name in theirs if name in ours
        ]
        said[opposite] = tuple(name for name in theirs if name not in ours)
    joined: dict[str, object] = {**said, **flagged}
    for option in ("mood", "instruments", "without"):
        joined[option] = (*_names(flagged.get(option)), *_names(said.get(option)))
    return Combined(Controls.from_options(joined), tuple(contradictions))


def _names(values: object) -> tuple[str, ...]:
    return tuple(map(str, values)) if isinstance(values, list | tuple) else ()


def _sentence(flag: str, flag_value: object, option: str, value: object) -> str:
    return (
        f"the flag says {flag} {_shown(flag_value)}, the text says {option} {_shown(value)}; "
        f"the flag's {flag} {_shown(flag_value)} holds"
    )


def _shown(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
