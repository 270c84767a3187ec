from __future__ import annotations

import numpy as np
import pytest

from antiphon.synth.drums import KIT, drum, render_drum

pytestmark = pytest.mark.unit

RATE = 44100
GENERAL_MIDI_KIT = range(35, 82)


def centroid_hz(sound: np.ndarray) -> float:
    power = np.abs(np.fft.rfft(sound)) ** 2
    return float((power * np.fft.rfftfreq(sound.size, 1 / RATE)).sum() / power.sum())


def length_seconds(sound: np.ndarray) -> float:
    """Until 40 dB below the peak for good."""
    return float(np.flatnonzero(np.abs(sound) > 0.01).max() / RATE)


def test_the_general_midi_kit_is_complete() -> None:
    assert set(GENERAL_MIDI_KIT) <= set(KIT)
    assert drum(3) == drum(31)  # sticks where nothing is defined


@pytest.mark.parametrize("pitch", sorted(KIT))
def test_every_drum_starts_at_once_and_ends_in_silence(pitch: int) -> None:
    for layer in (0, 3):
        sound = render_drum(drum(pitch), layer, RATE, take=0)[0]
        assert np.abs(sound).max() == pytest.approx(1.0)
        assert np.argmax(np.abs(sound) > 0.05) < 0.005 * RATE
        assert abs(sound[0]) < 0.05
        assert abs(sound[-1]) < 1e-6
        assert abs(sound.mean()) < 0.01


def test_low_drums_are_low_and_cymbals_are_high() -> None:
    def of(pitch: int) -> float:
        return centroid_hz(render_drum(drum(pitch), 3, RATE, take=0)[0])

    assert of(36) < 200 < of(38) < 4000 < of(42)
    assert of(41) < of(45) < of(50)
    assert of(49) > 4000


def test_cymbals_ring_and_closed_hats_do_not() -> None:
    def of(pitch: int) -> float:
        return length_seconds(render_drum(drum(pitch), 3, RATE, take=0)[0])

    assert of(42) < 0.1 < 0.25 < of(46)
    assert of(49) > 1.0
    assert 0.15 < of(36) < 0.6  # the kick has a body, and does not drone


def test_hats_share_a_choke_group() -> None:
    assert drum(42).choke == drum(44).choke == drum(46).choke != ""


def test_takes_differ_and_repeat_exactly() -> None:
    first = render_drum(drum(38), 2, RATE, take=0)
    assert not np.array_equal(first, render_drum(drum(38), 2, RATE, take=1))
    render_drum.cache_clear()
    np.testing.assert_array_equal(first, render_drum(drum(38), 2, RATE, take=0))
    with pytest.raises(ValueError, match="read-only"):
        first[0, 0] = 1.0


def test_kits_change_what_they_name_and_keep_the_rest() -> None:
    machine, standard = 25, 0
    kick = [
        length_seconds(render_drum(drum(36, kit), 3, RATE, 0)[0]) for kit in (standard, machine)
    ]
    assert kick[1] > 1.3 * kick[0]  # the long kick of the drum machines
    assert drum(75, machine) == drum(75, standard)
    assert drum(38, 40) != drum(38, standard)  # brushes
    assert drum(38, 99) == drum(38, standard)
