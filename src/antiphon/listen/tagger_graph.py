"""The graph of a trained listener: log-mel windows to the logits of its heads.

Audio Flamingo 3's encoder, which is Whisper's (Radford et al. 2022) with every two frames averaged,
and one product for each head. Letters: N windows, F mel frames (10 ms), S steps (20 ms), T frames
(40 ms), D width, C classes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from antiphon.errors import ModelError
from antiphon.graphs import GraphWriter
from antiphon.listen.heads import CONFIG_NAME, HEADS
from antiphon.listen.mel import BANDS, WINDOW_FRAMES
from antiphon.weights import Float32, Weights

POSITIONS = WINDOW_FRAMES // 2
_KERNEL = 3
MODEL_TYPE = "audioflamingo3_encoder"
POSITIONS_NAME = "embed_positions.weight"


@dataclass(frozen=True)
class EncoderConfig:
    """What config.json says of the encoder, in transformers' names."""

    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The tensors that are read, with their shapes; the positions are computed."""
        width, wide = self.hidden_size, self.intermediate_size
        found: dict[str, tuple[int, ...]] = {
            "conv1.weight": (width, BANDS, _KERNEL),
            "conv1.bias": (width,),
            "conv2.weight": (width, width, _KERNEL),
            "conv2.bias": (width,),
            "layer_norm.weight": (width,),
            "layer_norm.bias": (width,),
        }
        for number in range(self.num_hidden_layers):
            layer = f"layers.{number}"
            for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
                found[f"{layer}.self_attn.{name}.weight"] = (width, width)
                if name != "k_proj":
                    found[f"{layer}.self_attn.{name}.bias"] = (width,)
            for name in ("self_attn_layer_norm", "final_layer_norm"):
                found[f"{layer}.{name}.weight"] = found[f"{layer}.{name}.bias"] = (width,)
            found[f"{layer}.fc1.weight"], found[f"{layer}.fc1.bias"] = (wide, width), (wide,)
            found[f"{layer}.fc2.weight"], found[f"{layer}.fc2.bias"] = (width, wide), (width,)
        return found


def read_encoder_config(folder: Path) -> EncoderConfig:
    """Raises ModelError for a config of another model, or of an encoder that hears otherwise."""
    path = folder / CONFIG_NAME
    try:
        values = json.loads(path.read_bytes())
        config = EncoderConfig(
            **{name: int(values[name]) for name in EncoderConfig.__annotations__}
        )
        expected = {
            "model_type": MODEL_TYPE,
            "num_mel_bins": BANDS,
            "max_source_positions": POSITIONS,
            "activation_function": "gelu",
            "scale_embedding": False,
        }
        other = [name for name, value in expected.items() if values.get(name, value) != value]
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelError(f"{path} is no config of a listener's encoder: {error!r}") from error
    if other:
        raise ModelError(
            f"{path}: {other[0]} is {values[other[0]]!r}; expected {expected[other[0]]!r}"
        )
    heads, width = config.num_attention_heads, config.hidden_size
    if min(vars(config).values()) < 1 or width % (2 * heads):
        raise ModelError(f"{path}: hidden_size is {width}, which {heads} heads cannot share evenly")
    return config


def encoder_config_json(config: EncoderConfig) -> str:
    """What `read_encoder_config` and transformers' AudioFlamingo3Encoder read."""
    values = {
        "architectures": ["AudioFlamingo3Encoder"],
        "model_type": MODEL_TYPE,
        **vars(config),
        "num_mel_bins": BANDS,
        "max_source_positions": POSITIONS,
        "activation_function": "gelu",
        "scale_embedding": False,
    }
    return json.dumps(values, indent=2) + "\n"


def positions(width: int) -> Float32:
    """Whisper's positions, [1500, D]: sines, then cosines."""
    step = np.log(10_000) / (width // 2 - 1)
    angles = np.arange(POSITIONS)[:, None] * np.exp(-step * np.arange(width // 2))
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)


def write_tagger_graph(
    graph: GraphWriter, encoder: Weights, heads: Weights, config: EncoderConfig
) -> None:
    """Write the listener: `mels` float32 [N, F, 128] -> `<head>` float32 [N, T, C] for each of
    HEADS, and `states` [N, T, D]; T = F / 4, F up to 3000 and a multiple of 4.

    Raises ModelError for weights that do not fit the config.
    """
    encoder.require(config.shapes())
    mels = graph.input("mels", "float", ("windows", "frames", BANDS))
    x = graph.node("Transpose", mels, perm=[0, 2, 1])
    x = graph.node("Gelu", _convolved(graph, x, encoder, "conv1", stride=1))
    x = graph.node("Gelu", _convolved(graph, x, encoder, "conv2", stride=2))
    x = graph.node("Transpose", x, perm=[0, 2, 1])  # [N, S, D]
    steps = graph.node("Shape", x, start=1, end=2)
    places = graph.node("Slice", graph.constant(positions(config.hidden_size)),
                        graph.constant([0]), steps, graph.constant([0]))  # fmt: skip
    x = graph.node("Add", x, places)
    for number in range(config.num_hidden_layers):
        layer = encoder.below(f"layers.{number}.")
        normal = _normed(graph, x, layer, "self_attn_layer_norm")
        x = graph.node("Add", x, _attention(graph, normal, layer.below("self_attn."), config))
        normal = _normed(graph, x, layer, "final_layer_norm")
        wide = graph.node("Gelu", _linear(graph, normal, layer, "fc1"))
        x = graph.node("Add", x, _linear(graph, wide, layer, "fc2"))
    x = graph.node("Transpose", x, perm=[0, 2, 1])
    x = graph.node("AveragePool", x, kernel_shape=[2], strides=[2])
    x = graph.node("Transpose", x, perm=[0, 2, 1])  # [N, T, D]
    scale, shift = encoder.read("layer_norm.weight"), encoder.read("layer_norm.bias")
    states = graph.node("LayerNormalization", x, graph.constant(scale), graph.constant(shift),
                        name="states", axis=-1, epsilon=1e-5)  # fmt: skip
    graph.output(states, "float", ("windows", "moments", config.hidden_size))
    for name, classes in HEADS.items():
        heads.require(
            {
                f"{name}.weight": (len(classes), config.hidden_size),
                f"{name}.bias": (len(classes),),
            }
        )
        product = graph.node("MatMul", states, graph.constant(heads.read(f"{name}.weight").T))
        graph.node("Add", product, graph.constant(heads.read(f"{name}.bias")), name=name)
        graph.output(name, "float", ("windows", "moments", len(classes)))
    graph.save()


def _attention(graph: GraphWriter, x: str, part: Weights, config: EncoderConfig) -> str:
    query, value = _linear(graph, x, part, "q_proj"), _linear(graph, x, part, "v_proj")
    key = graph.linear(x, part.read("k_proj.weight"))
    mixed = graph.node(
        "MultiHeadAttention", query, key, value, ours=True, num_heads=config.num_attention_heads
    )
    return _linear(graph, mixed, part, "out_proj")


def _linear(graph: GraphWriter, x: str, part: Weights, name: str) -> str:
    product = graph.linear(x, part.read(f"{name}.weight"))
    return graph.node("Add", product, graph.constant(part.read(f"{name}.bias")))


def _normed(graph: GraphWriter, x: str, part: Weights, name: str) -> str:
    return graph.layer_norm(x, part.read(f"{name}.weight"), part.read(f"{name}.bias"))


def _convolved(graph: GraphWriter, x: str, part: Weights, name: str, stride: int) -> str:
    weight, bias = part.read(f"{name}.weight"), part.read(f"{name}.bias")
    return graph.node(
        "Conv", x, graph.constant(weight), graph.constant(bias),
        kernel_shape=[_KERNEL], strides=[stride], pads=[1, 1],
    )  # fmt: skip
