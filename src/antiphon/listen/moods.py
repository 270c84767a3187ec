"""Moods, and whether one can dance to it: by rule, from what was heard and what was measured.

The plane is that of Russell (1980), "A circumplex model of affect": arousal and valence. Arousal is
the energy that was heard. Valence follows the cues which listeners are known to use, collected by
Gabrielsson and Lindstrom (2010), "The role of structure in the musical expression of emotions":
major mode and a lively tempo are taken for happy, minor and slow for sad, minor and high energy
for tense, a dull sound for dark, a brilliant one for bright. Genre decides only where a mood is
part of its manner (a slow classical piece in minor is solemn, jazz at ease is relaxed). `romantic`
and `playful` rest on melody and phrasing, of which nothing is measured here, so no rule gives them.

A mood is as certain as the least certain thing that it rests on. Moods that rest on the mode are
taken down further by VALENCE_TRUST: mode and tempo are cues to a feeling and not the feeling.
Energy and dancing are not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from antiphon.description import Heard, Presence, Tag
from antiphon.facts import Facts
from antiphon.listen.certainty import ASSERTED

VALENCE_TRUST = 0.9
SLOW_BPM, LIVELY_BPM, FAST_BPM = 84.0, 104.0, 124.0
DULL_HZ, BRILLIANT_HZ = 1300.0, 2600.0  # of the spectral centroid
DANCE_BPM = (88.0, 140.0)
# Without a genre that is made for it, a danceable pulse is no more than probably danced to.
NO_DANCE_GENRE = 0.6

DANCE_GENRES = frozenset({"house", "electronic", "funk", "latin", "pop", "hip-hop", "reggae"})
STILL_GENRES = frozenset({"ambient", "classical"})
EASY_GENRES = frozenset({"jazz", "folk", "reggae", "ambient", "latin", "hip-hop", "pop"})
GRAVE_GENRES = frozenset({"classical", "ambient"})
HEAVY_GENRES = frozenset({"metal", "rock", "electronic", "house", "hip-hop", "blues", "ambient"})


@dataclass(frozen=True)
class _Rule:
    """A mood and the cues of which all must be there."""

    mood: str
    cues: tuple[str, ...]


# In order of importance among equally certain ones.
_RULES = (
    _Rule("energetic", ("high energy",)),
    _Rule("calm", ("low energy",)),
    _Rule("happy", ("major", "not low energy", "lively")),
    _Rule("sad", ("minor", "low energy", "slow")),
    _Rule("solemn", ("minor", "low energy", "slow", "grave genre")),
    _Rule("relaxed", ("major", "not high energy", "not fast", "easy genre")),
    _Rule("melancholic", ("minor", "not high energy", "not fast")),
    _Rule("tense", ("minor", "high energy", "fast")),
    _Rule("dark", ("minor", "dull", "heavy genre")),
    _Rule("bright", ("major", "brilliant", "not low energy")),
)
_VALENCE = frozenset({"major", "minor"})
JUDGED_MOODS = tuple(rule.mood for rule in _RULES)
"""Those of `controls.MOODS` that a rule can give."""


def moods(heard: Heard, facts: Facts) -> tuple[Tag, ...]:
    """The moods that fit, of the names of `controls.MOODS`, the surest first.

    None of what may not be music.
    """
    if heard.music is not None and not heard.music.present:
        return ()
    cues = _cues(heard, facts)
    found = []
    for rule in _RULES:
        confidence = min(cues.get(cue, 0.0) for cue in rule.cues)
        if confidence > 0:
            trust = VALENCE_TRUST if _VALENCE & set(rule.cues) else 1.0
            found.append(Tag(rule.mood, round(trust * confidence, 4)))
    return tuple(sorted(found, key=lambda tag: -tag.confidence))


def dance(heard: Heard, facts: Facts) -> Presence | None:
    """Whether one can dance to it; None where what was heard decides neither.

    It takes drums, a steady pulse at a pace one can step to, and energy. One thing that forbids it
    is enough for the opposite: no drums, low energy, or a genre that one sits still to.
    """
    if heard.music is not None and not heard.music.present:
        return None
    cues = _cues(heard, facts)
    against = max(cues.get(cue, 0.0) for cue in ("no drums", "low energy", "still genre"))
    groove = min(cues.get(cue, 0.0) for cue in ("drums", "dance tempo", "not low energy"))
    favour = min(groove, max(cues.get("dance genre", 0.0), NO_DANCE_GENRE))
    if max(against, favour) < ASSERTED:
        return None
    return Presence(favour > against, max(against, favour))


def _cues(heard: Heard, facts: Facts) -> Mapping[str, float]:
    """Each cue that is there, with how certain it is, 0 to 1."""
    cues: dict[str, float] = {}
    sure = heard.energy_confidence or 0.0
    if heard.energy is not None:
        cues[f"{heard.energy} energy"] = sure
        cues |= {f"not {level} energy": sure for level in ("low", "high") if level != heard.energy}
    if heard.drums is not None:
        cues["drums" if heard.drums.present else "no drums"] = heard.drums.confidence
    if facts.key.name is not None:
        cues[facts.key.name.split()[-1]] = facts.key.confidence
    if (bpm := facts.tempo.bpm) is not None:
        paces = {
            "slow": bpm < SLOW_BPM,
            "lively": bpm >= LIVELY_BPM,
            "fast": bpm >= FAST_BPM,
            "not fast": bpm < FAST_BPM,
            "dance tempo": DANCE_BPM[0] <= bpm <= DANCE_BPM[1],
        }
        cues |= {pace: facts.tempo.confidence for pace, holds in paces.items() if holds}
    if (hertz := facts.timbre.brightness_hz) is not None:
        cues |= {
            tone: 1.0
            for tone, holds in (("dull", hertz < DULL_HZ), ("brilliant", hertz >= BRILLIANT_HZ))
            if holds
        }
    if heard.genre:
        genre = max(heard.genre, key=lambda tag: tag.confidence)
        manners = {
            "dance genre": DANCE_GENRES,
            "still genre": STILL_GENRES,
            "easy genre": EASY_GENRES,
            "grave genre": GRAVE_GENRES,
            "heavy genre": HEAVY_GENRES,
        }
        cues |= {manner: genre.confidence for manner, of in manners.items() if genre.name in of}
    return cues
