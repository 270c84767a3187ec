"""What is true of a synthesized piece as a caption: a sentence or keywords, in many words.

The words are those that prompts are read by (`compose.understanding`), so that what a caption says
is what a prompt with these words asks for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from random import Random

import yaml

from antiphon.compose.understanding import understand
from antiphon.compose.understanding.lexicon import lexicon
from antiphon.controls import Controls
from antiphon.plain import read_json

_PLAIN_SHARE = 0.5  # of fields that are named by their plain name, not by another phrase for it
_DROPPED_SHARE = 0.15  # of fields that a caption leaves out
_KEYWORDS_SHARE = 0.35
_MOST_INSTRUMENTS = 4


@dataclass(frozen=True)
class _Forms:
    """`captions.yaml` as it stands."""

    openings: tuple[str, ...]
    nouns: tuple[str, ...]
    keys: tuple[str, ...]
    tempos: tuple[str, ...]
    metres: Mapping[str, tuple[str, ...]]
    instruments: tuple[str, ...]
    without: tuple[str, ...]
    energies: tuple[str, ...]


def write_caption(truth: Controls, rng: Random) -> str:
    """A text that says much of `truth`, and nothing else; the same for the same state of `rng`."""
    told = {
        name: value
        for name, value in truth.to_dict().items()
        if name == "genre" or rng.random() >= _DROPPED_SHARE
    }
    if rng.random() < _KEYWORDS_SHARE:
        return _keywords(told, rng)
    return _sentence(told, rng)


def _keywords(told: Mapping[str, object], rng: Random) -> str:
    words = [_phrase("genre", told["genre"], rng)]
    words += [_phrase("mood", mood, rng) for mood in _texts(told.get("mood"))]
    words += [_phrase("instruments", name, rng) for name in _chosen(told, rng)]
    words += [f"no {name}" for name in _texts(told.get("without"))]
    if "key" in told:
        words.append(str(told["key"]))
    if "tempo" in told:
        words.append(f"{_bpm(told)} bpm")
    if "metre" in told:
        words.append(str(told["metre"]))
    if "energy" in told:
        words.append(_phrase("energy", told["energy"], rng))
    rng.shuffle(words)
    return ", ".join(words)


def _sentence(told: Mapping[str, object], rng: Random) -> str:
    forms = _forms()
    moods = _texts(told.get("mood"))
    fields = {"genre": _phrase("genre", told["genre"], rng), "noun": rng.choice(forms.nouns)}
    if moods:
        fields["mood"] = _phrase("mood", rng.choice(moods), rng)
        fields["article_mood"] = _article(fields["mood"])
    fields["article_genre"] = _article(fields["genre"])
    parts = [_filled(forms.openings, fields, rng)]
    if "key" in told:
        parts.append(_filled(forms.keys, {"key": str(told["key"])}, rng))
    if "tempo" in told:
        parts.append(_filled(forms.tempos, {"bpm": _bpm(told)}, rng))
    if "metre" in told:
        parts.append(rng.choice(forms.metres[str(told["metre"])]))
    if names := _chosen(told, rng):
        named = [_phrase("instruments", name, rng) for name in names]
        parts.append(_filled(forms.instruments, {"list": _listed(named, "and")}, rng))
    if "energy" in told:
        phrase = _phrase("energy", told["energy"], rng)
        parts.append(_filled(forms.energies, {"energy": phrase}, rng))
    if refused := _texts(told.get("without")):
        parts.append(_filled(forms.without, {"list": _listed(refused, "or")}, rng))
    text = parts[0] + "".join(part if part[0] in ",." else f" {part}" for part in parts[1:])
    return text[0].upper() + text[1:] + "." if rng.random() < 0.5 else text


def _phrase(control: str, value: object, rng: Random) -> str:
    """The value's own name, or another phrase that means it alone."""
    phrases = _phrases(control, str(value))
    if rng.random() < _PLAIN_SHARE or not phrases:
        return str(value) if control != "energy" else f"{value} energy"
    return rng.choice(phrases)


@cache
def _phrases(control: str, value: str) -> tuple[str, ...]:
    """The phrases of the lexicon that a prompt of nothing else reads as just this."""
    wanted = {control: value if control in ("genre", "energy") else [value]}
    tables = lexicon()
    phrases = getattr(tables, control)[value]
    return tuple(phrase for phrase in phrases if _read(phrase) == wanted)


def _read(text: str) -> dict[str, object]:
    """What a prompt asks for, as `Controls.to_dict` has it."""
    return Controls.from_options(understand(text).options).to_dict()


def _chosen(told: Mapping[str, object], rng: Random) -> list[str]:
    names = list(_texts(told.get("instruments")))
    rng.shuffle(names)
    return names[: rng.randint(1, _MOST_INSTRUMENTS)] if names else []


def _filled(forms: Sequence[str], fields: Mapping[str, str], rng: Random) -> str:
    shuffled = rng.sample(forms, len(forms))
    for form in shuffled:
        try:
            return form.format(**fields)
        except KeyError:
            continue
    raise AssertionError(f"no form of {forms} can be filled with {sorted(fields)}")


def _listed(names: Sequence[str], joint: str) -> str:
    *others, last = names
    return f"{', '.join(others)} {joint} {last}" if others else last


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


def _bpm(told: Mapping[str, object]) -> str:
    return f"{told['tempo']:g}"


def _texts(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []


@cache
def _forms() -> _Forms:
    text = files("antiphon.data").joinpath("captions.yaml").read_text(encoding="utf-8")
    return read_json(_Forms, json.dumps(yaml.safe_load(text)), "captions.yaml")
