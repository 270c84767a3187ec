from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon.arrange.feel import MAX_SHIFT_SECONDS, TICKS_PER_BEAT, Feel
from antiphon.arrange.figures import Tone
from antiphon.arrange.plan import make_plan
from antiphon.controls import Controls

pytestmark = pytest.mark.unit


def feel(ratio: float = 0.5, unit: float = 1.0, shift_seconds: float = 0.0) -> Feel:
    return Feel(120.0, 16.0, unit, ratio, shift_seconds)


def test_swing_leaves_the_beats_and_delays_the_eighths() -> None:
    swung = feel(ratio=2 / 3)
    assert [swung.swing(beat) for beat in (0.0, 1.0, 7.0)] == [0.0, 1.0, 7.0]
    assert swung.swing(0.5) == pytest.approx(2 / 3)
    assert swung.swing(3.25) == pytest.approx(3 + 1 / 3)
    sixteenths = feel(ratio=0.6, unit=0.5)
    assert sixteenths.swing(0.5) == 0.5
    assert sixteenths.swing(0.25) == pytest.approx(0.3)


@given(st.lists(st.floats(0, 16), min_size=2), st.floats(0.5, 0.7))
def test_swing_keeps_the_order(beats: list[float], ratio: float) -> None:
    swung = [feel(ratio).swing(beat) for beat in sorted(beats)]
    assert swung == sorted(swung)


def test_jazz_swings_two_to_one_at_medium_tempo_and_evens_out() -> None:
    def ratio(tempo_bpm: float) -> float:
        return Feel.of(make_plan(Controls(genre="jazz", tempo_bpm=tempo_bpm), 1)).swing_ratio

    assert ratio(140.0) == pytest.approx(2 / 3)
    assert ratio(100.0) >= ratio(140.0) > ratio(200.0) > ratio(240.0) > 0.5
    assert Feel.of(make_plan(Controls(genre="rock"), 1)).swing_ratio == 0.5


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1000), st.floats(0, 0.02))
def test_hands_are_never_more_than_eight_milliseconds_off(seed: int, shift: float) -> None:
    tones = [Tone(beat / 2, 0.5, 60, 0.7) for beat in range(1, 30)]
    notes = feel(shift_seconds=shift).perform(tones, Random(seed))
    for tone, note in zip(tones, notes, strict=True):
        off_seconds = abs(note.start_beat - tone.start_beat) * 0.5
        assert off_seconds <= MAX_SHIFT_SECONDS + 0.5 / TICKS_PER_BEAT


def test_a_chord_is_struck_together() -> None:
    chord = [Tone(2.0, 1.0, pitch, 0.7) for pitch in (60, 64, 67)]
    notes = feel(shift_seconds=0.006).perform(chord, Random(4))
    assert len({note.start_beat for note in notes}) == 1


def test_nothing_rings_past_the_end_or_into_its_own_repetition() -> None:
    tones = [Tone(0.0, 4.0, 60, 0.7), Tone(1.0, 1.0, 60, 0.7), Tone(15.5, 3.0, 62, 0.7)]
    first, second, last = feel().perform(tones, Random(1))
    assert first.start_beat + first.duration_beats == second.start_beat
    assert last.start_beat + last.duration_beats == 16.0


def test_positions_are_whole_ticks() -> None:
    tones = [Tone(beat / 3, 0.3, 60, 0.7) for beat in range(40)]
    for note in feel(ratio=0.63, shift_seconds=0.004).perform(tones, Random(1)):
        for beats in (note.start_beat, note.duration_beats):
            assert beats * TICKS_PER_BEAT == pytest.approx(round(beats * TICKS_PER_BEAT), abs=1e-6)


def test_extremes_of_strength_are_still_velocities() -> None:
    notes = feel().perform([Tone(0.0, 1.0, 60, 0.0), Tone(1.0, 1.0, 60, 9.0)], Random(1))
    assert [note.velocity for note in notes] == [max(notes[0].velocity, 1), 127]
    assert notes[0].velocity < 10
