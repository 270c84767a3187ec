"""Sources: every one gives the same rows, and a bad row is a failure of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from antiphon.data.sources import Row, read_source
from antiphon.errors import AudioError, ConfigError, StorageError

pytestmark = pytest.mark.unit


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")


def table(folder: Path, text: str, name: str = "captions.csv") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_a_folder_with_what_lies_beside_its_tracks(tmp_path: Path) -> None:
    touch(tmp_path, "b/deep/two.flac", "a.wav", "b/three.mp3", "note.pdf", ".hidden/x.wav")
    (tmp_path / "a.txt").write_text("\ufeffSlow\nblues.", encoding="utf-8")
    said = {
        "title": "X", "artist": " Ann  B ", "key": "c minor", "bpm": 90, "genre": "jazz",
        "moods": ["calm", "hazy"], "instrument": "piano, theremin", "keywords": ["live", "1961"],
        "description": "Late night.", "name": "two", "sections": [{"label": "intro"}],
        "start": 3, "path": "elsewhere.wav",
    }  # fmt: skip
    (tmp_path / "b/deep/two.json").write_text(json.dumps(said), encoding="utf-8")
    (tmp_path / "b/three.json").write_text("[1]", encoding="utf-8")
    source = read_source(tmp_path)
    assert source.rows == (
        Row(str(tmp_path / "a.wav"), tmp_path / "a.wav", "Slow blues.", "txt"),
        Row(
            str(tmp_path / "b/deep/two.flac"),
            tmp_path / "b/deep/two.flac",
            "Late night. moods: hazy. instrument: theremin. keywords: live, 1961",
            "json",
            group="artist:ann b",
            controls={
                "genre": "jazz", "mood": ["calm"], "tempo": 90.0, "key": "C minor",
                "instruments": ["piano"],
            },
        ),
    )  # fmt: skip
    (problem,) = source.problems
    assert problem.name.endswith("three.mp3")
    assert "three.json is no JSON object" in problem.reason


def test_what_was_put_aside_is_no_source(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav", "quarantine/music/b.wav", "quarantine/quarantine.jsonl")
    assert [row.path.name for row in read_source(tmp_path).rows] == ["a.wav"]


CSV = """\ufefffile,Text,start_seconds,end-seconds,artist,album,licence,split,bpm,genre,odd
a.wav,"one, ""quoted""
line",1.5,3,,,CC0-1.0,valid,120,shoegaze,1
b.wav,,,,The  BAND,Album,,,300,rock,
b.wav,.,,,,Album,,,fast,,
"""


def test_a_table(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav", "b.wav", "c.wav")
    source = read_source(tmp_path, table(tmp_path, CSV))
    one, two, three = source.rows
    assert (one.caption, one.caption_source) == (
        'one, "quoted"\nline. genre: shoegaze',
        "captions.csv",
    )
    assert (one.start_seconds, one.end_seconds, one.split) == (1.5, 3.0, "validation")
    assert (one.licence, one.controls) == ("CC0-1.0", {"tempo": 120.0})
    assert one.name == f"{tmp_path / 'captions.csv'}, line 2"
    assert two.name.endswith("line 4")
    assert (two.caption, two.group) == ("bpm: 300", "artist:the band")
    assert two.controls == {"genre": "rock"}
    assert (three.group, three.caption) == ("album:album", "bpm: fast")
    assert not source.problems
    assert [note.partition(":")[0] for note in source.notes] == [
        "columns that have no meaning here and are left out",
        f"1 tracks in {tmp_path} have no line in {tmp_path / 'captions.csv'} and are left out",
    ]
    assert read_source(tmp_path / "captions.csv").rows == source.rows


def test_wishes_that_exclude_each_other_are_kept_as_text(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav")
    row = {"path": "a.wav", "instruments": ["piano"], "without": "piano,bass", "bars": 8,
           "duration": 30, "intro": "yes", "key": "nan", "metre": None}  # fmt: skip
    path = table(tmp_path, json.dumps(row), "t.jsonl")
    (read,) = read_source(tmp_path, path).rows
    assert read.controls == {
        "instruments": ["piano"], "without": ["bass"], "duration": 30.0, "intro": True,
    }  # fmt: skip
    assert read.caption == "without: piano. bars: 8"


def test_a_bad_row_is_a_failure_of_its_own(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav")
    lines = [
        '{"path": "a.wav", "caption": "fine"}',
        '{"path": "a.wav", "start_seconds": NaN}',
        '{"path": "a.wav", "start_seconds": -1}',
        '{"path": "a.wav", "start_seconds": 3, "end_seconds": 3}',
        '{"path": "a.wav", "split": "dev2"}',
        '{"path": "gone.wav"}',
        '{"path": "x\\u0000y"}',
        '{"caption": "no file"}',
        "[]",
        "{",
        "",
        '{"path": "a.wav", "end_seconds": "soon"}',
    ]
    source = read_source(tmp_path, table(tmp_path, "\n".join(lines), "t.jsonl"))
    assert [row.caption for row in source.rows] == ["fine"]
    told = [(problem.name.rpartition(" ")[2], problem.reason) for problem in source.problems]
    for (line, reason), (expected_line, expected) in zip(
        told,
        [
            ("2", "start_seconds is nan; expected seconds from 0 on"),
            ("3", "start_seconds is -1"),
            ("4", "end_seconds is 3; expected more than the start, 3"),
            ("5", "split is 'dev2'; expected one of train, validation, test"),
            ("6", "'gone.wav' does not exist in"),
            ("7", "does not exist in"),
            ("8", "it names no file; expected one in the column path"),
            ("9", "it is no JSON object"),
            ("10", "it is no JSON"),
            ("12", "end_seconds is 'soon'"),
        ],
        strict=True,
    ):
        assert line == expected_line
        assert expected in reason


def test_cells_that_do_not_fit_the_header(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav")
    source = read_source(tmp_path, table(tmp_path, "path,caption\na.wav,one, two\na.wav,x\n"))
    assert [row.caption for row in source.rows] == ["x"]
    assert "it has 3 cells, and the header 2" in source.problems[0].reason


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("caption\nx\n", "has no column path, file or audio .*names caption"),
        ("path,text,caption\na.wav,x,y\n", "two columns mean 'caption'; name each once"),
        ('path,caption\na.wav,"open\n', "line 2, is no CSV"),
    ],
)
def test_what_is_no_table(tmp_path: Path, text: str, match: str) -> None:
    touch(tmp_path, "a.wav")
    with pytest.raises(ConfigError, match=match):
        read_source(tmp_path, table(tmp_path, text))


def test_latin_1_is_named_with_its_byte(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav")
    path = tmp_path / "captions.csv"
    path.write_bytes(b"path,caption\na.wav,caf\xe9\n")
    with pytest.raises(
        ConfigError, match="captions.csv is not UTF-8: line 2 has the byte 0xE9 at offset 22.*iconv"
    ):
        read_source(tmp_path, path)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"nothing to prepare in .*\(0 rows\)"):
        read_source(tmp_path)
    with pytest.raises(AudioError, match=r"\(0 rows\); expected a line for each clip"):
        read_source(tmp_path, table(tmp_path, "path,caption\n"))
    with pytest.raises(ConfigError, match="is no folder"):
        read_source(tmp_path / "gone")
    with pytest.raises(StorageError, match="No such file"):
        read_source(tmp_path, tmp_path / "gone.csv")
    with pytest.raises(ConfigError, match="not known as a table of captions"):
        read_source(tmp_path, table(tmp_path, "", "x.xlsx"))
    with pytest.raises(ConfigError, match="dataset is 'other'; expected one of musiccaps"):
        read_source(tmp_path, None, "other")
    with pytest.raises(ConfigError, match="dataset musiccaps needs its table"):
        read_source(tmp_path, None, "musiccaps")
    with pytest.raises(ConfigError, match="are both tables"):
        read_source(tmp_path / "captions.csv", tmp_path / "captions.csv")


MUSICCAPS = """\
ytid,start_s,end_s,audioset_positive_labels,aspect_list,caption,author_id,is_audioset_eval
-0Gj8-vB1q4,30,40,/m/0140xf,"['low quality', 'sad', 'piano', 'jazz']","A sad, slow song.",4,False
0_30_wVB1q4,30,40,/m/0140xf,"['no drums']",,4,True
[x]yz,10,20,/m/1,not a list,Caption.,4,True
gone,0,10,/m/1,[],Caption.,4,True
"""


def test_musiccaps_over_local_audio(tmp_path: Path) -> None:
    touch(tmp_path, "deep/-0Gj8-vB1q4.m4a", "0_30_wVB1q4_30.wav", "0_30_wVB1q4_300.wav",
          "[[x]yz]-[10-20].wav")  # fmt: skip
    source = read_source(tmp_path, table(tmp_path, MUSICCAPS), "musiccaps")
    whole, cut, bracketed = source.rows
    assert whole.path == tmp_path / "deep/-0Gj8-vB1q4.m4a"
    assert (whole.start_seconds, whole.end_seconds) == (30.0, 40.0)
    assert (whole.caption, whole.caption_source) == ("A sad, slow song.", "musiccaps")
    assert whole.controls == {"genre": "jazz", "mood": ["sad"], "instruments": ["piano"]}
    assert (whole.group, whole.source) == ("video:-0Gj8-vB1q4", "musiccaps")
    assert (cut.path.name, cut.start_seconds, cut.end_seconds) == ("0_30_wVB1q4_30.wav", 0.0, None)
    assert (cut.caption, cut.split) == ("no drums", None)
    assert bracketed.path.name == "[[x]yz]-[10-20].wav"
    assert "there is no audio of 'gone' here" in source.problems[0].reason
    given = "ytid,start_s,end_s,aspect_list,caption,genre\n-0Gj8-vB1q4,30,40,\"['jazz']\",x,blues\n"
    (row,) = read_source(tmp_path, table(tmp_path, given), "musiccaps").rows
    assert row.controls == {"genre": "blues"}  # a column goes before an aspect


def test_whether_it_is_music(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav")
    said = ("yes", "TRUE", "1", "no", "false", "0", "", "nan")
    lines = [f'{{"path": "a.wav", "music": "{word}"}}' for word in said]
    lines += ['{"path": "a.wav", "music": false}', '{"path": "a.wav", "music": "maybe"}']
    source = read_source(tmp_path, table(tmp_path, "\n".join(lines), "t.jsonl"))
    assert [row.music for row in source.rows] == [
        True, True, True, False, False, False, None, None, False,
    ]  # fmt: skip
    assert not source.notes
    (problem,) = source.problems
    assert problem.reason == "music is 'maybe'; expected yes or no, true or false, 1 or 0"
