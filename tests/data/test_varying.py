"""One piece in many sounds: what is true of it stays true."""

from __future__ import annotations

from collections import Counter
from functools import partial
from random import Random

import numpy as np
import pytest

from antiphon.arrange import arrange
from antiphon.audio import Waveform
from antiphon.controls import GENRES, INSTRUMENTS, Controls
from antiphon.data.synthesizing import Recipe, write_piece
from antiphon.data.varying import Form, Variation, varied_score, varied_sound
from antiphon.score import Score
from antiphon.synth import render

pytestmark = pytest.mark.integration

RATE = 16_000
FORM = Form(8.0, RATE, 1)
SCORE = arrange(Controls(genre="rock", duration_seconds=8.0, tempo_bpm=120.0), 3)
PLAY = partial(render, sample_rate=RATE)


def envelope(waveform: Waveform) -> np.ndarray:
    """Of loudness, 5 ms a step, its rises alone."""
    power = np.square(waveform.samples[0][: 8 * RATE]).reshape(-1, 80).sum(axis=1)
    return np.maximum(np.diff(np.log(power + 1e-4)), 0)


@pytest.mark.parametrize("variation", ["light", "strong"])
def test_nothing_moves_in_time(variation: Variation) -> None:
    plain = envelope(varied_sound(SCORE, [PLAY], FORM, "none", Random(0)))
    cents = set()
    for seed in range(6):
        other = envelope(varied_sound(SCORE, [PLAY], FORM, variation, Random(seed)))
        half = len(plain) // 2
        for part in (slice(0, half), slice(half, None)):  # nor later, by a drift
            lags = range(-8, 9)
            found = [np.dot(plain[part], np.roll(other, -lag)[part]) for lag in lags]
            assert abs(lags[int(np.argmax(found))]) <= 2, (seed, part)  # 10 ms
        cents.add(seed)


def test_the_pitch_moves_as_far_as_it_may() -> None:
    """A single tone: the piece is one note, whose frequency is measured."""
    note = arrange(Controls(duration_seconds=8.0), 0)
    kept = next(track for track in note.tracks if not track.is_drums)
    tone = Score.from_json(note.to_json())
    played: list[float] = []

    def play(score: Score) -> Waveform:
        played.append(score.tempo_bpm)
        times = np.arange(10 * RATE) / RATE
        return Waveform(np.tile(np.sin(2 * np.pi * 440 * times), (2, 1)).astype(np.float32), RATE)

    assert kept.notes
    moved = []
    for seed in range(30):
        sound = varied_sound(tone, [play], Form(8.0, RATE, 1), "strong", Random(seed))
        spectrum = np.abs(np.fft.rfft(sound.samples[0] * np.hanning(8 * RATE)))
        moved.append(1200 * np.log2(spectrum.argmax() / 8 / 440))
        # What is played slower sounds higher than it was asked to, by as much.
        ratio = tone.tempo_bpm / played[-1]
        assert moved[-1] == pytest.approx(1200 * np.log2(ratio), abs=1.0)
    assert max(map(abs, moved)) <= 41
    assert np.std(moved) > 10


def test_two_fonts_share_a_band() -> None:
    counts: Counter[int] = Counter()

    def play(name: int, score: Score) -> Waveform:
        counts[len(score.tracks)] += 1
        return Waveform(np.full((2, 8 * RATE), 0.1 * name, np.float32), RATE)

    for seed in range(60):
        varied_sound(SCORE, [partial(play, 1), partial(play, 2)], FORM, "strong", Random(seed))
    whole = counts.pop(len(SCORE.tracks))
    assert 25 < whole < 55
    assert sum(counts.values()) == 2 * (60 - whole)


def test_what_is_played_is_what_is_said_and_rare_players_are_heard_often() -> None:
    recipe = Recipe(1, seconds=30.0, variation="strong")
    heard: Counter[str] = Counter()
    sizes: Counter[int] = Counter()
    for number in range(400):
        piece = write_piece(recipe, number)
        played = {track.instrument for track in piece.score.tracks}
        assert set(piece.truth.instruments) == played & set(INSTRUMENTS)
        assert ("drums" in piece.truth.without) == ("drums" not in played)
        heard.update(played)
        sizes[len(piece.score.tracks)] += 1
    assert sizes[1] > 20
    # A thousand of each in twenty thousand pieces.
    assert min(heard[name] for name in INSTRUMENTS) >= 20, heard
    assert len(GENRES) == 14


def test_without_variation_the_score_stays() -> None:
    for variation in ("none", "light"):
        assert varied_score(SCORE, variation, Random(1)) == SCORE  # type: ignore[arg-type]
    assert varied_score(SCORE, "strong", Random(1)) != SCORE
