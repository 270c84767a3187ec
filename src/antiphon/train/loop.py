"""The training loop: steps, checkpoints, logs, and going on exactly where it stopped.

By Lightning's Fabric for devices, precision and gradients; not its Trainer, whose own checkpoints
lose the position in an epoch. Knows no model and no data: both come as a `Task`. What a step sees
and draws is a function of (seed, step, rank) alone, so that nothing random need be saved.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from antiphon.errors import AntiphonError, ConfigError, EngineError, ModelError
from antiphon.train.checkpoints import (
    VALIDATION_LOSS,
    Checkpoint,
    CheckpointFolder,
    read_checkpoint,
    validation_loss,
)
from antiphon.train.config import RunConfig, plain
from antiphon.train.devices import new_fabric
from antiphon.train.logs import RunLog, Sound
from antiphon.train.memory import out_of_memory, require_memory
from antiphon.train.optimizing import (
    MovingAverage,
    flattened,
    load_trained_state,
    new_optimizer,
    set_learning_rates,
    trained_state,
    unflattened,
)
from antiphon.train.resuming import CHECKPOINTS, kept_of, require_same_run
from antiphon.train.task import Batch, Losses, Task

SAMPLES = "samples"  # the folder of sounds in a run's


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
    try:
        return _Run(task, config, should_stop, log).run(resume)
    finally:
        # Or its threads may be alive when the process ends, which aborts it then.
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


class _Run:
    def __init__(
        self, task: Task, config: RunConfig, should_stop: Callable[[], bool], log: RunLog
    ) -> None:
        self._task = task
        self._config = config
        self._should_stop = should_stop
        self._log = log
        self._fabric = new_fabric(config.trainer)
        self._fabric.launch()
        if not self._fabric.is_global_zero:
            log.mute()
        self._output = Path(config.output_dir)
        self._folder = CheckpointFolder(self._output / CHECKPOINTS, config.checkpoint.keep)
        optimizer = new_optimizer(task.model, config.training)
        self._model, self._optimizer = self._fabric.setup(task.model, optimizer)
        self._scaler: torch.amp.GradScaler | None = getattr(self._fabric._precision, "scaler", None)
        self._average: MovingAverage | None = None
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
            self._require_memory()
            self._task.begin()
        if self._config.training.ema_decay:
            self._average = MovingAverage(self._task.model, self._config.training.ema_decay)
        if resume is not None:
            self._restore(read_checkpoint(resume))
        self._require_one_beginning()
        last = self._config.training.max_steps
        saved = resume
        self._log.begin(self._step, last)
        for note in self._task.notes:
            self._log.note(note)
        if resume is None:
            self._validate()
        while self._step < last and not self._agreed_to_stop():
            self._take_step()
            saved = self._at_intervals(ends=self._step == last) or saved
        stopped = self._step < last
        if saved is None or stopped:
            self._log.note(f"stopping after step {self._step}, saving; once more stops at once")
            saved = self._save({})
        best = self._folder.best()
        first = self._fabric.is_global_zero
        return Finished(self._step, stopped, first, saved, best[0] if best else None)

    def _at_intervals(self, *, ends: bool) -> Path | None:
        """What is due after a step; the checkpoint, if there is one."""
        log, saved = self._config.log, None
        validated = {}
        if ends or self._step % log.validate_every_steps == 0:
            validated = self._validate()
        if ends or validated or self._step % self._config.checkpoint.every_steps == 0:
            saved = self._save(validated)
        if log.samples_every_steps and (ends or self._step % log.samples_every_steps == 0):
            self._sample()
        return saved

    def _take_step(self) -> None:
        training, fabric = self._config.training, self._fabric
        rate = set_learning_rates(self._optimizer, training, self._step)
        self._model.train()
        started = time.perf_counter()
        batches = self._batches()
        units = [self._task.units(batch) for batch in batches]
        everywhere = self._sum(sum(units))
        waited = time.perf_counter() - started
        sums: dict[str, Tensor] = {}
        for part, batch in enumerate(batches):
            position = self._step * training.accumulate + part
            # All that is drawn in a step, such as what dropout drops.
            torch.manual_seed(_seed(training.seed, position, fabric.global_rank))
            # The mean over all that the step sees, however it is dealt out.
            share = units[part] * fabric.world_size / everywhere
            more = part < training.accumulate - 1
            for name, loss in self._losses(batch, share, more=more).items():
                sums[name] = sums.get(name, 0) + loss * share
        norm = self._clipped()
        finite = self._is_finite(sums["total"], norm)
        if finite or self._scaler is not None:  # which leaves it out itself, and scales less
            self._optimizer.step()
        if finite and self._average is not None:
            self._average.follow(self._step)
        self._optimizer.zero_grad(set_to_none=True)
        self._step += 1
        self._log.took(self._step)
        if self._step % self._config.log.every_steps == 0 or self._step == 1:
            seconds = time.perf_counter() - started
            self._log.step(
                self._step,
                {name: self._mean(value) for name, value in sums.items()},
                learning_rate=rate,
                gradient_norm=norm,
                units_per_second=everywhere / seconds,
                waited_share=waited / seconds,
                bad_steps=self._bad_steps,
            )

    def _batches(self) -> list[Batch]:
        """Of a step, one for each part of it."""
        parts, fabric = self._config.training.accumulate, self._fabric
        return [
            self._task.batch(self._step * parts + part, fabric.global_rank, fabric.world_size)
            for part in range(parts)
        ]

    def _losses(self, batch: Batch, share: float, *, more: bool) -> Losses:
        """Of a part of a step, whose gradients are added; `more` parts come."""
        fabric = self._fabric
        try:
            moved = {name: fabric.to_device(tensor) for name, tensor in batch.items()}
            with fabric.no_backward_sync(self._model, enabled=more):
                losses: Losses = self._model(moved, self._step)
                fabric.backward(losses["total"] * share)
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            rows = self._config.training.batch_size
            raise EngineError(
                f"memory ran out in step {self._step + 1} with training.batch_size={rows}; "
                f"expected {_smaller(rows)}, or model.gradient_checkpointing=true, in a new run: "
                "this one does not go on with another"
            ) from error
        return {name: loss.detach() for name, loss in losses.items()}

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
                "with a lower training.learning_rate, or with trainer.precision=32-true"
            )
        return False

    def _validate(self) -> dict[str, float]:
        """The mean losses on the validation batches; empty where there are none."""
        self._model.eval()
        sums: dict[str, float] = {}
        seen = 0
        with self._averaged(), torch.no_grad():
            for number in range(self._config.log.validation_batches):
                batch = self._task.validation_batch(number)
                if batch is None:
                    break
                units = self._task.units(batch)
                batch = {name: self._fabric.to_device(tensor) for name, tensor in batch.items()}
                for name, loss in self._model(batch, self._step).items():
                    sums[name] = sums.get(name, 0.0) + float(loss) * units
                seen += units
        if not seen:
            return {}
        means = {name: value / seen for name, value in sums.items()}
        self._log.validation(self._step, {**means, **self._task.figures()})
        return means

    def _sample(self) -> None:
        if not self._fabric.is_global_zero:
            return
        self._model.eval()
        folder = self._output / SAMPLES / f"step-{self._step:09}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with self._averaged(), torch.no_grad():
                made = self._task.samples(folder, self._config.log.samples)
        except (AntiphonError, OSError) as error:  # what is learned does not hang on it
            self._log.note(f"no sounds after {self._step}: {error}")
            return
        self._log.sounds(self._step, [Sound(name, path) for name, path in made])

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """The model computes with the average of its weights, if there is one."""
        if self._average is not None:
            self._average.swap()
        try:
            yield
        finally:
            if self._average is not None:
                self._average.swap()

    def _save(self, validated: Mapping[str, float]) -> Path:
        path = self._folder.path_of(self._step)
        failed: AntiphonError | None = None
        if self._fabric.is_global_zero:
            try:
                path = self._folder.save(self._checkpoint(validated))
                self._folder.mark_if_best(path, validation_loss(path))
                self._log.saved(self._step, path)
            except AntiphonError as error:
                failed = error  # the others wait for an answer
        if self._sum(failed is not None):
            raise failed or EngineError("the first process could not save; its error says why")
        return path

    def _checkpoint(self, validated: Mapping[str, float]) -> Checkpoint:
        parts = {"model": _on_cpu(trained_state(self._task.model))}
        parts["optimizer"], numbers = flattened(self._optimizer.state_dict()["state"])
        if self._average is not None:
            parts["average"] = _on_cpu(self._average.weights)
        total = validated.get("total", math.nan)
        state = {
            "config": plain(self._config),
            "optimizer": numbers,
            "scaler": None if self._scaler is None else self._scaler.state_dict(),
            "bad_steps": self._bad_steps,
            "kept": dict(self._task.kept),
            "validation": {n: v for n, v in validated.items() if math.isfinite(v)},
            VALIDATION_LOSS: total if math.isfinite(total) else None,
        }
        return Checkpoint(self._step, parts, state)

    def _restore(self, checkpoint: Checkpoint) -> None:
        require_same_run(checkpoint.state.get("config"), plain(self._config))
        self._task.adopt(kept_of(checkpoint))
        try:
            load_trained_state(self._task.model, checkpoint.parts["model"])
            if self._average is not None:
                self._average.load(checkpoint.parts["average"])
            state = unflattened(checkpoint.parts["optimizer"], checkpoint.state["optimizer"])
            groups = self._optimizer.state_dict()["param_groups"]
            self._optimizer.load_state_dict({"state": state, "param_groups": groups})
            if self._scaler is not None:
                self._scaler.load_state_dict(checkpoint.state["scaler"])
        except (KeyError, RuntimeError, ValueError, TypeError) as error:
            raise ModelError(
                f"the checkpoint is of another model: {error}; expected one of this run"
            ) from error
        self._step = checkpoint.step
        self._bad_steps = int(str(checkpoint.state.get("bad_steps", 0)))

    def _require_one_beginning(self) -> None:
        differs = self._sum(self._step) != self._step * self._fabric.world_size
        if self._sum(differs):
            raise ConfigError(
                f"the processes begin at different steps, this one at {self._step}; expected all "
                f"nodes to see the same {self._output}, on storage that they share"
            )

    def _require_memory(self) -> None:
        trainer, device = self._config.trainer, self._fabric.device
        processes = trainer.devices if device.type == "cpu" else 1
        require_memory(
            self._task, self._config.training.batch_size, processes, device, self._fabric.autocast
        )

    def _mean(self, value: Tensor) -> float:
        """Over all processes."""
        if self._fabric.world_size == 1:
            return float(value)
        return float(self._fabric.all_reduce(value, reduce_op="mean"))

    def _sum(self, value: float) -> float:
        """Over all processes."""
        if self._fabric.world_size == 1:
            return float(value)
        wanted = self._fabric.to_device(torch.tensor(float(value), dtype=torch.float64))
        return float(self._fabric.all_reduce(wanted, reduce_op="sum"))

    def _agreed_to_stop(self) -> bool:
        """All processes, if one of them is asked to."""
        return self._sum(self._should_stop()) > 0


def _seed(seed: int, position: int, rank: int) -> int:
    """One number for three, far apart for near ones (the mixer of splitmix64)."""
    mixed = (seed * 0x9E3779B97F4A7C15 + position * 0xBF58476D1CE4E5B9 + rank) % (1 << 64)
    mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9 % (1 << 64)
    return (mixed ^ (mixed >> 27)) % (1 << 63)


def _smaller(rows: int) -> str:
    if rows == 1:
        return "shorter crops or a smaller model"
    return f"training.batch_size={rows // 2} with training.accumulate twice as high"


def _on_cpu(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().cpu() for name, value in tensors.items()}
