"""What a source tells of its clips, before any audio is touched: folders, tables, MusicCaps.

Every source gives the same rows. Knows no audio: whether a file is sound, others find out.
"""

from __future__ import annotations

import ast
import json
import math
import os
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from antiphon.compose.prompt import CARRIED
from antiphon.controls import GENRES, INSTRUMENTS, MOODS, OPTION_NAMES, Controls
from antiphon.data.caption_tables import (
    KNOWN_FIELDS,
    by_meaning,
    is_table,
    read_lines,
    read_text,
)
from antiphon.data.manifest import SPLITS, Split
from antiphon.data.youtube_files import YoutubeFiles
from antiphon.errors import AntiphonError, AudioError, ConfigError, StorageError
from antiphon.listen.library import Tracks

Dataset = Literal["musiccaps"]
DATASETS: tuple[Dataset, ...] = get_args(Dataset)
QUARANTINE_TABLE = "quarantine.jsonl"  # a folder that holds it holds what `clean` took away

_SPLIT_NAMES: Mapping[str, Split] = {
    **{name: name for name in SPLITS},
    "training": "train", "valid": "validation", "val": "validation", "dev": "validation",
    "eval": "test", "evaluate": "test", "evaluation": "test",
}  # fmt: skip
_ABSENT = ("", "nan", "none", "null", "n/a")  # how tables write that there is no value
_TRUTHS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_LISTS = ("mood", "instruments", "without")


@dataclass(frozen=True)
class Row:
    """A clip as its source tells of it; `name` says where, for people.

    `group` is of what must not be torn apart by splits, None where no artist, album or video is
    known. `end_seconds` None: to the end of the file.
    """

    name: str
    path: Path
    caption: str | None = None
    caption_source: str | None = None
    start_seconds: float = 0.0
    end_seconds: float | None = None
    group: str | None = None
    split: Split | None = None
    licence: str | None = None
    source: str | None = None
    controls: Mapping[str, object] | None = None
    music: bool | None = None


@dataclass(frozen=True)
class Problem:
    """A row that cannot be used, and why."""

    name: str
    reason: str
    exit_code: int = 2


@dataclass(frozen=True)
class Rows:
    """The rows of a source in its order; `notes` say what of it was left aside."""

    rows: tuple[Row, ...]
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()


def read_source(source: Path, captions: Path | None = None, dataset: str | None = None) -> Rows:
    """The rows of a folder of any depth, of a CSV or JSONL file, or of `captions` over a folder.

    Without `captions` every track of the folder is a row, with what a `.txt` or `.json` of the same
    name beside it says. With them, or with a table as `source`, each line of the table is one.
    Raises ConfigError for a table that is none, StorageError for what cannot be read, AudioError
    where there is no row at all.
    """
    if dataset is not None and dataset not in DATASETS:
        raise ConfigError(f"dataset is {dataset!r}; expected one of {', '.join(DATASETS)}")
    if is_table(source) and not source.is_dir():
        if captions is not None:
            raise ConfigError(
                f"{source} and {captions} are both tables; expected a folder and one table"
            )
        source, captions = source.parent, source
    if not source.is_dir():
        raise ConfigError(f"{str(source)!r} is no folder; expected one with audio, or a table")
    if captions is None:
        if dataset is not None:
            raise ConfigError(f"dataset {dataset} needs its table; expected --captions FILE.csv")
        rows = _rows_of_folder(source)
    else:
        rows = _rows_of_table(captions, source, dataset)
    if not (rows.rows or rows.problems):
        raise AudioError(
            f"there is nothing to prepare in {str(captions or source)!r} (0 rows); expected "
            + ("audio files below it" if captions is None else "a line for each clip")
        )
    return rows


def tracks_below(folder: Path) -> list[Path]:
    """The tracks in a folder of any depth, in order; those in a quarantine are left out."""
    found, known = [], {folder: False}

    def is_quarantine(place: Path) -> bool:
        if place not in known:
            known[place] = is_quarantine(place.parent) or (place / QUARANTINE_TABLE).exists()
        return known[place]

    for track in Tracks((folder,)):
        if not is_quarantine(track.parent):
            found.append(track)
    return found


def _rows_of_folder(folder: Path) -> Rows:
    rows: list[Row] = []
    problems: list[Problem] = []
    for track in tracks_below(folder):
        try:
            rows.append(_row_of_track(track))
        except AntiphonError as error:
            problems.append(Problem(str(track), str(error), error.exit_code))
    return Rows(tuple(rows), tuple(problems))


def _row_of_track(track: Path) -> Row:
    fields: dict[str, object] = {}
    caption_source = None
    as_json, as_text = track.with_suffix(".json"), track.with_suffix(".txt")
    if as_json.is_file():
        try:
            said = json.loads(read_text(as_json))
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{as_json} is no JSON: {error}; mend it or move it away") from error
        if not isinstance(said, dict):
            raise ConfigError(f"{as_json} is no JSON object; mend it or move it away")
        fields = by_meaning(said)
        caption_source = "json" if _text(fields, "caption") else None
    if not _text(fields, "caption") and as_text.is_file():
        fields["caption"] = " ".join(read_text(as_text).split())
        caption_source = "txt"
    for name in ("path", "start_seconds", "end_seconds"):  # of the file that it was made from
        fields.pop(name, None)
    row = _row(str(track), track, fields)
    return replace(row, caption_source=caption_source or ("json" if row.caption else None))


def _rows_of_table(table: Path, folder: Path, dataset: str | None) -> Rows:
    tracks = tracks_below(folder)
    youtube = YoutubeFiles(tracks) if dataset == "musiccaps" else None
    rows: list[Row] = []
    problems: list[Problem] = []
    unknown: dict[str, None] = {}
    for line in read_lines(table):
        name, fields = f"{table}, line {line.number}", line.fields
        unknown |= dict.fromkeys(field for field in fields if field not in KNOWN_FIELDS)
        if line.problem is not None:
            problems.append(Problem(name, line.problem))
            continue
        try:
            if youtube is None:
                row = _row(name, _found(fields, folder, table.parent), fields)
                written_by = table.name
            else:
                row = _musiccaps_row(name, youtube, fields)
                written_by = "musiccaps"
        except AntiphonError as error:
            problems.append(Problem(name, str(error), error.exit_code))
            continue
        rows.append(replace(row, caption_source=written_by if row.caption else None))
    notes = []
    if unknown and youtube is None:
        notes.append(f"columns that have no meaning here and are left out: {', '.join(unknown)}")
    named = {os.path.abspath(row.path) for row in rows}
    others = sum(os.path.abspath(path) not in named for path in tracks)
    if others:
        notes.append(f"{others:,} tracks in {folder} have no line in {table} and are left out")
    return Rows(tuple(rows), tuple(problems), tuple(notes))


def _musiccaps_row(name: str, files: YoutubeFiles, fields: Mapping[str, object]) -> Row:
    video = _text(fields, "ytid")
    if video is None:
        raise ConfigError("it has no ytid; expected the columns of MusicCaps")
    start, end = _passage(fields)
    path, is_cut = files.find(video, start)
    aspects = _aspects(_text(fields, "aspect_list"))
    known: dict[str, object] = {
        option: [word for word in aspects if word in words]
        for option, words in (("mood", MOODS), ("instruments", INSTRUMENTS))
    }
    genre = next((word for word in aspects if word in GENRES), None)
    caption = _text(fields, "caption") or ", ".join(aspects)
    row = _row(name, path, {**known, "genre": genre, **fields, "caption": caption})
    if is_cut:
        row = replace(row, start_seconds=0.0, end_seconds=None)
    return replace(row, group=f"video:{video}", source=row.source or "musiccaps")


def _aspects(text: str | None) -> list[str]:
    """`['slow tempo', 'piano']`, as Python writes it; the texts alone where it is not that."""
    try:
        listed = ast.literal_eval(text or "[]")
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        listed = (text or "").strip("[]").split(",")
    return [str(word).strip().lower() for word in listed] if isinstance(listed, list) else []


def _found(fields: Mapping[str, object], *folders: Path) -> Path:
    """The file that a row names, looked for in each of `folders`."""
    name = _text(fields, "path")
    if name is None:
        raise ConfigError("it names no file; expected one in the column path, file or audio")
    for folder in folders:
        try:
            if (folder / name).is_file():
                return folder / name
        except (OSError, ValueError):  # a name that no file can have
            break
    where = " or ".join(dict.fromkeys(str(folder) for folder in folders))
    raise StorageError(
        f"{name!r} does not exist in {where}; expected a path relative to one of them"
    )


def _row(name: str, path: Path, fields: Mapping[str, object]) -> Row:
    start, end = _passage(fields)
    split = _text(fields, "split")
    if split is not None and split.lower() not in _SPLIT_NAMES:
        raise ConfigError(f"split is {split!r}; expected one of {', '.join(SPLITS)}")
    controls, rest = _controls(fields)
    artist, album = _text(fields, "artist"), _text(fields, "album")
    group = None
    if artist is not None:
        group = f"artist:{_folded(artist)}"
    elif album is not None:
        group = f"album:{_folded(album)}"
    return Row(
        name,
        path,
        _with_rest(_text(fields, "caption"), rest),
        None,
        start,
        end,
        group,
        None if split is None else _SPLIT_NAMES[split.lower()],
        _text(fields, "licence"),
        _text(fields, "source"),
        controls or None,
        _music(fields),
    )


def _music(fields: Mapping[str, object]) -> bool | None:
    said = (_text(fields, "music") or "").lower()
    if said in _ABSENT:
        return None
    if said not in _TRUTHS:
        raise ConfigError(f"music is {said!r:.50}; expected yes or no, true or false, 1 or 0")
    return _TRUTHS[said]


def _passage(fields: Mapping[str, object]) -> tuple[float, float | None]:
    start = _seconds(fields, "start_seconds")
    end = _seconds(fields, "end_seconds")
    if end is not None and end <= (start or 0.0):
        raise ConfigError(f"end_seconds is {end:g}; expected more than the start, {start or 0:g}")
    return start or 0.0, end


def _seconds(fields: Mapping[str, object], name: str) -> float | None:
    value = fields.get(name)
    if value is None or value == "":
        return None
    try:
        seconds = float(value) if isinstance(value, int | float | str) else math.nan
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds >= 0):
        raise ConfigError(f"{name} is {value!r:.50}; expected seconds from 0 on")
    return seconds


def _controls(fields: Mapping[str, object]) -> tuple[dict[str, object], list[str]]:
    """What `Controls` knows of the fields, and the rest as text."""
    known: dict[str, object] = {}
    rest: list[str] = []
    for option in (*OPTION_NAMES, "keywords"):
        strange = []
        for value in _values(option, fields.get(option)):
            before = known.get(option)
            values = [*before, value] if isinstance(before, list) else [value]
            tried = {**known, option: values if option in _LISTS else value}
            try:
                known = Controls.from_options(tried).to_dict()
            except ConfigError:
                strange.append(str(value))
        if strange:
            rest.append(f"{CARRIED.get(option, option)}: {', '.join(strange)}")
    return known, rest


def _values(option: str, value: object) -> list[object]:
    """What is to be tried one by one: the items of a list, else the value itself."""
    if option in ("intro", "ending") and isinstance(value, str):
        value = _TRUTHS.get(value.strip().lower(), value)
    if value is None or str(value).strip().lower() in _ABSENT:
        return []
    if option in (*_LISTS, "keywords"):
        items = value.split(",") if isinstance(value, str) else value
        items = items if isinstance(items, list) else [items]
        return [text for text in (str(item).strip() for item in items if _is_plain(item)) if text]
    if isinstance(value, list):
        # A list of what is not text is some other program's: a score's sections, say.
        plain = all(_is_plain(item) for item in value)
        return [",".join(map(str, value))] if plain and value else []
    return [value] if _is_plain(value) else []


def _is_plain(value: object) -> bool:
    return isinstance(value, str | int | float)


def _with_rest(caption: str | None, rest: list[str]) -> str | None:
    if not rest:
        return caption
    return ". ".join([*filter(None, [(caption or "").rstrip(". ")]), *rest])


def _text(fields: Mapping[str, object], name: str) -> str | None:
    value = fields.get(name)
    if value is None:
        return None
    return (value if isinstance(value, str) else str(value)).strip() or None


def _folded(name: str) -> str:
    """Spellings of one artist that differ in case, width or spaces are one."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())
