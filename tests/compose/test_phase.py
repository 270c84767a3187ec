"""Phases of sounds whose magnitudes are true: what comes back, in blocks and whole."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon.analysis.mel import mel_distance
from antiphon.compose.codecs import phase
from antiphon.compose.codecs.phase import (
    AHEAD_FRAMES,
    BLOCK_FRAMES,
    PhaseStream,
    analyse,
    margin,
    nearest_peaks,
)
from antiphon.errors import EngineError

pytestmark = pytest.mark.unit

RATE, WINDOW, HOP = 16_000, 1024, 160
FloatArray = np.ndarray


def magnitudes_of(sound: FloatArray) -> FloatArray:
    return analyse(np.pad(sound, margin(WINDOW, HOP)), WINDOW, HOP)


def sine(hz: float, frames: int, amplitude: float = 0.5) -> FloatArray:
    times = np.arange(frames * HOP) / RATE
    return (amplitude * np.sin(2 * np.pi * hz * times + 0.3)).astype(np.float32)


def chord(frames: int) -> FloatArray:
    """Five partials each of an A major triad, struck anew every half second."""
    times = np.arange(frames * HOP) / RATE
    notes = [
        np.sin(2 * np.pi * hz * partial * times) / partial
        for hz in (220.0, 277.2, 329.6)
        for partial in range(1, 6)
    ]
    return (0.1 * sum(notes) * np.exp(-3 * (times % 0.5))).astype(np.float32)


def sound_of(magnitudes: FloatArray, iterations: int = 32) -> FloatArray:
    stream = PhaseStream(WINDOW, HOP, iterations)
    return np.concatenate([stream.feed(magnitudes), stream.finish()])


def misfit(sound: FloatArray, magnitudes: FloatArray) -> FloatArray:
    """How far the magnitudes of a sound are from those that were asked for, per frame [N]."""
    return np.abs(magnitudes_of(sound) - magnitudes).sum(axis=1) / magnitudes.sum(axis=1).mean()


def peak_hz(sound: FloatArray) -> float:
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    return float(spectrum.argmax() * RATE / len(sound))


def test_a_chord_comes_back() -> None:
    sound = chord(400)
    made = sound_of(magnitudes_of(sound))
    assert made.shape == sound.shape
    assert made.dtype == np.float32
    noise = np.random.default_rng(0).normal(0, 0.1, len(sound)).astype(np.float32)
    assert mel_distance(sound, made, RATE) < 0.1 < mel_distance(sound, noise, RATE)


def test_iterations_make_it_consistent() -> None:
    magnitudes = magnitudes_of(chord(300))
    errors = [misfit(sound_of(magnitudes, n), magnitudes).mean() for n in (0, 4, 32, 128)]
    assert errors[0] > 1.3 * errors[1] > 1.3**2 * errors[2] > 1.3**2 * errors[3]


@pytest.mark.parametrize("hz", [100.0, 441.0, 1234.5, 6000.0])
def test_the_start_alone_holds_a_steady_sine(hz: float) -> None:
    """Without an iteration: by the right frequency only do frames add up to a steady amplitude."""
    frames = 300
    made = sound_of(magnitudes_of(sine(hz, frames)), iterations=0)
    middle = made[40 * HOP : -40 * HOP]
    assert peak_hz(middle) == pytest.approx(hz, abs=1)
    level = np.sqrt(np.square(middle[: 220 * HOP].reshape(-1, 4 * HOP)).mean(axis=1))
    assert level == pytest.approx(0.5 / np.sqrt(2), rel=0.05)


@pytest.mark.parametrize("position", [50.0, 50.3, 50.49, 120.8])
def test_a_peak_is_found_between_bins(position: float) -> None:
    hz = position * RATE / WINDOW
    peaks, positions = nearest_peaks(magnitudes_of(sine(hz, 40)))
    nearest = round(position)
    assert (peaks[10:30, nearest - 1 : nearest + 2] == nearest).all()
    assert positions[10:30, nearest] == pytest.approx(position, abs=0.03)


def test_a_bin_follows_the_nearer_of_two_peaks() -> None:
    magnitudes = np.zeros((1, 40), np.float32)
    magnitudes[0, [10, 20]] = 1, 3
    peaks, _ = nearest_peaks(magnitudes)
    assert peaks[0, 8:16].tolist() == [10] * 8
    assert peaks[0, 16:24].tolist() == [20] * 8


def test_joints_fit_as_well_as_the_rest_and_as_without(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = 8 * BLOCK_FRAMES
    magnitudes = magnitudes_of(chord(frames))
    blocks = misfit(sound_of(magnitudes), magnitudes)
    monkeypatch.setattr(phase, "BLOCK_FRAMES", 10 * frames)
    whole = misfit(sound_of(magnitudes), magnitudes)
    place = np.arange(frames) % BLOCK_FRAMES
    near = (place < 3) | (place >= BLOCK_FRAMES - 3)
    near[:BLOCK_FRAMES] = near[-BLOCK_FRAMES:] = False  # the ends are no joints
    assert blocks[near].mean() < 1.5 * whole[near].mean() + 0.001
    assert blocks.mean() < 1.1 * whole.mean() + 0.001


def test_joints_do_not_click() -> None:
    sound = sine(300, 6 * BLOCK_FRAMES)
    made = sound_of(magnitudes_of(sound))
    bend = np.abs(np.diff(made, 2))
    joints = np.arange(BLOCK_FRAMES, 6 * BLOCK_FRAMES, BLOCK_FRAMES) * HOP - margin(WINDOW, HOP)
    largest = max(bend[joint - HOP : joint + HOP].max() for joint in joints)
    # A sine bends by w^2 times its amplitude; a jump of a tenth of it would bend by 0.05.
    assert largest < 1.2 * 0.5 * (2 * np.pi * 300 / RATE) ** 2


@settings(max_examples=25, deadline=None)
@given(
    frames=st.integers(0, 2 * BLOCK_FRAMES + 40),
    sizes=st.lists(st.integers(0, 90), min_size=1, max_size=5).filter(any),
)
def test_pieces_equal_the_whole(frames: int, sizes: list[int]) -> None:
    random = np.random.default_rng(frames)
    magnitudes = np.abs(random.normal(size=(frames, WINDOW // 2 + 1))).astype(np.float32)
    stream = PhaseStream(WINDOW, HOP, 2)
    made, start = [], 0
    while start < frames:
        for size in sizes:
            made.append(stream.feed(magnitudes[start : start + size]))
            start += size
    pieces = np.concatenate([*made, stream.finish()])
    assert pieces.shape == (frames * HOP,)
    assert np.array_equal(pieces, sound_of(magnitudes, 2))


def test_the_ends_fit_although_the_sound_is_cut_off() -> None:
    """Without silence outside of the piece the first frames miss by 0.11, the last by 0.04."""
    magnitudes = magnitudes_of(chord(300)[70 * HOP :])
    errors = misfit(sound_of(magnitudes), magnitudes)
    assert errors[:4].mean() < 0.08
    assert errors[-4:].mean() < 0.03


def test_what_is_settled_does_not_wait_for_more_than_what_is_ahead() -> None:
    magnitudes = magnitudes_of(chord(3 * BLOCK_FRAMES))
    stream = PhaseStream(WINDOW, HOP, 1)
    assert len(stream.feed(magnitudes[: BLOCK_FRAMES + AHEAD_FRAMES - 1])) == 0
    settled = stream.feed(magnitudes[BLOCK_FRAMES + AHEAD_FRAMES - 1 :][:1])
    assert len(settled) == BLOCK_FRAMES * HOP - margin(WINDOW, HOP)


def test_silence_stays_silent() -> None:
    assert not sound_of(np.zeros((200, WINDOW // 2 + 1), np.float32)).any()


def test_other_windows_and_hops() -> None:
    for window, hop in ((256, 40), (512, 128), (64, 32)):
        sound = sine(1000, 100)
        stream = PhaseStream(window, hop, 16)
        magnitudes = analyse(np.pad(sound, margin(window, hop)), window, hop)
        made = np.concatenate([stream.feed(magnitudes), stream.finish()])
        assert made.shape == sound.shape
        assert peak_hz(made) == pytest.approx(1000, abs=3)


def test_a_finished_stream_takes_no_more() -> None:
    stream = PhaseStream(WINDOW, HOP, 1)
    assert stream.finish().shape == (0,)
    with pytest.raises(EngineError, match="this stream is finished"):
        stream.finish()
    with pytest.raises(EngineError, match="this stream is finished"):
        stream.feed(np.zeros((1, WINDOW // 2 + 1), np.float32))
