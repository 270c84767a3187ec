"""Facts for people: everything said, nothing made up."""

from __future__ import annotations

from dataclasses import replace

import pytest

from antiphon.cli.summary import clock, facts_lines
from antiphon.facts import (
    Clipping,
    DamageReport,
    Facts,
    KeyEstimate,
    Loudness,
    Metre,
    Pitch,
    Silence,
    Span,
    Spans,
    Tempo,
    TempoCandidate,
    Timbre,
    Tuning,
)
from bare_facts import WHY, bare_facts

pytestmark = pytest.mark.unit
NOTHING = replace(bare_facts(duration_seconds=0.5), channels=6)


def row(facts: Facts, label: str) -> str:
    (found,) = (line for line in facts_lines(facts) if line.split()[0] == label)
    return found.split(maxsplit=1)[1]


def test_nothing_measured_gives_reasons_and_no_numbers() -> None:
    assert row(NOTHING, "length") == "0:00.5 (44,100 Hz, 6 channels)"
    for line in facts_lines(NOTHING)[1:]:
        assert line.endswith("not measurable: too short")


def test_values_have_units_and_confidences() -> None:
    facts = replace(
        NOTHING,
        channels=2,
        tempo=Tempo(120.04, 0.9, (TempoCandidate(60.02, 0.3),)),
        metre=Metre(3, 0.5),
        key=KeyEstimate("C# minor", 0.8, "E major"),
        tuning=Tuning(-12.4, 1.0),
        chords=Spans(tuple(Span(i, i + 1, "C:maj") for i in range(20)), 0.6),
        sections=Spans((Span(0.0, 61.2, "A"), Span(61.2, 90.0, "B")), 0.4),
        loudness=Loudness(-14.26, -1.0, None, reason=WHY),
        timbre=Timbre(2345.6, 0.25),
        silence=Silence(0.034),
        clipping=Clipping(12345),
        damage=DamageReport(90.0, 180.0, ("ends after 90.0 of 180.0 s",)),
        pitch=Pitch(0.01, (None, 440.0, 442.0, 220.0), 0.7),
    )
    assert row(facts, "tempo") == "120.0 BPM (confidence 0.90; also 60.0)"
    assert row(facts, "metre") == "3 beats per bar (confidence 0.50)"
    assert row(facts, "key") == "C# minor (confidence 0.80; else E major)"
    assert row(facts, "tuning") == "-12 cents against A = 440 Hz (confidence 1.00)"
    assert row(facts, "chords").endswith("C:maj  … 12 more (confidence 0.60)")
    assert row(facts, "sections") == "A 0:00.0  B 1:01.2 (confidence 0.40)"
    assert row(facts, "loudness") == "-14.3 LUFS, -1.0 dBTP true peak (not all: too short)"
    assert row(facts, "timbre") == "brightness 2,346 Hz, 25% percussive"
    assert row(facts, "silence") == "3% of the time"
    assert row(facts, "clipping") == "12,345 samples at full scale"
    assert row(facts, "damage") == "ends after 90.0 of 180.0 s"
    assert row(facts, "pitch") == "220 to 442 Hz, median 440 Hz (confidence 0.70)"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0, "0:00.0"), (59.96, "1:00.0"), (187.5, "3:07.5"), (7200, "120:00.0")]
)
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text
