"""Bars to sections: where the music turns to something else, and what comes back. Knows no beats.

Each bar line gets the log odds of a boundary from how chroma, timbre, level and onsets differ
before and after it (Foote 2000, at four scales); the best division into sections then weighs these
against how long sections usually are. Sections that sound alike share a letter.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from antiphon.analysis.features import CHROMA_RATE, MEL_BANDS, MEL_RATE
from antiphon.analysis.harmony import Chroma, mean_between
from antiphon.analysis.linear import DoubleArray, load_model
from antiphon.analysis.onsets import LAG_FRAMES, loudness_floor_db

SCALES_BARS = (1, 2, 4, 8)
PEAK_SCALES_BARS = (2, 4)  # at these, being a local maximum counts too
PEAK_REACH_BARS = 2
MIN_BARS = 8
MAX_SECTION_BARS = 24
# Log preference for a section's length in bars: phrases come in fours and eights.
LENGTH_PREFERENCE = {1: -4.0, 2: -2.5, 3: -3.0, 4: 0.0, 5: -2.5, 6: -1.0, 7: -2.5, 8: 0.7,
                     10: -1.0, 12: -0.3, 16: 0.0}  # fmt: skip
OTHER_LENGTH = -2.0
BOUNDARY_BIAS = 2.0  # a missed boundary costs more than one too many: lengths hold those back
# Distance of section means; in arranged pieces repeats lie 0.6-2.3 apart, others 3.7 and more. Not
# their cosine: it takes the rounding errors of a loop that never changes for differences.
SAME_SECTION = 3.0


@dataclass(frozen=True, eq=False)
class BarFeatures:
    """Means per bar: unit chroma [N, 12], band levels [N, M] dB, onset rise in 4 ranges [N, 4]."""

    chroma: DoubleArray
    level_db: DoubleArray
    rise_db: DoubleArray


@dataclass(frozen=True)
class SectionBars:
    """A section from bar `start` up to bar `stop`, named A, B, ... by likeness."""

    start: int
    stop: int
    label: str


def bar_features(
    chroma: Chroma, log_mel: NDArray[np.float16], bar_lines_seconds: DoubleArray
) -> BarFeatures:
    """Average the features over the bars between `bar_lines_seconds` [N + 1]."""
    floor_db = np.float16(loudness_floor_db(log_mel))
    edges = np.clip(np.round(bar_lines_seconds * MEL_RATE).astype(np.intp), 0, len(log_mel))
    level_db = np.zeros((len(edges) - 1, MEL_BANDS))
    rise_db = np.zeros((len(edges) - 1, 4))
    for bar, (start, stop) in enumerate(pairwise(edges)):
        level = np.maximum(log_mel[max(0, start - LAG_FRAMES) : stop], floor_db).astype(np.float32)
        if len(level) <= LAG_FRAMES:
            continue
        level_db[bar] = level[LAG_FRAMES if start else 0 :].mean(axis=0)
        rise = np.maximum(level[LAG_FRAMES:] - level[:-LAG_FRAMES], 0.0).mean(axis=0)  # [M]
        rise_db[bar] = rise.reshape(4, MEL_BANDS // 4).mean(axis=1)
    mean_chroma = mean_between(chroma.treble, CHROMA_RATE, bar_lines_seconds)
    norm = np.linalg.norm(mean_chroma, axis=1, keepdims=True)
    return BarFeatures(mean_chroma / (norm + 1e-3), level_db, rise_db)


def boundary_evidence(bars: BarFeatures) -> DoubleArray:
    """What speaks for a section beginning at each bar [N, D]."""
    loudness = bars.level_db.mean(axis=1, keepdims=True)
    columns = []
    for rows, usual in (
        (bars.chroma, 1.0),
        (bars.level_db - loudness, 20.0),
        (loudness, 3.0),
        (bars.rise_db, 1.0),
    ):
        for scale in SCALES_BARS:
            novelty = _novelty(rows, scale)
            columns.append(novelty / (novelty.mean() + 0.03 * usual))
            if scale in PEAK_SCALES_BARS:
                largest = scipy.ndimage.maximum_filter1d(novelty, 2 * PEAK_REACH_BARS + 1)
                columns.append((novelty >= largest - 1e-9).astype(float))
    columns.append(_return_of_harmony(bars.chroma))
    columns.append(np.ones(len(loudness)))
    return np.stack(columns, axis=1)


def find_sections(bars: BarFeatures) -> tuple[list[SectionBars], float]:
    """Sections that cover all bars, and the mean probability of their inner boundaries."""
    count = len(bars.chroma)
    log_odds = load_model("section").score(boundary_evidence(bars))
    starts = divide(log_odds + BOUNDARY_BIAS)
    labels = _label(bars, starts)
    stops = [*starts[1:], count]
    sections = [
        SectionBars(start, stop, label)
        for start, stop, label in zip(starts, stops, labels, strict=True)
    ]
    inner = log_odds[starts[1:]]
    confidence = float((1.0 / (1.0 + np.exp(-inner))).mean()) if len(inner) else 0.5
    return sections, confidence


def divide(log_odds: DoubleArray) -> list[int]:
    """First bars of the sections that make boundary odds [N] and lengths likeliest together."""
    count = len(log_odds)
    best = np.full(count + 1, -np.inf)
    best[0] = 0.0
    start_of = np.zeros(count + 1, np.intp)
    for stop in range(1, count + 1):
        gain = float(log_odds[stop]) if stop < count else 0.0
        for start in range(max(0, stop - MAX_SECTION_BARS), stop):
            score = best[start] + LENGTH_PREFERENCE.get(stop - start, OTHER_LENGTH) + gain
            if score > best[stop]:
                best[stop], start_of[stop] = score, start
    starts: list[int] = []
    bar = count
    while bar > 0:
        bar = int(start_of[bar])
        starts.append(bar)
    return starts[::-1]


def _novelty(rows: DoubleArray, scale: int) -> DoubleArray:
    """Distance between the means of `scale` bars before and after each bar line [N]; 0 at 0."""
    count = len(rows)
    sums = np.concatenate([np.zeros((1, rows.shape[1])), np.cumsum(rows, axis=0)])
    index = np.arange(count)
    first, last = np.maximum(index - scale, 0), np.minimum(index + scale, count)
    before = (sums[index] - sums[first]) / np.maximum(index - first, 1)[:, None]
    after = (sums[last] - sums[index]) / (last - index)[:, None]
    novelty = np.linalg.norm(after - before, axis=1)
    novelty[0] = 0.0
    return np.asarray(novelty)


def _return_of_harmony(chroma: DoubleArray) -> DoubleArray:
    """How clearly each bar begins the repeat of an earlier pair of bars [N]."""
    count = len(chroma)
    returns = np.zeros(count)
    if count < 8:
        return returns
    unit = chroma / (np.linalg.norm(chroma, axis=1, keepdims=True) + 1e-6)
    for bar in range(4, count - 2):
        earlier = np.arange(max(1, bar - 200), bar - 3)  # bounded for recordings of hours
        if len(earlier):
            here, after, before = unit[bar], unit[bar + 1], unit[bar - 1]
            pair = (unit[earlier] @ here + unit[earlier + 1] @ after) / 2.0
            returns[bar] = float((pair - unit[earlier - 1] @ before).max())
    return returns


def _label(bars: BarFeatures, starts: list[int]) -> list[str]:
    """A, B, C ... by likeness of chroma and timbre to the sections met before."""
    spread = bars.level_db.std(axis=0) + 1.0
    rows = np.concatenate(
        [2.0 * bars.chroma / (bars.chroma.std() + 1e-3), bars.level_db / spread], axis=1
    )
    stops = [*starts[1:], len(rows)]
    means = np.array([rows[a:b].mean(axis=0) for a, b in zip(starts, stops, strict=True)])
    kinds: list[int] = []
    for index in range(len(means)):
        distance = np.linalg.norm(means[:index] - means[index], axis=1)
        if index and distance.min() <= SAME_SECTION:
            kinds.append(kinds[int(distance.argmin())])
        else:
            kinds.append(max(kinds, default=-1) + 1)
    return [_letters(kind) for kind in kinds]


def _letters(number: int) -> str:
    """0 -> A, 25 -> Z, 26 -> AA."""
    letters = ""
    number += 1
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters
