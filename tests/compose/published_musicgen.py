"""The MusicGen checkpoints that facebook publishes: what their config.json files say.

Written down from the configurations on the hub; the codec of all of them is the 32 kHz EnCodec of
`encodec_models.PUBLISHED`.
"""

from __future__ import annotations

import torch
from encodec_models import PUBLISHED as CODECS
from transformers import (
    EncodecConfig,
    MusicgenConfig,
    MusicgenForConditionalGeneration,
    MusicgenMelodyConfig,
    MusicgenMelodyForConditionalGeneration,
    T5Config,
)
from transformers.models.musicgen.configuration_musicgen import MusicgenDecoderConfig
from transformers.models.musicgen_melody.configuration_musicgen_melody import (
    MusicgenMelodyDecoderConfig,
)

_SMALL = {"num_hidden_layers": 24, "hidden_size": 1024, "num_attention_heads": 16, "ffn_dim": 4096}
_MEDIUM = {"num_hidden_layers": 48, "hidden_size": 1536, "num_attention_heads": 24, "ffn_dim": 6144}
_LARGE = {"num_hidden_layers": 48, "hidden_size": 2048, "num_attention_heads": 32, "ffn_dim": 8192}
_STEREO = {"num_codebooks": 8, "audio_channels": 2}

T5_BASE = {
    "vocab_size": 32_128, "d_model": 768, "d_kv": 64, "d_ff": 3072, "num_layers": 12,
    "num_heads": 12, "feed_forward_proj": "relu", "relative_attention_num_buckets": 32,
    "relative_attention_max_distance": 128,
}  # fmt: skip
DECODERS: dict[str, dict[str, int]] = {
    "musicgen-small": _SMALL,
    "musicgen-medium": _MEDIUM,
    "musicgen-large": _LARGE,
    "musicgen-melody": _MEDIUM,
    "musicgen-melody-large": _LARGE,
    "musicgen-stereo-small": _SMALL | _STEREO,
    "musicgen-stereo-medium": _MEDIUM | _STEREO,
    "musicgen-stereo-large": _LARGE | _STEREO,
    "musicgen-stereo-melody": _MEDIUM | _STEREO,
}
MELODY = {"num_chroma": 12, "chroma_length": 235}


def published_config(name: str) -> MusicgenConfig | MusicgenMelodyConfig:
    """The whole configuration of one of `DECODERS`."""
    melody = "melody" in name
    decoder = (MusicgenMelodyDecoderConfig if melody else MusicgenDecoderConfig)(
        vocab_size=2048, max_position_embeddings=2048, activation_function="gelu",
        pad_token_id=2048, bos_token_id=2048, **({"num_codebooks": 4} | DECODERS[name]),
    )  # fmt: skip
    parts = {
        "text_encoder": T5Config(**T5_BASE),
        "audio_encoder": EncodecConfig(**CODECS["32khz"]),
        "decoder": decoder,
    }
    return MusicgenMelodyConfig(**parts, **MELODY) if melody else MusicgenConfig(**parts)


def published_model(
    name: str,
) -> MusicgenForConditionalGeneration | MusicgenMelodyForConditionalGeneration:
    """The model without any memory for its weights."""
    config = published_config(name)
    kind = (
        MusicgenMelodyForConditionalGeneration
        if isinstance(config, MusicgenMelodyConfig)
        else MusicgenForConditionalGeneration
    )
    with torch.device("meta"):
        return kind(config)
