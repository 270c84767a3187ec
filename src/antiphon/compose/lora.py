"""LoRA (Hu et al. 2021) for a decoder, as PEFT or `antiphon train` wrote it, added to its weights.

W becomes W + alpha / rank * B A, in tensors of transformers' names; nothing of it is left in the
graphs that are made, so that it costs nothing to play.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from antiphon.compose.config_values import ConfigValues
from antiphon.errors import ModelError
from antiphon.files import storage_error
from antiphon.weights import Float32, Weights

LORA_CONFIG_NAME, LORA_WEIGHTS_NAME = "adapter_config.json", "adapter_model.safetensors"
_TUNED = "decoder."  # of a MusicGen: the text encoder and the codec stay as they are
_DOWN = re.compile(r"base_model\.model\.(.+)\.lora_A\.weight")


@dataclass(frozen=True)
class Lora:
    """A folder of LoRA: `scale` of what each of `modules` gets."""

    folder: Path
    scale: float
    modules: tuple[str, ...]
    checksum: str


def is_lora(folder: Path) -> bool:
    """Whether a folder is one of PEFT's."""
    return (folder / LORA_CONFIG_NAME).is_file()


def read_lora(folder: Path) -> Lora:
    """Raises ModelError for a folder that is damaged, or of another kind than plain LoRA."""
    values = ConfigValues.load(folder, LORA_CONFIG_NAME)
    values.expect("peft_type", "LORA", None)
    for name in ("use_dora", "use_rslora", "fan_in_fan_out", "rank_pattern", "alpha_pattern"):
        if values.values().get(name):
            values.refuse(name, "none, as in plain LoRA")
    rank, alpha = values.count("r"), values.get("lora_alpha", float, 0.0)
    if alpha <= 0.0:
        values.refuse("lora_alpha", "a number above 0")
    path = folder / LORA_WEIGHTS_NAME
    if not path.is_file():
        raise ModelError(f"{folder} has no {LORA_WEIGHTS_NAME}; expected a LoRA that PEFT saved")
    try:
        content = path.read_bytes() + (folder / LORA_CONFIG_NAME).read_bytes()
    except OSError as error:
        raise storage_error("read", path, error) from error
    with Weights((path,)) as weights:
        modules = [found[1] for name in weights if (found := _DOWN.fullmatch(name))]
        if 2 * len(modules) != len(list(weights)):
            raise ModelError(
                f"{path} holds more than lora_A and lora_B of linear layers; expected a LoRA of "
                "these alone"
            )
        for module in modules:
            _require_whole(weights, module, rank, path)
    return Lora(folder, alpha / rank, tuple(modules), hashlib.sha256(content).hexdigest())


def _require_whole(weights: Weights, module: str, rank: int, path: Path) -> None:
    down, up = (weights.shape(name) for name in _names(module))
    if len(down) != 2 or len(up) != 2 or down[0] != rank or up[1] != rank:
        raise ModelError(
            f"{path}: lora_A and lora_B of {module} have the shapes {down} and {up}; expected "
            f"[{rank}, in] and [out, {rank}], as r says"
        )
    if not module.startswith(_TUNED):
        raise ModelError(
            f"{path} changes {module}; expected a LoRA of the decoder alone: the text encoder and "
            "the codec are played as they are"
        )


@contextmanager
def tuned(weights: Weights, loras: Sequence[Lora]) -> Iterator[Weights]:
    """The same weights with what all of `loras` add to them. Raises ModelError for one of another
    model."""
    added: dict[str, list[Callable[[], Float32]]] = {}
    with ExitStack() as stack:
        for lora in loras:
            own = stack.enter_context(Weights((lora.folder / LORA_WEIGHTS_NAME,)))
            for module in lora.modules:
                name = f"{module}.weight"
                _require_fits(weights, name, lora, own)
                added.setdefault(name, []).append(partial(_change, own, lora.scale, module))
        yield weights.with_added(added)


def _change(weights: Weights, scale: float, module: str) -> Float32:
    down, up = (weights.read(name) for name in _names(module))
    change: Float32 = scale * (up @ down)
    return change


def _require_fits(weights: Weights, name: str, lora: Lora, own: Weights) -> None:
    down, up = (own.shape(one) for one in _names(name.removesuffix(".weight")))
    if name not in weights or weights.shape(name) != (up[0], down[1]):
        there = weights.shape(name) if name in weights else "no such tensor"
        raise ModelError(
            f"the LoRA of {lora.folder} changes {name} of the shape {(up[0], down[1])}, and the "
            f"model has {there}; expected the model that it was trained for"
        )


def _names(module: str) -> tuple[str, str]:
    return (f"base_model.model.{module}.lora_A.weight", f"base_model.model.{module}.lora_B.weight")
