"""The ledger of claims: what a text states about a recording, against what was measured.

Finding is the work of `grammar`, mending that of `mending`; here it is judged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from antiphon.description import POLICIES, Claim, Policy, Verdict
from antiphon.errors import ConfigError
from antiphon.facts import Facts, Span
from antiphon.listen.claims.grammar import find_claims
from antiphon.listen.claims.mending import mend, remove_sentences
from antiphon.listen.claims.phrasing import main_chords
from antiphon.listen.claims.reading import Amount, Bar, Degrees, Found, Harmony, Moment, Tonality
from antiphon.listen.phrases import clock
from antiphon.notation import Chord, Key, Mode

TEMPO_SLACK = 0.04
TEMPO_OCTAVES = (2.0, 1 / 2, 3.0, 1 / 3)
DURATION_SLACK = 0.05
DURATION_SLACK_SECONDS = 3.0
LOUDNESS_SLACK_DB = 1.0
BOUNDARY_SLACK_SECONDS = 3.0
_ROUNDING = 1e-9
_MOST_PASSES = 3  # a correction may bring two claims together that the next pass must part
_MOST_CHORDS = 8  # named as measured

_ChordSet = set[tuple[int, Mode | None]]


@dataclass(frozen=True)
class Checked:
    """A text after a policy, and the claims of the text as it was before."""

    text: str
    claims: tuple[Claim, ...]


@dataclass(frozen=True)
class Judgement:
    """The measured value as it is shown, None where there is none, and the verdict."""

    measured: str | None
    verdict: Verdict


_UNMEASURED = Judgement(None, "unmeasured")


def check_text(kind: str, text: str, facts: Facts, policy: Policy) -> Checked:
    """Hold a text of `kind` against measured facts.

    `annotate` lists the claims. `correct` puts the measured value, marked as such, in the place of
    every value that is contradicted and of every tempo that is an octave away; a time stamp takes
    its clause with it. Correcting twice changes nothing more. `drop` removes the sentences of
    contradicted and octave claims, which may leave no text. `off` does nothing.
    Raises ConfigError for another policy.
    """
    if policy not in POLICIES:
        raise ConfigError(f"policy {policy!r} is unknown; expected one of {', '.join(POLICIES)}")
    if policy == "off":
        return Checked(text, ())
    found = find_claims(text)
    claims = tuple(_claim(kind, text, claim, facts) for claim in found)
    if policy == "correct":
        text = _corrected(text, facts)
    elif policy == "drop":
        text = _dropped(text, facts)
    return Checked(text, claims)


def judge(found: Found, facts: Facts) -> Judgement:
    """Hold one claim against the facts; what was not measured is `unmeasured`."""
    value = found.value
    if isinstance(value, Moment):
        return _judge_moment(value, facts)
    if isinstance(value, Tonality):
        return _judge_key(value, facts)
    if isinstance(value, Bar):
        return _judge_metre(value, facts)
    if isinstance(value, Harmony | Degrees):
        return _judge_chords(value, facts)
    if isinstance(value, Amount):
        return _judge_amount(value, facts)
    assert_never(value)


def _claim(kind: str, text: str, found: Found, facts: Facts) -> Claim:
    judgement = judge(found, facts)
    said = text[found.start : found.stop]
    return Claim(kind, found.quantity, said, judgement.measured, judgement.verdict)


def _corrected(text: str, facts: Facts) -> str:
    for _ in range(_MOST_PASSES):
        found = find_claims(text)
        wrong = [claim for claim in found if _is_wrong(claim, facts)]
        if not wrong:
            return text
        text = mend(text, found, wrong, facts)
    while wrong := [claim for claim in find_claims(text) if _is_wrong(claim, facts)]:
        text = remove_sentences(text, wrong)
    return text


def _is_wrong(found: Found, facts: Facts) -> bool:
    verdict = judge(found, facts).verdict
    return verdict == "contradicted" or (verdict == "octave" and found.quantity == "tempo")


def _dropped(text: str, facts: Facts) -> str:
    """Once more after that, since what two sentences were about can be one in what is left."""
    while wrong := [
        claim
        for claim in find_claims(text)
        if judge(claim, facts).verdict in ("contradicted", "octave")
    ]:
        text = remove_sentences(text, wrong)
    return text


def _judge_amount(said: Amount, facts: Facts) -> Judgement:
    if said.unit == "BPM":
        return _judge_tempo(said, facts.tempo.bpm)
    if said.unit == "s":
        measured = facts.duration_seconds
        if measured <= 0.0:
            return _UNMEASURED
        slack = max(DURATION_SLACK * measured, DURATION_SLACK_SECONDS)
        return Judgement(f"{measured:.1f} s", _within(said, measured, slack))
    loudness = facts.loudness
    level = {
        "LUFS": loudness.integrated_lufs,
        "dBTP": loudness.true_peak_dbtp,
        "LU": loudness.range_lu,
    }.get(said.unit)
    if level is None:
        return _UNMEASURED
    return Judgement(f"{level:.1f} {said.unit}", _within(said, level, LOUDNESS_SLACK_DB))


def _judge_tempo(said: Amount, bpm: float | None) -> Judgement:
    if bpm is None:
        return _UNMEASURED
    verdict = _within(said, bpm, TEMPO_SLACK * bpm)
    is_closed = all(abs(end) != float("inf") for pair in said.ranges for end in pair)
    if verdict == "contradicted" and is_closed:
        for octave in (ratio * bpm for ratio in TEMPO_OCTAVES):
            if _within(said, octave, TEMPO_SLACK * octave) == "confirmed":
                verdict = "octave"
    return Judgement(f"{bpm:.1f} BPM", verdict)


def _within(said: Amount, measured: float, slack: float) -> Verdict:
    slack += _ROUNDING
    inside = any(low - slack <= measured <= high + slack for low, high in said.ranges)
    return "confirmed" if inside else "contradicted"


def _judge_key(said: Tonality, facts: Facts) -> Judgement:
    if facts.key.name is None:
        return _UNMEASURED
    key = Key.parse(facts.key.name)
    is_right = said.tonic in (None, key.tonic) and said.mode in (None, key.mode)
    return Judgement(key.name, "confirmed" if is_right else "contradicted")


def _judge_metre(said: Bar, facts: Facts) -> Judgement:
    beats = facts.metre.beats_per_bar
    if beats is None:
        return _UNMEASURED
    written = said.beats[0]
    is_double = beats in (2 * written, written / 2)
    verdict: Verdict = (
        "confirmed" if beats in said.beats else "octave" if is_double else "contradicted"
    )
    return Judgement(f"{beats} beats per bar", verdict)


def _judge_chords(said: Harmony | Degrees, facts: Facts) -> Judgement:
    spans = facts.chords.spans or ()
    heard = _triads(spans)
    chords = said.chords if isinstance(said, Harmony) else _degree_chords(said, facts)
    if not heard or chords is None:
        return _UNMEASURED
    is_right = all(_is_heard(root, mode, heard) for root, mode in chords)
    symbols = ", ".join(main_chords(facts, _MOST_CHORDS))
    return Judgement(symbols, "confirmed" if is_right else "contradicted")


def _is_heard(root: int, mode: Mode | None, heard: _ChordSet) -> bool:
    return any(
        root == other and (mode is None or kind is None or mode == kind) for other, kind in heard
    )


def _triads(spans: tuple[Span, ...]) -> _ChordSet:
    """Measured chords as roots and modes; None where a label has no third."""
    chords = set()
    for label in {span.label for span in spans}:
        try:
            chord = Chord.parse(label)
        except ConfigError:
            continue  # N, or a label of another tool
        steps = {(pitch - chord.root) % 12 for pitch in chord.pitch_classes}
        mode: Mode | None = "major" if 4 in steps else "minor" if 3 in steps else None
        chords.add((chord.root, mode))
    return chords


def _degree_chords(said: Degrees, facts: Facts) -> tuple[tuple[int, Mode | None], ...] | None:
    """Chords of Roman numerals in the measured key.

    An `i` or `I` among them tells which scale is counted on, else the measured mode does.
    """
    if facts.key.name is None:
        return None
    key = Key.parse(facts.key.name)
    tonics = {mode for in_major, _, mode in said.steps if in_major == 0}
    counted = tonics.pop() if len(tonics) == 1 else key.mode
    return tuple(
        ((key.tonic + (in_major if counted == "major" else in_minor)) % 12, mode)
        for in_major, in_minor, mode in said.steps
    )


def _judge_moment(said: Moment, facts: Facts) -> Judgement:
    spans = facts.sections.spans or ()
    borders = [edge for span in spans for edge in (span.start_seconds, span.end_seconds)]
    nearest = min(borders, key=lambda edge: abs(edge - said.seconds), default=None)
    if nearest is not None and abs(nearest - said.seconds) <= BOUNDARY_SLACK_SECONDS + _ROUNDING:
        return Judgement(clock(nearest), "confirmed")
    if 0.0 < facts.duration_seconds < said.seconds - BOUNDARY_SLACK_SECONDS:
        return Judgement(f"{facts.duration_seconds:.1f} s", "contradicted")
    if nearest is not None and said.of_section:
        return Judgement(clock(nearest), "contradicted")
    return _UNMEASURED
