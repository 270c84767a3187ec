"""Attacks by the bytes of sound, through every way in: bombs, headers that lie, no sound at all."""

from __future__ import annotations

import itertools
import math
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile

import odd_files
from serve.attacks import (
    WAYS,
    audio_part,
    b64,
    canary,
    chat,
    opus_of_empty_packets,
    refusal,
    send,
    unharmed,
    url_part,
)
from serve.served import Served

pytestmark = pytest.mark.integration

GROWTH_MB = 300.0
# A composer holds what it goes on from as a whole, and decoded sound may have 512 MiB.
GROWTH_OF_WAY_MB = {"continue": 700.0, "melody": 700.0}


def refused(running: Served, way: str, data: bytes, *codes: str) -> str:
    """The message of a refusal; nothing is taken but a little memory."""
    with unharmed(running, GROWTH_OF_WAY_MB.get(way, GROWTH_MB)):
        outcome = send(running, way, data)
    assert outcome.code in codes, (way, outcome)
    return outcome.message


@pytest.fixture(scope="module")
def two_hours() -> bytes:
    """635 MB decoded."""
    return odd_files.silence(2, "FLAC", "PCM_16", 1, 22_050)


@pytest.fixture(scope="module")
def half_an_hour() -> bytes:
    """Of telephone sound, that does not say so."""
    return odd_files.flac_declaring(0, odd_files.silence(0.5, "FLAC", "PCM_16", 1, 8_000))


@pytest.mark.parametrize("way", WAYS)
def test_01_flac_bomb_of_two_hours(real: Served, two_hours: bytes, way: str) -> None:
    assert "2:00:00 long" in refused(real, way, two_hours, "audio_too_long")


def test_01_flac_bomb_that_does_not_say_how_long_it_is(real: Served, two_hours: bytes) -> None:
    hidden = odd_files.flac_declaring(0, two_hours)
    assert "0:20:01 long" in refused(real, "input_audio", hidden, "audio_too_long")


@pytest.mark.parametrize("way", ["content", "measurement", "melody"])
def test_01_smaller_flac_bomb_that_does_not_say_how_long_it_is(
    real: Served, half_an_hour: bytes, way: str
) -> None:
    refused(real, way, half_an_hour, "audio_too_long")


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_01_flac_bomb_that_does_not_say_how_long_it_is_through_every_way(
    real: Served, two_hours: bytes, way: str
) -> None:
    hidden = odd_files.flac_declaring(0, two_hours)
    most = "0:10:00" if way in ("continue", "melody") else "0:20:01"  # what is held in memory
    assert f"{most} long" in refused(real, way, hidden, "audio_too_long")


def test_02_flac_of_eight_channels_at_192_khz(real: Served) -> None:
    """A second of it is 6 MB decoded, 88 s of it are the 512 MiB that may be."""
    data = odd_files.silence(100 / 3600, "FLAC", "PCM_16", 8, 192_000)
    assert "0.6 GB" in refused(real, "measurement", data, "audio_too_long")
    hour = odd_files.flac_declaring(3600 * 192_000, data)
    assert "1:00:00 long" in refused(real, "form", hour, "audio_too_long")


@pytest.mark.slow
def test_02_flac_of_eight_channels_that_does_not_say_how_long_it_is(real: Served) -> None:
    data = odd_files.silence(100 / 3600, "FLAC", "PCM_16", 8, 192_000)
    hidden = odd_files.flac_declaring(0, data)
    assert "0.5 GB" in refused(real, "input_audio", hidden, "audio_too_long")


@pytest.mark.slow
def test_02_flac_of_eight_channels_at_192_khz_for_an_hour(real: Served) -> None:
    data = odd_files.silence(1, "FLAC", "PCM_16", 8, 192_000)
    for bomb in (data, odd_files.flac_declaring(0, data)):
        refused(real, "file", bomb, "audio_too_long")


def test_03_vorbis_of_ten_minutes_in_64_kb_takes_little(real: Served) -> None:
    """A factor of 1,800 is allowed as long as what comes is: it is decoded in blocks."""
    data = odd_files.silence(1 / 6, "OGG", "VORBIS", 1, 44_100)
    assert len(data) < 65_536
    with unharmed(real, GROWTH_MB):
        outcome = send(real, "measurement", data)
    assert outcome.value["duration_seconds"] == pytest.approx(600, abs=0.1)


@pytest.mark.parametrize("way", ["form", "file", "content"])
def test_04_opus_of_two_hours_in_a_few_bytes(real: Served, way: str) -> None:
    data = opus_of_empty_packets(7200)
    assert len(data) < 200_000
    refused(real, way, data, "audio_too_long")


@pytest.mark.parametrize("way", ["content"])
def test_04_opus_that_declares_a_second(real: Served, way: str) -> None:
    refused(real, way, opus_of_empty_packets(7200, declared_seconds=1.0), "audio_too_long")


def test_04_mp3_of_hours(real: Served) -> None:
    data = odd_files.silence(1 / 600, "MP3", None, 1, 8_000)
    refused(real, "infer", data * 1300, "audio_too_long", "audio_unreadable")


@pytest.mark.parametrize("way", ["input_audio", "content", "measurement", "melody"])
def test_05_flac_of_110_bytes_that_declares_256_gib(real: Served, way: str) -> None:
    data = odd_files.flac_declaring(2**36 - 1)[:110]
    refused(real, way, data, "audio_too_long")


def test_06_flac_of_eight_channels_at_655_khz(real: Served) -> None:
    data = odd_files.flac_of_8_channels_at_655350_hz()
    refused(real, "json_form", data, "audio_too_long", "audio_unreadable")


def test_07_wav_that_declares_4_gb(real: Served) -> None:
    """What is there is taken, and no more is made of it."""
    declaring = odd_files.patched(odd_files.wav(), (4, "<I", 2**32 - 1), (40, "<I", 0xFFFF_FF00))
    with unharmed(real, GROWTH_MB):
        assert send(real, "form", declaring).value["duration"] == pytest.approx(2.0)
    refused(real, "input_audio", declaring[:44], "audio_too_short", "audio_unreadable")


HEADERS = {
    "rate 0": (24, "<I", 0),
    "rate 4 GHz": (24, "<I", 2**32 - 1),
    "rate 1 MHz": (24, "<I", 1_000_000),
    "rate 400 kHz": (24, "<I", 400_000),
    "no channels": (22, "<H", 0),
    "9 channels": (22, "<H", 9),
    "1,024 channels": (22, "<H", 1024),
    "65,535 channels": (22, "<H", 65_535),
    "0 bits": (34, "<H", 0),
    "65,535 bits": (34, "<H", 65_535),
}


@pytest.mark.parametrize("name", HEADERS)
def test_08_wav_with_an_impossible_header(real: Served, name: str) -> None:
    position, layout, value = HEADERS[name]
    patches = [(position, layout, value)]
    if position == 22 and value:
        patches.append((32, "<H", 2 * value & 0xFFFF))
    way = list(WAYS)[list(HEADERS).index(name)]
    data = odd_files.patched(odd_files.wav(), *patches)
    refused(real, way, data, "audio_too_long", "audio_unreadable", "audio_too_short")


def test_08_wav_with_blocks_of_no_bytes(real: Served) -> None:
    data = odd_files.patched(odd_files.wav(), (32, "<H", 0))
    with unharmed(real, GROWTH_MB):
        assert send(real, "form", data).value["duration"] == pytest.approx(2.0)


@pytest.mark.parametrize("kind", ["IMA_ADPCM", "MS_ADPCM"])
def test_09_adpcm_with_blocks_of_50000_by_50000(real: Served, kind: str) -> None:
    """CVE-2026-37555."""
    data = odd_files.patched(
        odd_files.wav(kind, channels=1, rate=8_000),
        (22, "<H", 50_000), (32, "<H", 50_000), (38, "<H", 50_000),
    )  # fmt: skip
    refused(real, "description", data, "audio_too_long", "audio_unreadable")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 3e38])
def test_10_samples_that_are_no_numbers(real: Served, value: float) -> None:
    """What is said of it has none either: answers are parsed strictly."""
    some = odd_files.with_values(value, value)
    all_of_it = odd_files.encode(np.full((44_100, 1), value, "f4"), "WAV", "FLOAT")
    for way, data in (("form", some), ("measurement", all_of_it), ("input_audio", all_of_it)):
        with unharmed(real, GROWTH_MB):
            outcome = send(real, way, data)
        assert outcome.code in (None, "audio_unreadable", "audio_unusable"), outcome


@pytest.mark.parametrize("way", ["input_audio", "audio_url", "file_data", "form", "json_form"])
def test_11_nothing(real: Served, way: str) -> None:
    refused(real, way, b"", "empty_file", "bad_data_url")


def test_11_an_empty_upload(real: Served) -> None:
    with real.client() as client:
        for path in ("/v1/files", "/api/v1/upload"):
            answer = client.post(path, files={"file": ("a.wav", b"")})
            refusal(answer, 400, "empty_file")


HEADERS_ONLY = {"RIFF": 12, "wav": 44, "flac": 42, "ogg": 28, "mp3": 4, "opus": 47}


@pytest.mark.parametrize("name", HEADERS_ONLY)
def test_11_a_header_alone(real: Served, name: str) -> None:
    make = {"RIFF": odd_files.wav, "wav": odd_files.wav, "flac": odd_files.flac,
            "ogg": odd_files.ogg, "mp3": odd_files.mp3, "opus": odd_files.opus}  # fmt: skip
    data = make[name]()[: HEADERS_ONLY[name]]
    refused(real, "infer", data, "audio_unreadable", "audio_too_short", "audio_too_long")


# A process such as the service decodes in, for many files: the caps on memory are the same, what
# crashes it fails the test, and a minute is the most that one may take.
IN_ONE_CHILD = """
import resource, signal, sys
import numpy as np
import odd_files
from serve.test_attack_audio import cuts, mutations
from antiphon.audio.direct import DirectStream
from antiphon.audio.sources import open_source
from antiphon.errors import AudioError
from antiphon.serve.options import Caps
limits = Caps().decoding
cap = limits.child_memory_bytes
resource.setrlimit(resource.RLIMIT_AS, (cap, cap))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
decoded = 0
for data in {"cuts": cuts, "mutations": mutations}[sys.argv[1]](int(sys.argv[2]), int(sys.argv[3])):
    signal.alarm(60)
    try:
        source = open_source(data, limits)
        with DirectStream(source, 0.0, None, limits) as stream:
            for block in stream.blocks():
                assert np.isfinite(block).all()
            stream.damage()
        decoded += 1
    except (AudioError, MemoryError):
        pass
print("done", decoded)
"""


def decode_in_one_child(kind: str, first: int, last: int) -> int:
    """How many of them were decoded; none ended the process."""
    path = [str(Path(odd_files.__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    result = subprocess.run(
        [sys.executable, "-c", IN_ONE_CHILD, kind, str(first), str(last)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path), "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True, check=False,
    )  # fmt: skip
    # Decoders print, too, on whichever line.
    said = result.stdout.partition(b"done ")[2].split()
    assert said, (result.returncode, result.stderr[-2000:])
    return int(said[0])


def originals() -> list[bytes]:
    """Short ones, one of each kind."""
    return [
        odd_files.wav(seconds=0.3), odd_files.encoded("MP3", None, seconds=0.3),
        odd_files.encoded("FLAC", "PCM_16", seconds=0.3),
        odd_files.encoded("OGG", "VORBIS", seconds=0.3), odd_files.opus(0.3),
        odd_files.wav("IMA_ADPCM", channels=1, rate=8000, seconds=0.3),
        odd_files.wav("MS_ADPCM", channels=1, rate=8000, seconds=0.3),
        odd_files.wav("GSM610", channels=1, rate=8000, seconds=0.3),
        odd_files.encoded("AIFF", "PCM_16", seconds=0.3), odd_files.encoded("CAF", "ALAC_16"),
        odd_files.encoded("W64", "FLOAT", seconds=0.3), odd_files.encoded("AU", "PCM_16"),
        odd_files.encoded_by_ffmpeg("ipod", "aac", (), 0.3),
        odd_files.encoded_by_ffmpeg("webm", "libopus", (), 0.3),
        odd_files.encoded_by_ffmpeg("asf", "wmav2", (), 0.3),
        odd_files.encoded_by_ffmpeg("wv", "wavpack", (), 0.3),
    ]  # fmt: skip


def cuts(offset: int, step: int) -> Iterator[bytes]:
    """Every original, cut at each `step`th byte of its first 4 kB."""
    for data in originals():
        for length in range(offset, min(4096, len(data)), step):
            yield data[:length]


def mutations(first: int, last: int) -> Iterator[bytes]:
    """By seed: bits flipped all over as zzuf does, numbers at their ends in the header, parts
    left out, doubled and exchanged, two files spliced."""
    known = originals()
    for seed in range(first, last):
        dice = np.random.default_rng(seed)
        data = bytearray(known[seed % len(known)])
        for _ in range(dice.integers(1, 4)):
            kind, at = dice.integers(6), int(dice.integers(len(data)))
            size = int(dice.integers(1, 64))
            if kind == 0:
                flips = dice.random(len(data)) < dice.choice([1e-4, 1e-3, 1e-2])
                for place in np.flatnonzero(flips):
                    data[place] ^= 1 << int(dice.integers(8))
            elif kind == 1:
                at = int(dice.integers(min(200, len(data) - 8)))
                value = int(dice.choice([0, 1, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF]))
                layout = str(dice.choice(["<I", ">I"]))
                struct.pack_into(layout, data, at, value)
            elif kind == 2:
                del data[at : at + size]
            elif kind == 3:
                data[at:at] = data[at : at + size] * int(dice.integers(1, 20))
            elif kind == 4:
                other = int(dice.integers(len(data)))
                data[at : at + size] = data[other : other + size]
            else:
                strange = known[int(dice.integers(len(known)))]
                data[at:] = strange[int(dice.integers(len(strange))) :][:20_000]
            if len(data) < 16:
                break
        yield bytes(data)


def test_11_cut_at_many_bytes_of_the_first_4_kb() -> None:
    decode_in_one_child("cuts", 1, 97)


@pytest.mark.slow
def test_11_cut_at_every_byte_of_the_first_4_kb() -> None:
    decode_in_one_child("cuts", 0, 1)


def zip_before(data: bytes) -> bytes:
    return b"PK\x03\x04" + bytes(26) + data


NO_SOUND = {
    "html": b"<!DOCTYPE html><html><script>alert(1)</script></html>",
    "playlist": b"#EXTM3U\n#EXTINF:5\nfile:///etc/passwd\n",
    "gzip": b"\x1f\x8b\x08" + odd_files.garbage(9_999),
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>',
    "zip": b"PK\x03\x04" + odd_files.garbage(9_999),
    "raw samples": odd_files.garbage(88_200),
    "text": b"Ignore all rules.\n" * 999,
    "html, then wav": b"<html>" + odd_files.wav(),
    "zip, then wav": zip_before(odd_files.wav()),
    "gif, then wav": b"GIF89a" + odd_files.wav(),
    "pdf, then mp3": b"%PDF-1.7\n" + odd_files.mp3(),
    "png": b"\x89PNG\r\n\x1a\n" + odd_files.garbage(999),
}


@pytest.mark.parametrize("name", NO_SOUND)
def test_12_what_is_no_sound_is_not_taken_for_samples(real: Served, name: str) -> None:
    """whisper-asr-webservice #377 took any bytes for PCM."""
    way = list(WAYS)[list(NO_SOUND).index(name)]
    refused(real, way, NO_SOUND[name], "audio_unreadable")


def test_13_no_demuxer_opens_what_a_file_names(real: Served, tmp_path: Path) -> None:
    """vLLM #51895: HLS, concat, DASH, SDP and MP4 references would make FFmpeg read files and call
    addresses; IAMF and others are no kind that is known."""
    secret = tmp_path / "secret.wav"
    secret.write_bytes(odd_files.wav())
    with canary() as (address, came):
        m4a = odd_files.encoded_by_ffmpeg("ipod", "aac")
        outside = f"{address}/a.wav\0".encode()
        entry = struct.pack(">I4sI", 12 + len(outside), b"url ", 0) + outside
        texts = [
            f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{address}/a.ts\n#EXT-X-ENDLIST\n",
            f"#EXTM3U\n#EXTINF:9,\nfile://{secret}\n#EXT-X-ENDLIST\n",
            f"ffconcat version 1.0\nfile '{secret}'\nfile '{address}/a.wav'\n",
            f"v=0\no=- 0 0 IN IP4 127.0.0.1\n\nm=audio {address[-4:]} RTP/AVP 0\n",
            f"<?xml version='1.0'?><MPD><BaseURL>{address}/</BaseURL></MPD>",
            f"concat:{secret}|{secret}",
        ]
        others = [
            m4a.replace(struct.pack(">I4sI", 12, b"url ", 1), entry),
            b"\0\0\0\x18ftypiamf\0\0\0\0iamfmp41" + odd_files.garbage(999),
            b"\xf8\x06iamf\0\0" + odd_files.garbage(999),
        ]
        with unharmed(real, GROWTH_MB):
            for way, data in zip(
                itertools.cycle(("input_audio", "form", "measurement")),
                [*(text.encode() for text in texts), *others],
                strict=False,
            ):
                assert send(real, way, data).code == "audio_unreadable", data[:60]
        assert came == []


def test_14_a_thousand_parts(real: Served) -> None:
    """As many different ones, and the same one again and again (CVE-2026-5497)."""
    with real.client() as client, unharmed(real, GROWTH_MB):
        for parts in (
            [
                audio_part(odd_files.wav(seconds=0.05) + bytes([n & 255, n >> 8]))
                for n in range(999)
            ],
            [audio_part(odd_files.wav(seconds=0.05))] * 1000,
            [url_part(f"data:audio/wav;base64,{b64(b'x')}")] * 1000,
        ):
            refusal(chat(client, *parts), 400, "too_many_parts", "two_recordings")


def test_14_several_bombs_in_one_request(real: Served, two_hours: bytes) -> None:
    """One recording is decoded for a request, whatever there is in it."""
    hidden = odd_files.flac_declaring(0, two_hours)
    with real.client() as client, unharmed(real, GROWTH_MB):
        refusal(chat(client, *(audio_part(hidden + bytes([n])) for n in range(6))), 400)


def side_by_side(running: Served, data: bytes) -> None:
    """Of decoders there are no more than the owner has, and two of each worker."""
    ways = ["content"] * 4 + ["measurement", "form"]
    with unharmed(running, 500), ThreadPoolExecutor(6) as pool:
        outcomes = list(pool.map(lambda way: send(running, way, data), ways))
    assert {outcome.code for outcome in outcomes} == {"audio_too_long"}


def test_14_bombs_side_by_side(real: Served, half_an_hour: bytes) -> None:
    side_by_side(real, half_an_hour)


@pytest.mark.slow
def test_14_large_bombs_side_by_side(real: Served, two_hours: bytes) -> None:
    side_by_side(real, odd_files.flac_declaring(0, two_hours))


def test_15_mutated_files_end_no_decoder() -> None:
    assert decode_in_one_child("mutations", 0, 300) > 50  # most are still sound to some degree


@pytest.mark.slow
def test_15_a_hundred_thousand_mutated_files_end_no_decoder() -> None:
    step = 5_000
    firsts = range(1_000, 101_000, step)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda first: decode_in_one_child("mutations", first, first + step), firsts))


def test_15_mutated_files_through_the_api(real: Served) -> None:
    with unharmed(real, GROWTH_MB):
        for number, data in enumerate(mutations(500_000, 500_010)):
            outcome = send(real, ("content", "measurement", "form")[number % 3], data)
            known = ("audio_unreadable", "audio_too_long", "audio_too_short", "audio_unusable")
            assert outcome.code in (None, *known), outcome


ENCODE = """
import resource, sys
from pathlib import Path
import numpy as np
from antiphon import audio
from antiphon.serve.encoding import Encoder
form, seconds, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
rate = 16_000
second = np.random.default_rng(1).uniform(-0.3, 0.3, (1, rate)).astype(np.float32)
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
audio.write(folder / f"warm.{form}", iter([second]), sample_rate=rate, format=form)
before = peak()
blocks = (second for _ in range(seconds))
audio.write(folder / f"long.{form}", blocks, sample_rate=rate, format=form)
whole = audio.Waveform(np.tile(second, 270 if form == "ogg" else 10), rate)
audio.write(folder / f"whole.{form}", whole, format=form)  # Vorbis at once ends the process
encoder, samples = Encoder(form, 16_000, 1), (np.resize(second, (1, 16_000)) * 32767).astype("<i2")
size = sum(len(encoder.encode(samples.tobytes())) for _ in range(120)) + len(encoder.finish())
middle = peak()
for _ in range(100):  # CVE-2025-56226: what libsndfile does not free
    one = Encoder(form, 16_000, 1)
    one.encode(samples.tobytes()), one.finish()
print(middle - before, peak() - middle, size)
"""


def encode(form: str, seconds: int, folder: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", ENCODE, form, str(seconds), str(folder)],
        capture_output=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-2000:]
    growth_mb, leak_mb, size = map(float, result.stdout.split())
    assert soundfile.info(folder / f"long.{form}").duration == pytest.approx(seconds, abs=0.1)
    assert growth_mb < 120
    assert leak_mb < 20
    assert size > 10_000


@pytest.mark.parametrize("form", ["ogg", "mp3", "flac"])
def test_16_long_pieces_are_encoded_in_blocks(form: str, tmp_path: Path) -> None:
    encode(form, 60, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["ogg", "mp3", "flac", "opus"])
def test_16_twenty_minutes_are_encoded_in_blocks(form: str, tmp_path: Path) -> None:
    encode(form, 1200, tmp_path)
