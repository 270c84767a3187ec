"""Validating: everything that makes a manifest unfit is found, and what is sound passes."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import soundfile
from corpus_pieces import RATE, piece, write_pieces

from antiphon.data.manifest import Clip, read_manifest, write_manifest
from antiphon.data.preparing import PrepareOptions, prepare
from antiphon.data.running import RunOptions
from antiphon.data.sources import read_source
from antiphon.data.validating import (
    Validation,
    other_script_share,
    report_lines,
    tokens,
    validate,
)
from antiphon.errors import ConfigError

pytestmark = pytest.mark.integration

ONE = RunOptions(1)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    music = folder / "music"
    for path in write_pieces(music, 0, 1, 2, 3):
        path.with_suffix(".txt").write_text("A loud rock song with guitars.")
    prepare(read_source(music), folder / "m.parquet", PrepareOptions(), ONE)
    return folder


@pytest.fixture
def manifest(prepared: Path, tmp_path: Path) -> Path:
    shutil.copytree(prepared, tmp_path / "c")
    return tmp_path / "c/m.parquet"


def changed(manifest: Path, **values: object) -> None:
    """The first clip with other values, past the checks of `write_manifest`."""
    table = pyarrow.parquet.read_table(manifest)
    rows = table.to_pylist()
    rows[0].update(values)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, table.schema), manifest)


def errors(validation: Validation) -> list[tuple[str, str]]:
    return [(one.check, one.message) for one in validation.findings if one.level == "error"]


def warnings(validation: Validation) -> list[str]:
    return [one.message for one in validation.findings if one.level == "warning"]


def test_what_is_sound_passes(manifest: Path) -> None:
    validation = validate(manifest, ONE)
    assert validation.is_sound
    assert errors(validation) == []
    assert warnings(validation) == [
        "4 clips have no known licence; prepare --licence leaves them out"
    ]
    assert (validation.clips, validation.captioned, validation.files_read) == (4, 4, 4)
    assert validation.words_median == 6
    assert validation.hours == pytest.approx(
        sum(piece(n).duration_seconds for n in range(4)) / 3600, abs=1e-4
    )
    assert sum(validation.splits.values()) == 4
    assert validation.licences == {"unknown": 4}
    assert report_lines(validation)[-1] == "sound: 0 errors, 1 warnings"
    assert sorted(path.name for path in manifest.parent.iterdir()) == [
        "m.parquet",
        "m.parquet.ledger.jsonl",
        "music",
    ]


@pytest.mark.parametrize(
    ("values", "check", "match"),
    [
        ({"seconds": math.nan}, "schema", "seconds is nan"),
        ({"start_seconds": math.nan}, "schema", "start_seconds is nan"),
        ({"controls": '{"tempo": 900}'}, "schema", "tempo is 900 BPM"),
        ({"path": None}, "schema", "path is empty"),
        ({"split": "dev"}, "schema", "split is 'dev'"),
        ({"path": "music/gone.flac"}, "file", "gone.flac is missing; put it back"),
        ({"content": "00" * 32}, "hash", "is another file than when it was prepared"),
        ({"seconds": 5.0}, "range", "s long; the row says 5 s"),
        ({"end_seconds": 60.0, "seconds": 60.0}, "range", "ends at 60 s, and music/0.flac at"),
        ({"sample_rate": 8000}, "range", "sample_rate is 16000 in music/0.flac; the row says 8000"),
        ({"channels": 2}, "range", "channels is 1 in music/0.flac; the row says 2"),
        ({"caption": " "}, "caption", "the caption is empty"),
    ],
)
def test_each_error(manifest: Path, values: dict[str, object], check: str, match: str) -> None:
    changed(manifest, **values)
    validation = validate(manifest, ONE)
    assert not validation.is_sound
    assert any(check == found and match in text for found, text in errors(validation))


def test_an_id_that_is_there_twice(manifest: Path) -> None:
    changed(manifest, id=read_manifest(manifest).clips[1].id)
    assert ("schema", "the id is there more than once") in errors(
        validate(manifest, ONE, read_audio=False)
    )


def test_no_rows_and_no_manifest(manifest: Path) -> None:
    write_manifest(manifest, [])
    assert errors(validate(manifest, ONE)) == [("schema", "the manifest holds no clip (0 rows)")]
    manifest.write_bytes(b"path,caption\n")
    with pytest.raises(ConfigError, match="expected a .*manifest|expected a file that"):
        validate(manifest, ONE)


def test_captions_that_a_person_should_see(manifest: Path) -> None:
    clips = list(read_manifest(manifest).clips)
    texts = ("Rock.", "гитары и барабаны", "la " * 400, None)
    clips = [replace(clip, caption=text) for clip, text in zip(clips, texts, strict=True)]
    write_manifest(manifest, clips)
    validation = validate(manifest, ONE, read_audio=False)
    assert validation.is_sound
    told = "\n".join(warnings(validation))
    assert "'Rock.' has 1 words; expected 3 or more" in told
    assert "100% of its letters are of no Latin alphabet: 'гитары и барабаны'" in told
    assert "about 540 tokens; what is beyond 256 is cut off: 'la la" in told
    assert "1 clips have no caption; data caption writes some" in told


def test_letters_and_tokens() -> None:
    assert other_script_share("Ärger über ﬁne naïve café, 12 %") == 0.0
    assert other_script_share("abc абв") == 0.5
    assert other_script_share("音楽") == 1.0
    assert other_script_share("!? 123") == 0.0
    assert tokens("a slow blues in e minor") == 8
    assert tokens("x" * 400) == 100


def leaking(manifest: Path, *splits: str) -> tuple[Clip, ...]:
    clips = [
        replace(clip, split=split)  # type: ignore[arg-type]
        for clip, split in zip(read_manifest(manifest).clips, splits, strict=True)
    ]
    return tuple(clips)


def test_leakage_by_group_content_and_sound(manifest: Path) -> None:
    folder = manifest.parent / "music"
    first, second, third, fourth = leaking(manifest, "train", "train", "validation", "test")
    data, rate = soundfile.read(folder / "0.flac", dtype="float32")
    soundfile.write(folder / "again.mp3", (0.3 * data[rate // 2 :]).astype(np.float32), rate)
    shutil.copy(folder / "1.flac", folder / "copy.flac")
    prepare(read_source(folder), manifest.with_name("n.parquet"), PrepareOptions(), ONE)
    by_name = {Path(c.path).name: c for c in read_manifest(manifest.with_name("n.parquet")).clips}
    write_manifest(
        manifest,
        [
            replace(first, group="artist:a"),
            second,
            replace(third, group="artist:c"),
            replace(fourth, group="artist:c"),
            replace(by_name["again.mp3"], split="test", group="artist:d"),
            replace(by_name["copy.flac"], id="copy", split="validation", group="artist:e"),
        ],
    )
    found = [text for check, text in errors(validate(manifest, ONE)) if check == "leakage"]
    assert len(found) == 3
    assert any(text.startswith("group 'artist:c' is in test (") for text in found)
    assert any(text.startswith(f"content '{second.content[:50]}") for text in found)
    assert any(
        f"sounds like {first.id} (music/0.flac), which is in train while this is in test" in text
        for text in found
    )
    quick = [text for _, text in errors(validate(manifest, ONE, read_audio=False))]
    assert len(quick) == 2  # what needs no sound


def test_splits_and_duplicates(manifest: Path) -> None:
    clips = leaking(manifest, "test", "test", "test", "test")
    write_manifest(manifest, [*clips, replace(clips[0], id="copy")])
    validation = validate(manifest, ONE, read_audio=False)
    assert ("splits", "no clip is in the split train; prepare it anew") in errors(validation)
    told = "\n".join(warnings(validation))
    assert "no clip is in the split validation" in told
    assert f"holds the same bytes as {clips[0].id}; it counts double" in told


def test_damage_is_told_and_every_check_reads_anew(manifest: Path) -> None:
    assert validate(manifest, ONE).is_sound
    path = manifest.parent / "music/0.flac"
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    validation = validate(manifest, ONE)
    assert {check for check, _ in errors(validation)} == {"hash", "range"}
    assert any("0.flac is damaged" in text for text in warnings(validation))
    path.write_bytes(b"no sound at all")
    assert any("cannot be decoded" in text for _, text in errors(validate(manifest, ONE)))


def test_a_stop_is_no_verdict(manifest: Path) -> None:
    asked: list[bool] = []

    def should_stop() -> bool:
        asked.append(True)
        return len(asked) > 1

    validation = validate(manifest, RunOptions(1, should_stop=should_stop))
    assert (validation.is_sound, validation.files_read, validation.not_reached) == (False, 1, 3)
    assert "1 read, 3 not reached" in "\n".join(report_lines(validation))
    assert validate(manifest, ONE).is_sound


def test_a_report_names_only_the_first_of_many(manifest: Path) -> None:
    clips = read_manifest(manifest).clips
    write_manifest(manifest, [replace(clips[0], id=str(n), caption="x") for n in range(30)])
    lines = report_lines(validate(manifest, ONE, read_audio=False), most=5)
    assert "  … 25 more (--json lists all)" in lines
    assert clips[0].sample_rate == RATE
