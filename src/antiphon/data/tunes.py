"""What makes a tune: its opening chords and its motif, in any key. By them pieces are held out, so
that what is judged is nothing that was learned by heart."""

from __future__ import annotations

import hashlib

from antiphon.data.manifest import Split
from antiphon.score import Score

_OPENING_BARS = 4
_MOTIF_BARS = 2
_STEPS_PER_BEAT = 4
_SPLITS: dict[int, Split] = {7: "validation", 17: "test"}  # of every 20 pieces, the rest train


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


def piece_split(number: int) -> Split:
    """The split of a piece, whatever the count: of each 20 pieces one is for validation and one for
    the test, and of the first 8 one is for validation already."""
    return _SPLITS.get(number % 20, "train")


def tune_split(score: Score) -> Split:
    """The split of all pieces with its opening chords, as if these were a number."""
    digest = hashlib.blake2b(opening_chords(score).encode(), digest_size=4).digest()
    return piece_split(int.from_bytes(digest))


def tune_group(score: Score) -> str:
    """What pieces with its opening chords have in common, and must not be torn apart by splits."""
    digest = hashlib.blake2b(opening_chords(score).encode(), digest_size=8).hexdigest()
    return f"opening:{digest}"
