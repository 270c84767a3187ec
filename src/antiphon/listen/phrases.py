"""Facts into phrases: numbers rounded, certainty put into words, what is missing named with its
reason. Knows no sentence.

A phrase exists only where its fact was measured and is certain enough, so a sentence that needs a
phrase cannot say what was not measured.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from antiphon.exports import normalise_for_t5
from antiphon.facts import Facts, KeyEstimate, Loudness, Metre, Spans, Tempo, Timbre, Tuning
from antiphon.listen import observations
from antiphon.listen.wording import (
    BRIGHTNESS_WORDS,
    LOUDNESS_WORDS,
    NUMBER_WORDS,
    PACE_WORDS,
    PERCUSSIVE_WORDS,
    RANGE_WORDS,
    RELATION_WORDS,
    word_for,
)

# From here on a value is stated as it is; from FAIR on with a hedge; below, both readings or none.
SURE = 0.6
FAIR = 0.3
ALTERNATIVE_SHARE = 0.5  # of the confidence of the main reading, for the other to be mentioned
NOTABLE_CENTS = 10.0
_NOTABLE_SILENCE = 0.1
_ALL_SILENT = 0.99
_LOST_SHARE = 0.02
CHORD_SHARE = 0.08  # a chord heard for less of the time is left out
_MOST_CHORDS = 4
_ONECHORD_SHARE = 0.9
_MAX_LETTERS = 12
_MAX_TIMELINE = 8
_MAX_LABEL_CHARACTERS = 24
_MAX_LABEL_WORDS = 3
_MAX_REASON_CHARACTERS = 100
UNNAMED = "unnamed section"
_MENTIONED_BPM = (30.0, 260.0)  # nobody counts a pulse outside


@dataclass(frozen=True)
class Part:
    """A section as it is named in a text; `again` if an earlier one has the same label."""

    label: str
    time: str
    again: bool
    repeats: bool  # the one right before it has the same label


@dataclass(frozen=True)
class Gap:
    """Something that was not measured, and why if that is known."""

    name: str
    reason: str | None


@dataclass
class Phrases:
    """Everything that can be said about some facts, by slot name, and what cannot."""

    slots: dict[str, str] = field(default_factory=dict)
    parts: list[Part] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    unsure: list[str] = field(default_factory=list)
    energy: observations.Energy | None = None
    course: observations.Course | None = None
    fades_out: bool = False
    key_is_sure: bool = False
    damaged: bool = False
    silent: bool = False

    def has(self, *names: str) -> bool:
        return all(name in self.slots for name in names)


def phrases_for(facts: Facts, *, musical: bool = True) -> Phrases:
    """Collect what the facts allow to be said; only of the sound where it is not `musical`."""
    found = Phrases()
    found.slots.update(_length(facts.duration_seconds))
    if musical:
        _add_tempo(found, facts.tempo)
        _add_metre(found, facts.metre)
        _add_key(found, facts.key)
        _add_chords(found, facts.chords)
        _add_sections(found, facts.sections)
        _add_tuning(found, facts.tuning)
        tempo_is_sure = facts.tempo.confidence >= SURE
        found.energy = observations.energy(facts, tempo_is_sure=tempo_is_sure)
    _add_loudness(found, facts.loudness)
    _add_timbre(found, facts.timbre)
    _add_condition(found, facts)
    if not found.silent and facts.dynamics.level_db:
        found.course = observations.course_of_level(facts.dynamics)
        found.fades_out = observations.fades_out(facts.dynamics)
        loudest = observations.loudest_seconds(facts.dynamics)
        if loudest is not None:
            found.slots["loudest"] = clock(loudest)
    return found


def clock(seconds: float) -> str:
    """`0:04`, `3:12`, `1:02:05`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def listed(items: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)


def counted(number: int, noun: str) -> str:
    """`one beat`, `four beats`, `1,204 samples`."""
    text = NUMBER_WORDS[number] if number < len(NUMBER_WORDS) else f"{number:,}"
    return f"{text} {noun}" + ("" if number == 1 else "s")


def decimal(value: float) -> str:
    return f"{round(value, 1) + 0.0:.1f}"  # + 0.0 makes 0.0 of -0.0


def _length(seconds: float) -> dict[str, str]:
    """As a noun (`3:12`, `30 seconds`) and before one (`30-second`)."""
    if round(seconds) >= 60:
        return {"length": clock(seconds), "length_adjective": clock(seconds)}
    if seconds < 0.1:
        number, unit = f"{seconds * 1000:.0f}", "millisecond"
    elif round(seconds, 1) < 10 and not round(seconds, 1).is_integer():
        number, unit = decimal(seconds), "second"
    else:
        number, unit = f"{seconds:.0f}", "second"
    plural = unit if number == "1" else f"{unit}s"
    return {"length": f"{number} {plural}", "length_adjective": f"{number}-{unit}"}


def _add_tempo(found: Phrases, tempo: Tempo) -> None:
    if tempo.bpm is None:
        found.gaps.append(Gap("tempo", _reason(tempo.reason)))
        return
    bpm = round(tempo.bpm)
    others = [option for option in tempo.alternatives if round(option.bpm) != bpm]
    other = max(others, key=lambda option: option.confidence, default=None)
    slots = found.slots
    if tempo.confidence >= SURE:
        slots["tempo"] = slots["tempo_note"] = f"{bpm} BPM"
        slots["paced_tempo"] = f"a {word_for(tempo.bpm, PACE_WORDS)} {bpm} BPM"
    elif tempo.confidence >= FAIR:
        slots["tempo"] = slots["tempo_note"] = f"about {bpm} BPM"
    elif other is not None:
        slower, faster = sorted((bpm, round(other.bpm)))
        slots["tempo"] = f"either {slower} or {faster} BPM"
        slots["tempo_note"] = f"{slower} or {faster} BPM"
    else:
        found.unsure.append("tempo")
    if (
        tempo.confidence >= FAIR
        and other is not None
        and other.confidence >= ALTERNATIVE_SHARE * tempo.confidence
        and _MENTIONED_BPM[0] <= other.bpm <= _MENTIONED_BPM[1]
    ):
        slots["other_tempo"] = f"{round(other.bpm)} BPM"
        for ratio, words in RELATION_WORDS.items():
            if abs(other.bpm / tempo.bpm - ratio) < 0.02 * ratio:
                slots["relation"] = words


def _add_metre(found: Phrases, metre: Metre) -> None:
    if metre.beats_per_bar is None:
        found.gaps.append(Gap("metre", _reason(metre.reason)))
    elif metre.confidence < FAIR:
        found.unsure.append("metre")
    else:
        beats = f"{counted(metre.beats_per_bar, 'beat')} to the bar"
        sure = metre.confidence >= SURE
        found.slots["metre"] = beats if sure else f"what seems to be {beats}"
        found.slots["metre_note"] = beats if sure else f"probably {beats}"


def _add_key(found: Phrases, key: KeyEstimate) -> None:
    if key.name is None:
        found.gaps.append(Gap("key", _reason(key.reason)))
        return
    mode = key.name.split()[-1]
    if key.confidence >= SURE:
        found.key_is_sure = True
        found.slots.update(key=key.name, in_key=f"in {key.name}", mode=f"{mode}-mode")
    elif key.confidence >= FAIR:
        found.slots.update(
            key=f"probably {key.name}",
            in_key=f"probably in {key.name}",
            mode=f"probably {mode}-mode",
        )
    elif key.runner_up is not None:
        both = f"{key.name} or {key.runner_up}"
        found.slots.update(key=both, in_key=f"in either {both}")
    else:
        found.unsure.append("key")


def _add_chords(found: Phrases, chords: Spans) -> None:
    uses = observations.chord_uses(chords.spans or ())
    if not uses:
        found.gaps.append(Gap("chords", _reason(chords.reason)))
        return
    if chords.confidence < FAIR:
        found.unsure.append("chords")
        return
    progression = observations.recurring_progression(chords.spans or ())
    often = [use.symbol for use in uses[:_MOST_CHORDS] if use.share >= CHORD_SHARE]
    hedge = "" if chords.confidence >= SURE else "likely_"
    if progression is not None:
        found.slots[f"{hedge}loop"] = "-".join(progression)
    elif uses[0].share >= _ONECHORD_SHARE:
        found.slots[f"{hedge}one_chord"] = uses[0].symbol
    elif often:
        found.slots[f"{hedge}chords"] = listed(often)


def _add_sections(found: Phrases, sections: Spans) -> None:
    if not sections.spans:
        found.gaps.append(Gap("sections", _reason(sections.reason)))
        return
    if sections.confidence < FAIR:
        found.unsure.append("sections")
        return
    spans = sections.spans
    if len({span.label for span in spans}) == 1:  # "A-A" tells nothing that "one part" does not
        spans = (replace(spans[0], end_seconds=spans[-1].end_seconds),)
    labels = [label_of(span.label) for span in spans]
    times = [clock(span.start_seconds) for span in spans]
    found.parts.extend(
        Part(label, time, label in labels[:at], labels[at - 1 : at] == [label])
        for at, (label, time) in enumerate(zip(labels, times, strict=True))
    )
    count = len(labels)
    if count == 1:
        found.slots["one_section"] = clock(spans[0].end_seconds)
        return
    distinct = list(dict.fromkeys(labels))
    found.slots["section_count"] = counted(count, "section")
    found.slots["label_count"] = counted(len(distinct), "label")
    found.slots["first_change"] = times[1]
    if count > 2:
        found.slots["last_change"] = times[-1]
    if all(len(label) == 1 for label in labels) and count <= _MAX_LETTERS:
        found.slots["form"] = "-".join(labels)
    if count <= _MAX_TIMELINE:
        pairs = list(zip(labels, times, strict=True))
        found.slots["changes"] = listed(times[1:])
        found.slots["timeline"] = listed([f"{label} ({time})" for label, time in pairs])
        found.slots["timeline_note"] = ", ".join(f"{label} {time}" for label, time in pairs)
    if sections.confidence < SURE:
        found.slots["rough_sections"] = "approximate"


def _add_tuning(found: Phrases, tuning: Tuning) -> None:
    if tuning.cents is None:
        found.gaps.append(Gap("tuning", _reason(tuning.reason)))
    elif abs(tuning.cents) >= NOTABLE_CENTS and tuning.confidence >= FAIR:
        cents = f"{abs(tuning.cents):.0f} cents"
        found.slots["tuning"] = f"{cents} {'above' if tuning.cents > 0 else 'below'}"
        found.slots["tuning_note"] = f"{cents} {'sharp' if tuning.cents > 0 else 'flat'}"


def _add_loudness(found: Phrases, loudness: Loudness) -> None:
    slots = found.slots
    if loudness.integrated_lufs is None:
        found.gaps.append(Gap("loudness", _reason(loudness.reason)))
    else:
        slots["loudness"] = f"{decimal(loudness.integrated_lufs)} LUFS"
        slots["loudness_word"] = word_for(loudness.integrated_lufs, LOUDNESS_WORDS)
    if loudness.true_peak_dbtp is not None:
        slots["peak"] = f"{decimal(loudness.true_peak_dbtp)} dBTP"
    if loudness.range_lu is not None:
        slots["range"] = f"{decimal(loudness.range_lu)} LU"
        slots["range_word"] = word_for(loudness.range_lu, RANGE_WORDS)


def _add_timbre(found: Phrases, timbre: Timbre) -> None:
    hertz, share = timbre.brightness_hz, timbre.percussive_share
    if hertz is None or share is None:
        both = hertz is None and share is None
        name = "timbre" if both else "brightness" if hertz is None else "percussive share"
        found.gaps.append(Gap(name, _reason(timbre.reason)))
    if hertz is not None:
        kilohertz = f"{hertz / 1000:.1f} kHz"
        found.slots["brightness"] = kilohertz if hertz >= 1000 else f"{hertz:.0f} Hz"
        found.slots["tone"] = word_for(hertz, BRIGHTNESS_WORDS)
    if share is not None:
        found.slots["percussive"] = f"{100 * share:.0f}%"
        found.slots["attack"] = word_for(share, PERCUSSIVE_WORDS)


def _add_condition(found: Phrases, facts: Facts) -> None:
    """Silence, clipping and damage."""
    silence = facts.silence.share or 0.0
    found.silent = silence >= _ALL_SILENT
    if silence >= _NOTABLE_SILENCE:
        found.slots["silence"] = f"{100 * silence:.0f}%"
    if facts.clipping.samples > 0:
        found.slots["clipped"] = counted(facts.clipping.samples, "sample")
    declared, decoded = facts.damage.declared_seconds, facts.damage.decoded_seconds
    if declared is not None and decoded < (1 - _LOST_SHARE) * declared:
        found.slots["decoded"] = _length(decoded)["length"]
        found.slots["declared"] = _length(declared)["length"]
    found.damaged = bool(facts.damage.problems)


def label_of(text: str) -> str:
    """A section label as one short phrase; what is too long for that is not quoted."""
    label = " ".join(normalise_for_t5(text).split()).strip(" .,;:()")
    too_long = len(label) > _MAX_LABEL_CHARACTERS or len(label.split()) > _MAX_LABEL_WORDS
    return UNNAMED if too_long or not label.isprintable() or not label else label


def _reason(text: str | None) -> str | None:
    """A reason as the end of a sentence of ours; what follows its first clause is detail."""
    if text is None:
        return None
    clause = re.split(r"[:;.] ", " ".join(normalise_for_t5(text).split()))[0].strip(" .;:")
    if not clause or len(clause) > _MAX_REASON_CHARACTERS or not clause.isprintable():
        return None
    return _uncapitalised(clause)


def _uncapitalised(text: str) -> str:
    is_name = text[1:2].isupper() or text[1:2].isdigit()  # BPM, A4
    return text if is_name else text[:1].lower() + text[1:]
