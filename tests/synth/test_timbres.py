from __future__ import annotations

import pytest

from antiphon.controls import INSTRUMENTS
from antiphon.score import Track
from antiphon.synth.timbres import INSTRUMENT_TIMBRES, TIMBRES, timbre_name

pytestmark = pytest.mark.unit


def test_every_instrument_and_every_program_has_a_timbre() -> None:
    assert set(INSTRUMENT_TIMBRES) == set(INSTRUMENTS) - {"drums"}
    for allowed in INSTRUMENT_TIMBRES.values():
        assert set(allowed) <= set(TIMBRES)
    played = {timbre_name(Track("", program, ())) for program in range(128)}
    assert played == set(TIMBRES)  # and no timbre is dead data


@pytest.mark.parametrize(
    ("instrument", "program", "expected"),
    [
        ("violin", 40, "violin"),
        ("violin", 0, "violin"),  # a program left at MIDI's default
        ("bass", 38, "synth bass"),
        ("bass", 32, "acoustic bass"),
        ("mallets", 12, "marimba"),
        ("Fender Rhodes", 4, "electric piano"),
        ("", 73, "flute"),
        ("", 127, "noise"),
    ],
)
def test_the_instrument_decides_and_the_program_refines(
    instrument: str, program: int, expected: str
) -> None:
    assert timbre_name(Track(instrument, program, ())) == expected
