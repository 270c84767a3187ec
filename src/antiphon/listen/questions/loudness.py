"""Answers about the level: loudness, peaks, clipping, its course and its silences."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from antiphon.facts import Facts
from antiphon.listen import observations
from antiphon.listen.phrases import clock, counted, decimal
from antiphon.listen.questions.grammar import Ask
from antiphon.listen.questions.measured import not_measured
from antiphon.listen.questions.places import Stretch, level_db
from antiphon.listen.wording import LOUDNESS_WORDS, RANGE_WORDS, word_for

_SILENT_STEP_DB = -60.0
_SILENT_SHARE = 0.005


def loudness(ask: Ask, facts: Facts, stretches: tuple[Stretch, ...] = ()) -> str:
    found = facts.loudness
    if ask.aspect in _LEVELS:
        return _LEVELS[ask.aspect](facts)
    if ask.aspect == "peak":
        if found.true_peak_dbtp is None:
            return not_measured("true peak", found.reason)
        return f"The true peak is {decimal(found.true_peak_dbtp)} dBTP."
    if ask.aspect == "range":
        if found.range_lu is None:
            return not_measured("loudness range", found.reason)
        word = word_for(found.range_lu, RANGE_WORDS)
        return f"The loudness range is {decimal(found.range_lu)} LU, which is {word}."
    if stretches:
        return " ".join(_level_in(stretch, facts) for stretch in stretches)
    if found.integrated_lufs is None:
        return not_measured("loudness", found.reason)
    word = word_for(found.integrated_lufs, LOUDNESS_WORDS)
    text = f"It is {word}: {decimal(found.integrated_lufs)} LUFS"
    if found.true_peak_dbtp is not None:
        text += f", with a true peak of {decimal(found.true_peak_dbtp)} dBTP"
    return f"{text}."


def _level_in(stretch: Stretch, facts: Facts) -> str:
    level = level_db(stretch, facts)
    if level is None:
        return f"The level could not be measured for {stretch.name}."
    where = f"At {clock(stretch.start_seconds)}" if stretch.is_moment else f"In {stretch.name}"
    return f"{where} the level is {decimal(level)} dB full scale."


def _clipping(facts: Facts) -> str:
    samples = facts.clipping.samples
    if samples == 0:
        return "No clipping was found: no samples stand in runs at full scale."
    return f"Yes, it clips: {counted(samples, 'sample')} in runs at full scale."


def _loudest(facts: Facts) -> str:
    if not facts.dynamics.level_db:
        return not_measured("course of the level", facts.loudness.reason)
    levels = facts.dynamics.level_db
    if observations.loudest_seconds(facts.dynamics) is None:
        return f"No passage stands out; the loudest moment is at {_moment(facts, max(levels))}."
    around = clock(observations.loudest_seconds(facts.dynamics) or 0.0)
    return f"It is loudest around {around}; the single loudest moment is at " + (
        f"{_moment(facts, max(levels))}."
    )


def _quietest(facts: Facts) -> str:
    sounding = [level for level in facts.dynamics.level_db if level > _SILENT_STEP_DB]
    if not sounding:
        return not_measured("course of the level", facts.loudness.reason)
    text = f"The quietest moment that is not silent is at {_moment(facts, min(sounding))}."
    return text


def _moment(facts: Facts, level: float) -> str:
    at = facts.dynamics.level_db.index(level) * facts.dynamics.step_seconds
    return f"{clock(at)} ({decimal(level)} dB full scale)"


def _course(facts: Facts) -> str:
    if not facts.dynamics.level_db:
        return not_measured("course of the level", facts.loudness.reason)
    texts = {
        "rising": "It grows louder towards the end.",
        "falling": "It grows quieter towards the end.",
        "swelling": "It is loudest in the middle.",
        "dipping": "It is quieter in the middle than around it.",
        "steady": "Its level stays even from beginning to end.",
        None: "Its level follows no simple course.",
    }
    text = texts[observations.course_of_level(facts.dynamics)]
    fades = observations.fades_out(facts.dynamics)
    return f"{text} It {'fades out' if fades else 'does not fade out'} at the end."


_LEVELS: Mapping[str, Callable[[Facts], str]] = {
    "clipping": _clipping,
    "loudest": _loudest,
    "quietest": _quietest,
    "course": _course,
}


def silence(ask: Ask, facts: Facts) -> str:
    share = facts.silence.share
    if share is None:
        return not_measured("silence", facts.silence.reason)
    if share < _SILENT_SHARE:
        return "There is no silence to speak of."
    return f"It is silent for {100 * share:.0f}% of the time."
