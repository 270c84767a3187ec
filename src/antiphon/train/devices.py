"""Where a run computes: Lightning's Fabric for what a config says of devices and precision."""

from __future__ import annotations

import ctypes
import logging
import sys

import torch
from lightning.fabric import Fabric

from antiphon.errors import ConfigError
from antiphon.threads import usable_cores
from antiphon.train.config import TrainerConfig

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of malloc.h


def new_fabric(trainer: TrainerConfig, *, alone: bool = False) -> Fabric:
    """Not launched yet; `alone` is one device, whatever the config says.

    Raises ConfigError for a device or a precision that this machine does not have.
    """
    has_gpu = torch.cuda.is_available()
    if trainer.accelerator == "cuda" and not has_gpu:
        raise ConfigError(
            "trainer.accelerator is cuda, and this torch finds no such device; expected cpu or auto"
        )
    if trainer.precision == "16-mixed" and (trainer.accelerator == "cpu" or not has_gpu):
        raise ConfigError(
            "trainer.precision is 16-mixed, in which a processor does not compute; expected "
            "bf16-mixed or 32-true"
        )
    for name in ("lightning.fabric", "lightning.pytorch"):  # we tell what matters
        logging.getLogger(name).setLevel(logging.WARNING)
    fabric = Fabric(
        accelerator=trainer.accelerator,
        devices=1 if alone else trainer.devices,
        num_nodes=1 if alone else trainer.nodes,
        precision=trainer.precision,
    )
    if fabric.device.type == "cpu":
        _keep_memory()
        shared = 1 if alone else trainer.devices
        torch.set_num_threads(trainer.threads or max(1, usable_cores() // shared))
    return fabric


def _keep_memory() -> None:
    """Have the C library keep what it frees, where it is glibc: elsewhere there is no `mallopt`.

    Otherwise it gives tensors of more than 32 MB back to the system at once and asks for them
    anew, page by page: training the listener beside a page cache full of spectra, half of the time
    was spent on that, and a step took three times as long.
    """
    # CDLL(None), this process itself, is an error on Windows.
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, -1)
