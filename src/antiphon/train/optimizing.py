"""How weights move: the optimiser, its learning rate, and the moving average of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from antiphon.train.config import TrainingConfig

_LAYERS = (".layers.", ".blocks.")  # in the names of what they hold
_SHARE = "share"  # of AdamW's learning rate, that a group moves at


def new_optimizer(model: nn.Module, training: TrainingConfig) -> torch.optim.Optimizer:
    """AdamW (Loshchilov & Hutter 2019) of what is not frozen; norms and biases do not decay. With a
    `muon_learning_rate`, Muon of the matrices in the model's layers."""
    of_muon: list[Tensor] = []
    others: list[Tensor] = []
    for name, p in model.named_parameters():
        if p.requires_grad:
            in_a_layer = any(part in name for part in _LAYERS)
            by_muon = training.muon_learning_rate and p.dim() == 2 and in_a_layer
            (of_muon if by_muon else others).append(p)
    adamw = torch.optim.AdamW(
        [
            {"params": [p for p in others if p.dim() > 1], "weight_decay": training.weight_decay},
            {"params": [p for p in others if p.dim() <= 1], "weight_decay": 0.0},
        ],
        lr=training.learning_rate,
        betas=(training.beta1, training.beta2),
    )
    if not of_muon:
        return adamw
    muon = torch.optim.Muon(
        [{"params": of_muon, _SHARE: training.muon_learning_rate / training.learning_rate}],
        lr=training.muon_learning_rate,
        weight_decay=training.weight_decay,
        adjust_lr_fn="match_rms_adamw",
    )
    return _Together(muon, adamw)


class _Together(torch.optim.Optimizer):  # type: ignore[misc]  # torch is untyped here
    """Several optimisers that step as one: their groups and their state are shared with it, so that
    it is saved, scaled and clipped like any other."""

    def __init__(self, *parts: torch.optim.Optimizer) -> None:
        self._parts = parts
        super().__init__([group for part in parts for group in part.param_groups], {})
        self._share()

    def step(self, closure: None = None) -> None:
        """Of each of them."""
        for part in self._parts:
            part.step()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As of any optimiser, and the parts go on from it."""
        super().load_state_dict(state_dict)
        self._share()

    def _share(self) -> None:
        first = 0
        for part in self._parts:
            part.state = self.state
            count = len(part.param_groups)
            part.param_groups = self.param_groups[first : first + count]
            first += count


def set_learning_rates(
    optimizer: torch.optim.Optimizer, training: TrainingConfig, step: int
) -> float:
    """Those of a step; returns AdamW's, which Muon's follows in proportion."""
    rate = learning_rate(training, step)
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get(_SHARE, 1.0)
    return rate


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


def trained_state(model: nn.Module) -> dict[str, Tensor]:
    """The state dict without what is frozen. The tensors are the model's own."""
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    return {n: v.detach() for n, v in model.state_dict().items() if n not in frozen}


def load_trained_state(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Raises KeyError for names that are not those of `trained_state`, RuntimeError for tensors of
    other shapes."""
    wanted = trained_state(model).keys()
    if wanted != state.keys():
        different = sorted(wanted ^ state.keys())
        raise KeyError(f"{different[0]!r} and {len(different) - 1} more are in one of the two only")
    model.load_state_dict(state, strict=False)


class MovingAverage:
    """The exponential moving average of a model's weights."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._model = model
        self._decay = decay
        self.weights = _copied(trained_state(model))

    def follow(self, step: int) -> None:
        """After a step, counted from 0; the first ones count for more, so that the average does not
        begin as what was drawn at random (as in TensorFlow's `ExponentialMovingAverage`)."""
        decay = min(self._decay, (1 + step) / (10 + step))
        with torch.no_grad():
            for name, value in trained_state(self._model).items():
                average = self.weights[name]
                if average.is_floating_point():
                    average.lerp_(value, 1 - decay)
                else:
                    average.copy_(value)

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Go on from these, on the device of the model."""
        for name, value in self.weights.items():
            value.copy_(weights[name])

    def swap(self) -> None:
        """The model computes with the average, which holds its weights meanwhile; once more undoes
        that."""
        own = _copied(trained_state(self._model))
        load_trained_state(self._model, self.weights)
        self.weights = own


def flattened(
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


def unflattened(tensors: Mapping[str, Tensor], numbers: object) -> dict[int, dict[str, object]]:
    """The state that `flattened` took apart."""
    state: dict[int, dict[str, object]] = {}
    rest = numbers if isinstance(numbers, Mapping) else {}
    for key, value in [*tensors.items(), *rest.items()]:
        number, _, name = key.partition(".")
        state.setdefault(int(number), {})[name] = value
    return state


def _copied(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in tensors.items()}
