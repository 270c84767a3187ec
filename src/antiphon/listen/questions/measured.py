"""Answers from the measured facts alone, as sure as those are. Knows no question's wording."""

from __future__ import annotations

from antiphon.errors import ConfigError
from antiphon.facts import Facts
from antiphon.listen import observations
from antiphon.listen.phrases import (
    ALTERNATIVE_SHARE,
    CHORD_SHARE,
    FAIR,
    NOTABLE_CENTS,
    SURE,
    clock,
    counted,
    decimal,
    listed,
)
from antiphon.listen.questions.grammar import Ask
from antiphon.listen.questions.places import Stretch
from antiphon.listen.wording import (
    BRIGHTNESS_WORDS,
    PACE_WORDS,
    PERCUSSIVE_WORDS,
    RELATION_WORDS,
    word_for,
)
from antiphon.listen.writer import capitalised
from antiphon.notation import MAJOR_SCALE, MINOR_SCALE, Key

_MOST_LISTED = 12
_MOST_CHORDS = 6
_A432_CENTS = -31.8  # A = 432 Hz against 440


def not_measured(what: str, reason: str | None) -> str:
    why = "" if not reason else f": {reason.strip().rstrip('.')}"
    return f"The {what} could not be measured{why}."


def agreed(confidence: float, true: bool) -> str:
    """The beginning of an answer to a yes-or-no question."""
    if confidence >= SURE:
        return "Yes" if true else "No"
    return "Probably" if true else "Probably not"


def hedge(confidence: float) -> str:
    return "" if confidence >= SURE else "probably "


def key(ask: Ask, facts: Facts) -> str:
    found = facts.key
    if found.name is None:
        return not_measured("key", found.reason)
    if ask.why:
        return _why("key", found.name, found.confidence, found.runner_up)
    if found.confidence < FAIR:
        if found.runner_up is None:
            return "The key is too uncertain to state."
        return f"The key is uncertain: {found.name} or {found.runner_up}."
    sure = hedge(found.confidence)
    named = Key.parse(found.name)
    if ask.aspect == "relative":
        other = (
            Key((named.tonic + 9) % 12, "minor")
            if named.mode == "major"
            else Key((named.tonic + 3) % 12, "major")
        )
        return f"The key is {sure}{found.name}; its relative {other.mode} is {other.name}."
    if ask.aspect == "scale":
        kind = "natural minor scale" if named.mode == "minor" else "major scale"
        notes = ", ".join(_spelled(found.name))
        return f"The key is {sure}{found.name}; the notes of its {kind} are {notes}."
    if ask.aspect == "change":
        return (
            f"One key is measured for the whole recording, {sure}{found.name}; changes of key "
            "within it are not followed."
        )
    if ask.aspect == "mode":
        return f"It is {sure}{named.mode}: the key is {found.name}."
    if ask.aspect == "named":
        same = any(_same_key(name, named) for name in ask.names)
        return f"{agreed(found.confidence, same)}: it is {sure}in {found.name}."
    text = f"It is {sure}in {found.name}."
    if found.confidence < SURE and found.runner_up is not None:
        text += f" The next best reading is {found.runner_up}."
    return text


def _same_key(text: str, key: Key) -> bool:
    try:
        return Key.parse(text) == key
    except ConfigError:
        return False


def _spelled(name: str) -> list[str]:
    """The notes of a key, each letter once: `F#`, `G#`, `A`, ..."""
    tonic, _, mode = name.partition(" ")
    letters, naturals = "CDEFGAB", (0, 2, 4, 5, 7, 9, 11)
    start = letters.index(tonic[0])
    root = naturals[start] + tonic.count("#") - tonic.count("b")
    notes = []
    for step, interval in enumerate(MINOR_SCALE if mode == "minor" else MAJOR_SCALE):
        letter = letters[(start + step) % 7]
        natural = naturals[(start + step) % 7]
        shift = (root + interval - natural + 6) % 12 - 6
        notes.append(letter + ("#" * shift if shift > 0 else "b" * -shift))
    return notes


def tempo(ask: Ask, facts: Facts) -> str:
    found = facts.tempo
    if found.bpm is None:
        return not_measured("tempo", found.reason)
    bpm = round(found.bpm)
    others = sorted(
        (o for o in found.alternatives if round(o.bpm) != bpm), key=lambda o: -o.confidence
    )
    if ask.why:
        other = f"{round(others[0].bpm)} BPM" if others else None
        return _why("tempo", f"{bpm} BPM", found.confidence, other)
    if found.confidence < FAIR:
        if not others:
            return "The tempo is too uncertain to state."
        slower, faster = sorted((bpm, round(others[0].bpm)))
        return f"The tempo is uncertain: {slower} or {faster} BPM."
    about = "" if found.confidence >= SURE else "about "
    readings = [
        _reading(other.bpm / found.bpm, round(other.bpm))
        for other in others
        if ask.aspect == "double" or other.confidence >= ALTERNATIVE_SHARE * found.confidence
    ]
    also = f" It can also be counted {listed(readings)}." if readings else ""
    if ask.aspect == "double" and not readings:
        return f"The tempo is {about}{bpm} BPM; no other way of counting it was found."
    if ask.aspect == "change":
        return (
            f"One tempo is measured for the whole recording, {about}{bpm} BPM; changes within it "
            "are not followed."
        )
    pace = word_for(found.bpm, PACE_WORDS)
    if ask.aspect == "pace":
        return f"Its tempo is {pace}: {about}{bpm} BPM.{also}"
    if ask.names:
        same = str(bpm) in ask.names
        return f"{agreed(found.confidence, same)}: the tempo is {about}{bpm} BPM.{also}"
    return f"The tempo is {about}{bpm} BPM, which is {pace}.{also}"


def _reading(ratio: float, bpm: int) -> str:
    for known, words in RELATION_WORDS.items():
        if abs(ratio - known) < 0.02 * known:
            return f"in {words}, at {bpm} BPM"
    return f"at {bpm} BPM"


def metre(ask: Ask, facts: Facts) -> str:
    found = facts.metre
    if found.beats_per_bar is None:
        return not_measured("metre", found.reason)
    beats = f"{counted(found.beats_per_bar, 'beat')} to the bar"
    if ask.why:
        return _why("metre", beats, found.confidence, None)
    if found.confidence < FAIR:
        return "The metre is too uncertain to state."
    if ask.names:
        same = str(found.beats_per_bar) in ask.names
        return f"{agreed(found.confidence, same)}: it has {beats}."
    return f"It {'has' if found.confidence >= SURE else 'probably has'} {beats}."


def tuning(ask: Ask, facts: Facts) -> str:
    found = facts.tuning
    if found.cents is None:
        return not_measured("tuning", found.reason)
    cents = round(found.cents)
    if ask.why:
        return _why("tuning", f"{cents:+d} cents against A = 440 Hz", found.confidence, None)
    if found.confidence < FAIR:
        return "The tuning is too uncertain to state."
    sure = hedge(found.confidence)
    if abs(found.cents) < NOTABLE_CENTS:
        text = f"it is {sure}tuned to A = 440 Hz ({cents:+d} cents)"
        asked_432, at_432 = "432" in ask.names, False
    else:
        side = "above" if cents > 0 else "below"
        text = f"it is {sure}tuned {abs(cents)} cents {side} A = 440 Hz"
        asked_432 = "432" in ask.names
        at_432 = abs(found.cents - _A432_CENTS) < NOTABLE_CENTS
    if not ask.names:
        return f"{capitalised(text)}."
    true = at_432 if asked_432 else abs(found.cents) < NOTABLE_CENTS
    return f"{agreed(found.confidence, true)}: {text}."


def chords(ask: Ask, facts: Facts, stretches: tuple[Stretch, ...] = ()) -> str:
    found = facts.chords
    spans = found.spans or ()
    uses = observations.chord_uses(spans)
    if not uses:
        return not_measured("chords", found.reason)
    if ask.why:
        return _why("chords", "as a whole", found.confidence, None)
    if found.confidence < FAIR:
        return "The chords are too uncertain to state."
    sure = hedge(found.confidence)
    if stretches:
        return " ".join(_chords_in(stretch, facts, sure) for stretch in stretches)
    named = [span for span in spans if observations.chord_symbol(span.label)]
    if ask.aspect in ("first", "last"):
        span = named[0 if ask.aspect == "first" else -1]
        symbol = observations.chord_symbol(span.label)
        return f"The {ask.aspect} chord is {sure}{symbol}, from {clock(span.start_seconds)}."
    if ask.aspect == "count":
        return f"{capitalised(counted(len(uses), 'different chord'))} {_was(len(uses))} found."
    if ask.aspect == "named":
        return _named_chord(ask, uses, sure)
    often = [use.symbol for use in uses[:_MOST_CHORDS] if use.share >= CHORD_SHARE]
    mainly = f"It rests {sure}mainly on {listed(often or [uses[0].symbol])}."
    progression = observations.recurring_progression(spans)
    if progression is not None:
        loop = f"The progression that recurs is {sure}{'-'.join(progression)}."
        return loop if ask.aspect == "progression" else f"{mainly} {loop}"
    if ask.aspect != "progression":
        return mainly
    first = [observations.chord_symbol(span.label) or "" for span in named[:_MOST_LISTED]]
    return f"No progression recurs throughout. It {sure}begins {'-'.join(first)}. {mainly}"


def _named_chord(ask: Ask, uses: list[observations.ChordUse], sure: str) -> str:
    said = ask.names[0]
    tonic, _, quality = said.replace(" sharp", "#").replace(" flat", "b").partition(" ")
    symbol = tonic[0].upper() + tonic[1:] + ("m" if quality in ("minor", "min", "m") else "")
    use = next((use for use in uses if use.symbol == symbol), None)
    if use is None:
        others = listed([use.symbol for use in uses[:_MOST_CHORDS]])
        return f"{symbol} was not found among the chords; most used are {others}."
    return f"Yes: {symbol} {sure}sounds for {100 * use.share:.0f}% of the time that has chords."


def _chords_in(stretch: Stretch, facts: Facts, sure: str) -> str:
    inside = chords_within(stretch, facts)
    if stretch.is_moment:
        where = f"At {clock(stretch.start_seconds)}"
        return f"{where} the chord is {sure}{inside[0]}." if inside else f"{where} no chord sounds."
    if not inside:
        return f"{capitalised(stretch.name)} has no chords."
    return f"{capitalised(stretch.name)} has {sure}{'-'.join(inside)}."


def chords_within(stretch: Stretch, facts: Facts) -> list[str]:
    """Chord symbols of a stretch in order, without repeats; at most so many."""
    found: list[str] = []
    for span in facts.chords.spans or ():
        overlaps = span.start_seconds < stretch.end_seconds
        if overlaps and span.end_seconds > stretch.start_seconds:
            symbol = observations.chord_symbol(span.label)
            if symbol is not None and found[-1:] != [symbol]:
                found.append(symbol)
    return found[:_MOST_LISTED]


def duration(ask: Ask, facts: Facts) -> str:
    return f"It lasts {clock(facts.duration_seconds)} ({decimal(facts.duration_seconds)} seconds)."


def brightness(ask: Ask, facts: Facts) -> str:
    hertz, share = facts.timbre.brightness_hz, facts.timbre.percussive_share
    texts = []
    if hertz is not None:
        shown = f"{hertz / 1000:.1f} kHz" if hertz >= 1000 else f"{hertz:.0f} Hz"
        tone = word_for(hertz, BRIGHTNESS_WORDS)
        texts.append(f"The tone is {tone}, with a mean spectral centroid of {shown}.")
    if share is not None:
        attack = word_for(share, PERCUSSIVE_WORDS)
        texts.append(f"The sound is {attack}: {100 * share:.0f}% of the energy is in transients.")
    return " ".join(texts) or not_measured("brightness", facts.timbre.reason)


def beats(ask: Ask, facts: Facts) -> str:
    bars = ask.aspect == "bars"
    found = facts.downbeats if bars else facts.beats
    noun = "downbeat" if bars else "beat"
    if found.times_seconds is None:
        return not_measured(f"{noun}s", found.reason)
    if ask.why:
        return _why(f"{noun}s", f"{len(found.times_seconds):,}", found.confidence, None)
    if not found.times_seconds:
        return f"No {noun}s were found."
    if found.confidence < FAIR:
        return f"The {noun}s are too uncertain to state."
    sure = "" if found.confidence >= SURE else "about "
    count = len(found.times_seconds)
    first = f"the first at {found.times_seconds[0]:.2f} s"
    if bars:
        return f"It has {sure}{count:,} bar{'s' * (count != 1)}, counted by downbeats, {first}."
    return f"It has {sure}{count:,} beat{'s' * (count != 1)}, {first}."


def file(ask: Ask, facts: Facts) -> str:
    if ask.aspect == "damage":
        lost = facts.damage.problems
        return f"Yes: {'; '.join(lost)}." if lost else "No damage was met in decoding it."
    channels = {1: "mono", 2: "stereo"}.get(facts.channels, f"of {facts.channels} channels")
    return f"The file is {channels}, at {facts.sample_rate:,} Hz."


def _why(what: str, value: str, confidence: float, other: str | None) -> str:
    word = "sure" if confidence >= SURE else "fairly sure" if confidence >= FAIR else "unsure"
    runner_up = f" The next best reading is {other}." if other else ""
    return f"The {what} ({value}) is {word}: its confidence is {confidence:.2f} of 1.{runner_up}"


def _was(count: int) -> str:
    return "was" if count == 1 else "were"
