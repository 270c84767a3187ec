"""Tuning, chords and keys of progressions that were written down first; all keys judged alike."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from sounds import RATE, features_of, noise, place, sine, tone

from antiphon.analysis.features import CHROMA_RATE, MEL_RATE
from antiphon.analysis.harmony import (
    CHORD_CHANGE_COST,
    MAJOR_PROFILE,
    MINOR_PROFILE,
    ChordPath,
    Chroma,
    HarmonicChange,
    _smoothest_path,
    chord_path,
    key_evidence,
    key_names_by_probability,
    key_probabilities,
    mean_between,
    tuned_chroma,
)
from antiphon.notation import ALL_KEYS, Chord, Key
from antiphon.score import ChordSpan, Note, Score, Track
from antiphon.synth import render

pytestmark = pytest.mark.unit

SECONDS_PER_CHORD = 1.5
MAJOR_CADENCE = ((0, "maj"), (5, "maj"), (7, "maj"), (0, "maj"))
MINOR_CADENCE = ((0, "min"), (5, "min"), (7, "maj"), (0, "min"))
Progression = tuple[tuple[int, str], ...]


def chords_of(progression: Progression, tonic: int) -> list[Chord]:
    return [Chord((tonic + root) % 12, quality) for root, quality in progression]


def strummed(chords: list[Chord], cents: float = 0.0) -> np.ndarray:
    """Each chord as a bass note and a triad around middle C."""
    events = [
        (number * SECONDS_PER_CHORD, tone(pitch + cents / 100, SECONDS_PER_CHORD, 1.5))
        for number, chord in enumerate(chords)
        for pitch in (36 + chord.root, *(55 + (p - 55) % 12 for p in chord.pitch_classes))
    ]
    return place(events, len(chords) * SECONDS_PER_CHORD, 0.1)


def chroma_of(samples: np.ndarray) -> Chroma:
    return tuned_chroma(features_of(samples))


def states(chords: list[Chord]) -> list[int]:
    return [chord.root + 12 * (chord.quality == "min") for chord in chords]


def edges(count: int) -> np.ndarray:
    return np.arange(count + 1) * SECONDS_PER_CHORD


def rolled(chroma: Chroma, semitones: int) -> Chroma:
    return Chroma(
        np.roll(chroma.treble, semitones, axis=1),
        np.roll(chroma.bass, semitones, axis=1),
        chroma.cents,
        chroma.concentration,
    )


def best_key(chroma: Chroma, count: int) -> Key:
    return ALL_KEYS[int(key_probabilities(chroma, chord_path(chroma, edges(count))).argmax())]


@pytest.mark.parametrize("cents", [-35.0, -10.0, 0.0, 20.0, 35.0])
def test_a_detuned_progression_is_heard_in_its_own_tuning(cents: float) -> None:
    chords = chords_of(MAJOR_CADENCE, 2)
    chroma = chroma_of(strummed(chords, cents))
    assert chroma.cents == pytest.approx(cents, abs=2.5)
    assert chord_path(chroma, edges(4)).states.tolist() == states(chords)
    assert best_key(chroma, 4) == Key(2, "major")


def test_concentration_parts_tones_from_noise() -> None:
    in_tune = sum(sine(440.0 * 2 ** (n / 12), 3.0, 0.1) for n in (-12, -5, 0, 4))
    between = sum(sine(440.0 * 2 ** (n / 12), 3.0, 0.1) for n in (-12, -5.3, 0.25, 4.5, 7.7))
    assert chroma_of(in_tune).concentration > 0.95
    assert chroma_of(between).concentration < 0.4
    assert chroma_of(noise(10.0)).concentration < 0.05
    assert chroma_of(np.zeros(RATE, np.float32)).concentration == 0.0


@pytest.mark.parametrize("pitch", [49, 60, 71])
def test_a_tone_fills_its_pitch_class(pitch: int) -> None:
    for cents in (-30.0, 0.0, 30.0):
        chroma = chroma_of(sine(440.0 * 2 ** ((pitch + cents / 100 - 69) / 12), 2.0))
        treble = chroma.treble.mean(axis=0)
        assert int(treble.argmax()) == pitch % 12
        assert treble[pitch % 12] > 0.95 * treble.sum()


@pytest.mark.parametrize("progression", [MAJOR_CADENCE, MINOR_CADENCE], ids=["major", "minor"])
def test_turned_chroma_turns_every_chord_and_key(progression: Progression) -> None:
    chroma = chroma_of(strummed(chords_of(progression, 0)))
    path = chord_path(chroma, edges(4))
    keys = key_probabilities(chroma, path)
    for semitones in range(1, 12):
        turned = rolled(chroma, semitones)
        turned_path = chord_path(turned, edges(4))
        expected = (path.states % 12 + semitones) % 12 + 12 * (path.states // 12)
        np.testing.assert_array_equal(turned_path.states, expected)
        both_modes = np.roll(path.probabilities.reshape(-1, 2, 12), semitones, axis=2)
        np.testing.assert_allclose(
            turned_path.probabilities, both_modes.reshape(-1, 24), rtol=1e-6, atol=1e-12
        )
        np.testing.assert_allclose(
            key_probabilities(turned, turned_path),
            np.roll(keys.reshape(2, 12), semitones, axis=1).ravel(),
            rtol=1e-6,
            atol=1e-12,
        )


@pytest.mark.parametrize("tonic", [0, 3, 6, 10])
@pytest.mark.parametrize(
    ("progression", "mode"), [(MAJOR_CADENCE, "major"), (MINOR_CADENCE, "minor")]
)
def test_a_cadence_has_its_chords_and_key(tonic: int, progression: Progression, mode: str) -> None:
    chords = chords_of(progression, tonic)
    chroma = chroma_of(strummed(chords))
    assert chord_path(chroma, edges(4)).states.tolist() == states(chords)
    assert best_key(chroma, 4).name == Key(tonic, "major" if mode == "major" else "minor").name


@pytest.mark.parametrize("tonic", [1, 4, 7])
def test_a_scale_up_and_down_has_its_key(tonic: int) -> None:
    """The melodic shape decides between relatives: it starts and rests on its tonic."""
    steps = (0, 2, 4, 5, 7, 9, 11, 12, 11, 9, 7, 5, 4, 2, 0, 0)
    events = [
        (n * 0.4, tone(60 + tonic + step, 0.8 if n == 14 else 0.4)) for n, step in enumerate(steps)
    ]
    chroma = chroma_of(place(events, 6.4))
    path = chord_path(chroma, np.arange(0, 6.5, 0.4))
    assert ALL_KEYS[int(key_probabilities(chroma, path).argmax())] == Key(tonic, "major")


@pytest.mark.parametrize(("tonic", "progression"), [(0, MAJOR_CADENCE), (9, MINOR_CADENCE)])
def test_a_progression_played_on_the_synth_is_found(tonic: int, progression: Progression) -> None:
    chords = chords_of(progression, tonic) * 2
    notes, low = [], []
    for number, chord in enumerate(chords):
        start = 4.0 * number
        low.append(Note(start, 3.9, 36 + chord.root, 90))
        notes += [Note(start, 3.9, 55 + (p - 55) % 12, 80) for p in chord.pitch_classes]
    score = Score(
        tempo_bpm=120,
        beats_per_bar=4,
        key=Key(tonic, "major"),
        bars=len(chords),
        chords=tuple(ChordSpan(4.0 * n, 4.0, chord) for n, chord in enumerate(chords)),
        tracks=(Track("piano", 0, tuple(notes)), Track("bass", 33, tuple(low))),
    )
    sound = render(score, sample_rate=RATE).mono().samples[0]
    path = chord_path(chroma_of(sound), np.arange(len(chords) + 1) * 2.0)
    assert path.states.tolist() == states(chords)
    assert path.confidence > 0.5


@pytest.mark.parametrize("seed", range(10))
def test_the_smoothest_path_is_the_best_of_all(seed: int) -> None:
    """Against every path there is: three states, six steps."""
    scores = np.log(np.random.default_rng(seed).dirichlet(np.ones(3), size=6))
    for cost in (0.0, 0.7, CHORD_CHANGE_COST):

        def total(path: tuple[int, ...], cost: float = cost) -> float:
            changes = sum(a != b for a, b in itertools.pairwise(path))
            return sum(row[state] for row, state in zip(scores, path, strict=True)) - cost * changes

        best = max(itertools.product(range(3), repeat=6), key=total)
        found = tuple(_smoothest_path(scores, cost).tolist())
        assert total(found) == pytest.approx(total(best), abs=1e-9)


def test_a_path_of_one_step_is_its_likeliest_state() -> None:
    assert _smoothest_path(np.log([[0.2, 0.5, 0.3]]), CHORD_CHANGE_COST).tolist() == [1]


def test_one_doubtful_segment_does_not_change_the_chord() -> None:
    scores = np.log([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.9, 0.1]])
    assert _smoothest_path(scores, CHORD_CHANGE_COST).tolist() == [0, 0, 0, 0]
    assert _smoothest_path(scores, 0.0).tolist() == [0, 0, 1, 0]


def test_mean_between_is_the_mean_of_a_step_function() -> None:
    """Row g holds from (g - 0.5) / rate to (g + 0.5) / rate; against sampling it finely."""
    dice = np.random.default_rng(1)
    rows, rate = dice.standard_normal((40, 3)), 10.0
    times = np.sort(dice.uniform(0.0, 3.8, 12))
    found = mean_between(rows, rate, times)
    for (start, stop), mean in zip(itertools.pairwise(times), found, strict=True):
        fine = np.linspace(start, stop, 20_001)
        expected = rows[np.floor(fine * rate + 0.5).astype(int)].mean(axis=0)
        np.testing.assert_allclose(mean, expected, atol=2e-3)


def test_mean_between_beyond_the_ends_is_finite() -> None:
    rows = np.ones((10, 2))
    means = mean_between(rows, 10.0, np.array([-1.0, 0.5, 0.5, 0.9, 5.0, 6.0]))
    assert np.isfinite(means).all()
    assert means[0] == pytest.approx([1.0, 1.0])


def test_harmonic_change_is_seen_where_the_chord_changes_and_nowhere_else() -> None:
    chords = chords_of(((0, "maj"), (0, "maj"), (6, "maj"), (6, "maj")), 0)
    change = HarmonicChange(chroma_of(strummed(chords)))
    times = np.arange(0.8, 5.3, 0.1)
    values = change.at(times * MEL_RATE)
    assert times[int(values.argmax())] == pytest.approx(3.0, abs=1.5 / CHROMA_RATE)
    assert values.max() > 0.5
    assert values[np.abs(times - 3.0) > 1.0].max() < 0.1
    assert np.isfinite(change.at(np.array([-100.0, 0.0, 1e6]))).all()


def test_the_first_and_the_last_chords_are_told_apart() -> None:
    """Played backwards, what was said of the beginning is said of the end."""
    chords = chords_of(((0, "maj"), (9, "min"), (5, "maj"), (7, "maj"), (2, "min")), 0)
    chroma = chroma_of(strummed(chords))
    path = chord_path(chroma, edges(5))
    backwards = ChordPath(
        path.states[::-1], path.probabilities[::-1], path.treble[::-1], path.bass[::-1]
    )
    there, back = key_evidence(chroma, path), key_evidence(chroma, backwards)
    changed = np.flatnonzero(np.abs(there - back).max(axis=0) > 1e-9)
    assert changed.min() == 48  # mean chroma twice, how long each chord is held, then these
    assert changed.max() < 96
    np.testing.assert_allclose(there[:, 48:72], back[:, 72:96])
    np.testing.assert_allclose(there[:, 72:96], back[:, 48:72])


def test_key_profiles_are_distributions() -> None:
    """As printed in the paper, to its three digits."""
    for profile in (MAJOR_PROFILE, MINOR_PROFILE):
        assert sum(profile) == pytest.approx(1.0, abs=0.005)
        assert max(profile) == profile[0]


def test_keys_are_ranked_by_probability() -> None:
    chroma = chroma_of(strummed(chords_of(MAJOR_CADENCE, 10)))
    ranked = key_names_by_probability(key_probabilities(chroma, chord_path(chroma, edges(4))))
    assert ranked[0][0] == "Bb major"
    assert sorted(ranked, key=lambda entry: -entry[1]) == ranked
    assert sum(probability for _, probability in ranked) == pytest.approx(1.0)
    assert {name for name, _ in ranked} == {key.name for key in ALL_KEYS}
