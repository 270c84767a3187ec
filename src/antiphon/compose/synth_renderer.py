"""A prompt without a neural model: the arranger writes a score, our own instruments play it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from antiphon.arrange import arrange
from antiphon.audio.stream import BLOCK_FRAMES
from antiphon.compose.prompt import combine
from antiphon.compose.requests import Block, Plan, Request, with_length
from antiphon.compose.sampling import Sampling
from antiphon.compose.understanding import understand
from antiphon.errors import ConfigError
from antiphon.synth import fit_length, render

SAMPLE_RATE = 44_100


class Synth:
    """Implements `Renderer`."""

    sample_rate = SAMPLE_RATE
    channels = 2

    def perform(self, requests: Sequence[Request]) -> SynthPerformance:
        """See `Renderer`."""
        return SynthPerformance(tuple(_plan(request) for request in requests))

    def provenance(self, request: Request) -> Mapping[str, object]:
        """See `Renderer`."""
        return {"model": "synth", "revision": None, "licence": "Apache-2.0", "settings": {}}


@dataclass(frozen=True, eq=False)
class SynthPerformance:
    """Implements `Performance`."""

    plans: tuple[Plan, ...]

    def blocks(self) -> Iterator[Block]:
        """See `Performance`; one piece after the other."""
        for item, plan in enumerate(self.plans):
            assert plan.score is not None, "a synth piece without a score"
            waveform = render(plan.score, sample_rate=SAMPLE_RATE)
            waveform = fit_length(waveform, plan.samples / SAMPLE_RATE)
            for start in range(0, plan.samples, BLOCK_FRAMES):
                yield Block(item, waveform.samples[:, start : start + BLOCK_FRAMES])


def _plan(request: Request) -> Plan:
    for name, given in (
        ("--continue", request.continuation),
        ("--melody", request.melody),
        ("--negative", request.negative),
        ("--section", request.sections or None),
        (
            "--temperature, --top-k, --top-p or --guidance",
            None if request.sampling == Sampling() else request.sampling,
        ),
    ):
        if given is not None:
            raise ConfigError(
                f"{name} needs a neural model, and none is named; expected --model FOLDER, a "
                "MusicGen checkpoint"
            )
    understood = understand(request.prompt)
    combined = combine(request.controls.to_dict(), understood)
    wishes = with_length(combined.controls)
    score = arrange(wishes, request.seed)
    seconds = wishes.duration_seconds or score.duration_seconds
    notes = [*understood.notes, *combined.contradictions]
    if understood.unknown:
        notes.append(f"not understood by the arranger: {', '.join(understood.unknown)}")
    return Plan(request, round(seconds * SAMPLE_RATE), wishes, None, score, tuple(notes))
