"""Checkpoints of other layouts as safe checkpoints of transformers: `convert`.

What comes in: a folder of audiocraft, or one of transformers that has pickles for weights or lacks
its tokenizer. Tensors pass one by one, so memory stays at the largest of them. What is written is
read again and compared with the source, tensor by tensor.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from antiphon.compose.checkpoint import (
    codec_part,
    encodec_of,
    musicgen_config,
    read_codec_config,
    read_config,
    read_text_config,
    read_values,
)
from antiphon.compose.codecs import encodec_layers
from antiphon.compose.codecs.encodec_graph import weight_norm
from antiphon.compose.config_values import CONFIG_NAME
from antiphon.compose.conversion import audiocraft, audiocraft_codec
from antiphon.compose.conversion.pickles import pickle_files, read_pickle, tensors_of
from antiphon.compose.conversion.result import (
    Counted,
    Made,
    OnProgress,
    Parity,
    record_origin,
    whole_folder,
)
from antiphon.compose.conversion.tensors import (
    Tensor,
    largest_difference,
    of_weights,
    opened,
    write_safetensors,
)
from antiphon.compose.text import TOKENIZER_NAME, load_tokenizer, text_part
from antiphon.compose.text_graph import EMBEDDING_NAMES, check_text_weights, embedding_name
from antiphon.errors import ConfigError, ModelError, ModelMissingError
from antiphon.models import find
from antiphon.models.manifest import RECORD_NAME
from antiphon.weights import (
    INDEX_NAME,
    WEIGHTS_NAME,
    Float32,
    Weights,
    weight_files,
)

TEXT_ENCODER, CODEC = "google-t5/t5-base", "facebook/encodec_32khz"
TOKENIZER_FILES = (TOKENIZER_NAME, "tokenizer_config.json", "special_tokens_map.json")
_SMALL_SUFFIXES = frozenset({".json", ".txt", ".jinja", ".model", ".md"})
_TEXT_PART, _CODEC_PART = "text_encoder.", "audio_encoder."
_PRECISIONS = {"F32": "fp32", "F16": "fp16", "BF16": "bf16"}

Pairs = Iterator[tuple[str, Float32, Float32]]


@dataclass(frozen=True, eq=False)
class _Plan:
    """What will be written, and how it is checked: `pairs` gives for what was written the name of
    a tensor, what the source has, and what the result has for it."""

    small: Mapping[str, bytes]
    tensors: Mapping[str, Tensor]
    pairs: Callable[[Mapping[str, Tensor]], Pairs]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Parts:
    """Where the parts that a source may lack are looked for: what was named, else the models."""

    text_encoder: Path | None
    codec: Path | None
    models: Path | None

    def text_folder(self, name: str, what: str = "a text encoder") -> Path:
        return self.text_encoder or self._found(name, what, "--text-encoder")

    def codec_folder(self, name: str) -> Path:
        return self.codec or self._found(name, "a codec", "--codec")

    def _found(self, name: str, what: str, option: str) -> Path:
        try:
            return find(name, self.models)
        except ModelMissingError as error:
            raise ModelMissingError(
                f"the checkpoint needs {what} that is not in it: {error}; or name its folder with "
                f"{option} DIR, which may be another MusicGen of transformers"
            ) from error


def convert(
    source: Path,
    output: Path,
    *,
    text_encoder: Path | None = None,
    codec: Path | None = None,
    models: Path | None = None,
    on_progress: OnProgress | None = None,
) -> Made:
    """Make a checkpoint folder `output` in the layout of transformers, with safetensors.

    `text_encoder` and `codec` are folders with what `source` lacks (None: looked for in `models`).
    Half precision stays half. The parity is the largest difference between a value of the source
    and the one that was written for it; expected is 0.

    Raises ConfigError for an `output` that is not empty and a source that needs no conversion,
    ModelError for one that cannot be converted, ModelMissingError for a part that is not here,
    DependencyError without torch, StorageError.
    """
    show = on_progress or (lambda stage, done, total: None)
    parts = _Parts(text_encoder, codec, models)
    with whole_folder(output) as folder, ExitStack() as stack:
        # Folders of the hub hold both layouts: that of transformers counts.
        here = [(source / name).is_file() for name in (audiocraft.LM_NAME, CONFIG_NAME)]
        read = _from_audiocraft if here == [True, False] else _from_transformers
        plan = read(source, parts, stack)
        for name, data in plan.small.items():
            (folder / name).write_bytes(data)
        counted = Counted("writing", sum(t.size_bytes for t in plan.tensors.values()), show)
        write_safetensors(folder / WEIGHTS_NAME, plan.tensors, counted)
        _require_whole(folder)
        parity = Parity(_difference(folder / WEIGHTS_NAME, plan, show), 0.0)
        parity.require("largest difference of a value of a tensor")
        files = record_origin(folder, source, show)
    kinds = {_PRECISIONS[t.kind] for t in plan.tensors.values() if t.kind in _PRECISIONS}
    return Made(
        source=source,
        output=output,
        format="transformers",
        precision=kinds.pop() if len(kinds) == 1 else "mixed",
        files=tuple(file.name for file in files),
        size_bytes=sum(file.size_bytes or 0 for file in files),
        parity=parity,
        notes=plan.notes,
    )


def _difference(path: Path, plan: _Plan, show: OnProgress) -> float:
    """The largest between source and result."""
    worst = 0.0
    with opened(path) as result:
        count = Counted("comparing", sum(t.size_bytes for t in result.values()), show)
        for name, expected, found in plan.pairs(result):
            if not np.isfinite(expected).all():
                raise ModelError(f"tensor {name!r} of the source is not finite; it is damaged")
            worst = max(worst, largest_difference(expected, found))
            count(found.nbytes)
    return worst


def _require_whole(folder: Path) -> None:
    """Raise ModelError unless what was written has all that loading it asks for."""
    kind = read_values(folder)["model_type"]
    with Weights(weight_files(folder)) as weights:
        if kind == "t5":
            check_text_weights(weights, read_text_config(folder))
        elif kind == "encodec":
            _require_codec(weights, folder)
        else:
            config = read_config(folder)
            shapes = config.shapes()
            text = weights.below(_TEXT_PART)
            check_text_weights(text, config.text)
            weights.require({n: s for n, s in shapes.items() if not n.startswith(_TEXT_PART)})
            _require_codec(weights.below(_CODEC_PART), folder)
    if kind != "encodec":
        load_tokenizer(folder, read_text_config(folder))


def _require_codec(weights: Weights, folder: Path) -> None:
    config = encodec_of(read_codec_config(folder), folder)
    weights.require(encodec_layers.shapes(config, weight_norm(weights, config)))


def _from_audiocraft(source: Path, parts: _Parts, stack: ExitStack) -> _Plan:
    lm = audiocraft.read_saved(source / audiocraft.LM_NAME)
    text_folder = parts.text_folder(audiocraft.text_encoder_name(lm))
    text_config, text_tensors = _text_encoder(text_folder, stack)
    own = None
    pretrained = CODEC
    codec_config: Mapping[str, object]
    if parts.codec is None:
        path = source / audiocraft.CODEC_NAME
        if not path.is_file():
            raise ModelError(
                f"{source} lacks {path.name}, its codec; fetch it, or name a codec with --codec DIR"
            )
        saved = audiocraft.read_saved(path)
        own, pretrained = (None, saved.pretrained) if saved.pretrained else (saved, CODEC)
    if own is not None:
        codec_config = audiocraft_codec.codec_config(own)
        offered = frozenset({audiocraft_codec.codebooks(own)})
        names = audiocraft_codec.codec_names(own)
        codec_tensors = {names[name]: tensor for name, tensor in own.tensors.items()}
    else:
        codec_folder = parts.codec_folder(pretrained)
        described = encodec_of(read_codec_config(codec_folder), codec_folder)
        offered = frozenset(map(described.codebooks, described.bandwidths_kbps))
        codec_config, codec_tensors = _codec(codec_folder, stack)
    config = audiocraft.musicgen_config(lm, text_config, codec_config, offered)
    shapes = musicgen_config(config, str(source)).shapes()
    decoder = audiocraft.decoder_tensors(
        lm, {n: s for n, s in shapes.items() if not n.startswith(_TEXT_PART)}
    )
    rest = {f"{_TEXT_PART}{n}": t for n, t in text_tensors.items()}
    rest |= {f"{_CODEC_PART}{n}": t for n, t in codec_tensors.items()}

    def pairs(result: Mapping[str, Tensor]) -> Pairs:
        for name, places in audiocraft.taken_apart(lm):
            found = audiocraft.joined([result[place].values() for place in places])
            yield name, lm.tensors[name].values(), found
        for name, tensor in rest.items():
            yield name, tensor.values(), result[name].values()

    card = lm.shape("linears.0.weight")[0]
    generation = {
        "bos_token_id": card,
        "decoder_start_token_id": card,
        "pad_token_id": card,
        "do_sample": True,
        "guidance_scale": 3.0,
        "max_length": 1500,
    }
    small = {CONFIG_NAME: _pretty(config), "generation_config.json": _pretty(generation)}
    small |= _files(text_folder, TOKENIZER_FILES)
    note = audiocraft_codec.padding_note(own) if own else None
    return _Plan(small, decoder | rest, pairs, (note,) if note else ())


def _from_transformers(source: Path, parts: _Parts, stack: ExitStack) -> _Plan:
    config = read_values(source)
    kind = config.get("model_type")
    if kind not in ("t5", "encodec"):
        read_config(source)  # or says what it is
    lacks_tokenizer = kind != "encodec" and not (source / TOKENIZER_NAME).is_file()
    tensors: dict[str, Tensor] = {}
    if (source / INDEX_NAME).is_file() or (source / WEIGHTS_NAME).is_file():
        if not lacks_tokenizer:
            raise ConfigError(
                f"{source} is a whole checkpoint with safetensors: there is nothing to convert; "
                "'antiphon export' makes other forms of it"
            )
        weights = stack.enter_context(Weights(weight_files(source)))
        tensors = {name: of_weights(weights, name) for name in weights}
    else:
        for path in pickle_files(source):
            tensors |= tensors_of(read_pickle(path), str(path))
        if not tensors:
            weight_files(source)  # says what there is instead
    names = [path.name for path in sorted(source.iterdir()) if path.is_file()]
    small = _files(source, [n for n in names if Path(n).suffix in _SMALL_SUFFIXES])
    for name in [n for n in small if n.endswith(".index.json") or n == RECORD_NAME]:
        del small[name]
    if lacks_tokenizer:
        folder = parts.text_folder(TEXT_ENCODER, f"a {TOKENIZER_NAME} (spiece.model is not read)")
        load_tokenizer(folder, read_text_config(source))  # or says what is wrong with it
        small |= _files(folder, TOKENIZER_FILES)

    def pairs(result: Mapping[str, Tensor]) -> Pairs:
        for name, tensor in tensors.items():
            yield name, tensor.values(), result[name].values()

    return _Plan(small, tensors, pairs)


def _text_encoder(folder: Path, stack: ExitStack) -> tuple[Mapping[str, object], dict[str, Tensor]]:
    """The config.json and the tensors of the encoder of a T5 or MusicGen folder."""
    config = read_text_config(folder)
    load_tokenizer(folder, config)
    part = text_part(stack.enter_context(Weights(weight_files(folder))))
    check_text_weights(part, config)
    tensors = {name: of_weights(part, name) for name in config.shapes() if name in part}
    tensors[EMBEDDING_NAMES[0]] = of_weights(part, embedding_name(part))
    return _part(folder, "text_encoder"), tensors


def _codec(folder: Path, stack: ExitStack) -> tuple[Mapping[str, object], dict[str, Tensor]]:
    """The config.json and the tensors of an EnCodec or MusicGen folder."""
    weights = codec_part(stack.enter_context(Weights(weight_files(folder))))
    return _part(folder, "audio_encoder"), {name: of_weights(weights, name) for name in weights}


def _part(folder: Path, name: str) -> Mapping[str, object]:
    """The config.json of a folder, or its part `name` where it is a MusicGen."""
    values = read_values(folder)
    part = values.get(name, values)
    return part if isinstance(part, dict) else values


def _files(folder: Path, names: list[str] | tuple[str, ...]) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in names if (folder / name).is_file()}


def _pretty(values: Mapping[str, object]) -> bytes:
    return (json.dumps(values, indent=2) + "\n").encode()
