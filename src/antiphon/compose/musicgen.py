"""A MusicGen checkpoint as a renderer: text encoder, decoder, codec and the loop between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from antiphon import threads
from antiphon.compose.checkpoint import MusicGenConfig, read_values
from antiphon.compose.codecs import AudioCodec
from antiphon.compose.engines import Branch, DecoderEngine
from antiphon.compose.generation import Item, side_by_side, write_codes
from antiphon.compose.melody import melody_chroma, no_melody
from antiphon.compose.patterns import Pattern, delay, stereo_delay
from antiphon.compose.planning import Planned, Planner
from antiphon.compose.requests import Block, Request
from antiphon.compose.sampling import draws_of
from antiphon.compose.score_adapter import ScoreAdapter
from antiphon.compose.score_frames import Frames
from antiphon.compose.text import TextEncoder
from antiphon.compose.voice import Voice
from antiphon.compose.windows import WINDOW_SECONDS, Window
from antiphon.errors import ConfigError
from antiphon.models.manifest import licence_of
from antiphon.models.record import read_record
from antiphon.weights import Float32


@dataclass(frozen=True, eq=False)
class Guidance:
    """The branches of each section, and the weights between them, as `sampling.guided` has it. What
    the branches have in common is computed once."""

    sections: tuple[tuple[Branch, ...], ...]
    weights: tuple[float, ...]
    hears_score: bool
    """The last branch."""


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
        window_seconds: float = WINDOW_SECONDS,
        adapter: ScoreAdapter | None = None,
    ) -> None:
        """`window_seconds` is how long a piece it was trained on; with an `adapter` it follows
        scores."""
        self.config = config
        self.adapter = adapter
        self._planner = Planner(config, codec, text, window_seconds, adapter is not None)
        self.engine = engine
        self.codec = codec
        self.text = text
        self.sample_rate = codec.sample_rate
        self.channels = codec.channels
        codebooks = config.decoder.codebooks
        stereo = config.decoder.channels == 2
        self.pattern: Pattern = stereo_delay(codebooks) if stereo else delay(codebooks)
        record = read_record(folder)
        said = read_values(folder).get("licence")
        self._origin: dict[str, object] = {
            "model": (record.repo if record else None) or name,
            "revision": record.revision if record else None,
            "licence": licence_of(record.repo if record else None) or said,
        }
        self.settings = dict(settings_used)

    def perform(self, requests: Sequence[Request]) -> MusicGenPerformance:
        """See `Renderer`."""
        return MusicGenPerformance(self, [self._planner.plan(request) for request in requests])

    def provenance(self, request: Request) -> Mapping[str, object]:
        """See `Renderer`."""
        chosen = asdict(request.sampling) | {"negative": request.negative}
        return {**self._origin, "settings": {**self.settings, **chosen}}

    def guidance(self, request: Request, texts: Sequence[str], has_score: bool = False) -> Guidance:
        """What a piece is conditioned on in each of its sections: nothing (or what it should not
        sound like), the prompt, and the score, as far as their weights need them."""
        chroma = nothing = None
        bins, frames = self.config.chroma_bins, self.config.chroma_frames
        if bins is not None and frames is not None:
            nothing = no_melody(frames, bins)
            chroma = nothing
            if request.melody is not None:
                chroma = melody_chroma(request.melody, frames, bins)
        by_text = request.sampling.guidance
        by_score = 0.0
        if has_score:
            given = request.sampling.score_guidance
            by_score = by_text if given is None else given
        negative = None if request.negative is None else self._states(request.negative)
        without = Branch(negative, nothing)
        sections: list[tuple[Branch, ...]] = []
        weights: tuple[float, ...] = ()
        for text in texts:
            # A prompt that does not count stands in for the score's own branch.
            told = Branch(self._states(text), chroma) if by_text else without
            branches, weights = _chain(without, told, by_text, by_score)
            sections.append(branches)
        return Guidance(tuple(sections), weights, by_score > 0)

    def score_view(self, frames: Frames) -> Callable[[Window, int], Float32]:
        """What a score adds in a window to the embedding of each step."""
        adapter = self.adapter
        assert adapter is not None, "a model that follows scores"
        return lambda window, steps: adapter.extra(frames[window.shown : window.end], steps)

    def _states(self, text: str) -> Float32 | None:
        """Of a prompt; an empty one says nothing, as in training (audiocraft's `T5Conditioner`)."""
        return self.text.encode(text) if text else None


class MusicGenPerformance:
    """Implements `Performance`."""

    def __init__(self, model: MusicGen, planned: Sequence[Planned]) -> None:
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
        voices = [Voice(model.codec, one) for one in self._planned]
        items: list[Item] = []
        weights: tuple[float, ...] = ()
        for one, voice in zip(self._planned, voices, strict=True):
            request, score = one.plan.request, one.score_frames
            guidance = model.guidance(request, one.texts, score is not None)
            weights = guidance.weights  # of one sampling: those of all
            view = None
            if score is not None and guidance.hears_score:
                view = model.score_view(score)
            draws = draws_of(request.seed)
            items.append(Item(one.windows, guidance.sections, voice.known, draws, view))
        for number, voice in enumerate(voices):
            for samples in voice.begin():
                yield Block(number, samples)
        sampling = self.plans[0].request.sampling
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


def _chain(
    without: Branch, told: Branch, by_text: float, by_score: float
) -> tuple[tuple[Branch, ...], tuple[float, ...]]:
    """Nothing, then the text by its weight, then the score by its: each step that a weight of 0 or
    1, or of the same as the next, makes needless is left out. A score is heard in the last."""
    if by_score in (0.0, by_text) or by_text == 0.0:
        weight = by_text or by_score
        if weight == 0.0:
            return (without,), ()
        return ((told,), ()) if weight == 1.0 else ((without, told), (weight,))
    if by_text == 1.0:
        return (told, told), (by_score,)
    return (without, told, told), (by_text, by_score)
