"""The graph of T5's encoder (Raffel et al. 2020): token ids -> states. Knows no tokenizer.

Letters: L tokens, W width, H heads. Three things set it apart from other transformers: layer norms
only scale (Zhang and Sennrich 2019), attention scores are not divided by the root of the head
width, and where a token stands enters as a bias of the scores that depends on the distance alone.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from antiphon.compose.checkpoint import TextConfig
from antiphon.graphs import GraphWriter
from antiphon.weights import Weights

EMBEDDING_NAMES = ("shared.weight", "encoder.embed_tokens.weight")
"""Two names of one tensor; safetensors keeps only one of them, not always the same."""


def check_text_weights(weights: Weights, config: TextConfig) -> None:
    """Raise ModelError unless every tensor of the encoder is there in its shape."""
    shapes = config.shapes()
    shapes[embedding_name(weights)] = shapes.pop(EMBEDDING_NAMES[0])
    weights.require(shapes)


def embedding_name(weights: Weights) -> str:
    """The name the embedding has here; the first of the names where it has none."""
    return next((name for name in EMBEDDING_NAMES if name in weights), EMBEDDING_NAMES[0])


def write_text_graph(graph: GraphWriter, weights: Weights, config: TextConfig) -> None:
    """Write the encoder: `ids` int64 [1, L] -> `states` float32 [1, L, W].

    The embedding stays fp32 at every precision: the file is mapped, and only the rows of the
    tokens are read.
    """
    ids = graph.input("ids", "int64", (1, "tokens"))
    label = weights.label(EMBEDDING_NAMES[0])
    table = graph.constant(weights.read(embedding_name(weights)), label)
    x = graph.node("Gather", table, ids)  # [1, L, W]
    bias = _position_bias(graph, ids, weights, config)  # [1, H, L, L]
    for number in range(config.layers):
        block = weights.below(f"encoder.block.{number}.layer.")
        x = graph.node("Add", x, _attention(graph, x, bias, block.below("0."), config))
        x = graph.node("Add", x, _feed_forward(graph, x, block.below("1."), config))
    _rms_norm(graph, x, weights.below("encoder.final_layer_norm."), config, name="states")
    graph.output("states", "float", (1, "tokens", config.width))
    graph.save()


def distance_buckets(config: TextConfig) -> NDArray[np.int64]:
    """[2 * max_distance + 1] the bucket of every distance from -max_distance to max_distance.

    Half of the buckets are for tokens before, half for tokens after; of each half, one half is for
    exact distances, the other grows logarithmically. From max_distance on all is one bucket.
    """
    half = config.buckets // 2
    exact = half // 2
    distance = np.arange(-config.max_distance, config.max_distance + 1)
    far = np.maximum(np.abs(distance), 1).astype(np.float32) / np.float32(exact)
    # In float32 and in this order, as the models were trained: in float64 a distance on the border
    # of two buckets falls into the other one.
    steps = np.log(far) / np.float32(math.log(config.max_distance / exact))
    large = exact + (steps * np.float32(half - exact)).astype(np.int64)
    near = np.abs(distance) < exact
    bucket = np.where(near, np.abs(distance), np.minimum(large, half - 1))
    return np.where(distance > 0, half + bucket, bucket).astype(np.int64)


def _position_bias(graph: GraphWriter, ids: str, weights: Weights, config: TextConfig) -> str:
    """[1, H, L, L]; computed once, the blocks share it."""
    name = "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
    by_bucket = graph.constant(weights.read(name), weights.label(name))  # [buckets, H]
    furthest = config.max_distance
    length = graph.node("Squeeze", graph.node("Shape", ids, start=1, end=2))
    place = graph.node("Range", graph.constant(0), length, graph.constant(1))  # [L]
    queries = graph.node("Unsqueeze", place, graph.constant([1]))
    keys = graph.node("Unsqueeze", place, graph.constant([0]))
    distance = graph.node("Sub", keys, queries)  # [L, L]
    distance = graph.node("Max", distance, graph.constant([-furthest]))
    distance = graph.node("Min", distance, graph.constant([furthest]))
    row = graph.node("Add", distance, graph.constant([furthest]))
    bucket = graph.node("Gather", graph.constant(distance_buckets(config)), row)
    bias = graph.node("Gather", by_bucket, bucket)  # [L, L, H]
    bias = graph.node("Transpose", bias, perm=[2, 0, 1])
    return graph.node("Unsqueeze", bias, graph.constant([0]))


def _attention(graph: GraphWriter, x: str, bias: str, weights: Weights, config: TextConfig) -> str:
    normed = _rms_norm(graph, x, weights.below("layer_norm."), config)
    query, key, value = (
        _linear(graph, weights, f"SelfAttention.{name}.weight", normed) for name in "qkv"
    )
    mixed = graph.node(
        "MultiHeadAttention", query, key, value, "", "", bias, ours=True,
        num_heads=config.heads, scale=1.0,
    )  # fmt: skip
    return _linear(graph, weights, "SelfAttention.o.weight", mixed)


def _feed_forward(graph: GraphWriter, x: str, weights: Weights, config: TextConfig) -> str:
    dense = weights.below("DenseReluDense.")
    normed = _rms_norm(graph, x, weights.below("layer_norm."), config)
    wide = _linear(graph, dense, "wi_0.weight" if config.gated else "wi.weight", normed)
    if config.activation == "relu":
        active = graph.node("Relu", wide)
    else:  # "gated-gelu" means the tanh approximation, "gelu" the exact one
        active = graph.node("Gelu", wide, approximate="tanh" if config.gated else "none")
    if config.gated:
        active = graph.node("Mul", active, _linear(graph, dense, "wi_1.weight", normed))
    return _linear(graph, dense, "wo.weight", active)


def _linear(graph: GraphWriter, part: Weights, name: str, x: str) -> str:
    return graph.linear(x, part.read(name), part.label(name))


def _rms_norm(
    graph: GraphWriter, x: str, part: Weights, config: TextConfig, name: str | None = None
) -> str:
    scale = graph.constant(part.read("weight"), part.label("weight"))
    return graph.node(
        "SimplifiedLayerNormalization", x, scale, name=name, axis=-1, epsilon=config.epsilon
    )
