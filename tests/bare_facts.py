"""Facts of a recording in which nothing could be measured: what tests build theirs from."""

from __future__ import annotations

from antiphon.facts import (
    Beats,
    Clipping,
    DamageReport,
    Dynamics,
    Facts,
    KeyEstimate,
    Loudness,
    Metre,
    Silence,
    Spans,
    Tempo,
    Timbre,
    Tuning,
)

WHY = "too short"


def bare_facts(path: str | None = None, duration_seconds: float = 1.0) -> Facts:
    """Every reason is `WHY`; use `dataclasses.replace` for what a test needs measured."""
    return Facts(
        path=path,
        duration_seconds=duration_seconds,
        sample_rate=44_100,
        channels=2,
        tempo=Tempo(None, reason=WHY),
        beats=Beats(None, reason=WHY),
        downbeats=Beats(None, reason=WHY),
        metre=Metre(None, reason=WHY),
        tuning=Tuning(None, reason=WHY),
        key=KeyEstimate(None, reason=WHY),
        chords=Spans(None, reason=WHY),
        sections=Spans(None, reason=WHY),
        loudness=Loudness(None, None, None, reason=WHY),
        dynamics=Dynamics(0.5, ()),
        silence=Silence(None, reason=WHY),
        clipping=Clipping(0),
        timbre=Timbre(None, None, reason=WHY),
        damage=DamageReport(duration_seconds, None),
    )
