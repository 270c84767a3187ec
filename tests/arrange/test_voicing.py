import pytest

from antiphon.arrange.voicing import fit, lead_voices, power_chord
from antiphon.notation import CHORD_QUALITIES, Chord

pytestmark = pytest.mark.unit

ALL_CHORDS = [Chord(root, quality) for root in range(12) for quality in CHORD_QUALITIES]


@pytest.mark.parametrize("rootless", [False, True])
def test_a_voicing_holds_the_tones_that_make_the_chord(rootless: bool) -> None:
    for chord, voicing in zip(
        ALL_CHORDS, lead_voices(ALL_CHORDS, 60, rootless=rootless), strict=True
    ):
        classes = {pitch % 12 for pitch in voicing}
        assert classes <= set(chord.pitch_classes)
        assert chord.pitch_classes[1] in classes  # the third (or fourth)
        if len(chord.pitch_classes) > 3:
            assert chord.pitch_classes[3] in classes  # the seventh
        if not rootless or len(chord.pitch_classes) == 3:
            assert chord.root in classes
        assert list(voicing) == sorted(set(voicing))
        assert voicing[0] >= 44
        assert voicing[-1] <= 76


def test_voices_move_less_than_chords_in_root_position() -> None:
    progression = [Chord.parse(f"{name}:maj") for name in ("C", "F", "G", "Bb", "D", "A", "E", "C")]
    led = lead_voices(progression, 60, rootless=False)
    root_position = [
        tuple(54 + (chord.root - 54) % 12 + step for step in (0, 4, 7)) for chord in progression
    ]

    def movement(voicings: list[tuple[int, ...]]) -> int:
        return sum(
            abs(a - b)
            for before, after in zip(voicings, voicings[1:], strict=False)
            for a, b in zip(before, after, strict=True)
        )

    assert movement(led) < 0.6 * movement(root_position)


def test_common_tones_stay() -> None:
    tonic, relative = lead_voices([Chord.parse("C:maj"), Chord.parse("A:min")], 60, rootless=False)
    assert len(set(tonic) & set(relative)) == 2


def test_a_power_chord_keeps_its_third_on_top() -> None:
    assert power_chord(Chord.parse("E:min")) == (40, 47, 52, 55)
    assert power_chord(Chord.parse("A:maj")) == (45, 52, 57, 61)


def test_fitting_moves_by_octaves() -> None:
    assert (fit(30, 40, 52), fit(80, 40, 60), fit(45, 40, 60)) == (42, 56, 45)
