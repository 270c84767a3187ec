"""Damaged and odd files, made on the spot: `ODD_FILES[name].make(folder)` returns a path.

Each says what must come of it: "readable" without a word of damage, "salvaged" with some,
"refused" with one error. `match` is part of the problem or of the error. `heavy` ones take
seconds or 100 MB to read; `codecs` ones need PyAV.
"""

from __future__ import annotations

import io
import os
import struct
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile

from antiphon.audio.mpeg import mpeg_frame_bytes

RATE = 44_100
SECONDS = 2.0

Expectation = Literal["readable", "salvaged", "refused"]


@dataclass(frozen=True)
class OddFile:
    """One kind: how to make it in a folder, and what reading it must lead to."""

    make: Callable[[Path], Path]
    expect: Expectation
    match: str = ""
    heavy: bool = False
    codecs: bool = False


ODD_FILES: dict[str, OddFile] = {}


def sound(seconds: float = SECONDS, channels: int = 2, rate: int = RATE) -> np.ndarray:
    """A tone for each channel with a little noise, [T, C]; the same every time."""
    times = np.arange(round(seconds * rate)) / rate
    pitches = 220.0 * np.arange(2, channels + 2)
    tones = 0.3 * np.sin(2 * np.pi * times[:, None] * np.minimum(pitches, rate / 4))
    noise = np.random.default_rng(7).standard_normal(tones.shape)
    return (tones + 0.02 * noise).astype(np.float32)


@lru_cache(maxsize=64)
def encoded(
    container: str,
    subtype: str | None = None,
    seconds: float = SECONDS,
    channels: int = 2,
    rate: int = RATE,
) -> bytes:
    """The sound as the bytes of a file."""
    return encode(sound(seconds, channels, rate), container, subtype, rate)


def encode(
    samples: np.ndarray,
    container: str,
    subtype: str | None = None,
    rate: int = RATE,
    **options: str | float,
) -> bytes:
    """Samples [T, C] as the bytes of a file."""
    file = io.BytesIO()
    file.name = ""
    with soundfile.SoundFile(
        file, "w", rate, samples.shape[1], subtype, format=container, **options
    ) as encoder:
        for at in range(0, len(samples), 4096):
            encoder.write(samples[at : at + 4096])
    return file.getvalue()


@lru_cache(maxsize=16)
def encoded_by_ffmpeg(
    container: str, codec: str, options: tuple[tuple[str, str], ...] = (), seconds: float = SECONDS
) -> bytes:
    """The sound in a format that only FFmpeg writes, as the bytes of a file."""
    import av

    frame = av.AudioFrame.from_ndarray(
        np.ascontiguousarray(sound(seconds, rate=48_000).T), format="fltp", layout="stereo"
    )
    frame.sample_rate = 48_000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "sound")
        with av.open(str(path), "w", format=container, options=dict(options)) as output:
            stream = output.add_stream(codec, rate=48_000, layout="stereo")
            stream.bit_rate = 128_000
            stream.codec_context.format = stream.codec_context.codec.audio_formats[0]
            stream.codec_context.open()
            resampler = av.AudioResampler(
                stream.codec_context.format,
                "stereo",
                48_000,
                stream.codec_context.frame_size or 1024,
            )
            for part in [*resampler.resample(frame), *resampler.resample(None)]:
                output.mux(stream.encode(part))
            output.mux(stream.encode(None))
        return path.read_bytes()


def odd(
    name: str,
    file_name: str,
    data: Callable[[], bytes],
    expect: Expectation,
    match: str = "",
    *,
    heavy: bool = False,
    codecs: bool = False,
) -> None:
    """Register a file that is nothing but a name and bytes."""

    def make(folder: Path) -> Path:
        path = folder / file_name
        path.write_bytes(data())
        return path

    ODD_FILES[name] = OddFile(make, expect, match, heavy, codecs)


def patched(data: bytes, *patches: tuple[int, str, int]) -> bytes:
    """The bytes with numbers (position, struct format, value) written over them."""
    changed = bytearray(data)
    for position, layout, value in patches:
        struct.pack_into(layout, changed, position, value)
    return bytes(changed)


def garbage(count: int, seed: int = 3) -> bytes:
    return np.random.default_rng(seed).bytes(count)


def damaged_in_the_middle(data: bytes, count: int = 3000) -> bytes:
    at = len(data) // 2
    return data[:at] + garbage(count) + data[at + count :]


def half(data: bytes) -> bytes:
    return data[: len(data) // 2]


def wav(subtype: str = "PCM_16", **shape: float) -> bytes:
    return encoded("WAV", subtype, **shape)  # type: ignore[arg-type]


def mp3() -> bytes:
    return encoded("MP3", "MPEG_LAYER_III")


def flac() -> bytes:
    return encoded("FLAC", "PCM_16")


def ogg() -> bytes:
    return encoded("OGG", "VORBIS")


def opus(seconds: float = SECONDS) -> bytes:
    return encoded("OGG", "OPUS", seconds, rate=48_000)


# ---- odd but whole -------------------------------------------------------------------------------

for subtype in ("PCM_U8", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"):
    odd(f"wav_{subtype.lower()}", "a.wav", lambda subtype=subtype: wav(subtype), "readable")
for subtype in ("IMA_ADPCM", "MS_ADPCM", "GSM610"):
    odd(
        f"wav_{subtype.lower()}",
        "a.wav",
        lambda subtype=subtype: wav(subtype, channels=1, rate=8_000),
        "readable",
    )
for container, suffix in (
    ("AIFF", "aiff"),
    ("AU", "au"),
    ("CAF", "caf"),
    ("W64", "w64"),
    ("RF64", "wav"),
    ("WAVEX", "wav"),
):
    odd(
        container.lower(),
        f"a.{suffix}",
        lambda container=container: encoded(container, "PCM_16"),
        "readable",
    )
odd("opus", "a.opus", opus, "readable")
odd("opus_called_ogg", "a.ogg", opus, "readable")
odd("mp3_8khz_mono", "a.mp3", lambda: encoded("MP3", None, channels=1, rate=8_000), "readable")
odd("six_channels", "a.wav", lambda: wav(channels=6), "readable")
odd("six_channels_vorbis", "a.ogg", lambda: encoded("OGG", "VORBIS", channels=6), "readable")
odd("eight_channels_192khz", "a.wav", lambda: wav("PCM_24", channels=8, rate=192_000), "readable")
odd("one_khz", "a.wav", lambda: wav(channels=1, rate=1_000), "readable")
odd("fifty_milliseconds", "a.wav", lambda: wav(seconds=0.05), "readable")
odd("one_sample", "a.wav", lambda: wav(seconds=1 / RATE, channels=1), "readable")
odd("fifty_milliseconds_mp3", "a.mp3", lambda: encoded("MP3", None, seconds=0.05), "readable")
odd("digital_silence", "a.wav", lambda: encode(np.zeros((RATE, 2), "f4"), "WAV"), "readable")
odd("constant", "a.wav", lambda: encode(np.full((RATE, 2), 0.5, "f4"), "WAV"), "readable")
odd("clipped", "a.wav", lambda: encode(np.clip(9 * sound(), -1, 1), "WAV"), "readable")
odd("flac_called_mp3", "a.mp3", flac, "readable")
odd("mp3_called_wav", "a.wav", mp3, "readable")
odd("wav_called_vox", "a.vox", wav, "readable")
odd("wav_called_raw", "a.raw", wav, "readable")
odd("no_suffix", "audio", ogg, "readable")
odd("name_with_spaces", " a  b .wav", wav, "readable")
odd("name_with_quotes", "a'b\"c`$(d).wav", wav, "readable")
odd("name_with_emoji", "🎵 ピアノ.wav", wav, "readable")
odd("name_with_newline", "a\nb.wav", wav, "readable")
odd("name_with_250_letters", "x" * 246 + ".wav", wav, "readable")
odd("name_like_an_option", "--help.wav", wav, "readable")


def id3(size: int) -> bytes:
    return b"ID3\x04\x00\x00" + bytes(size >> shift & 127 for shift in (21, 14, 7, 0)) + bytes(size)


odd("id3_of_3_mb", "a.mp3", lambda: id3(3_000_000) + mp3(), "readable")
odd("id3_before_flac", "a.flac", lambda: id3(1_000) + flac(), "readable")
odd("id3v1_at_the_end", "a.mp3", lambda: mp3() + b"TAG".ljust(128, b"\0"), "readable")


def wav_with_chunk(name: bytes, body: bytes) -> bytes:
    """A chunk of odd length before the format chunk, as some recorders write."""
    data = wav()
    chunk = name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)
    return patched(data[:12] + chunk + data[12:], (4, "<I", len(data) - 8 + len(chunk)))


odd("wav_with_junk_chunk", "a.wav", lambda: wav_with_chunk(b"JUNK", bytes(333)), "readable")
odd(
    "wav_streamed",
    "a.wav",
    lambda: patched(wav(), (4, "<I", 2**32 - 1), (40, "<I", 2**32 - 1)),
    "readable",
)
odd("wav_block_align_0", "a.wav", lambda: patched(wav(), (32, "<H", 0)), "readable")


def flac_declaring(frames: int, data: bytes | None = None) -> bytes:
    """FLAC whose 36-bit number of samples says `frames`."""
    data = data or flac()
    (packed,) = struct.unpack_from(">Q", data, 18)
    return patched(data, (18, ">Q", packed >> 36 << 36 | frames))


odd("flac_streamed", "a.flac", lambda: flac_declaring(0), "readable")


def mp3_without_length(bitrate_mode: str) -> bytes:
    """MP3 without its first frame, the one that tells the length."""
    data = encode(sound(), "MP3", bitrate_mode=bitrate_mode, compression_level=0.5)
    return data[mpeg_frame_bytes(data, 0) :]


odd(
    "mp3_of_constant_rate_without_length",
    "a.mp3",
    lambda: mp3_without_length("CONSTANT"),
    "readable",
)
odd(
    "mp3_of_variable_rate_without_length",
    "a.mp3",
    lambda: mp3_without_length("VARIABLE"),
    "salvaged",
    "does not declare its length",
    codecs=True,
)
for suffix, container, codec in (
    ("m4a", "ipod", "aac"),
    ("m4a", "ipod", "alac"),
    ("webm", "webm", "libopus"),
    ("mka", "matroska", "pcm_s16le"),
    ("wma", "asf", "wmav2"),
    ("aac", "adts", "aac"),
    ("wv", "wv", "wavpack"),
):
    odd(
        f"{suffix}_{codec}",
        f"a.{suffix}",
        lambda container=container, codec=codec: encoded_by_ffmpeg(container, codec),
        "readable",
        codecs=True,
    )

# ---- damaged, but with sound in them -------------------------------------------------------------

odd("wav_cut", "a.wav", lambda: half(wav()), "salvaged", "ends after 1.0 of 2.0 s")
odd("aiff_cut", "a.aiff", lambda: half(encoded("AIFF", "PCM_16")), "salvaged", "of 2.0 s")
odd("mp3_cut", "a.mp3", lambda: half(mp3()), "salvaged", "of 2.0 s")
odd("ogg_cut", "a.ogg", lambda: half(ogg()), "salvaged", "no end mark")
odd("opus_cut", "a.opus", lambda: half(opus(6.0)), "salvaged", "no end mark")
odd("flac_cut", "a.flac", lambda: half(flac()), "salvaged", "of 2.0 s", codecs=True)
odd(
    "mp3_garbage",
    "a.mp3",
    lambda: damaged_in_the_middle(mp3()),
    "salvaged",
    "packet by packet",
    codecs=True,
)
odd(
    "flac_garbage",
    "a.flac",
    lambda: damaged_in_the_middle(flac()),
    "salvaged",
    "packet by packet",
    codecs=True,
)
odd(
    "ogg_garbage",
    "a.ogg",
    lambda: damaged_in_the_middle(ogg()),
    "salvaged",
    "Ogg pages whose checksum",
)
odd(
    "opus_garbage",
    "a.opus",
    lambda: damaged_in_the_middle(opus(6.0)),
    "salvaged",
    "Ogg pages whose checksum",
)
odd("junk_before_wav", "a.wav", lambda: garbage(999) + wav(), "salvaged", "999 bytes before")
odd("junk_before_flac", "a.flac", lambda: garbage(999) + flac(), "salvaged", "999 bytes before")
odd("junk_before_ogg", "a.ogg", lambda: garbage(999) + ogg(), "salvaged", "999 bytes before")
odd("junk_before_mp3", "a.mp3", lambda: b"\0junk" * 99 + mp3(), "salvaged", "495 bytes before")
odd(
    "wav_length_0",
    "a.wav",
    lambda: patched(wav(), (40, "<I", 0)),
    "salvaged",
    "declares no sound",
    codecs=True,
)
odd(
    "wav_declaring_4_gb",
    "a.wav",
    lambda: patched(wav(), (40, "<I", 0xFFFFFF00)),
    "salvaged",
    "ends after 2.0 of",
)
odd("mp3_joined", "a.mp3", lambda: mp3() + mp3(), "salvaged", "is joined to it", codecs=True)
odd("ogg_joined", "a.ogg", lambda: ogg() + ogg(), "salvaged", "is joined to it", codecs=True)
odd("flac_joined", "a.flac", lambda: flac() + flac(), "salvaged", "holds 4.0 s", codecs=True)
odd(
    "flac_declaring_an_hour",
    "a.flac",
    lambda: flac_declaring(3600 * RATE),
    "salvaged",
    "of 3600.0 s",
)
odd(
    "mp3_declaring_an_hour",
    "a.mp3",
    lambda: patched(mp3(), (44, ">I", 3600 * RATE // 1152)),
    "salvaged",
    "ends after",
)
odd(
    "m4a_cut",
    "a.m4a",
    lambda: half(encoded_by_ffmpeg("ipod", "aac", (("movflags", "faststart"),))),
    "salvaged",
    "of 2.0 s",
    codecs=True,
)
odd(
    "webm_cut",
    "a.webm",
    lambda: half(encoded_by_ffmpeg("webm", "libopus")),
    "salvaged",
    "of 2.0 s",
    codecs=True,
)
odd(
    "webm_garbage",
    "a.webm",
    lambda: damaged_in_the_middle(encoded_by_ffmpeg("webm", "libopus")),
    "salvaged",
    codecs=True,
)


def with_values(*values: float) -> bytes:
    samples = sound()
    for at, value in enumerate(values):
        samples[1000 + at, at % 2] = value
    return encode(samples, "WAV", "FLOAT")


odd("nan_samples", "a.wav", lambda: with_values(np.nan, np.nan), "salvaged", "no numbers.*: 2")
odd("infinite_samples", "a.wav", lambda: with_values(np.inf, -np.inf, np.inf), "salvaged", ": 3")
odd("absurd_samples", "a.wav", lambda: with_values(1e30), "salvaged", "no numbers.*: 1")
odd(
    "all_nan",
    "a.wav",
    lambda: encode(np.full((RATE, 1), np.nan, "f4"), "WAV", "FLOAT"),
    "salvaged",
    ": 44,100",
)

# ---- not audio, or nothing in it -----------------------------------------------------------------

odd("empty", "a.mp3", lambda: b"", "refused", "empty")
odd("one_byte", "a.wav", lambda: b"R", "refused", "text file")
odd("zeros", "a.mp3", lambda: bytes(200_000), "refused", "no audio file")
odd("random", "a.mp3", lambda: garbage(200_000), "refused", "no audio file")
odd(
    "html_called_mp3",
    "a.mp3",
    lambda: b"<!DOCTYPE html>\n<html><body>404</body></html>" * 50,
    "refused",
    "web page",
)
odd("text_called_mp3", "a.mp3", lambda: "Só notas.\n".encode() * 500, "refused", "text file")
odd("playlist", "a.mp3", lambda: b"#EXTM3U\n#EXTINF:5\nfile:///etc/passwd\n", "refused", "playlist")
odd(
    "concat_script",
    "a.mp3",
    lambda: b"ffconcat version 1.0\nfile '/etc/passwd'\n",
    "refused",
    "text file",
)
odd("svg", "a.wav", lambda: b'<?xml version="1.0"?><svg/>', "refused", "SVG")
odd("zip_called_wav", "a.wav", lambda: b"PK\x03\x04" + bytes(26) + wav(), "refused", "ZIP")
odd("gzip_called_flac", "a.flac", lambda: b"\x1f\x8b\x08" + garbage(999), "refused", "gzip")
odd("pdf", "a.ogg", lambda: b"%PDF-1.7\n" + garbage(999), "refused", "PDF")
odd("png", "a.mp3", lambda: b"\x89PNG\r\n\x1a\n" + garbage(999), "refused", "picture")
odd("avi", "a.wav", lambda: b"RIFF\0\0\0\0AVI LIST" + garbage(999), "refused", "AVI")
odd("midi", "a.mp3", lambda: b"MThd\0\0\0\x06\0\0\0\x01\0\x60" + garbage(99), "refused", "MIDI")
odd(
    "git_lfs_pointer",
    "a.wav",
    lambda: b"version https://git-lfs.github.com/spec/v1\n",
    "refused",
    "LFS",
)
odd("riff_only", "a.wav", lambda: wav()[:12], "refused")
odd("wav_header_only", "a.wav", lambda: wav()[:44], "refused")
odd("wav_no_samples", "a.wav", lambda: encode(np.zeros((0, 2), "f4"), "WAV"), "refused", "no sound")
odd("flac_header_only", "a.flac", lambda: flac()[:86], "refused", "ends after 0.0 of 2.0 s")
odd("ogg_header_only", "a.ogg", lambda: ogg()[:58], "refused")
odd("id3_only", "a.mp3", lambda: id3(1_000), "refused", "ID3 tag of 1,0.. bytes")
odd("id3_longer_than_file", "a.mp3", lambda: id3(1_000)[:500], "refused", "ID3 tag of 1,0.. bytes")
odd("wav_rate_0", "a.wav", lambda: patched(wav(), (24, "<I", 0)), "refused")
odd("wav_rate_4_ghz", "a.wav", lambda: patched(wav(), (24, "<I", 2**32 - 1)), "refused")
odd(
    "wav_rate_1_mhz",
    "a.wav",
    lambda: patched(wav(), (24, "<I", 1_000_000)),
    "refused",
    "1,000,000 Hz",
)
odd("wav_no_channels", "a.wav", lambda: patched(wav(), (22, "<H", 0)), "refused")
odd(
    "wav_1024_channels",
    "a.wav",
    lambda: patched(wav(), (22, "<H", 1024), (32, "<H", 2048)),
    "refused",
    "1024 channels",
)
odd("wav_65535_channels", "a.wav", lambda: patched(wav(), (22, "<H", 65535)), "refused")
odd("flac_declaring_256_gib", "a.flac", lambda: flac_declaring(2**36 - 1)[:110], "refused")
odd(
    "flac_declaring_256_gib_with_sound",
    "a.flac",
    lambda: flac_declaring(2**36 - 1),
    "refused",
    "at most 4:00:00",
)


def flac_of_8_channels_at_655350_hz() -> bytes:
    """A header that asks for 21 MB a second, for an hour."""
    data = flac_declaring(3600 * 655_350)
    (packed,) = struct.unpack_from(">Q", data, 18)
    return patched(data, (18, ">Q", packed & (1 << 41) - 1 | 655_350 << 44 | 7 << 41))


odd("flac_8_channels_655_khz", "a.flac", flac_of_8_channels_at_655350_hz, "refused")
odd(
    "adpcm_block_of_50000_by_50000",
    "a.wav",
    lambda: patched(
        wav("IMA_ADPCM", channels=1, rate=8_000),
        (22, "<H", 50_000),
        (32, "<H", 50_000),
        (38, "<H", 50_000),
    ),
    "refused",
)
odd(
    "m4a_without_index",
    "a.m4a",
    lambda: half(encoded_by_ffmpeg("ipod", "aac")),
    "refused",
    codecs=True,
)
odd("m4a_garbage", "a.m4a", lambda: b"\0\0\0\x20ftypM4A " + garbage(9_999), "refused", codecs=True)
odd(
    "webm_garbage_only",
    "a.webm",
    lambda: b"\x1a\x45\xdf\xa3" + garbage(9_999),
    "refused",
    codecs=True,
)


def _missing(folder: Path) -> Path:
    return folder / "missing.wav"


def _folder(folder: Path) -> Path:
    path = folder / "folder.wav"
    path.mkdir()
    return path


def _pipe(folder: Path) -> Path:
    path = folder / "pipe.wav"
    os.mkfifo(path)
    return path


def _broken_link(folder: Path) -> Path:
    path = folder / "link.wav"
    path.symlink_to(folder / "nowhere.wav")
    return path


def _link(folder: Path) -> Path:
    path = folder / "link.wav"
    (folder / "target").write_bytes(wav())
    path.symlink_to(folder / "target")
    return path


def _name_that_is_not_utf8(folder: Path) -> Path:
    path = Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.wav"))
    path.write_bytes(wav())
    return path


ODD_FILES["missing"] = OddFile(_missing, "refused", "does not exist")
ODD_FILES["folder"] = OddFile(_folder, "refused", "folder")
ODD_FILES["named_pipe"] = OddFile(_pipe, "refused", "not a regular file")
ODD_FILES["broken_link"] = OddFile(_broken_link, "refused", "does not exist")
ODD_FILES["link"] = OddFile(_link, "readable")
ODD_FILES["name_that_is_not_utf8"] = OddFile(_name_that_is_not_utf8, "readable")

# ---- bombs ---------------------------------------------------------------------------------------


def silence(hours: float, container: str, subtype: str | None, channels: int, rate: int) -> bytes:
    """Hours of silence in a file of a megabyte or so."""
    file = io.BytesIO()
    file.name = ""
    frames = round(hours * 3600 * rate)
    block = np.zeros((65_536 if container == "FLAC" else 4096, channels), np.int16)
    quick = 0.0 if container == "FLAC" else None
    with soundfile.SoundFile(
        file, "w", rate, channels, subtype, format=container, compression_level=quick
    ) as encoder:
        for at in range(0, frames, len(block)):
            encoder.write(block[: frames - at])
    return file.getvalue()


odd(
    "ten_hours_of_silence",
    "a.flac",
    lambda: silence(10, "FLAC", "PCM_16", 1, 8_000),
    "refused",
    "10:00:00 long",
    heavy=True,
)
odd(
    "two_hours_of_silence",
    "a.flac",
    lambda: silence(2, "FLAC", "PCM_16", 2, RATE),
    "readable",
    heavy=True,
)
odd(
    "vorbis_ten_minutes_in_64_kb",
    "a.ogg",
    lambda: silence(1 / 6, "OGG", "VORBIS", 1, RATE),
    "readable",
    heavy=True,
)
odd(
    "flac_24_minutes_of_8_channels_192khz",
    "a.flac",
    lambda: silence(0.4, "FLAC", "PCM_16", 8, 192_000),
    "refused",
    "8.8 GB",
    heavy=True,
)
