"""From a MusicGen folder to a renderer: which engine, which precision, prepared or not yet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from antiphon import settings, threads
from antiphon.arrange import arrange
from antiphon.compose.checkpoint import CodecConfig, MusicGenConfig, read_config
from antiphon.compose.codecs import AudioCodec, StereoCodec
from antiphon.compose.codecs.opening import open_codec
from antiphon.compose.config_values import ConfigValues
from antiphon.compose.conversion.exported import Exported, open_exported, read_exported
from antiphon.compose.engines import Branch, DecoderEngine
from antiphon.compose.lora import Lora, is_lora, read_lora, tuned
from antiphon.compose.musicgen import MusicGen
from antiphon.compose.score_adapter import ScoreAdapter
from antiphon.compose.score_frames import score_frames
from antiphon.compose.text import TextEncoder, load_text_encoder
from antiphon.compose.windows import WINDOW_SECONDS
from antiphon.controls import Controls
from antiphon.errors import ConfigError, DependencyError, ModelError
from antiphon.graphs import PRECISIONS, Precision
from antiphon.weights import FINGERPRINTS_NAME, Float32, Weights, fingerprint, weight_files

_THREADS_PER_CORE = 4  # more only wait for each other
GRAPHS = "graphs"  # the folder of prepared models in the cache
_USUAL_PROMPTS = (
    "upbeat jazz with saxophone and drums",
    "a sad slow piano piece. bpm: 72.0. key: a minor",
)  # by which an 8-bit cache is calibrated
_USUAL_WISHES = Controls(duration_seconds=10.0)
_LEAST_WINDOW_SECONDS = 4.0
ADAPTER_NAME = "adapter"  # the folder of a checkpoint's own score adapter
GENERATION_NAME = "generation_config.json"


@dataclass(frozen=True)
class LoadOptions:
    """How a checkpoint is loaded. None leaves it to the machine: 8-bit on a processor, fp16 on a
    GPU, as many threads as `threads.model_threads` says. `adapters` are folders of LoRA, all of
    which are added, and of one score adapter at most; without that it is the checkpoint's own, if
    it has one."""

    precision: str | None = None
    threads: int | None = None
    device: str | None = None
    compile: bool = False
    adapters: tuple[Path, ...] = ()


def load_musicgen(
    folder: Path,
    options: LoadOptions,
    cache: Path | None = None,
    on_layer: Callable[[int, int], None] = lambda done, total: None,
) -> MusicGen:
    """Load a MusicGen folder, for processors by onnxruntime, for other devices by torch; what is
    not in `cache` yet is prepared first, and `on_layer` told how many layers of how many are. An
    exported folder is prepared already.

    Raises ModelError for a folder that is no such checkpoint, ConfigError for options,
    DependencyError for a device that needs torch where there is none.
    """
    config = read_config(folder)
    count = _thread_count(options.threads)
    adapter, loras = _adapters(folder, options.adapters)
    exported = read_exported(folder)
    if exported is not None:
        if loras:
            raise ConfigError(
                f"{folder} is prepared already, and a LoRA ({loras[0].folder}) changes what is "
                "prepared; expected the checkpoint it was made from"
            )
        return _exported(folder, exported, config, options, count, adapter)
    cache = (cache or settings.load().cache) / GRAPHS
    # First what is small: it is refused before anything large is prepared.
    _require_codebooks(config)
    codec = open_codec(folder, cache=cache)
    _require_fitting(adapter, config, codec)
    if options.device in (None, "cpu"):
        language = _on_processor(folder, config, options, cache, count, on_layer, adapter, loras)
    else:
        language = _on_torch(folder, config, options, loras)
    used: dict[str, object] = {
        "precision": language.precision,
        "device": options.device or "cpu",
        "compile": options.compile,
        "threads": count,
        **_named(options.adapters, adapter, loras),
    }
    seconds = _window_seconds(folder, codec.frame_rate)
    parts = (language.text, language.engine, codec)
    return MusicGen(folder.resolve().name, folder, config, *parts, used, seconds, adapter)


def _exported(
    folder: Path,
    exported: Exported,
    config: MusicGenConfig,
    options: LoadOptions,
    count: int,
    adapter: ScoreAdapter | None,
) -> MusicGen:
    parts = open_exported(
        folder,
        exported,
        config,
        precision=options.precision,
        device=options.device,
        compile=options.compile,
        threads=count,
    )
    codec = StereoCodec(parts.codec) if config.decoder.channels == 2 else parts.codec
    used: dict[str, object] = {
        "precision": exported.precision,
        "device": "cpu",
        "compile": False,
        "threads": count,
        **_named(options.adapters, adapter, ()),
    }
    _require_fitting(adapter, config, codec)
    seconds = _window_seconds(folder, codec.frame_rate)
    made = (parts.text, parts.engine, codec)
    return MusicGen(folder.resolve().name, folder, config, *made, used, seconds, adapter)


def _named(
    places: Sequence[Path], adapter: ScoreAdapter | None, loras: Sequence[Lora]
) -> dict[str, object]:
    """The adapters that somebody asked for, as they go into a piece's file."""
    if not places:
        return {}
    sums = {lora.folder: lora.checksum for lora in loras}
    own = "" if adapter is None else adapter.checksum
    return {"adapters": [{"name": one.name, "sha256": sums.get(one, own)} for one in places]}


def _adapters(folder: Path, named: Sequence[Path]) -> tuple[ScoreAdapter | None, tuple[Lora, ...]]:
    """The score adapter of a checkpoint, and what else is added to it."""
    for place in named:
        if not place.is_dir():
            raise ModelError(
                f"adapter {str(place)!r} is no folder; expected that of a score adapter, or of a "
                "LoRA as PEFT saves it"
            )
    loras = tuple(read_lora(place) for place in named if is_lora(place))
    followers = [place for place in named if not is_lora(place)]
    if len(followers) > 1:
        raise ConfigError(
            f"{' and '.join(map(str, followers))} are score adapters; expected one of them, and "
            "LoRA as many as you like"
        )
    own = folder / ADAPTER_NAME
    if not followers and not own.is_dir():
        return None, loras
    return ScoreAdapter.load(followers[0] if followers else own), loras


def _require_fitting(
    adapter: ScoreAdapter | None, config: MusicGenConfig, codec: AudioCodec
) -> None:
    """Raise ModelError for a score adapter of another decoder or codec."""
    if adapter is None:
        return
    found = adapter.config
    if (found.width, found.frame_rate) != (config.decoder.width, codec.frame_rate):
        raise ModelError(
            f"the score adapter is for a decoder of width {found.width} on {found.frame_rate} "
            f"frames a second; expected {config.decoder.width} and {codec.frame_rate}: one that "
            "was trained for this checkpoint ('antiphon train composer' with model.tune=adapter)"
        )


def _window_seconds(folder: Path, frame_rate: int) -> float:
    """How long a piece the decoder was trained on: its generation_config.json says so in steps."""
    path = folder / GENERATION_NAME
    if not path.is_file():
        return WINDOW_SECONDS
    steps = ConfigValues.load(folder, GENERATION_NAME).get("max_length", int, 0)
    seconds = steps / frame_rate
    return min(seconds, WINDOW_SECONDS) if seconds >= _LEAST_WINDOW_SECONDS else WINDOW_SECONDS


@dataclass(frozen=True, eq=False)
class _Language:
    """What makes codes of a text."""

    text: TextEncoder
    engine: DecoderEngine
    precision: str


def _on_processor(
    folder: Path,
    config: MusicGenConfig,
    options: LoadOptions,
    cache: Path,
    count: int,
    on_layer: Callable[[int, int], None],
    adapter: ScoreAdapter | None,
    loras: Sequence[Lora],
) -> _Language:
    if options.compile:
        raise ConfigError(
            "--compile is for torch, and on a processor onnxruntime takes its place; expected a "
            "--device such as cuda with it"
        )
    precision = _precision(options.precision)
    from antiphon.compose.engines.onnx_preparing import prepare_decoder

    text = load_text_encoder(folder, config.text, cache=cache, threads=count)
    files = weight_files(folder)
    with ExitStack() as stack:
        weights = stack.enter_context(Weights(files))
        weights.require(_shapes_but_the_text_encoders(config))
        content = fingerprint(files, cache / FINGERPRINTS_NAME)
        if adapter is not None:  # by which the cache is calibrated, too
            content += adapter.checksum
        content += "".join(lora.checksum for lora in loras)
        engine = prepare_decoder(
            stack.enter_context(tuned(weights, loras)),
            config,
            precision,
            cache=cache,
            content=content,
            threads=count,
            usual=lambda: [_usual(text.encode(prompt), adapter) for prompt in _USUAL_PROMPTS],
            on_layer=on_layer,
        )
    return _Language(text, engine, precision)


def _usual(text: Float32, adapter: ScoreAdapter | None) -> Branch:
    if adapter is None:
        return Branch(text)
    from antiphon.compose.engines.onnx_preparing import CALIBRATION_STEPS

    rate = adapter.config.frame_rate
    frames = score_frames(arrange(_USUAL_WISHES, 0), rate, CALIBRATION_STEPS)
    return Branch(text, added=adapter.extra(frames, CALIBRATION_STEPS))


def _on_torch(
    folder: Path, config: MusicGenConfig, options: LoadOptions, loras: Sequence[Lora]
) -> _Language:
    try:
        from antiphon.compose.engines.torch import (
            TorchDecoder,
            require_device,
            require_precision,
        )
    except ImportError as error:
        raise DependencyError(
            f"device is {options.device!r}, which needs torch: {error}; "
            "`pip install 'antiphon[torch]'`, or leave it to the processor with cpu"
        ) from error
    from antiphon.compose.engines.torch_text import load_torch_text_encoder

    precision = require_precision(options.precision, str(options.device))
    device = require_device(str(options.device))
    # In float32: once a prompt it costs nothing, and T5 was not made for halves.
    text = load_torch_text_encoder(folder, config.text, device=str(device))
    with Weights(weight_files(folder)) as whole, tuned(whole, loras) as weights:
        weights.require(_shapes_but_the_text_encoders(config))
        engine = TorchDecoder.load(
            weights, config, device=device, precision=precision, compiled=options.compile
        )
    return _Language(text, engine, precision)


def _shapes_but_the_text_encoders(config: MusicGenConfig) -> dict[str, tuple[int, ...]]:
    """The text encoder's are checked with it: of one of them files hold either of two names."""
    shapes = config.shapes().items()
    return {name: shape for name, shape in shapes if not name.startswith("text_encoder.")}


def _require_codebooks(config: MusicGenConfig) -> None:
    """Raise ModelError if the codec has not as many codebooks as the decoder writes for each
    channel, or not so many entries."""
    codec, decoder = config.codec, config.decoder
    wanted = decoder.codebooks // decoder.channels
    offered = codec.codebooks() if isinstance(codec, CodecConfig) else codec.codebooks
    if wanted > offered or decoder.card > codec.codebook_size:
        raise ModelError(
            f"the decoder writes {wanted} codebooks of {decoder.card} codes for each channel, and "
            f"the codec has {offered} of {codec.codebook_size}; expected a decoder and a "
            "codec that belong together"
        )


def _thread_count(wanted: int | None) -> int:
    if wanted is None:
        return threads.model_threads()
    most = _THREADS_PER_CORE * threads.usable_cores()
    if not 1 <= wanted <= most:
        raise ConfigError(
            f"threads is {wanted}; expected 1 to {most} on {threads.usable_cores()} cores"
        )
    return wanted


def _precision(name: str | None) -> Precision:
    for precision in PRECISIONS:
        if name == precision:
            return precision
    if name is not None:
        raise ConfigError(
            f"precision is {name!r}; expected on a processor one of {', '.join(PRECISIONS)}"
        )
    return "8bit"
