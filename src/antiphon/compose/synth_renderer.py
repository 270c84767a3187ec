"""A prompt without a neural model: the arranger writes a score, our own instruments play it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from antiphon.audio.stream import BLOCK_FRAMES
from antiphon.compose.arranging import arranged
from antiphon.compose.looping import LoopCut
from antiphon.compose.requests import Block, Plan, Request
from antiphon.compose.sampling import Sampling
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
            samples = fit_length(waveform, plan.played_samples / SAMPLE_RATE).samples
            if plan.loop is not None:
                samples = LoopCut(plan.loop, plan.samples, SAMPLE_RATE).take(samples)
            for start in range(0, plan.samples, BLOCK_FRAMES):
                yield Block(item, samples[:, start : start + BLOCK_FRAMES])


def _plan(request: Request) -> Plan:
    for name, given in (
        ("--continue", request.continuation),
        ("--melody", request.melody),
        ("--negative", request.negative),
        ("--section", request.sections or None),
        (
            "--temperature, --top-k, --top-p, --guidance or --score-guidance",
            None if request.sampling == Sampling() else request.sampling,
        ),
    ):
        if given is not None:
            raise ConfigError(
                f"{name} needs a neural model, and the synth is none; expected another --model, "
                "or none for the one in the package"
            )
    piece = arranged(request)
    return Plan(
        request,
        round(piece.seconds * SAMPLE_RATE),
        piece.wishes,
        None,
        piece.score,
        piece.notes,
        loop=piece.loop(SAMPLE_RATE),
    )
