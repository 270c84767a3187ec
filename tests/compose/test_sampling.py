"""From logits to codes: the distribution, what is cut off, ties, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy.stats import chisquare

from antiphon.compose.sampling import Sampling, choose, draws_of, guided
from antiphon.errors import ConfigError
from antiphon.weights import Float32

pytestmark = pytest.mark.unit

JUST_BELOW_1 = float(np.nextafter(1.0, 0.0))
LOGITS = hnp.arrays(
    np.float32, st.integers(1, 30), elements=st.integers(-40, 40).map(lambda n: n / 8)
)  # few values: many ties
SAMPLINGS = st.builds(
    Sampling,
    temperature=st.floats(0.1, 3.0),
    top_k=st.integers(0, 40),
    top_p=st.floats(0.01, 1.0),
)

RESOLVED = 1e-12  # of all: what is less likely lies between two numbers from 0 to 1


def brute_force(logits: Float32, sampling: Sampling) -> list[float]:
    """The probability of each entry, one after the other, by the words of the docstring."""
    order = sorted(range(len(logits)), key=lambda entry: (-float(logits[entry]), entry))
    kept = order[: sampling.top_k] if sampling.top_k else order
    highest = float(logits[kept[0]])
    shares = {e: math.exp((float(logits[e]) - highest) / sampling.temperature) for e in kept}
    total = math.fsum(shares.values())
    nucleus: list[int] = []
    for entry in kept:
        nucleus.append(entry)
        if math.fsum(shares[e] for e in nucleus) >= sampling.top_p * total:
            break
    if sampling.top_p == 1.0:
        nucleus = kept
    total = math.fsum(shares[entry] for entry in nucleus)
    return [shares[e] / total if e in nucleus else 0.0 for e in range(len(logits))]


def frequencies(logits: Float32, sampling: Sampling, count: int = 20_000) -> NDArray[np.int64]:
    draws = np.random.default_rng(1).random(count)
    codes = choose(np.broadcast_to(logits, (count, len(logits))), draws, sampling)
    return np.bincount(codes, minlength=len(logits))


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(top_k=0),
        Sampling(top_k=0, temperature=0.5),
        Sampling(top_k=0, temperature=2.5),
        Sampling(top_k=5),
        Sampling(top_k=0, top_p=0.7),
        Sampling(top_k=9, top_p=0.8, temperature=1.3),
    ],
)
def test_codes_are_drawn_from_the_exact_distribution(sampling: Sampling) -> None:
    logits = np.random.default_rng(0).normal(0, 1.2, 24).astype(np.float32)
    expected = np.array(brute_force(logits, sampling))
    found = frequencies(logits, sampling)
    possible = expected > 0
    assert found[~possible].sum() == 0
    test = chisquare(found[possible], expected[possible] * found.sum())
    assert test.pvalue > 1e-3


@settings(deadline=None)
@given(LOGITS, SAMPLINGS)
def test_what_is_left_in_is_what_brute_force_leaves_in(logits: Float32, sampling: Sampling) -> None:
    expected = brute_force(logits, sampling)
    order = sorted(range(len(logits)), key=lambda entry: (-float(logits[entry]), entry))
    at = 0.0
    for entry in order:
        if expected[entry] == 0.0:
            continue
        middle = at + expected[entry] / 2
        at += expected[entry]
        if expected[entry] > RESOLVED:
            assert choose(logits, np.array(middle), sampling) == entry
    # The ends of what may be drawn belong to the likeliest and to the least likely that is left.
    left = [entry for entry in order if expected[entry] > 0]
    drawable = [entry for entry in left if expected[entry] > RESOLVED]
    assert choose(logits, np.array(0.0), sampling) == left[0]
    assert choose(logits, np.array(JUST_BELOW_1), sampling) in left[left.index(drawable[-1]) :]


def test_the_two_ends_of_a_draw() -> None:
    logits = np.log(np.array([0.25, 0.5, 0.25], np.float32))
    free = Sampling(top_k=0)
    assert choose(logits, np.array(0.0), free) == 1
    assert choose(logits, np.array(JUST_BELOW_1), free) == 2
    assert choose(np.full(2048, -3.0, np.float32), np.array(JUST_BELOW_1), free) == 2047


def test_ties_go_to_the_lower_number() -> None:
    logits = np.array([1.0, 3.0, 3.0, 3.0, 1.0], np.float32)
    assert choose(logits, np.array(0.99), Sampling(temperature=0.0)) == 1
    two = Sampling(top_k=2)
    assert {int(choose(logits, np.array(draw), two)) for draw in (0.0, 0.49, 0.51, 0.99)} == {1, 2}


def test_temperature_0_is_the_likeliest_whatever_is_drawn() -> None:
    logits = np.random.default_rng(0).normal(size=(3, 4, 50)).astype(np.float32)
    for draw in (0.0, 0.5, JUST_BELOW_1):
        codes = choose(logits, np.full((3, 4), draw), Sampling(temperature=0.0, top_k=7))
        assert np.array_equal(codes, logits.argmax(-1))


def test_a_low_temperature_is_nearly_greedy_and_overflows_nowhere() -> None:
    logits = np.array([-3e4, 2e4, 2.0001e4], np.float32)
    sampling = Sampling(temperature=1e-3)
    for draw in (0.0, 0.5, JUST_BELOW_1):
        assert choose(logits, np.array(draw), sampling) == 2


def test_top_k_unset_is_250_or_all() -> None:
    many = np.zeros(300, np.float32)
    assert choose(many, np.array(JUST_BELOW_1), Sampling()) == 249
    assert choose(many, np.array(JUST_BELOW_1), Sampling(top_k=0)) == 299
    assert choose(many[:64], np.array(JUST_BELOW_1), Sampling()) == 63


def test_rows_are_drawn_by_themselves() -> None:
    logits = np.random.default_rng(0).normal(size=(5, 4, 64)).astype(np.float32)
    draws = np.random.default_rng(1).random((5, 4))
    sampling = Sampling(top_k=20, top_p=0.9)
    together = choose(logits, draws, sampling)
    for item in range(5):
        assert np.array_equal(choose(logits[item : item + 1], draws[item : item + 1], sampling)[0],
                              together[item])  # fmt: skip


@settings(deadline=None)
@given(st.floats(0, 10), st.floats(0, 10))
def test_guidance_is_its_formula(text: float, score: float) -> None:
    nothing, said, followed = np.random.default_rng(0).normal(size=(3, 2, 4, 9)).astype(np.float32)
    two = guided(np.stack([nothing, said], axis=1), (text,))
    np.testing.assert_allclose(two, nothing + text * (said - nothing), atol=1e-4)
    three = guided(np.stack([nothing, said, followed], axis=1), (text, score))
    expected = nothing + text * (said - nothing) + score * (followed - said)
    np.testing.assert_allclose(three, expected, atol=1e-4)
    assert two.dtype == three.dtype == np.float32


def test_guidance_without_weights_is_the_one_branch() -> None:
    logits = np.random.default_rng(0).normal(size=(2, 1, 4, 9)).astype(np.float32)
    assert np.array_equal(guided(logits, ()), logits[:, 0])
    with pytest.raises(AssertionError, match="1 weights for 3 rows"):
        guided(np.zeros((1, 3, 2, 2), np.float32), (3.0,))


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"temperature": -0.1}, "temperature is -0.1; expected 0 to 10"),
        ({"temperature": math.nan}, "temperature is nan; expected 0 to 10"),
        ({"temperature": math.inf}, "temperature is inf; expected 0 to 10"),
        ({"temperature": 10.5}, "temperature is 10.5; expected 0 to 10"),
        ({"guidance": -1.0}, "guidance is -1; expected 0 to 100"),
        ({"guidance": 101.0}, "guidance is 101; expected 0 to 100"),
        ({"guidance": math.nan}, "guidance is nan; expected 0 to 100"),
        ({"top_p": 0.0}, "top-p is 0; expected more than 0, up to 1"),
        ({"top_p": 1.01}, "top-p is 1.01; expected more than 0"),
        ({"top_p": math.nan}, "top-p is nan; expected more than 0"),
        ({"top_k": -1}, "top-k is -1; expected 1 or more, or 0 for no limit"),
    ],
)
def test_values_that_make_no_sense_are_named(values: dict[str, float], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        Sampling(**values)  # type: ignore[arg-type]


def test_more_than_a_codebook_has_is_named() -> None:
    Sampling(top_k=64).require_fits(64)
    Sampling().require_fits(64)
    with pytest.raises(ConfigError, match="top-k is 65; expected 1 to 64, the entries of a codebo"):
        Sampling(top_k=65).require_fits(64)


def test_draws_are_a_matter_of_the_seed_alone() -> None:
    one, same, other = draws_of(7), draws_of(7), draws_of(8)
    first = one.random(1000)
    assert np.array_equal(first, same.random(1000))
    assert not np.array_equal(first, other.random(1000))
    assert ((first >= 0) & (first < 1)).all()
    # In parts as at once: how many steps are taken together does not count.
    parts = draws_of(7)
    assert np.array_equal(first, np.concatenate([parts.random(4) for _ in range(250)]))
