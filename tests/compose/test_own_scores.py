"""A score of the user's own: what it does not say is read from its notes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from antiphon.arrange import arrange
from antiphon.compose.own_scores import completed, read_score
from antiphon.controls import Controls
from antiphon.errors import ConfigError
from antiphon.midi import write_midi
from antiphon.notation import Key
from antiphon.score import Note, Score, Section, Track

pytestmark = pytest.mark.unit


def bare(score: Score) -> Score:
    """Only its notes."""
    tracks = tuple(replace(track, role="") for track in score.tracks)
    return replace(score, key=None, chords=(), sections=(), tracks=tracks)


@pytest.mark.parametrize("genre", ["pop", "rock", "jazz", "classical", "house", "folk"])
def test_key_chords_and_roles_come_from_the_notes(genre: str) -> None:
    keys = [Key.parse(name) for name in ("A minor", "Eb major", "F# minor", "C major")]
    right_keys, right_chords, beats = 0, 0.0, 0.0
    for seed, key in enumerate(keys):
        score = arrange(Controls(genre=genre, key=key, bars=8), seed)
        found = completed(bare(score))
        right_keys += found.key == score.key
        assert found.sections == (Section("verse", 0, 8),)
        bass = [track for track in found.tracks if track.role == "bass"]
        assert [track.instrument for track in bass] == [
            track.instrument for track in score.tracks if track.role == "bass"
        ][:1]  # fmt: skip
        for span in score.chords:
            middle = span.start_beat + span.duration_beats / 2
            heard = next(
                one.chord.root
                for one in found.chords
                if one.start_beat <= middle < one.start_beat + one.duration_beats
            )
            right_chords += span.duration_beats * (heard == span.chord.root)
            beats += span.duration_beats
    assert right_keys >= 3
    assert right_chords / beats >= 0.75


def test_what_a_score_says_stays() -> None:
    score = arrange(Controls(genre="pop", bars=4), 1)
    assert completed(score) == score


def test_drums_alone_have_no_key() -> None:
    kick = Track("drums", 0, (Note(0.0, 0.5, 36, 100),), is_drums=True)
    found = completed(Score(100.0, 4, None, 1, tracks=(kick,)))
    assert found.key is None
    assert found.chords == ()


def test_json_and_midi_are_read(tmp_path: Path) -> None:
    score = arrange(Controls(genre="pop", bars=4), 1)
    (tmp_path / "a b.json").write_text(score.to_json())
    write_midi(score, tmp_path / "a b.MID")
    assert read_score(tmp_path / "a b.json") == score
    assert len(list(read_score(tmp_path / "a b.MID").notes())) == len(list(score.notes()))
    silent = replace(score, tracks=())
    (tmp_path / "silent.json").write_text(silent.to_json())
    with pytest.raises(ConfigError, match="has no notes; expected some to be played"):
        read_score(tmp_path / "silent.json")
