"""Words in, music out: `load_composer`, and what it gives for every kind of model.

composer = antiphon.load_composer("musicgen-small/")
piece = composer.generate("upbeat jazz with saxophone", duration_seconds=20, seed=7)
antiphon.audio.write("a.wav", piece.waveform)
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from antiphon.audio import FloatArray, Waveform
from antiphon.compose.requests import SYNTH, Hear, Performance, Plan, Renderer, Request
from antiphon.compose.sampling import Sampling
from antiphon.controls import Controls
from antiphon.score import Score, drawn_seed

if TYPE_CHECKING:
    from antiphon.analysis import Adherence
    from antiphon.compose.loading import LoadOptions
    from antiphon.description import Heard
    from antiphon.facts import Facts

PACKAGED_NAME = "composer"
PEAK_DBTP = -1.0  # what a piece may reach after its level was changed (EBU R 128)


@dataclass(frozen=True, eq=False)
class Piece:
    """What was composed: the sound, what was asked, and what is measured and heard in it.

    `provenance` holds model, revision, licence, settings, prompt, text, seed, sections, what was
    continued or followed, and version.
    """

    waveform: Waveform
    seed: int
    requested: Mapping[str, object]
    facts: Facts
    heard: Heard | None
    adherence: Mapping[str, Adherence]
    score: Score | None
    provenance: Mapping[str, object]
    notes: tuple[str, ...]


class Composer:
    """A model, loaded once, for many pieces. With `hear` it judges by ear, too, what was asked for
    and cannot be measured: genre and drums."""

    def __init__(self, renderer: Renderer, hear: Hear | None = None) -> None:
        self.renderer = renderer
        self.hear = hear

    @property
    def sample_rate(self) -> int:
        """Of its sound, in Hz."""
        return self.renderer.sample_rate

    def generate(
        self,
        prompt: str,
        *,
        duration_seconds: float | None = None,
        seed: int | None = None,
        controls: Controls | None = None,
        sampling: Sampling | None = None,
        negative: str | None = None,
    ) -> Piece:
        """Compose one piece; a seed of None is drawn and is in the result.

        Raises ConfigError for what is out of range, EngineError if the model fails.
        """
        controls = controls or Controls()
        if duration_seconds is not None:
            controls = replace(controls, duration_seconds=duration_seconds)
        request = Request(
            prompt,
            drawn_seed() if seed is None else seed,
            controls,
            sampling or Sampling(),
            negative,
        )
        return self.compose([request])[0]

    def compose(self, requests: Sequence[Request]) -> tuple[Piece, ...]:
        """Compose pieces side by side; their plans must be of one group."""
        if not requests:
            return ()
        performance = self.renderer.perform(requests)
        sound = collect(performance)
        return tuple(
            self.piece(plan, samples)
            for plan, samples in zip(performance.plans, sound, strict=True)
        )

    def piece(self, plan: Plan, samples: FloatArray) -> Piece:
        """The finished piece of samples [C, T]: below full scale, and measured against the
        wishes."""
        from antiphon.compose.choosing import judge

        samples, notes = turned_down(samples)
        waveform = Waveform(samples, self.sample_rate)
        judgement = judge(plan, waveform, self.hear)
        return Piece(
            waveform=waveform,
            seed=plan.request.seed,
            requested=plan.wishes.to_dict(),
            facts=judgement.facts,
            heard=judgement.heard,
            adherence=judgement.adherence,
            score=plan.score,
            provenance=self.provenance(plan),
            notes=(*plan.notes, *notes),
        )

    def provenance(self, plan: Plan) -> Mapping[str, object]:
        """What a piece was made from, as it goes into its file and beside it."""
        from antiphon import __version__

        request = plan.request
        return {
            **self.renderer.provenance(request),
            "prompt": request.prompt,
            "text": plan.text,
            "seed": request.seed,
            "sections": [asdict(section) for section in plan.sections],
            "continued": _identified(request.continuation),
            "melody": _identified(request.melody),
            "version": __version__,
        }


def _identified(recording: Waveform | None) -> Mapping[str, object] | None:
    """What tells a recording from others: its length, and a checksum of its samples."""
    if recording is None:
        return None
    checksum = hashlib.sha256(np.ascontiguousarray(recording.samples).tobytes()).hexdigest()
    return {"seconds": recording.duration_seconds, "samples_sha256": checksum}


def below_full_scale(peak: float) -> tuple[float, tuple[str, ...]]:
    """The factor that keeps a piece with this peak from clipping, and what is to be said of it."""
    assert np.isfinite(peak), f"a peak of {peak}"
    if peak <= 1.0:
        return 1.0, ()
    gain = 10 ** (PEAK_DBTP / 20) / peak
    return gain, (f"turned down by {-20 * np.log10(gain):.1f} dB, which keeps it from clipping",)


def turned_down(samples: FloatArray) -> tuple[FloatArray, tuple[str, ...]]:
    """Samples [C, T] of a whole piece as `below_full_scale` has them."""
    gain, notes = below_full_scale(float(np.abs(samples).max(initial=0.0)))
    return samples * np.float32(gain), notes


def collect(performance: Performance) -> list[np.ndarray]:
    """All sound of a performance, [C, T] for each piece."""
    parts: list[list[np.ndarray]] = [[] for _ in performance.plans]
    for block in performance.blocks():
        parts[block.item].append(block.samples)
    return [np.concatenate(blocks, axis=1) for blocks in parts]


def load_composer(
    spec: str | Path | None = None,
    options: LoadOptions | None = None,
    *,
    models: Path | None = None,
    on_layer: Callable[[int, int], None] = lambda done, total: None,
    hear: Hear | None = None,
) -> Composer:
    """A composer: the one in the package; a MusicGen checkpoint by its folder or hub name; or
    "synth", the arranger and the built-in instruments.

    `models` is where models lie (None: the setting). A checkpoint is prepared when it is met first:
    `on_layer` is told how many layers of how many are. Raises ModelMissingError for a model that is
    not here, ModelError for one that cannot be loaded or is of another kind.
    """
    if spec is not None and str(spec) == SYNTH:
        from antiphon.compose.synth_renderer import Synth

        return Composer(Synth(), hear)
    from antiphon.compose.loading import LoadOptions, load_musicgen
    from antiphon.models.finding import find

    folder = find(PACKAGED_NAME if spec is None else spec, models)
    return Composer(load_musicgen(folder, options or LoadOptions(), on_layer=on_layer), hear)
