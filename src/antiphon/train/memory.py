"""How much memory a step takes, found without computing one.

The step is run on fake tensors, which have shapes and no content; what would be allocated and freed
on the way is counted. Close to the truth where nothing is recomputed (within 5 % of what a process
grew by); with gradient checkpointing a third less than that.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from antiphon.errors import EngineError
from antiphon.memory import free_bytes
from antiphon.train.optimizing import trained_state
from antiphon.train.task import Batch, Task, repeated

_GB = 1e9


def step_bytes(
    model: nn.Module, batch: Batch, autocast: Callable[[], AbstractContextManager[None]]
) -> int:
    """The most bytes that are held at once while a step is taken: weights, gradients, what is
    computed, the optimiser's two moments and one moving average."""
    with FakeTensorMode(allow_non_fake_inputs=True) as fake:
        parameters = {
            name: nn.Parameter(fake.from_tensor(p.detach()), requires_grad=p.requires_grad)
            for name, p in model.named_parameters()
        }
        inputs = {name: fake.from_tensor(tensor) for name, tensor in batch.items()}
        # Buffers stay as they are: a model may ask what is in them.
        held = [*parameters.values(), *model.buffers(), *inputs.values()]
        with _Peak(held) as peak:
            with autocast():
                losses = torch.func.functional_call(model, parameters, (inputs, 0))
            losses["total"].backward()
    moved: int = sum(_bytes(value) for value in trained_state(model).values())
    return int(peak.bytes) + 3 * moved


def require_memory(
    task: Task,
    rows: int,
    processes: int,
    device: torch.device,  # that the model is on
    autocast: Callable[[], AbstractContextManager[None]],
) -> None:
    """Raise EngineError, which says what would fit, for batches of more `rows` than memory has room
    for; `processes` share it."""
    free = _free(device)
    if free is None:
        return
    row = {name: tensor.to(device) for name, tensor in task.largest_row().items()}
    here = sum(_bytes(tensor) for tensor in task.model.state_dict().values())

    def needed(count: int) -> int:
        return processes * (step_bytes(task.model, repeated(row, count), autocast) - here)

    wanted = needed(rows)
    if wanted <= free:
        return
    least = needed(1)
    each = (wanted - least) / max(1, rows - 1)
    fits = min(rows - 1, 1 + math.floor((free - least) / each)) if each and least <= free else 0
    way_out = (
        f"training.batch_size={fits} or less (with training.accumulate={math.ceil(rows / fits)} a "
        "step sees as much)"
        if fits
        else "a smaller model or shorter crops: not even one row fits"
    )
    raise EngineError(
        f"training.batch_size={rows} needs about {wanted / _GB:.1f} GB, and {free / _GB:.1f} GB "
        f"are free; expected {way_out}, or model.gradient_checkpointing=true, where it is not set"
    )


def out_of_memory(error: RuntimeError) -> bool:
    """Whether a device or the system had no more."""
    said = str(error)
    return isinstance(error, torch.OutOfMemoryError) or "allocate memory" in said


def _free(device: torch.device) -> int | None:
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return free_bytes() if device.type == "cpu" else None


def _bytes(tensor: Tensor) -> int:
    size: int = tensor.numel() * tensor.element_size()
    return size


class _Peak(TorchDispatchMode):  # type: ignore[misc]  # torch is untyped here
    """Counts the bytes of storages that are alive."""

    def __init__(self, held: list[Tensor]) -> None:
        super().__init__()
        self.bytes = self._now = 0
        self._alive: dict[int, weakref.ref[torch.UntypedStorage]] = {}
        for tensor in held:
            self._count(tensor)

    def __torch_dispatch__(
        self,
        func: Callable[..., object],
        types: object,
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        out = func(*args, **(kwargs or {}))
        return tree_map_only(Tensor, self._count, out)

    def _count(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        known = self._alive.get(id(storage))
        if known is None or known() is not storage:
            size = storage.nbytes()
            self._now += size
            self.bytes = max(self.bytes, self._now)
            self._alive[id(storage)] = weakref.ref(storage, self._gone(id(storage), size))
        return tensor

    def _gone(self, key: int, size: int) -> Callable[[object], None]:
        def end(_: object) -> None:
            self._now -= size
            self._alive.pop(key, None)

        return end
