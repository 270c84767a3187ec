import pytest

from antiphon.errors import ConfigError
from antiphon.notation import ALL_KEYS, CHORD_QUALITIES, Chord, Key

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("C# minor", "C# minor"),
        ("Db minor", "C# minor"),
        ("f sharp minor", "F# minor"),
        ("e-flat major", "Eb major"),
        ("Bb", "Bb major"),
        ("b", "B major"),
        ("bb minor", "Bb minor"),
        ("am", "A minor"),
        ("Am", "A minor"),
        ("AM", "A major"),
        ("G♭ maj", "F# major"),
        ("Cb", "B major"),
        (" d min ", "D minor"),
    ],
)
def test_keys_as_people_write_them(text: str, name: str) -> None:
    assert Key.parse(text).name == name


@pytest.mark.parametrize("text", ["", "H", "C dorian", "C major minor", "c##", "12"])
def test_what_is_no_key_says_what_a_key_looks_like(text: str) -> None:
    with pytest.raises(ConfigError, match="expected a note from A to G"):
        Key.parse(text)


def test_every_key_reads_its_own_name() -> None:
    assert len(set(ALL_KEYS)) == 24
    assert [Key.parse(key.name) for key in ALL_KEYS] == list(ALL_KEYS)


def test_relative_keys_share_their_notes() -> None:
    for key in ALL_KEYS:
        if key.mode == "major":
            relative = Key((key.tonic + 9) % 12, "minor")
            assert set(key.scale) == set(relative.scale)


def test_a_major_scale_is_a_chain_of_fifths() -> None:
    for key in ALL_KEYS:
        if key.mode == "major":
            assert set(key.scale) == {(key.tonic + 7 * step) % 12 for step in range(-1, 6)}


def test_every_chord_reads_its_own_label() -> None:
    for root in range(12):
        for quality in CHORD_QUALITIES:
            chord = Chord(root, quality)
            assert Chord.parse(chord.label) == chord
            assert chord.pitch_classes[0] == root
            assert len(set(chord.pitch_classes)) == len(chord.pitch_classes)


@pytest.mark.parametrize(
    ("label", "notes"),
    [
        ("C:maj", {0, 4, 7}),
        ("A:min7", {9, 0, 4, 7}),
        ("F#:dim7", {6, 9, 0, 3}),
        ("Bb:7", {10, 2, 5, 8}),
        ("D:sus4", {2, 7, 9}),
        ("G:9", {7, 11, 2, 5, 9}),
    ],
)
def test_chord_notes(label: str, notes: set[int]) -> None:
    assert set(Chord.parse(label).pitch_classes) == notes


@pytest.mark.parametrize("label", ["", "C", "H:maj", "C:major", "c:maj", "C:maj:7", "N"])
def test_what_is_no_chord_says_what_a_label_looks_like(label: str) -> None:
    with pytest.raises(ConfigError, match="expected ROOT:QUALITY"):
        Chord.parse(label)


def test_impossible_pitch_classes_and_qualities() -> None:
    with pytest.raises(ValueError, match="tonic is 12"):
        Key(12, "major")
    with pytest.raises(ValueError, match="root is -1"):
        Chord(-1, "maj")
    with pytest.raises(ValueError, match="'power' is not known"):
        Chord(0, "power")
