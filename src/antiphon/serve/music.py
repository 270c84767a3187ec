"""From what a client asks of a composer to a task for its owner. Knows no HTTP."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from antiphon.compose.options import form_of, requests_of
from antiphon.controls import number
from antiphon.errors import ConfigError
from antiphon.score import drawn_seed
from antiphon.serve.bodies import ElevenPlan, MusicBody
from antiphon.serve.options import Caps

_LIKE_LENGTHS = 1.25  # lengths in one batch, the longest to the shortest
_USUAL_SECONDS = 10.0
_NO_OPTIONS = ("prompt", "model", "seed", "seconds", "continue", "melody", "from_score")
_ALONE = ("section", "sections", "bars", "loop_bars", "negative")


@dataclass(frozen=True)
class MusicRequest:
    """A checked request: plain data for the owner, and what may be done beside it."""

    request: Mapping[str, object]
    batch: str | None


def music_request(body: MusicBody, caps: Caps, *, is_streamed: bool = False) -> MusicRequest:
    """Raises ConfigError for what no composer takes; a seed is drawn where none is given."""
    given = body.model_dump(by_alias=True, exclude_none=True)
    options = {name: value for name, value in given.items() if name not in _NO_OPTIONS}
    if body.seconds is not None:
        options["duration"] = body.seconds
    if body.seconds is not None and body.seconds > caps.piece_seconds:
        raise ConfigError(
            f"seconds is {body.seconds:g}; expected at most {caps.piece_seconds:g} at a time: "
            "continue the piece for more"
        )
    seed = drawn_seed() if body.seed is None else body.seed
    requests_of(body.prompt, seed, options, caps.audio_seconds)
    form_of(Path(f"piece.{body.format}"), options)
    request: dict[str, object] = {
        "prompt": body.prompt, "seed": seed, "options": options, "format": body.format,
        "asked": {name: value for name, value in given.items() if name != "from_score"}
        | {"seed": seed},
    }  # fmt: skip
    if body.from_score is not None:
        request["score"] = body.from_score
    if is_streamed:
        request["is_streamed"] = True
    return MusicRequest(request, _batch(body, options))


def _batch(body: MusicBody, options: Mapping[str, object]) -> str | None:
    """What pieces that are played side by side have in common; None for one that goes alone."""
    if body.continue_ or body.melody or body.from_score or any(name in options for name in _ALONE):
        return None
    seconds = number(options, "duration") or _USUAL_SECONDS
    sampling = [
        options.get(name)
        for name in ("temperature", "top_k", "top_p", "guidance", "score_guidance", "candidates")
    ]
    return json.dumps([math.floor(math.log(seconds, _LIKE_LENGTHS)), *sampling])


def body_of_plan(plan: ElevenPlan) -> tuple[str, str | None, list[str], float]:
    """A composition plan as a prompt, what it should not sound like, other prompts with the second
    from which they hold, and seconds."""
    prompt = ", ".join(plan.positive_global_styles)
    texts, at = [], 0.0
    for section in plan.sections:
        own = ", ".join([*plan.positive_global_styles, *section.positive_local_styles])
        if at == 0.0:
            prompt = own or section.section_name
        elif own or section.section_name:
            texts.append(f"{own or section.section_name}@{at:g}")
        at += section.duration_ms / 1000
    return prompt or "music", ", ".join(plan.negative_global_styles) or None, texts, at
