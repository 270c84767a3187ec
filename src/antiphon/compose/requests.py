"""What is asked of a composer, and the seam to what plays it. Knows no model and no score rules."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from antiphon.audio import FloatArray, Waveform
from antiphon.compose.sampling import Sampling
from antiphon.controls import MAX_BARS, Controls
from antiphon.errors import ConfigError
from antiphon.score import Score

if TYPE_CHECKING:
    from antiphon.description import Heard
    from antiphon.facts import Facts

SYNTH = "synth"  # the model's name for which the arranger and the synth answer
DEFAULT_SECONDS = 10.0  # of a piece whose length nobody gave
MAX_SEED = (1 << 63) - 1
Hear = Callable[["Path | Waveform", "Facts"], "Heard"]  # a trained listener, handed in


@dataclass(frozen=True)
class Section:
    """Another prompt, from a second of the piece on."""

    text: str
    start_seconds: float


@dataclass(frozen=True, eq=False)
class Request:
    """One piece as it is asked for. Raises ConfigError for what no composer can take.

    `controls` are the wishes beside the prompt, `negative` a prompt to keep away from. `sections`
    follow each other; before the first, the prompt itself holds. `continuation` is what the piece
    begins with: its length counts. `melody` is followed by checkpoints that can. `score` is played
    in place of one that is arranged. `loop_bars` makes a loop of so many bars. `damage` is what was
    wrong with these recordings, for people.
    """

    prompt: str
    seed: int
    controls: Controls = field(default_factory=Controls)
    sampling: Sampling = field(default_factory=Sampling)
    negative: str | None = None
    sections: tuple[Section, ...] = ()
    continuation: Waveform | None = None
    melody: Waveform | None = None
    score: Score | None = None
    loop_bars: int | None = None
    damage: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.seed <= MAX_SEED:
            raise ConfigError(f"seed is {self.seed}; expected 0 to {MAX_SEED}")
        before = 0.0
        for section in self.sections:
            if not before < section.start_seconds < math.inf:
                raise ConfigError(
                    f"section {section.text!r} starts at {section.start_seconds:g} s; expected "
                    f"more than {before:g} s: sections follow each other, and the prompt itself is "
                    "the first"
                )
            before = section.start_seconds
        if self.loop_bars is not None and not 1 <= self.loop_bars <= MAX_BARS:
            raise ConfigError(f"loop bars is {self.loop_bars}; expected 1 to {MAX_BARS}")


@dataclass(frozen=True)
class Loop:
    """A loop within `played_samples`: it begins after `lead_samples`, of what its end sounds like,
    and what follows it is how it begins."""

    lead_samples: int
    played_samples: int


@dataclass(frozen=True, eq=False)
class Plan:
    """What is going to be played for a request.

    `samples` of sound, exactly; `wishes` are the controls and what the prompt was understood to
    say; `text` is what the model reads first, None where no model reads, `sections` what it reads
    after that; `notes` are for the user. Pieces of one `group` can be played side by side. A `loop`
    is a part of what is played.
    """

    request: Request
    samples: int
    wishes: Controls
    text: str | None
    score: Score | None
    notes: tuple[str, ...]
    sections: tuple[Section, ...] = ()
    group: object = None
    loop: Loop | None = None

    @property
    def played_samples(self) -> int:
        """As many as are played, of which a loop gives out a part."""
        return self.samples if self.loop is None else self.loop.played_samples


@dataclass(frozen=True, eq=False)
class Block:
    """More sound [C, n] of one of the pieces."""

    item: int
    samples: FloatArray


def with_length(controls: Controls) -> Controls:
    """The same controls, with a length where they have none."""
    if controls.duration_seconds or controls.bars or controls.sections:
        return controls
    return replace(controls, duration_seconds=DEFAULT_SECONDS)


class Performance(Protocol):
    """Pieces that are being played side by side."""

    @property
    def plans(self) -> tuple[Plan, ...]:
        """What is played, for each request."""

    def blocks(self) -> Iterator[Block]:
        """The sound, as soon as it is there; altogether as many samples as planned."""


class Renderer(Protocol):
    """What turns requests into sound."""

    sample_rate: int
    channels: int

    def perform(self, requests: Sequence[Request]) -> Performance:
        """Plan these requests, which begin when the first block is asked for.

        Raises ConfigError for a request that this renderer cannot play, and for requests that it
        cannot play side by side, which those of one `group` always can.
        """

    def provenance(self, request: Request) -> Mapping[str, object]:
        """`model`, `revision`, `licence` and `settings`, as they go into a piece's file."""
