"""T5's encoder by torch and transformers, for where the decoder runs on a GPU."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from antiphon.compose.checkpoint import TextConfig
from antiphon.compose.text import TextEncoder, load_tokenizer, text_part
from antiphon.compose.text_graph import check_text_weights, embedding_name
from antiphon.errors import DependencyError
from antiphon.weights import Float32, Weights, weight_files

if TYPE_CHECKING:
    import torch
    from transformers import T5Config, T5EncoderModel

Dtype = Literal["float32", "float16", "bfloat16"]


class _TorchModel:
    """Implements `TextModel`."""

    def __init__(self, model: T5EncoderModel, device: str) -> None:
        self._model = model
        self._device = device

    def __call__(self, ids: NDArray[np.int64]) -> Float32:
        import torch

        with torch.inference_mode():
            states = self._model(torch.from_numpy(ids[None]).to(self._device)).last_hidden_state
        values: Float32 = states[0].float().cpu().numpy()
        return values


def load_torch_text_encoder(
    folder: Path, config: TextConfig, *, device: str, dtype: Dtype = "float32"
) -> TextEncoder:
    """As `load_text_encoder`, on a torch device.

    Raises ModelError as that does, and DependencyError without torch or transformers.
    """
    try:
        import torch
        from transformers import T5EncoderModel
    except ImportError as error:
        raise DependencyError(
            f"{folder} needs torch and transformers: {error}; `pip install 'antiphon[torch]'`"
        ) from error
    tokenizer = load_tokenizer(folder, config)
    with Weights(weight_files(folder)) as weights:
        part = text_part(weights)
        check_text_weights(part, config)
        tensors = _tensors(part, config, device, getattr(torch, dtype))
    with torch.device("meta"):  # no time is lost on random weights
        model = T5EncoderModel(t5_config(config))
    model.load_state_dict(tensors, assign=True)
    return TextEncoder(tokenizer, config, _TorchModel(model.eval(), device))


def t5_config(config: TextConfig, dropout: float = 0.0) -> T5Config:
    """The same for transformers; `dropout` counts in training alone."""
    from transformers import T5Config

    return T5Config(
        vocab_size=config.vocabulary,
        d_model=config.width,
        d_kv=config.head_width,
        d_ff=config.ffn_width,
        num_layers=config.layers,
        num_heads=config.heads,
        relative_attention_num_buckets=config.buckets,
        relative_attention_max_distance=config.max_distance,
        layer_norm_epsilon=config.epsilon,
        feed_forward_proj=f"{'gated-' if config.gated else ''}{config.activation}",
        dropout_rate=dropout,
        pad_token_id=config.pad,
        eos_token_id=config.end,
        is_encoder_decoder=False,
        use_cache=False,
    )


def _tensors(
    weights: Weights, config: TextConfig, device: str, dtype: torch.dtype
) -> dict[str, torch.Tensor]:
    import torch

    tensors = {}
    for name in config.shapes():
        source = embedding_name(weights) if name == "shared.weight" else name
        # In half precision the products of `wo` overflow; transformers keeps it in float32, too.
        wide = dtype == torch.float16 and name.endswith(".wo.weight")
        tensor = torch.from_numpy(weights.read(source))
        tensors[name] = tensor.to(device, torch.float32 if wide else dtype)
    tensors["encoder.embed_tokens.weight"] = tensors["shared.weight"]
    return tensors
