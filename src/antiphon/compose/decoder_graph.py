"""MusicGen's decoder (Copet et al. 2023) as two ONNX graphs: what a prompt costs once, and a step.

Written node by node so that the KV cache is one buffer (GroupQueryAttention with past and present
bound to the same memory), q, k and v are one product, and matrices can be 8-bit. Shapes: I items,
R rows (one per item and branch of guidance), X rows with cross-attention, S steps, K codebooks,
D width, H heads, L text tokens, M the capacity of the cache.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from antiphon.compose.checkpoint import MusicGenConfig
from antiphon.graphs import GraphWriter, Precision, Shape
from antiphon.weights import Float32, Weights

STEP, CONDITION = "step", "condition"  # the names of the two graphs
_DECODER = "decoder.model.decoder."
_ALL = (1 << 63) - 1  # as the end of a slice


@dataclass(frozen=True, eq=False)
class CacheScales:
    """What a step of an 8-bit cache is worth, for each layer and channel: [layers, H * width] each,
    width being `cached_width`."""

    keys: Float32
    values: Float32


def write_decoder(
    folder: Path,
    weights: Weights,
    config: MusicGenConfig,
    precision: Precision,
    scales: CacheScales | None = None,
    on_layer: Callable[[], None] = lambda: None,
) -> None:
    """Write both graphs into `folder`, with a cache of 8 bits if there are `scales` for it;
    `on_layer` is told of every layer that is done."""
    condition = GraphWriter(folder, CONDITION, precision)
    _write_condition(condition, weights, config)
    step = GraphWriter(folder, STEP, precision)
    _write_step(step, weights, config, scales, on_layer)


def cached_width(config: MusicGenConfig) -> int:
    """Channels of a head in the cache: GroupQueryAttention takes multiples of 8, so that other
    heads get channels that are always zero and change nothing."""
    return -(-config.decoder.head_width // 8) * 8


def positions(count: int, width: int) -> Float32:
    """Sinusoidal positions [count, D], cosines first (Vaswani et al. 2017, as in tensor2tensor).

    In float32 throughout, as transformers computes them.
    """
    half = width // 2
    rate = np.float32(-math.log(10000) / (half - 1))
    frequencies = np.exp(np.arange(half, dtype=np.float32) * rate)
    angles = np.arange(count, dtype=np.float32)[:, None] * frequencies
    return np.concatenate([np.cos(angles), np.sin(angles)], axis=1)


def _write_condition(graph: GraphWriter, weights: Weights, config: MusicGenConfig) -> None:
    """text [1, L, W] (and chroma [1, F, bins]) -> what the step attends to.

    With cross-attention: `key_0` and `value_0` [1, H, L, D / H], and so on. With a prefix: `prefix`
    [1, F + L, D].
    """
    decoder = config.decoder
    text = graph.input("text", "float", [1, "L", config.text.width])
    text = _projected(graph, weights, text, "enc_to_dec_proj")
    if decoder.prefix:
        chroma = graph.input("chroma", "float", [1, "F", config.chroma_bins or 0])
        chroma = _projected(graph, weights, chroma, "audio_enc_to_dec_proj")
        graph.output("prefix", "float", [1, "P", decoder.width])
        graph.node("Concat", chroma, text, name="prefix", axis=1)
        graph.save()
        return
    heads = graph.constant([0, 0, decoder.heads, decoder.head_width])
    for number in range(decoder.layers):
        layer = weights.below(f"{_DECODER}layers.{number}.encoder_attn.")
        names = ("k_proj.weight", "v_proj.weight")
        both = [layer.read(name) for name in names]
        product = graph.linear(text, np.concatenate(both), layer.label(*names))
        split = (f"keys_{number}", f"values_{number}")
        graph.node("Split", product, outputs=split, axis=-1, num_outputs=2)
        for name, whole in zip(("key", "value"), split, strict=True):
            apart = graph.node("Reshape", whole, heads)
            graph.node("Transpose", apart, name=f"{name}_{number}", perm=[0, 2, 1, 3])
            shape: Shape = [1, decoder.heads, "L", decoder.head_width]
            graph.output(f"{name}_{number}", "float", shape)
    graph.save()


def _projected(graph: GraphWriter, weights: Weights, x: str, name: str) -> str:
    """x [..., W] -> [..., D]; the same where the checkpoint has no projection."""
    if f"{name}.weight" not in weights:
        return x
    # In fp32: it is small, and everything stands on it.
    weight, bias = f"{name}.weight", f"{name}.bias"
    matrix = graph.constant(weights.read(weight).T, weights.label(weight))
    added = graph.constant(weights.read(bias), weights.label(bias))
    return graph.node("Add", graph.node("MatMul", x, matrix), added)


def _write_step(
    graph: GraphWriter,
    weights: Weights,
    config: MusicGenConfig,
    scales: CacheScales | None,
    on_layer: Callable[[], None],
) -> None:
    """tokens [I, S, K] -> logits [R, K * V] of the last step, and S more positions in the cache.

    A token is a row of one table: codebook k's entry c is k * (V + 1) + c, its V the start token;
    the row after the last is zero, for positions that hold no codes but `extra` [R or 1, S or 1,
    D], which is added to the embedding. `row_item` says which item a row shows, `cross_rows` which
    rows attend to the text, `row_cross` which of these results (the one after the last is zero) is
    added to a row: a branch without text costs nothing there. The `attended_i`, which nobody
    fetches but who looks for numbers that are not finite, tell in which layer they came up.
    """
    decoder = config.decoder
    d, k = decoder.width, decoder.codebooks
    tokens = graph.input("tokens", "int64", ["I", "S", k])
    row_item = graph.input("row_item", "int64", ["R"])
    extra = graph.input("extra", "float", ["R1", "S1", d])
    position = graph.input("position", "int64", ["R", "S"])
    graph.input("last", "int32", ["R"])  # the index of the newest position in the cache
    graph.input("longest", "int32", [])
    graph.input("new", "int32", ["R"])  # of the S positions, how many are not padding
    if not decoder.prefix:
        graph.input("cross_rows", "int64", ["X"])
        graph.input("row_cross", "int64", ["R"])
        graph.input("cross_mask", "int32", ["X", "L"])  # 1 where there is text

    names = [f"{_DECODER}embed_tokens.{number}.weight" for number in range(k)]
    tables = [*map(weights.read, names), np.zeros((1, d), np.float32)]
    table = graph.constant(np.concatenate(tables), weights.label(*names))
    embedded = graph.node("Gather", table, tokens)  # [I, S, K, D]
    # Not ReduceSum: it adds in another order where there is one item than where there are more.
    parts = [f"embedded_{number}" for number in range(k)]
    graph.node("Split", embedded, outputs=parts, axis=2, num_outputs=k)
    x = graph.node("Squeeze", graph.node("Sum", *parts), graph.constant([2]))
    x = graph.node("Gather", x, row_item)  # [R, S, D]
    x = graph.node("Add", x, extra)
    place = graph.node("Gather", graph.constant(positions(decoder.max_positions, d)), position)
    x = graph.node("Add", x, place)
    added: str | None = None
    for number in range(decoder.layers):
        layer = weights.below(f"{_DECODER}layers.{number}.")
        x, added = _layer(graph, layer, config, number, x, added, scales)
        on_layer()
    x, _ = _norm(graph, weights.below(f"{_DECODER}layer_norm."), x, added)
    ends = [graph.constant([-1]), graph.constant([_ALL]), graph.constant([1])]
    x = graph.node("Slice", x, *ends)  # the heads are large: only the last step goes through them
    names = [f"decoder.lm_heads.{number}.weight" for number in range(k)]
    logits = graph.linear(x, np.concatenate([*map(weights.read, names)]), weights.label(*names))
    graph.node("Squeeze", logits, graph.constant([1]), name="logits")
    graph.output("logits", "float", ["R", k * decoder.card])
    graph.save()


def _layer(
    graph: GraphWriter,
    layer: Weights,
    config: MusicGenConfig,
    number: int,
    x: str,
    added: str | None,
    scales: CacheScales | None,
) -> tuple[str, str]:
    """x [R, S, D], and what the layer before adds to it -> the same of layer `number`: attention,
    attention to the text, two products, each normalised before and added after.

    The scales of an 8-bit cache are put into the weights: keys and values come out divided by them,
    queries and what attention gives are multiplied, and the cache itself has one scale, 1.
    """
    decoder = config.decoder
    heads = decoder.heads
    kind = "float" if scales is None else "int8"
    width = cached_width(config)
    cache_shape: Shape = ["R", heads, "M", width]
    for name in ("key", "value"):
        graph.input(f"past_{name}_{number}", kind, cache_shape)
        graph.output(f"present_{name}_{number}", kind, cache_shape)
    names = [f"self_attn.{name}_proj.weight" for name in ("q", "k", "v", "out")]
    qkv = [_widened(layer.read(name), heads, width) for name in names[:3]]
    out = _widened(layer.read(names[3]).T, heads, width).T
    in_8_bits: dict[str, int | str] = {}
    step = ""
    if scales is not None:
        keys, values = scales.keys[number][:, None], scales.values[number][:, None]
        qkv = [qkv[0] * keys, qkv[1] / keys, qkv[2] / values]
        out = out * values.T
        step = graph.constant(np.ones(1, np.float32))
        in_8_bits = {"k_quant_type": "PER_TENSOR", "v_quant_type": "PER_TENSOR"}
        in_8_bits["kv_cache_bit_width"] = 8

    normed, x = _norm(graph, layer.below("self_attn_layer_norm."), x, added)
    attended = graph.node(
        "GroupQueryAttention",
        graph.linear(normed, np.concatenate(qkv), layer.label(*names[:3])), "", "",
        f"past_key_{number}", f"past_value_{number}",
        "last", "longest", *[""] * 5, step, step, "", "", "new",
        outputs=[f"attended_{number}", f"present_key_{number}", f"present_value_{number}"],
        ours=True, num_heads=heads, kv_num_heads=heads, scale=decoder.head_width**-0.5,
        **in_8_bits,  # type: ignore[arg-type]
    )  # fmt: skip
    graph.output(f"attended_{number}", "float", ["R", "S", heads * width])
    added = graph.linear(attended, out, layer.label(names[3]))
    if not decoder.prefix:
        normed, x = _norm(graph, layer.below("encoder_attn_layer_norm."), x, added)
        added = _cross_attention(graph, layer, config, number, normed)
    normed, x = _norm(graph, layer.below("final_layer_norm."), x, added)
    wide = graph.node("Gelu", _linear(graph, layer, "fc1.weight", normed))
    return x, _linear(graph, layer, "fc2.weight", wide)


def _linear(graph: GraphWriter, part: Weights, name: str, x: str) -> str:
    return graph.linear(x, part.read(name), part.label(name))


def _widened(matrix: Float32, heads: int, width: int) -> Float32:
    """[H * D / H, N] -> [H * width, N], each head with rows of zeros."""
    apart = matrix.reshape(heads, -1, matrix.shape[1])
    return np.pad(apart, ((0, 0), (0, width - apart.shape[1]), (0, 0))).reshape(heads * width, -1)


def _cross_attention(
    graph: GraphWriter, layer: Weights, config: MusicGenConfig, number: int, normed: str
) -> str:
    """normed [R, S, D] -> what attention to the text adds, [R, S, D]."""
    decoder = config.decoder
    shape: Shape = ["X", decoder.heads, "L", decoder.head_width]
    key, value = (graph.input(f"{name}_{number}", "float", shape) for name in ("key", "value"))
    shown = graph.node("Gather", normed, "cross_rows")  # [X, S, D]
    query = _linear(graph, layer, "encoder_attn.q_proj.weight", shown)
    mixed = graph.node(
        "MultiHeadAttention", query, key, value, "", "cross_mask",
        ours=True, num_heads=decoder.heads, scale=decoder.head_width**-0.5,
    )  # fmt: skip
    added = _linear(graph, layer, "encoder_attn.out_proj.weight", mixed)
    # One more row, of zeros, for the branches that do not attend to any text.
    padded = graph.node("Pad", added, graph.constant([0, 0, 0, 1, 0, 0]))
    return graph.node("Gather", padded, "row_cross")


def _norm(graph: GraphWriter, part: Weights, x: str, added: str | None) -> tuple[str, str]:
    """The sum of x and `added` normalised, and the sum itself."""
    weight, bias = part.read("weight"), part.read("bias")
    total = x if added is None else graph.node("Add", x, added)
    labels = (part.label("weight"), part.label("bias"))
    return graph.layer_norm(total, weight, bias, labels=labels), total
