"""Tiny MusicGen checkpoints with random weights, as transformers writes them, and their tokenizer.

The structure is that of the published ones; only the sizes differ, and no two sizes are the same
where that could hide an error.
"""

from __future__ import annotations

import string
from pathlib import Path
from typing import Literal

import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
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

from antiphon.compose.checkpoint import TextConfig

FeedForward = Literal["relu", "gelu", "gated-gelu"]
VOCABULARY = 120  # more than the tokenizer has, as in the published checkpoints
CARD = 64
WORDS = (
    "▁jazz", "▁piano", "▁a", "▁slow", "▁fast", "▁in", "▁the", "▁key", "▁of", "bpm", "ing", "▁music",
    "▁minor", "▁major", "▁guitar", "th", "er", "an",
)  # fmt: skip


def tiny_musicgen(
    folder: Path,
    *,
    melody: bool = False,
    stereo: bool = False,
    seed: int = 0,
    feed_forward: FeedForward = "relu",
    dtype: torch.dtype = torch.float32,
    shard_size: str = "1GB",
    width: int = 64,
    codec_kbps: float = 1.2,
) -> MusicgenForConditionalGeneration | MusicgenMelodyForConditionalGeneration:
    """Save a checkpoint with tokenizer.json in `folder`; the model that it holds, in eval mode.

    `dtype` is what the weights are stored in; the model has the same values as float32. The codec
    has 4 codebooks of 6 bits, more for more than 1.2 kbit/s.
    """
    text = T5Config(
        vocab_size=VOCABULARY, d_model=32, d_kv=8, d_ff=56, num_layers=2, num_heads=6,
        feed_forward_proj=feed_forward,
    )  # fmt: skip
    codec = EncodecConfig(
        sampling_rate=32_000, audio_channels=1, num_filters=4, hidden_size=16, codebook_dim=16,
        codebook_size=CARD, num_lstm_layers=2, upsampling_ratios=[8, 5, 4, 4],
        use_causal_conv=False, use_conv_shortcut=False, target_bandwidths=[codec_kbps],
        norm_type="weight_norm",
    )  # fmt: skip
    decoder = (MusicgenMelodyDecoderConfig if melody else MusicgenDecoderConfig)(
        vocab_size=CARD, hidden_size=width, num_hidden_layers=2, num_attention_heads=4,
        ffn_dim=width * 3 // 2,
        num_codebooks=8 if stereo else 4, audio_channels=2 if stereo else 1,
        max_position_embeddings=2048, pad_token_id=CARD, bos_token_id=CARD,
    )  # fmt: skip
    kind, composite = (
        (MusicgenMelodyForConditionalGeneration, MusicgenMelodyConfig)
        if melody
        else (MusicgenForConditionalGeneration, MusicgenConfig)
    )
    torch.manual_seed(seed)
    model = kind(composite(text_encoder=text, audio_encoder=codec, decoder=decoder)).eval()
    _stir(model)
    model.generation_config.update(
        decoder_start_token_id=CARD, pad_token_id=CARD, bos_token_id=CARD, guidance_scale=3.0
    )
    bars = transformers.utils.logging.is_progress_bar_enabled()
    transformers.utils.logging.disable_progress_bar()
    stored = {name: values.to(dtype) for name, values in model.state_dict().items()}
    model.load_state_dict(stored)  # rounded; what is not stored, such as positions, stays exact
    model.save_pretrained(folder, state_dict=stored, max_shard_size=shard_size)
    if bars:
        transformers.utils.logging.enable_progress_bar()
    tiny_tokenizer().save(str(folder / "tokenizer.json"))
    return model


def small_size_musicgen(folder: Path) -> None:
    """Save a checkpoint of the size of facebook/musicgen-small, 2.4 GB, as transformers
    initialises it."""
    text = T5Config(vocab_size=32_128, d_model=768, d_kv=64, d_ff=3072, num_layers=12, num_heads=12)
    codec = EncodecConfig(
        sampling_rate=32_000, audio_channels=1, num_filters=64, hidden_size=128, codebook_dim=128,
        codebook_size=2048, num_lstm_layers=2, upsampling_ratios=[8, 5, 4, 4],
        use_causal_conv=False, use_conv_shortcut=False, target_bandwidths=[2.2],
        norm_type="weight_norm",
    )  # fmt: skip
    decoder = MusicgenDecoderConfig(
        vocab_size=2048, hidden_size=1024, num_hidden_layers=24, num_attention_heads=16,
        ffn_dim=4096, num_codebooks=4, max_position_embeddings=2048, pad_token_id=2048,
        bos_token_id=2048,
    )  # fmt: skip
    torch.manual_seed(0)
    config = MusicgenConfig(text_encoder=text, audio_encoder=codec, decoder=decoder)
    model = MusicgenForConditionalGeneration(config)
    for layer in model.audio_encoder.quantizer.layers:  # zeros, all entries alike, otherwise
        layer.codebook.embed.normal_()
    model.save_pretrained(folder)
    tiny_tokenizer().save(str(folder / "tokenizer.json"))


def tiny_text_config(gated: bool = False, activation: str = "relu") -> TextConfig:
    """What the config.json of `tiny_musicgen` says of its text encoder."""
    return TextConfig(
        vocabulary=VOCABULARY, width=32, head_width=8, heads=6, layers=2, ffn_width=56,
        gated=gated, activation=activation, buckets=32, max_distance=128, epsilon=1e-6, pad=0,
        end=1,
    )  # fmt: skip


def tiny_tokenizer() -> Tokenizer:
    """A Unigram tokenizer with the parts of T5's: letters, some words, no digits above 4."""
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    pieces += [(letter, -5.0) for letter in string.ascii_letters + "01234.,:-"]
    pieces += [(word, -3.0) for word in WORDS]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=2))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
    )
    tokenizer.add_special_tokens(["<pad>", "</s>", "<unk>"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    return tokenizer


def _stir(model: torch.nn.Module) -> None:
    """Give values of their own to what starts as ones and zeros, or is too small to be noticed."""
    with torch.no_grad():
        for name, values in model.named_parameters():
            if name.startswith("audio_encoder."):
                continue
            if "relative_attention_bias" in name:
                values.normal_()
            elif values.ndim == 1:
                values.add_(0.2 * torch.randn_like(values))
            elif name.startswith(("decoder.", "enc_to_dec_proj.", "audio_enc_to_dec_proj.")):
                values.mul_(5.0)  # so that a prompt, and what was played, change what follows
        for name, values in model.named_buffers():
            if name.endswith("codebook.embed"):  # zeros: every code would sound the same
                values.normal_()
