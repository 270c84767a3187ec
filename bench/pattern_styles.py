"""The styles of `patterns.py` as data: drums, basses, accompaniments, harmony, form."""

from __future__ import annotations

from dataclasses import dataclass

KICK, STICK, SNARE, CLAP, LOW_TOM, CLOSED_HAT, MID_TOM, PEDAL_HAT, HIGH_TOM, OPEN_HAT, RIDE = (
    36, 37, 38, 39, 41, 42, 43, 44, 45, 46, 51,
)  # fmt: skip
SIXTEENTHS = tuple(step / 4 for step in range(16))
EIGHTHS, QUARTERS, OFFBEATS = SIXTEENTHS[::2], SIXTEENTHS[::4], SIXTEENTHS[2::4]
BETWEEN_EIGHTHS = SIXTEENTHS[1::2]
LATE = 2 / 3  # where a swung offbeat comes


@dataclass(frozen=True)
class Stroke:
    """A drum on some beats of a bar.

    `when`: always; in full sections (verse, bridge, chorus); in the chorus or everywhere but
    there (calm); in even or odd bars; rarely (three bars of ten); or drawn: each beat stays or
    goes for the whole song.
    """

    drum: int
    beats: tuple[float, ...]
    velocity: int
    when: str = "always"


@dataclass(frozen=True)
class Step:
    """A note or chord of an accompaniment: `above_root` semitones, for the bass alone."""

    beat: float
    length: float
    velocity: int
    above_root: int = 0


@dataclass(frozen=True)
class Style:
    """`bass`, `comp` and `drums` name patterns; no comp means one is drawn for each song."""

    tempo_bpm: tuple[int, int]
    programs: tuple[int, int]  # General MIDI, chords and bass
    bass: str
    drums: str
    comp: str | None = None
    drums_chance: float = 1.0
    waltz_chance: float = 0.0
    sevenths: str = "none"  # none, dominant or all


STYLES = {
    "rock": Style((105, 165), (29, 33), "eighths", "backbeat"),
    "ballad": Style((56, 84), (0, 32), "two", "backbeat", "block", drums_chance=0.7),
    "waltz": Style((84, 180), (0, 32), "one", "waltz", "waltz", waltz_chance=1.0),
    "swing": Style((110, 200), (0, 32), "walking", "swing", "charleston", sevenths="all"),
    "house": Style((116, 132), (4, 38), "two", "house"),
    "hiphop": Style((70, 100), (4, 33), "drawn", "hiphop"),
    "bossa": Style((110, 160), (24, 32), "bossa", "bossa"),
    "funk": Style((90, 120), (27, 36), "drawn", "sixteenths", sevenths="dominant"),
    "metal": Style((130, 200), (30, 34), "eighths", "fast backbeat"),
    "folk": Style((80, 140), (25, 32), "two", "backbeat", drums_chance=0.4, waltz_chance=0.4),
    "reggae": Style((66, 96), (27, 33), "reggae", "one drop", "skank"),
    "sixteen": Style((60, 110), (4, 33), "drawn", "sixteenths"),
}

# fmt: off
BACKBEAT = (
    Stroke(CLOSED_HAT, EIGHTHS, 72, "calm"), Stroke(OPEN_HAT, EIGHTHS, 72, "chorus"),
    Stroke(KICK, (0,), 110), Stroke(KICK, (2,), 105), Stroke(KICK, (2.5,), 95, "drawn"),
    Stroke(SNARE, (1, 3), 108),
)
DRUMS = {
    "backbeat": BACKBEAT,
    "fast backbeat": (*BACKBEAT, Stroke(CLOSED_HAT, BETWEEN_EIGHTHS, 72, "rarely")),
    "waltz": (
        Stroke(KICK, (0,), 95), Stroke(CLOSED_HAT, (1, 2), 70), Stroke(STICK, (1, 2), 75, "full"),
    ),
    "swing": (
        Stroke(RIDE, QUARTERS, 80), Stroke(RIDE, (1 + LATE, 3 + LATE), 60),
        Stroke(PEDAL_HAT, (1, 3), 70),
    ),
    "house": (
        Stroke(KICK, QUARTERS, 110), Stroke(OPEN_HAT, OFFBEATS, 85),
        Stroke(CLAP, (1, 3), 95, "full"),
    ),
    "hiphop": (
        Stroke(CLOSED_HAT, EIGHTHS, 70), Stroke(KICK, (0,), 110),
        Stroke(KICK, (0.75, 1.75, 2.5), 100, "drawn"), Stroke(SNARE, (1, 3), 105),
    ),
    "bossa": (
        Stroke(CLOSED_HAT, EIGHTHS, 65), Stroke(STICK, (0, 1.5, 3), 80, "even"),
        Stroke(STICK, (1, 2.5), 80, "odd"), Stroke(KICK, (0, 1.5, 2, 3.5), 85),
    ),
    "sixteenths": (
        Stroke(CLOSED_HAT, QUARTERS, 75), Stroke(CLOSED_HAT, OFFBEATS + BETWEEN_EIGHTHS, 60),
        Stroke(KICK, (0,), 105), Stroke(KICK, (1.5, 1.75, 2.5, 2.75), 95, "drawn"),
        Stroke(SNARE, (1, 3), 105),
    ),
    "one drop": (
        Stroke(CLOSED_HAT, EIGHTHS, 65), Stroke(KICK, (2,), 105), Stroke(STICK, (2,), 90),
    ),
    "three": (
        Stroke(KICK, (0,), 95), Stroke(CLOSED_HAT, (1,), 70), Stroke(SNARE, (2,), 75),
    ),
}
# fmt: on
FILL = ((3.0, SNARE), (3.25, HIGH_TOM), (3.5, MID_TOM), (3.75, LOW_TOM))

# Steps beyond the end of a 3/4 bar are left out. "walking" and "drawn" are made bar by bar.
BASS = {
    "one": (Step(0, 1, 95),),
    "two": (Step(0, 1.9, 95), Step(2, 1, 85, 7)),
    "eighths": tuple(Step(beat, 0.45, 80 if beat % 1 else 95) for beat in EIGHTHS),
    "bossa": (Step(0, 1.4, 95), Step(1.5, 0.5, 80, 7), Step(2, 1.4, 90, 7), Step(3.5, 0.5, 80)),
    "reggae": (Step(0, 0.9, 100), Step(1.5, 0.4, 90), Step(2, 0.9, 95, 7), Step(3.5, 0.4, 85)),
}
COMP = {
    "block": (Step(0, 3.8, 75),),
    "offbeats": tuple(Step(beat, 0.4, 78) for beat in OFFBEATS),
    "eighths": tuple(Step(beat, 0.45, 70 if beat % 1 else 80) for beat in EIGHTHS),
    "arpeggio": tuple(Step(beat, 0.6, 72) for beat in EIGHTHS),
    "waltz": (Step(1, 0.6, 75), Step(2, 0.6, 75)),
    "charleston": (Step(0, 0.6, 70), Step(1 + LATE, 0.4, 75)),
    "skank": (Step(1, 0.3, 85), Step(3, 0.3, 85)),
}
DRAWN_COMPS = ("block", "offbeats", "eighths", "arpeggio")

# Scale degrees from 0; four bars each.
PROGRESSIONS = (
    (0, 4, 5, 3), (0, 3, 4, 0), (0, 5, 3, 4), (0, 3, 0, 4), (5, 3, 0, 4), (0, 2, 3, 4),
    (1, 4, 0, 0), (0, 5, 1, 4),
)  # fmt: skip
MAJOR_ONLY, MINOR_ONLY = (0, 1, 3, 4), (0, 6, 3, 0)
CADENCE = (0, 3, 4, 0)
FORMS = (
    ("intro", "verse", "chorus", "verse", "chorus", "ending"),
    ("verse", "chorus", "verse", "bridge", "chorus"),
    ("intro", "verse", "verse", "chorus", "verse"),
    ("verse", "verse", "bridge", "verse"),
)
SHORT_SECTIONS = ("intro", "ending")
LEADS = (73, 65, 56, 40, 80, 0, 11)  # flute, saxophone, trumpet, violin, synth, piano, vibraphone
TRIADS = {(4, 7): "maj", (3, 7): "min", (3, 6): "dim"}
SEVENTHS = {"maj": "maj7", "min": "min7", "dim": "hdim7"}


def section_bars(label: str) -> int:
    return 4 if label in SHORT_SECTIONS else 8
