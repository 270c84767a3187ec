"""Sentences marked by hand, and how the ledger of claims is judged by the marks.

By the mistakes in MARKED the grammar was mended after its first look, and later by those in SEEN;
nothing is ever to be mended by HELD_OUT.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from antiphon.facts import (
    Facts,
    KeyEstimate,
    Loudness,
    Metre,
    Span,
    Spans,
    Tempo,
    TempoCandidate,
)
from antiphon.listen.claims import check_text, find_claims, judge
from bare_facts import bare_facts

MARKED = Path(__file__).with_name("marked_claims.yaml")
SEEN = Path(__file__).with_name("seen_claims.yaml")
HELD_OUT = Path(__file__).with_name("held_out_claims.yaml")


@dataclass(frozen=True)
class Mark:
    """One claim as a person sees it."""

    quantity: str
    said: str
    verdict: str


@dataclass(frozen=True)
class Marked:
    """A sentence and all claims in it."""

    text: str
    facts: Facts
    marks: tuple[Mark, ...]


@dataclass(frozen=True)
class Score:
    """`mistakes` name each sentence with what was missed and what was made up."""

    found: int
    right: int
    marked: int
    mistakes: tuple[str, ...]

    @property
    def precision(self) -> float:
        return self.right / self.found

    @property
    def recall(self) -> float:
        return self.right / self.marked


def load(file: Path = MARKED) -> list[Marked]:
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    sheets = {name: _facts(sheet) for name, sheet in content["fact_sheets"].items()}
    return [
        Marked(
            entry["text"],
            sheets[entry["facts"]],
            tuple(Mark(**mark) for mark in entry.get("claims") or ()),
        )
        for entry in content["sentences"]
    ]


def score(sentences: list[Marked]) -> Score:
    """A claim is right when quantity and verdict are those of a mark whose words it overlaps."""
    found = right = marked = 0
    mistakes = []
    for sentence in sentences:
        claims = [
            (claim.quantity, claim.start, claim.stop, judge(claim, sentence.facts).verdict)
            for claim in find_claims(sentence.text)
        ]
        marks = list(_placed(sentence))
        rest = list(claims)
        missed = []
        for quantity, start, stop, verdict in marks:
            hit = next((c for c in rest if c[0] == quantity and c[1] < stop and start < c[2]), None)
            if hit is None or hit[3] != verdict:
                missed.append((quantity, sentence.text[start:stop], verdict, hit and hit[3]))
            if hit is not None:
                rest.remove(hit)
        found, marked = found + len(claims), marked + len(marks)
        right += len(marks) - len(missed)
        if missed or rest:
            made_up = [(c[0], sentence.text[c[1] : c[2]], c[3]) for c in rest]
            mistakes.append(f"{sentence.text!r} missed {missed} made up {made_up}")
    return Score(found, right, marked, tuple(mistakes))


def left_after_correcting(sentences: list[Marked]) -> tuple[int, int, list[str]]:
    """How many of the values marked as contradicted still stand after `correct`, of how many."""
    wrong = left = 0
    still = []
    for sentence in sentences:
        contradicted = Counter(m.said for m in sentence.marks if m.verdict == "contradicted")
        right = {m.said for m in sentence.marks if m.verdict != "contradicted"}
        text = check_text("full", sentence.text, sentence.facts, "correct").text
        for said, count in contradicted.items():
            wrong += count
            if said not in right and re.search(rf"(?<!\w){re.escape(said)}(?!\w)", text):
                left += count
                still.append(f"{said!r} is left in {text!r}")
    return left, wrong, still


def _placed(sentence: Marked) -> Iterator[tuple[str, int, int, str]]:
    """The marks with their places; the same words twice are marked in their order."""
    after: Counter[str] = Counter()
    for mark in sentence.marks:
        start = sentence.text.index(mark.said, after[mark.said])
        after[mark.said] = start + len(mark.said)
        yield mark.quantity, start, start + len(mark.said), mark.verdict


def _facts(sheet: dict[str, Any]) -> Facts:
    facts = bare_facts(duration_seconds=sheet["duration_seconds"] or 0.0)
    if sheet["tempo_bpm"]:
        others = tuple(TempoCandidate(bpm, 0.3) for bpm in sheet.get("tempo_alternatives") or ())
        facts = replace(facts, tempo=Tempo(sheet["tempo_bpm"], 0.9, others))
    if sheet["key"]:
        facts = replace(facts, key=KeyEstimate(sheet["key"], 0.9))
    if sheet["beats_per_bar"]:
        facts = replace(facts, metre=Metre(sheet["beats_per_bar"], 0.9))
    if sheet["chords"]:
        spans = tuple(Span(2.0 * n, 2.0 * n + 2, c) for n, c in enumerate(sheet["chords"]))
        facts = replace(facts, chords=Spans(spans, 0.9))
    if sheet["integrated_lufs"] is not None:
        facts = replace(facts, loudness=Loudness(sheet["integrated_lufs"], None, None))
    starts = sheet["sections_start_seconds"]
    if starts:
        ends = [*starts[1:], facts.duration_seconds]
        spans = tuple(Span(a, b, "A") for a, b in zip(starts, ends, strict=True))
        facts = replace(facts, sections=Spans(spans, 0.9))
    return facts
