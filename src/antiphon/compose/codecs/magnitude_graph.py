"""The two networks of the magnitude codec as graphs, and which tensors they are made of.

Both are ConvNeXt (Liu et al. 2022) along time, with zeros beyond both ends. Who gives a piece out
of the middle gives context with it, and throws away what was computed from the false ends.
Quantising and phases are not here. Letters: N STFT frames, F code frames, W width, L latent width.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from antiphon.graphs import GraphWriter
from antiphon.weights import Weights

if TYPE_CHECKING:
    from antiphon.compose.codecs.magnitude_config import MagnitudeConfig

KERNEL = 7  # code frames a block sees
DECODER_KERNEL = 5  # code frames the decoder's first layer sees
EXPANSION = 3  # of the width inside a block
LOUDEST_LOG = 8.0  # of a magnitude: 3000, where a full-scale sine has 256; exp must not overflow
CODEBOOKS = "quantiser.codebooks"


def encoder_context(config: MagnitudeConfig) -> int:
    """Code frames on either side that a latent depends on."""
    return config.encoder_blocks * (KERNEL // 2)


def decoder_context(config: MagnitudeConfig) -> int:
    """Code frames on either side that a magnitude depends on."""
    return config.decoder_blocks * (KERNEL // 2) + DECODER_KERNEL // 2


def shapes(config: MagnitudeConfig) -> dict[str, tuple[int, ...]]:
    """The tensors of a codec, with their shapes."""
    width, latent = config.width, config.latent_width
    joined = config.frames_per_code * config.bins
    found: dict[str, tuple[int, ...]] = {
        "mean": (config.bins,),
        "deviation": (config.bins,),
        "encoder.project.weight": (width, joined),
        "encoder.project.bias": (width,),
        "encoder.latent.weight": (latent, width),
        "encoder.latent.bias": (latent,),
        CODEBOOKS: (config.codebooks, config.codebook_size, latent),
        "decoder.project.weight": (width, latent, DECODER_KERNEL),
        "decoder.project.bias": (width,),
        "decoder.norm.weight": (width,),
        "decoder.norm.bias": (width,),
        "decoder.log_magnitude.weight": (joined, width),
        "decoder.log_magnitude.bias": (joined,),
    }
    for half, blocks in (("encoder", config.encoder_blocks), ("decoder", config.decoder_blocks)):
        for number in range(blocks):
            block = f"{half}.blocks.{number}"
            found |= {
                f"{block}.depthwise.weight": (width, 1, KERNEL),
                f"{block}.depthwise.bias": (width,),
                f"{block}.norm.weight": (width,),
                f"{block}.norm.bias": (width,),
                f"{block}.widen.weight": (EXPANSION * width, width),
                f"{block}.widen.bias": (EXPANSION * width,),
                f"{block}.narrow.weight": (width, EXPANSION * width),
                f"{block}.narrow.bias": (width,),
                f"{block}.scale": (width,),
            }
    return found


def build(folder: Path, weights: Weights, config: MagnitudeConfig) -> None:
    """Write the graphs of both halves; N is F times `frames_per_code`.

    encoder: magnitude [1, N, bins] -> latent [1, F, L]
    decoder: latent [1, F, L] -> log_magnitude [1, N, bins], ln(magnitude + log floor)
    """
    _Half(folder, weights, "encoder").write_encoder(config)
    _Half(folder, weights, "decoder").write_decoder(config)


class _Half:
    """A graph on its way, whose tensors begin with its name."""

    def __init__(self, folder: Path, weights: Weights, name: str) -> None:
        self._graph = GraphWriter(folder, name)
        self._weights = weights
        self._name = name

    def write_encoder(self, config: MagnitudeConfig) -> None:
        graph = self._graph
        x = graph.input("magnitude", "float", (1, "N", config.bins))
        x = graph.node(
            "Log", graph.node("Add", x, graph.constant(np.array(config.log_floor, np.float32)))
        )
        x = graph.node("Sub", x, self._statistic("mean"))
        x = graph.node("Div", x, self._statistic("deviation"))
        joined = config.frames_per_code * config.bins
        x = graph.node("Reshape", x, graph.constant([1, -1, joined]))  # [1, F, joined]
        x = self._linear(x, "project")
        x = self._blocks(x, config.encoder_blocks)
        x = self._linear(x, "latent")
        graph.node("Identity", x, name="latent")
        graph.output("latent", "float", (1, "F", config.latent_width))
        graph.save()

    def write_decoder(self, config: MagnitudeConfig) -> None:
        graph = self._graph
        x = graph.input("latent", "float", (1, "F", config.latent_width))
        x = self._conv(x, "project", DECODER_KERNEL, groups=1)
        x = self._blocks(x, config.decoder_blocks)
        x = self._linear(self._norm(x, "norm"), "log_magnitude")
        x = graph.node("Reshape", x, graph.constant([1, -1, config.bins]))  # [1, N, bins]
        x = graph.node("Mul", x, self._statistic("deviation"))
        graph.node("Add", x, self._statistic("mean"), name="log_magnitude")
        graph.output("log_magnitude", "float", (1, "N", config.bins))
        graph.save()

    def _blocks(self, x: str, count: int) -> str:
        for number in range(count):
            name = f"blocks.{number}"
            width = self._weights.shape(f"{self._name}.{name}.scale")[0]
            y = self._conv(x, f"{name}.depthwise", KERNEL, groups=width)
            y = self._linear(self._norm(y, f"{name}.norm"), f"{name}.widen")
            y = self._linear(self._graph.node("Gelu", y), f"{name}.narrow")
            scale = self._constant(f"{name}.scale")
            x = self._graph.node("Add", x, self._graph.node("Mul", y, scale))
        return x

    def _conv(self, x: str, name: str, kernel: int, *, groups: int) -> str:
        """[1, F, N] -> [1, F, M], along F."""
        graph = self._graph
        x = graph.node("Transpose", x, perm=[0, 2, 1])
        parts = (self._constant(f"{name}.{part}") for part in ("weight", "bias"))
        pads = [kernel // 2, kernel // 2]
        x = graph.node("Conv", x, *parts, kernel_shape=[kernel], pads=pads, group=groups)
        return graph.node("Transpose", x, perm=[0, 2, 1])

    def _linear(self, x: str, name: str) -> str:
        full = f"{self._name}.{name}"
        weight, label = self._weights.read(f"{full}.weight"), self._weights.label(f"{full}.weight")
        x = self._graph.linear(x, weight, label)
        return self._graph.node("Add", x, self._constant(f"{name}.bias"))

    def _norm(self, x: str, name: str) -> str:
        weight, bias = (
            self._weights.read(f"{self._name}.{name}.{part}") for part in ("weight", "bias")
        )
        return self._graph.layer_norm(x, weight, bias)

    def _constant(self, name: str) -> str:
        full = f"{self._name}.{name}"
        return self._graph.constant(self._weights.read(full), self._weights.label(full))

    def _statistic(self, name: str) -> str:
        return self._graph.constant(self._weights.read(name), self._weights.label(name))
