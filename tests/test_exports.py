"""Texts in the shape other tools read, and sidecars that lose nothing."""

from __future__ import annotations

import json
import os
import pickle
import random
import stat
import subprocess
import sys
import time
import unicodedata
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.description import Description, Provenance
from antiphon.errors import DiskFullError, StorageError
from antiphon.exports import (
    info_key,
    info_path,
    json_line,
    merge_info,
    normalise_for_t5,
    write_captions,
)
from antiphon.facts import (
    Facts,
)
from bare_facts import bare_facts

pytestmark = pytest.mark.unit

FACTS = bare_facts("song.wav")
OURS = "antiphon-signal"
THEIRS = "gguf_Q6_K"


def description(texts: Mapping[str, str], model: str = OURS) -> Description:
    return Description("song.wav", texts, FACTS, Provenance(model, None, "Apache-2.0", {}, "0"))


def test_a_gguf_model_is_named_as_other_tools_name_it(tmp_path: Path) -> None:
    track = tmp_path / "a.wav"
    settings = {"engine": "gguf", "quantisation": "Q6_K"}
    provenance = Provenance("music-flamingo-hf.Q6_K.gguf", None, None, settings, "0")
    described = Description("song.wav", {"full": "A waltz."}, FACTS, provenance)
    merge_info(track, described, prompt_set="standard")
    assert info(track)["music_flamingo_model"] == THEIRS
    merge_info(track, replace(described, texts={"full": "A tango."}), prompt_set="standard")
    assert info(track)["music_flamingo_full"] == "A tango."  # of the same model: refreshed


def info(track: Path) -> dict[str, object]:
    content: dict[str, object] = json.loads(info_path(track).read_bytes())
    return content


# --- text for a T5 tokenizer


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\u2010b", "a-b"),
        ("a\u2011b", "a-b"),
        ("a\u2013b", "a-b"),
        ("a\u2014b", "a--b"),
        ("a\u202fb", "a b"),
        ("\u2018a\u2019", "'a'"),
        ("\u201ca\u201d", '"a"'),
        ("a\u00a0b", "a b"),
        ("\ufb01ne\u2026", "fine..."),
        ("\uff12\uff10", "20"),
        ("Ha\u0308nsel", "H\u00e4nsel"),
        (
            "\u00e4\u00f6\u00fc\u00df\u00c5\u00e9\u00f1",
            "\u00e4\u00f6\u00fc\u00df\u00c5\u00e9\u00f1",
        ),
        ("F# minor, C:maj, -14.2 LUFS", "F# minor, C:maj, -14.2 LUFS"),
        # Not in the list, and NFKC leaves it.
        ("\u2212", "\u2212"),
        # NFKC makes an en dash and an em dash of these.
        ("a\ufe32b\ufe58c", "a-b--c"),
    ],
)
def test_normalise(text: str, expected: str) -> None:
    assert normalise_for_t5(text) == expected


def test_normalise_is_idempotent_and_nfkc_for_every_character() -> None:
    for start in range(0, sys.maxunicode + 1, 4096):
        once = normalise_for_t5(" a".join(map(chr, range(start, start + 4096))))
        assert normalise_for_t5(once) == once, hex(start)
        assert unicodedata.is_normalized("NFKC", once), hex(start)


@given(st.text())
def test_normalise_is_idempotent_on_any_text(text: str) -> None:
    once = normalise_for_t5(text)
    assert normalise_for_t5(once) == once


# --- .INFO


@pytest.mark.parametrize(
    ("track", "expected"),
    [
        ("/music/song.flac", "/music/song.INFO"),
        ("/music/a.b c.mp3", "/music/a.b c.INFO"),
        ("/music/Artist - Song/full_mix.flac", "/music/Artist - Song/Artist - Song.INFO"),
        ("/music/v1.2/full_mix.mp3", "/music/v1.2/v1.2.INFO"),
        ("/music/x/full_mix_2.mp3", "/music/x/full_mix_2.INFO"),
        ("/music/x/../full_mix.mp3", "/music/x/../music.INFO"),
        ("/full_mix.mp3", "/full_mix.INFO"),
    ],
)
def test_info_path(track: str, expected: str) -> None:
    assert info_path(Path(track)) == Path(expected)


def test_info_path_of_a_relative_track(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "song").mkdir()
    monkeypatch.chdir(tmp_path / "song")
    assert info_path(Path("full_mix.wav")) == Path("song.INFO")


@pytest.mark.parametrize(
    ("prompt_set", "kind", "key"),
    [
        ("standard", "technical", "music_flamingo_technical"),
        ("short", "technical", "music_flamingo_short_technical"),
        ("mine", "dance", "music_flamingo_mine_dance"),
    ],
)
def test_info_key(prompt_set: str, kind: str, key: str) -> None:
    assert info_key(prompt_set, kind) == key


def test_new_info_has_the_format_of_the_captioning_tool(tmp_path: Path) -> None:
    track = tmp_path / "Häns & <el>.wav"
    merged = merge_info(
        track, description({"full": "Größe \u2013 ja", "structure": "b"}), prompt_set="standard"
    )
    assert merged.path == tmp_path / "Häns & <el>.INFO"
    assert (merged.written, merged.kept) == (("full", "structure"), ())
    assert merged.path.read_text(encoding="utf-8") == (
        "{\n"
        '  "music_flamingo_full": "Größe - ja",\n'
        '  "music_flamingo_structure": "b",\n'
        '  "music_flamingo_model": "antiphon-signal"\n'
        "}"
    )
    assert list(tmp_path.iterdir()) == [merged.path]


def test_keys_of_other_tools_their_order_and_the_mode_are_kept(tmp_path: Path) -> None:
    track = tmp_path / "song.wav"
    others = {"zeta": 1.5, "bpm": 128, "ä": ["x", None], "music": {"a": True}, "lufs": -9.25e-7}
    others["nan"] = float("nan")
    info_path(track).write_text(json.dumps({**others, "big": 2**70}), encoding="utf-8")
    info_path(track).chmod(0o640)
    merge_info(track, description({"full": "one"}), prompt_set="standard")
    merge_info(track, description({"full": "two"}), prompt_set="standard")
    content = info(track)
    assert list(content) == [*others, "big", "music_flamingo_full", "music_flamingo_model"]
    assert json.dumps({**others, "big": 2**70}) == json.dumps(
        {key: value for key, value in content.items() if not key.startswith("music_flamingo")}
    )
    assert content["music_flamingo_full"] == "two"
    assert stat.S_IMODE(info_path(track).stat().st_mode) == 0o640


def test_info_with_a_byte_order_mark_or_escaped_surrogates_is_kept(tmp_path: Path) -> None:
    track = tmp_path / "song.wav"
    info_path(track).write_bytes(b'\xef\xbb\xbf{"name": "bad \\udc80 byte", "line": "a\\u2028b"}')
    merge_info(track, description({"full": "x"}), prompt_set="standard")
    content = info(track)
    assert content["name"] == "bad \udc80 byte"
    assert content["line"] == "a\u2028b"


def test_text_of_another_model_is_replaced_only_with_overwrite(tmp_path: Path) -> None:
    track = tmp_path / "song.wav"
    theirs = {"full": "theirs", "technical": "theirs"}
    merge_info(track, description(theirs, THEIRS), prompt_set="standard")
    before = info(track)

    ours = {"full": "ours", "technical": "ours"}
    kept = merge_info(track, description(ours), prompt_set="standard")
    assert (kept.written, kept.kept) == ((), ("full", "technical"))
    assert info(track) == before

    forced = merge_info(track, description(ours), prompt_set="standard", overwrite=True)
    assert (forced.written, forced.kept) == (("full", "technical"), ())
    assert info(track) == {
        "music_flamingo_full": "ours",
        "music_flamingo_technical": "ours",
        "music_flamingo_model": OURS,
    }


def test_text_of_an_unknown_model_is_anothers(tmp_path: Path) -> None:
    track = tmp_path / "song.wav"
    info_path(track).write_text('{"music_flamingo_full": "whose?"}')
    merge_info(track, description({"full": "ours", "structure": "ours"}), prompt_set="standard")
    assert info(track) == {
        "music_flamingo_full": "whose?",
        "music_flamingo_structure": "ours",
        "music_flamingo_structure_model": OURS,
    }


@pytest.mark.parametrize("empty", ["", None])
def test_empty_text_belongs_to_nobody(tmp_path: Path, empty: object) -> None:
    track = tmp_path / "song.wav"
    content = {"music_flamingo_full": empty, "music_flamingo_model": THEIRS}
    info_path(track).write_text(json.dumps(content))
    merge_info(track, description({"full": "ours"}), prompt_set="standard")
    assert info(track) == {"music_flamingo_full": "ours", "music_flamingo_model": OURS}


def test_each_text_keeps_its_maker_where_two_models_share_a_file(tmp_path: Path) -> None:
    track = tmp_path / "song.wav"
    theirs = {"full": "theirs", "structure": "theirs"}
    merge_info(track, description(theirs, THEIRS), prompt_set="standard")
    merge_info(track, description({"brief": "ours", "technical": "ours"}), prompt_set="short")
    assert info(track) == {
        "music_flamingo_full": "theirs",
        "music_flamingo_structure": "theirs",
        "music_flamingo_model": THEIRS,
        "music_flamingo_short_brief": "ours",
        "music_flamingo_short_technical": "ours",
        "music_flamingo_short_brief_model": OURS,
        "music_flamingo_short_technical_model": OURS,
    }
    # Ours stay ours, and theirs stay theirs, whoever comes again.
    again = merge_info(track, description({"brief": "ours, better"}), prompt_set="short")
    assert again.written == ("brief",)
    refused = merge_info(track, description({"brief": "theirs"}, THEIRS), prompt_set="short")
    assert refused.kept == ("brief",)
    # When the last text of the other goes, so do the marks.
    ours = {"full": "ours", "structure": "ours"}
    merge_info(track, description(ours), prompt_set="standard", overwrite=True)
    assert info(track) == {
        "music_flamingo_full": "ours",
        "music_flamingo_structure": "ours",
        "music_flamingo_model": OURS,
        "music_flamingo_short_brief": "ours, better",
        "music_flamingo_short_technical": "ours",
    }


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"{",
        b"[1, 2]",
        b'"text"',
        b"null",
        b"\xff\xfe\x00",
        b'{"a": 1} {"b": 2}',
        b"[" * 100_000,
        b'{"a": ' + b"9" * 5000 + b"}",
    ],
)
def test_damaged_info_is_named_and_left_as_it_was(tmp_path: Path, damaged: bytes) -> None:
    track = tmp_path / "song.wav"
    info_path(track).write_bytes(damaged)
    with pytest.raises(StorageError, match=r"song\.INFO' is not a JSON object.*left as it is"):
        merge_info(track, description({"full": "x"}), prompt_set="standard", overwrite=True)
    assert info_path(track).read_bytes() == damaged
    assert list(tmp_path.iterdir()) == [info_path(track)]


def test_link_in_place_of_the_info_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("{}")
    (tmp_path / "song.INFO").symlink_to("elsewhere")
    with pytest.raises(StorageError, match=r"song\.INFO' is a symbolic link"):
        merge_info(tmp_path / "song.wav", description({"full": "x"}), prompt_set="standard")
    assert (tmp_path / "elsewhere").read_text() == "{}"


def test_linked_folder_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "linked").symlink_to("real")
    merge_info(tmp_path / "linked" / "song.wav", description({"full": "x"}), prompt_set="standard")
    assert [p.name for p in (tmp_path / "real").iterdir()] == ["song.INFO"]


def test_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def read_only(path: str, flags: int, *rest: int) -> int:
        if flags & os.O_CREAT:
            raise PermissionError(13, "Permission denied", path)
        return real(path, flags, *rest)

    monkeypatch.setattr(os, "open", read_only)  # root may write anywhere
    with pytest.raises(StorageError, match=r"cannot write '.*song\.INFO': Permission denied; choo"):
        merge_info(tmp_path / "song.wav", description({"full": "x"}), prompt_set="standard")


def test_full_disk_keeps_the_old_info(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    track = tmp_path / "song.wav"
    merge_info(track, description({"full": "old"}), prompt_set="standard")

    def full(path: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(DiskFullError, match="no space left"):
        merge_info(track, description({"full": "new"}), prompt_set="standard")
    assert info(track)["music_flamingo_full"] == "old"
    assert list(tmp_path.iterdir()) == [info_path(track)]


_WRITER = """
import pickle, sys
from dataclasses import replace
from pathlib import Path
from antiphon.exports import merge_info
track, prompt_set, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
description = pickle.load(sys.stdin.buffer)
n = 0
while n != count:
    texts = {f"k{n % 300}": "x" * 500}
    merge_info(track, replace(description, texts=texts), prompt_set=prompt_set)
    n += 1
    if count < 0:
        print(flush=True)
"""


def start_writer(track: Path, prompt_set: str, count: int) -> subprocess.Popen[bytes]:
    writer = subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(track), prompt_set, str(count)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert writer.stdin is not None
    writer.stdin.write(pickle.dumps(description({})))
    writer.stdin.close()
    return writer


@pytest.mark.integration
def test_two_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    track = tmp_path / "song.wav"
    info_path(track).write_text('{"bpm": 128}')
    writers = [start_writer(track, name, 100) for name in ("left", "right")]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0]
    for writer in writers:
        assert writer.stdout is not None
        writer.stdout.close()
    assert set(info(track)) == {"bpm", "music_flamingo_model"} | {
        f"music_flamingo_{name}_k{n}" for name in ("left", "right") for n in range(100)
    }
    assert list(tmp_path.iterdir()) == [info_path(track)]


@pytest.mark.integration
def test_kill_at_any_moment_leaves_a_valid_info(tmp_path: Path) -> None:
    track = tmp_path / "song.wav"
    moments = random.Random(1)
    known = 0
    for _ in range(8):
        writer = start_writer(track, "set", -1)
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(moments.uniform(0.0, 0.1))
        writer.kill()
        writer.stdout.close()
        writer.wait()
        assert len(info(track)) >= known
        known = len(info(track))
    merge_info(track, description({"full": "last"}), prompt_set="standard")
    assert list(tmp_path.iterdir()) == [info_path(track)]


# --- captions and JSON lines


def test_captions_are_one_line_each(tmp_path: Path) -> None:
    track = tmp_path / "a.b.flac"
    assert write_captions(track, description({"full": "One \u2013\ntwo.", "brief": "Three."}))
    assert (tmp_path / "a.b.txt").read_bytes() == b"One - two.\nThree.\n"


def test_captions_leave_a_file_of_the_user_alone(tmp_path: Path) -> None:
    track = tmp_path / "song.flac"
    lyrics = tmp_path / "song.txt"
    lyrics.write_text("la la la")
    assert not write_captions(track, description({"full": "One."}))
    assert lyrics.read_text() == "la la la"
    assert write_captions(track, description({"full": "One."}), overwrite=True)
    assert lyrics.read_text() == "One.\n"
    assert write_captions(track, description({"full": "One."}))  # it holds them already


@pytest.mark.parametrize("name", ["pl\u2028ain.wav", "\u2029\x85\n\r.wav", "ä \\x.wav"])
def test_json_line_is_one_line_whatever_the_name(name: str) -> None:
    described = replace(description({"full": "Ä \u2029 b"}), path=name, facts=FACTS.with_path(name))
    line = json_line(described.to_json())
    assert line.endswith(b"\n")
    assert len(line.decode().splitlines()) == 1
    assert Description.from_json(line) == described


def test_json_line_of_a_name_that_is_not_utf_8_can_be_read_by_a_strict_reader() -> None:
    name = os.fsdecode(b"caf\xe9 \xff.wav")
    line = json_line(FACTS.with_path(name).to_json())
    assert Facts.from_json(line).path == r"caf\xe9 \xff.wav"


def test_json_stays_json_when_it_is_normalised() -> None:
    text = '{"genre": "so-called \u201clo\u2011fi\u201d", "tags": ["a\u202fb", 1, null]}'
    normalised = normalise_for_t5(text)
    assert json.loads(normalised) == {"genre": 'so-called "lo-fi"', "tags": ["a b", 1, None]}
    assert normalise_for_t5("[Verse] \u201cla\u201d") == '[Verse] "la"'
