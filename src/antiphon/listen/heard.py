"""From the logits of every moment to what was heard: of the whole, and of its sections.

Letters: T moments (40 ms), C classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from antiphon.controls import ENERGIES
from antiphon.description import (
    EnergyCurve,
    Heard,
    HeardSection,
    Passage,
    Presence,
    Sounding,
    Tag,
)
from antiphon.facts import Span
from antiphon.listen.heads import HEADS, MOMENT_SECONDS, Heads, Logits
from antiphon.listen.tagger import MIN_SECONDS, Moments

ASSERTED = 0.5
_LISTED = 0.1  # tags of less confidence are left out
_MOST_GENRES = 4
_DRUMS = "drums"
_SHORTEST_SECTION_SECONDS = 3.0
_CURVE_SECONDS = 1.0
_CURVE_SMOOTHED = 5  # steps
# A passage begins where an instrument is this likely, and ends where it is not any more. Between
# the notes of a dry drum or a short bass lie rests of up to a second, which are no ends; shorter
# passages, and shorter gaps, are taken for mistakes. All in moments.
_BEGINS, _ENDS = 0.3, 0.15
_SMOOTHED, _LONGEST_REST, _SHORTEST, _SHORTEST_GAP = 3, 25, 25, 50
_MEAN = np.full(_SMOOTHED, 1 / _SMOOTHED)


def heard_in(moments: Moments, heads: Heads, sections: Sequence[Span]) -> Heard:
    """What was heard. Less than 0.1 s of sound is no music."""
    if moments.audible_seconds < MIN_SECONDS:
        return Heard(music=Presence(False, 1.0))
    music = _music(moments, heads)
    if not music.present:
        return Heard(music=music)
    tags = instrument_confidences(moments, heads)
    drums = float(tags[HEADS["instruments"].index(_DRUMS)])
    energy = _energy(moments, heads)
    return Heard(
        music=music,
        genre=_genre(moments, heads),
        instruments=_instruments(moments, tags),
        drums=Presence(
            drums >= ASSERTED,
            _rounded(max(drums, 1 - drums)),
            _passages(moments, _DRUMS) if drums >= ASSERTED else (),
        ),
        energy=energy.name,
        energy_confidence=energy.confidence,
        energy_curve=_energy_curve(moments, heads),
        sections=tuple(
            _section(span, part, heads)
            for span in sections
            if (part := moments.between(span.start_seconds, span.end_seconds)).audible_seconds
            >= _SHORTEST_SECTION_SECONDS
        ),
    )


def instrument_confidences(moments: Moments, heads: Heads) -> NDArray[np.float32]:
    """[C]: of each instrument, that it sounds somewhere. Moments weigh by their own likelihood
    (linear softmax, Wang et al. 2019): a solo of ten seconds is not lost in five minutes."""
    return _likelihood(heads.applied("instruments", pooled(moments), moments.audible_seconds))


def pooled(moments: Moments) -> Logits:
    """[C]: the logit of each instrument over all audible moments, not calibrated."""
    shares = _likelihood(moments.logits["instruments"][moments.audible])
    found = (shares * shares).sum(0) / np.maximum(shares.sum(0), 1e-6)
    found = np.clip(found, 1e-6, 1 - 1e-6)
    return np.asarray(np.log(found / (1 - found)), np.float32)


def mean_logits(moments: Moments, head: str) -> Logits:
    """[C]: of a head over all audible moments, not calibrated."""
    return np.asarray(moments.logits[head][moments.audible].mean(0), np.float32)


def genre_confidences(moments: Moments, heads: Heads) -> NDArray[np.float32]:
    """[C]: of each genre by itself; a piece may be of two."""
    logits = mean_logits(moments, "genre")
    return _likelihood(heads.applied("genre", logits, moments.audible_seconds))


def energy_confidences(moments: Moments, heads: Heads) -> NDArray[np.float32]:
    """[3]: of each of ENERGIES; together 1."""
    logits = mean_logits(moments, "energy")
    return _softmax(heads.applied("energy", logits, moments.audible_seconds))


def _music(moments: Moments, heads: Heads) -> Presence:
    logits = mean_logits(moments, "music")
    share = float(_likelihood(heads.applied("music", logits, moments.audible_seconds))[0])
    return Presence(share >= ASSERTED, _rounded(max(share, 1 - share)))


def _genre(moments: Moments, heads: Heads) -> tuple[Tag, ...]:
    return _tags("genre", genre_confidences(moments, heads))[:_MOST_GENRES]


def _energy(moments: Moments, heads: Heads) -> Tag:
    shares = energy_confidences(moments, heads)
    return Tag(ENERGIES[int(shares.argmax())], _rounded(float(shares.max())))


def _tags(head: str, confidences: NDArray[np.float32]) -> tuple[Tag, ...]:
    """The surest first."""
    order = np.argsort(-confidences, kind="stable")
    return tuple(
        Tag(HEADS[head][number], _rounded(float(confidences[number])))
        for number in order
        if confidences[number] >= _LISTED
    )


def _instruments(moments: Moments, tags: NDArray[np.float32]) -> tuple[Sounding, ...]:
    return tuple(
        Sounding(
            tag.name,
            tag.confidence,
            _passages(moments, tag.name) if tag.confidence >= ASSERTED else (),
        )
        for tag in _tags("instruments", tags)
        if tag.name != _DRUMS
    )


def _section(span: Span, part: Moments, heads: Heads) -> HeardSection:
    tags = instrument_confidences(part, heads)
    drums = float(tags[HEADS["instruments"].index(_DRUMS)])
    energy = _energy(part, heads)
    return HeardSection(
        start_seconds=span.start_seconds,
        end_seconds=span.end_seconds,
        genre=_genre(part, heads),
        instruments=tuple(tag for tag in _tags("instruments", tags) if tag.name != _DRUMS),
        drums=Presence(drums >= ASSERTED, _rounded(max(drums, 1 - drums))),
        energy=energy.name,
        energy_confidence=energy.confidence,
    )


def _passages(moments: Moments, instrument: str) -> tuple[Passage, ...]:
    """When an instrument sounds."""
    column = moments.logits["instruments"][:, HEADS["instruments"].index(instrument)]
    shares = np.where(moments.audible, _likelihood(column), 0.0)
    bridged = _closed(np.convolve(np.pad(shares, _SMOOTHED // 2, "edge"), _MEAN, "valid"))
    stretches: list[list[int]] = []
    sounds = False
    for at, share in enumerate(bridged):
        if not sounds and share >= _BEGINS:
            if stretches and at - stretches[-1][1] < _SHORTEST_GAP:
                stretches[-1][1] = at
            else:
                stretches.append([at, at])
            sounds = True
        if sounds:
            stretches[-1][1] = at + 1
            sounds = share >= _ENDS
    return tuple(
        Passage(round(start * MOMENT_SECONDS, 2), round(end * MOMENT_SECONDS, 2))
        for start, end in stretches
        if end - start >= _SHORTEST
    )


def _closed(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """A morphological closing: dips as long as the longest rest are filled, and edges stay."""
    found = shares
    for extreme in (np.max, np.min):
        padded = np.pad(found, _LONGEST_REST // 2, "edge")
        windows = np.lib.stride_tricks.sliding_window_view(padded, _LONGEST_REST)
        found = extreme(windows, axis=1)
    return found


def _energy_curve(moments: Moments, heads: Heads) -> EnergyCurve:
    """From 0, low, to 1, high, second by second; over five of them together."""
    step = round(_CURVE_SECONDS / MOMENT_SECONDS)
    counts = np.add.reduceat(moments.audible.astype(np.float64), np.arange(0, len(moments), step))
    sums = np.add.reduceat(
        moments.logits["energy"] * moments.audible[:, None], np.arange(0, len(moments), step)
    )
    window = np.ones(_CURVE_SMOOTHED)
    counted = np.convolve(counts, window, "same")
    summed = np.stack([np.convolve(column, window, "same") for column in sums.T], axis=1)
    count = len(counts)  # np.convolve gives no less than the window
    smooth = (summed[:count] / np.maximum(counted[:count], 1)[:, None]).astype(np.float32)
    shares = _softmax(heads.applied("energy", smooth, _CURVE_SMOOTHED * _CURVE_SECONDS))
    level = np.where(counted[:count] > 0, shares @ np.linspace(0, 1, len(ENERGIES)), 0.0)
    return EnergyCurve(_CURVE_SECONDS, tuple(_rounded(float(value)) for value in level))


def _likelihood(logits: Logits) -> NDArray[np.float32]:
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -30, 30))), np.float32)


def _softmax(logits: Logits) -> NDArray[np.float32]:
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return np.asarray(powers / powers.sum(-1, keepdims=True), np.float32)


def _rounded(value: float) -> float:
    return round(value, 3)
