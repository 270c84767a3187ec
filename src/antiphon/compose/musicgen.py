"""A MusicGen checkpoint as a renderer: text encoder, decoder, codec and the loop between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from antiphon import threads
from antiphon.audio import FloatArray, Waveform, resample, with_channels
from antiphon.audio.stream import BLOCK_FRAMES
from antiphon.compose.checkpoint import MusicGenConfig
from antiphon.compose.codecs import AudioCodec, DecodingStream
from antiphon.compose.engines import Branch, DecoderEngine
from antiphon.compose.generation import Item, side_by_side, write_codes
from antiphon.compose.melody import melody_chroma, no_melody
from antiphon.compose.patterns import Codes, Pattern, delay, stereo_delay
from antiphon.compose.prompt import combine, render, uncarried
from antiphon.compose.requests import Block, Plan, Request, Section, with_length
from antiphon.compose.sampling import draws_of
from antiphon.compose.sections import require_in_order, sections_of
from antiphon.compose.text import TextEncoder
from antiphon.compose.understanding import understand
from antiphon.compose.windows import STRIDE_SECONDS, WINDOW_SECONDS, Window, plan
from antiphon.errors import ConfigError
from antiphon.models.manifest import licence_of
from antiphon.models.record import read_record
from antiphon.weights import Float32

_FIRST_FRAMES, _FRAMES = 25, 50  # of codes that are decoded at a time: half a second, then one
_WARM_SECONDS = 1.0  # of a continued file that the codec decodes before it goes on
_JOIN_SECONDS = 0.05  # over which the file fades into what it is continued with


@dataclass(frozen=True, eq=False)
class _Planned:
    """A plan as frames and texts."""

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
        sections, seconds = sections_of(request, combined.controls)
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
        require_in_order(sections, starts, frames, seconds)
        notes = [*request.damage, *understood.notes, *combined.contradictions]
        lost = uncarried(replace(request.controls, duration_seconds=None, bars=None, sections=(),
                                 intro=False, ending=False))  # fmt: skip
        if lost:
            notes.append(f"this model's text has no field for {', '.join(lost)}: not passed on")
        texts = tuple(render(text, request.controls) for text, _ in sections)
        for text in (*texts, *filter(None, [request.negative])):
            if cut := self.text.cut_tokens(text):
                notes.append(f"too long, its last {cut} tokens are not heard: '{text:.40}…'")
        guidance = request.sampling.guidance
        if guidance == 1.0 and request.negative is not None:
            notes.append("with a guidance of 1 the negative prompt is not used")
        if guidance == 0.0:
            notes.append("with a guidance of 0 the prompt is not used")
        windows = plan(frames, starts, known, window, stride)
        played = {one.section for one in windows}
        for number, text in enumerate(texts):
            if number not in played:
                notes.append(f"lies within the file that is continued, not played: '{text:.40}'")
        first, *later = (Section(texts[number], sections[number][1]) for number in sorted(played))
        wishes = combined.controls
        if (wishes.bars or wishes.sections) and wishes.tempo_bpm is None:
            notes.append(
                f"bars last by the tempo, and none is given: the piece lasts {seconds:g} s"
            )
            wishes = replace(wishes, bars=None, sections=())
        # Side by side: windows that begin alike, and one way of sampling.
        begin = tuple((one.shown, one.start, one.section) for one in windows)
        group = request.sampling, request.negative is None, begin
        wishes = with_length(wishes)
        planned = Plan(
            request, samples, wishes, first.text, None, tuple(notes), tuple(later), group
        )
        return _Planned(planned, windows, texts)

    def _continued_frames(self, request: Request) -> int:
        sound = request.continuation
        if sound is None:
            return 0
        return sound.frames * self.codec.sample_rate // (sound.sample_rate * self.codec.hop)

    def branches(self, request: Request, texts: Sequence[str]) -> tuple[tuple[Branch, ...], ...]:
        """What guidance needs, for each of the prompts of a piece: (nothing, the prompt), or the
        one that counts. What they have in common is computed once."""
        chroma = nothing = None
        bins, frames = self.config.chroma_bins, self.config.chroma_frames
        if bins is not None and frames is not None:
            nothing = no_melody(frames, bins)
            chroma = nothing
            if request.melody is not None:
                chroma = melody_chroma(request.melody, frames, bins)
        guidance = request.sampling.guidance
        if guidance == 1.0:
            return tuple((Branch(self._states(text), chroma),) for text in texts)
        negative = None if request.negative is None else self._states(request.negative)
        without = Branch(negative, nothing)
        if guidance == 0.0:
            return ((without,),) * len(texts)
        return tuple((without, Branch(self._states(text), chroma)) for text in texts)

    def _states(self, text: str) -> Float32 | None:
        """Of a prompt; an empty one says nothing, as in training (audiocraft's `T5Conditioner`)."""
        return self.text.encode(text) if text else None


class MusicGenPerformance:
    """Implements `Performance`."""

    def __init__(self, model: MusicGen, planned: Sequence[_Planned]) -> None:
        if not side_by_side([one.windows for one in planned]):
            raise ConfigError(
                "these pieces cannot be written in one batch: their sections or beginnings differ; "
                "write them one by one"
            )
        if any(one.plan.request.sampling != planned[0].plan.request.sampling for one in planned):
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
                model.branches(one.plan.request, one.texts),
                voice.known,
                draws_of(one.plan.request.seed),
            )
            for one, voice in zip(self._planned, voices, strict=True)
        ]
        for number, voice in enumerate(voices):
            for samples in voice.begin():
                yield Block(number, samples)
        sampling = self.plans[0].request.sampling
        weights = () if sampling.guidance in (0.0, 1.0) else (sampling.guidance,)
        # A codec is no faster on several threads, but several pieces are.
        with ThreadPoolExecutor(threads.usable_cores()) as pool:
            for frames in write_codes(model.engine, items, weights, sampling, model.pattern):
                for frame in frames:
                    voices[frame.item].add(frame.codes)
                due = [frame.item for frame in frames if voices[frame.item].is_due]
                sounds = pool.map(lambda item: voices[item].sound(), due)
                for item, samples in zip(due, sounds, strict=True):
                    if samples.shape[1]:
                        yield Block(item, samples)


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
        if planned.plan.request.continuation is not None:
            first = planned.windows[0]
            self._continue(
                planned.plan.request.continuation, first.start, first.start - first.shown
            )

    def _continue(self, sound: Waveform, known: int, context: int) -> None:
        """Encode the last `context` frames of the first `known`, and make the join ready."""
        hop, rate = self._codec.hop, self._codec.sample_rate
        # Channels first: what they become is mostly less.
        sound = Waveform(with_channels(sound.samples, self._codec.channels), sound.sample_rate)
        samples = resample(sound, rate).samples
        samples = samples[:, : known * hop]
        self.known = self._codec.encode(samples[:, (known - context) * hop :])[:, :context]
        warm = min(context, round(_WARM_SECONDS * self._codec.frame_rate))
        self._joint = samples[:, samples.shape[1] - min(round(_JOIN_SECONDS * rate), warm * hop) :]
        self._before = samples[:, : samples.shape[1] - self._joint.shape[1]]
        self._skip = warm * hop - self._joint.shape[1]
        self._pending = list(self.known[:, context - warm :].T)
        self._wanted += warm

    def begin(self) -> Iterator[FloatArray]:
        """What there is before the first frame is written: the file that is continued."""
        for start in range(0, self._before.shape[1], BLOCK_FRAMES):
            yield self._counted(self._before[:, start : start + BLOCK_FRAMES])
        self._before = self._before[:, :0]

    def add(self, codes: Codes) -> None:
        """One more frame [K]."""
        self._pending.append(codes)
        self._frames_left -= 1

    @property
    def is_due(self) -> bool:
        """Whether there are enough frames to be decoded together, or the last ones."""
        return len(self._pending) >= self._wanted or not self._frames_left

    def sound(self) -> FloatArray:
        """The samples [C, n] of the frames there are, as far as they are ready; n may be 0."""
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
