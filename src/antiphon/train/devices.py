"""Where a run computes: Lightning's Fabric for what a config says of devices and precision."""

from __future__ import annotations

import logging

import torch
from lightning.fabric import Fabric

from antiphon.errors import ConfigError
from antiphon.threads import usable_cores
from antiphon.train.config import TrainerConfig


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
        shared = 1 if alone else trainer.devices
        torch.set_num_threads(trainer.threads or max(1, usable_cores() // shared))
    return fabric
