"""Sections that were planted are found at their bars and share letters with their like."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from sounds import RATE, features_of, place, tone

from antiphon.analysis import form
from antiphon.analysis.features import MEL_BANDS
from antiphon.analysis.form import BarFeatures, bar_features, divide, find_sections
from antiphon.analysis.harmony import tuned_chroma

pytestmark = pytest.mark.unit

PROGRESSIONS = {"A": (0, 9, 5, 7), "B": (2, 11, 4, 9), "C": (8, 3, 10, 1)}  # major triads
TIMBRES = {"A": 0, "B": 12, "C": 24}  # the lowest of the bands that are louder
LOUDNESS_DB = {"A": -40.0, "B": -31.0, "C": -46.0}


def planted(plan: str, bars_each: tuple[int, ...], seed: int = 0) -> BarFeatures:
    """Bars of a song: each letter has chords, timbre, level and density of its own, with noise."""
    dice = np.random.default_rng(seed)
    chroma, level, rise = [], [], []
    for letter, bars in zip(plan, bars_each, strict=True):
        for bar in range(bars):
            row = 0.1 + 0.05 * dice.random(12)
            row[[(PROGRESSIONS[letter][bar % 4] + up) % 12 for up in (0, 4, 7)]] += 1.0
            chroma.append(row / np.linalg.norm(row))
            bands = np.full(MEL_BANDS, LOUDNESS_DB[letter])
            bands[TIMBRES[letter] : TIMBRES[letter] + 12] += 12.0
            level.append(bands + dice.normal(0.0, 1.0, MEL_BANDS))
            rise.append(1.0 + "ABC".index(letter) + dice.normal(0.0, 0.1, 4))
    return BarFeatures(np.array(chroma), np.array(level), np.array(rise))


@pytest.mark.parametrize(
    ("plan", "bars_each"),
    [
        ("ABA", (8, 8, 8)),
        ("ABAB", (8, 8, 8, 8)),
        ("ABCA", (4, 8, 8, 4)),
        ("ABACBA", (8, 8, 8, 4, 8, 8)),
    ],
)
def test_planted_sections_are_found_at_their_bars(plan: str, bars_each: tuple[int, ...]) -> None:
    for seed in range(3):
        sections, confidence = find_sections(planted(plan, bars_each, seed))
        assert [section.start for section in sections] == [
            sum(bars_each[:n]) for n in range(len(plan))
        ]
        assert "".join(section.label for section in sections) == plan
        assert 0.95 < confidence <= 1.0


@pytest.mark.parametrize(
    ("plan", "bars_each"), [("AB", (16, 8)), ("ABA", (12, 8, 12)), ("AB", (24, 24))]
)
def test_long_sections_may_be_cut_but_every_bar_has_its_letter(
    plan: str, bars_each: tuple[int, ...]
) -> None:
    """Their four chords come round again, so AA is as true as A."""
    expected = "".join(letter * bars for letter, bars in zip(plan, bars_each, strict=True))
    for seed in range(3):
        sections, _ = find_sections(planted(plan, bars_each, seed))
        assert "".join(s.label * (s.stop - s.start) for s in sections) == expected


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 30, 101])
def test_sections_cover_all_bars_whatever_they_hold(count: int) -> None:
    dice = np.random.default_rng(count)
    bars = BarFeatures(
        dice.random((count, 12)), dice.normal(-40, 5, (count, 40)), dice.random((count, 4))
    )
    sections, confidence = find_sections(bars)
    assert sections[0].start == 0
    assert sections[-1].stop == count
    assert all(a.stop == b.start for a, b in itertools.pairwise(sections))
    assert all(section.start < section.stop for section in sections)
    assert 0.0 <= confidence <= 1.0


@pytest.mark.parametrize("seed", [None, 0, 1, 2])
def test_a_loop_that_never_changes_is_one_letter(seed: int | None) -> None:
    """To the last digit, or with small differences from bar to bar."""
    bars = planted("A", (32,), seed or 0)
    if seed is None:
        bars = BarFeatures(
            *(np.tile(rows[:4], (8, 1)) for rows in (bars.chroma, bars.level_db, bars.rise_db))
        )
    sections, _ = find_sections(bars)
    assert {section.label for section in sections} == {"A"}


def test_sections_that_differ_in_timbre_or_in_chords_have_letters_of_their_own() -> None:
    plan, same = planted("ABA", (8, 8, 8)), planted("AAA", (8, 8, 8))
    other_timbre = BarFeatures(same.chroma, plan.level_db, same.rise_db)
    other_chords = BarFeatures(plan.chroma, same.level_db, same.rise_db)
    for bars in (other_timbre, other_chords):
        assert form._label(bars, [0, 8, 16]) == ["A", "B", "A"]
    assert form._label(same, [0, 8, 16]) == ["A", "A", "A"]


def test_loudness_and_timbre_are_looked_at_apart() -> None:
    """A gain that jumps from bar to bar is no change of timbre, and a change of timbre no gain."""
    bars = planted("A", (24,))
    gains = 10.0 * np.random.default_rng(0).random((24, 1))
    louder = BarFeatures(bars.chroma, bars.level_db + gains, bars.rise_db)
    before, after = form.boundary_evidence(bars), form.boundary_evidence(louder)
    changed = np.abs(before - after).max(axis=0) > 1e-9
    columns_of_each = len(form.SCALES_BARS) + len(form.PEAK_SCALES_BARS)
    assert set(np.flatnonzero(changed) // columns_of_each) == {2}  # chroma, timbre, loudness, rise


def test_a_change_of_level_alone_does_not_depend_on_the_absolute_level() -> None:
    bars = planted("ABA", (8, 8, 8))
    louder = BarFeatures(bars.chroma, bars.level_db + 17.0, bars.rise_db)
    assert find_sections(louder)[0] == find_sections(bars)[0]


@pytest.mark.parametrize("seed", range(8))
def test_divide_is_the_best_of_all_divisions(seed: int) -> None:
    """Against every way to cut eleven bars."""
    log_odds = np.random.default_rng(seed).normal(0.0, 3.0, 11)

    def total(starts: tuple[int, ...]) -> float:
        lengths = np.diff([*starts, 11])
        preferred = sum(form.LENGTH_PREFERENCE.get(int(n), form.OTHER_LENGTH) for n in lengths)
        return float(preferred + log_odds[list(starts[1:])].sum())

    divisions = [
        (0, *inner) for count in range(11) for inner in itertools.combinations(range(1, 11), count)
    ]
    assert len(divisions) == 2**10
    assert total(tuple(divide(log_odds))) == pytest.approx(max(map(total, divisions)), abs=1e-9)


def test_divide_keeps_to_the_longest_section() -> None:
    starts = divide(np.full(100, -50.0))
    assert starts[0] == 0
    assert np.diff([*starts, 100]).max() <= form.MAX_SECTION_BARS


def test_bar_features_are_those_of_the_bars() -> None:
    """Two bars of a low C major, two of a high F sharp major, four notes a bar, half as loud."""
    events = []
    for bar in range(4):
        for beat in range(4):
            base, gain = (48, 1.0) if bar < 2 else (78, 0.5)
            at = 2.0 * bar + 0.5 * beat
            events += [(at, np.float32(gain) * tone(base + up, 0.5, 0.3)) for up in (0, 4, 7)]
    features = features_of(place(events, 8.0))
    bars = bar_features(
        tuned_chroma(features), features.log_mel, np.array([0.0, 2.0, 4.0, 6.0, 8.0])
    )
    assert np.linalg.norm(bars.chroma, axis=1) == pytest.approx(np.ones(4), abs=0.02)
    likeness = bars.chroma @ bars.chroma.T
    assert likeness[0, 1] > 0.97
    assert likeness[2, 3] > 0.97
    assert likeness[0, 3] < 0.4
    assert set(np.argsort(-bars.chroma[3])[:3]) == {6, 10, 1}
    assert bars.level_db[0, :5].mean() > bars.level_db[3, :5].mean() + 20.0
    assert bars.rise_db.min() >= 0


def test_bar_features_of_level_are_means_in_db() -> None:
    log_mel = np.full((862, MEL_BANDS), -60.0, np.float16)  # 10 s
    log_mel[431:] = -30.0
    chroma = tuned_chroma(features_of(np.zeros(10 * RATE, np.float32)))
    bars = bar_features(chroma, log_mel, np.array([0.0, 2.5, 5.0, 7.5, 10.0]))
    assert bars.level_db.mean(axis=1) == pytest.approx([-60.0, -60.0, -30.0, -30.0], abs=0.1)
    # The rise stands in the bar that it opens: 30 dB in two of 215 frames.
    assert bars.rise_db.mean(axis=1) == pytest.approx([0.0, 0.0, 30.0 * 2 / 215, 0.0], abs=0.01)


def test_a_bar_beyond_the_end_is_empty_and_not_an_error() -> None:
    features = features_of(place([(0.0, tone(60, 1.0))], 1.0))
    bars = bar_features(tuned_chroma(features), features.log_mel, np.array([0.0, 1.0, 2.0, 3.0]))
    assert np.isfinite(bars.level_db).all()
    assert not bars.level_db[2].any()


def test_letters_count_as_columns_of_a_sheet_do() -> None:
    names = [form._letters(number) for number in range(800)]
    assert names[:3] == ["A", "B", "C"]
    assert names[25:28] == ["Z", "AA", "AB"]
    assert names[701:703] == ["ZZ", "AAA"]
    assert names == sorted(set(names), key=lambda name: (len(name), name))
