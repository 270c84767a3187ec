"""Invented facts for tests of texts: as varied as recordings are, from a seed."""

from __future__ import annotations

import math
import random

from antiphon.facts import (
    SILENCE_FLOOR_DB,
    Beats,
    Clipping,
    DamageReport,
    Dynamics,
    Facts,
    KeyEstimate,
    Loudness,
    Metre,
    Silence,
    Span,
    Spans,
    Tempo,
    TempoCandidate,
    Timbre,
    Tuning,
)
from antiphon.notation import ALL_KEYS, CHORD_QUALITIES, Chord

REASONS = (
    "the recording is silent",
    "0.31 s is shorter than the 2 s it takes",
    "no steady pulse was found",
    "The sound is noise. It has no pitch.",
    "it sounds like speech",
    "BPM below 30",
)
FORMS = (
    ("A",),
    ("A", "B"),
    ("A", "B", "A"),
    ("A", "A", "B", "A"),
    ("A", "B", "A", "B", "C", "B", "A"),
    ("intro", "verse", "chorus", "verse", "chorus", "ending"),
    ("intro", "verse", "verse", "chorus", "pre-chorus", "bridge", "chorus", "chorus", "outro"),
    ("theme", "development", "theme"),
    ("Strophe ä", "Refrain"),
    ("A", "B", "C", "D", "E", "F", "G", "A", "B", "C", "D", "E", "F", "G", "H"),
    ("intro \u2013 slow", "a very long label which nobody would want to read", "", "x\ny"),
)


def invented_facts(seed: int) -> Facts:
    """The facts of a recording that never was; some measured nothing, most measured most."""
    dice = random.Random(seed)
    duration = dice.choice([dice.uniform(0.02, 12), dice.uniform(12, 90), dice.uniform(90, 420)])
    if dice.random() < 0.04:
        duration = dice.uniform(3600, 9000)
    gap = dice.choice([0.0, 0.0, 0.15, 0.6, 1.0])

    why = dice.sample([*REASONS, None], dice.choice([1, 1, 1, 2, 3]))

    def missing() -> str | None:
        return dice.choice(why) if dice.random() < gap else ""

    return Facts(
        path=f"/music/{seed}.flac",
        duration_seconds=duration,
        sample_rate=44_100,
        channels=2,
        tempo=_tempo(dice, missing()),
        beats=Beats(None),
        downbeats=Beats(None),
        metre=Metre(dice.choice([2, 3, 4, 4, 5, 7]), dice.random())
        if (reason := missing()) == ""
        else Metre(None, 0.0, reason),
        tuning=Tuning(dice.gauss(0, 15), dice.random())
        if (reason := missing()) == ""
        else Tuning(None, 0.0, reason),
        key=_key(dice, missing()),
        chords=_chords(dice, duration, missing()),
        sections=_sections(dice, duration, missing()),
        loudness=_loudness(dice, missing()),
        dynamics=_dynamics(dice, duration),
        silence=Silence(1.0 if gap == 1.0 and dice.random() < 0.5 else max(0, dice.gauss(0, 0.1))),
        clipping=Clipping(dice.choice([0, 0, 0, 1, 17, 20_480])),
        timbre=_timbre(dice, missing()),
        damage=DamageReport(
            duration,
            dice.choice([None, duration, duration, duration * 2]),
            dice.choice([(), (), (), ("lost sync at 0.5 s",)]),
        ),
    )


def _tempo(dice: random.Random, reason: str | None) -> Tempo:
    if reason != "":
        return Tempo(None, reason=reason)
    bpm = dice.uniform(45, 190)
    ratios = dice.sample([0.5, 2.0, 3.0, 1 / 3], dice.randrange(3))
    others = tuple(TempoCandidate(bpm * ratio, dice.random()) for ratio in ratios)
    return Tempo(bpm, dice.random() ** 0.5, others)


def _key(dice: random.Random, reason: str | None) -> KeyEstimate:
    if reason != "":
        return KeyEstimate(None, reason=reason)
    name, other = (key.name for key in dice.sample(ALL_KEYS, 2))
    return KeyEstimate(name, dice.random() ** 0.5, dice.choice([other, other, None]))


def _chords(dice: random.Random, duration: float, reason: str | None) -> Spans:
    if reason != "":
        return Spans(None, reason=reason)
    palette = [
        Chord(dice.randrange(12), dice.choice(list(CHORD_QUALITIES))).label
        for _ in range(dice.choice([1, 2, 4, 4, 5, 8]))
    ]
    count = max(1, min(400, round(duration / 2)))
    labels = [palette[at % len(palette)] for at in range(count)]
    for at in range(count):
        if dice.random() < dice.choice([0.0, 0.05, 0.8]):
            labels[at] = dice.choice([*palette, "N"])
    step = duration / count
    spans = [Span(at * step, (at + 1) * step, label) for at, label in enumerate(labels)]
    return Spans(tuple(spans), dice.random() ** 0.5)


def _sections(dice: random.Random, duration: float, reason: str | None) -> Spans:
    if reason != "":
        return Spans(None, reason=reason)
    labels = dice.choice(FORMS)
    cuts = [0.0, *sorted(dice.uniform(0, duration) for _ in labels[1:]), duration]
    spans = zip(cuts[:-1], cuts[1:], labels, strict=True)
    return Spans(tuple(Span(*span) for span in spans), dice.random() ** 0.5)


def _loudness(dice: random.Random, reason: str | None) -> Loudness:
    if reason != "":
        return Loudness(None, dice.choice([None, -80.0]), None, reason)
    return Loudness(
        dice.uniform(-40, -5), dice.uniform(-20, 1), dice.choice([None, dice.uniform(0, 20)])
    )


def _timbre(dice: random.Random, reason: str | None) -> Timbre:
    if reason != "":
        return Timbre(None, None, reason)
    return Timbre(dice.uniform(200, 5000), dice.choice([None, dice.random(), dice.random()]))


def _dynamics(dice: random.Random, duration: float) -> Dynamics:
    step = 0.5
    count = int(duration / step)
    slope, bulge = dice.choice([0, 0, 10, -10]), dice.choice([0, 0, 8, -8])
    fade = dice.random() < 0.2
    levels = []
    for at in range(count):
        position = at / count
        level = -20 + slope * position + bulge * math.sin(math.pi * position) + dice.gauss(0, 1)
        if fade and (count - at) * step < 8:
            level -= 40 * (1 - (count - at) * step / 8)
        levels.append(max(SILENCE_FLOOR_DB, level))
    return Dynamics(step, tuple(levels))
