"""How far a trained listener is to be believed: its logits held against recordings that it did not
learn from (Platt 1999; Guo et al. 2017). Letters: N clips, C classes, T moments (40 ms)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from antiphon.controls import ENERGIES
from antiphon.data.running import OnClip
from antiphon.listen.heads import (
    HEADS,
    MOMENT_FRAMES,
    MOMENT_SECONDS,
    Calibration,
    of_others,
    write_heads,
)
from antiphon.listen.heard import mean_logits, pooled
from antiphon.listen.mel import WINDOW_SECONDS
from antiphon.listen.tagger import Moments, Tagger, audible_in
from antiphon.train.hearing import Hearing, mels_of
from antiphon.train.labels import UNKNOWN, labels_of

LENGTHS_SECONDS = (0.5, 1.0, 3.0, 6.0, 12.0, 30.0)
_RIDGE = 2.0  # pulls shifts to 0, as this many clips would
_FEWEST = 20  # clips of a head to fit it by
Doubles = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Judged:
    """Logits [N, C] of a head, not calibrated, and the truth [N, C]: 1, 0, or UNKNOWN; of so many
    seconds each. `weights` [N] say how much each counts."""

    logits: Doubles
    truth: Doubles
    weights: Doubles
    seconds: float


def calibrate(
    folder: Path, held: Hearing, on_clip: OnClip = lambda done, total: None
) -> Sequence[str]:
    """Fit the heads in `folder` to clips they did not learn from, and write that beside them; the
    heads that were fitted.

    Each manifest counts alike, however many clips it has: of a thousand bad recordings and a few
    hundred good ones, neither decides alone. A head of which fewer than 20 clips tell the truth
    stays as it is. `on_clip` is told which of how many is heard, each once for every length.
    Raises StorageError.
    """
    tagger = Tagger(folder)
    fitted: dict[str, Calibration] = {}
    total = len(LENGTHS_SECONDS) * len(held.kept)
    heard = count(1)
    by_length = [
        judged(tagger, held, seconds, lambda: on_clip(next(heard), total))
        for seconds in LENGTHS_SECONDS
    ]
    for head in HEADS:
        cases = [one[head] for one in by_length if head in one and len(one[head].truth) >= _FEWEST]
        if cases:
            fits = [_fit(case, head) for case in cases]
            fitted[head] = Calibration(
                tuple(case.seconds for case in cases),
                tuple(scale for scale, *_ in fits),
                tuple(rival for _, rival, _ in fits),
                tuple(tuple(shift) for *_, shift in fits),
            )
    write_heads(folder, {**tagger.heads.calibration, **fitted}, tagger.heads.licence)
    return tuple(fitted)


def judged(
    tagger: Tagger, held: Hearing, seconds: float, on_clip: Callable[[], None]
) -> Mapping[str, Judged]:
    """By head: a cut of so many seconds out of each clip, heard as the listener hears."""
    logits: dict[str, list[Doubles]] = {}
    truths: dict[str, list[Doubles]] = {}
    origins: dict[str, list[int]] = {}
    for number in held.kept:
        on_clip()
        clip = held.clips[number]
        length = min(seconds, clip.seconds)
        first = round((min(clip.seconds, WINDOW_SECONDS) - length) / 2 / MOMENT_SECONDS)
        last = first + round(length / MOMENT_SECONDS)
        mels = mels_of(held.mels[number, MOMENT_FRAMES * first : MOMENT_FRAMES * last])
        moments = Moments(tagger.of_mels(mels), audible_in(mels))
        if not moments.audible.any():
            continue
        truth = labels_of(clip, np.array(held.sounding[number, first:last]))
        is_music = truth["music"][0] != 0
        for head in HEADS:
            values = _truth_of(head, truth)
            if (is_music or head == "music") and (values != UNKNOWN).any():
                found = pooled(moments) if head == "instruments" else mean_logits(moments, head)
                logits.setdefault(head, []).append(found.astype(np.float64))
                truths.setdefault(head, []).append(values)
                origins.setdefault(head, []).append(int(held.manifest[number]))
    return {
        head: Judged(np.stack(rows), np.stack(truths[head]), _weights(origins[head]), seconds)
        for head, rows in logits.items()
    }


def _weights(origins: Sequence[int]) -> Doubles:
    """[N]: each origin counts alike; 1 on average."""
    counts = np.bincount(origins).astype(np.float64)
    return np.asarray(len(origins) / np.count_nonzero(counts) / counts[np.asarray(origins)])


def _truth_of(head: str, truth: Mapping[str, NDArray[np.generic]]) -> Doubles:
    if head == "energy":
        known = int(truth["energy"])
        found = np.full(len(ENERGIES), float(UNKNOWN))
        if known != UNKNOWN:
            found[:] = np.arange(len(ENERGIES)) == known
        return found
    return np.asarray(truth["tags" if head == "instruments" else head], np.float64)


def _fit(case: Judged, head: str) -> tuple[float, float, list[float]]:
    """Scale, rival, and the shift of each class, of the least cross-entropy."""
    known = case.truth != UNKNOWN
    classes = case.logits.shape[1]
    others = of_others(case.logits) if head == "genre" else np.zeros_like(case.logits)

    def cost(values: Doubles) -> float:
        logits = case.logits * np.exp(values[0]) - others * values[1] + values[2:]
        if head == "energy":
            top = logits.max(1, keepdims=True)
            total = top[:, 0] + np.log(np.exp(logits - top).sum(1))
            each = case.weights * (total - (logits * np.maximum(case.truth, 0)).sum(1))
            loss = float(each[known.all(1)].sum())
        else:
            each = case.weights[:, None] * (np.logaddexp(0, logits) - logits * case.truth)
            loss = float(each[known].sum())
        return loss + _RIDGE * float((values[2:] ** 2).sum())

    fitted = minimize(cost, np.zeros(2 + classes), method="L-BFGS-B")
    scale, rival, *shift = (round(float(value), 5) for value in fitted.x)
    return round(math.exp(scale), 5), rival, shift


def reliability_error(confidences: Doubles, truth: Doubles, bins: int = 15) -> float:
    """Expected calibration error (Naeini et al. 2015): how far the share of those that are true is
    from the mean confidence, over bins of equal width, weighed by how many are in each."""
    places = np.minimum((confidences * bins).astype(int), bins - 1)
    error = 0.0
    for number in range(bins):
        inside = places == number
        if inside.any():
            gap = abs(float(confidences[inside].mean()) - float(truth[inside].mean()))
            error += gap * float(inside.mean())
    return error
