"""The convolutions of EnCodec as data: which there are, the tensors they need, how far they see.

Défossez et al. 2022, "High Fidelity Neural Audio Compression"; the names and paddings are those of
transformers. Knows shapes only: no weights, no graphs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil

from antiphon.compose.checkpoint import CodecConfig

_MANY = 1 << 20  # frames: so far from the beginning its reflection needs nothing more


@dataclass(frozen=True)
class Conv:
    """A convolution over time, padded by reflection; lengths in its own input or output steps.

    `up`: transposed with kernel 2 * stride; `left` and `right` are then what is trimmed.
    """

    name: str
    inputs: int
    outputs: int
    kernel: int
    left: int
    right: int
    stride: int = 1
    dilation: int = 1
    up: bool = False
    activated: bool = True
    """An ELU stands before it."""

    @property
    def weight_shape(self) -> tuple[int, int, int]:
        first, second = (self.inputs, self.outputs) if self.up else (self.outputs, self.inputs)
        return (first, second, self.kernel)

    def before(self, before: int) -> int:
        """Input steps left of a cut that steps right of it and `before` outputs left of it see."""
        if self.up:
            return 1 - (self.left - before) // self.stride
        return before * self.stride + self.left

    def needed(self, outputs: int) -> int:
        """Input steps from the beginning that make the first `outputs` outputs, if more follow.

        The reflection at the beginning needs its steps, however few outputs there shall be.
        """
        if self.up:
            return (outputs - 1 + self.left) // self.stride + 1
        seen = (outputs - 1) * self.stride + (self.kernel - 1) * self.dilation + 1 - self.left
        return max(seen, max(self.left, self.right) + 1)


@dataclass(frozen=True)
class Block:
    """x + second(first(x)); with a shortcut, shortcut(x) + second(first(x))."""

    first: Conv
    second: Conv
    shortcut: Conv | None


@dataclass(frozen=True)
class Stack:
    """Convolutions one after the other, and what of their input a stretch of output depends on."""

    layers: tuple[Conv | Block, ...]

    def convs(self) -> Iterator[Conv]:
        for layer in self.layers:
            if isinstance(layer, Conv):
                yield layer
            else:
                yield from (layer.first, layer.second)
                if layer.shortcut:
                    yield layer.shortcut

    def _main(self) -> list[Conv]:
        """From the output to the input; a shortcut has kernel 1 and sees nothing that is far."""
        return [conv for conv in self.convs() if conv.kernel > 1][::-1]

    def before(self) -> int:
        """Input steps left of a cut that are needed for the outputs right of it."""
        before = 0
        for conv in self._main():
            before = conv.before(before)
        return before

    def needed(self, outputs: int) -> int:
        """Input steps from the beginning that make the first `outputs` outputs, if more follow."""
        for conv in self._main():
            outputs = conv.needed(outputs)
        return outputs


@dataclass(frozen=True)
class Window:
    """How far a stack sees, in whole code frames.

    `before` and `ahead` are the context left and right of what is computed. There may be less at
    the ends of the signal, where the graph reflects.
    """

    before: int
    ahead: int
    needed: Callable[[int], int]
    """Frames of input from the beginning that make the first n > 0 frames, if more follow."""

    @classmethod
    def of(cls, stack: Stack, inputs_per_frame: int, outputs_per_frame: int) -> Window:
        def needed(frames: int) -> int:
            return ceil(stack.needed(frames * outputs_per_frame) / inputs_per_frame)

        return cls(ceil(stack.before() / inputs_per_frame), needed(_MANY) - _MANY, needed)

    def ready(self, frames: int) -> int:
        """How many frames can be computed from the first `frames`, if more follow."""
        made = frames - self.ahead
        return made if made > 0 and self.needed(made) <= frames else 0


@dataclass(frozen=True)
class Half:
    """The encoder or the decoder: convolutions, an LSTM, convolutions.

    A code frame is `steps_in` steps of the input and `steps_out` of the output.
    """

    name: str
    reading: Stack
    lstm: str
    writing: Stack
    steps_in: int
    steps_out: int
    channels_in: int
    channels_out: int
    width: int
    """Channels at the LSTM, where a step is a frame."""

    def reading_window(self) -> Window:
        return Window.of(self.reading, self.steps_in, 1)

    def writing_window(self) -> Window:
        return Window.of(self.writing, 1, self.steps_out)

    @property
    def look_ahead_frames(self) -> int:
        """Frames that must follow a frame before all that it makes is known."""
        return self.reading_window().ahead + self.writing_window().ahead

    def convs(self) -> Iterator[Conv]:
        yield from self.reading.convs()
        yield from self.writing.convs()


def encoder(config: CodecConfig) -> Half:
    """Samples to embeddings; numbered as in transformers, where an ELU has a number too."""
    channels = config.filters
    first = _conv(
        config, "encoder.layers.0", config.channels, channels, config.kernel, activated=False
    )
    layers: list[Conv | Block] = [first]
    number = 1
    for ratio in reversed(config.ratios):
        for depth in range(config.residual_layers):
            layers.append(_block(config, f"encoder.layers.{number}", channels, depth))
            number += 1
        name = f"encoder.layers.{number + 1}"
        layers.append(_conv(config, name, channels, 2 * channels, 2 * ratio, stride=ratio))
        number, channels = number + 2, 2 * channels
    last = _conv(
        config, f"encoder.layers.{number + 2}", channels, config.hidden, config.last_kernel
    )
    return Half(
        name="encoder",
        reading=Stack(tuple(layers)),
        lstm=f"encoder.layers.{number}.lstm",
        writing=Stack((last,)),
        steps_in=config.hop,
        steps_out=1,
        channels_in=config.channels,
        channels_out=config.hidden,
        width=channels,
    )


def decoder(config: CodecConfig) -> Half:
    """Embeddings to samples; numbered as in transformers."""
    width = channels = config.filters << len(config.ratios)
    first = _conv(config, "decoder.layers.0", config.hidden, width, config.kernel, activated=False)
    layers: list[Conv | Block] = []
    number = 2
    for ratio in config.ratios:
        layers.append(_up(config, f"decoder.layers.{number + 1}", channels, ratio))
        number, channels = number + 2, channels // 2
        for depth in range(config.residual_layers):
            layers.append(_block(config, f"decoder.layers.{number}", channels, depth))
            number += 1
    name = f"decoder.layers.{number + 1}"
    layers.append(_conv(config, name, channels, config.channels, config.last_kernel))
    return Half(
        name="decoder",
        reading=Stack((first,)),
        lstm="decoder.layers.1.lstm",
        writing=Stack(tuple(layers)),
        steps_in=1,
        steps_out=config.hop,
        channels_in=config.hidden,
        channels_out=config.channels,
        width=width,
    )


def shapes(config: CodecConfig, norm: tuple[str, str] | None) -> dict[str, tuple[int, ...]]:
    """The tensors a codec needs, with their shapes.

    `norm`: how the gain and the direction of weight norm are called, such as `("weight_g",
    "weight_v")`; None where it has been folded into plain weights.
    """
    result: dict[str, tuple[int, ...]] = {}
    for half in (encoder(config), decoder(config)):
        for conv in half.convs():
            result[f"{conv.name}.bias"] = (conv.outputs,)
            if norm is None:
                result[f"{conv.name}.weight"] = conv.weight_shape
            else:
                gain, direction = norm
                result[f"{conv.name}.{gain}"] = (conv.weight_shape[0], 1, 1)
                result[f"{conv.name}.{direction}"] = conv.weight_shape
        for layer in range(config.lstm_layers):
            for kind in ("ih", "hh"):
                result[f"{half.lstm}.weight_{kind}_l{layer}"] = (4 * half.width, half.width)
                result[f"{half.lstm}.bias_{kind}_l{layer}"] = (4 * half.width,)
    for number in range(config.codebooks()):
        result[codebook_name(number)] = (config.codebook_size, config.codebook_width)
    return result


def codebook_name(number: int) -> str:
    return f"quantizer.layers.{number}.codebook.embed"


def _conv(
    config: CodecConfig,
    layer: str,
    inputs: int,
    outputs: int,
    kernel: int,
    *,
    stride: int = 1,
    dilation: int = 1,
    activated: bool = True,
) -> Conv:
    padding = (kernel - 1) * dilation + 1 - stride
    right = 0 if config.causal else padding // 2
    return Conv(
        name=f"{layer}.conv",
        inputs=inputs,
        outputs=outputs,
        kernel=kernel,
        left=padding - right,
        right=right,
        stride=stride,
        dilation=dilation,
        activated=activated,
    )


def _up(config: CodecConfig, layer: str, channels: int, ratio: int) -> Conv:
    right = ceil(ratio * config.trim_right_ratio) if config.causal else ratio // 2
    return Conv(
        name=f"{layer}.conv",
        inputs=channels,
        outputs=channels // 2,
        kernel=2 * ratio,
        left=ratio - right,
        right=right,
        stride=ratio,
        up=True,
    )


def _block(config: CodecConfig, layer: str, channels: int, depth: int) -> Block:
    inner = channels // config.compress
    dilation = config.dilation_growth**depth
    return Block(
        first=_conv(
            config, f"{layer}.block.1", channels, inner, config.residual_kernel, dilation=dilation
        ),
        second=_conv(config, f"{layer}.block.3", inner, channels, 1),
        shortcut=_conv(config, f"{layer}.shortcut", channels, channels, 1, activated=False)
        if config.shortcut
        else None,
    )
