"""Reading: what comes out is what went in, wherever one starts and however it is handed over."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import odd_files
from antiphon import audio
from antiphon.errors import (
    AudioDecodeError,
    AudioLimitError,
    AudioTooShortError,
    ConfigError,
    DependencyError,
    StorageError,
)

pytestmark = pytest.mark.unit

RATE = 48_000  # the one that all formats know
SECONDS = 3.0
LOSSLESS = {"wav", "flac"}
FORMATS = ("wav", "flac", "mp3", "ogg", "opus")


def tone(hz: float, amplitude: float, seconds: float = SECONDS, rate: int = RATE) -> np.ndarray:
    times = np.arange(round(seconds * rate)) / rate
    return (amplitude * np.sin(2 * np.pi * hz * times)).astype(np.float32)


def amplitude_at(hz: float, samples: np.ndarray, rate: int = RATE) -> float:
    """The amplitude of one sinusoid in the samples, by projection on it."""
    times = np.arange(samples.size) / rate
    return float(2 * abs(np.mean(samples * np.exp(-2j * np.pi * hz * times))))


@pytest.fixture(scope="module")
def tones(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """1 kHz at 0.5 on the left, 400 Hz at 0.25 on the right, in every format."""
    folder = tmp_path_factory.mktemp("tones")
    waveform = audio.Waveform(np.stack([tone(1_000, 0.5), tone(400, 0.25)]), RATE)
    paths = {}
    for format in FORMATS:
        paths[format] = folder / f"tone.{format}"
        audio.write(paths[format], waveform)
    return paths


@pytest.mark.parametrize("format", FORMATS)
def test_level_pitch_length_and_sides_survive(tones: dict[str, Path], format: str) -> None:
    recording = audio.read(tones[format])
    left, right = recording.waveform.samples
    assert recording.waveform.sample_rate == RATE
    assert left.size == round(SECONDS * RATE)
    assert recording.damage == audio.Damage(SECONDS, SECONDS)
    assert amplitude_at(1_000, left) == pytest.approx(0.5, rel=0.02)
    assert amplitude_at(400, right) == pytest.approx(0.25, rel=0.02)
    assert amplitude_at(400, left) < 0.005
    assert amplitude_at(1_000, right) < 0.005


@pytest.mark.parametrize("format", FORMATS)
def test_samples_stand_where_they_stood(tones: dict[str, Path], format: str) -> None:
    # A codec's delay would shift them: 1 sample at 1 kHz and 0.5 is an error of 0.065.
    left = audio.read(tones[format]).waveform.samples[0]
    middle = slice(RATE, 2 * RATE)
    assert np.abs(left - tone(1_000, 0.5))[middle].max() < (1e-4 if format in LOSSLESS else 0.02)


@pytest.mark.parametrize("format", FORMATS)
def test_a_part_is_the_same_samples_as_in_the_whole(tones: dict[str, Path], format: str) -> None:
    whole = audio.read(tones[format]).waveform.samples
    for start in (1, 12_345, 96_001):
        part = audio.read(tones[format], start_seconds=start / RATE, duration_seconds=0.5)
        expected = whole[:, start : start + RATE // 2]
        assert np.array_equal(part.waveform.samples, expected)
        assert part.damage.decoded_seconds == 0.5
        assert part.damage.declared_seconds == SECONDS
        assert part.damage.problems == ()


@pytest.mark.parametrize("format", FORMATS)
def test_blocks_joined_are_the_whole(tones: dict[str, Path], format: str) -> None:
    with audio.open_stream(tones[format]) as stream:
        blocks = list(stream.blocks())
        damage = stream.damage()
    assert all(block.dtype == np.float32 and block.flags.c_contiguous for block in blocks)
    assert all(1 <= block.shape[1] <= 65_536 for block in blocks)
    recording = audio.read(tones[format])
    assert np.array_equal(np.concatenate(blocks, axis=1), recording.waveform.samples)
    assert damage == recording.damage


def test_path_bytes_object_and_pipe_give_the_same(tones: dict[str, Path]) -> None:
    class Pipe(io.RawIOBase):
        """Bytes that come once, as from a socket."""

        def __init__(self, data: bytes) -> None:
            self._file = io.BytesIO(data)

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
            return self._file.readinto(memoryview(buffer)[:1000])

    for path in tones.values():
        data = path.read_bytes()
        expected = audio.read(path).waveform.samples
        for source in (str(path), data, io.BytesIO(data), Pipe(data)):
            assert np.array_equal(audio.read(source).waveform.samples, expected)


def test_a_file_object_is_read_from_its_beginning_and_left_open(tones: dict[str, Path]) -> None:
    with tones["wav"].open("rb") as file:
        file.seek(1_000)
        assert audio.read(file).damage.decoded_seconds == SECONDS
        assert not file.closed


def test_mono_and_rate_are_the_same_in_one_read_as_one_after_the_other(
    tones: dict[str, Path],
) -> None:
    whole = audio.read(tones["flac"]).waveform
    expected = audio.resample(whole.mono(), 16_000)
    got = audio.read(tones["flac"], sample_rate=16_000, mono=True).waveform
    assert got.sample_rate == 16_000
    assert np.array_equal(got.samples, expected.samples)


def test_channels_stay_apart_when_the_header_promises_too_much(tmp_path: Path) -> None:
    # The array is made for the declared length, and its rows are moved together at the end.
    data = odd_files.flac_declaring(60 * odd_files.RATE)
    samples = audio.read(data).waveform.samples
    assert samples.flags.c_contiguous
    assert np.abs(samples - odd_files.sound().T).max() < 1e-4


def test_a_length_nobody_declared_grows_as_it_comes() -> None:
    samples = audio.read(odd_files.flac_declaring(0)).waveform.samples
    assert np.abs(samples - odd_files.sound().T).max() < 1e-4


def test_a_start_past_the_end_is_an_error(tones: dict[str, Path]) -> None:
    for path in tones.values():
        with pytest.raises(AudioTooShortError, match=r"ends at 3\.0 s"):
            audio.read(path, start_seconds=3.0)


@pytest.mark.parametrize(
    "arguments",
    [
        {"start_seconds": -1.0},
        {"start_seconds": float("nan")},
        {"duration_seconds": 0.0},
        {"duration_seconds": float("inf")},
        {"sample_rate": 0},
        {"sample_rate": -16_000},
    ],
)
def test_arguments_that_make_no_sense_are_named(
    tones: dict[str, Path], arguments: dict[str, float]
) -> None:
    with pytest.raises(ConfigError, match="expected"):
        audio.read(tones["wav"], **arguments)  # type: ignore[arg-type]


def test_what_is_no_source_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is a list"):
        audio.read([1, 2])  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="is a StringIO"):
        audio.read(io.StringIO("text"))  # type: ignore[arg-type]
    with pytest.raises(StorageError, match="not a path"):
        audio.read("a\0b.wav")


def test_a_file_object_that_breaks_is_a_storage_error() -> None:
    class Broken(io.BytesIO):
        def read(self, count: int | None = -1) -> bytes:
            if count:
                raise OSError(5, "Input/output error")
            return b""

    with pytest.raises(StorageError, match="Input/output error"):
        audio.read(Broken(b"RIFF"))


# ---- limits --------------------------------------------------------------------------------------


def test_too_long_is_refused_on_the_headers_word(tones: dict[str, Path]) -> None:
    for path in tones.values():
        with pytest.raises(AudioLimitError, match="0:00:03 long; at most 0:00:02"):
            audio.open_stream(path, limits=audio.Limits(max_seconds=2.0))


def test_a_part_within_the_limit_of_a_recording_beyond_it_is_read(tones: dict[str, Path]) -> None:
    limits = audio.Limits(max_seconds=2.0)
    part = audio.read(tones["flac"], start_seconds=0.5, duration_seconds=2.0, limits=limits)
    assert part.damage.decoded_seconds == 2.0


def test_too_large_is_refused_on_the_headers_word(tones: dict[str, Path]) -> None:
    with pytest.raises(AudioLimitError, match="2 channels at 48,000 Hz for 0:00:03"):
        audio.open_stream(tones["wav"], limits=audio.Limits(max_decoded_bytes=1_000_000))


def test_a_header_that_does_not_say_is_held_to_the_limit_while_decoding() -> None:
    data = odd_files.flac_declaring(0)
    with (
        audio.open_stream(data, limits=audio.Limits(max_seconds=1.0)) as stream,
        pytest.raises(AudioLimitError, match="at most 0:00:01"),
    ):
        list(stream.blocks())


def test_channels_and_rate_have_limits(tones: dict[str, Path]) -> None:
    with pytest.raises(AudioLimitError, match="2 channels; at most 1"):
        audio.open_stream(tones["wav"], limits=audio.Limits(max_channels=1))
    with pytest.raises(AudioLimitError, match="expected 1,000 to 44,100 Hz"):
        audio.open_stream(tones["wav"], limits=audio.Limits(max_sample_rate=44_100))


def test_an_endless_pipe_is_cut_off() -> None:
    class Endless(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
            buffer[:] = bytes(len(buffer))
            return len(buffer)

    with pytest.raises(AudioLimitError, match="larger than"):
        audio.read(Endless(), limits=audio.Limits(max_decoded_bytes=5_000_000))


# ---- without PyAV --------------------------------------------------------------------------------


@pytest.fixture
def without_pyav(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)


def test_a_format_that_needs_pyav_names_the_extra(without_pyav: None) -> None:
    data = b"\0\0\0\x20ftypM4A " + bytes(100)
    with pytest.raises(DependencyError, match=r"pip install 'antiphon\[codecs\]'"):
        audio.read(data)


def test_a_broken_file_keeps_what_came_before_and_names_the_extra(without_pyav: None) -> None:
    data = odd_files.encoded("FLAC", "PCM_16", seconds=6.0)
    recording = audio.read(odd_files.half(data))
    assert 1.0 < recording.damage.decoded_seconds < 3.5
    assert any(r"antiphon[codecs]" in problem for problem in recording.damage.problems)


def test_joined_files_are_read_as_far_as_the_first_and_name_the_extra(without_pyav: None) -> None:
    damage = audio.read(odd_files.mp3() * 2).damage
    assert damage.decoded_seconds == pytest.approx(2.0)
    assert any("left out" in problem and "codecs" in problem for problem in damage.problems)


def test_a_file_broken_from_the_start_names_the_extra(without_pyav: None) -> None:
    with pytest.raises(AudioDecodeError, match=r"antiphon\[codecs\]"):
        audio.read(odd_files.flac()[:86] + odd_files.garbage(5_000))


# ---- cost ----------------------------------------------------------------------------------------


def test_importing_the_package_loads_no_decoder() -> None:
    code = (
        "import sys, antiphon.audio; "
        "assert not {'soundfile', 'soxr', 'av', 'scipy'} & set(sys.modules), sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.integration
def test_a_long_recording_streams_in_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "long.flac"
    path.write_bytes(odd_files.silence(0.25, "FLAC", "PCM_16", 2, 44_100))
    code = """
import resource, sys
from antiphon import audio
for part in (1.0, None):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with audio.open_stream(sys.argv[1], duration_seconds=part) as stream:
        seconds = sum(block.shape[1] for block in stream.blocks()) / stream.sample_rate
print(seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""
    output = subprocess.run(
        [sys.executable, "-c", code, str(path)], check=True, capture_output=True, text=True
    ).stdout
    seconds, growth_mb = map(float, output.split())
    assert seconds == 900
    assert growth_mb < 10  # 317 MB are decoded
