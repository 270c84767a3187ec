"""Facts and descriptions as text for people."""

from __future__ import annotations

import statistics
import textwrap
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from antiphon.description import Description, Heard, Presence, Sounding, Tag
    from antiphon.facts import Facts, Pitch, Spans

_LABEL_WIDTH = 12
_TEXT_WIDTH = 96
_SHOWN_SPANS = 8


def description_lines(description: Description) -> list[str]:
    """The facts, what was heard, then each text under its kind."""
    lines = [*facts_lines(description.facts), *heard_lines(description.heard)]
    for kind, text in description.texts.items():
        lines += ["", f"  {kind}"]
        lines += textwrap.wrap(text, _TEXT_WIDTH, initial_indent=" " * 4, subsequent_indent=" " * 4)
    return lines


def facts_lines(facts: Facts) -> list[str]:
    """A line per fact: the value with its unit and confidence, or why there is none."""
    rows = [(label, describe(facts)) for label, describe in _ROWS.items()]
    if facts.pitch is not None:
        rows.append(("pitch", _pitch(facts.pitch)))
    if facts.clipping.samples:
        rows.append(("clipping", f"{facts.clipping.samples:,} samples at full scale"))
    rows += [("damage", problem) for problem in facts.damage.problems]
    return _rows(rows)


def heard_lines(heard: Heard | None) -> list[str]:
    """A line for each thing that a trained listener tells, with its confidence."""
    if heard is None:
        return []
    if heard.music is not None and not heard.music.present:
        return _rows([("heard", f"not music (confidence {heard.music.confidence:.2f})")])
    rows = [
        (label, _tags(tags))
        for label, tags in (
            ("genre", heard.genre),
            ("instruments", heard.instruments),
            ("mood", heard.moods),
        )
        if tags
    ]
    if heard.drums is not None:
        rows.append(("drums", _present(heard.drums)))
    if heard.energy is not None and heard.energy_confidence is not None:
        rows.append(("energy", f"{heard.energy} {heard.energy_confidence:.2f}"))
    if heard.dance is not None:
        rows.append(("to dance", _present(heard.dance)))
    return _rows(rows)


def _tags(tags: Sequence[Tag | Sounding]) -> str:
    return ", ".join(f"{tag.name} {tag.confidence:.2f}" for tag in tags)


def _present(presence: Presence) -> str:
    return f"{'yes' if presence.present else 'no'} {presence.confidence:.2f}"


def _rows(rows: Sequence[tuple[str, str]]) -> list[str]:
    return [f"  {label:<{_LABEL_WIDTH}}{text}" for label, text in rows]


def clock(seconds: float) -> str:
    """3:07.5 for 187.5 seconds."""
    minutes, rest = divmod(round(seconds * 10), 600)
    return f"{minutes}:{rest // 10:02}.{rest % 10}"


def _length(facts: Facts) -> str:
    channels = {1: "mono", 2: "stereo"}.get(facts.channels, f"{facts.channels} channels")
    return f"{clock(facts.duration_seconds)} ({facts.sample_rate:,} Hz, {channels})"


def _tempo(facts: Facts) -> str:
    tempo = facts.tempo
    value = None if tempo.bpm is None else f"{tempo.bpm:.1f} BPM"
    others = " or ".join(f"{other.bpm:.1f}" for other in tempo.alternatives)
    return _known(value, tempo.confidence, tempo.reason, f"also {others}" if others else None)


def _metre(facts: Facts) -> str:
    metre = facts.metre
    value = None if metre.beats_per_bar is None else f"{metre.beats_per_bar} beats per bar"
    return _known(value, metre.confidence, metre.reason)


def _key(facts: Facts) -> str:
    key = facts.key
    return _known(
        key.name, key.confidence, key.reason, f"else {key.runner_up}" if key.runner_up else None
    )


def _tuning(facts: Facts) -> str:
    tuning = facts.tuning
    value = None if tuning.cents is None else f"{round(tuning.cents):+d} cents against A = 440 Hz"
    return _known(value, tuning.confidence, tuning.reason)


def _chords(facts: Facts) -> str:
    return _spans(facts.chords, with_times=False)


def _sections(facts: Facts) -> str:
    return _spans(facts.sections, with_times=True)


def _loudness(facts: Facts) -> str:
    loudness = facts.loudness
    parts = [
        f"{value:.1f} {unit}"
        for value, unit in (
            (loudness.integrated_lufs, "LUFS"),
            (loudness.true_peak_dbtp, "dBTP true peak"),
            (loudness.range_lu, "LU range"),
        )
        if value is not None
    ]
    if not parts:
        return _not_measured(loudness.reason)
    return ", ".join(parts) + (f" (not all: {loudness.reason})" if loudness.reason else "")


def _timbre(facts: Facts) -> str:
    timbre = facts.timbre
    if timbre.brightness_hz is None or timbre.percussive_share is None:
        return _not_measured(timbre.reason)
    return f"brightness {timbre.brightness_hz:,.0f} Hz, {timbre.percussive_share:.0%} percussive"


def _silence(facts: Facts) -> str:
    share = facts.silence.share
    return _not_measured(facts.silence.reason) if share is None else f"{share:.0%} of the time"


_ROWS: dict[str, Callable[[Facts], str]] = {
    "length": _length,
    "tempo": _tempo,
    "metre": _metre,
    "key": _key,
    "tuning": _tuning,
    "chords": _chords,
    "sections": _sections,
    "loudness": _loudness,
    "timbre": _timbre,
    "silence": _silence,
}


def _pitch(pitch: Pitch) -> str:
    voiced = [hz for hz in pitch.hz if hz is not None]
    if not voiced:
        return _not_measured(pitch.reason)
    value = f"{min(voiced):.0f} to {max(voiced):.0f} Hz, median {statistics.median(voiced):.0f} Hz"
    return _known(value, pitch.confidence, pitch.reason)


def _spans(spans: Spans, *, with_times: bool) -> str:
    if spans.spans is None:
        return _not_measured(spans.reason)
    shown = [
        f"{span.label} {clock(span.start_seconds)}" if with_times else span.label
        for span in spans.spans[:_SHOWN_SPANS]
    ]
    more = len(spans.spans) - len(shown)
    return _known(
        "  ".join(shown) + (f"  … {more} more" if more else ""), spans.confidence, spans.reason
    )


def _known(
    value: str | None, confidence: float, reason: str | None, beside: str | None = None
) -> str:
    if value is None:
        return _not_measured(reason)
    notes = [f"confidence {confidence:.2f}", beside, reason]
    return f"{value} ({'; '.join(note for note in notes if note)})"


def _not_measured(reason: str | None) -> str:
    return f"not measurable: {reason}"


def plain(value: object) -> str:
    """A value that was asked for or measured, for people."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "nothing"}[value]
    return f"{value:.1f}" if isinstance(value, float) else str(value)
