"""A MusicGen checkpoint folder in the layout of transformers: what it says of itself.

Knows the shapes, and which tensors there must be; computes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from antiphon.compose.codecs.magnitude_config import MODEL_TYPE as MAGNITUDE
from antiphon.compose.codecs.magnitude_config import MagnitudeConfig, magnitude_config
from antiphon.compose.config_values import ConfigValues
from antiphon.errors import ModelError
from antiphon.weights import Weights

CODEC_PART = "audio_encoder."  # before the names of the codec's tensors in a MusicGen
MUSICGEN_TYPES = ("musicgen", "musicgen_melody")
# Positions are sinusoids, of which there are as many as one likes: more than 30 s of any codec, a
# melody and the longest text take.
_LEAST_POSITIONS = 4096
_KINDS_OF_OTHERS = {
    "audioflamingo3": "a listener",
    "musicflamingo": "a listener",
    "t5": "a text encoder alone",
    "encodec": "a codec alone",
}


@dataclass(frozen=True)
class TextConfig:
    """The encoder half of a T5 (Raffel et al. 2020); the fields of its config.json."""

    vocabulary: int
    width: int
    head_width: int
    heads: int
    layers: int
    ffn_width: int
    gated: bool
    activation: str
    buckets: int
    max_distance: int
    epsilon: float
    pad: int
    end: int

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The tensors it needs, below `text_encoder.`, with their shapes."""
        inner = self.heads * self.head_width
        wide = ("wi_0", "wi_1") if self.gated else ("wi",)
        shapes: dict[str, tuple[int, ...]] = {
            "shared.weight": (self.vocabulary, self.width),
            "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight": (
                self.buckets,
                self.heads,
            ),
            "encoder.final_layer_norm.weight": (self.width,),
        }
        for number in range(self.layers):
            block = f"encoder.block.{number}.layer."
            shapes |= {f"{block}0.SelfAttention.{n}.weight": (inner, self.width) for n in "qkv"}
            shapes[f"{block}0.SelfAttention.o.weight"] = (self.width, inner)
            shapes |= {f"{block}{n}.layer_norm.weight": (self.width,) for n in (0, 1)}
            for name in wide:
                shapes[f"{block}1.DenseReluDense.{name}.weight"] = (self.ffn_width, self.width)
            shapes[f"{block}1.DenseReluDense.wo.weight"] = (self.width, self.ffn_width)
        return shapes


@dataclass(frozen=True)
class CodecConfig:
    """An EnCodec (Défossez et al. 2022); the fields of its config.json."""

    sample_rate: int
    channels: int
    filters: int
    hidden: int
    ratios: tuple[int, ...]
    codebook_size: int
    codebook_width: int
    bandwidths_kbps: tuple[float, ...]
    lstm_layers: int
    residual_layers: int
    kernel: int
    last_kernel: int
    residual_kernel: int
    dilation_growth: int
    compress: int
    causal: bool
    shortcut: bool
    trim_right_ratio: float

    @property
    def hop(self) -> int:
        """Samples per code frame."""
        hop = 1
        for ratio in self.ratios:
            hop *= ratio
        return hop

    @property
    def frame_rate(self) -> int:
        """Code frames per second, rounded up as in transformers."""
        return -(-self.sample_rate // self.hop)

    def codebooks(self, bandwidth_kbps: float | None = None) -> int:
        """How many codebooks a bandwidth takes (the widest for None), each of log2(size) bits."""
        kbps = self.bandwidths_kbps[-1] if bandwidth_kbps is None else bandwidth_kbps
        bits = max(1, (self.codebook_size - 1).bit_length())
        return int(1000 * kbps // (self.frame_rate * bits))


@dataclass(frozen=True)
class DecoderConfig:
    """MusicGen's decoder (Copet et al. 2023); the fields of its config.json.

    `card` entries per codebook; `channels` 2 means that the codebooks alternate left, right.
    """

    layers: int
    width: int
    heads: int
    ffn_width: int
    codebooks: int
    card: int
    channels: int
    max_positions: int
    prefix: bool
    """Conditions stand before the codes, as in the melody checkpoints, not in cross-attention."""

    @property
    def head_width(self) -> int:
        return self.width // self.heads

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The tensors it needs, below `decoder.`, with their shapes."""
        d = self.width
        shapes: dict[str, tuple[int, ...]] = {}
        for number in range(self.codebooks):
            shapes[f"model.decoder.embed_tokens.{number}.weight"] = (self.card + 1, d)
            shapes[f"lm_heads.{number}.weight"] = (self.card, d)
        attentions = ("self_attn",) if self.prefix else ("self_attn", "encoder_attn")
        for number in range(self.layers):
            layer = f"model.decoder.layers.{number}."
            for attention in attentions:
                for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
                    shapes[f"{layer}{attention}.{name}.weight"] = (d, d)
            shapes[f"{layer}fc1.weight"] = (self.ffn_width, d)
            shapes[f"{layer}fc2.weight"] = (d, self.ffn_width)
            for norm in (*(f"{a}_layer_norm" for a in attentions), "final_layer_norm"):
                shapes |= {f"{layer}{norm}.{part}": (d,) for part in ("weight", "bias")}
        shapes |= {f"model.decoder.layer_norm.{part}": (d,) for part in ("weight", "bias")}
        return shapes


@dataclass(frozen=True)
class MusicGenConfig:
    """A whole MusicGen: text encoder, codec, decoder."""

    text: TextConfig
    codec: CodecConfig | MagnitudeConfig
    decoder: DecoderConfig
    chroma_bins: int | None
    """Pitch classes of the melody that a checkpoint is conditioned on; None: it knows no melody."""
    chroma_frames: int | None
    """How many chroma frames it was trained with."""

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Every tensor that is needed but the codec's, with its shape."""
        d = self.decoder.width
        shapes = {f"text_encoder.{n}": s for n, s in self.text.shapes().items()}
        shapes |= {f"decoder.{n}": s for n, s in self.decoder.shapes().items()}
        if self.text.width != d:  # as in transformers: else there is no projection
            shapes["enc_to_dec_proj.weight"] = (d, self.text.width)
            shapes["enc_to_dec_proj.bias"] = (d,)
        if self.chroma_bins not in (None, d):
            shapes["audio_enc_to_dec_proj.weight"] = (d, self.chroma_bins)
            shapes["audio_enc_to_dec_proj.bias"] = (d,)
        return shapes


def read_config(folder: Path) -> MusicGenConfig:
    """The config.json of a MusicGen checkpoint.

    Raises ModelError for a folder without one, of another kind, or with values that make no model.
    """
    return _musicgen_config(ConfigValues.load(folder), str(folder))


def musicgen_config(values: Mapping[str, object], where: str) -> MusicGenConfig:
    """What a config.json with these `values` says. Raises ModelError as `read_config` does."""
    return _musicgen_config(ConfigValues(values, where), where)


def _musicgen_config(config: ConfigValues, where: str) -> MusicGenConfig:
    kind = config.get("model_type", str, "")
    if kind not in MUSICGEN_TYPES:
        other = _KINDS_OF_OTHERS.get(kind, f"of the kind {kind!r}")
        raise ModelError(
            f"{where} is {other}, not a composer; expected a MusicGen checkpoint, whose "
            f"config.json has the model_type {' or '.join(map(repr, MUSICGEN_TYPES))}"
        )
    melody = kind == "musicgen_melody"
    return MusicGenConfig(
        text=_text_config(config.part("text_encoder")),
        codec=_codec_config(config.part("audio_encoder")),
        decoder=_decoder_config(config.part("decoder"), prefix=melody),
        chroma_bins=config.get("num_chroma", int, 12) if melody else None,
        chroma_frames=config.get("chroma_length", int, 235) if melody else None,
    )


def read_values(folder: Path) -> dict[str, object]:
    """A config.json as it stands. Raises ModelError for a folder without one."""
    return ConfigValues.load(folder).values()


def codec_part(weights: Weights) -> Weights:
    """The tensors of the codec alone, of a MusicGen checkpoint or of a codec's."""
    inside = any(name.startswith(CODEC_PART) for name in weights)
    return weights.below(CODEC_PART) if inside else weights


def read_codec_config(folder: Path) -> CodecConfig | MagnitudeConfig:
    """The codec of a folder, by itself or the part of a MusicGen. Raises ModelError as
    `read_config` does."""
    config = ConfigValues.load(folder)
    if config.get("model_type", str, "") in ("encodec", MAGNITUDE):
        return _codec_config(config)
    return read_config(folder).codec


def encodec_of(codec: CodecConfig | MagnitudeConfig, folder: Path) -> CodecConfig:
    """The codec of `folder`, for what is done with EnCodec alone: ModelError for another."""
    if not isinstance(codec, CodecConfig):
        raise ModelError(f"{folder} has a magnitude codec; expected an EnCodec for this")
    return codec


def read_text_config(folder: Path) -> TextConfig:
    """The text encoder of a MusicGen or T5 folder. Raises ModelError as `read_config` does."""
    config = ConfigValues.load(folder)
    if config.get("model_type", str, "") == "t5":
        return _text_config(config)
    return read_config(folder).text


def _decoder_config(config: ConfigValues, *, prefix: bool) -> DecoderConfig:
    config.expect("activation_function", "gelu", "gelu")
    decoder = DecoderConfig(
        layers=config.count("num_hidden_layers"),
        width=config.count("hidden_size"),
        heads=config.count("num_attention_heads"),
        ffn_width=config.count("ffn_dim"),
        codebooks=config.count("num_codebooks"),
        card=config.count("vocab_size"),
        channels=config.count("audio_channels", 1),
        max_positions=max(config.count("max_position_embeddings", 2048), _LEAST_POSITIONS),
        prefix=prefix,
    )
    if decoder.width % decoder.heads:
        config.refuse("hidden_size", f"a multiple of num_attention_heads, {decoder.heads}")
    if decoder.channels not in (1, 2) or decoder.codebooks % decoder.channels:
        config.refuse("audio_channels", "1 or 2, and num_codebooks a multiple of it")
    return decoder


def _text_config(config: ConfigValues) -> TextConfig:
    config.expect("model_type", "t5", "t5")
    gated, _, activation = config.get("feed_forward_proj", str, "relu").rpartition("-")
    if gated not in ("", "gated") or activation not in ("relu", "gelu"):
        config.refuse("feed_forward_proj", "relu or gated-gelu")
    text = TextConfig(
        vocabulary=config.count("vocab_size"),
        width=config.count("d_model"),
        head_width=config.count("d_kv"),
        heads=config.count("num_heads"),
        layers=config.count("num_layers"),
        ffn_width=config.count("d_ff"),
        gated=gated == "gated",
        activation=activation,
        buckets=config.count("relative_attention_num_buckets", 32),
        max_distance=config.count("relative_attention_max_distance", 128),
        epsilon=config.get("layer_norm_epsilon", float, 1e-6),
        pad=config.get("pad_token_id", int, 0),
        end=config.get("eos_token_id", int, 1),
    )
    if text.buckets < 4:
        config.refuse("relative_attention_num_buckets", "4 or more")
    if text.max_distance <= text.buckets // 4:  # so many have a bucket of their own
        config.refuse("relative_attention_max_distance", f"more than {text.buckets // 4}")
    return text


def _codec_config(config: ConfigValues) -> CodecConfig | MagnitudeConfig:
    if config.get("model_type", str, "encodec") == MAGNITUDE:
        return magnitude_config(config)
    return _encodec_config(config)


def _encodec_config(config: ConfigValues) -> CodecConfig:
    config.expect("model_type", "encodec", "encodec")
    config.expect("norm_type", "weight_norm", "weight_norm")
    config.expect("normalize", False, False)
    config.expect("pad_mode", "reflect", "reflect")
    hidden = config.count("hidden_size", 128)
    bandwidths = config.numbers("target_bandwidths", (1.5, 3.0, 6.0, 12.0, 24.0))
    codec = CodecConfig(
        sample_rate=config.count("sampling_rate", 24_000),
        channels=config.count("audio_channels", 1),
        filters=config.count("num_filters", 32),
        hidden=hidden,
        ratios=tuple(int(ratio) for ratio in config.numbers("upsampling_ratios", (8, 5, 4, 2))),
        codebook_size=config.count("codebook_size", 1024),
        codebook_width=config.count("codebook_dim", hidden),
        bandwidths_kbps=tuple(sorted(bandwidths)),
        lstm_layers=config.count("num_lstm_layers", 2),
        residual_layers=config.count("num_residual_layers", 1),
        kernel=config.count("kernel_size", 7),
        last_kernel=config.count("last_kernel_size", 7),
        residual_kernel=config.count("residual_kernel_size", 3),
        dilation_growth=config.count("dilation_growth_rate", 2),
        compress=config.count("compress", 2),
        causal=config.get("use_causal_conv", bool, True),
        shortcut=config.get("use_conv_shortcut", bool, True),
        trim_right_ratio=config.get("trim_right_ratio", float, 1.0),
    )
    if codec.codebooks() < 1:
        config.refuse("target_bandwidths", "enough for one codebook")
    if codec.codebook_width != hidden:
        config.refuse("codebook_dim", f"the hidden_size, {hidden}")
    return codec
