"""What the training loop is given: a task, which knows its model and its data, and a config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from torch import Tensor, nn

Batch = Mapping[str, Tensor]
Losses = Mapping[str, Tensor]  # scalars; `total` is what is made smaller


class Task(Protocol):
    """What is trained, on what.

    `model(batch, step)` gives losses, each the mean over what `units` counts. Everything that it
    needs to go on is in its state dict, frozen parameters aside: those are loaded again.
    """

    model: nn.Module

    @property
    def kept(self) -> Mapping[str, str]:
        """Texts that go into every checkpoint, such as the tokenizer, and suffice to export it;
        `data` tells what is learned from, and must be the same when the run goes on."""

    @property
    def notes(self) -> Sequence[str]:
        """What is to be told before the first step, such as data that were left out."""

    def adopt(self, kept: Mapping[str, str]) -> None:
        """Go on with these. Raises ConfigError if they are of other data."""

    def begin(self) -> None:
        """Before the first step of a new run, never of one that goes on."""

    def batch(self, position: int, rank: int, world: int) -> Batch:
        """The batch of one process, a function of these numbers alone."""

    def largest_row(self, share: float = 1.0) -> Batch:
        """A batch of one row, as long as any that will come, or that `share` of it."""

    def validation_batch(self, number: int) -> Batch | None:
        """The same for every run; None where there is no validation data."""

    def units(self, batch: Batch) -> int:
        """How much a batch is, for the pace: frames of codes, or seconds of sound."""

    def figures(self) -> Mapping[str, float]:
        """More to be told at each validation, by name; often nothing."""

    def samples(self, folder: Path, count: int) -> Sequence[tuple[str, Path]]:
        """Sound that the model makes as it is now, written into `folder`, which is there: names
        and files."""


def repeated(batch: Batch, rows: int) -> Batch:
    """A batch of one row as one of so many, without taking more memory."""
    return {name: tensor.expand(rows, *tensor.shape[1:]) for name, tensor in batch.items()}
