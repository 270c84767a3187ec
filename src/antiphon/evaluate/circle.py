"""The circle: prompts to the composer, its sound to the listener: was what was asked for heard?

Beside it the same scores played by instruments, which is what the ear itself makes of them
(ceiling), and the same sounds held against another piece's prompt (chance).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from random import Random

import numpy as np

from antiphon.analysis import adherence, measure
from antiphon.audio import Waveform
from antiphon.compose.arranging import arranged
from antiphon.compose.composer import Composer, collect, turned_down
from antiphon.compose.requests import Request
from antiphon.controls import ENERGIES, GENRES, Controls
from antiphon.data.synthesizing import Recipe, write_piece
from antiphon.data.tunes import tune_split
from antiphon.description import Heard
from antiphon.errors import DependencyError
from antiphon.evaluate.statistics import Estimate, correlation_of, mean_of
from antiphon.facts import Facts
from antiphon.hearing import hear
from antiphon.score import Score
from antiphon.synth import FluidSynthPlayer, find_soundfont, fit_length, render

CONTROLS = ("genre", "drums", "energy", "instruments", "tempo", "key")
SECONDS = 10.0
SEED = 930_000  # no corpus has it
_BATCH = 16
_MOST_TRIES = 400
_ASSERTED = 0.5
Play = Callable[[Score], Waveform]


@dataclass(frozen=True)
class Asked:
    """A prompt, and what it asks for; its score is of chords that no composer of ours has learned
    from."""

    request: Request
    wishes: Controls
    score: Score


@dataclass(frozen=True)
class Sounded:
    """One sound of a piece, measured and heard."""

    facts: Facts
    heard: Heard


@dataclass(frozen=True)
class ControlResult:
    """How often what was asked for was heard; a correlation for energy."""

    control: str
    heard: Estimate
    ceiling: Estimate
    chance: Estimate


@dataclass(frozen=True)
class CircleResult:
    """A row for each control; `played_by` says what played the ceiling."""

    prompts: int
    played_by: str
    rows: tuple[ControlResult, ...]


def held_out_prompts(count: int, seed: int = SEED) -> Iterator[Asked]:
    """Prompts in the words of captions, each genre as often; with seeds whose scores open with
    chords of the test split (slow ones with the few bars that there are, as other pieces may)."""
    found_so_far = 0
    for number in range(_MOST_TRIES * count + 1):
        if found_so_far == count:
            return
        recipe = Recipe(
            1, seed, SECONDS, variation="light", genres=(GENRES[found_so_far % len(GENRES)],)
        )
        piece = write_piece(recipe, number)
        draws = Random(f"{seed} {number} prompt")
        controls = Controls(duration_seconds=SECONDS)
        for _ in range(_MOST_TRIES):
            request = Request(piece.caption, draws.randrange(1 << 40), controls)
            found = arranged(request)
            if tune_split(found.score) == "test":
                # The genre that the words mean, whether it was understood or not.
                wishes = replace(found.wishes, genre=piece.truth.genre)
                yield Asked(request, wishes, found.score)
                found_so_far += 1
                break
    raise AssertionError(f"{found_so_far} of {count} prompts have a score of the test split")


def play_circle(
    composer: Composer, count: int, on_piece: Callable[[int, int], None], seed: int = SEED
) -> CircleResult:
    """Compose `count` prompts and hear them. Raises EngineError."""
    asked = list(held_out_prompts(count, seed))
    sounds: list[Sounded] = []
    for sound in composed(composer, [one.request for one in asked]):
        sounds.append(sounded(sound))
        on_piece(len(sounds), 2 * len(asked))
    ceiling: list[Sounded] = []
    with instruments() as (play, name):
        for one in asked:
            ceiling.append(sounded(fit_length(play(one.score), SECONDS)))
            on_piece(len(asked) + len(ceiling), 2 * len(asked))
    wishes = [one.wishes for one in asked]
    others = Random(seed).sample(wishes, len(wishes))
    rows = tuple(
        ControlResult(
            control, found(control, wishes, sounds), found(control, wishes, ceiling),
            found(control, others, sounds),
        )
        for control in CONTROLS
    )  # fmt: skip
    return CircleResult(len(asked), name, rows)


def composed(composer: Composer, requests: Sequence[Request]) -> Iterator[Waveform]:
    """The sounds of some requests, side by side as far as they go together."""
    for first in range(0, len(requests), _BATCH):
        performance = composer.renderer.perform(requests[first : first + _BATCH])
        for samples in collect(performance):
            yield Waveform(turned_down(samples)[0], composer.sample_rate)


@contextmanager
def instruments() -> Iterator[tuple[Play, str]]:
    """FluidSynth with this machine's soundfont, or our own; and its name."""
    with ExitStack() as stack:
        try:
            font = find_soundfont()
            player = stack.enter_context(FluidSynthPlayer(font))
        except DependencyError:
            yield render, "our own instruments"
            return
        yield player.render, font.name


def sounded(sound: Waveform) -> Sounded:
    """A sound measured and heard."""
    facts = measure(sound)
    return Sounded(facts, hear(sound, facts))


def found(control: str, wishes: Sequence[Controls], sounds: Sequence[Sounded]) -> Estimate:
    """How often one control was kept, over the pieces in which it was asked for."""
    pairs = list(zip(wishes, sounds, strict=True))
    if control == "energy":
        both = [
            (ENERGIES.index(wish.energy) / 2, level)
            for wish, sound in pairs
            if wish.energy is not None and (level := energy_level(sound.heard)) is not None
        ]
        return correlation_of([one for one, _ in both], [other for _, other in both])
    return mean_of([value for pair in pairs for value in _kept(control, *pair)])


def energy_level(heard: Heard) -> float | None:
    """As heard, 0 to 1; None where no music is."""
    curve = heard.energy_curve
    return None if curve is None or not curve.level else float(np.mean(curve.level))


def _kept(control: str, wishes: Controls, sound: Sounded) -> Sequence[float]:
    """1 for each wish of a kind that was kept, 0 for each that was not."""
    heard, facts = sound.heard, sound.facts
    names = {tag.name for tag in heard.instruments if tag.confidence >= _ASSERTED}
    if control == "instruments":
        wanted = [name in names for name in wishes.instruments if name != "drums"]
        return wanted + [name not in names for name in wishes.without if name != "drums"]
    judged = adherence(wishes, facts, heard).get(control)
    return [] if judged is None else [judged.ok]


def to_dict(result: CircleResult) -> Mapping[str, object]:
    """Plain data under the names of the JSON output."""
    rows = {
        row.control: {name: vars(getattr(row, name)) for name in ("heard", "ceiling", "chance")}
        for row in result.rows
    }
    return {"prompts": result.prompts, "played_by": result.played_by, "rows": rows}
