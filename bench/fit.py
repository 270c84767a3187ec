"""Fit the analyser's linear models on rendered pieces whose truth is known, and write weights.json.

    python bench/fit.py --cache runs/fit

Needs FluidSynth and both soundfonts of `bench/pieces.py`; about half an hour on two cores. Pieces
come from the arranger, a plainer song generator and one for music without drums, so that the
arranger's habits are not all that is learned. Their seeds are never used for reporting.
"""

from __future__ import annotations

import argparse
import json
import pickle
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import mir_eval
import numpy as np
import scipy.optimize

import pieces
from antiphon.analysis import form, harmony, metre, tempo
from antiphon.analysis.features import MEL_RATE, Features
from antiphon.analysis.linear import LinearModel, log_softmax
from antiphon.analysis.onsets import onset_strength
from antiphon.notation import ALL_KEYS
from antiphon.score import Score

WEIGHTS = Path(form.__file__).with_name("weights.json")
TEMPO_TOLERANCE = 0.04
ON_THE_BEAT = 0.6  # beat F-measure; a piece without such a candidate teaches nothing
MAX_CHORDS = 10_000
EXCERPTS = 4  # random stretches of each piece that the metre model sees beside the whole
TRIADS = {"maj": 0, "7": 0, "maj7": 0, "9": 0, "maj9": 0, "min": 1, "min7": 1, "min9": 1}


@dataclass(frozen=True)
class Examples:
    """Choices: for each example hypotheses [N, H, D], which of them exist, which is right."""

    hypotheses: np.ndarray
    exists: np.ndarray  # [N, H] bool
    right: np.ndarray  # [N] index into outputs * H, output by output


def fit_choice(examples: Examples, outputs: int, penalty: float, standardise: bool) -> LinearModel:
    """Multinomial logistic regression over hypotheses, with an L2 penalty in nats."""
    x, exists = examples.hypotheses, examples.exists
    count, hypotheses, width = x.shape
    mean, scale = np.zeros(width), np.ones(width)
    if standardise:
        mean, scale = x[exists].mean(axis=0), x[exists].std(axis=0) + 1e-6
    z = np.where(exists[:, :, None], (x - mean) / scale, 0.0)

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights = flat.reshape(width, outputs)
        scores = np.where(exists[:, :, None], z @ weights, -1e9)  # [N, H, outputs]
        logs = log_softmax(scores.transpose(0, 2, 1).reshape(count, -1))
        residual = np.exp(logs)
        residual[np.arange(count), examples.right] -= 1.0
        residual = residual.reshape(count, outputs, hypotheses)
        gradient = np.einsum("noh,nhd->do", residual, z)
        value = -logs[np.arange(count), examples.right].sum()
        return value + penalty * flat @ flat, gradient.ravel() + 2 * penalty * flat

    found = scipy.optimize.minimize(loss, np.zeros(width * outputs), jac=True, method="L-BFGS-B")
    weights = found.x.reshape(width, outputs)
    return LinearModel(mean, scale, weights[:, 0] if outputs == 1 else weights)


def fit_binary(rows: np.ndarray, truth: np.ndarray, penalty: float) -> LinearModel:
    """Logistic regression of truth [N] on rows [N, D], whose last column is 1."""
    mean, scale = rows.mean(axis=0), rows.std(axis=0) + 1e-6
    mean[-1], scale[-1] = 0.0, 1.0
    z = (rows - mean) / scale

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        scores = z @ weights
        gradient = z.T @ (1.0 / (1.0 + np.exp(-scores)) - truth) + 2 * penalty * weights
        value = np.logaddexp(0.0, scores).sum() - scores @ truth + penalty * weights @ weights
        return value, gradient

    found = scipy.optimize.minimize(loss, np.zeros(rows.shape[1]), jac=True, method="L-BFGS-B")
    return LinearModel(mean, scale, found.x)


def padded(choices: list[tuple[np.ndarray, int]]) -> Examples:
    """Choices of unlike numbers of hypotheses [H_i, D] as one array."""
    most = max(len(rows) for rows, _ in choices)
    hypotheses = np.zeros((len(choices), most, choices[0][0].shape[1]))
    exists = np.zeros((len(choices), most), bool)
    for index, (rows, _) in enumerate(choices):
        hypotheses[index, : len(rows)] = rows
        exists[index, : len(rows)] = True
    return Examples(hypotheses, exists, np.array([right for _, right in choices]))


def tempo_choice(score: Score, features: Features) -> tuple[np.ndarray, int] | None:
    """The candidates of a piece, and which of those within 4 % of its tempo is on the beat."""
    onsets = onset_strength(features)
    change = harmony.HarmonicChange(harmony.tuned_chroma(features))
    autocorrelation = tempo.onset_autocorrelation(onsets.full.strength)
    candidates = tempo.beat_candidates(onsets, change, autocorrelation)
    truth = np.array(score.beat_times_seconds())
    fits = [
        mir_eval.beat.f_measure(truth, candidate.frames / MEL_RATE)
        if abs(candidate.bpm / score.tempo_bpm - 1.0) <= TEMPO_TOLERANCE
        else 0.0
        for candidate in candidates
    ]
    if max(fits, default=0.0) < ON_THE_BEAT:
        return None
    return np.array([candidate.evidence for candidate in candidates]), int(np.argmax(fits))


def true_edges_seconds(score: Score) -> np.ndarray:
    beats = score.bars * score.beats_per_bar
    return np.array([score.beat_to_seconds(beat) for beat in range(beats + 1)])


def true_states(score: Score) -> np.ndarray:
    """Root + 12 * (minor) of each beat, -1 where the chord is neither major nor minor."""
    states = np.full(score.bars * score.beats_per_bar, -1)
    for span in score.chords:
        quality = TRIADS.get(span.chord.quality)
        first = int(np.ceil(span.start_beat - 0.5))
        last = int(np.ceil(span.start_beat + span.duration_beats - 0.5))
        if quality is not None:
            states[first:last] = span.chord.root + 12 * quality
    return states


def chord_examples(score: Score, features: Features) -> tuple[np.ndarray, np.ndarray]:
    """Evidence [N, 12, D] and truth [N] of the beats that carry a major or minor chord."""
    chroma = harmony.tuned_chroma(features)
    edges = true_edges_seconds(score)
    treble, bass = harmony.segment_chroma(chroma, edges)
    states = true_states(score)
    known = states >= 0
    return harmony.chord_evidence(treble[known], bass[known]), states[known]


def key_choice(score: Score, features: Features) -> tuple[np.ndarray, int]:
    chroma = harmony.tuned_chroma(features)
    path = harmony.chord_path(chroma, true_edges_seconds(score))
    assert score.key is not None
    return harmony.key_evidence(chroma, path), ALL_KEYS.index(score.key)


def metre_choices(score: Score, features: Features) -> Iterator[tuple[np.ndarray, int]]:
    """The whole piece and a few random stretches of it, which begin anywhere in a bar."""
    edges = true_edges_seconds(score)
    chroma = harmony.tuned_chroma(features)
    path = harmony.chord_path(chroma, edges)
    onsets = onset_strength(features)
    events = metre.beat_events(edges[:-1] * MEL_RATE, onsets, path)
    rng = np.random.default_rng(score.seed or 0)
    stretches = [(0, len(events))]
    for _ in range(EXCERPTS):
        length = int(rng.integers(min(24, len(events)), min(96, len(events)) + 1))
        stretches.append((int(rng.integers(0, len(events) - length + 1)), length))
    for start, length in stretches:
        right = metre.HYPOTHESES.index((score.beats_per_bar, -start % score.beats_per_bar))
        yield metre.metre_evidence(events[start : start + length]), right


def boundary_examples(score: Score, features: Features) -> tuple[np.ndarray, np.ndarray]:
    """Evidence [N, D] of each bar line but the first, and whether a section begins there."""
    lines = np.array([score.bar_to_seconds(bar) for bar in range(score.bars + 1)])
    chroma = harmony.tuned_chroma(features)
    rows = form.boundary_evidence(form.bar_features(chroma, features.log_mel, lines))
    truth = np.zeros(score.bars)
    truth[[section.start_bar for section in score.sections]] = 1.0
    return rows[1:], truth[1:]


def fit_all(data: list[tuple[Score, Features]]) -> dict[str, LinearModel]:
    """All five models; chords first, since metre and key look through them."""
    models: dict[str, LinearModel] = {}
    tempo_data = [c for c in (tempo_choice(*piece) for piece in data) if c is not None]
    models["tempo"] = fit_choice(padded(tempo_data), 1, penalty=1.0, standardise=True)
    with_chords = [piece for piece in data if piece[0].chords]
    evidence, states = zip(*(chord_examples(*piece) for piece in with_chords), strict=True)
    # Neighbouring beats are much alike: a part of them says as much.
    step = max(1, sum(len(truth) for truth in states) // MAX_CHORDS)
    hypotheses = np.concatenate(evidence)[::step]
    exists = np.ones(hypotheses.shape[:2], bool)
    chords = Examples(hypotheses, exists, np.concatenate(states)[::step])
    models["chord"] = fit_choice(chords, 2, penalty=3.0, standardise=False)
    harmony.load_model = models.__getitem__  # type: ignore[assignment]
    keys = padded([key_choice(*piece) for piece in data])
    models["key"] = fit_choice(keys, 2, penalty=1.0, standardise=False)
    metres = padded([choice for piece in data for choice in metre_choices(*piece)])
    models["metre"] = fit_choice(metres, 1, penalty=3.0, standardise=False)
    with_sections = [piece for piece in data if piece[0].sections]
    rows, truth = zip(*(boundary_examples(*piece) for piece in with_sections), strict=True)
    models["section"] = fit_binary(np.concatenate(rows), np.concatenate(truth), penalty=1.0)
    return models


def features_of(plan: pieces.Plan, cache: Path) -> tuple[Score, Features]:
    path = cache / f"{plan.name}.pickle"  # our own file, written and read by this script only
    if not path.exists():
        score = pieces.make_score(plan)
        features = pieces.extract(pieces.render(plan, score))
        path.write_bytes(pickle.dumps((score, features)))
    loaded: tuple[Score, Features] = pickle.loads(path.read_bytes())
    return loaded


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, default=Path("runs/fit"))
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    plans = pieces.tuning_plans()
    with ProcessPoolExecutor(options.jobs) as pool:
        data = list(pool.map(features_of, plans, [options.cache] * len(plans), chunksize=4))
    models = fit_all(data)
    written = {
        "fitted_by": "bench/fit.py",
        "pieces": len(data),
        "models": {
            name: {
                "mean": model.mean.round(5).tolist(),
                "scale": model.scale.round(5).tolist(),
                "weights": model.weights.round(4).tolist(),
            }
            for name, model in models.items()
        },
    }
    WEIGHTS.write_text(json.dumps(written) + "\n", encoding="utf-8")
    print(f"{WEIGHTS} from {len(data)} pieces")


if __name__ == "__main__":
    main()
