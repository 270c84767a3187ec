"""Whole measurements: what must be found, what must not, and that it is the same by every door."""

from __future__ import annotations

import io
import json
import math
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

import mir_eval
import numpy as np
import pytest
import soundfile
from sounds import (
    HELD_SOUNDS,
    RATE,
    babble,
    beat_times,
    groove,
    mono,
    noise,
    piece,
    pink_noise,
    place,
    seconds_axis,
    sine,
    strike,
    thump,
    tone,
)

from antiphon.analysis import ANALYSIS_VERSION, adherence, measure
from antiphon.audio import Limits, Waveform
from antiphon.controls import Controls
from antiphon.errors import AudioLimitError, AudioTooShortError, StorageError
from antiphon.facts import Facts
from antiphon.notation import Key

pytestmark = pytest.mark.integration

SECONDS = 16.0


@lru_cache
def facts_of_piece(genre: str, bpm: float, key: str, metre: str = "4/4") -> Facts:
    return measure(piece(genre, bpm, key, metre).waveform)


@lru_cache
def plain_band() -> np.ndarray:
    return groove(beat_times(100.0, SECONDS), SECONDS)


def spans_are_in_order(facts: Facts) -> None:
    for spans in (facts.chords.spans, facts.sections.spans):
        assert spans
        assert spans[0].start_seconds == 0.0
        assert spans[-1].end_seconds == pytest.approx(facts.duration_seconds, abs=0.01)
        for before, after in zip(spans, spans[1:], strict=False):
            assert before.end_seconds == after.start_seconds
        assert all(span.start_seconds < span.end_seconds for span in spans)
    chords = [span.label for span in facts.chords.spans or ()]
    assert all(before != after for before, after in zip(chords, chords[1:], strict=False))


Asked = tuple[str, float, str, str]
PIECES: tuple[Asked, ...] = (
    ("rock", 120.0, "E minor", "4/4"),
    ("pop", 96.0, "C major", "4/4"),
    ("house", 124.0, "A minor", "4/4"),
    ("folk", 96.0, "D major", "3/4"),
)


@pytest.mark.parametrize("asked", PIECES, ids=lambda asked: asked[0])
def test_an_arranged_piece_is_measured_as_it_was_written(asked: Asked) -> None:
    _, bpm, key, metre = asked
    score = piece(*asked).score
    facts = facts_of_piece(*asked)
    wishes = Controls(tempo_bpm=bpm, key=Key.parse(key), metre=metre)
    assert all(wish.ok for wish in adherence(wishes, facts).values())
    truth = np.array(score.beat_times_seconds())
    assert mir_eval.beat.f_measure(truth, np.array(facts.beats.times_seconds)) >= 0.9
    bars = np.array([score.bar_to_seconds(bar) for bar in range(score.bars)])
    assert mir_eval.beat.f_measure(bars, np.array(facts.downbeats.times_seconds)) >= 0.9
    assert set(facts.downbeats.times_seconds or ()) <= set(facts.beats.times_seconds or ())
    assert abs(facts.tuning.cents or math.inf) < 5.0
    spans_are_in_order(facts)


def test_most_of_the_time_the_written_chord_is_heard() -> None:
    asked = PIECES[1]
    score, facts = piece(*asked).score, facts_of_piece(*asked)
    edges_in_beats = [(c.start_beat, c.start_beat + c.duration_beats) for c in score.chords]
    heard = facts.chords.spans or ()
    scores = mir_eval.chord.evaluate(
        np.array(edges_in_beats) * score.seconds_per_beat,
        [c.chord.label for c in score.chords],
        np.array([(s.start_seconds, s.end_seconds) for s in heard]),
        [s.label for s in heard],
    )
    assert scores["majmin"] >= 0.8


def test_a_gain_of_minus_30_db_changes_the_levels_and_nothing_musical() -> None:
    loud = facts_of_piece(*PIECES[0])
    waveform = piece(*PIECES[0]).waveform
    quiet = measure(Waveform(waveform.samples * np.float32(10 ** (-30 / 20)), RATE))
    assert quiet.tempo.bpm == pytest.approx(loud.tempo.bpm, rel=0.001)
    assert quiet.key.name == loud.key.name
    assert quiet.metre.beats_per_bar == loud.metre.beats_per_bar
    assert quiet.timbre.brightness_hz == pytest.approx(loud.timbre.brightness_hz, rel=0.001)
    assert (loud.loudness.integrated_lufs or 0) - (quiet.loudness.integrated_lufs or 0) == (
        pytest.approx(30.0, abs=0.05)
    )
    assert quiet.loudness.range_lu == pytest.approx(loud.loudness.range_lu, abs=0.2)


def test_silence_in_front_moves_everything_by_its_length() -> None:
    plain = measure(mono(plain_band()))
    later = measure(mono(np.concatenate([np.zeros(3 * RATE, np.float32), plain_band()])))
    assert later.tempo.bpm == pytest.approx(plain.tempo.bpm, rel=0.002)
    assert later.key.name == plain.key.name
    moved = np.array([t for t in later.beats.times_seconds or () if t > 3.1]) - 3.0
    assert mir_eval.beat.f_measure(np.array(plain.beats.times_seconds), moved) >= 0.95
    assert later.silence.share == pytest.approx(3.25 / 19.0, abs=0.02)


def musical(facts: Facts) -> dict[str, tuple[object, str | None]]:
    """The values that a gate may keep back, with the reason that stands beside each."""
    return {
        "tempo": (facts.tempo.bpm, facts.tempo.reason),
        "beats": (facts.beats.times_seconds, facts.beats.reason),
        "downbeats": (facts.downbeats.times_seconds, facts.downbeats.reason),
        "metre": (facts.metre.beats_per_bar, facts.metre.reason),
        "sections": (facts.sections.spans, facts.sections.reason),
        "tuning": (facts.tuning.cents, facts.tuning.reason),
        "key": (facts.key.name, facts.key.reason),
        "chords": (facts.chords.spans, facts.chords.reason),
    }


RHYTHM = ("tempo", "beats", "downbeats", "metre", "sections")
HARMONY = ("tuning", "key", "chords")


def assert_kept_back(facts: Facts, names: tuple[str, ...], why: str) -> None:
    for name in names:
        value, reason = musical(facts)[name]
        assert value is None, name
        assert why in (reason or ""), name
    assert facts.tempo.alternatives == () or "tempo" not in names


UNMUSICAL = {
    "white noise": noise(SECONDS),
    "pink noise": pink_noise(SECONDS),
    **{f"babble {seed}": babble(SECONDS, seed) for seed in (1, 2, 3)},
}


@pytest.mark.parametrize("sound", UNMUSICAL)
def test_noise_and_speech_have_neither_pulse_nor_notes(sound: str) -> None:
    facts = measure(mono(UNMUSICAL[sound]))
    assert_kept_back(facts, RHYTHM, "no steady pulse")
    assert_kept_back(facts, HARMONY, "no notes of a tempered scale")
    assert facts.loudness.integrated_lufs is not None
    assert facts.timbre.brightness_hz is not None


def test_drums_alone_have_a_tempo_and_no_key() -> None:
    times = beat_times(100.0, SECONDS)
    strokes = [(time, strike(0.1, seed=number)) for number, time in enumerate(times)]
    facts = measure(mono(place([*strokes, *((time, thump()) for time in times[::4])], SECONDS)))
    assert facts.tempo.bpm == pytest.approx(100.0, rel=0.01)
    assert_kept_back(facts, HARMONY, "no notes of a tempered scale")


def test_where_nothing_sounds_there_is_no_chord() -> None:
    gap = np.zeros(4 * RATE, np.float32)
    facts = measure(mono(np.concatenate([plain_band()[: 8 * RATE], gap, plain_band()[: 8 * RATE]])))
    (rest,) = [span for span in facts.chords.spans or () if span.label == "N"]
    assert rest.start_seconds == pytest.approx(8.0, abs=1.0)
    assert rest.end_seconds == pytest.approx(12.25, abs=1.0)


def test_knocks_at_random_have_no_pulse() -> None:
    times = np.sort(np.random.default_rng(3).uniform(0, SECONDS - 0.2, 35))
    facts = measure(mono(place([(float(t), strike(seed=n)) for n, t in enumerate(times)], SECONDS)))
    assert_kept_back(facts, RHYTHM, "no steady pulse")


@pytest.mark.parametrize("sound", HELD_SOUNDS)
def test_a_sound_that_never_changes_has_no_tempo(sound: str) -> None:
    assert_kept_back(measure(mono(HELD_SOUNDS[sound])), RHYTHM, "too little begins")


def test_a_steady_sine_has_a_tuning_but_no_key() -> None:
    facts = measure(mono(sine(440.0 * 2 ** (0.2 / 12), SECONDS)))
    assert facts.tuning.cents == pytest.approx(20.0, abs=1.0)
    assert_kept_back(facts, ("key", "chords"), "only about 1.0 different notes")
    assert facts.timbre.brightness_hz == pytest.approx(445.0, rel=0.01)
    assert facts.timbre.percussive_share == pytest.approx(0.0, abs=0.02)


@pytest.mark.parametrize("strokes_per_second", [0, 2], ids=["held", "repeated"])
@pytest.mark.parametrize("weakening", [0.0, 1.0], ids=["buzz", "sawtooth"])
def test_the_overtones_of_a_single_tone_are_no_chord(
    strokes_per_second: int, weakening: float
) -> None:
    """Hum of the mains, a sawtooth: their overtones spell a major chord with a seventh."""
    partials = [sine(110.0 * n, SECONDS, 0.1 / n**weakening) for n in range(1, 40)]
    sound = np.sum(partials, axis=0) + noise(SECONDS, 0.01)
    if strokes_per_second:
        sound *= np.exp(-6.0 * (seconds_axis(SECONDS) % (1 / strokes_per_second)))
    for name in ("key", "chords"):
        value, reason = musical(measure(mono(sound)))[name]
        assert value is None
        assert reason.endswith("chords and key are open")


@pytest.mark.parametrize("hz", [440.0, 880.0, 1000.0, 1500.0])
def test_a_metronome_has_a_tempo_and_no_key(hz: float) -> None:
    since = seconds_axis(SECONDS) % 0.5
    facts = measure(mono(np.float32(np.sin(2 * np.pi * hz * since) * np.exp(-60.0 * since))))
    assert facts.tempo.bpm == pytest.approx(120.0, rel=0.01)
    assert (facts.key.name, facts.chords.spans) == (None, None)


@pytest.mark.parametrize("hz", [100.0, 440.0, 1000.0])
def test_a_tone_in_noise_has_no_key(hz: float) -> None:
    facts = measure(mono(sine(hz, SECONDS, 0.3) + noise(SECONDS, 0.05)))
    assert (facts.key.name, facts.chords.spans) == (None, None)


def with_silence(at_seconds: float, silent_seconds: float) -> Facts:
    """A piece that stops, lets its last notes die away, and may go on."""
    sound = piece("rock", 120.0, "G major").waveform
    cut = round(at_seconds * sound.sample_rate)
    tail = sound.samples[:, cut : cut + round(0.4 * sound.sample_rate)]
    tail = tail * np.linspace(1.0, 0.0, tail.shape[1], dtype=np.float32) ** 2
    gap = np.zeros((sound.channels, round(silent_seconds * sound.sample_rate)), np.float32)
    parts = [sound.samples[:, :cut], tail, gap]
    if cut + tail.shape[1] < sound.frames and silent_seconds < 20.0:
        parts.append(sound.samples[:, cut:])
    return measure(Waveform(np.concatenate(parts, axis=1), sound.sample_rate))


def test_what_follows_the_music_has_no_beats_and_is_no_part() -> None:
    facts = with_silence(16.0, 24.0)
    assert max(facts.beats.times_seconds) < 17.0
    assert max(facts.downbeats.times_seconds) < 17.0
    assert facts.sections.spans[-1].start_seconds < 16.0
    assert facts.sections.spans[-1].end_seconds == pytest.approx(facts.duration_seconds, abs=0.01)
    assert facts.chords.spans[-1].label == "N"
    assert facts.tempo.bpm == pytest.approx(120.0, rel=0.01)


def test_no_beats_are_told_of_a_silence_in_the_middle() -> None:
    facts = with_silence(16.0, 12.0)
    inside = [time for time in facts.beats.times_seconds if 17.0 < time < 28.0]
    assert inside == []
    assert max(facts.beats.times_seconds) > 30.0


def test_beats_that_are_all_alike_have_no_metre() -> None:
    facts = measure(mono(place([(0.5 * n, strike()) for n in range(60)], 30.0)))
    assert facts.tempo.bpm in (pytest.approx(120.0, rel=0.01), pytest.approx(60.0, rel=0.01))
    assert facts.metre.beats_per_bar is None
    assert facts.downbeats.times_seconds is None
    assert "too much alike" in facts.metre.reason == facts.downbeats.reason


def test_confidence_falls_with_clarity() -> None:
    """The same beat ever deeper in noise, the same notes ever further from one scale."""
    beat = place([(0.5 * n, strike()) for n in range(40)], 20.0)
    levels = [0.0, 0.1, 0.2]
    tempi = [measure(mono(beat + noise(20.0, level))).tempo for level in levels]
    found = [tempo.confidence for tempo in tempi if tempo.bpm is not None]
    assert found == sorted(found, reverse=True)
    assert found[0] > found[-1]
    for tempo in tempi:
        assert all(rival.confidence <= tempo.confidence for rival in tempo.alternatives)
    chance = np.random.default_rng(3)
    tunings = []
    for spread in (0.0, 0.35, 0.5):
        notes = [
            (0.5 * n, tone(60 + 2 * n % 7 + chance.uniform(-spread, spread), 0.5))
            for n in range(32)
        ]
        tunings.append(measure(mono(place(notes, 16.0))).tuning.confidence)
    assert tunings == sorted(tunings, reverse=True)
    assert tunings[0] > tunings[-1]


def test_one_chord_in_a_long_silence_has_no_tempo() -> None:
    chord = place([(5.0, tone(pitch, 3.0)) for pitch in (60, 64, 67)], SECONDS)
    assert_kept_back(measure(mono(chord)), RHYTHM, "too little begins")


@pytest.mark.parametrize(
    "samples",
    [np.zeros(RATE * 12, np.float32), sine(440.0, 12.0, 1e-4)],
    ids=["digital", "far too quiet"],
)
def test_silence_is_called_silence(samples: np.ndarray) -> None:
    facts = measure(mono(samples))
    assert_kept_back(facts, (*RHYTHM, *HARMONY), "silent")
    assert facts.timbre.brightness_hz is facts.timbre.percussive_share is None
    assert "silent" in (facts.timbre.reason or "")
    assert facts.loudness.integrated_lufs is None
    assert "-70 LUFS" in (facts.loudness.reason or "")
    assert facts.silence.share == 1.0


@pytest.mark.parametrize("frames", [1, 2, round(0.05 * RATE)])
def test_next_to_nothing_is_too_short(frames: int) -> None:
    facts = measure(mono(np.full(frames, 0.5, np.float32)))
    assert_kept_back(facts, (*RHYTHM, *HARMONY), "too short")
    assert facts.loudness.integrated_lufs is None
    assert "shorter than" in (facts.loudness.reason or "")
    Facts.from_json(facts.to_json())


def test_three_seconds_of_music_have_harmony_and_no_tempo() -> None:
    facts = measure(mono(plain_band()[: 3 * RATE]))
    assert_kept_back(facts, RHYTHM, "3.00 s are too short; a tempo needs 4 s")
    assert facts.key.name is not None
    assert facts.chords.spans
    assert facts.chords.spans[-1].end_seconds == pytest.approx(3.0, abs=0.01)


def test_few_bars_have_no_sections() -> None:
    facts = measure(mono(plain_band()[: 10 * RATE]))
    assert facts.metre.beats_per_bar == 4
    assert_kept_back(facts, ("sections",), "bars are too few; sections need 8")


def test_no_samples_at_all_are_an_error() -> None:
    with pytest.raises(AudioTooShortError, match="no sound"):
        measure(Waveform(np.zeros((2, 0), np.float32), RATE))


def test_samples_that_are_no_numbers_are_replaced_and_reported() -> None:
    broken = plain_band().copy()
    broken[5000:5010] = np.nan
    broken[90_000] = np.inf
    facts = measure(mono(broken))
    assert any("not numbers" in problem for problem in facts.damage.problems)
    assert facts.tempo.bpm == pytest.approx(100.0, rel=0.01)
    Facts.from_json(facts.to_json())  # no NaN anywhere
    nothing_else = measure(mono(np.full(RATE * 5, np.nan, np.float32)))
    assert_kept_back(nothing_else, (*RHYTHM, *HARMONY), "silent")


def test_clipping_is_counted() -> None:
    clipped = np.clip(10.0 * sine(440.0, 2.0), -1.0, 1.0)
    assert measure(mono(clipped)).clipping.samples > RATE
    assert measure(mono(sine(440.0, 2.0, 0.9))).clipping.samples == 0


def test_channels_are_counted_and_heard_together() -> None:
    one = measure(mono(plain_band()))
    for count in (2, 8):
        many = measure(Waveform(np.tile(plain_band(), (count, 1)), RATE))
        assert many.channels == count
        assert many.tempo == one.tempo
        assert many.key == one.key
        assert many.dynamics == one.dynamics
    one_side = Waveform(np.stack([0 * plain_band(), plain_band()]), RATE)
    assert measure(one_side).key.name == one.key.name


@pytest.mark.parametrize("rate", [8_000, 48_000, 96_000])
def test_the_sample_rate_makes_no_difference_to_music(rate: int) -> None:
    from antiphon.audio import resample

    facts = measure(resample(mono(plain_band()), rate))
    assert facts.sample_rate == rate
    assert facts.duration_seconds == SECONDS
    assert facts.tempo.bpm == pytest.approx(100.0, rel=0.01)
    assert (facts.key.name, facts.metre.beats_per_bar) == ("C major", 4)
    assert facts.chords.spans
    assert facts.chords.spans[-1].end_seconds == SECONDS  # nothing is left in the resampler


def test_path_bytes_file_object_and_waveform_give_the_same_facts(tmp_path: Path) -> None:
    path = tmp_path / "a piece – ü 🎵.wav"
    stereo = np.stack([plain_band(), 0.5 * plain_band()])
    soundfile.write(path, stereo.T, RATE, "FLOAT")
    expected = measure(path)
    assert expected.path == str(path)
    assert measure(str(path)) == expected
    nameless = expected.with_path(None)
    assert measure(path.read_bytes()) == nameless
    assert measure(io.BytesIO(path.read_bytes())) == nameless
    assert measure(Waveform(stereo, RATE)) == nameless
    assert measure(path) == expected  # and once more


def test_isolated_decoding_gives_the_same_facts(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    soundfile.write(path, plain_band(), RATE)
    assert measure(path, isolated=True) == measure(path)


def test_limits_and_missing_files_are_errors(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, plain_band(), RATE)
    with pytest.raises(AudioLimitError, match="at most 0:00:05"):
        measure(path, limits=Limits(max_seconds=5.0))
    with pytest.raises(StorageError, match="does not exist"):
        measure(tmp_path / "missing.wav")


def test_json_has_the_keys_of_the_contract_and_comes_back() -> None:
    facts = facts_of_piece(*PIECES[0])
    assert Facts.from_json(facts.to_json()) == facts
    data = json.loads(facts.to_json())
    assert list(data) == [
        "path", "duration_seconds", "sample_rate", "channels", "tempo", "beats", "downbeats",
        "metre", "tuning", "key", "chords", "sections", "loudness", "dynamics", "silence",
        "clipping", "timbre", "damage",
    ]  # fmt: skip
    assert "reason" not in json.dumps(data)  # everything could be measured
    for name in ("tempo", "beats", "downbeats", "metre", "tuning", "key", "chords", "sections"):
        assert 0.0 <= data[name]["confidence"] <= 1.0


def test_pitch_is_tracked_on_request() -> None:
    melody = place([(0.5 * n, tone(60 + n, 0.5)) for n in range(6)], 3.0)
    assert measure(mono(melody)).pitch is None
    pitch = measure(mono(melody), pitch=True).pitch
    assert pitch is not None
    middle_of_third = round(1.25 / pitch.step_seconds)
    assert pitch.hz[middle_of_third] == pytest.approx(440.0 * 2 ** (-7 / 12), rel=0.003)
    assert len(pitch.hz) == math.ceil(3.0 / pitch.step_seconds)
    assert pitch.confidence > 0.9
    silent = measure(mono(np.zeros(RATE, np.float32)), pitch=True).pitch
    assert silent is not None
    assert set(silent.hz) == {None}
    assert silent.confidence == 0.0
    assert "no single periodic voice" in (silent.reason or "")


def test_the_version_is_a_number_that_can_grow() -> None:
    assert isinstance(ANALYSIS_VERSION, int)
    assert ANALYSIS_VERSION >= 1


MEMORY_CODE = """
import sys
from antiphon.analysis import measure

def peak_mb():
    status = open("/proc/self/status", encoding="ascii").read()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024

measure(sys.argv[1])  # loads everything
before = peak_mb()
measure(sys.argv[2])
print(peak_mb() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_twenty_minutes_are_streamed(tmp_path: Path) -> None:
    """They are 423 MB as float32; what is kept of them is a tenth."""
    short, long = tmp_path / "short.wav", tmp_path / "long.wav"
    band = plain_band()
    for path, repeats in ((short, 2), (long, 75)):
        with soundfile.SoundFile(path, "w", 44_100, 2, "PCM_16") as file:
            for _ in range(repeats):
                file.write(np.repeat(np.stack([band, band], axis=1), 2, axis=0))
    done = subprocess.run(
        [sys.executable, "-c", MEMORY_CODE, str(short), str(long)],
        capture_output=True, text=True, timeout=300, check=True,
    )  # fmt: skip
    assert float(done.stdout) < 120.0
