"""The ledger of claims by the marks of a person, made before there was a grammar."""

from __future__ import annotations

import marked_claims
import pytest

pytestmark = pytest.mark.unit


def test_claims_are_those_that_a_person_marks() -> None:
    score = marked_claims.score(marked_claims.load())
    assert score.marked == 244
    assert score.precision >= 0.98, score.mistakes
    assert score.recall >= 0.95, score.mistakes


def test_correcting_leaves_hardly_a_contradicted_number() -> None:
    left, wrong, still = marked_claims.left_after_correcting(marked_claims.load())
    assert wrong == 113
    assert left <= 0.05 * wrong, still


def test_sentences_that_came_later() -> None:
    sentences = marked_claims.load(marked_claims.SEEN)
    score = marked_claims.score(sentences)
    assert score.precision >= 0.97, score.mistakes
    assert score.recall >= 0.97, score.mistakes
    left, wrong, still = marked_claims.left_after_correcting(sentences)
    assert left <= 0.05 * wrong, still
