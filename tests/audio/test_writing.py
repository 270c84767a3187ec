"""Writing: every format holds what it was given, or nothing is left and the error says why."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from antiphon import audio
from antiphon.audio.writing import FORMATS, METADATA_KEYS
from antiphon.errors import AudioError, AudioTooShortError, ConfigError, StorageError

pytestmark = pytest.mark.unit

RATE = 48_000


def noise(seconds: float = 1.0, channels: int = 2, rate: int = RATE) -> audio.Waveform:
    generator = np.random.default_rng(5)
    samples = 0.1 * generator.standard_normal((channels, round(seconds * rate)))
    return audio.Waveform(samples.astype(np.float32), rate)


@pytest.mark.parametrize(
    ("name", "depth", "step"),
    [("a.wav", None, 2**-15), ("a.wav", 24, 2**-23), ("a.wav", 32, 0), ("a.flac", 24, 2**-23)],
)
def test_bit_depths_are_as_fine_as_they_say(
    tmp_path: Path, name: str, depth: int | None, step: float
) -> None:
    waveform = noise()
    audio.write(tmp_path / name, waveform, bit_depth=depth)
    got = audio.read(tmp_path / name).waveform.samples
    assert np.abs(got - waveform.samples).max() <= step


@pytest.mark.parametrize("format", FORMATS)
def test_blocks_make_the_same_file_as_the_whole(tmp_path: Path, format: str) -> None:
    waveform = noise()
    audio.write(tmp_path / f"whole.{format}", waveform)
    blocks = (waveform.samples[:, at : at + 4_096] for at in range(0, waveform.frames, 4_096))
    audio.write(tmp_path / f"blocks.{format}", blocks, sample_rate=RATE)
    whole, parts = (audio.read(tmp_path / f"{n}.{format}").waveform for n in ("whole", "blocks"))
    assert np.array_equal(whole.samples, parts.samples)


@pytest.mark.parametrize("format", FORMATS)
def test_metadata_comes_back_as_it_was_written(tmp_path: Path, format: str) -> None:
    path = tmp_path / f"a.{format}"
    texts = {key: f"{key} é ♫ \"'" for key in METADATA_KEYS}
    texts |= {"date": "2026-11-21", "tracknumber": "3", "genre": "Jazz-Funk"}
    texts["comment"] = '{"prompt": "日本\n"}' + "x" * 1_000
    audio.write(path, noise(), metadata=texts)
    with soundfile.SoundFile(path) as file:
        assert {key: getattr(file, key) for key in METADATA_KEYS} == texts
    import av

    with av.open(str(path)) as container:
        tags = {**container.streams[0].metadata, **container.metadata}
    lower = {key.lower(): value for key, value in tags.items()}
    assert lower["title"] == texts["title"]
    assert lower["comment"] == texts["comment"]
    assert audio.read(path).damage.problems == ()


def test_a_long_ogg_does_not_kill_the_process(tmp_path: Path) -> None:
    path = tmp_path / "long.ogg"
    code = (
        "import sys, numpy as np; from antiphon import audio;"
        "samples = np.zeros((2, 70 * 44100), np.float32); samples[:, ::50] = 0.5;"
        "audio.write(sys.argv[1], audio.Waveform(samples, 44100))"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)
    with audio.open_stream(path) as stream:
        assert sum(block.shape[1] for block in stream.blocks()) == 70 * 44_100


def test_a_waveform_is_resampled_to_the_rate_asked_for(tmp_path: Path) -> None:
    waveform = noise(rate=44_100)
    audio.write(tmp_path / "a.wav", waveform, sample_rate=16_000, bit_depth=32)
    got = audio.read(tmp_path / "a.wav").waveform
    assert got.sample_rate == 16_000
    assert np.array_equal(got.samples, audio.resample(waveform, 16_000).samples)


def test_beyond_full_scale_is_clipped_not_wrapped(tmp_path: Path) -> None:
    waveform = audio.Waveform(np.array([[1.5, -1.5, 0.5]], np.float32), RATE)
    audio.write(tmp_path / "a.wav", waveform)
    assert audio.read(tmp_path / "a.wav").waveform.samples[0] == pytest.approx(
        [1, -1, 0.5], abs=1e-4
    )


@pytest.mark.parametrize(
    ("name", "arguments", "match"),
    [
        ("a.xyz", {}, "the format is 'xyz'; expected one of wav, flac, mp3, ogg, opus"),
        ("a", {}, "the format is ''"),
        ("a.wav", {"bit_depth": 20}, "bit_depth is 20; expected for wav: 16, 24, 32"),
        ("a.flac", {"bit_depth": 32}, "expected for flac: 16, 24"),
        ("a.mp3", {"bit_depth": 16}, "none: it is lossy"),
        ("a.opus", {"sample_rate": 44_100}, "cannot hold 44,100 Hz; expected 8,000"),
        ("a.mp3", {"sample_rate": 96_000}, "cannot hold 96,000 Hz"),
        ("a.ogg", {"sample_rate": 384_000}, "cannot hold 384,000 Hz"),
        ("a.wav", {"metadata": {"titel": "x"}}, "metadata 'titel' is unknown; expected title"),
        ("a.mp3", {"metadata": {"title": "a\0b"}}, "NUL"),
    ],
)
def test_what_a_format_cannot_hold_is_named(
    tmp_path: Path, name: str, arguments: dict[str, object], match: str
) -> None:
    with pytest.raises(ConfigError, match=match):
        audio.write(tmp_path / name, noise(0.1), **arguments)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_too_many_channels_for_the_format_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot hold 6 channels; expected at most 2"):
        audio.write(tmp_path / "a.mp3", noise(0.1, channels=6))


def test_blocks_need_their_rate_and_one_shape(tmp_path: Path) -> None:
    blocks = [np.zeros((2, 10), np.float32), np.zeros((1, 10), np.float32)]
    with pytest.raises(ConfigError, match="give sample_rate"):
        audio.write(tmp_path / "a.wav", blocks)
    with pytest.raises(ValueError, match=r"shape \(1, 10\); expected \[2, n\]"):
        audio.write(tmp_path / "a.wav", blocks, sample_rate=RATE)
    assert list(tmp_path.iterdir()) == []


def test_no_sound_and_no_numbers_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(AudioTooShortError, match="no sound to write"):
        audio.write(tmp_path / "a.wav", [], sample_rate=RATE)
    bad = noise(1.0)
    bad.samples[0, -1] = np.nan
    with pytest.raises(AudioError, match="NaN"):
        audio.write(tmp_path / "a.wav", bad)
    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_the_old_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"old")

    def broken() -> Iterator[np.ndarray]:
        yield noise().samples
        raise RuntimeError("the composer failed")

    with pytest.raises(RuntimeError, match="the composer failed"):
        audio.write(path, broken(), sample_rate=RATE)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="No such file"):
        audio.write(tmp_path / "missing" / "a.wav", noise(0.1))


def test_a_signal_within_the_encoder_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from antiphon.audio import writing

    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    calls = 0
    write = writing._Sink.write

    def interrupted(sink: writing._Sink, data: bytes) -> int:
        nonlocal calls
        calls += 1
        if calls == 20:
            signal.raise_signal(signal.SIGINT)
        return write(sink, data)

    monkeypatch.setattr(writing._Sink, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        audio.write(tmp_path / "a.ogg", noise(20.0))
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("format", ["wav", "flac"])
def test_a_disk_that_is_getting_full_while_a_file_grows(tmp_path: Path, format: str) -> None:
    # As with a full disk, what still fits is taken before anything is raised.
    code = """
import resource, sys, numpy as np
from antiphon import audio, errors
resource.setrlimit(resource.RLIMIT_FSIZE, (20_001, 20_001))
block = np.random.default_rng(0).standard_normal((2, 4096)).astype(np.float32) / 9
try:
    with audio.growing(sys.argv[1], sample_rate=48_000, channels=2) as add:
        while True:
            add(block)
except errors.StorageError as error:
    print(error)
"""
    path = tmp_path / f"a.{format}"
    result = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    assert "File too large" in result.stdout
    assert path.stat().st_size == 20_001


def test_the_same_sound_is_the_same_file_at_any_time(tmp_path: Path) -> None:
    waveform = audio.Waveform(np.full((1, 100), 0.1, np.float32), 32_000)
    for name in "ab":
        audio.write(tmp_path / f"{name}.wav", waveform, bit_depth=32)
        time.sleep(1.01)  # the clock of a WAV file has whole seconds
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()


def test_a_disk_that_takes_no_more_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    code = """
import resource, sys, numpy as np
from antiphon import audio, errors
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
samples = np.random.default_rng(0).standard_normal((2, 240_000)).astype(np.float32) / 9
for path in sys.argv[1:]:
    try:
        audio.write(path, audio.Waveform(samples, 48_000), metadata={"title": "x"})
    except errors.StorageError as error:
        print(error)
"""
    paths = [str(tmp_path / f"a.{format}") for format in FORMATS]
    result = subprocess.run(
        [sys.executable, "-c", code, *paths], capture_output=True, text=True, check=True
    )
    assert result.stdout.count("File too large") == len(paths)
    assert result.stderr == ""
    assert list(tmp_path.iterdir()) == []
