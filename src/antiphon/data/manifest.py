"""The manifest: one Parquet row for each clip, and what every later step may rely on.

Knows no audio and no model.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal, get_args

from antiphon import __version__
from antiphon.controls import Controls
from antiphon.data.tables import read_table, schema, write_table
from antiphon.errors import ConfigError
from antiphon.files import storage_error
from antiphon.score import Score

SCHEMA_VERSION = 1
Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
DEFAULT_SHARES = (0.9, 0.05, 0.05)
_KINDS = {  # of columns that are no text
    "seconds": "float64",
    "start_seconds": "float64",
    "end_seconds": "float64",
    "sample_rate": "int32",
    "channels": "int32",
    "music": "bool_",
}
_LATER = ("music",)  # manifests of earlier versions do not have it
_SHOWN_PROBLEMS = 5


@dataclass(frozen=True)
class Clip:
    """A file, or a passage of one, and what is known of it.

    `path` is relative to the manifest's folder where it lies below it. `content` is the BLAKE2b
    hash of the file. `start_seconds` and `end_seconds` cut a passage out of it, 0 and None for the
    whole; `seconds` is the clip's own length. `controls` are the fields of `Controls.to_dict` that
    are known of it. `caption_source` says who wrote the caption, `source` where the clip is from.
    `score` is the path of the `Score` it was played from, where there is one. `music` says whether
    it is music at all, None where nobody said. Clips of one `group` (an artist, an album, a
    recording) are never in two splits.
    """

    id: str
    path: str
    content: str
    seconds: float
    sample_rate: int
    channels: int
    split: Split
    group: str
    start_seconds: float = 0.0
    end_seconds: float | None = None
    caption: str | None = None
    caption_source: str | None = None
    controls: Mapping[str, object] | None = None
    licence: str | None = None
    source: str | None = None
    score: str | None = None
    music: bool | None = None

    def problems(self) -> list[str]:
        """What is wrong with the values themselves, as messages."""
        found = []
        for name in ("id", "path", "content", "group"):
            if not getattr(self, name):
                found.append(f"{name} is empty; expected text")
        start, end = self.start_seconds, self.end_seconds
        if not (math.isfinite(self.seconds) and self.seconds > 0):
            found.append(f"seconds is {self.seconds}; expected a length above 0")
        if not (math.isfinite(start) and start >= 0):
            found.append(f"start_seconds is {start}; expected 0 or more")
        if end is not None and not (math.isfinite(end) and end > start):
            found.append(f"end_seconds is {end}; expected more than start_seconds, {start:g}")
        if not 1 <= self.sample_rate <= 768_000:
            found.append(f"sample_rate is {self.sample_rate}; expected 1 to 768000 Hz")
        if not 1 <= self.channels <= 64:
            found.append(f"channels is {self.channels}; expected 1 to 64")
        if self.split not in SPLITS:
            found.append(f"split is {self.split!r}; expected one of {', '.join(SPLITS)}")
        try:
            Controls.from_options(dict(self.controls or {}))
        except ConfigError as error:
            found.append(f"controls: {error}")
        return found


@dataclass(frozen=True)
class Manifest:
    """Clips, and the folder that their paths are relative to."""

    folder: Path
    clips: tuple[Clip, ...]

    def path_of(self, clip: Clip) -> Path:
        return self.folder / clip.path


def read_score(path: Path) -> Score:
    """The score that a clip was played from. Raises ConfigError for another file, StorageError."""
    try:
        return Score.from_json(path.read_bytes())
    except OSError as error:
        raise storage_error("read", path, error) from error


def relative_path(path: Path, folder: Path) -> str:
    """How a manifest in `folder` names `path`: relative where it lies below it."""
    absolute = Path(os.path.abspath(path))
    try:
        return absolute.relative_to(os.path.abspath(folder)).as_posix()
    except ValueError:
        return str(absolute)


def write_manifest(path: Path, clips: Iterable[Clip]) -> None:
    """Write `clips` in their order; the file appears whole or not at all.

    Raises ConfigError for clips that no manifest may hold, StorageError (DiskFullError).
    """
    rows = list(clips)
    _require_sound(rows, str(path))
    columns = {name: [getattr(clip, name) for clip in rows] for name in _names()}
    columns["controls"] = [
        None if clip.controls is None else json.dumps(clip.controls, ensure_ascii=False)
        for clip in rows
    ]
    said = {"schema_version": SCHEMA_VERSION, "made_with": f"antiphon {__version__}"}
    kinds = {name: _KINDS.get(name, "string") for name in _names()}
    write_table(path, columns, schema(kinds), json.dumps(said))


def read_manifest(path: Path, *, checked: bool = True) -> Manifest:
    """All clips of a manifest.

    Raises StorageError if it cannot be read, ConfigError for a file that is none, of another schema
    version, or, if `checked`, with clips that no manifest may hold: the first ones are named.
    """
    table, text = read_table(path, "a manifest that 'antiphon data prepare' wrote")
    said = json.loads(text)
    if said.get("schema_version") != SCHEMA_VERSION:
        raise ConfigError(
            f"{path} has the schema version {said.get('schema_version')}; expected "
            f"{SCHEMA_VERSION}: make it anew with 'antiphon data prepare'"
        )
    missing = [name for name in _names() if name not in (*table.column_names, *_LATER)]
    if missing:
        raise ConfigError(f"{path} has no column {missing[0]!r}; make it anew")
    there = [name for name in _names() if name in table.column_names]
    clips = tuple(_clip(row) for row in table.select(there).to_pylist())
    if checked:
        _require_sound(clips, str(path))
    return Manifest(Path(os.path.abspath(path)).parent, clips)


def split_of(group: str, shares: tuple[float, float, float] = DEFAULT_SHARES) -> Split:
    """The split of a group, drawn by its name alone; `shares` are those of `SPLITS`."""
    drawn = int.from_bytes(hashlib.blake2b(group.encode(), digest_size=7).digest()) / (1 << 56)
    for split, share in zip(SPLITS, shares, strict=True):
        if drawn < share:
            return split
        drawn -= share
    return SPLITS[0]  # shares that do not quite come to 1


def duplicated_ids(clips: Iterable[Clip]) -> list[str]:
    """The ids that more than one clip has, in the order in which they come up again."""
    seen: set[str] = set()
    again: dict[str, None] = {}
    for clip in clips:
        if clip.id in seen:
            again[clip.id] = None
        seen.add(clip.id)
    return list(again)


def _require_sound(clips: Sequence[Clip], where: str) -> None:
    problems = [
        f"row {number} ({clip.id!r}): {problem}"
        for number, clip in enumerate(clips)
        for problem in clip.problems()
    ]
    problems += [f"the id {again!r} is there twice" for again in duplicated_ids(clips)]
    if problems:
        shown = "; ".join(problems[:_SHOWN_PROBLEMS])
        more = len(problems) - _SHOWN_PROBLEMS
        raise ConfigError(
            f"{where} is no sound manifest: {shown}"
            + (f"; and {more:,} more" if more > 0 else "")
            + "; 'antiphon data validate' lists all"
        )


def _names() -> list[str]:
    return [field.name for field in fields(Clip)]


def _clip(row: dict[str, object]) -> Clip:
    controls = row["controls"]
    given = {**row, "controls": None if controls is None else json.loads(str(controls))}
    # Columns have types of their own; nulls in those that may have none are found by `problems`.
    for name, empty in (("seconds", math.nan), ("start_seconds", math.nan), ("sample_rate", 0),
                        ("channels", 0)):  # fmt: skip
        given[name] = empty if given[name] is None else given[name]
    return Clip(**given)  # type: ignore[arg-type]
