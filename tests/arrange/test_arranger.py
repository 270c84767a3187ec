import statistics
from collections import Counter

import numpy as np
import pytest

from antiphon.arrange import arrange
from antiphon.arrange.band import PLAYABLE
from antiphon.controls import (
    ENERGIES,
    GENRES,
    INSTRUMENTS,
    METRES,
    Controls,
    SectionPlan,
)
from antiphon.errors import ConfigError
from antiphon.notation import ALL_KEYS, Key
from antiphon.score import Note, Score, Track

pytestmark = pytest.mark.unit

NEAR_SECONDS = 0.0085  # the most by which a hand is early or late


def pieces(count: int, **controls: object) -> list[Score]:
    """`count` pieces of every genre in turn."""
    return [
        arrange(Controls(genre=GENRES[seed % len(GENRES)], **controls), seed)  # type: ignore[arg-type]
        for seed in range(count)
    ]


def tracks(score: Score, role: str) -> list[Track]:
    return [track for track in score.tracks if track.role == role]


def starts_at(score: Score, note: Note, beat: float) -> bool:
    return score.beat_to_seconds(abs(note.start_beat - beat)) <= NEAR_SECONDS


def assert_sound(score: Score) -> None:
    """What holds for every piece."""
    assert score.tracks
    assert sum(section.bars for section in score.sections) == score.bars
    assert [section.start_bar for section in score.sections] == [
        sum(section.bars for section in score.sections[:place])
        for place in range(len(score.sections))
    ]
    assert score.duration_seconds == pytest.approx(score.bar_to_seconds(score.bars))
    for track in score.tracks:
        low, high = PLAYABLE[track.instrument].low, PLAYABLE[track.instrument].high
        assert all(low <= note.pitch <= high for note in track.notes), track.instrument
        assert [note.start_beat for note in track.notes] == sorted(
            note.start_beat for note in track.notes
        )
    if any(not track.is_drums for track in score.tracks):
        ends = [span.start_beat + span.duration_beats for span in score.chords]
        assert [span.start_beat for span in score.chords] == [0.0, *ends[:-1]]
        assert ends[-1] == score.total_beats


@pytest.mark.parametrize("genre", GENRES)
def test_every_style_plays_in_every_key_and_metre(genre: str) -> None:
    for seed, key in enumerate(ALL_KEYS):
        for metre in METRES:
            score = arrange(Controls(genre=genre, key=key, metre=metre, bars=4), seed)
            assert (score.genre, score.key, score.bars) == (genre, key, 4)
            assert score.beats_per_bar == int(metre[0])
            assert score.chords[-1].chord.root == key.tonic
            assert_sound(score)


@pytest.mark.parametrize("tempo_bpm", [40.0, 50.0, 97.3, 200.0, 240.0])
def test_the_tempo_asked_for_is_kept(tempo_bpm: float) -> None:
    for score in pieces(len(GENRES), tempo_bpm=tempo_bpm, bars=4):
        assert score.tempo_bpm == tempo_bpm
        assert_sound(score)


def test_no_two_melodies_of_a_thousand_seeds_are_equal() -> None:
    melodies = Counter(
        tuple(
            (note.pitch, round(note.start_beat * 4))
            for track in tracks(score, "melody")
            for note in track.notes
        )
        for score in pieces(1000, bars=8, without=("drums", "bass"))
    )
    assert melodies.most_common(1)[0][1] == 1


def test_strong_beats_of_melodies_carry_chord_tones() -> None:
    in_chord = total = 0
    for score in pieces(56, bars=16):
        strong = (0, 2) if score.beats_per_bar == 4 else (0,)
        for track in tracks(score, "melody"):
            for note in track.notes:
                beat = round(note.start_beat)
                if beat % score.beats_per_bar in strong and starts_at(score, note, beat):
                    chord = [span.chord for span in score.chords if span.start_beat <= beat][-1]
                    in_chord += note.pitch % 12 in chord.pitch_classes
                    total += 1
    assert total > 1000
    assert in_chord / total >= 0.9


def test_melodies_move_by_step_more_than_by_leap() -> None:
    intervals = [
        abs(after.pitch - before.pitch)
        for score in pieces(56, bars=16)
        for track in tracks(score, "melody")
        for before, after in zip(track.notes, track.notes[1:], strict=False)
    ]
    assert sum(interval <= 2 for interval in intervals) > 0.5 * len(intervals)
    assert sum(interval > 9 for interval in intervals) < 0.06 * len(intervals)


def test_the_bass_plays_the_root_where_the_chord_changes() -> None:
    for score in pieces(56, bars=12):
        (bass,) = tracks(score, "bass")
        for span in score.chords:
            (note,) = [note for note in bass.notes if starts_at(score, note, span.start_beat)]
            assert note.pitch % 12 == span.chord.root


def test_chord_instruments_play_the_chords_of_the_score() -> None:
    for score in pieces(42, bars=12):
        for track in (*tracks(score, "chords"), *tracks(score, "pad"), *tracks(score, "riff")):
            for note in track.notes:
                beat = note.start_beat + score.seconds_to_beat(NEAR_SECONDS)
                chord = [span.chord for span in score.chords if span.start_beat <= beat][-1]
                assert note.pitch % 12 in chord.pitch_classes


def test_every_chord_tone_of_a_triad_is_heard_while_it_lasts() -> None:
    heard = total = 0
    for score in pieces(42, bars=12):
        for span in score.chords:
            end = span.start_beat + span.duration_beats
            sounding = {
                note.pitch % 12
                for track in score.tracks
                for note in track.notes
                if not track.is_drums
                and note.start_beat < end - 0.1
                and note.start_beat + note.duration_beats > span.start_beat + 0.1
            }
            heard += set(span.chord.pitch_classes[:3]) <= sounding
            total += 1
    assert heard / total > 0.9


# Krumhansl and Kessler's ratings, an ear of its own for which key the notes are in.
MAJOR_PROFILE = [6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88]
MINOR_PROFILE = [6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17]


def heard_key(score: Score) -> Key:
    weights = np.zeros(12)
    for track in score.tracks:
        if not track.is_drums:
            for note in track.notes:
                weights[note.pitch % 12] += note.duration_beats
    profiles = {"major": MAJOR_PROFILE, "minor": MINOR_PROFILE}
    return max(
        ALL_KEYS,
        key=lambda key: np.corrcoef(weights, np.roll(profiles[key.mode], key.tonic))[0, 1],
    )


def test_the_key_is_the_one_that_is_heard() -> None:
    scores = pieces(84)
    right = sum(heard_key(score) == score.key for score in scores)
    assert right / len(scores) >= 0.7
    # What is left are relatives: the fifth above or below, the relative or parallel key.
    related = 0
    for score in scores:
        key = heard_key(score)
        related += len(set(key.scale) & set(score.key.scale)) >= 6 or key.tonic == score.key.tonic  # type: ignore[union-attr]
    assert related / len(scores) >= 0.97


def test_bars_are_exact_and_hold_intro_and_ending() -> None:
    for bars in (1, 2, 3, 5, 8, 13, 32, 100):
        assert arrange(Controls(genre="pop", bars=bars), 1).bars == bars
    score = arrange(Controls(bars=11, intro=True, ending=True), 1)
    assert score.bars == 11
    assert (score.sections[0].label, score.sections[-1].label) == ("intro", "ending")


def test_sections_are_exact() -> None:
    asked = (SectionPlan("verse", 5), SectionPlan("solo", 3), SectionPlan("verse", 4))
    score = arrange(Controls(sections=asked), 3)
    assert [(s.label, s.bars) for s in score.sections] == [("verse", 5), ("solo", 3), ("verse", 4)]
    framed = arrange(Controls(sections=asked, intro=True, ending=True), 3)
    assert [s.label for s in framed.sections] == ["intro", "verse", "solo", "verse", "ending"]
    assert framed.bars == 12 + 8


@pytest.mark.parametrize("seconds", [1.0, 2.5, 10.0, 29.97, 60.0, 183.0])
def test_a_duration_alone_is_met_exactly(seconds: float) -> None:
    for score in pieces(14, duration_seconds=seconds):
        assert score.duration_seconds == pytest.approx(seconds, abs=1e-6)


def test_a_duration_with_a_tempo_is_met_within_half_a_bar() -> None:
    for tempo_bpm in (40.0, 93.7, 240.0):
        for score in pieces(14, duration_seconds=30.0, tempo_bpm=tempo_bpm):
            assert score.tempo_bpm == tempo_bpm
            assert abs(score.duration_seconds - 30) <= score.bar_to_seconds(0.5) + 1e-9


def test_a_long_piece_and_one_that_is_too_long() -> None:
    score = arrange(Controls(genre="folk", duration_seconds=1800.0), 1)
    assert score.duration_seconds == pytest.approx(1800.0)
    with pytest.raises(ConfigError, match="would have 2400 bars; expected 2000 at most"):
        arrange(Controls(duration_seconds=1800.0, tempo_bpm=240.0, metre="3/4"), 1)


def test_an_ending_closes_on_a_held_tonic_chord() -> None:
    for score in pieces(28, bars=16, ending=True):
        last_bar = score.total_beats - score.beats_per_bar
        assert score.chords[-1].chord.root == score.key.tonic  # type: ignore[union-attr]
        for track in score.tracks:
            late = [n for n in track.notes if n.start_beat > last_bar + 0.1]
            assert not late, track.role
        (bass,) = tracks(score, "bass")
        assert bass.notes[-1].start_beat + bass.notes[-1].duration_beats == score.total_beats


def test_instruments_asked_for_play_and_those_refused_do_not() -> None:
    for seed, wanted in enumerate(INSTRUMENTS):
        refused = tuple(name for name in INSTRUMENTS if name != wanted)[seed % 5 :: 5]
        controls = Controls(
            genre=GENRES[seed % len(GENRES)], instruments=(wanted,), without=refused, bars=8
        )
        names = {track.instrument for track in arrange(controls, seed).tracks}
        assert wanted in names
        assert not names & set(refused)


def test_several_instruments_for_one_role_all_play() -> None:
    wanted = ("violin", "flute", "trumpet", "clarinet")
    for bars in (4, 24):
        score = arrange(Controls(genre="folk", instruments=wanted, bars=bars), 5)
        assert set(wanted) <= {track.instrument for track in score.tracks}


@pytest.mark.parametrize("genre", GENRES)
def test_every_style_works_without_drums_and_without_a_bass(genre: str) -> None:
    score = arrange(Controls(genre=genre, without=("drums", "bass"), bars=8), 2)
    assert not any(track.is_drums for track in score.tracks)
    assert_sound(score)


def test_without_a_bass_the_chords_carry_the_roots() -> None:
    without = ("bass", "cello", "strings")  # whoever plays the bass in any style
    for seed in range(14):
        controls = Controls(genre=GENRES[seed], without=without, bars=8)
        score = arrange(controls, seed)
        low = [note for track in tracks(score, "chords") for note in track.notes]
        for span in score.chords:
            lowest = min(n.pitch for n in low if starts_at(score, n, span.start_beat))
            assert lowest % 12 == span.chord.root


def test_drums_alone_have_neither_key_nor_chords() -> None:
    pitched = tuple(name for name in INSTRUMENTS if name != "drums")
    score = arrange(Controls(genre="ambient", without=pitched, bars=4), 1)
    assert [track.instrument for track in score.tracks] == ["drums"]
    assert (score.key, score.chords) == (None, ())


def test_nobody_left_to_play() -> None:
    with pytest.raises(ConfigError, match="every instrument is refused by --without"):
        arrange(Controls(without=INSTRUMENTS), 1)


def notes_per_beat(score: Score) -> float:
    return sum(len(track.notes) for track in score.tracks) / score.total_beats


def mean_velocity(score: Score) -> float:
    return statistics.fmean(note.velocity for note in score.notes())


def test_energy_is_heard_in_density_and_loudness() -> None:
    density, loudness = [], []
    for energy in ENERGIES:
        scores = pieces(42, energy=energy, bars=16, tempo_bpm=110.0)
        density.append(statistics.fmean(map(notes_per_beat, scores)))
        loudness.append(statistics.fmean(map(mean_velocity, scores)))
    assert density[0] * 1.2 < density[1] < density[2] / 1.2
    assert loudness[0] + 5 < loudness[1] < loudness[2] - 5


def test_a_chorus_is_fuller_and_higher_than_a_verse() -> None:
    plan = (SectionPlan("verse", 8), SectionPlan("chorus", 8))
    denser = higher = 0
    scores = pieces(42, sections=plan)
    for score in scores:
        middle = score.total_beats / 2
        halves: list[list[Note]] = [[], []]
        tunes: list[list[int]] = [[], []]
        for track in score.tracks:
            for note in track.notes:
                halves[note.start_beat >= middle - 0.1].append(note)
                if track.role == "melody":
                    tunes[note.start_beat >= middle - 0.1].append(note.pitch)
        denser += len(halves[1]) > len(halves[0])
        higher += statistics.fmean(tunes[1]) > statistics.fmean(tunes[0])
    assert denser >= 0.8 * len(scores)
    assert higher >= 0.8 * len(scores)


def test_a_repeated_section_comes_back_and_not_as_a_copy() -> None:
    plan = (SectionPlan("verse", 8), SectionPlan("chorus", 8), SectionPlan("verse", 8))
    kept = []
    for score in pieces(42, sections=plan):
        first, second = (
            {
                (n.pitch, round((n.start_beat - start) * 4))
                for n in tracks(score, "melody")[0].notes
                if start - 0.1 <= n.start_beat < start + 8 * score.beats_per_bar - 0.1
            }
            for start in (0, 16 * score.beats_per_bar)
        )
        kept.append(len(first & second) / len(first))
    assert statistics.fmean(kept) > 0.75
    assert sum(share == 1 for share in kept) < 0.3 * len(kept)


def test_changing_one_wish_leaves_the_rest() -> None:
    """The same tune at another tempo, the same song without drums."""
    base = Controls(genre="rock", key=Key.parse("A minor"), metre="4/4", bars=8, energy="medium")
    song = arrange(base, 7)
    drumless = arrange(Controls(**{**vars(base), "without": ("drums",)}), 7)
    assert song.chords == drumless.chords
    assert tracks(song, "bass")[0].notes == tracks(drumless, "bass")[0].notes
