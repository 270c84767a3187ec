"""A MusicGen checkpoint as a renderer: text encoder, decoder, codec and the loop between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from antiphon import settings, threads
from antiphon.audio import FloatArray, Waveform, resample
from antiphon.compose.checkpoint import MusicGenConfig, read_config
from antiphon.compose.codec import AudioCodec, DecodingStream, StereoCodec
from antiphon.compose.encodec import load_codec
from antiphon.compose.engines import Branch, DecoderEngine
from antiphon.compose.exported import Exported, open_exported, read_exported
from antiphon.compose.generation import Item, side_by_side, write_codes
from antiphon.compose.graphs import PRECISIONS, Precision
from antiphon.compose.melody import melody_chroma, no_melody
from antiphon.compose.patterns import Codes, Pattern, delay, stereo_delay
from antiphon.compose.prompt import combine, render, uncarried
from antiphon.compose.requests import DEFAULT_SECONDS, Block, Plan, Request
from antiphon.compose.sampling import draws_of
from antiphon.compose.text import TextEncoder, load_text_encoder
from antiphon.compose.understanding import understand
from antiphon.compose.weights import FINGERPRINTS_NAME, Weights, fingerprint, weight_files
from antiphon.compose.windows import STRIDE_SECONDS, WINDOW_SECONDS, Window, plan
from antiphon.controls import Controls
from antiphon.errors import ConfigError, DependencyError, ModelError
from antiphon.models.record import read_record

GRAPHS = "graphs"  # the folder of prepared models in the cache
EDGE_SECONDS = 8.0  # how long an intro or an ending is, where bars are not counted
_FIRST_FRAMES, _FRAMES = 25, 50  # of codes that are decoded at a time: half a second, then one
_WARM_SECONDS = 1.0  # of a continued file that the codec decodes before it goes on
_USUAL_PROMPTS = (
    "upbeat jazz with saxophone and drums",
    "a sad slow piano piece. bpm: 72.0. key: a minor",
)  # by which an 8-bit cache is calibrated
_JOIN_SECONDS = 0.05  # over which the file fades into what it is continued with


@dataclass(frozen=True)
class LoadOptions:
    """How a checkpoint is loaded. None leaves it to the machine: 8-bit on a processor, fp16 on a
    GPU, as many threads as `threads.model_threads` says."""

    precision: str | None = None
    threads: int | None = None
    device: str | None = None
    compile: bool = False


@dataclass(frozen=True, eq=False)
class _Planned:
    """A request as frames and texts."""

    request: Request
    plan: Plan
    windows: tuple[Window, ...]
    texts: tuple[str, ...]
    """The prompt of each section."""


class MusicGen:
    """Implements `Renderer`."""

    def __init__(
        self,
        name: str,
        folder: Path,
        config: MusicGenConfig,
        text: TextEncoder,
        engine: DecoderEngine,
        codec: AudioCodec,
        settings_used: Mapping[str, object],
    ) -> None:
        self.config = config
        self.engine = engine
        self.codec = codec
        self.text = text
        self.sample_rate = codec.sample_rate
        self.channels = codec.channels
        codebooks = config.decoder.codebooks
        stereo = config.decoder.channels == 2
        self.pattern: Pattern = stereo_delay(codebooks) if stereo else delay(codebooks)
        record = read_record(folder)
        self._origin: dict[str, object] = {
            "model": (record.repo if record else None) or name,
            "revision": record.revision if record else None,
            "licence": licence_of(record.repo if record else None),
        }
        self.settings = dict(settings_used)

    def perform(self, requests: Sequence[Request]) -> MusicGenPerformance:
        """See `Renderer`."""
        return MusicGenPerformance(self, [self._planned(request) for request in requests])

    def batch_key(self, request: Request) -> object:
        """See `Renderer`: windows that begin alike, and one way of sampling."""
        planned = self._planned(request)
        starts = tuple((w.shown, w.start, w.section) for w in planned.windows)
        return request.sampling, request.negative is None, starts

    def provenance(self, request: Request) -> Mapping[str, object]:
        """See `Renderer`."""
        chosen = asdict(request.sampling) | {"negative": request.negative}
        return {**self._origin, "settings": {**self.settings, **chosen}}

    def _planned(self, request: Request) -> _Planned:
        request.sampling.require_fits(self.config.decoder.card)
        if request.melody is not None and self.config.chroma_bins is None:
            raise ConfigError(
                "--melody needs a checkpoint that was trained on melodies, such as "
                "facebook/musicgen-melody; this one knows none"
            )
        rate, hop = self.codec.sample_rate, self.codec.hop
        understood = understand(request.prompt)
        combined = combine(request.controls.to_dict(), understood)
        sections, seconds, notes = sections_of(request, combined.controls)
        samples = round(seconds * rate)
        frames = -(-samples // hop)
        known = self._continued_frames(request)
        if known >= frames:
            raise ConfigError(
                f"the piece lasts {seconds:g} s and the file to continue "
                f"{known * hop / rate:.2f} s; expected a longer --duration: the file counts"
            )
        per_second = self.codec.frame_rate
        window, stride = (round(s * per_second) for s in (WINDOW_SECONDS, STRIDE_SECONDS))
        starts = [round(start * per_second) for _, start in sections]
        _require_in_order(sections, starts, frames, seconds)
        notes += list(understood.notes) + list(combined.contradictions)
        lost = uncarried(replace(request.controls, duration_seconds=None, bars=None, sections=(),
                                 intro=False, ending=False))  # fmt: skip
        if lost:
            notes.append(f"this model's text has no field for {', '.join(lost)}: not passed on")
        texts = tuple(render(text, request.controls) for text, _ in sections)
        for text in texts:
            if cut := self.text.cut_tokens(text):
                notes.append(f"the prompt is too long: its last {cut} tokens are not heard")
        wishes = combined.controls
        if not (wishes.duration_seconds or wishes.bars or wishes.sections):
            wishes = replace(wishes, duration_seconds=seconds)
        return _Planned(
            request,
            Plan(samples, wishes, texts[0], None, tuple(notes)),
            plan(frames, starts, known, window, stride),
            texts,
        )

    def _continued_frames(self, request: Request) -> int:
        sound = request.continuation
        if sound is None:
            return 0
        return int(sound.duration_seconds * self.codec.sample_rate) // self.codec.hop

    def branches(self, request: Request, text: str) -> tuple[Branch, ...]:
        """What guidance needs for one prompt: (nothing, the prompt), or the one that counts."""
        chroma = nothing = None
        bins, frames = self.config.chroma_bins, self.config.chroma_frames
        if bins is not None and frames is not None:
            nothing = no_melody(frames, bins)
            chroma = nothing
            if request.melody is not None:
                chroma = melody_chroma(request.melody, frames, bins)
        negative = None if request.negative is None else self.text.encode(request.negative)
        with_prompt = Branch(self.text.encode(text), chroma)
        without = Branch(negative, nothing)
        if request.sampling.guidance == 1.0:
            return (with_prompt,)
        return (without,) if request.sampling.guidance == 0.0 else (without, with_prompt)


class MusicGenPerformance:
    """Implements `Performance`."""

    def __init__(self, model: MusicGen, planned: Sequence[_Planned]) -> None:
        if not side_by_side([one.windows for one in planned]):
            raise ConfigError(
                "these pieces cannot be written in one batch: their sections or beginnings differ; "
                "write them one by one"
            )
        if any(one.request.sampling != planned[0].request.sampling for one in planned):
            raise ConfigError(
                "these pieces cannot be written in one batch: their sampling settings differ; "
                "write them one by one"
            )
        self.plans = tuple(one.plan for one in planned)
        self._model = model
        self._planned = planned

    def blocks(self) -> Iterator[Block]:
        """See `Performance`."""
        model = self._model
        voices = [_Voice(model.codec, one) for one in self._planned]
        items = [
            Item(
                one.windows,
                tuple(model.branches(one.request, text) for text in one.texts),
                voice.known,
                draws_of(one.request.seed),
            )
            for one, voice in zip(self._planned, voices, strict=True)
        ]
        for number, voice in enumerate(voices):
            if (samples := voice.begin()).shape[1]:
                yield Block(number, samples)
        sampling = self._planned[0].request.sampling
        weights = () if sampling.guidance in (0.0, 1.0) else (sampling.guidance,)
        for frame in write_codes(model.engine, items, weights, sampling, model.pattern):
            samples = voices[frame.item].take(frame.codes)
            if samples.shape[1]:
                yield Block(frame.item, samples)


class _Voice:
    """One item's way from codes to sound: exactly the planned samples."""

    def __init__(self, codec: AudioCodec, planned: _Planned) -> None:
        self._codec = codec
        self._stream: DecodingStream = codec.stream()
        self._left = planned.plan.samples
        self._pending: list[Codes] = []
        self._wanted = _FIRST_FRAMES
        self._frames_left = planned.windows[-1].end - planned.windows[0].start
        self._before = self._joint = np.zeros((codec.channels, 0), np.float32)
        self._skip = 0
        self.known = np.zeros((codec.codebooks, 0), np.int64)
        if planned.request.continuation is not None:
            first = planned.windows[0]
            self._continue(planned.request.continuation, first.start, first.start - first.shown)

    def _continue(self, sound: Waveform, known: int, context: int) -> None:
        """Encode the last `context` frames of the first `known`, and make the join ready."""
        hop, rate = self._codec.hop, self._codec.sample_rate
        samples = _as_channels(resample(sound, rate).samples, self._codec.channels)
        samples = samples[:, : known * hop]
        self.known = self._codec.encode(samples[:, (known - context) * hop :])[:, :context]
        warm = min(context, round(_WARM_SECONDS * self._codec.frame_rate))
        self._joint = samples[:, samples.shape[1] - min(round(_JOIN_SECONDS * rate), warm * hop) :]
        self._before = samples[:, : samples.shape[1] - self._joint.shape[1]]
        self._skip = warm * hop - self._joint.shape[1]
        self._pending = list(self.known[:, context - warm :].T)
        self._wanted += warm

    def begin(self) -> FloatArray:
        """What there is before the first frame is written: the file that is continued."""
        return self._counted(self._before)

    def take(self, codes: Codes) -> FloatArray:
        """One more frame [K] -> the samples [C, n] that are ready; n may be 0."""
        self._pending.append(codes)
        self._frames_left -= 1
        if len(self._pending) < self._wanted and self._frames_left:
            return np.zeros((self._codec.channels, 0), np.float32)
        samples = self._stream.feed(np.stack(self._pending, axis=1))
        if not self._frames_left:
            samples = np.concatenate([samples, self._stream.finish()], axis=1)
        self._pending, self._wanted = [], _FRAMES
        return self._counted(self._joined(samples))

    def _joined(self, samples: FloatArray) -> FloatArray:
        """Without what only warmed the codec up, and with the file faded into it."""
        skipped = min(self._skip, samples.shape[1])
        self._skip -= skipped
        samples = samples[:, skipped:]
        length = self._joint.shape[1]
        if not length or not samples.shape[1]:
            return samples
        assert samples.shape[1] >= length, "the first block is shorter than the join"
        rise = np.linspace(0.0, 1.0, length, dtype=np.float32)
        joint = samples[:, :length] * rise + self._joint * (1.0 - rise)
        self._joint = self._joint[:, :0]
        return np.concatenate([joint, samples[:, length:]], axis=1)

    def _counted(self, samples: FloatArray) -> FloatArray:
        """No more than is left: frames are longer than the last samples that were asked for."""
        samples = samples[:, : self._left]
        self._left -= samples.shape[1]
        return samples


def load_musicgen(
    folder: Path,
    options: LoadOptions,
    cache: Path | None = None,
    on_layer: Callable[[int, int], None] | None = None,
) -> MusicGen:
    """Load a MusicGen folder, for processors by onnxruntime, for other devices by torch; what is
    not in `cache` yet is prepared first, and `on_layer` told how many layers of how many are. An
    exported folder is prepared already.

    Raises ModelError for a folder that is no such checkpoint, ConfigError for options,
    DependencyError for a device that needs torch where there is none.
    """
    config = read_config(folder)
    count = options.threads or threads.model_threads()
    exported = read_exported(folder)
    if exported is not None:
        return _exported(folder, exported, config, options, count)
    cache = (cache or settings.load().cache) / GRAPHS
    if options.device in (None, "cpu"):
        language = _on_processor(folder, config, options, cache, count, on_layer)
    else:
        language = _on_torch(folder, config, options)
    mono = load_codec(folder, cache=cache, threads=count, codebooks=_codebooks(config))
    codec = StereoCodec(mono) if config.decoder.channels == 2 else mono
    used = {
        "precision": language.precision,
        "device": options.device or "cpu",
        "compile": options.compile,
        "threads": count,
    }
    return MusicGen(
        folder.resolve().name, folder, config, language.text, language.engine, codec, used
    )


def _exported(
    folder: Path, exported: Exported, config: MusicGenConfig, options: LoadOptions, count: int
) -> MusicGen:
    parts = open_exported(
        folder,
        exported,
        config,
        precision=options.precision,
        device=options.device,
        threads=count,
    )
    codec = StereoCodec(parts.codec) if config.decoder.channels == 2 else parts.codec
    used = {"precision": exported.precision, "device": "cpu", "compile": False, "threads": count}
    return MusicGen(folder.resolve().name, folder, config, parts.text, parts.engine, codec, used)


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
    on_layer: Callable[[int, int], None] | None,
) -> _Language:
    if options.compile:
        raise ConfigError(
            "--compile is for torch, and on a processor onnxruntime takes its place; expected a "
            "--device such as cuda with it"
        )
    precision = _precision(options.precision)
    from antiphon.compose.engines.onnx import OnnxDecoder

    text = load_text_encoder(folder, config.text, cache=cache, threads=count)
    files = weight_files(folder)
    with Weights(files) as weights:
        weights.require(_shapes_but_the_text_encoders(config))
        content = fingerprint(files, cache / FINGERPRINTS_NAME)
        engine = OnnxDecoder.prepare(
            weights,
            config,
            precision,
            cache=cache,
            content=content,
            threads=count,
            texts=lambda: [text.encode(prompt) for prompt in _USUAL_PROMPTS],
            on_layer=on_layer,
        )
    return _Language(text, engine, precision)


def _on_torch(folder: Path, config: MusicGenConfig, options: LoadOptions) -> _Language:
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
    with Weights(weight_files(folder)) as weights:
        weights.require(_shapes_but_the_text_encoders(config))
        engine = TorchDecoder.load(
            weights, config, device=device, precision=precision, compiled=options.compile
        )
    return _Language(text, engine, precision)


def _shapes_but_the_text_encoders(config: MusicGenConfig) -> dict[str, tuple[int, ...]]:
    """The text encoder's are checked with it: of one of them files hold either of two names."""
    shapes = config.shapes().items()
    return {name: shape for name, shape in shapes if not name.startswith("text_encoder.")}


def _codebooks(config: MusicGenConfig) -> int:
    """How many of the codec's the decoder writes for each channel: the first ones.

    Raises ModelError if the codec has not so many, or not so many entries.
    """
    codec, decoder = config.codec, config.decoder
    wanted = decoder.codebooks // decoder.channels
    if wanted > codec.codebooks() or decoder.card > codec.codebook_size:
        raise ModelError(
            f"the decoder writes {wanted} codebooks of {decoder.card} codes for each channel, and "
            f"the codec has {codec.codebooks()} of {codec.codebook_size}; expected a decoder and a "
            "codec that belong together"
        )
    return wanted


def sections_of(
    request: Request, wishes: Controls
) -> tuple[list[tuple[str, float]], float, list[str]]:
    """The prompts with the seconds they start at, the seconds of the piece, and notes.

    `wishes` are the flags and what the prompt says. Raises ConfigError for a flag that counts bars
    where nobody says the tempo they last by.
    """
    controls = request.controls
    seconds = wishes.duration_seconds or DEFAULT_SECONDS
    sections = [(request.prompt, 0.0)]
    bar_seconds = None
    if wishes.tempo_bpm is not None:
        bar_seconds = (wishes.beats_per_bar or 4) * 60.0 / wishes.tempo_bpm
    if (controls.bars or controls.sections) and bar_seconds is None:
        raise ConfigError(
            "the length is given in bars, which last by the tempo; give --tempo too, or the "
            "length by --duration"
        )
    if bars := wishes.bars or sum(part.bars for part in wishes.sections):
        seconds = bars * bar_seconds if bar_seconds else seconds
    if controls.sections:
        at, sections = 0.0, []
        for part in controls.sections:
            sections.append((_joined_words(request.prompt, part.label), at))
            at += part.bars * bar_seconds if bar_seconds else 0.0
    if request.sections:
        if len(sections) > 1:
            raise ConfigError("sections are given by --section and by --sections; expected one")
        sections += [(section.text, section.start_seconds) for section in request.sections]
    return _with_edges(sections, controls.intro, controls.ending, seconds), seconds, []


def _with_edges(
    sections: list[tuple[str, float]], intro: bool, ending: bool, seconds: float
) -> list[tuple[str, float]]:
    """With an intro before and an ending after: at most a quarter of the piece each."""
    edge = min(EDGE_SECONDS, seconds / 4)
    if intro:
        text, _ = sections[0]
        sections = [(_joined_words(text, "intro"), 0.0), (text, edge), *sections[1:]]
    if ending:
        sections = [*sections, (_joined_words(sections[-1][0], "ending"), seconds - edge)]
    return sections


def _joined_words(prompt: str, word: str) -> str:
    return f"{prompt}, {word}" if prompt else word


def _require_in_order(
    sections: Sequence[tuple[str, float]], starts: Sequence[int], frames: int, seconds: float
) -> None:
    """Raise ConfigError unless each section, starting at a frame, has room before the next."""
    for (text, at), start, following in zip(sections, starts, [*starts[1:], frames], strict=True):
        if start >= frames:
            raise ConfigError(
                f"section {text!r} starts at {at:g} s, and the piece ends at {seconds:g} s; "
                "expected an earlier start, or a longer --duration"
            )
        if start >= following:
            raise ConfigError(
                f"section {text!r} starts at {at:g} s, where or after the next one does; expected "
                "sections that follow each other, and that the intro (at most "
                f"{EDGE_SECONDS:g} s, or a quarter) and the ending leave room for them"
            )


def _precision(name: str | None) -> Precision:
    for precision in PRECISIONS:
        if name == precision:
            return precision
    if name is not None:
        raise ConfigError(
            f"precision is {name!r}; expected on a processor one of {', '.join(PRECISIONS)}"
        )
    return "8bit"


def _as_channels(samples: FloatArray, channels: int) -> FloatArray:
    """Mixed down, or the same on every side."""
    if samples.shape[0] == channels:
        return samples
    return np.repeat(samples.mean(axis=0, keepdims=True), channels, axis=0)


def licence_of(repo: str | None) -> str | None:
    """Of a model on the hub; None where it is not known."""
    from antiphon.models import known

    return next((model.licence for model in known() if model.repo and model.repo == repo), None)
