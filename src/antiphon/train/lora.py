"""Low-rank adaptation (Hu et al. 2021) of a decoder: its weights stay, small products beside them
are trained."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors.numpy import save
from torch import Tensor, nn
from torch.nn import functional

from antiphon.compose.lm import Decoder, Layer
from antiphon.compose.lora import LORA_CONFIG_NAME, LORA_WEIGHTS_NAME
from antiphon.files import atomic_write
from antiphon.train.config import LoraConfig
from antiphon.weights import Float32

# The linear parts of a layer of `lm.Layer`, under transformers' name of what they belong to.
_PARTS: Mapping[str, tuple[str, ...]] = {
    "self_attn": ("qkv", "self_out"),
    "encoder_attn": ("cross_query", "cross_key_value", "cross_out"),
    "fc": ("widen", "narrow"),
}
_NEW = ("down", "up")  # the names of LoRA's own tensors


class FrozenLinear(nn.Linear):  # type: ignore[misc]  # torch is untyped here
    """A linear layer that is not trained, kept in the type that it is computed in."""

    def __init__(self, like: nn.Linear, dtype: torch.dtype) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = like.in_features, like.out_features
        self.weight = nn.Parameter(like.weight.detach().to(dtype), requires_grad=False)
        bias = like.bias
        self.bias = None if bias is None else nn.Parameter(bias.detach(), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """Also where there is no autocast, as in sampling."""
        if torch.is_autocast_enabled(x.device.type):
            return functional.linear(x, self.weight, self.bias)
        return functional.linear(x, self.weight.to(x.dtype), self.bias)


class LoraLinear(FrozenLinear):
    """W x + alpha / rank * up(down(x)); `up` begins with zeros, so that at first it is W x."""

    def __init__(self, like: nn.Linear, dtype: torch.dtype, config: LoraConfig) -> None:
        super().__init__(like, dtype)
        self.scale = config.alpha / config.rank
        self._dropout = config.dropout
        self.down = nn.Parameter(torch.empty(config.rank, self.in_features))
        self.up = nn.Parameter(torch.zeros(self.out_features, config.rank))
        nn.init.kaiming_uniform_(self.down, a=5**0.5)  # as linear layers begin

    def forward(self, x: Tensor) -> Tensor:
        seen = functional.dropout(x, self._dropout, self.training)
        added = functional.linear(functional.linear(seen, self.down), self.up)
        return super().forward(x) + self.scale * added

    def change(self) -> Tensor:
        """What is added to the weight, [out, in]."""
        change: Tensor = self.scale * (self.up @ self.down)
        return change


def freeze(decoder: Decoder, dtype: torch.dtype) -> None:
    """Train nothing of it; its linear layers are kept in `dtype`."""
    decoder.requires_grad_(False)
    for module in list(decoder.modules()):
        for name, child in list(module.named_children()):
            if type(child) is nn.Linear:
                setattr(module, name, FrozenLinear(child, dtype))


def add_lora(decoder: Decoder, config: LoraConfig) -> None:
    """To a decoder that is frozen."""
    for layer in decoder.layers:
        for name in (name for target in config.targets for name in _PARTS[target]):
            linear = getattr(layer, name)
            setattr(layer, name, LoraLinear(linear, linear.weight.dtype, config))


def change_of(decoder: Decoder) -> float:
    """How large what is added is beside the weights: the mean over layers of the ratio of their
    Frobenius norms. 0 at first."""
    with torch.no_grad():
        ratios = [
            float(part.change().norm() / part.weight.float().norm()) for _, part in _parts(decoder)
        ]
    return sum(ratios) / len(ratios)


def merged(
    name: str, weight: Float32, weights: Mapping[str, Tensor], config: LoraConfig
) -> Float32:
    """The weight of a decoder's parameter `name` with what `weights`, of a trained state, add."""
    place = name.removesuffix("weight")
    down, up = (weights.get(f"{place}{part}") for part in _NEW)
    if down is None or up is None:
        return weight
    change: Float32 = (config.alpha / config.rank * (up.float() @ down.float())).cpu().numpy()
    return weight + change


def write_peft(
    folder: Path,
    config: LoraConfig,
    weights: Mapping[str, Tensor],
    sources: Mapping[str, tuple[str, ...]],
    base: str,
) -> None:
    """Write it as PEFT reads it for transformers' model; `weights` are of a decoder's trained
    state, `sources` those of `Decoder.sources`.

    Where ours holds several layers of transformers' in one they share `lora_A`. Raises StorageError
    (DiskFullError).
    """
    tensors, modules = {}, set()
    for name, joined in sources.items():
        place = name.removesuffix("weight")
        down, up = (weights.get(f"{place}{part}") for part in _NEW)
        if down is None or up is None:
            continue
        for source, part in zip(joined, up.chunk(len(joined)), strict=True):
            module = source.removesuffix(".weight")
            modules.add(module.partition("layers.")[2].partition(".")[2])
            for kind, tensor in (("lora_A", down), ("lora_B", part)):
                key = f"base_model.model.{module}.{kind}.weight"
                tensors[key] = tensor.float().cpu().contiguous().clone().numpy()
    values = {
        "peft_type": "LORA",
        "base_model_name_or_path": base,
        "r": config.rank,
        "lora_alpha": config.alpha,
        "lora_dropout": config.dropout,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "target_modules": r"decoder\.model\.decoder\.layers\.\d+\.("
        + "|".join(name.replace(".", r"\.") for name in sorted(modules))
        + ")",
    }
    folder.mkdir(parents=True, exist_ok=True)
    atomic_write(folder / LORA_WEIGHTS_NAME, save(tensors, metadata={"format": "pt"}))
    atomic_write(folder / LORA_CONFIG_NAME, f"{json.dumps(values, indent=2)}\n".encode())


def _parts(decoder: Decoder) -> Iterator[tuple[str, LoraLinear]]:
    for number, layer in enumerate(decoder.layers):
        assert isinstance(layer, Layer), "a decoder's layer"
        for name, child in layer.named_children():
            if isinstance(child, LoraLinear):
                yield f"layers.{number}.{name}", child
