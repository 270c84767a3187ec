"""Fingerprints: one recording is found again, and pieces of one style are not taken for one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from corpus_pieces import RATE, noise, piece, silence

from antiphon.audio import Limits, Waveform, resample, write
from antiphon.data.fingerprints import (
    FRAMES_PER_SECOND,
    MAX_BIT_ERROR_RATE,
    MAX_SECONDS,
    Fingerprint,
    FingerprintMeter,
    Joined,
    bit_error_rate,
    from_text,
    group_recordings,
    to_text,
)
from antiphon.data.probing import probe
from antiphon.errors import ConfigError

pytestmark = pytest.mark.integration

PLAIN = [("rock", 0), ("rock", 1), ("house", 2), ("house", 3), ("jazz", 4), ("jazz", 5)]
ALIKE = 10  # pieces of one style, one tempo and one key


def print_of(waveform: Waveform, block: int = 5_000) -> Fingerprint:
    meter = FingerprintMeter(waveform.sample_rate)
    for at in range(0, waveform.frames, block):
        meter.push(waveform.samples[:, at : at + block])
    return meter.finish()


def changed(waveform: Waveform, folder: Path, name: str, cut_seconds: float) -> Waveform:
    """Cut, 12 dB softer, at another rate, through MP3 at a constant 128 kbit/s."""
    other = resample(waveform, 32_000)
    samples = other.samples[:, round(cut_seconds * 32_000) :] * 0.25
    path = folder / f"{name}.mp3"
    soundfile.write(
        path, samples.T, 32_000, format="MP3", bitrate_mode="CONSTANT", compression_level=0.66
    )
    assert 15_000 < path.stat().st_size / (samples.shape[1] / 32_000) < 17_500  # bytes a second
    data, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return Waveform(np.ascontiguousarray(data.T), rate)


def test_the_same_recording_is_found_again_and_no_other(tmp_path: Path) -> None:
    pieces = [piece(seed, genre, 14.0) for genre, seed in PLAIN]
    pieces += [piece(100 + n, "house", 14.0, 124.0, "A minor") for n in range(ALIKE)]
    cuts = [5.0, 5.023, 0.0, 5.0, 4.999, 5.011]
    copies = [
        changed(one, tmp_path, str(n), cut)
        for n, (one, cut) in enumerate(zip(pieces, cuts, strict=False))
    ]
    prints = [print_of(one) for one in (*pieces, *copies)]
    firsts = group_recordings(prints)
    assert firsts[: len(pieces)] == list(range(len(pieces)))
    assert firsts[len(pieces) :] == list(range(len(copies)))
    for one, copy, cut in zip(prints, prints[len(pieces) :], cuts, strict=False):
        offset = round(cut * FRAMES_PER_SECOND)
        rate = min(bit_error_rate(one, copy, offset + shift)[0] for shift in range(-3, 4))
        assert rate < 0.2 < MAX_BIT_ERROR_RATE


def test_different_pieces_differ_in_a_third_of_the_bits_at_least() -> None:
    prints = [print_of(piece(100 + n, "house", 14.0, 124.0, "A minor")) for n in range(ALIKE)]
    half = len(prints[0]) // 2
    for n, one in enumerate(prints):
        for other in prints[:n]:
            rates = [bit_error_rate(one, other, offset)[0] for offset in range(-half, half)]
            assert min(rates) > MAX_BIT_ERROR_RATE


def test_blocks_do_not_matter_and_quiet_is_nothing() -> None:
    one = piece(1)
    assert np.array_equal(print_of(one, 5_000), print_of(one, 777))
    assert not print_of(silence()).any()
    both = Waveform(np.concatenate([one.samples, silence(3.0).samples], axis=1), RATE)
    assert not print_of(both)[-round(2.0 * FRAMES_PER_SECOND) :].any()
    assert group_recordings([print_of(silence())] * 2) == [0, 1]
    assert print_of(silence(0.2)).shape == (0,)
    assert group_recordings([]) == []


def test_it_is_bounded() -> None:
    long = noise(MAX_SECONDS + 20.0)
    assert len(print_of(long)) <= MAX_SECONDS * FRAMES_PER_SECOND


def test_many_copies_are_one_group_and_order_does_not_matter() -> None:
    copies = [print_of(Waveform(piece(1).samples[:, n * 400 :], RATE)) for n in range(20)]
    others = [print_of(piece(seed, "jazz")) for seed in range(30, 34)]
    mixed = [*others[:2], *copies, *others[2:]]
    assert group_recordings(mixed) == [0, 1, *[2] * 20, 22, 23]


def test_a_short_stretch_in_common_makes_no_one_recording() -> None:
    """A jingle of 4 s before two pieces."""
    jingle = piece(50, "pop").samples[:, : 4 * RATE]
    prints = [
        print_of(Waveform(np.concatenate([jingle, piece(seed, "jazz", 14.0).samples], 1), RATE))
        for seed in (60, 61)
    ]
    assert group_recordings(prints) == [0, 1]


def test_text_and_back(tmp_path: Path) -> None:
    write(tmp_path / "a.flac", piece(1))
    found = probe(tmp_path / "a.flac", Limits()).fingerprint
    assert found.dtype == np.uint32
    assert np.array_equal(from_text(to_text(found)), found)
    with pytest.raises(ConfigError, match="a fingerprint is damaged"):
        from_text("%%%")


def test_what_is_joined_goes_by_the_first() -> None:
    joined = Joined(5)
    joined.join(4, 3)
    joined.join(3, 1)
    assert [joined.first(n) for n in range(5)] == [0, 1, 2, 1, 1]
