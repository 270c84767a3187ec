"""How large a run is and how long it would take, before it begins."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol

import torch
from lightning.fabric import Fabric
from torch import nn

from antiphon.train.config import RunConfig
from antiphon.train.devices import new_fabric
from antiphon.train.memory import step_bytes
from antiphon.train.task import Batch, repeated

_LONGEST_SECONDS = 8.0  # that whole batches are measured for; larger ones are scaled from less
_TRIED_SHARE = 1 / 16  # of a row


class Sizable(Protocol):
    """What of a task is needed for it; see `Task`."""

    model: nn.Module

    def largest_row(self, share: float = 1.0) -> Batch: ...


@dataclass(frozen=True)
class Size:
    """`memory_mb` is what a step takes at its largest, by `memory.step_bytes`; the pace was
    measured on `measured_share` of the largest batch, and the rest was taken to cost as much."""

    parameters: int
    trained_parameters: int
    memory_mb: int
    steps: int
    seconds_per_step: float
    hours: float
    measured_share: float


def size_of(task: Sizable, config: RunConfig, mean_share: float = 1.0) -> Size:
    """Measure forward and backward on one device; `mean_share` is how much of the largest batch
    the mean one is.

    Raises RuntimeError (torch's) where not even one row fits into memory.
    """
    training, fabric = config.training, new_fabric(config.trainer, alone=True)
    needed = step_bytes(
        task.model, repeated(task.largest_row(), training.batch_size), fabric.autocast
    )
    model = fabric.to_device(task.model).train()
    rows = training.batch_size
    share = _TRIED_SHARE / rows
    seconds = _seconds(fabric, model, task.largest_row(_TRIED_SHARE))
    if seconds < share * _LONGEST_SECONDS:
        share = 1.0
        batch = repeated(task.largest_row(), rows)
        seconds = min(_seconds(fabric, model, batch) for _ in range(2))
    pace = seconds / share * training.accumulate * mean_share
    parameters = list(task.model.parameters())
    return Size(
        sum(p.numel() for p in parameters),
        sum(p.numel() for p in parameters if p.requires_grad),
        round(needed / 1e6),
        training.max_steps,
        round(pace, 3),
        round(pace * training.max_steps / 3600, 3),
        round(share, 5),
    )


def _seconds(fabric: Fabric, model: nn.Module, batch: Batch) -> float:
    """Of one forward and backward."""
    moved = {name: fabric.to_device(tensor) for name, tensor in batch.items()}
    started = time.perf_counter()
    with fabric.autocast():
        total = model(moved, 0)["total"]
    total.backward()
    if fabric.device.type == "cuda":
        torch.cuda.synchronize()
    spent = time.perf_counter() - started
    model.zero_grad(set_to_none=True)
    return spent
