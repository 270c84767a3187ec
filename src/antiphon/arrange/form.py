"""The form: how many bars at which tempo, and the sections that fill them."""

from __future__ import annotations

from random import Random

from antiphon.arrange.styles import Style
from antiphon.controls import MAX_BARS, MAX_TEMPO_BPM, MIN_TEMPO_BPM, Controls, SectionPlan
from antiphon.errors import ConfigError

DEFAULT_SECONDS = 60.0
DEFAULT_BARS = (24, 40)
PHRASE_BARS = 4
_FRAME_CHANCE = 0.7  # of an intro, and of an ending, where there is room and nothing was said
_ROOMY_BARS = 20


def make_form(
    style: Style, controls: Controls, tempo_bpm: float, beats_per_bar: int, rng: Random
) -> tuple[tuple[SectionPlan, ...], float]:
    """The sections, and the tempo at which they last as long as was asked.

    Sections and bars that were asked for are kept. With a duration and a tempo, the last bar line
    falls within half a bar of the duration. With a duration alone, the tempo is moved so that the
    bar line falls on it exactly (by less than 7 % once there are eight bars), and groups of four
    bars are preferred.

    Raises ConfigError when the bars do not suffice for the intro and ending asked for, or when
    there would be more than MAX_BARS.
    """
    if controls.sections:
        sections = _with_flags(controls)
    else:
        bars, tempo_bpm = _count_bars(controls, tempo_bpm, beats_per_bar)
        sections = _fill(style, controls, bars, rng)
    total = sum(section.bars for section in sections)
    if total > MAX_BARS:
        raise ConfigError(
            f"the piece would have {total} bars; expected {MAX_BARS} at most: "
            "ask for a shorter duration, fewer bars or a slower tempo"
        )
    return sections, tempo_bpm


def _with_flags(controls: Controls) -> tuple[SectionPlan, ...]:
    sections = controls.sections
    if controls.intro and sections[0].label != "intro":
        sections = (SectionPlan("intro", PHRASE_BARS), *sections)
    if controls.ending and sections[-1].label != "ending":
        sections = (*sections, SectionPlan("ending", PHRASE_BARS))
    return sections


def _count_bars(controls: Controls, tempo_bpm: float, beats_per_bar: int) -> tuple[int, float]:
    if controls.bars is not None:
        return controls.bars, tempo_bpm
    seconds = controls.duration_seconds
    exact = (seconds or DEFAULT_SECONDS) * tempo_bpm / 60 / beats_per_bar
    if seconds is None:
        low, high = DEFAULT_BARS
        return min(max(PHRASE_BARS * round(exact / PHRASE_BARS), low), high), tempo_bpm
    if controls.tempo_bpm is not None:
        return max(round(exact), 1), tempo_bpm
    exact = min(exact, MAX_BARS)
    tempo_per_bar = 60 * beats_per_bar / seconds
    candidates = [
        bars
        for bars in range(max(int(exact) - 3, 1), min(int(exact) + 5, MAX_BARS) + 1)
        if MIN_TEMPO_BPM <= bars * tempo_per_bar <= MAX_TEMPO_BPM
    ]

    def cost(bars: int) -> float:
        return abs(bars / exact - 1) + 0.02 * ((bars % 2 > 0) + (bars % PHRASE_BARS > 0))

    bars = min(candidates, key=cost)
    return bars, bars * tempo_per_bar


def _fill(style: Style, controls: Controls, bars: int, rng: Random) -> tuple[SectionPlan, ...]:
    """A form of the style in `bars` bars, with an intro and an ending if asked or if there is
    room. Where no length was asked, the sections in between get their full length."""
    is_free = controls.bars is None and controls.duration_seconds is None
    roomy = controls.bars is None and bars >= _ROOMY_BARS
    intro_drawn, ending_drawn = rng.random() < _FRAME_CHANCE, rng.random() < _FRAME_CHANCE
    has_intro = controls.intro or (roomy and intro_drawn)
    has_ending = controls.ending or (roomy and ending_drawn)
    frames = has_intro + has_ending
    if bars < frames:
        raise ConfigError(
            f"{bars} bar is too short for an intro and an ending; ask for two or more"
        )
    frame_bars = PHRASE_BARS if bars >= 16 else 2 if bars >= 6 else 1
    body = bars - frames * frame_bars
    if is_free:
        body = max(round(body / style.section_bars), 2) * style.section_bars
    labels = rng.choice(style.forms).split()
    return (
        *([SectionPlan("intro", frame_bars)] if has_intro else []),
        *(
            SectionPlan(labels[place % len(labels)], length)
            for place, length in enumerate(section_lengths(body, style.section_bars))
        ),
        *([SectionPlan("ending", frame_bars)] if has_ending else []),
    )


def section_lengths(bars: int, usual: int) -> list[int]:
    """Split `bars` into lengths near `usual`, in whole phrases of four bars where that works out.

    Half of it where there is no room for two, the double of it in very long pieces.
    """
    if not bars:
        return []
    unit = usual
    if bars < 2 * usual and usual == 2 * PHRASE_BARS:
        unit = PHRASE_BARS
    elif bars > 16 * usual:
        unit = 2 * usual
    count = max(round(bars / unit), 1)
    lengths = [unit] * count
    spare = bars - unit * count
    # Whole phrases go to (or come from) the sections at the end, odd bars to the last one.
    place = count - 1
    while abs(spare) >= PHRASE_BARS and lengths[place] + spare // abs(spare) * PHRASE_BARS > 0:
        change = PHRASE_BARS if spare > 0 else -PHRASE_BARS
        lengths[place] += change
        spare -= change
        place = place - 1 if place else count - 1
    lengths[-1] += spare
    return lengths
