"""What part of a recording a model hears: lengths, caps, silence, and the tokens that it costs."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from antiphon.audio import Limits, Waveform, write
from antiphon.errors import AudioError, AudioTooShortError
from antiphon.listen.windows import (
    LONG_MODES,
    SAMPLE_RATE,
    WINDOW_SAMPLES,
    Clip,
    LongMode,
    audio_tokens,
    plan_parts,
    read_clips,
    recording_seconds,
)

pytestmark = pytest.mark.unit


def tone(seconds: float, rate: int = SAMPLE_RATE, channels: int = 1) -> Waveform:
    times = np.arange(round(seconds * rate)) / rate
    samples = np.float32(0.3 * np.sin(2 * np.pi * 220.0 * times))
    return Waveform(np.tile(samples, (channels, 1)), rate)


@pytest.mark.parametrize("mode", LONG_MODES)
def test_what_fits_is_heard_whole(mode: LongMode) -> None:
    hearing = plan_parts(600.0, 600.0, mode)
    assert hearing.parts == ((0.0, 600.0),)
    assert hearing.notes == ()


@pytest.mark.parametrize("seconds", [600.1, 601.0, 1199.9, 1200.0, 1500.0, 36_000.0])
def test_parts_cover_everything_within_the_cap(seconds: float) -> None:
    for mode in ("chunk", "slide"):
        hearing = plan_parts(seconds, 600.0, mode)
        starts, stops = zip(*hearing.parts, strict=True)
        assert starts[0] == 0.0
        assert stops[-1] == pytest.approx(seconds)
        lengths = [stop - start for start, stop in hearing.parts]
        assert max(lengths) <= 600.0 + 1e-6
        assert min(lengths) > 0.99 * max(lengths)  # no tiny tail
        gaps = [b - a for a, b in zip(stops[:-1], starts[1:], strict=True)]
        if mode == "chunk":
            assert gaps == pytest.approx([0.0] * len(gaps))
        else:
            assert gaps == pytest.approx([-lengths[0] / 4] * len(gaps))
        assert hearing.cut_seconds == 0.0
        assert f"{len(starts)} parts ({mode})" in hearing.notes[0]


def test_truncating_says_what_is_cut() -> None:
    hearing = plan_parts(1500.0, 600.0, "truncate")
    assert hearing.parts == ((0.0, 600.0),)
    assert hearing.cut_seconds == 900.0
    assert hearing.notes == ("only the first 600 s of 1500 s heard",)


def test_clips_are_16_khz_mono_from_any_source(tmp_path: Path) -> None:
    file = tmp_path / "a b.flac"
    write(file, tone(4.0, 44_100, 2))
    assert recording_seconds(file, Limits(), isolated=False) == pytest.approx(4.0)
    for source in (file, file.read_bytes(), tone(4.0, 44_100, 2)):
        hearing = plan_parts(4.0, 2.0, "chunk")
        first, second = read_clips(source, hearing, Limits(), isolated=False)
        assert (first.start_seconds, second.start_seconds) == (0.0, 2.0)
        assert len(first.samples) == pytest.approx(2 * SAMPLE_RATE, abs=1)
        assert second.stop_seconds == pytest.approx(4.0, abs=1e-3)
        crossings = np.count_nonzero(np.diff(np.signbit(first.samples[1000:-1000])))
        assert crossings == pytest.approx(2 * 220 * 1.875, rel=0.02)


def test_silence_and_next_to_nothing_are_errors() -> None:
    with pytest.raises(AudioTooShortError, match=r"0\.050 s of sound; a model needs 0\.1 s"):
        list(read_clips(tone(0.05), plan_parts(0.05, 600.0, "chunk"), Limits(), isolated=False))
    silence = Waveform(np.zeros((1, 5 * SAMPLE_RATE), np.float32), SAMPLE_RATE)
    with pytest.raises(AudioError, match="silent"):
        list(read_clips(silence, plan_parts(5.0, 600.0, "chunk"), Limits(), isolated=False))


def test_a_silent_part_is_left_out_and_the_rest_heard() -> None:
    samples = tone(4.0).samples.copy()
    samples[:, : 2 * SAMPLE_RATE] = 0.0
    sound = Waveform(samples, SAMPLE_RATE)
    (clip,) = read_clips(sound, plan_parts(4.0, 2.0, "chunk"), Limits(), isolated=False)
    assert clip.start_seconds == 2.0


def test_no_number_that_is_none_reaches_a_model() -> None:
    samples = tone(2.0).samples.copy()
    samples[0, 100:200] = np.nan
    samples[0, 300] = np.inf
    sound = Waveform(samples, SAMPLE_RATE)
    (clip,) = read_clips(sound, plan_parts(2.0, 600.0, "chunk"), Limits(), isolated=False)
    assert np.isfinite(clip.samples).all()


def test_the_digest_is_that_of_the_samples() -> None:
    samples = tone(1.0).samples[0]
    assert Clip(samples).digest == Clip(samples.copy(), 30.0).digest
    other = samples.copy()
    other[5] += 1e-4
    assert Clip(samples).digest != Clip(other).digest


def test_tokens_by_the_formula_of_the_processor() -> None:
    def expected(frames: int) -> int:
        first = math.floor((frames - 1) / 2) + 1
        return math.floor((first - 2) / 2) + 1

    assert audio_tokens(WINDOW_SAMPLES) == expected(3000) == 750
    assert audio_tokens(5 * WINDOW_SAMPLES) == 3750
    assert audio_tokens(WINDOW_SAMPLES + SAMPLE_RATE) == 750 + expected(100)
    assert audio_tokens(320) == 0  # an answer without hearing, were it asked
