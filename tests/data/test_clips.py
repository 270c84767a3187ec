"""Manifests: what is written comes back, and what is wrong is named."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from antiphon.data.manifest import Clip, read_manifest, relative_path, write_manifest
from antiphon.errors import ConfigError, StorageError

pytestmark = pytest.mark.unit

CLIP = Clip("a1", "deep/é.flac", "ab" * 32, 12.5, 44_100, 2, "train", "artist:x")
PASSAGE = dataclasses.replace(
    CLIP, id="a2", start_seconds=1.5, end_seconds=3.25, seconds=1.75, caption='"slow", blues\n🎵',
    caption_source="file", controls={"tempo": 90.0, "key": "C# minor", "mood": ["sad"]},
    licence="CC0-1.0", source="folder", music=False,
)  # fmt: skip


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    write_manifest(tmp_path / "m.parquet", [PASSAGE, CLIP])
    manifest = read_manifest(tmp_path / "m.parquet")
    assert manifest.clips == (PASSAGE, CLIP)
    assert manifest.path_of(CLIP) == tmp_path / "deep/é.flac"
    assert [path.name for path in tmp_path.iterdir()] == ["m.parquet"]
    write_manifest(tmp_path / "empty.parquet", [])
    assert read_manifest(tmp_path / "empty.parquet").clips == ()


def test_what_was_written_before_a_column_came_is_read(tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    write_manifest(path, [dataclasses.replace(CLIP, music=True), PASSAGE])
    assert [clip.music for clip in read_manifest(path).clips] == [True, False]
    table = pyarrow.parquet.read_table(path)
    pyarrow.parquet.write_table(table.drop_columns(["music"]), path)
    assert read_manifest(path).clips == (CLIP, dataclasses.replace(PASSAGE, music=None))
    pyarrow.parquet.write_table(table.drop_columns(["licence"]), path)
    with pytest.raises(ConfigError, match="has no column 'licence'; make it anew"):
        read_manifest(path)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"seconds": math.nan}, r"row 0 \('a1'\): seconds is nan; expected a length above 0"),
        ({"start_seconds": -1.0}, "start_seconds is -1.0; expected 0 or more"),
        ({"start_seconds": 5.0, "end_seconds": 5.0}, "end_seconds is 5.0; expected more than"),
        ({"sample_rate": 0}, "sample_rate is 0; expected 1 to"),
        ({"channels": 0}, "channels is 0; expected 1 to"),
        ({"split": "dev"}, "split is 'dev'; expected one of train, validation, test"),
        ({"controls": {"temp": 3}}, "control 'temp' is not known"),
        ({"path": ""}, "path is empty"),
    ],
)
def test_clips_that_no_manifest_may_hold(
    tmp_path: Path, change: dict[str, object], match: str
) -> None:
    clip = dataclasses.replace(CLIP, **change)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=match):
        write_manifest(tmp_path / "m.parquet", [clip])
    assert not list(tmp_path.iterdir())


def test_ids_are_there_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the id 'a1' is there twice"):
        write_manifest(tmp_path / "m.parquet", [CLIP, CLIP])


def test_what_is_no_manifest(tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    with pytest.raises(StorageError, match="No such file"):
        read_manifest(path)
    with pytest.raises(ConfigError, match="is a folder; expected a manifest"):
        read_manifest(tmp_path)
    path.write_bytes(b"id,path\n1,a.wav\n")
    with pytest.raises(
        ConfigError,
        match="no whole Parquet.*expected a manifest that 'antiphon data prepare' wrote",
    ):
        read_manifest(path)
    write_manifest(path, [CLIP] * 1)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ConfigError, match="no whole Parquet"):
        read_manifest(path)
    pyarrow.parquet.write_table(pyarrow.table({"id": ["x"]}), path)
    with pytest.raises(ConfigError, match="a Parquet file of something else; expected a manifest"):
        read_manifest(path)


def test_paths_are_relative_where_they_can_be(tmp_path: Path) -> None:
    assert relative_path(tmp_path / "a/b.wav", tmp_path) == "a/b.wav"
    assert relative_path(tmp_path.parent / "b.wav", tmp_path) == str(tmp_path.parent / "b.wav")
