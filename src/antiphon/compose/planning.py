"""From a request to what a MusicGen writes: windows, the texts it reads, the score it follows.

Knows sizes and the text encoder, no weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from antiphon.audio import Waveform
from antiphon.compose.arranging import arranged, arranged_after, told_controls
from antiphon.compose.checkpoint import MusicGenConfig
from antiphon.compose.codecs import AudioCodec
from antiphon.compose.prompt import combine, render, uncarried
from antiphon.compose.requests import Loop, Plan, Request, Section, with_length
from antiphon.compose.score_frames import Frames, score_frames
from antiphon.compose.sections import require_in_order, sections_of
from antiphon.compose.text import TextEncoder
from antiphon.compose.understanding import understand
from antiphon.compose.windows import STRIDE_SHARE, Window, plan
from antiphon.controls import Controls
from antiphon.errors import ConfigError


@dataclass(frozen=True, eq=False)
class Planned:
    """A plan as frames and texts."""

    plan: Plan
    windows: tuple[Window, ...]
    texts: tuple[str, ...]
    """The prompt of each section."""
    score_frames: Frames | None = None
    """What of a score is heard at each code frame [F, W]."""


@dataclass(frozen=True, eq=False)
class Planner:
    """What a model can be asked for: one that `follows_scores` gets one for every request."""

    config: MusicGenConfig
    codec: AudioCodec
    text: TextEncoder
    window_seconds: float
    follows_scores: bool

    def plan(self, request: Request) -> Planned:
        """Raises ConfigError for a request that this model cannot play."""
        self._check(request)
        if self.follows_scores:
            return self._from_score(request)
        for name, given in (("--from-score", request.score), ("--loop-bars", request.loop_bars)):
            if given is not None:
                raise ConfigError(
                    f"{name} needs a model that follows a score, and this one reads text alone; "
                    "expected the model in the package, --model synth, or --adapter DIR with one "
                    "that was trained for it"
                )
        return self._from_text(request)

    def _check(self, request: Request) -> None:
        request.sampling.require_fits(self.config.decoder.card)
        if request.melody is not None and self.config.chroma_bins is None:
            raise ConfigError(
                "--melody needs a checkpoint that was trained on melodies, such as "
                "facebook/musicgen-melody; this one knows none"
            )
        if request.sampling.score_guidance is not None and not self.follows_scores:
            raise ConfigError(
                "--score-guidance needs a model that follows a score, and this one reads text alone"
            )

    def _from_text(self, request: Request) -> Planned:
        """By the prompt alone, word for word, and flags behind it."""
        understood = understand(request.prompt)
        combined = combine(request.controls.to_dict(), understood)
        sections, seconds = sections_of(request, combined.controls)
        notes = [*request.damage, *understood.notes, *combined.contradictions]
        lost = uncarried(replace(request.controls, duration_seconds=None, bars=None, sections=(),
                                 intro=False, ending=False))  # fmt: skip
        if lost:
            notes.append(f"this model's text has no field for {', '.join(lost)}: not passed on")
        texts = [(render(text, request.controls), at) for text, at in sections]
        wishes = combined.controls
        if (wishes.bars or wishes.sections) and wishes.tempo_bpm is None:
            notes.append(
                f"bars last by the tempo, and none is given: the piece lasts {seconds:g} s"
            )
            wishes = replace(wishes, bars=None, sections=())
        return self._written(request, texts, seconds, with_length(wishes), notes)

    def _from_score(self, request: Request) -> Planned:
        """By a score, and by what it is in words behind the prompt, as the adapter's training had
        it."""
        known = request.continuation
        piece = arranged(request) if known is None else arranged_after(request, known)
        told = told_controls(piece.score, piece.wishes)
        texts = [(render(request.prompt, told), 0.0)]
        texts += [(render(one.text, told), one.start_seconds) for one in request.sections]
        notes = [*request.damage, *piece.notes]
        loop = piece.loop(self.codec.sample_rate)
        planned = self._written(request, texts, piece.seconds, piece.wishes, notes, loop)
        rate = self.codec.frame_rate
        frames = -(-planned.plan.played_samples // self.codec.hop)
        before = min(round(piece.start_seconds * rate), frames)
        heard = score_frames(piece.score, rate, frames - before)
        return replace(
            planned,
            plan=replace(planned.plan, score=piece.score),
            score_frames=np.pad(heard, ((before, 0), (0, 0))),
        )

    def _written(
        self,
        request: Request,
        sections: Sequence[tuple[str, float]],
        seconds: float,
        wishes: Controls,
        notes: list[str],
        loop: Loop | None = None,
    ) -> Planned:
        """A piece of `seconds` under these texts, each from its second on."""
        rate, hop = self.codec.sample_rate, self.codec.hop
        samples = round(seconds * rate)
        frames = -(-(samples if loop is None else loop.played_samples) // hop)
        known = self._continued_frames(request.continuation)
        if known >= frames:
            raise ConfigError(
                f"the piece lasts {seconds:g} s and the file to continue "
                f"{known * hop / rate:.2f} s; expected a longer --duration: the file counts"
            )
        per_second = self.codec.frame_rate
        window = round(self.window_seconds * per_second)
        stride = round(STRIDE_SHARE * self.window_seconds * per_second)
        starts = [round(start * per_second) for _, start in sections]
        require_in_order(sections, starts, frames, seconds)
        texts = tuple(text for text, _ in sections)
        for text in (*texts, *filter(None, [request.negative])):
            if cut := self.text.cut_tokens(text):
                notes.append(f"too long, its last {cut} tokens are not heard: '{text:.40}…'")
        notes += _unused(request)
        windows = plan(frames, starts, known, window, stride)
        played = {one.section for one in windows}
        for number, text in enumerate(texts):
            if number not in played:
                notes.append(f"lies within the file that is continued, not played: '{text:.40}'")
        first, *later = (Section(texts[number], sections[number][1]) for number in sorted(played))
        # Side by side: windows that begin alike, and one way of sampling.
        begin = tuple((one.shown, one.start, one.section) for one in windows)
        group = request.sampling, request.negative is None, begin
        planned = Plan(
            request, samples, wishes, first.text, None, tuple(notes), tuple(later), group, loop
        )
        return Planned(planned, windows, texts)

    def _continued_frames(self, sound: Waveform | None) -> int:
        if sound is None:
            return 0
        return sound.frames * self.codec.sample_rate // (sound.sample_rate * self.codec.hop)


def _unused(request: Request) -> list[str]:
    """What guidance leaves out."""
    found = []
    if request.sampling.guidance == 1.0 and request.negative is not None:
        found.append("with a guidance of 1 the negative prompt is not used")
    if request.sampling.guidance == 0.0:
        found.append("with a guidance of 0 the prompt is not used")
    return found
