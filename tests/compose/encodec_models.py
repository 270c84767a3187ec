"""EnCodec checkpoints: the published configs, and small random models in folders."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from transformers import EncodecConfig, EncodecModel
from transformers.utils import logging

logging.disable_progress_bar()

# As published in config.json of facebook/encodec_24khz, and as `audio_encoder` of MusicGen.
PUBLISHED: dict[str, dict[str, object]] = {
    "24khz": {
        "sampling_rate": 24_000, "audio_channels": 1, "num_filters": 32, "hidden_size": 128,
        "upsampling_ratios": [8, 5, 4, 2], "target_bandwidths": [1.5, 3.0, 6.0, 12.0, 24.0],
        "codebook_size": 1024, "codebook_dim": 128, "num_lstm_layers": 2,
        "num_residual_layers": 1, "kernel_size": 7, "last_kernel_size": 7,
        "residual_kernel_size": 3, "dilation_growth_rate": 2, "compress": 2,
        "use_causal_conv": True, "use_conv_shortcut": True, "trim_right_ratio": 1.0,
        "norm_type": "weight_norm", "pad_mode": "reflect", "normalize": False,
    },
    "32khz": {
        "sampling_rate": 32_000, "audio_channels": 1, "num_filters": 64, "hidden_size": 128,
        "upsampling_ratios": [8, 5, 4, 4], "target_bandwidths": [2.2],
        "codebook_size": 2048, "codebook_dim": 128, "num_lstm_layers": 2,
        "num_residual_layers": 1, "kernel_size": 7, "last_kernel_size": 7,
        "residual_kernel_size": 3, "dilation_growth_rate": 2, "compress": 2,
        "use_causal_conv": False, "use_conv_shortcut": False, "trim_right_ratio": 1.0,
        "norm_type": "weight_norm", "pad_mode": "reflect", "normalize": False,
    },
}  # fmt: skip

# The published ones made small, and what neither of them has.
SMALL: dict[str, dict[str, object]] = {
    "24khz": PUBLISHED["24khz"]
    | {
        "num_filters": 4, "hidden_size": 16, "codebook_dim": 16, "codebook_size": 64,
        "sampling_rate": 2_400, "upsampling_ratios": [5, 4, 2], "target_bandwidths": [0.4, 1.5],
    },
    "32khz": PUBLISHED["32khz"]
    | {
        "num_filters": 4, "hidden_size": 16, "codebook_dim": 16, "codebook_size": 64,
        "sampling_rate": 2_000, "upsampling_ratios": [5, 4, 2], "target_bandwidths": [1.2],
    },
    "deep": PUBLISHED["32khz"]
    | {
        "num_filters": 4, "hidden_size": 8, "codebook_dim": 8, "codebook_size": 32,
        "sampling_rate": 600, "upsampling_ratios": [2, 3], "target_bandwidths": [1.5],
        "num_residual_layers": 3, "dilation_growth_rate": 3, "num_lstm_layers": 1,
        "last_kernel_size": 5, "kernel_size": 4, "audio_channels": 2,
    },
    "trimmed": PUBLISHED["24khz"]
    | {
        "num_filters": 2, "hidden_size": 8, "codebook_dim": 8, "codebook_size": 32,
        "sampling_rate": 600, "upsampling_ratios": [3, 2], "target_bandwidths": [1.5],
        "num_residual_layers": 2, "trim_right_ratio": 0.4, "compress": 1,
    },
    "steep": PUBLISHED["32khz"]
    | {
        "num_filters": 4, "hidden_size": 8, "codebook_dim": 8, "codebook_size": 32,
        "sampling_rate": 800, "upsampling_ratios": [8], "target_bandwidths": [1.5],
        "kernel_size": 1, "residual_kernel_size": 1,
    },
}  # fmt: skip


def random_model(config: dict[str, object], seed: int = 0) -> EncodecModel:
    torch.manual_seed(seed)
    model = EncodecModel(EncodecConfig(**config)).eval()
    for layer in model.quantizer.layers:
        layer.codebook.embed.normal_()
    return model


def rewrite(folder: Path, target: Path, change: dict[str, np.ndarray | None]) -> Path:
    """A copy of a checkpoint with tensors changed, added, or (None) taken away."""
    tensors = load_file(folder / "model.safetensors")
    for name, values in change.items():
        tensors.pop(name, None)
        if values is not None:
            tensors[name] = np.ascontiguousarray(values)
    target.mkdir()
    save_file(tensors, target / "model.safetensors")
    (target / "config.json").write_bytes((folder / "config.json").read_bytes())
    return target


def as_musicgen(folder: Path, target: Path) -> Path:
    """The codec inside of a MusicGen, whose other parts are named but not there."""
    tensors = load_file(folder / "model.safetensors")
    target.mkdir()
    save_file({f"audio_encoder.{n}": v for n, v in tensors.items()}, target / "model.safetensors")
    parts = {
        "model_type": "musicgen",
        "text_encoder": {
            "model_type": "t5", "vocab_size": 9, "d_model": 8, "d_kv": 4, "num_heads": 2,
            "num_layers": 1, "d_ff": 8,
        },
        "audio_encoder": json.loads((folder / "config.json").read_text()),
        "decoder": {
            "num_hidden_layers": 1, "hidden_size": 8, "num_attention_heads": 2, "ffn_dim": 8,
            "num_codebooks": 4, "vocab_size": 64,
        },
    }  # fmt: skip
    (target / "config.json").write_text(json.dumps(parts))
    return target
