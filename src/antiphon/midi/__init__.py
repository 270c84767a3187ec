"""Standard MIDI Files out of scores, and scores out of MIDI files. Knows no style and no sound."""

from antiphon.midi.reading import read_midi
from antiphon.midi.writing import write_midi

__all__ = ["read_midi", "write_midi"]
