"""The EnCodec of an audiocraft checkpoint as that of transformers: its config.json, its names."""

from __future__ import annotations

import re

import numpy as np

from antiphon.compose.conversion.audiocraft import Saved, whole
from antiphon.errors import ModelError


def codec_config(codec: Saved) -> dict[str, object]:
    """The config.json of the EnCodec in `codec`. Raises ModelError for one of another kind."""
    norm = next((n for n in ("weight_v", "parametrizations.weight.original1")
                 if f"encoder.model.0.conv.conv.{n}" in codec.tensors), "weight")  # fmt: skip

    def conv(name: str) -> tuple[int, ...]:
        return codec.shape(f"{name}.{norm}")

    ups = sorted(
        int(found[1])
        for name in codec.tensors
        if (found := re.fullmatch(r"decoder\.model\.(\d+)\.convtr\.convtr\.bias", name))
    )
    blocks = sorted(
        int(found[1])
        for name in codec.tensors
        if (found := re.fullmatch(r"decoder\.model\.(\d+)\.block\.1\.conv\.conv\.bias", name))
    )
    if not ups or not blocks or len(blocks) % len(ups):
        raise ModelError(f"{codec.path} is no EnCodec: it has {len(ups)} transposed convolutions")
    filters, channels, kernel = conv("encoder.model.0.conv.conv")
    inner, outer, residual_kernel = conv(f"decoder.model.{blocks[0]}.block.1.conv.conv")
    last = codec.count(r"decoder\.model\.(\d+)\.conv\.") - 1
    ratios = [conv(f"decoder.model.{number}.convtr.convtr")[2] // 2 for number in ups]
    size, width = codec.shape("quantizer.vq.layers.0._codebook.embed")
    rate = whole(codec.setting("sample_rate")) or whole(codec.setting("encodec", "sample_rate"))
    if not rate:
        raise ModelError(f"{codec.path}: xp.cfg names no sample_rate; expected one in Hz")
    bits = max(1, (size - 1).bit_length())
    frames = -(-rate // int(np.prod(ratios)))
    if codec.setting("encodec", "renormalize"):
        raise ModelError(f"{codec.path}: its codec normalises the sound first; expected one that "
                         "does not, as the published MusicGen have")  # fmt: skip
    trim = codec.setting("seanet", "decoder", "trim_right_ratio")
    return {
        "model_type": "encodec",
        "architectures": ["EncodecModel"],
        "sampling_rate": rate,
        "audio_channels": channels,
        "num_filters": filters,
        "hidden_size": conv("decoder.model.0.conv.conv")[1],
        "upsampling_ratios": ratios,
        "codebook_size": size,
        "codebook_dim": width,
        "target_bandwidths": [_kbps(codebooks(codec) * frames * bits)],
        "num_lstm_layers": codec.count(r"decoder\.model\.1\.lstm\.bias_hh_l(\d+)"),
        "num_residual_layers": len(blocks) // len(ups),
        "kernel_size": kernel,
        "last_kernel_size": conv(f"decoder.model.{last}.conv.conv")[2],
        "residual_kernel_size": residual_kernel,
        "dilation_growth_rate": whole(codec.setting("seanet", "dilation_base")) or 2,
        "compress": outer // inner,
        "use_causal_conv": codec.setting("seanet", "causal") is True
        or codec.setting("encodec", "causal") is True,
        "use_conv_shortcut": any(".shortcut." in name for name in codec.tensors),
        "trim_right_ratio": float(trim) if isinstance(trim, int | float) else 1.0,
        "norm_type": "weight_norm",
        "pad_mode": "reflect",
        "normalize": False,
    }


def _kbps(bits_per_second: int) -> float:
    """So that rounding down, as it is done with bandwidths, takes no codebook away."""
    kbps = bits_per_second / 1000
    return kbps if 1000 * kbps >= bits_per_second else (bits_per_second + 0.5) / 1000


def codebooks(codec: Saved) -> int:
    return codec.count(r"quantizer\.vq\.layers\.(\d+)\.")


def codec_names(codec: Saved) -> dict[str, str]:
    """What its tensors are called in transformers. Raises ModelError for one of no EnCodec."""
    names = {}
    for name in codec.tensors:
        new = re.sub(r"^(encoder|decoder)\.model\.(\d+)\.", r"\1.layers.\2.", name)
        new = re.sub(r"\.(conv\.conv|convtr\.convtr)\.", ".conv.", new)
        new = re.sub(
            r"^quantizer\.vq\.layers\.(\d+)\._codebook\.", r"quantizer.layers.\1.codebook.", new
        )
        if new == name:
            raise ModelError(f"{codec.path}: {name!r} is no tensor of an EnCodec")
        names[name] = new
    return names


def padding_note(codec: Saved) -> str | None:
    """What a listener may hear of the one thing that the published conversions change, too."""
    mode = codec.setting("seanet", "pad_mode")
    if mode in (None, "reflect"):
        return None
    return (
        f"the codec was trained with {mode} padding; it is run with reflect, as in the published "
        "checkpoints of transformers: the first and last milliseconds differ"
    )
