"""The training loop: steps, checkpoints, logs, and going on exactly where it stopped.

By Lightning's Fabric for devices, precision and gradients; not its Trainer, whose own checkpoints
lose the position in an epoch. Knows no model and no data: both come as a `Task`. What a step sees
and draws is a function of (seed, step, rank) alone, so that nothing random need be saved.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from lightning.fabric import Fabric
from torch import Tensor, nn

from antiphon.errors import ConfigError, EngineError, ModelError
from antiphon.threads import usable_cores
from antiphon.train.checkpoints import (
    VALIDATION_LOSS,
    Checkpoint,
    CheckpointFolder,
    read_checkpoint,
    validation_loss,
)
from antiphon.train.config import (
    CheckpointConfig,
    LogConfig,
    TrainerConfig,
    TrainingConfig,
    changes,
    plain,
)
from antiphon.train.logs import RunLog

CHECKPOINTS, LOG_NAME = "checkpoints", "metrics.jsonl"
# What may change between the parts of a run: none of it changes a step.
_FREE = frozenset({"experiment_name", "output_dir", "checkpoint", "log"})
Batch = Mapping[str, Tensor]
Losses = Mapping[str, Tensor]  # scalars; `total` is what is made smaller


class RunConfig(Protocol):
    """What every kind of run has in its config."""

    @property
    def trainer(self) -> TrainerConfig: ...
    @property
    def training(self) -> TrainingConfig: ...
    @property
    def checkpoint(self) -> CheckpointConfig: ...
    @property
    def log(self) -> LogConfig: ...
    @property
    def output_dir(self) -> str: ...


class Task(Protocol):
    """What is trained, on what.

    `model(batch, step)` gives losses. Everything that it needs to go on is in its state dict.
    """

    model: nn.Module

    @property
    def kept(self) -> Mapping[str, str]:
        """Texts that go into every checkpoint, such as the tokenizer; `data` tells what is learned
        from, and must be the same when the run goes on."""

    def adopt(self, kept: Mapping[str, str]) -> None:
        """Go on with these. Raises ConfigError if they are of other data."""

    def begin(self) -> None:
        """Before the first step of a new run, never of one that goes on."""

    def batch(self, position: int, rank: int, world: int) -> Batch:
        """The batch of one process, a function of these numbers alone."""

    def validation_batch(self, number: int) -> Batch | None:
        """The same for every run; None where there is no validation data."""

    def units(self, batch: Batch) -> int:
        """How much a batch is, for the pace: frames of codes, or seconds of sound."""

    def export(self, folder: Path, weights: Mapping[str, Tensor]) -> None:
        """Write the model with these weights as a folder that can be used."""


@dataclass(frozen=True)
class Finished:
    """How a run ended: at `step`, or because it was asked to stop there. Of several processes, the
    first is the one that tells and writes."""

    step: int
    stopped: bool
    is_first: bool
    checkpoint: Path
    best: Path | None


def train(
    task: Task,
    config: RunConfig,
    *,
    resume: Path | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    log: RunLog,
) -> Finished:
    """Train to the last step, or until `should_stop`, which saves first.

    `resume` is a checkpoint to go on from. Raises ConfigError if that is of a config under which it
    cannot go on, ModelError if it is damaged or of another model, EngineError when too many steps
    in a row are not finite, StorageError (DiskFullError).
    """
    return _Run(task, config, should_stop, log).run(resume)


def find_checkpoint(output: Path, resume: str | None) -> Path | None:
    """What `--resume` names: a checkpoint, or with `auto` the newest of the run, if any.

    Raises ModelError for a folder that holds none.
    """
    if resume is None:
        return None
    if resume == "auto":
        return CheckpointFolder(output / CHECKPOINTS, 1).newest()
    path = Path(resume)
    newest = CheckpointFolder(path / CHECKPOINTS, 1).newest()
    return newest or path


class _Run:
    def __init__(
        self, task: Task, config: RunConfig, should_stop: Callable[[], bool], log: RunLog
    ) -> None:
        self._task = task
        self._config = config
        self._should_stop = should_stop
        self._log = log
        trainer = config.trainer
        self._fabric = Fabric(
            accelerator=trainer.accelerator,
            devices=trainer.devices,
            num_nodes=trainer.nodes,
            precision={"fp32": "32-true"}.get(trainer.precision, trainer.precision),
        )
        self._fabric.launch()
        if not self._fabric.is_global_zero:
            log.mute()
        if self._fabric.device.type == "cpu":
            torch.set_num_threads(trainer.threads or max(1, usable_cores() // trainer.devices))
        self._folder = CheckpointFolder(
            Path(config.output_dir) / CHECKPOINTS, config.checkpoint.keep
        )
        self._model, self._optimizer = self._fabric.setup(task.model, self._new_optimizer())
        self._average: dict[str, Tensor] = {}
        self._step = 0
        self._bad_steps = 0

    def run(self, resume: Path | None) -> Finished:
        if self._fabric.is_global_zero:
            self._folder.clean()
            # A kill may have come between a save and the judgement on it.
            if (newest := self._folder.newest()) is not None:
                self._folder.mark_if_best(newest, validation_loss(newest))
        self._fabric.barrier()
        if resume is None:
            self._task.begin()
            self._average = self._weights() if self._config.training.ema_decay else {}
        else:
            self._restore(read_checkpoint(resume))
        last = self._config.training.max_steps
        saved = resume
        self._log.begin(self._step, last)
        while self._step < last and not self._agreed_to_stop():
            self._take_step()
            ends = self._step == last
            validated = None
            if ends or self._step % self._config.log.validate_every_steps == 0:
                validated = self._validate()
            if (
                ends
                or validated is not None
                or self._step % self._config.checkpoint.every_steps == 0
            ):
                saved = self._save(validated)
        stopped = self._step < last
        if saved is None or stopped:
            saved = self._save(None)
        best = self._folder.best()
        first = self._fabric.is_global_zero
        return Finished(self._step, stopped, first, saved, best[0] if best else None)

    def _take_step(self) -> None:
        training, fabric = self._config.training, self._fabric
        rate = learning_rate(training, self._step)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._model.train()
        started, waited, units = time.perf_counter(), 0.0, 0
        sums: dict[str, Tensor] = {}
        for part in range(training.accumulate):
            position = self._step * training.accumulate + part
            before = time.perf_counter()
            batch = self._task.batch(position, fabric.global_rank, fabric.world_size)
            batch = {name: fabric.to_device(tensor) for name, tensor in batch.items()}
            units += self._task.units(batch)
            waited += time.perf_counter() - before
            # All that is drawn in a step, such as what dropout drops.
            torch.manual_seed(_seed(training.seed, position, fabric.global_rank))
            with fabric.no_backward_sync(self._model, enabled=part < training.accumulate - 1):
                losses = self._model(batch, self._step)
                fabric.backward(losses["total"] / training.accumulate)
            for name, loss in losses.items():
                sums[name] = sums.get(name, 0) + loss.detach() / training.accumulate
        norm = self._clipped()
        if self._is_finite(sums["total"], norm):
            self._optimizer.step()
            self._follow_average()
        self._optimizer.zero_grad(set_to_none=True)
        self._step += 1
        if self._step % self._config.log.every_steps == 0 or self._step == 1:
            seconds = time.perf_counter() - started
            self._log.step(
                self._step,
                {name: self._mean(value) for name, value in sums.items()},
                learning_rate=rate,
                gradient_norm=norm,
                units_per_second=units * fabric.world_size / seconds,
                waited_share=waited / seconds,
                bad_steps=self._bad_steps,
            )

    def _clipped(self) -> float:
        limit = self._config.training.clip_norm
        norm = self._fabric.clip_gradients(
            self._model, self._optimizer, max_norm=limit or math.inf, error_if_nonfinite=False
        )
        return float(norm)

    def _is_finite(self, loss: Tensor, norm: float) -> bool:
        """Whether this step may be taken; EngineError if too many in a row may not."""
        # The norm is the same on all ranks, and not finite if any gradient is not.
        if math.isfinite(self._mean(loss)) and math.isfinite(norm):
            self._bad_steps = 0
            return True
        self._bad_steps += 1
        self._log.note(f"step {self._step + 1} is left out: its loss or gradient is not finite")
        most = self._config.training.max_bad_steps
        if self._bad_steps >= most:
            raise EngineError(
                f"{most} steps in a row were not finite; expected some that are: begin a new run "
                "with a lower training.learning_rate, or with trainer.precision=fp32"
            )
        return False

    def _follow_average(self) -> None:
        decay = self._config.training.ema_decay
        if not decay:
            return
        with torch.no_grad():
            for name, value in self._task.model.state_dict().items():
                average = self._average[name]
                if average.is_floating_point():
                    average.lerp_(value.detach(), 1 - decay)
                else:
                    average.copy_(value)

    def _validate(self) -> float | None:
        """The mean total loss on the validation batches."""
        self._model.eval()
        kept = self._swap(self._average) if self._average else None
        sums: dict[str, float] = {}
        count = 0
        with torch.no_grad():
            for number in range(self._config.log.validation_batches):
                batch = self._task.validation_batch(number)
                if batch is None:
                    break
                batch = {name: self._fabric.to_device(tensor) for name, tensor in batch.items()}
                for name, loss in self._model(batch, self._step).items():
                    sums[name] = sums.get(name, 0.0) + float(loss)
                count += 1
        if kept is not None:
            self._swap(kept)
        if not count:
            return None
        means = {name: value / count for name, value in sums.items()}
        self._log.validation(self._step, means)
        return means["total"] if math.isfinite(means["total"]) else None

    def _swap(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        before = self._weights()
        self._task.model.load_state_dict(weights)
        return before

    def _weights(self) -> dict[str, Tensor]:
        return {n: value.detach().clone() for n, value in self._task.model.state_dict().items()}

    def _save(self, validated: float | None) -> Path:
        path = self._folder.path_of(self._step)
        if self._fabric.is_global_zero:
            parts = {"model": _on_cpu(self._task.model.state_dict())}
            parts["optimizer"], numbers = _flattened(self._optimizer.state_dict()["state"])
            if self._average:
                parts["average"] = _on_cpu(self._average)
            state = {
                "config": plain(self._config),
                "optimizer": numbers,
                "bad_steps": self._bad_steps,
                "kept": dict(self._task.kept),
                VALIDATION_LOSS: validated,
            }
            path = self._folder.save(Checkpoint(self._step, parts, state))
            self._folder.mark_if_best(path, validated)
            self._log.saved(self._step, path)
        self._fabric.barrier()
        return path

    def _restore(self, checkpoint: Checkpoint) -> None:
        require_same_run(checkpoint.state.get("config"), plain(self._config))
        self._task.adopt(kept_of(checkpoint))
        try:
            self._task.model.load_state_dict(checkpoint.parts["model"])
            if self._config.training.ema_decay:
                device = self._fabric.device
                self._average = {
                    name: value.to(device) for name, value in checkpoint.parts["average"].items()
                }
            state = _unflattened(checkpoint.parts["optimizer"], checkpoint.state["optimizer"])
            groups = self._optimizer.state_dict()["param_groups"]
            self._optimizer.load_state_dict({"state": state, "param_groups": groups})
        except (KeyError, RuntimeError, ValueError) as error:
            raise ModelError(
                f"the checkpoint is of another model: {error}; expected one of this run"
            ) from error
        self._step = checkpoint.step
        self._bad_steps = int(str(checkpoint.state.get("bad_steps", 0)))

    def _new_optimizer(self) -> torch.optim.Optimizer:
        training = self._config.training
        # Norms and biases do not decay.
        wanted = [p for p in self._task.model.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in wanted if p.dim() > 1], "weight_decay": training.weight_decay},
            {"params": [p for p in wanted if p.dim() <= 1], "weight_decay": 0.0},
        ]
        betas = (training.beta1, training.beta2)
        return torch.optim.AdamW(groups, lr=training.learning_rate, betas=betas)

    def _mean(self, value: Tensor) -> float:
        """Over all processes."""
        if self._fabric.world_size == 1:
            return float(value)
        return float(self._fabric.all_reduce(value, reduce_op="mean"))

    def _agreed_to_stop(self) -> bool:
        """All processes, if one of them is asked to."""
        wish = torch.tensor(float(self._should_stop()))
        return self._mean(self._fabric.to_device(wish)) > 0


def learning_rate(training: TrainingConfig, step: int) -> float:
    """Of a step, counted from 0: a straight rise, then a half cosine to the end, or flat."""
    if step < training.warmup_steps:
        return training.learning_rate * (step + 1) / training.warmup_steps
    if training.schedule == "constant":
        return training.learning_rate
    whole = max(1, training.max_steps - training.warmup_steps)
    share = (1 + math.cos(math.pi * min(1.0, (step - training.warmup_steps) / whole))) / 2
    low = training.final_learning_rate
    return low + (training.learning_rate - low) * share


def require_same_run(old: object, new: Mapping[str, object]) -> None:
    """Raise ConfigError, naming what differs, for configs between which a run cannot go on."""
    if not isinstance(old, Mapping):
        raise ModelError("the checkpoint does not say its config; expected one of a run of ours")

    def fixed(config: Mapping[str, object]) -> dict[str, object]:
        return {name: value for name, value in config.items() if name not in _FREE}

    found = changes(fixed(old), fixed(new))
    if found:
        raise ConfigError(
            f"the run cannot go on with another config: {'; '.join(found)}; expected the same, or "
            "begin a new run under another experiment_name"
        )


def kept_of(checkpoint: Checkpoint) -> Mapping[str, str]:
    """What a task had put into a checkpoint."""
    kept = checkpoint.state.get("kept")
    return kept if isinstance(kept, dict) else {}


def require_same_data(old: Mapping[str, str], new: Mapping[str, str]) -> None:
    """Raise ConfigError for a run that would go on with other data."""
    if old.get("data") != new["data"]:
        raise ConfigError(
            "the data are not those that the run began with; expected the same, or begin a new run "
            "under another experiment_name"
        )


def _seed(seed: int, position: int, rank: int) -> int:
    """One number for three, far apart for near ones (the mixer of splitmix64)."""
    mixed = (seed * 0x9E3779B97F4A7C15 + position * 0xBF58476D1CE4E5B9 + rank) % (1 << 64)
    mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9 % (1 << 64)
    return (mixed ^ (mixed >> 27)) % (1 << 63)


def _on_cpu(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().cpu() for name, value in tensors.items()}


def _flattened(
    state: Mapping[int, Mapping[str, object]],
) -> tuple[dict[str, Tensor], dict[str, object]]:
    """An optimiser's state: `0.exp_avg` -> tensor, and what is no tensor."""
    tensors: dict[str, Tensor] = {}
    numbers: dict[str, object] = {}
    for number, values in state.items():
        for name, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"{number}.{name}"] = value.detach().cpu()
            else:
                numbers[f"{number}.{name}"] = value
    return tensors, numbers


def _unflattened(tensors: Mapping[str, Tensor], numbers: object) -> dict[int, dict[str, object]]:
    state: dict[int, dict[str, object]] = {}
    rest = numbers if isinstance(numbers, Mapping) else {}
    for key, value in [*tensors.items(), *rest.items()]:
        number, _, name = key.partition(".")
        state.setdefault(int(number), {})[name] = value
    return state
