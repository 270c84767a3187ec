"""Things a trained listener never heard, for tests of texts: as varied as hearing is, from a seed.

They need not fit the facts beside them: what a text may say has to follow from both as they are.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

from antiphon.controls import ENERGIES, GENRES, INSTRUMENTS, MOODS
from antiphon.description import Heard, HeardSection, Passage, Presence, Sounding, Tag
from antiphon.facts import Facts

PLAYED = tuple(name for name in INSTRUMENTS if name != "drums")


def invented_heard(seed: int, facts: Facts) -> Heard:
    """What was heard in a recording with these facts; now and then next to nothing."""
    dice = random.Random(f"heard {seed}")
    deaf = dice.random() < 0.05  # nothing surely enough to be said
    seconds = facts.duration_seconds

    def confidence() -> float:
        return dice.uniform(0, 0.49) if deaf else dice.choice([dice.random(), dice.uniform(0.5, 1)])

    def presence(*, timed: bool = False) -> Presence:
        passages = _passages(dice, seconds) if timed else ()
        return Presence(dice.random() < 0.7, 0.5 if deaf else dice.uniform(0.5, 1), passages)

    count = dice.choice([0, 1, 2, 3, 3, 4, 5, 7])
    instruments = [
        Sounding(name, confidence(), _passages(dice, seconds))
        for name in dice.sample(PLAYED, count)
    ]
    music = dice.choice([None, *[Presence(True, dice.uniform(0.5, 1))] * 6, presence()])
    sections = [
        HeardSection(
            span.start_seconds,
            span.end_seconds,
            tuple(_tags(dice, GENRES, dice.choice([0, 1, 1, 2]), confidence)),
            tuple(_tags(dice, PLAYED, dice.choice([0, 1, 2, 4]), confidence)),
            dice.choice([None, presence(), presence()]),
            *dice.choice([(None, None), (dice.choice(ENERGIES), confidence())]),
        )
        for span in facts.sections.spans or ()
    ]
    if dice.random() < 0.3:  # most recordings keep their instruments for a while
        shared = sections[0].instruments if sections else ()
        sections = [
            replace(section, instruments=shared if dice.random() < 0.6 else section.instruments)
            for section in sections
        ]
    energy = dice.choice([None, *ENERGIES])
    return Heard(
        music=music,
        genre=tuple(_tags(dice, GENRES, dice.choice([0, 1, 1, 1, 2]), confidence)),
        instruments=tuple(sorted(instruments, key=lambda one: -one.confidence)),
        drums=dice.choice([None, presence(timed=True), presence(timed=True)]),
        energy=energy,
        energy_confidence=None if energy is None else confidence(),
        moods=tuple(_tags(dice, MOODS, dice.choice([0, 1, 1, 2, 3]), confidence)),
        dance=dice.choice([None, None, presence()]),
        sections=tuple(sections) if dice.random() < 0.7 else (),
    )


def _tags(
    dice: random.Random, names: Sequence[str], count: int, confidence: Callable[[], float]
) -> list[Tag]:
    tags = [Tag(name, confidence()) for name in dice.sample(names, count)]
    return sorted(tags, key=lambda tag: -tag.confidence)


def _passages(dice: random.Random, seconds: float) -> tuple[Passage, ...]:
    if dice.random() < 0.5:
        return (Passage(0.0, seconds),)
    cuts = sorted(dice.uniform(0, seconds) for _ in range(4))
    return (Passage(cuts[0], cuts[1]), Passage(cuts[2], cuts[3]))
