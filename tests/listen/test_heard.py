"""From logits to what was heard: what sounds when, what is asserted, and what is not."""

from __future__ import annotations

import numpy as np
import pytest

from antiphon.description import Heard, Presence
from antiphon.facts import Span
from antiphon.listen.heads import HEADS, MOMENT_SECONDS, Calibration, Heads
from antiphon.listen.heard import ASSERTED, heard_in
from antiphon.listen.tagger import Moments

pytestmark = pytest.mark.unit

HEADS_ALONE = Heads("0" * 64, "0" * 64, HEADS, {})
SURE, NEVER = 4.0, -6.0


def moments(seconds: float = 60.0, **sounding: list[tuple[float, float]]) -> Moments:
    """Jazz of medium energy, with instruments (`_` for a space) between these seconds."""
    count = round(seconds / MOMENT_SECONDS)
    logits = {name: np.full((count, len(c)), NEVER, np.float32) for name, c in HEADS.items()}
    logits["music"][:] = SURE
    logits["genre"][:, HEADS["genre"].index("jazz")] = SURE
    logits["energy"][:, 1] = SURE
    for name, passages in sounding.items():
        column = HEADS["instruments"].index(name.replace("_", " "))
        for start, end in passages:
            first, last = (round(at / MOMENT_SECONDS) for at in (start, end))
            logits["instruments"][first:last, column] = SURE
    return Moments(logits, np.ones(count, bool))


def hear(found: Moments, *sections: Span) -> Heard:
    heard = heard_in(found, HEADS_ALONE, sections)
    assert heard is not None
    return heard


def test_what_is_there() -> None:
    heard = hear(moments(piano=[(0, 60)], drums=[(0, 60)]))
    assert heard.music is not None
    assert heard.music.present
    assert [tag.name for tag in heard.genre] == ["jazz"]
    assert [tag.name for tag in heard.instruments] == ["piano"]
    assert heard.instruments[0].confidence > 0.9
    assert heard.drums is not None
    assert heard.drums.present
    assert (heard.energy, heard.energy_curve is None) == ("medium", False)


def test_drums_that_are_not_there() -> None:
    heard = hear(moments(piano=[(0, 60)]))
    assert heard.drums is not None
    assert not heard.drums.present
    assert heard.drums.confidence > 0.9
    assert heard.drums.passages == ()


def test_when_it_sounds() -> None:
    heard = hear(moments(flute=[(10, 20), (40, 55)], piano=[(0, 60)]))
    flute = next(one for one in heard.instruments if one.name == "flute")
    assert [(p.start_seconds, p.end_seconds) for p in flute.passages] == [
        (pytest.approx(10, abs=0.6), pytest.approx(20, abs=0.6)),
        (pytest.approx(40, abs=0.6), pytest.approx(55, abs=0.6)),
    ]
    piano = next(one for one in heard.instruments if one.name == "piano")
    assert [(p.start_seconds, p.end_seconds) for p in piano.passages] == [(0, 60)]


def test_a_solo_is_not_lost_in_a_long_piece() -> None:
    heard = hear(moments(600, violin=[(300, 312)], piano=[(0, 600)]))
    violin = next(one for one in heard.instruments if one.name == "violin")
    assert violin.confidence > ASSERTED


def test_moments_that_flicker_are_one_passage() -> None:
    on_and_off = [(10 + n * 0.4, 10.3 + n * 0.4) for n in range(25)]
    heard = hear(moments(piano=on_and_off))
    (piano,) = heard.instruments
    assert len(piano.passages) == 1
    assert piano.passages[0].end_seconds == pytest.approx(20, abs=0.6)


def test_short_notes_and_the_rests_between_them_are_one_passage() -> None:
    """A dry drum sounds for a moment of 40 ms on every beat, from 0:10 to 0:50."""
    beats = [(10 + n / 2, 10.08 + n / 2) for n in range(80)]
    heard = hear(moments(piano=[(0, 60)], drums=beats))
    assert heard.drums is not None
    (drums,) = heard.drums.passages
    assert drums.start_seconds == pytest.approx(10, abs=0.1)
    assert drums.end_seconds == pytest.approx(49.6, abs=0.1)


def test_one_short_mistake_is_no_passage() -> None:
    heard = hear(moments(piano=[(0, 30), (40, 40.3)]))
    (piano,) = heard.instruments
    assert [(p.start_seconds, round(p.end_seconds)) for p in piano.passages] == [(0, 30)]


def test_what_is_not_music_is_given_nothing_else() -> None:
    found = moments(piano=[(0, 60)])
    found.logits["music"][:] = -SURE
    heard = hear(found)
    assert heard.music is not None
    assert not heard.music.present
    assert heard.music.confidence > 0.9
    assert heard == Heard(music=heard.music)


def test_silence_does_not_count() -> None:
    found = moments(piano=[(0, 60)])
    found.logits["genre"][750:, HEADS["genre"].index("jazz")] = NEVER
    found.logits["music"][750:] = -SURE
    assert hear(found).genre[0].confidence < ASSERTED
    found.audible[750:] = False
    heard = hear(found)
    assert [tag.name for tag in heard.genre] == ["jazz"]
    assert heard.instruments[0].passages[0].end_seconds == pytest.approx(30, abs=0.6)
    found.audible[:] = False
    assert heard_in(found, HEADS_ALONE, ()) == Heard(music=Presence(False, 1.0))


def test_two_songs_in_one_file() -> None:
    found = moments(piano=[(0, 30)], drums=[(30, 60)], distorted_guitar=[(30, 60)])
    found.logits["genre"][750:] = NEVER
    found.logits["genre"][750:, HEADS["genre"].index("metal")] = SURE
    found.logits["energy"][750:] = [NEVER, NEVER, SURE]
    first, second = hear(found, Span(0, 30, "A"), Span(30, 60, "B")).sections
    assert (first.genre[0].name, second.genre[0].name) == ("jazz", "metal")
    assert (first.energy, second.energy) == ("medium", "high")
    assert [tag.name for tag in first.instruments] == ["piano"]
    assert [tag.name for tag in second.instruments] == ["distorted guitar"]
    assert first.drums is not None
    assert second.drums is not None
    assert (first.drums.present, second.drums.present) == (False, True)


def test_sections_too_short_to_be_heard_are_left_out() -> None:
    found = moments(piano=[(0, 60)])
    heard = hear(found, Span(0, 2, "A"), Span(2, 60, "B"))
    assert [section.start_seconds for section in heard.sections] == [2]


def test_energy_second_by_second() -> None:
    found = moments()
    found.logits["energy"][:750] = [SURE, NEVER, NEVER]
    found.logits["energy"][750:] = [NEVER, NEVER, SURE]
    curve = hear(found).energy_curve
    assert curve is not None
    assert len(curve.level) == 60
    assert max(curve.level[:27]) < 0.05
    assert min(curve.level[33:]) > 0.95
    assert curve.level[:27] == tuple(sorted(curve.level[:27]))


def test_less_sound_is_less_sure() -> None:
    scales = {
        head: Calibration((3.0, 30.0), (0.4, 1.0), (0.0, 0.0), ((0.0,) * len(c),) * 2)
        for head, c in HEADS.items()
    }
    heads = Heads("0" * 64, "0" * 64, HEADS, scales)
    long = heard_in(moments(60, piano=[(0, 60)]), heads, ())
    short = heard_in(moments(3, piano=[(0, 3)]), heads, ())
    assert long is not None
    assert short is not None
    assert short.genre[0].confidence < long.genre[0].confidence
    assert short.instruments[0].confidence < long.instruments[0].confidence
    assert (short.energy_confidence or 0) < (long.energy_confidence or 0)
