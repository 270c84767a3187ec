"""Where the time of training steps goes, by torch's profiler."""

from __future__ import annotations

from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from antiphon.files import replacing
from antiphon.train.config import RunConfig
from antiphon.train.devices import new_fabric
from antiphon.train.memory import require_memory
from antiphon.train.optimizing import new_optimizer
from antiphon.train.task import Task

_LISTED = 15  # operations


def trace(task: Task, config: RunConfig, steps: int, output: Path) -> str:
    """Take a step to warm up and trace the `steps` after it into `output`, in Chrome's format; a
    table of the dearest operations. One device; nothing of the run is written.

    Raises EngineError for batches that do not fit into memory, StorageError (DiskFullError).
    """
    fabric = new_fabric(config.trainer, alone=True)
    model, optimizer = fabric.setup(task.model, new_optimizer(task.model, config.training))
    require_memory(task, config.training.batch_size, 1, fabric.device, fabric.autocast)
    task.begin()
    model.train()

    def step(number: int) -> None:
        with torch.profiler.record_function("batch"):
            batch = task.batch(number, 0, 1)
            moved = {name: fabric.to_device(tensor) for name, tensor in batch.items()}
        with torch.profiler.record_function("forward"):
            losses = model(moved, number)
        with torch.profiler.record_function("backward"):
            fabric.backward(losses["total"])
        with torch.profiler.record_function("optimizer"):
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    step(0)
    activities = [ProfilerActivity.CPU]
    on_gpu = fabric.device.type == "cuda"
    if on_gpu:
        activities.append(ProfilerActivity.CUDA)
    with profile(activities=activities, record_shapes=True) as profiler:
        for number in range(1, steps + 1):
            step(number)
    with replacing(output) as temporary:
        profiler.export_chrome_trace(str(temporary))
    order = "self_cuda_time_total" if on_gpu else "self_cpu_time_total"
    table: str = profiler.key_averages().table(sort_by=order, row_limit=_LISTED)
    return table
