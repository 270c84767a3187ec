"""What makes a tune: its opening chords and its motif, in any key. By them pieces are held out, so
that what is judged is nothing that was learned by heart."""

from __future__ import annotations

import hashlib

from antiphon.data.manifest import Split
from antiphon.score import Score

_OPENING_BARS = 4
_MOTIF_BARS = 2
_STEPS_PER_BEAT = 4
_SHARES = 20  # of which one is for validation and one for the test
_HELD_OUT: dict[int, Split] = {7: "validation", 17: "test"}


def opening_chords(score: Score) -> str:
    """The chords of the first four bars, counted from the tonic; empty without a key."""
    if score.key is None:
        return ""
    end = _OPENING_BARS * score.beats_per_bar
    spans = [
        f"{span.start_beat / score.beats_per_bar:.2f} "
        f"{(span.chord.root - score.key.tonic) % 12} {span.chord.quality}"
        for span in score.chords
        if span.start_beat < end
    ]
    return ", ".join([score.key.mode, *spans])


def motif(score: Score) -> str:
    """The melody's first two bars, from its first note on, as sixteenths and intervals; empty
    without a melody."""
    for track in score.tracks:
        if track.role == "melody" and track.notes:
            first = track.notes[0]
            bar = first.start_beat // score.beats_per_bar
            end = (bar + _MOTIF_BARS) * score.beats_per_bar
            return " ".join(
                f"{round((note.start_beat - first.start_beat) * _STEPS_PER_BEAT)}"
                f"{note.pitch - first.pitch:+}"
                for note in track.notes
                if note.start_beat < end
            )
    return ""


def tune_split(score: Score) -> Split:
    """The split of all pieces with its opening chords; of those one in twenty is for validation,
    and one for the test."""
    digest = hashlib.blake2b(opening_chords(score).encode(), digest_size=4).digest()
    return _HELD_OUT.get(int.from_bytes(digest) % _SHARES, "train")
