"""EnCodec as four graphs: what comes before and after the LSTM, of the encoder and the decoder.

Every graph pads by reflection at both ends of what it is given. Who gives it a piece out of the
middle gives context with it, and throws away what was computed from the false ends.
Quantising is not here: it is a few lines of numpy (`encodec.py`).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from antiphon.compose.checkpoint import CodecConfig
from antiphon.compose.codecs.encodec_layers import Block, Conv, Half, Stack, decoder, encoder
from antiphon.graphs import GraphWriter
from antiphon.weights import Float32, Weights

# As torch names the gain and the direction: since 2.0, and before.
WEIGHT_NORMS = (
    ("parametrizations.weight.original0", "parametrizations.weight.original1"),
    ("weight_g", "weight_v"),
)
_END = np.iinfo(np.int64).max


def weight_norm(weights: Weights, config: CodecConfig) -> tuple[str, str] | None:
    """How the two parts of weight norm are called in this file; None if it is folded already."""
    first = next(encoder(config).convs()).name
    return next((n for n in WEIGHT_NORMS if f"{first}.{n[0]}" in weights), None)


def build(folder: Path, weights: Weights, config: CodecConfig) -> None:
    """Write the graphs `encoder_reading`, `encoder_writing` and those of the decoder.

    reading: signal [1, N, T], first [1], end [1], state [2 * layers, 1, D]
             -> hidden [1, D, end - first] of these frames, after the LSTM, and its next state
    writing: hidden [1, D, F] -> signal [1, N, T]
    """
    reader = _Reader(weights, weight_norm(weights, config))
    for half in (encoder(config), decoder(config)):
        _write_reading(folder, reader, half, config.lstm_layers)
        _write_writing(folder, reader, half)


class _Reader:
    """The weights of layers, in the form the operators of ONNX take."""

    def __init__(self, weights: Weights, norm: tuple[str, str] | None) -> None:
        self._weights = weights
        self._norm = norm

    def label(self, *names: str) -> str:
        return self._weights.label(*names)

    def conv(self, name: str) -> tuple[Float32, Float32]:
        """Weight and bias. Weight norm (Salimans & Kingma 2016) is gain * direction / |direction|,
        the length taken over all axes but the first."""
        bias = self._weights.read(f"{name}.bias")
        if self._norm is None:
            return self._weights.read(f"{name}.weight"), bias
        gain, direction = (self._weights.read(f"{name}.{part}") for part in self._norm)
        length = np.sqrt(np.square(direction).sum((1, 2), keepdims=True))
        return direction * (gain / length), bias

    def lstm(self, name: str, layer: int) -> tuple[Float32, Float32, Float32]:
        """W [1, 4D, D], R [1, 4D, D] and B [1, 8D] of one layer."""

        def read(kind: str) -> Float32:
            values = self._weights.read(f"{name}.{kind}_l{layer}")
            # torch orders the gates input, forget, cell, output; ONNX input, output, forget, cell.
            gates = np.split(values, 4)
            return np.concatenate([gates[0], gates[3], gates[1], gates[2]])[None]

        biases = np.concatenate([read("bias_ih"), read("bias_hh")], 1)
        return read("weight_ih"), read("weight_hh"), biases


def _write_reading(folder: Path, reader: _Reader, half: Half, lstm_layers: int) -> None:
    graph = GraphWriter(folder, f"{half.name}_reading")
    state_shape = (2 * lstm_layers, 1, half.width)
    x = graph.input("signal", "float", (1, half.channels_in, "T"))
    first = graph.input("first", "int64", (1,))
    end = graph.input("end", "int64", (1,))
    state = graph.input("state", "float", state_shape)
    x = _stack(graph, reader, half.reading, x)
    # Before the LSTM: frames of context must not run through its state.
    x = graph.node("Slice", x, first, end, graph.constant([2]))
    _lstm(graph, reader, half.lstm, lstm_layers, x, state)
    graph.output("hidden", "float", (1, half.width, "F"))
    graph.output("next_state", "float", state_shape)
    graph.save()


def _write_writing(folder: Path, reader: _Reader, half: Half) -> None:
    graph = GraphWriter(folder, f"{half.name}_writing")
    x = graph.input("hidden", "float", (1, half.width, "F"))
    x = _stack(graph, reader, half.writing, x)
    graph.node("Identity", x, name="signal")
    graph.output("signal", "float", (1, half.channels_out, "T"))
    graph.save()


def _stack(graph: GraphWriter, reader: _Reader, stack: Stack, x: str) -> str:
    for layer in stack.layers:
        if isinstance(layer, Block):
            x = _block(graph, reader, layer, x)
        else:
            x = _conv(graph, reader, layer, x)
    return x


def _block(graph: GraphWriter, reader: _Reader, block: Block, x: str) -> str:
    y = _conv(graph, reader, block.first, x)
    y = _conv(graph, reader, block.second, y)
    if block.shortcut:
        x = _conv(graph, reader, block.shortcut, x)
    return graph.node("Add", x, y)


def _conv(graph: GraphWriter, reader: _Reader, conv: Conv, x: str) -> str:
    if conv.activated:
        x = _elu(graph, x)
    weight, bias = (
        graph.constant(values, reader.label(f"{conv.name}.{kind}"))
        for kind, values in zip(("weight", "bias"), reader.conv(conv.name), strict=True)
    )
    if conv.up:
        return graph.node(
            "ConvTranspose", x, weight, bias,
            kernel_shape=[conv.kernel], strides=[conv.stride], pads=[conv.left, conv.right],
        )  # fmt: skip
    if conv.left or conv.right:
        x = _reflect(graph, conv, x)
    return graph.node(
        "Conv", x, weight, bias,
        kernel_shape=[conv.kernel], strides=[conv.stride], dilations=[conv.dilation],
    )  # fmt: skip


def _elu(graph: GraphWriter, x: str) -> str:
    """max(x, exp(min(x, 0)) - 1): four nodes, yet half the time of onnxruntime's Elu, whose
    exponential is slow: 7 instead of 16 ms of one core for a second of 32 kHz sound."""
    zero, one = (graph.constant(np.array(value, np.float32)) for value in (0, 1))
    below = graph.node("Exp", graph.node("Clip", x, "", zero))
    return graph.node("Max", x, graph.node("Sub", below, one))


def _reflect(graph: GraphWriter, conv: Conv, x: str) -> str:
    """Pad x [1, C, T] by reflection as transformers does.

    On the right until the kernel fits a whole number of times. A signal too short to be reflected
    is first lengthened by zeros, which are taken off the right end again. This works on the two
    ends alone, so that the signal is copied once, not three times.
    """
    axis, zero, one = graph.constant([2]), graph.constant([0]), graph.constant([1])
    length = graph.node("Shape", x, start=2)
    left, right = graph.constant([conv.left]), graph.constant([conv.right])
    if conv.stride > 1:
        stride = graph.constant([conv.stride])
        missing = graph.node("Mod", graph.node("Neg", length), stride)
        right = graph.node("Add", right, missing)
    room = graph.node("Add", graph.node("Max", left, right), one)
    present = graph.node("Min", length, room)
    lengthen = graph.node("Concat", zero, graph.node("Sub", room, present), axis=0)

    parts = [x]
    if conv.left:
        start = graph.node("Slice", x, zero, present, axis)
        start = graph.node("Pad", start, lengthen, "", axis)  # [1, C, room]
        backwards = graph.constant([-1])
        parts.insert(0, graph.node("Slice", start, left, zero, axis, backwards))
    if conv.right or conv.stride > 1:
        end = graph.node("Slice", x, graph.node("Neg", present), graph.constant([_END]), axis)
        end = graph.node("Pad", end, lengthen, "", axis)  # [1, C, room]
        both = graph.node("Concat", zero, right, axis=0)
        end = graph.node("Pad", end, both, "", axis, mode="reflect")  # [1, C, room + right]
        stop = graph.node("Add", present, right)
        parts.append(graph.node("Slice", end, present, stop, axis))
    return graph.node("Concat", *parts, axis=2)


def _lstm(graph: GraphWriter, reader: _Reader, name: str, layers: int, x: str, state: str) -> None:
    """`hidden`, x + LSTM(x) for x [1, D, F]; `next_state` [2 * layers, 1, D]: h, c, h, c, ..."""
    x = graph.node("Transpose", x, perm=[2, 0, 1])  # [F, 1, D]
    before = [f"{name}.before_{number}" for number in range(2 * layers)]
    graph.node("Split", state, outputs=before, axis=0, num_outputs=2 * layers)
    after = []
    y = x
    for layer in range(layers):
        weights = reader.lstm(name, layer)
        kinds = (("weight_ih",), ("weight_hh",), ("bias_ih", "bias_hh"))
        labels = [reader.label(*(f"{name}.{kind}_l{layer}" for kind in held)) for held in kinds]
        outputs = [f"{name}.{part}_{layer}" for part in ("y", "h", "c")]
        y = graph.node(
            "LSTM", y, *map(graph.constant, weights, labels), "",
            *before[2 * layer : 2 * layer + 2], outputs=outputs,
            hidden_size=weights[1].shape[-1],
        )  # fmt: skip
        y = graph.node("Squeeze", y, graph.constant([1]))  # [F, 1, 1, D] -> [F, 1, D]
        after += outputs[1:]
    graph.node("Transpose", graph.node("Add", y, x), name="hidden", perm=[1, 2, 0])
    graph.node("Concat", *after, name="next_state", axis=0)
