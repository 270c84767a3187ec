"""The sections of a piece as prompts with the seconds they start at. Knows no model."""

from __future__ import annotations

from collections.abc import Sequence

from antiphon.compose.requests import DEFAULT_SECONDS, Request
from antiphon.controls import MAX_DURATION_SECONDS, Controls
from antiphon.errors import ConfigError

EDGE_SECONDS = 8.0  # how long an intro or an ending is, where bars are not counted


def sections_of(request: Request, wishes: Controls) -> tuple[list[tuple[str, float]], float]:
    """The prompts with the seconds they start at, and the seconds of the piece.

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
    if seconds > MAX_DURATION_SECONDS:
        raise ConfigError(
            f"{bars} bars last {seconds:g} s at {wishes.tempo_bpm:g} BPM; expected at most "
            f"{MAX_DURATION_SECONDS:g} s: fewer bars, or a higher tempo"
        )
    if controls.sections:
        at, sections = 0.0, []
        for part in controls.sections:
            sections.append((_joined_words(request.prompt, part.label), at))
            at += part.bars * bar_seconds if bar_seconds else 0.0
    if request.sections:
        if len(sections) > 1:
            raise ConfigError("sections are given by --section and by --sections; expected one")
        sections += [(section.text, section.start_seconds) for section in request.sections]
    return _with_edges(sections, controls.intro, controls.ending, seconds), seconds


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


def require_in_order(
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
