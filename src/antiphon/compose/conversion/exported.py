"""A folder of prepared graphs, as `antiphon export --format onnx` leaves it: what is in it, and how
it is loaded without the weights it was made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from antiphon.compose.checkpoint import MusicGenConfig, encodec_of
from antiphon.compose.codecs import encodec_layers
from antiphon.compose.codecs.encodec import EncodecCodec
from antiphon.compose.engines.onnx import OnnxDecoder
from antiphon.compose.text import OnnxTextModel, TextEncoder, load_tokenizer
from antiphon.errors import ConfigError, ModelError
from antiphon.files import storage_error
from antiphon.graphs import FORMAT
from antiphon.plain import read_json
from antiphon.weights import Weights

EXPORT_NAME = "antiphon.json"
DECODER, TEXT, CODEC = "decoder", "text", "codec"  # the folders in it
CODEBOOKS_NAME = "codebooks.safetensors"  # with the graphs of the codec
_LIMIT_BYTES = 1 << 20


@dataclass(frozen=True)
class Exported:
    """`antiphon.json`: for people what each file is, for the loader how to read them.

    `graph_format` is `graphs.FORMAT` at the time; `model`, `revision` and `licence` are those of
    the checkpoint, None where they are not known.
    """

    about: str
    made_with: str
    graph_format: int
    precision: str
    model: str | None
    revision: str | None
    licence: str | None
    files: Mapping[str, str]


@dataclass(frozen=True, eq=False)
class ExportedParts:
    """What a MusicGen is put together from."""

    text: TextEncoder
    engine: OnnxDecoder
    codec: EncodecCodec


def read_exported(folder: Path) -> Exported | None:
    """What `folder` says of itself; None if it is no exported one.

    Raises ModelError for a file that is not understood, or of another format of graphs.
    """
    path = folder / EXPORT_NAME
    try:
        with path.open("rb") as file:
            data = file.read(_LIMIT_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise storage_error("read", path, error) from error
    try:
        exported = read_json(Exported, data, str(path))
    except ConfigError as error:
        raise ModelError(f"{error}; export the checkpoint again") from error
    if exported.graph_format != FORMAT:
        raise ModelError(
            f"{folder} holds graphs of the format {exported.graph_format}, made with "
            f"{exported.made_with}; expected {FORMAT}: export the checkpoint again"
        )
    return exported


def require_files(folder: Path, exported: Exported) -> None:
    """Raise ModelError for the first file that is named and not there."""
    for name in exported.files:
        if not (folder / name).is_file():
            raise ModelError(f"{folder} lacks {name}, which {EXPORT_NAME} names; copy it again")


def open_exported(
    folder: Path,
    exported: Exported,
    config: MusicGenConfig,
    *,
    precision: str | None,
    device: str | None,
    compile: bool,
    threads: int,
) -> ExportedParts:
    """Load the graphs of `folder`.

    Raises ConfigError for a precision, a device or a compiler that they are not for, ModelError for
    a folder that lacks something, EngineError for a graph that does not load.
    """
    if precision not in (None, exported.precision):
        raise ConfigError(
            f"{folder} was exported at {exported.precision}; expected --precision "
            f"{exported.precision} or none: the checkpoint itself has the others"
        )
    if device not in (None, "cpu") or compile:
        given = "--compile" if compile else f"--device {device}"
        raise ConfigError(
            f"{folder} holds graphs for processors, which {given} is not for; expected "
            "--device cpu and no --compile: the checkpoint itself runs on a GPU"
        )
    require_files(folder, exported)
    with Weights((folder / CODEC / CODEBOOKS_NAME,)) as weights:
        count = config.decoder.codebooks // config.decoder.channels
        codebooks = [weights.read(encodec_layers.codebook_name(n)) for n in range(count)]
    return ExportedParts(
        text=TextEncoder(
            load_tokenizer(folder, config.text),
            config.text,
            OnnxTextModel(folder / TEXT, threads),
        ),
        engine=OnnxDecoder(folder / DECODER, config, threads),
        codec=EncodecCodec(encodec_of(config.codec, folder), folder / CODEC, codebooks, threads=1),
    )
