"""The pitched timbres as data, and which of them plays an instrument or a General MIDI program.

Knows no sample: `instruments` turns a timbre into sound.
"""

from __future__ import annotations

from dataclasses import dataclass

from antiphon.score import Track

Hump = tuple[float, float, float]  # centre in Hz, width in octaves, gain in dB


@dataclass(frozen=True)
class Noise:
    """A noise that comes with a note: hammer, pick, bow or breath."""

    level_db: float  # against the tone
    low_hz: float
    high_hz: float
    t60_seconds: float | None = None  # None: as long as the tone


@dataclass(frozen=True)
class Timbre:
    """How one instrument sounds; times at A4 (440 Hz), levels in dB.

    Harmonics fall by `slope_db` per octave unless `partials` names (ratio, level) pairs. Notes
    with a `t60_seconds` die away, faster the higher the note (2 ** `t60_octave` per octave) and the
    partial (`damping`).
    """

    level_db: float = 0.0
    slope_db: float = -6.0
    partials: tuple[tuple[float, float], ...] = ()
    even_db: float = 0.0
    pluck: float = 0.0  # where the string is struck or plucked, as a share of its length
    humps: tuple[Hump, ...] = ()  # resonances of the body
    top_hz: float = 12000.0  # steep fall above
    stretch: float = 0.0  # inharmonicity B of a stiff string (Fletcher, 1964)
    bright_db: float = 2.0  # steeper or flatter slope at the softest and loudest velocity
    attack_seconds: float = 0.002
    attack_lag: float = 0.0  # high partials come later: this share of the attack per harmonic
    t60_seconds: float | None = None
    t60_octave: float = 0.6
    damping: float = 0.15
    aftersound: float = 0.0  # share that decays five times more slowly (piano strings)
    release_seconds: float = 0.12
    vibrato_cents: float = 0.0
    vibrato_hz: float = 5.4
    vibrato_delay_seconds: float = 0.25
    tremolo_db: float = 0.0
    voices: int = 1
    detune_cents: float = 0.0  # of the outermost voices
    wide: bool = False  # left and right differ
    noise: Noise | None = None
    reverb_db: float = -14.0


_STRING_BODY: tuple[Hump, ...] = ((280, 0.4, 4), (460, 0.35, 3), (1100, 0.5, 2), (2600, 0.6, 5))
_GUITAR_BODY: tuple[Hump, ...] = ((105, 0.35, 5), (210, 0.3, 5), (420, 0.4, 3), (2600, 0.8, 2))
_AH: tuple[Hump, ...] = ((780, 0.3, 13), (1150, 0.25, 9), (2900, 0.25, 7), (3600, 0.3, 4))

TIMBRES: dict[str, Timbre] = {
    "piano": Timbre(
        level_db=1, slope_db=-8.0, pluck=0.12, stretch=3e-4, top_hz=7000, bright_db=3.0,
        attack_seconds=0.003, t60_seconds=5.5, t60_octave=0.55, damping=0.32, aftersound=0.12,
        voices=2, detune_cents=0.5, release_seconds=0.18, wide=True, humps=((180, 1.0, 2),),
        noise=Noise(-30, 80, 900, 0.12), reverb_db=-15,
    ),
    "harpsichord": Timbre(
        level_db=2, slope_db=-5.0, pluck=0.09, stretch=1e-5, top_hz=10000, bright_db=0.5,
        t60_seconds=2.5, damping=0.08, release_seconds=0.1, noise=Noise(-24, 1500, 6000, 0.03),
    ),
    "electric piano": Timbre(
        partials=((1, 0), (2, -10), (3, -22), (4, -24), (5, -34), (7.1, -27), (11.9, -33)),
        bright_db=4.0, top_hz=7000, t60_seconds=4.5, damping=0.35, release_seconds=0.16,
        tremolo_db=1.0, wide=True, voices=2, detune_cents=1.5, attack_seconds=0.003,
    ),
    "clavinet": Timbre(
        level_db=3, slope_db=-5.5, pluck=0.11, top_hz=6500, t60_seconds=1.6, damping=0.12,
        release_seconds=0.06, humps=((900, 0.6, 4), (2200, 0.5, 4)),
    ),
    "celesta": Timbre(
        partials=((1, 0), (2.76, -20), (4.0, -14), (5.4, -28)), t60_seconds=2.2, damping=0.5,
        release_seconds=0.8, noise=Noise(-32, 1000, 5000, 0.03), reverb_db=-11,
    ),
    "glockenspiel": Timbre(
        partials=((1, 0), (2.76, -9), (5.4, -16), (8.93, -26)), t60_seconds=3.0, damping=0.45,
        release_seconds=1.5, noise=Noise(-28, 3000, 9000, 0.02), reverb_db=-11,
    ),
    "vibraphone": Timbre(
        partials=((1, 0), (3.98, -14), (10.1, -28)), t60_seconds=4.5, damping=0.9, tremolo_db=2.5,
        vibrato_hz=5.0, release_seconds=0.5, noise=Noise(-34, 400, 2500, 0.03), reverb_db=-12,
    ),
    "marimba": Timbre(
        level_db=3, partials=((1, 0), (3.93, -12), (9.2, -24)), t60_seconds=1.1, t60_octave=0.8,
        damping=0.9, release_seconds=0.6, noise=Noise(-26, 200, 1800, 0.03), reverb_db=-13,
    ),
    "xylophone": Timbre(
        level_db=5, partials=((1, 0), (3.0, -8), (6.1, -14), (9.8, -24)), t60_seconds=0.6,
        damping=0.5, release_seconds=0.5, noise=Noise(-22, 1500, 7000, 0.02), reverb_db=-13,
    ),
    "bells": Timbre(
        partials=((1, 0), (2, -3), (2.4, -9), (3.0, -8), (4.2, -10), (5.4, -16), (6.8, -20)),
        t60_seconds=4.5, damping=0.25, release_seconds=2.0, noise=Noise(-30, 2000, 7000, 0.03),
        reverb_db=-10,
    ),
    "organ": Timbre(
        level_db=-0.5, partials=((1, 0), (2, -3), (3, -7), (4, -8), (5, -18), (6, -14), (8, -12)),
        bright_db=0.5, attack_seconds=0.008, release_seconds=0.06, tremolo_db=0.6,
        vibrato_cents=5, vibrato_hz=6.2, vibrato_delay_seconds=0.0, wide=True, voices=2,
        detune_cents=2, noise=Noise(-30, 1500, 5000, 0.015),
    ),
    "church organ": Timbre(
        partials=((1, 0), (2, -2), (3, -9), (4, -4), (6, -11), (8, -8), (12, -18), (16, -20)),
        bright_db=0.2, attack_seconds=0.045, release_seconds=0.25, voices=2, detune_cents=2.5,
        wide=True, reverb_db=-7, noise=Noise(-38, 1000, 6000),
    ),
    "reed": Timbre(
        slope_db=-6.5, top_hz=6500, humps=((900, 0.7, 4), (2400, 0.5, 4)), bright_db=1.0,
        attack_seconds=0.035, release_seconds=0.08, voices=2, detune_cents=5, wide=True,
        noise=Noise(-38, 1500, 6000),
    ),
    "accordion": Timbre(
        slope_db=-6.0, top_hz=7000, humps=((700, 0.6, 3), (1800, 0.6, 5)), bright_db=1.0,
        attack_seconds=0.03, release_seconds=0.09, voices=3, detune_cents=9, wide=True,
    ),
    "nylon guitar": Timbre(
        level_db=2, slope_db=-7.5, pluck=0.17, humps=_GUITAR_BODY, top_hz=6500, bright_db=3.0,
        t60_seconds=2.6, damping=0.3, release_seconds=0.16, noise=Noise(-26, 400, 3000, 0.03),
    ),
    "acoustic guitar": Timbre(
        level_db=2, slope_db=-6.5, pluck=0.13, humps=_GUITAR_BODY, top_hz=9000, stretch=5e-5,
        bright_db=3.0, t60_seconds=3.0, damping=0.16, release_seconds=0.16,
        noise=Noise(-24, 1500, 7000, 0.025),
    ),
    "electric guitar": Timbre(
        level_db=2, slope_db=-5.5, pluck=0.2, humps=((500, 0.8, 2), (2300, 0.6, 5)), top_hz=5000,
        stretch=4e-5, bright_db=2.5, t60_seconds=4.0, damping=0.2, release_seconds=0.12, voices=2,
        detune_cents=3, wide=True, noise=Noise(-30, 1000, 4500, 0.02),
    ),
    "muted guitar": Timbre(
        level_db=7, slope_db=-6.0, pluck=0.12, humps=((500, 0.8, 3),), top_hz=3500,
        t60_seconds=0.35, damping=0.2, release_seconds=0.05, noise=Noise(-22, 500, 3500, 0.02),
    ),
    "overdriven guitar": Timbre(
        slope_db=-4.0, even_db=-3, humps=((700, 0.7, 3), (1900, 0.6, 4)), top_hz=4500,
        bright_db=1.0, attack_seconds=0.004, t60_seconds=12.0, t60_octave=0.3, damping=0.03,
        release_seconds=0.1, vibrato_cents=7, vibrato_delay_seconds=0.5, voices=2, detune_cents=4,
        wide=True, noise=Noise(-32, 1500, 5000, 0.03), reverb_db=-16,
    ),
    "distorted guitar": Timbre(
        slope_db=-2.5, even_db=-2, humps=((120, 0.5, 3), (1600, 0.8, 3), (2900, 0.4, 5)),
        top_hz=4800, bright_db=0.5, attack_seconds=0.004, t60_seconds=20.0, t60_octave=0.2,
        damping=0.015, release_seconds=0.08, voices=2, detune_cents=5, wide=True,
        noise=Noise(-34, 1500, 5500), reverb_db=-18,
    ),
    "acoustic bass": Timbre(
        level_db=3.5, slope_db=-9.0, pluck=0.25, humps=((95, 0.5, 4), (800, 0.6, 2)), top_hz=3000,
        bright_db=3.0, t60_seconds=1.6, t60_octave=0.3, damping=0.35, release_seconds=0.1,
        noise=Noise(-26, 300, 2200, 0.04), reverb_db=-24,
    ),
    "finger bass": Timbre(
        level_db=1.5, slope_db=-8.0, pluck=0.2, humps=((90, 0.6, 2), (700, 0.7, 3)), top_hz=3200,
        bright_db=3.0, t60_seconds=4.0, t60_octave=0.3, damping=0.16, release_seconds=0.08,
        noise=Noise(-30, 400, 2000, 0.02), reverb_db=-28,
    ),
    "bright bass": Timbre(
        level_db=1.5, slope_db=-6.5, pluck=0.12, humps=((90, 0.6, 2), (1100, 0.8, 4)),
        top_hz=5000, bright_db=3.5, t60_seconds=4.0, t60_octave=0.3, damping=0.12,
        release_seconds=0.07, noise=Noise(-24, 1200, 5000, 0.02), reverb_db=-28,
    ),
    "synth bass": Timbre(
        level_db=1.5, slope_db=-7.0, top_hz=1600, bright_db=2.5, attack_seconds=0.003,
        t60_seconds=3.5, t60_octave=0.2, damping=0.25, release_seconds=0.06, reverb_db=-32,
    ),
    "violin": Timbre(
        slope_db=-7.0, humps=_STRING_BODY, top_hz=9000, bright_db=2.0, attack_seconds=0.06,
        attack_lag=0.04, release_seconds=0.14, vibrato_cents=16, noise=Noise(-34, 1500, 7000),
        reverb_db=-11,
    ),
    "cello": Timbre(
        slope_db=-7.0, humps=((170, 0.5, 3), (350, 0.4, 3), (900, 0.6, 2), (2000, 0.6, 3)),
        top_hz=6000, bright_db=2.0, attack_seconds=0.07, attack_lag=0.03, release_seconds=0.18,
        vibrato_cents=13, vibrato_hz=5.0, noise=Noise(-36, 600, 4000), reverb_db=-11,
    ),
    "strings": Timbre(
        level_db=-1, slope_db=-6.8, humps=_STRING_BODY, top_hz=7500, bright_db=1.5,
        attack_seconds=0.09, attack_lag=0.02, release_seconds=0.32, vibrato_cents=7,
        vibrato_delay_seconds=0.1, voices=3, detune_cents=9, wide=True,
        noise=Noise(-36, 1500, 7000), reverb_db=-9,
    ),
    "pizzicato": Timbre(
        level_db=5, slope_db=-7.0, pluck=0.2, humps=_STRING_BODY, top_hz=5000, t60_seconds=0.7,
        t60_octave=0.5, damping=0.3, release_seconds=0.25, noise=Noise(-24, 400, 3000, 0.02),
        reverb_db=-10,
    ),
    "harp": Timbre(
        slope_db=-8.0, pluck=0.35, top_hz=6000, bright_db=2.5, t60_seconds=3.0, damping=0.3,
        release_seconds=1.0, wide=True, voices=2, detune_cents=1,
        noise=Noise(-30, 400, 3000, 0.025), reverb_db=-10,
    ),
    "timpani": Timbre(
        level_db=3, partials=((1, 0), (1.5, -5), (1.98, -9), (2.44, -14), (2.9, -18)),
        t60_seconds=1.0, t60_octave=0.4, damping=0.2, release_seconds=0.8,
        noise=Noise(-14, 60, 600, 0.08), reverb_db=-9,
    ),
    "choir": Timbre(
        level_db=-1, slope_db=-8.0, humps=_AH, top_hz=6000, bright_db=1.0, attack_seconds=0.1,
        release_seconds=0.35, vibrato_cents=12, vibrato_hz=4.9, voices=3, detune_cents=11,
        wide=True, noise=Noise(-34, 1500, 6000), reverb_db=-8,
    ),
    "trumpet": Timbre(
        slope_db=-4.5, humps=((1200, 0.9, 7),), top_hz=7500, bright_db=3.0, attack_seconds=0.025,
        attack_lag=0.1, release_seconds=0.09, vibrato_cents=8, noise=Noise(-40, 1500, 6000),
        reverb_db=-12,
    ),
    "low brass": Timbre(
        slope_db=-5.5, humps=((480, 0.9, 6),), top_hz=4500, bright_db=3.0, attack_seconds=0.04,
        attack_lag=0.08, release_seconds=0.12, vibrato_cents=4, noise=Noise(-40, 800, 4000),
        reverb_db=-11,
    ),
    "brass": Timbre(
        level_db=-1, slope_db=-5.5, humps=((900, 1.0, 6),), top_hz=6500, bright_db=2.5,
        attack_seconds=0.035, attack_lag=0.07, release_seconds=0.12, voices=3, detune_cents=7,
        wide=True, vibrato_cents=3, noise=Noise(-38, 1500, 6000), reverb_db=-12,
    ),
    "saxophone": Timbre(
        slope_db=-5.8, humps=((650, 0.6, 5), (1400, 0.5, 4), (3000, 0.5, 3)), top_hz=5500,
        bright_db=2.5, attack_seconds=0.03, attack_lag=0.05, release_seconds=0.1,
        vibrato_cents=14, vibrato_hz=5.0, noise=Noise(-32, 1500, 7000), reverb_db=-12,
    ),
    "double reed": Timbre(
        slope_db=-5.0, humps=((1050, 0.4, 8), (2900, 0.4, 5)), top_hz=7500, bright_db=1.5,
        attack_seconds=0.03, release_seconds=0.09, vibrato_cents=9, noise=Noise(-40, 1500, 6000),
        reverb_db=-11,
    ),
    "clarinet": Timbre(
        slope_db=-5.5, even_db=-22, top_hz=6500, bright_db=2.0, attack_seconds=0.03,
        attack_lag=0.04, release_seconds=0.09, vibrato_cents=3, noise=Noise(-38, 1500, 6000),
        reverb_db=-11,
    ),
    "flute": Timbre(
        partials=((1, 0), (2, -9), (3, -17), (4, -25), (5, -31), (6, -38)), bright_db=3.0,
        attack_seconds=0.045, release_seconds=0.12, vibrato_cents=9, tremolo_db=0.8,
        noise=Noise(-24, 1200, 7000), reverb_db=-10,
    ),
    "synth lead": Timbre(
        slope_db=-5.0, top_hz=6000, bright_db=1.5, attack_seconds=0.006, release_seconds=0.1,
        vibrato_cents=10, vibrato_delay_seconds=0.3, voices=3, detune_cents=7, wide=True,
        reverb_db=-13,
    ),
    "square lead": Timbre(
        slope_db=-6.0, even_db=-60, top_hz=6000, bright_db=1.5, attack_seconds=0.005,
        release_seconds=0.08, vibrato_cents=10, vibrato_delay_seconds=0.3, reverb_db=-13,
    ),
    "synth pad": Timbre(
        level_db=-2, slope_db=-7.0, top_hz=3500, bright_db=1.5, attack_seconds=0.12,
        attack_lag=0.03, release_seconds=0.6, voices=4, detune_cents=10, wide=True, reverb_db=-8,
    ),
    "plucked": Timbre(
        level_db=3, slope_db=-5.5, pluck=0.07, top_hz=7500, bright_db=2.0, t60_seconds=1.8,
        damping=0.15, release_seconds=0.2, humps=((500, 0.4, 4), (1600, 0.5, 4)),
        noise=Noise(-22, 1500, 6000, 0.02),
    ),
    "tuned drum": Timbre(
        level_db=6, partials=((1, 0), (1.59, -10), (2.14, -14), (2.65, -20)), t60_seconds=0.35,
        t60_octave=0.5, damping=0.6, release_seconds=0.3, noise=Noise(-8, 150, 2500, 0.05),
    ),
    "noise": Timbre(
        level_db=-11, partials=((1, 0), (2, -8)), attack_seconds=0.1, release_seconds=0.5,
        noise=Noise(6, 400, 8000), reverb_db=-9,
    ),
}  # fmt: skip

# The timbre of each run of General MIDI programs, by its first program (0-127).
_PROGRAMS: tuple[tuple[int, str], ...] = (
    (0, "piano"), (4, "electric piano"), (6, "harpsichord"), (7, "clavinet"), (8, "celesta"),
    (9, "glockenspiel"), (10, "celesta"), (11, "vibraphone"), (12, "marimba"), (13, "xylophone"),
    (14, "bells"), (15, "plucked"), (16, "organ"), (19, "church organ"), (20, "reed"),
    (21, "accordion"), (22, "reed"), (23, "accordion"), (24, "nylon guitar"),
    (25, "acoustic guitar"), (26, "electric guitar"), (28, "muted guitar"),
    (29, "overdriven guitar"), (30, "distorted guitar"), (31, "electric guitar"),
    (32, "acoustic bass"), (33, "finger bass"), (34, "bright bass"), (35, "finger bass"),
    (36, "bright bass"), (38, "synth bass"), (40, "violin"), (42, "cello"), (44, "strings"),
    (45, "pizzicato"), (46, "harp"), (47, "timpani"), (48, "strings"), (52, "choir"),
    (55, "brass"), (56, "trumpet"), (57, "low brass"), (59, "trumpet"), (60, "low brass"),
    (61, "brass"), (64, "saxophone"), (68, "double reed"), (71, "clarinet"), (72, "flute"),
    (80, "square lead"), (81, "synth lead"), (88, "synth pad"), (91, "choir"),
    (92, "synth pad"), (98, "bells"), (99, "synth pad"), (104, "plucked"), (108, "marimba"),
    (109, "reed"), (110, "violin"), (111, "double reed"), (112, "bells"), (115, "tuned drum"),
    (119, "noise"),
)  # fmt: skip

# The timbres an instrument of `controls.INSTRUMENTS` may have; the first unless the program says.
INSTRUMENT_TIMBRES: dict[str, tuple[str, ...]] = {
    "piano": ("piano", "harpsichord"),
    "electric piano": ("electric piano", "clavinet"),
    "organ": ("organ", "church organ", "reed"),
    "acoustic guitar": ("acoustic guitar", "nylon guitar"),
    "electric guitar": ("electric guitar", "muted guitar"),
    "distorted guitar": ("distorted guitar", "overdriven guitar"),
    "bass": ("finger bass", "acoustic bass", "bright bass", "synth bass"),
    "strings": ("strings", "pizzicato"),
    "violin": ("violin",),
    "cello": ("cello",),
    "choir": ("choir",),
    "brass": ("brass", "low brass"),
    "trumpet": ("trumpet",),
    "saxophone": ("saxophone",),
    "flute": ("flute",),
    "clarinet": ("clarinet",),
    "synth lead": ("synth lead", "square lead"),
    "synth pad": ("synth pad",),
    "mallets": ("vibraphone", "marimba", "xylophone", "glockenspiel", "celesta"),
    "harp": ("harp",),
    "accordion": ("accordion",),
}


def timbre_name(track: Track) -> str:
    """The timbre that plays a pitched track: by its instrument where that is known, else program.

    A program that contradicts a known instrument (a MIDI default of 0, say) is not followed.
    """
    of_program = next(name for first, name in reversed(_PROGRAMS) if first <= track.program)
    allowed = INSTRUMENT_TIMBRES.get(track.instrument, ())
    return of_program if not allowed or of_program in allowed else allowed[0]
