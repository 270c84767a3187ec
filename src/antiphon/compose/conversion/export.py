"""A MusicGen checkpoint in another form, for another place: `export`.

As graphs for onnxruntime: what loading prepares in the cache, in a folder that is loaded without
the weights. As a checkpoint of transformers in full or half precision. What was written is loaded
and compared with the source before it takes its name.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from antiphon import __version__
from antiphon.arrange import arrange
from antiphon.compose.checkpoint import (
    CODEC_PART,
    CodecConfig,
    codec_part,
    encodec_of,
    read_config,
    read_values,
)
from antiphon.compose.config_values import CONFIG_NAME
from antiphon.compose.conversion.convert import TOKENIZER_FILES
from antiphon.compose.conversion.exported import (
    CODEBOOKS_NAME,
    CODEC,
    DECODER,
    EXPORT_NAME,
    TEXT,
    Exported,
    read_exported,
    require_files,
)
from antiphon.compose.conversion.packing import write_repacked
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
    in_precision,
    of_weights,
    packed,
    write_safetensors,
)
from antiphon.compose.conversion.unexport import checkpoint_tensors
from antiphon.compose.loading import ADAPTER_NAME, GRAPHS, LoadOptions, load_musicgen
from antiphon.compose.musicgen import MusicGen
from antiphon.compose.patterns import Codes
from antiphon.compose.requests import Request
from antiphon.compose.sampling import Sampling
from antiphon.compose.score_adapter import ScoreAdapter, read_adapter_config
from antiphon.compose.score_frames import score_frames
from antiphon.controls import Controls
from antiphon.errors import ConfigError
from antiphon.graphs import FORMAT, PRECISIONS
from antiphon.models.manifest import licence_of
from antiphon.models.record import read_record
from antiphon.plain import write_json
from antiphon.weights import WEIGHTS_NAME, Float32, Weights, weight_files

FORMATS: Mapping[str, tuple[str, ...]] = {
    "onnx": ("8bit", *(name for name in PRECISIONS if name != "8bit")),
    "transformers": ("fp32", "fp16", "8bit"),
}
"""The precisions of each format, the usual one first."""
TOLERANCES: Mapping[str, float] = {"fp32": 1e-3, "fp16": 2e-2, "8bit": 0.15, "4bit": 0.6}
"""How far logits may be from those of the source at fp32, |difference| / |logits|: three to
four times what random weights of MusicGen's structure showed."""

STEPS = 8  # teacher-forced, for the parity
_PROMPT = "upbeat jazz with saxophone and drums. bpm: 120.0. key: c minor"
_CODEC_TOLERANCE, _PACKED_CODEC_TOLERANCE = 1e-3, 0.5
_CARRIED = (*TOKENIZER_FILES, "generation_config.json", "preprocessor_config.json")
_GRAPH_OF = {"step.onnx": DECODER, "text.onnx": TEXT, "decoder_reading.onnx": CODEC}
_ABOUT = {
    f"{DECODER}/condition.onnx": "what a prompt costs the decoder once: states to keys and values",
    f"{DECODER}/step.onnx": "one step of the decoder: codes and cache to logits",
    f"{TEXT}/text.onnx": "the text encoder (T5): token ids to states; fp32",
    f"{CODEC}/encoder_reading.onnx": "the codec: sound to frames, up to its LSTM; fp32",
    f"{CODEC}/encoder_writing.onnx": "the codec: frames to embeddings, after its LSTM; fp32",
    f"{CODEC}/decoder_reading.onnx": "the codec: embeddings to frames, up to its LSTM; fp32",
    f"{CODEC}/decoder_writing.onnx": "the codec: frames to sound, after its LSTM; fp32",
    f"{CODEC}/{CODEBOOKS_NAME}": "the codebooks of the codec; fp32",
    CONFIG_NAME: "the config of the checkpoint, as transformers has it",
    "tokenizer.json": "the tokenizer of the text encoder",
}


def export(
    checkpoint: Path,
    output: Path,
    *,
    format: str = "onnx",
    precision: str | None = None,
    threads: int | None = None,
    on_progress: OnProgress | None = None,
) -> Made:
    """Write `checkpoint`, or for transformers an exported folder, into the new folder `output`, in
    a format and precision of `FORMATS`.

    The parity is the largest |difference| / |logits| of guided logits over a few teacher-forced
    steps, against the source at fp32; `TOLERANCES` says what is expected. For it, and only as long
    as it lasts, the fp32 graphs of the source are written beside `output`, and held in memory.

    Raises ConfigError for a format or precision there is not, or an `output` that is not empty;
    ModelError for a checkpoint that cannot be loaded; EngineError if the result differs too much;
    StorageError.
    """
    if format not in FORMATS:
        raise ConfigError(f"--format is {format!r}; expected one of {', '.join(FORMATS)}")
    precision = precision or FORMATS[format][0]
    if precision not in FORMATS[format]:
        raise ConfigError(
            f"--precision is {precision!r}; expected for {format} one of "
            f"{', '.join(FORMATS[format])}"
        )
    exported = read_exported(checkpoint)
    if exported is not None and format == "onnx":
        raise ConfigError(
            f"{checkpoint} is an exported folder already, at {exported.precision}; expected "
            "--format transformers, or the checkpoint it was made from"
        )
    if format == "onnx":
        encodec_of(read_config(checkpoint).codec, checkpoint)
    show = on_progress or (lambda stage, done, total: None)
    with whole_folder(output) as folder:
        parity = _written(checkpoint, folder, format, precision, exported, threads, show)
        files = record_origin(folder, checkpoint, show)
    return Made(
        source=checkpoint,
        output=output,
        format=format,
        precision=precision,
        files=tuple(file.name for file in files),
        size_bytes=sum(file.size_bytes or 0 for file in files),
        parity=parity,
        notes=_notes(exported),
    )


def _notes(exported: Exported | None) -> tuple[str, ...]:
    if exported is None or exported.precision == "fp32":
        return ()
    return (
        f"the weights are those of the {exported.precision} graphs, dequantised; the scales of "
        "their 8-bit cache stay in the weights of q, k, v and out, which are the same function",
    )


def _written(
    checkpoint: Path,
    folder: Path,
    format: str,
    precision: str,
    exported: Exported | None,
    threads: int | None,
    show: OnProgress,
) -> Parity:
    """Fill `folder`, and compare what it holds with the source."""
    with tempfile.TemporaryDirectory(prefix=".check.", dir=folder) as scratch:
        work = Path(scratch)
        if format == "onnx":
            _write_graphs(checkpoint, folder, precision, work / "made", threads, show)
        else:
            _write_checkpoint(checkpoint, folder, precision, exported, show)
        as_written = None if format == "onnx" else "fp32"
        logits, sound = _sample(folder, as_written, work / "result", threads, "result", show)
        shutil.rmtree(work / "result", ignore_errors=True)
        expected, expected_sound = _sample(
            checkpoint, None if exported else "fp32", work / "source", threads, "source", show
        )
    used = (precision, exported.precision if exported else precision)
    parity = Parity(_relative(expected, logits), max(TOLERANCES[name] for name in used))
    parity.require("|difference| / |logits|")
    # Other phases fit to magnitudes that differ a little: these are two sounds that sound alike.
    is_packed = format == "transformers" and precision == "8bit"
    tolerance = _PACKED_CODEC_TOLERANCE if is_packed else _CODEC_TOLERANCE
    codec = Parity(_relative(expected_sound, sound), tolerance)
    codec.require("|difference| / |decoded sound|")
    if (checkpoint / ADAPTER_NAME).is_dir():
        places = (checkpoint / ADAPTER_NAME, folder / ADAPTER_NAME)
        followed = Parity(_relative(*map(_followed, places)), TOLERANCES[precision])
        followed.require("|difference| / |what the score adds|")
    return parity


def _followed(place: Path) -> Float32:
    """What an adapter makes of a piece of our own."""
    adapter = ScoreAdapter.load(place)
    rate = adapter.config.frame_rate
    score = arrange(Controls(genre="pop", bars=4), 0)
    return adapter.extra(score_frames(score, rate, 8 * rate), 8 * rate)


def _write_graphs(
    checkpoint: Path,
    folder: Path,
    precision: str,
    cache: Path,
    threads: int | None,
    show: OnProgress,
) -> None:
    """What loading at `precision` prepares in an empty cache, each graph in a folder of its own."""
    _load(checkpoint, precision, cache, threads, "preparing", show)
    for prepared in (cache / GRAPHS).iterdir():
        names = [_GRAPH_OF[p.name] for p in prepared.glob("*.onnx") if p.name in _GRAPH_OF]
        if names:
            prepared.rename(folder / names[0])
    with Weights(weight_files(checkpoint)) as weights:
        part = codec_part(weights)
        # All of them, and what training left beside: so that the way back is whole.
        names = [name for name in part if name.startswith("quantizer.")]
        tables = {name: of_weights(part, name) for name in names}
        write_safetensors(folder / CODEC / CODEBOOKS_NAME, tables, lambda size: None)
    _carry(checkpoint, folder, (CONFIG_NAME, *_CARRIED))
    if (checkpoint / ADAPTER_NAME).is_dir():
        shutil.copytree(checkpoint / ADAPTER_NAME, folder / ADAPTER_NAME)
    record = read_record(checkpoint)
    repo = record.repo if record else None
    exported = Exported(
        about="a MusicGen prepared for onnxruntime; antiphon generate --model FOLDER plays it",
        made_with=f"antiphon {__version__}",
        graph_format=FORMAT,
        precision=precision,
        model=repo,
        revision=record.revision if record else None,
        licence=licence_of(repo),
        files=_described(folder),
    )
    text = json.dumps(json.loads(write_json(exported)), indent=2, ensure_ascii=False)
    (folder / EXPORT_NAME).write_text(text + "\n", encoding="utf-8")


def _described(folder: Path) -> dict[str, str]:
    """What each file is."""
    paths = [p.relative_to(folder) for p in sorted(folder.rglob("*")) if p.is_file()]
    names = [path.as_posix() for path in paths if not path.parts[0].startswith(".")]
    return {name: _ABOUT.get(name) or _by_its_suffix(name) for name in names}


def _by_its_suffix(name: str) -> str:
    if name.endswith(".weights"):
        return f"the weights of {Path(name).stem}.onnx"
    return "numbers that the graphs beside it need" if "/" in name else "of the checkpoint"


def _write_checkpoint(
    checkpoint: Path, folder: Path, precision: str, exported: Exported | None, show: OnProgress
) -> None:
    """All tensors in one precision. In fp16 an EnCodec stays in fp32, in which it is small enough;
    in 8 bits all matrices go, but those of an EnCodec."""
    config = read_values(checkpoint)
    parsed = read_config(checkpoint)  # raises for a checkpoint that is no MusicGen
    config.pop("dtype", None)
    config["torch_dtype"] = "float16" if precision == "fp16" else "float32"
    (folder / CONFIG_NAME).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    _carry(checkpoint, folder, _CARRIED)
    if (checkpoint / ADAPTER_NAME).is_dir():
        place = checkpoint / ADAPTER_NAME
        (folder / ADAPTER_NAME).mkdir()
        # Too small for fp16.
        narrow = "8bit" if precision == "8bit" else "fp32"
        write_repacked(place, folder / ADAPTER_NAME, read_adapter_config(place).shapes(), narrow)
    if exported:
        require_files(checkpoint, exported)
    files = (checkpoint / CODEC / CODEBOOKS_NAME,) if exported else weight_files(checkpoint)
    with Weights(files) as weights:
        source = (
            checkpoint_tensors(checkpoint, parsed, weights)
            if exported
            else {name: of_weights(weights, name) for name in weights}
        )
        tensors: dict[str, Tensor] = {}
        for name, tensor in source.items():
            is_encodec = name.startswith(CODEC_PART) and isinstance(parsed.codec, CodecConfig)
            if is_encodec or precision == "fp32":
                tensors[name] = in_precision(name, tensor, "F32")
            elif precision == "fp16":
                tensors[name] = in_precision(name, tensor, "F16")
            else:
                tensors |= packed(name, tensor)
        total = sum(tensor.size_bytes for tensor in tensors.values())
        write_safetensors(folder / WEIGHTS_NAME, tensors, Counted("writing", total, show))


def _carry(checkpoint: Path, folder: Path, names: tuple[str, ...]) -> None:
    for name in names:
        if (checkpoint / name).is_file():
            shutil.copyfile(checkpoint / name, folder / name)


def _load(
    folder: Path,
    precision: str | None,
    cache: Path,
    threads: int | None,
    stage: str,
    show: OnProgress,
) -> MusicGen:
    """Its layers count as bytes of its weights, which is what takes the time."""
    total = sum(path.stat().st_size for path in folder.glob("*.safetensors"))

    def on_layer(done: int, layers: int) -> None:
        show(stage, total * done // layers, total)

    options = LoadOptions(precision=precision, threads=threads, device="cpu")
    return load_musicgen(folder, options, cache, on_layer=on_layer)


def _sample(
    folder: Path,
    precision: str | None,
    cache: Path,
    threads: int | None,
    what: str,
    show: OnProgress,
) -> tuple[Float32, Float32]:
    """Guided logits [S, K, V] of a few fixed steps after a fixed prompt, and the decoded sound
    [C, T] of the same codes."""
    model = _load(folder, precision, cache, threads, f"checking the {what}", show)
    decoder = model.config.decoder
    request = Request(_PROMPT, 0, Controls(), Sampling())
    codes: Codes = np.random.default_rng(0).integers(
        0, decoder.card, (decoder.codebooks, STEPS), np.int64
    )
    guidance = model.guidance(request, [_PROMPT])
    session = model.engine.begin(guidance.sections, guidance.weights, request.sampling, STEPS)
    start = np.full((decoder.codebooks, 1), decoder.card)
    shown = np.concatenate([start, codes[:, :-1]], axis=1)
    logits = [session.logits(shown[None, :, step])[0] for step in range(STEPS)]
    return np.stack(logits), model.codec.decode(codes)


def _relative(expected: Float32, found: Float32) -> float:
    """The largest |difference| / |expected| over the first axis."""
    differences = [
        float(np.linalg.norm(a - b)) / max(float(np.linalg.norm(a)), 1e-12)
        for a, b in zip(expected, found, strict=True)
    ]
    return max(differences)
