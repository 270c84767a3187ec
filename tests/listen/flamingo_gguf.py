"""A tiny AudioFlamingo3 checkpoint as the two files llama.cpp wants: model and projector.

The names of tensors and keys are those that llama.cpp's `clip.cpp` (projector type
`musicflamingo`) and its qwen2 model look for.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

_MODEL = {  # after `language_model.`
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_PROJECTOR = {
    "audio_tower.conv1": "a.conv1d.1",
    "audio_tower.conv2": "a.conv1d.2",
    "audio_tower.embed_positions": "a.position_embd",
    "audio_tower.layer_norm": "a.post_ln",
    "multi_modal_projector.linear_1": "mm.a.mlp.1",
    "multi_modal_projector.linear_2": "mm.a.mlp.2",
    "self_attn_layer_norm": "ln1",
    "final_layer_norm": "ln2",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.out_proj": "attn_out",
    "fc1": "ffn_up",
    "fc2": "ffn_down",
}


def convert(
    checkpoint: Path, folder: Path, name: str = "tiny", precision: Literal["f32", "q8_0"] = "f32"
) -> Path:
    """Write `<name>.<precision>.gguf` and `<name>.mmproj-f32.gguf`; the path of the model."""
    from safetensors.numpy import load_file

    folder.mkdir(parents=True, exist_ok=True)
    config = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
    tensors = load_file(checkpoint / "model.safetensors")
    model = folder / f"{name}.{precision}.gguf"
    _write_model(model, name, config["text_config"], tensors, checkpoint, precision)
    _write_projector(folder / f"{name}.mmproj-f32.gguf", config, tensors)
    return model


def _write_model(
    path: Path,
    name: str,
    config: dict[str, Any],
    tensors: dict[str, Floats],
    checkpoint: Path,
    precision: str,
) -> None:
    import gguf

    out = gguf.GGUFWriter(path, "qwen2")
    out.add_name(name)
    out.add_context_length(config["max_position_embeddings"])
    out.add_embedding_length(config["hidden_size"])
    out.add_block_count(config["num_hidden_layers"])
    out.add_feed_forward_length(config["intermediate_size"])
    out.add_head_count(config["num_attention_heads"])
    out.add_head_count_kv(config["num_key_value_heads"])
    out.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    out.add_layer_norm_rms_eps(config["rms_norm_eps"])
    quantised = precision == "q8_0"
    out.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0 if quantised else gguf.LlamaFileType.ALL_F32)
    _add_vocabulary(out, checkpoint, config)
    for key, array in tensors.items():
        if not key.startswith("language_model."):
            continue
        target = _renamed(key.removeprefix("language_model."), _MODEL, "model.layers.", "blk.")
        if quantised and array.ndim == 2:
            kind = gguf.GGMLQuantizationType.Q8_0
            out.add_tensor(target, gguf.quantize(array, kind), raw_dtype=kind)
        else:
            out.add_tensor(target, array.astype(np.float32))
    _finish(out)


def _add_vocabulary(out: Any, checkpoint: Path, config: dict[str, Any]) -> None:
    import gguf

    tokenizer = json.loads((checkpoint / "tokenizer.json").read_text(encoding="utf-8"))
    words = dict(tokenizer["model"]["vocab"])
    special = {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
    tokens = [f"[PAD{index}]" for index in range(config["vocab_size"])]
    kinds = [gguf.TokenType.UNUSED] * len(tokens)
    for mapping, kind in ((words, gguf.TokenType.NORMAL), (special, gguf.TokenType.CONTROL)):
        for token, index in mapping.items():
            tokens[index], kinds[index] = token, kind
    merges = tokenizer["model"]["merges"]
    out.add_tokenizer_model("gpt2")
    out.add_tokenizer_pre("qwen2")
    out.add_token_list(tokens)
    out.add_token_types(kinds)
    out.add_token_merges([" ".join(m) if isinstance(m, list) else m for m in merges])
    out.add_eos_token_id(config["eos_token_id"])
    out.add_pad_token_id(config["pad_token_id"])
    out.add_add_bos_token(False)
    out.add_chat_template((checkpoint / "chat_template.jinja").read_text(encoding="utf-8"))


def _write_projector(path: Path, config: dict[str, Any], tensors: dict[str, Floats]) -> None:
    import gguf

    audio = config["audio_config"]
    out = gguf.GGUFWriter(path, "clip")
    out.add_type(gguf.GGUFType.MMPROJ)
    out.add_file_type(gguf.LlamaFileType.ALL_F32)
    out.add_clip_has_audio_encoder(True)
    out.add_clip_projector_type("musicflamingo")
    out.add_audio_projection_dim(config["text_config"]["hidden_size"])
    out.add_audio_embedding_length(audio["hidden_size"])
    out.add_audio_feed_forward_length(audio["intermediate_size"])
    out.add_audio_block_count(audio["num_hidden_layers"])
    out.add_audio_head_count(audio["num_attention_heads"])
    out.add_audio_num_mel_bins(audio["num_mel_bins"])
    out.add_audio_attention_layernorm_eps(1e-5)
    for key, array in tensors.items():
        if key.startswith("language_model."):
            continue
        target = _renamed(key, _PROJECTOR, "audio_tower.layers.", "a.blk.")
        if target in ("a.conv1d.1.bias", "a.conv1d.2.bias"):
            array = array[:, None]  # [D] -> [D, 1]: added to [D, T]
        out.add_tensor(target, array.astype(np.float32))
    _finish(out)


def _renamed(key: str, names: dict[str, str], layers: str, blocks: str) -> str:
    name, _, kind = key.rpartition(".")
    if not name.startswith(layers):
        return f"{names[name]}.{kind}"
    number, _, rest = name.removeprefix(layers).partition(".")
    return f"{blocks}{number}.{names[rest]}.{kind}"


def _finish(out: Any) -> None:
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()
