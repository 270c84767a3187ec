"""What containers say of themselves, against independent ways of finding it out."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import odd_files
from antiphon.audio.claims import _has_right_checksum, read_claim
from antiphon.audio.mpeg import find_mpeg_audio, mpeg_frame
from antiphon.audio.sniffing import identify
from antiphon.errors import AudioDecodeError

pytestmark = pytest.mark.unit


def ogg_checksum_bit_by_bit(page: bytes) -> int:
    """RFC 3533, section 6: generator 0x04c11db7, start value 0, nothing reversed."""
    register = 0
    for byte in page[:22] + bytes(4) + page[26:]:
        register ^= byte << 24
        for _ in range(8):
            register = (
                register << 1 ^ 0x04C11DB7 if register >> 31 else register << 1
            ) & 0xFFFFFFFF
    return register


@settings(max_examples=50)
@given(st.binary(min_size=27, max_size=200))
def test_the_checksum_of_an_ogg_page_is_that_of_the_standard(page: bytes) -> None:
    right = page[:22] + ogg_checksum_bit_by_bit(page).to_bytes(4, "little") + page[26:]
    assert _has_right_checksum(right)
    wrong = bytearray(right)
    wrong[-1] ^= 1
    assert not _has_right_checksum(bytes(wrong))


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000])
def test_mpeg_frames_follow_one_another_to_the_end(rate: int) -> None:
    data = odd_files.encoded("MP3", None, seconds=1.0, channels=1, rate=rate)
    at = samples = 0
    while frame := mpeg_frame(data, at):
        assert frame.hz == rate
        at += frame.bytes
        samples += frame.samples
    assert at == len(data)
    assert samples / rate == pytest.approx(1.0, abs=0.3)


def test_random_bytes_hold_no_mpeg_audio() -> None:
    for seed in range(50):
        assert find_mpeg_audio(np.random.default_rng(seed).bytes(65_536)) is None


@pytest.mark.parametrize(
    ("data", "seconds"),
    [
        (odd_files.wav(), 2.0),
        (odd_files.half(odd_files.wav()), 2.0),
        (odd_files.wav("IMA_ADPCM", channels=1, rate=8_000), 2.02),
        (odd_files.half(odd_files.encoded("AIFF", "PCM_16")), 2.0),
        (odd_files.mp3_without_length("CONSTANT"), 2.04),
    ],
)
def test_seconds_are_declared_by_the_header_alone(data: bytes, seconds: float) -> None:
    file = io.BytesIO(data)
    assert read_claim(file, identify(file)).seconds == pytest.approx(seconds, abs=0.01)


def test_an_endless_chain_of_tiny_chunks_is_given_up() -> None:
    data = b"RIFF\0\0\0\0WAVE" + b"junk\0\0\0\0" * 100_000
    file = io.BytesIO(data)
    assert read_claim(file, identify(file)).seconds is None


@given(st.binary(max_size=300))
def test_identifying_anything_names_a_kind_or_says_no(data: bytes) -> None:
    file = io.BytesIO(data)
    try:
        identity = identify(file)
    except AudioDecodeError:
        return
    read_claim(file, identity)
