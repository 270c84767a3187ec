"""The checkpoints of audiocraft, in which MusicGen was first published, as those of transformers.

Two files of torch: `state_dict.bin` has the decoder, `compression_state_dict.bin` the codec or the
name of one; each holds tensors ("best_state") and the settings of the training as YAML ("xp.cfg").
The text encoder is in neither. What a tensor's shape tells is read from the shape; the settings
are asked only for the number of heads, the sample rate, and what else leaves no trace in a shape.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from antiphon.compose.conversion.pickles import read_pickle, tensors_of
from antiphon.compose.conversion.tensors import Tensor, rows
from antiphon.errors import ModelError
from antiphon.weights import Float32

LM_NAME, CODEC_NAME = "state_dict.bin", "compression_state_dict.bin"
HEAD_WIDTH = 64
"""Of all published checkpoints: where the settings do not tell, there are width / 64 heads."""

_CONDITIONERS = "condition_provider.conditioners."
_TEXT, _MELODY = f"{_CONDITIONERS}description.", f"{_CONDITIONERS}self_wav."
_NOT_NEEDED = f"{_MELODY}chroma."  # the window of a spectrogram
_DECODER = "decoder.model.decoder."
_CHROMA_FRAMES = 235  # 30 s of them, as the melody checkpoints were trained
_LAYER = {
    "self_attn_layer_norm": "norm1",
    "encoder_attn_layer_norm": "norm_cross",
    "final_layer_norm": "norm2",
    "fc1": "linear1",
    "fc2": "linear2",
    "self_attn.out_proj": "self_attn.out_proj",
    "encoder_attn.out_proj": "cross_attention.out_proj",
}
_TOP = {
    f"{_DECODER}layer_norm": "out_norm",
    "enc_to_dec_proj": f"{_TEXT}output_proj",
    "audio_enc_to_dec_proj": f"{_MELODY}output_proj",
}
_QKV = "qkv"


@dataclass(frozen=True, eq=False)
class Saved:
    """One of the two files. `pretrained` is the codec that a file names instead of holding it."""

    path: Path
    tensors: Mapping[str, Tensor]
    settings: Mapping[str, object]
    pretrained: str | None = None

    def setting(self, *names: str) -> object:
        """A value of the settings by its way through them; None where there is none."""
        value: object = self.settings
        for name in names:
            value = value.get(name) if isinstance(value, Mapping) else None
        return value

    def shape(self, name: str) -> tuple[int, ...]:
        try:
            return self.tensors[name].shape
        except KeyError:
            raise ModelError(
                f"{self.path} has no tensor {name!r}; expected a MusicGen of audiocraft, which has"
            ) from None

    def count(self, pattern: str) -> int:
        """One more than the highest number that `pattern` finds in the names; 0 where none is."""
        found = (re.match(pattern, name) for name in self.tensors)
        return max((int(match[1]) + 1 for match in found if match), default=0)


def read_saved(path: Path) -> Saved:
    """Raises ModelError for a file of another kind, and what `read_pickle` raises."""
    content = read_pickle(path)
    pretrained = content.get("pretrained")
    if isinstance(pretrained, str):
        return Saved(path, {}, {}, pretrained.removeprefix("//pretrained/"))
    state = content.get("best_state")
    if isinstance(state, dict) and set(state) == {"model"}:  # of a training, not of a release
        state = state["model"]
    if state is None:
        raise ModelError(
            f"{path} has {', '.join(list(content)[:4]) or 'nothing'}; expected best_state, as the "
            "releases of audiocraft have"
        )
    return Saved(path, tensors_of(state, f"{path}, best_state"), _settings(content, path))


def _settings(content: Mapping[str, object], path: Path) -> Mapping[str, object]:
    import yaml

    settings = content.get("xp.cfg", {})
    if isinstance(settings, str):
        try:
            settings = yaml.safe_load(settings)
        except yaml.YAMLError as error:
            raise ModelError(f"{path}: xp.cfg is no valid YAML: {error}") from error
    return settings if isinstance(settings, dict) else {}


def text_encoder_name(lm: Saved) -> str:
    """The hub's name of the text encoder it was trained with."""
    name = lm.setting("conditioners", "description", "t5", "name")
    if not isinstance(name, str):
        return "google-t5/t5-base"
    return name if "/" in name else f"google-t5/{name}"


def musicgen_config(
    lm: Saved, text: Mapping[str, object], codec: Mapping[str, object], offered: frozenset[int]
) -> dict[str, object]:
    """The config.json of the checkpoint, around those of its text encoder and its codec, which
    offers so many codebooks: half as many as there are in `lm` mean stereo.

    Raises ModelError for what transformers has no MusicGen for.
    """
    codebooks = lm.count(r"emb\.(\d+)\.weight$")
    layers = lm.count(r"transformer\.layers\.(\d+)\.")
    width = lm.shape("emb.0.weight")[-1]
    card = lm.shape("linears.0.weight")[0]
    text_width = lm.shape(f"{_TEXT}output_proj.weight")[1]
    if text_width != text.get("d_model"):
        raise ModelError(
            f"{lm.path} was trained with text states of width {text_width}, and the text encoder "
            f"has {text.get('d_model')}: it is another one (--text-encoder)"
        )
    melody = f"{_MELODY}output_proj.weight" in lm.tensors
    crossed = any(".cross_attention." in name for name in lm.tensors)
    if melody == crossed:
        raise ModelError(
            f"{lm.path} has {'attention to the text besides' if melody else 'neither'} a melody "
            f"{'before the codes' if melody else 'nor attention to a text'}; expected one of them"
        )
    mono = codebooks in offered
    if not mono and (codebooks % 2 or codebooks // 2 not in offered):
        raise ModelError(
            f"{lm.path} has {codebooks} codebooks and its codec "
            f"{' or '.join(map(str, sorted(offered)))}; expected as many, or twice as many for "
            "stereo: the codec is another one (--codec)"
        )
    if card != whole(codec.get("codebook_size")):
        raise ModelError(
            f"{lm.path} has {card} codes and its codec {codec.get('codebook_size')}; expected as "
            "many: the codec is another one (--codec)"
        )
    heads = whole(lm.setting("transformer_lm", "num_heads")) or width // HEAD_WIDTH
    if not heads or width % heads:
        raise ModelError(f"{lm.path}: a width of {width} makes no {heads} heads")
    kind = "musicgen_melody" if melody else "musicgen"
    name = "MusicgenMelody" if melody else "Musicgen"
    config: dict[str, object] = {
        "architectures": [f"{name}ForConditionalGeneration"],
        "model_type": kind,
        "is_encoder_decoder": not melody,
        "torch_dtype": "float32",
        "text_encoder": dict(text),
        "audio_encoder": dict(codec),
        "decoder": {
            "model_type": f"{kind}_decoder",
            "vocab_size": card,
            "hidden_size": width,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "ffn_dim": lm.shape("transformer.layers.0.linear1.weight")[0],
            "num_codebooks": codebooks,
            "audio_channels": 1 if mono else 2,
            "max_position_embeddings": 2048,
            "activation_function": "gelu",
            "pad_token_id": card,
            "bos_token_id": card,
            "tie_word_embeddings": False,
        },
    }
    if melody:
        bins = lm.shape(f"{_MELODY}output_proj.weight")[1]
        config |= {"num_chroma": bins, "chroma_length": _CHROMA_FRAMES}
    return config


def decoder_tensors(lm: Saved, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """The tensors of transformers with these names and shapes, each made from one of `lm`.

    Raises ModelError for a tensor that is absent or of another shape, and for one that is left
    over: it would be lost.
    """
    used: set[str] = set()
    made: dict[str, Tensor] = {}
    for name, shape in shapes.items():
        source, part = _source(name)
        whole = lm.shape(source)
        used.add(source)
        expected = shape if part is None else (3 * shape[0], *shape[1:])
        if whole != expected:
            raise ModelError(
                f"{lm.path}: {source!r} has the shape {whole}; expected {expected}, by the others"
            )
        tensor = lm.tensors[source]
        if part is not None:
            tensor = rows(tensor, part * shape[0], (part + 1) * shape[0])
        made[name] = tensor
    left = [n for n in lm.tensors if n not in used and not n.startswith(_NOT_NEEDED)]
    if left:
        raise ModelError(
            f"{lm.path} has {len(left)} tensors that no MusicGen of transformers has, such as "
            f"{left[0]!r}; expected the text or the melody kind"
        )
    return made


def _source(name: str) -> tuple[str, int | None]:
    """Which tensor of audiocraft holds one of transformers, and which third of its rows."""
    top, _, parameter = name.rpartition(".")
    if top in _TOP:
        return f"{_TOP[top]}.{parameter}", None
    if numbered := re.fullmatch(rf"{_DECODER}embed_tokens\.(\d+)|decoder\.lm_heads\.(\d+)", top):
        table, head = numbered.groups()
        return f"emb.{table}.weight" if table else f"linears.{head}.weight", None
    layer = re.fullmatch(rf"{_DECODER}layers\.(\d+)\.(.+)", top)
    assert layer, f"{name} is in no layer"
    number, inner = layer.groups()
    place = f"transformer.layers.{number}."
    if inner in _LAYER:
        return f"{place}{_LAYER[inner]}.{parameter}", None
    attention = "self_attn" if inner.startswith("self_attn.") else "cross_attention"
    return f"{place}{attention}.in_proj_weight", _QKV.index(inner[-len("q_proj")])


def taken_apart(lm: Saved) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The tensors of `lm`, each with the tensors of transformers whose rows make it up.

    The way back, written apart from `decoder_tensors`: what is written is checked by it.
    """
    words = {
        "out_norm": "decoder.model.decoder.layer_norm",
        "norm1": "self_attn_layer_norm",
        "norm_cross": "encoder_attn_layer_norm",
        "norm2": "final_layer_norm",
        "linear1": "fc1",
        "linear2": "fc2",
        "cross_attention": "encoder_attn",
        "emb": "decoder.model.decoder.embed_tokens",
        "linears": "decoder.lm_heads",
        "transformer": "decoder.model.decoder",
    }
    for name in lm.tensors:
        if name.startswith(_NOT_NEEDED):
            continue
        if name.startswith(_CONDITIONERS):
            before = "audio_" if name.startswith(_MELODY) else ""
            yield name, (f"{before}enc_to_dec_proj.{name.rpartition('.')[2]}",)
            continue
        renamed = ".".join(words.get(word, word) for word in name.split("."))
        parts = [renamed]
        if renamed.endswith("in_proj_weight"):
            parts = [renamed.replace("in_proj_weight", f"{x}_proj.weight") for x in "qkv"]
        yield name, tuple(parts)


def joined(parts: list[Float32]) -> Float32:
    """Rows one below the other, as q, k and v are kept."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def whole(value: object) -> int | None:
    """A number above 0 of the settings; None for all else."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
