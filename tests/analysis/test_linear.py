"""The arithmetic of the small models, and that their weights fit the evidence they are given."""

from __future__ import annotations

import numpy as np
import pytest
from sounds import beat_times, features_of, groove

from antiphon.analysis import form, harmony, metre, tempo
from antiphon.analysis.features import MEL_RATE
from antiphon.analysis.linear import LinearModel, load_model, log_softmax
from antiphon.analysis.onsets import onset_strength

pytestmark = pytest.mark.unit


def test_a_score_is_a_weighted_sum_of_standardised_features() -> None:
    dice = np.random.default_rng(0)
    features = dice.standard_normal((5, 3))
    mean, scale, weights = dice.standard_normal(3), dice.uniform(1, 2, 3), dice.standard_normal(3)
    scores = LinearModel(mean, scale, weights).score(features)
    expected = [
        sum((row[i] - mean[i]) / scale[i] * weights[i] for i in range(3)) for row in features
    ]
    assert scores == pytest.approx(expected)


def test_several_outputs_are_several_models() -> None:
    dice = np.random.default_rng(1)
    features, weights = dice.standard_normal((4, 6, 3)), dice.standard_normal((3, 2))
    both = LinearModel(np.zeros(3), np.ones(3), weights).score(features)
    assert both.shape == (4, 6, 2)
    second = LinearModel(np.zeros(3), np.ones(3), weights[:, 1]).score(features)
    np.testing.assert_allclose(both[..., 1], second)


def test_log_softmax_is_a_distribution_whatever_is_added() -> None:
    scores = np.array([[1.0, 2.0, 3.0], [-5.0, 0.0, 5.0]])
    probabilities = np.exp(log_softmax(scores))
    assert probabilities.sum(axis=1) == pytest.approx([1.0, 1.0])
    assert probabilities[0] == pytest.approx(np.exp(scores[0]) / np.exp(scores[0]).sum())
    np.testing.assert_allclose(log_softmax(scores + 1e4), log_softmax(scores), atol=1e-9)
    assert np.isfinite(log_softmax(np.array([-1e5, 0.0, 1e5]))).all()


@pytest.mark.parametrize("name", ["tempo", "metre", "chord", "key", "section"])
def test_shipped_weights_are_sound_numbers(name: str) -> None:
    model = load_model(name)
    assert model.mean.shape == model.scale.shape == model.weights.shape[:1]
    for numbers in (model.mean, model.scale, model.weights):
        assert np.isfinite(numbers).all()
    assert (model.scale > 0).all()
    assert np.abs(model.weights).max() > 0


def test_shipped_weights_are_as_many_as_the_evidence() -> None:
    """A change of what is looked at without a new fit would score by the wrong weights."""
    times = beat_times(120, 12.0)
    features = features_of(groove(times, 12.0))
    chroma, onsets = harmony.tuned_chroma(features), onset_strength(features)
    candidates = tempo.beat_candidates(
        onsets,
        harmony.HarmonicChange(chroma),
        tempo.onset_autocorrelation(onsets.full.strength),
    )
    path = harmony.chord_path(chroma, np.append(times, 12.0))
    bars = form.bar_features(chroma, features.log_mel, np.append(times[::4], 12.0))
    treble, bass = harmony.segment_chroma(chroma, np.append(times, 12.0))
    evidence = {
        "tempo": candidates[0].evidence,
        "metre": metre.metre_evidence(metre.beat_events(times * MEL_RATE, onsets, path)),
        "chord": harmony.chord_evidence(treble, bass),
        "key": harmony.key_evidence(chroma, path),
        "section": form.boundary_evidence(bars),
    }
    for name, numbers in evidence.items():
        assert len(load_model(name).mean) == numbers.shape[-1], name
        assert np.isfinite(numbers).all(), name
