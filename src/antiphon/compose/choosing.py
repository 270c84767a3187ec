"""Was it kept? What was written is measured and heard; of several candidates the best stays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from antiphon.analysis import adherence, measure
from antiphon.analysis.judging import Adherence
from antiphon.audio import Waveform
from antiphon.compose.arranging import told_controls
from antiphon.compose.requests import SYNTH, Hear, Plan
from antiphon.controls import Controls
from antiphon.description import Heard
from antiphon.facts import Facts
from antiphon.score import Score


@dataclass(frozen=True)
class Candidate:
    """One of several tries: of the `wishes` that can be judged it kept `kept`."""

    seed: int
    kept: int
    wishes: int
    chosen: bool


@dataclass(frozen=True)
class Judgement:
    """What is measured and heard in a piece, and what of it was asked for; `of_score` is
    the same of what the score says, whether it was asked for or not."""

    facts: Facts
    heard: Heard | None
    adherence: Mapping[str, Adherence]
    of_score: Mapping[str, Adherence]

    @property
    def kept(self) -> int:
        """Of the wishes that can be judged."""
        return sum(one.ok for one in self.adherence.values())

    @property
    def heard_values(self) -> dict[str, object]:
        """By the names of `measured`; nothing without an ear."""
        if self.heard is None:
            return {}
        drums = self.heard.drums
        return {
            "genre": self.heard.genre[0].name if self.heard.genre else None,
            "drums": None if drums is None else drums.present,
        }


def judge(
    plan: Plan, source: Path | Waveform, hear: Hear | None, loudness_lufs: float | None = None
) -> Judgement:
    """Measure what was played, and `hear` it. Raises AudioError, StorageError, EngineError."""
    facts = measure(source)
    heard = None if hear is None else hear(source, facts)
    of_score: Mapping[str, Adherence] = {}
    if plan.score is not None:
        of_score = adherence(_said_by(plan.score, plan.wishes), facts, heard)
    asked = adherence(plan.wishes, facts, heard, loudness_lufs=loudness_lufs)
    return Judgement(facts, heard, asked, of_score)


def _said_by(score: Score, wishes: Controls) -> Controls:
    """What a score says and can be judged."""
    told = told_controls(score, wishes)
    drums = any(track.is_drums and track.notes for track in score.tracks)
    played, refused = (("drums",), ()) if drums else ((), ("drums",))
    return replace(told, instruments=played, without=refused)


def choose(judgements: Sequence[Judgement]) -> int:
    """The number of the one that keeps the most wishes; among these of what its score says, and
    then the one whose tempo is nearest."""

    def worth(number: int) -> tuple[int, int, float, int]:
        one = judgements[number]
        of_score = sum(found.ok for found in one.of_score.values())
        return one.kept, of_score, -_tempo_error(one), -number

    return max(range(len(judgements)), key=worth)


def _tempo_error(judgement: Judgement) -> float:
    """Relative; endless where there is no tempo, 0 where none was asked for."""
    found = (judgement.of_score or judgement.adherence).get("tempo")
    if found is None:
        return 0.0
    if not isinstance(found.measured, float) or not isinstance(found.requested, float):
        return float("inf")
    return abs(found.measured / found.requested - 1)


def said_of(judgement: Judgement, plan: Plan, candidates: Sequence[Candidate]) -> tuple[str, ...]:
    """For people: which candidate was kept and by what; what was asked for and is not there, and
    who would play it."""
    found = []
    for best in (one for one in candidates if one.chosen):
        others = ", ".join(f"seed {one.seed}: {one.kept}" for one in candidates if one != best)
        found.append(
            f"kept seed {best.seed}, which keeps {best.kept} of {best.wishes} wishes ({others})"
            if best.wishes
            else f"kept seed {best.seed} of {len(candidates)}, which plays its score best"
        )
    missed = [name for name, one in judgement.adherence.items() if not one.ok]
    if missed:
        said = f"not kept: {', '.join(missed)}"
        if candidates:
            said = f"none of {len(candidates)} candidates keeps all; {said}"
        if plan.score is not None and plan.text is not None:
            said += f"; --model {SYNTH} --seed {plan.request.seed} plays the same score exactly"
        found.append(said)
    return tuple(found)
