"""Folders in the layout of audiocraft, made of models of transformers.

Written from the names that audiocraft's own modules give their tensors, apart from what reads them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import MusicgenForConditionalGeneration, MusicgenMelodyForConditionalGeneration

Model = MusicgenForConditionalGeneration | MusicgenMelodyForConditionalGeneration
State = dict[str, torch.Tensor]


def write_audiocraft(
    folder: Path,
    model: Model,
    *,
    codebooks: int = 4,
    dtype: torch.dtype = torch.float32,
    pretrained: str | None = None,
    settings: str | None = None,
) -> Path:
    """`state_dict.bin` and `compression_state_dict.bin`; the codec keeps its first `codebooks`.

    With `pretrained` the codec is only named. `settings` takes the place of the xp.cfg.
    """
    folder.mkdir()
    state = {name: values.to(dtype) for name, values in lm_state(model).items()}
    heads = model.config.decoder.num_attention_heads
    text = f"transformer_lm: {{num_heads: {heads}, card: 64}}\nconditioners:\n  args: {{}}\n"
    save(folder / "state_dict.bin", state, text if settings is None else settings)
    place = folder / "compression_state_dict.bin"
    if pretrained is not None:
        torch.save({"pretrained": pretrained, "exported": True, "version": "1.4.0"}, place)
        return folder
    config = model.config.audio_encoder
    text = (
        f"sample_rate: {config.sampling_rate}\nencodec: {{sample_rate: '${{sample_rate}}', "
        "causal: false, renormalize: false}\nseanet: {causal: '${encodec.causal}', "
        "dilation_base: 2, pad_mode: reflect, decoder: {trim_right_ratio: 1.0}}\n"
    )
    save(place, codec_state(model.audio_encoder, codebooks), text)
    return folder


def save(path: Path, state: State, settings: Any, **more: Any) -> None:
    torch.save({"best_state": state, "xp.cfg": settings, "exported": True, **more}, path)


def lm_state(model: Model) -> State:
    """Of audiocraft's LMModel."""
    decoder = model.decoder.model.decoder
    state: State = {}
    for number, table in enumerate(decoder.embed_tokens):
        state[f"emb.{number}.weight"] = table.weight
        state[f"linears.{number}.weight"] = model.decoder.lm_heads[number].weight
    for number, layer in enumerate(decoder.layers):
        at = f"transformer.layers.{number}"
        pairs = [("self_attn", layer.self_attn, "norm1", layer.self_attn_layer_norm)]
        if hasattr(layer, "encoder_attn"):
            pairs.append(
                ("cross_attention", layer.encoder_attn, "norm_cross", layer.encoder_attn_layer_norm)
            )
        for name, attention, norm_name, norm in pairs:
            stacked = [attention.q_proj.weight, attention.k_proj.weight, attention.v_proj.weight]
            state[f"{at}.{name}.in_proj_weight"] = torch.cat(stacked)
            state[f"{at}.{name}.out_proj.weight"] = attention.out_proj.weight
            state[f"{at}.{norm_name}.weight"] = norm.weight
            state[f"{at}.{norm_name}.bias"] = norm.bias
        state[f"{at}.linear1.weight"] = layer.fc1.weight
        state[f"{at}.linear2.weight"] = layer.fc2.weight
        state[f"{at}.norm2.weight"] = layer.final_layer_norm.weight
        state[f"{at}.norm2.bias"] = layer.final_layer_norm.bias
    state["out_norm.weight"] = decoder.layer_norm.weight
    state["out_norm.bias"] = decoder.layer_norm.bias
    conditioners = "condition_provider.conditioners"
    state[f"{conditioners}.description.output_proj.weight"] = model.enc_to_dec_proj.weight
    state[f"{conditioners}.description.output_proj.bias"] = model.enc_to_dec_proj.bias
    if hasattr(model, "audio_enc_to_dec_proj"):
        projection = model.audio_enc_to_dec_proj
        state[f"{conditioners}.self_wav.output_proj.weight"] = projection.weight
        state[f"{conditioners}.self_wav.output_proj.bias"] = projection.bias
        state[f"{conditioners}.self_wav.chroma.spec.window"] = torch.hann_window(16)
    return {name: values.detach().clone() for name, values in state.items()}


def codec_state(codec: torch.nn.Module, codebooks: int) -> State:
    """Of audiocraft's EncodecModel: SEANet numbers its layers as transformers does, and wraps
    each convolution twice."""
    state: State = {}
    for half in ("encoder", "decoder"):
        for number, layer in enumerate(getattr(codec, half).layers):
            at = f"{half}.model.{number}"
            kind = type(layer).__name__
            if kind == "EncodecLSTM":
                state |= {f"{at}.lstm.{n}": v for n, v in layer.lstm.state_dict().items()}
            elif kind == "EncodecResnetBlock":
                for place in (1, 3):
                    state |= _conv(f"{at}.block.{place}.conv.conv", layer.block[place].conv)
                if isinstance(layer.shortcut, torch.nn.Module) and hasattr(layer.shortcut, "conv"):
                    state |= _conv(f"{at}.shortcut.conv.conv", layer.shortcut.conv)
            elif kind == "EncodecConvTranspose1d":
                state |= _conv(f"{at}.convtr.convtr", layer.conv)
            elif kind == "EncodecConv1d":
                state |= _conv(f"{at}.conv.conv", layer.conv)
    for number in range(codebooks):
        for name, values in codec.quantizer.layers[number].codebook.state_dict().items():
            state[f"quantizer.vq.layers.{number}._codebook.{name}"] = values
    return {name: values.detach().clone() for name, values in state.items()}


def _conv(at: str, conv: torch.nn.Module) -> State:
    parts = conv.parametrizations.weight
    return {
        f"{at}.bias": conv.bias,
        f"{at}.weight_g": parts.original0,
        f"{at}.weight_v": parts.original1,
    }
