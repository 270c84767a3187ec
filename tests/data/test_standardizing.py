"""Standardizing: one form for all, in another folder, and the sources as they were."""

from __future__ import annotations

import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
from corpus_pieces import RATE, piece, write_pieces

from antiphon.analysis import measure
from antiphon.audio import Limits, Waveform, open_stream, read, write
from antiphon.data.manifest import Clip, read_manifest, write_manifest
from antiphon.data.passages import Passage
from antiphon.data.preparing import PrepareOptions, prepare
from antiphon.data.probing import content_of
from antiphon.data.running import RunOptions
from antiphon.data.sources import read_source
from antiphon.data.standardizing import (
    MAX_PEAK_DBTP,
    Form,
    _Job,
    _standardize,
    standardize,
)
from antiphon.errors import AudioError, ConfigError

pytestmark = pytest.mark.integration

ONE = RunOptions(1)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    music = folder / "music"
    write_pieces(music / "deep", 1)
    stereo = np.concatenate([piece(2).samples, 0.3 * piece(3).samples[:, : piece(2).frames]])
    write(music / "loud.wav", Waveform(np.tanh(stereo * 4.0), RATE))
    write(music / "loud.flac", Waveform(stereo * 0.05, RATE))
    prepare(read_source(music), folder / "m.parquet", PrepareOptions(), ONE)
    return folder


@pytest.fixture
def manifest(prepared: Path, tmp_path: Path) -> Path:
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    return tmp_path / "m.parquet"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_rate_channels_and_loudness(manifest: Path, tmp_path: Path) -> None:
    before = contents(tmp_path / "music")
    form = Form(8_000, 1, "flac", 24, loudness_lufs=-23.0)
    report = standardize(manifest, tmp_path / "std", form, ONE)
    assert report.output == tmp_path / "std/manifest.parquet"
    assert contents(tmp_path / "music") == before
    old, new = read_manifest(manifest), read_manifest(report.output)
    assert [clip.id for clip in new.clips] == [clip.id for clip in old.clips]
    for was, clip in zip(old.clips, new.clips, strict=True):
        path = new.path_of(clip)
        info = soundfile.info(path)
        assert (info.samplerate, info.channels, info.subtype) == (8_000, 1, "PCM_24")
        assert clip.seconds == info.frames / 8_000 == pytest.approx(was.seconds, abs=1 / 8_000)
        assert (clip.sample_rate, clip.channels, clip.content) == (8_000, 1, content_of(path))
        assert (clip.split, clip.group) == (was.split, was.group)
        loudness = measure(path).loudness
        assert loudness.integrated_lufs == pytest.approx(-23.0, abs=0.1)
        assert loudness.true_peak_dbtp is not None
        assert loudness.true_peak_dbtp <= MAX_PEAK_DBTP + 0.01
    names = {clip.path for clip in new.clips}
    assert "music/deep/1.flac" in names  # two are called loud, and both are here
    assert len(names) == 3


def test_peaks_come_before_loudness(manifest: Path, tmp_path: Path) -> None:
    report = standardize(manifest, tmp_path / "std", Form(loudness_lufs=-5.0), ONE)
    assert "3 clips are softer than -5 LUFS: their peaks would pass -1 dBTP" in report.notes
    for clip in read_manifest(tmp_path / "std/manifest.parquet").clips:
        level = measure(tmp_path / "std" / clip.path).loudness
        assert level.true_peak_dbtp == pytest.approx(-1.0, abs=0.02)


def test_without_a_wish_samples_stay_as_they_are(manifest: Path, tmp_path: Path) -> None:
    standardize(manifest, tmp_path / "std", Form(format="wav", bit_depth=32), ONE)
    old, new = read_manifest(manifest), read_manifest(tmp_path / "std/manifest.parquet")
    for was, clip in zip(old.clips, new.clips, strict=True):
        one, other = (read(m.path_of(c)).waveform for m, c in ((old, was), (new, clip)))
        assert np.array_equal(one.samples, other.samples)


def test_passages_become_files(manifest: Path, tmp_path: Path) -> None:
    old = read_manifest(manifest)
    whole = next(clip for clip in old.clips if clip.path.endswith("1.flac"))
    parts = [
        Clip(**{**vars(whole), "id": name, "start_seconds": start, "end_seconds": end,
                "seconds": 1.5, "score": "s.json"})
        for name, start, end in (("p1", 0.5, 2.0), ("p2", 1.0, 2.5))
    ]  # fmt: skip
    write_manifest(manifest, [*parts, Clip(**{**vars(whole), "score": "s.json"})])
    standardize(manifest, tmp_path / "std", Form(), ONE)
    first, second, all_of_it = read_manifest(tmp_path / "std/manifest.parquet").clips
    assert first.path == "music/deep/1_p1.flac"
    assert (first.start_seconds, first.end_seconds, first.seconds) == (0.0, None, 1.5)
    samples = read(tmp_path / "std" / second.path).waveform.samples
    assert np.array_equal(samples, piece_as_stored(tmp_path)[:, RATE : RATE * 5 // 2])
    assert (first.score, all_of_it.score) == (None, str(tmp_path / "s.json"))


def piece_as_stored(tmp_path: Path) -> np.ndarray:
    return read(tmp_path / "music/deep/1.flac").waveform.samples


def test_the_same_command_again_does_what_is_missing(manifest: Path, tmp_path: Path) -> None:
    std = tmp_path / "std"
    form = Form(8_000)
    assert standardize(manifest, std, form, ONE).new == 3
    before = contents(std)
    assert standardize(manifest, std, form, ONE).new == 0
    assert contents(std) == before
    (std / "music/deep/1.flac").unlink()
    next(std.glob("music/loud*.flac")).write_bytes(b"half")
    shutil.move(std, tmp_path / "moved")
    assert standardize(manifest, tmp_path / "moved", form, ONE).new == 2
    ledger = "manifest.parquet.ledger.jsonl"
    for path, data in before.items():
        if not path.endswith(ledger):
            assert (tmp_path / "moved" / Path(path).relative_to(std)).read_bytes() == data


def test_never_in_place(manifest: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "music", target_is_directory=True)
    for folder in (tmp_path, tmp_path / "music", tmp_path / "link/deep"):
        with pytest.raises(ConfigError, match="holds a source, .*choose an empty folder"):
            standardize(manifest, folder, Form(), ONE)


def test_nothing_leaves_the_output_folder(manifest: Path, tmp_path: Path) -> None:
    clip = read_manifest(manifest).clips[0]
    sub = tmp_path / "a/b/n.parquet"
    sub.parent.mkdir(parents=True)
    write_manifest(sub, [Clip(**{**vars(clip), "path": f"../../{clip.path}"})])
    standardize(sub, tmp_path / "a/std", Form(), ONE)
    (new,) = read_manifest(tmp_path / "a/std/manifest.parquet").clips
    assert new.path == "1.flac"


def test_what_fails_is_left_out(manifest: Path, tmp_path: Path) -> None:
    (tmp_path / "music/deep/1.flac").unlink()
    report = standardize(manifest, tmp_path / "std", Form(), ONE)
    assert report.clips == 2
    (problem,) = report.failures
    assert "1.flac does not exist" in problem.reason
    for path in (tmp_path / "music").glob("loud*"):
        path.unlink()
    with pytest.raises(AudioError, match="no clip could be standardized"):
        standardize(manifest, tmp_path / "other", Form(), ONE)
    write_manifest(manifest, [])
    with pytest.raises(ConfigError, match=r"holds no clip \(0 rows\)"):
        standardize(manifest, tmp_path / "std", Form(), ONE)


@pytest.mark.parametrize(
    ("form", "match"),
    [
        (Form(format="m4a"), "format is 'm4a'; expected one of wav, flac"),
        (Form(loudness_lufs=0.0), "loudness is 0 LUFS; expected -60 to -5 LUFS"),
        (Form(loudness_lufs=float("nan")), "loudness is nan"),
        (Form(12_345, format="mp3"), "cannot hold 12,345 Hz"),
        (Form(bit_depth=12), "bit_depth is 12"),
    ],
)
def test_forms_that_cannot_be(form: Form, match: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=match):
        standardize(tmp_path / "m.parquet", tmp_path / "std", form, ONE)


def test_memory_does_not_grow_with_length(tmp_path: Path) -> None:
    block = np.concatenate([piece(1).samples] * 2)
    peaks = []
    for times in (4, 24):
        path = tmp_path / f"{times}.wav"
        write(path, (block for _ in range(times)), sample_rate=RATE)
        with open_stream(path) as stream:
            assert stream.declared_seconds is not None
        tracemalloc.start()
        form = Form(8_000, 1, loudness_lufs=-20.0)
        _standardize(_Job(Passage(path), tmp_path, f"out{times}.flac"), form, Limits())
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] * 1.3
