import io
from contextlib import suppress
from pathlib import Path

import mido
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from antiphon.arrange import arrange
from antiphon.controls import GENRES, INSTRUMENTS, Controls
from antiphon.errors import ConfigError, StorageError
from antiphon.midi import read_midi, write_midi
from antiphon.midi.reading import MAX_FILE_BYTES, instrument_of
from antiphon.notation import Key
from antiphon.score import Note, Score, Track
from drawn_scores import TICK_BEATS, scores

pytestmark = pytest.mark.unit

Message, Meta = mido.Message, mido.MetaMessage


def written(score: Score) -> bytes:
    buffer = io.BytesIO()
    write_midi(score, buffer)
    return buffer.getvalue()


def smf(*tracks: list[mido.Message], kind: int = 1, ticks_per_beat: int = 480) -> bytes:
    """A foreign file out of messages."""
    file = mido.MidiFile(type=kind, ticks_per_beat=ticks_per_beat)
    file.tracks += [mido.MidiTrack(track) for track in tracks]
    buffer = io.BytesIO()
    file.save(file=buffer)
    return buffer.getvalue()


def on(pitch: int, time: int = 0, velocity: int = 80, channel: int = 0) -> mido.Message:
    return Message("note_on", note=pitch, velocity=velocity, time=time, channel=channel)


def off(pitch: int, time: int, channel: int = 0) -> mido.Message:
    return Message("note_off", note=pitch, time=time, channel=channel)


def spans(score: Score, track: int = 0) -> list[tuple[int, float, float]]:
    return [(n.pitch, n.start_beat, n.duration_beats) for n in score.tracks[track].notes]


@settings(max_examples=40, deadline=None)
@given(scores())
def test_our_files_come_back_as_they_were(score: Score) -> None:
    assert read_midi(written(score)) == score


@pytest.mark.parametrize("genre", GENRES)
def test_arranged_pieces_come_back_exactly(genre: str) -> None:
    score = arrange(Controls(genre=genre, bars=8, ending=True), 5)
    assert read_midi(written(score)) == score
    assert Score.from_json(score.to_json()) == score


def test_positions_between_ticks_move_by_half_a_tick_at_most() -> None:
    notes = tuple(Note(i * 0.7310001, 0.333333, 60 + i, 80) for i in range(20))
    score = Score(120.0, 4, None, 8, tracks=(Track("piano", 0, notes),))
    for note, back in zip(notes, read_midi(written(score)).tracks[0].notes, strict=True):
        assert back.start_beat == pytest.approx(note.start_beat, abs=TICK_BEATS / 2)
        assert back.duration_beats == pytest.approx(note.duration_beats, abs=TICK_BEATS)


def test_the_file_is_what_other_programs_expect() -> None:
    tracks = (
        Track("drums", 0, (Note(0, 1, 36, 90),), is_drums=True),
        Track("piano", 1, (Note(1, 2, 60, 70),), pan=-1.0, gain_db=0.0),
    )
    score = Score(90.0, 3, Key.parse("F# minor"), 2, tracks=tracks)
    file = mido.MidiFile(file=io.BytesIO(written(score)))
    conductor, drums, piano = file.tracks
    assert (file.type, file.ticks_per_beat >= 480) == (1, True)
    settings_ = {message.type: message for message in conductor}
    assert settings_["set_tempo"].tempo == 666_667
    assert (settings_["time_signature"].numerator, settings_["time_signature"].denominator) == (
        3,
        4,
    )
    assert settings_["key_signature"].key == "F#m"
    assert file.length == pytest.approx(4.0, abs=0.001)
    assert {m.channel for m in drums if m.type == "note_on"} == {9}
    assert piano.name == "piano"
    assert [m.program for m in piano if m.type == "program_change"] == [1]
    controllers = {m.control: m.value for m in piano if m.type == "control_change"}
    assert controllers == {7: 100, 10: 1}


def test_more_than_fifteen_pitched_tracks_use_another_port() -> None:
    tracks = tuple(
        Track(f"voice {i}", i, (Note(0, 1, 60, 80), Note(1, 1, 60, 80))) for i in range(40)
    )
    score = Score(120.0, 4, None, 1, tracks=tracks)
    assert read_midi(written(score)) == score


def test_pan_and_gain_changed_by_another_program_are_believed() -> None:
    score = Score(120.0, 4, None, 1, tracks=(Track("piano", 0, (Note(0, 1, 60, 80),), pan=0.1),))
    file = mido.MidiFile(file=io.BytesIO(written(score)))
    for message in file.tracks[1]:
        if message.type == "control_change":
            message.value = 127
    buffer = io.BytesIO()
    file.save(file=buffer)
    track = read_midi(buffer.getvalue()).tracks[0]
    assert track.pan == 1.0
    assert track.gain_db == pytest.approx(4.15, abs=0.01)


def test_several_tempos_keep_the_times_of_the_notes() -> None:
    """120 BPM for two beats, then 60: the third beat comes after one second and lasts another."""
    data = smf(
        [Meta("set_tempo", tempo=500_000), Meta("set_tempo", tempo=1_000_000, time=960)],
        [on(60), off(60, 480), on(62, 480), off(62, 480), on(64), off(64, 480)],
    )
    score = read_midi(data)
    assert score.tempo_bpm == 120
    seconds = [
        (n.pitch, score.beat_to_seconds(n.start_beat), score.beat_to_seconds(n.duration_beats))
        for n in score.tracks[0].notes
    ]
    assert seconds == [(60, 0.0, 0.5), (62, 1.0, 1.0), (64, 2.0, 1.0)]


def test_the_tempo_is_the_one_at_the_first_note() -> None:
    data = smf(
        [Meta("set_tempo", tempo=600_000, time=480)],
        [on(60, time=480), off(60, 480)],
    )
    score = read_midi(data)
    assert score.tempo_bpm == 100
    # The half second of rest before it, at the default of 120 BPM.
    assert score.beat_to_seconds(score.tracks[0].notes[0].start_beat) == pytest.approx(0.5)


def test_a_file_without_tempo_metre_and_key_has_the_standards_defaults() -> None:
    score = read_midi(smf([on(60), off(60, 480)]))
    assert (score.tempo_bpm, score.beats_per_bar, score.key, score.bars) == (120, 4, None, 1)


@pytest.mark.parametrize(
    ("metre", "beats_per_bar"),
    [((4, 4), 4), ((3, 4), 3), ((6, 8), 3), ((12, 8), 6), ((2, 2), 4), ((7, 8), 7), ((9, 8), 9)],
)
def test_metres_in_quarters(metre: tuple[int, int], beats_per_bar: int) -> None:
    signature = Meta("time_signature", numerator=metre[0], denominator=metre[1])
    assert read_midi(smf([signature, on(60), off(60, 480)])).beats_per_bar == beats_per_bar


def test_format_0_is_split_by_channel_and_drums_are_channel_10() -> None:
    score = read_midi(
        smf(
            [
                Message("program_change", program=40, channel=2),
                on(60, channel=2), on(36, channel=9),
                off(60, 480, channel=2), off(36, 0, channel=9),
            ],
            kind=0,
        )
    )  # fmt: skip
    assert [(t.instrument, t.is_drums) for t in score.tracks] == [
        ("violin", False),
        ("drums", True),
    ]


def test_running_status_and_note_on_with_velocity_zero() -> None:
    body = bytes([0, 0x90, 60, 80, 0x60, 60, 0, 0, 62, 80, 0x60, 62, 0, 0, 0xFF, 0x2F, 0])
    data = b"MThd\0\0\0\6\0\0\0\1\0\x60MTrk" + len(body).to_bytes(4, "big") + body
    assert spans(read_midi(data)) == [(60, 0.0, 1.0), (62, 1.0, 1.0)]


def test_a_riff_header_around_the_file_is_skipped() -> None:
    inner = smf([on(60), off(60, 480)])
    wrapped = b"RIFF" + bytes(4) + b"RMIDdata" + len(inner).to_bytes(4, "little") + inner
    assert spans(read_midi(wrapped)) == [(60, 0.0, 1.0)]


def test_overlapping_zero_length_and_unended_notes() -> None:
    overlapping = [on(60), on(60, 240), off(60, 240), off(60, 480)]
    zero_length = [on(62), off(62, 0), off(62, 100)]
    unended = [on(64), on(65, 480), off(65, 480)]
    score = read_midi(smf(overlapping, zero_length, unended))
    assert spans(score, 0) == [(60, 0.0, 1.0), (60, 0.5, 1.5)]
    assert spans(score, 1) == [(62, 0.0, 1 / 480)]
    assert spans(score, 2) == [(64, 0.0, 2.0), (65, 1.0, 1.0)]


def test_foreign_markers_become_sections_at_the_nearest_bar() -> None:
    marks = [Meta("marker", text="A"), Meta("marker", text="Refr\xe3o", time=3800)]
    score = read_midi(smf(marks, [on(60), off(60, 480 * 16)]))
    assert [(s.label, s.start_bar, s.bars) for s in score.sections] == [
        ("A", 0, 2),
        ("Refrão", 2, 2),
    ]


def test_general_midi_families_use_our_names() -> None:
    named = {instrument_of(program) for program in range(128)}
    # All of ours but the one that is a channel, not a program.
    assert set(INSTRUMENTS) - named == {"drums"}


def test_a_path_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "with ü and space.mid"
    score = Score(120.0, 4, None, 1, tracks=(Track("piano", 0, (Note(0, 1, 60, 80),)),))
    write_midi(score, path)
    assert read_midi(path) == score
    with path.open("rb") as file:
        assert read_midi(file) == score
    with pytest.raises(StorageError, match="missing"):
        write_midi(score, tmp_path / "missing" / "a.mid")
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"cannot read .*nothing\.mid"):
        read_midi(tmp_path / "nothing.mid")


GOOD = smf([on(60), off(60, 480)])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"RIFF and so on", "begins with b'RIFF and'; expected a MIDI file"),
        (GOOD[:-3], "damaged"),
        (GOOD[:14], "damaged"),
        (GOOD[:20], "damaged"),
        (smf([Meta("text", text="no notes here")]), "holds no notes"),
        (smf([], kind=1), "holds no notes"),
        (smf([on(60), off(60, 480)], kind=2), "has format 2"),
        (GOOD[:12] + b"\xe7\x28" + GOOD[14:], "ticks per quarter"),
        (GOOD[:12] + b"\0\0" + GOOD[14:], "0 ticks per quarter"),
        (smf([Meta("set_tempo", tempo=0), on(60), off(60, 480)]), "tempo of 0"),
        (smf([Meta("set_tempo", tempo=100), on(60), off(60, 480)]), "tempo is 600000 BPM"),
        (smf([on(60), off(60, 480 * 120 * 60 * 3)]), "lasts 3.0 hours; expected 2 hours"),
        (smf([on(60), off(60, 2**27)], ticks_per_beat=1), "hours; expected 2 hours"),
        (GOOD + bytes(MAX_FILE_BYTES), "larger than 2 MiB"),
        (GOOD[:22] + b"\xff" * 100_000, "a number without end"),
        (smf(*[[on(60), off(60, 480)]] * 65), "65 tracks and channels with notes; expected 64"),
    ],
)
def test_what_cannot_be_read_says_why(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "odd.mid"
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=message) as caught:
        read_midi(path)
    assert "odd.mid" in str(caught.value)


def test_more_notes_than_a_score_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("antiphon.score.MAX_NOTES", 1)
    with pytest.raises(ConfigError, match="2 notes; expected 1 at most"):
        read_midi(smf([on(60), off(60, 480), on(60), off(60, 480)]))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_damage_anywhere_is_a_score_or_a_config_error(data: st.DataObject) -> None:
    """Bytes changed, cut out and put in: nothing but ConfigError may come of it."""
    settings_ = [Meta("set_tempo", tempo=400_000), Meta("key_signature", key="Am")]
    notes = [Message("program_change", program=33), on(40), off(40, 480), on(43), off(43, 480)]
    blob = bytearray(smf([*settings_, Meta("marker", text="A")], notes))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(blob) - 1))
        stretch = slice(place, place + data.draw(st.integers(0, 4)))
        blob[stretch] = data.draw(st.binary(max_size=4))
    with suppress(ConfigError):
        read_midi(bytes(blob))
