"""Shards of codes: Parquet files of clips as a codec has written them, with what is said of each.

A shard says in its footer which codec its codes are of, so that they are never taken for another's.
Knows no codec and no model.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from antiphon import __version__
from antiphon.data.manifest import Split
from antiphon.data.tables import read_table, said_of, schema, write_table
from antiphon.errors import ConfigError
from antiphon.plain import read_json

if TYPE_CHECKING:
    import pyarrow

SCHEMA_VERSION = 1
PATTERN = "codes-*.parquet"
_KINDS = {
    "id": "string",
    "split": "string",
    "frames": "int32",
    "codes": "binary",
    "caption": "string",
    "controls": "string",
    "licence": "string",
    "score_frames": "binary",
}
Codes = NDArray[np.uint16]


@dataclass(frozen=True)
class CodecIdentity:
    """Which codec codes are of: its checkpoint's hash, and what their numbers mean.

    `frame_rate` in frames per second, `score_width` numbers for each frame of a score, 0 where
    there are no scores.
    """

    checksum: str
    name: str
    sample_rate: int
    channels: int
    frame_rate: int
    codebooks: int
    codebook_size: int
    score_width: int = 0


@dataclass(frozen=True, eq=False)
class CodedClip:
    """A clip as codes [K, F]; `score_frames` [F, W] are those of its score, in 1/127."""

    id: str
    split: Split
    codes: Codes
    caption: str | None = None
    controls: Mapping[str, object] | None = None
    licence: str | None = None
    score_frames: NDArray[np.int8] | None = None


@dataclass(frozen=True)
class _Footer:
    """What a shard says of itself; `content` is the hash of its rows."""

    schema_version: int
    made_with: str
    content: str
    codec: CodecIdentity
    made_from: str = ""


def write_shard(
    path: Path, codec: CodecIdentity, clips: Sequence[CodedClip], made_from: str = ""
) -> None:
    """Write a shard; it appears whole or not at all. `made_from` is what `made_from_of` gives.

    Raises StorageError (DiskFullError).
    """
    columns: dict[str, list[object]] = {name: [] for name in _KINDS}
    digest = hashlib.blake2b(digest_size=32)
    for clip in clips:
        assert clip.codes.shape[0] == codec.codebooks, f"{clip.id}: codes {clip.codes.shape}"
        controls = None if clip.controls is None else json.dumps(clip.controls, ensure_ascii=False)
        frames = None if clip.score_frames is None else clip.score_frames.tobytes()
        row = {
            "id": clip.id,
            "split": clip.split,
            "frames": clip.codes.shape[1],
            "codes": np.ascontiguousarray(clip.codes).tobytes(),
            "caption": clip.caption,
            "controls": controls,
            "licence": clip.licence,
            "score_frames": frames,
        }
        for name, value in row.items():
            columns[name].append(value)
            digest.update(repr(value).encode())
    footer = _Footer(
        SCHEMA_VERSION, f"antiphon {__version__}", digest.hexdigest(), codec, made_from
    )
    write_table(path, columns, schema(_KINDS), json.dumps(asdict(footer)))


@dataclass(frozen=True, eq=False)
class Shard:
    """The clips of a shard, by number; nothing is copied until a clip is asked for. `content` is
    the hash of all its rows."""

    codec: CodecIdentity
    content: str
    ids: tuple[str, ...]
    frames: NDArray[np.int32]
    _table: pyarrow.Table

    def __len__(self) -> int:
        return len(self.ids)

    def licences(self) -> list[str | None]:
        found: list[str | None] = self._table["licence"].to_pylist()
        return found

    def codes(self, number: int) -> Codes:
        """[K, F]"""
        data = self._table["codes"][number].as_buffer()
        return np.frombuffer(data, np.uint16).reshape(self.codec.codebooks, -1)

    def clip(self, number: int) -> CodedClip:
        row = {
            name: self._table[name][number].as_py()
            for name in ("id", "split", "caption", "controls", "licence", "score_frames")
        }
        controls, scored = row.pop("controls"), row.pop("score_frames")
        frames = None
        if scored is not None:
            frames = np.frombuffer(scored, np.int8).reshape(-1, self.codec.score_width)
        return CodedClip(
            codes=self.codes(number),
            controls=None if controls is None else json.loads(controls),
            score_frames=frames,
            **row,
        )


def read_shard(path: Path, split: Split | None = None) -> Shard:
    """A shard, or its clips of one split.

    Raises StorageError if it cannot be read, ConfigError for a file that is none, cut short or of
    another schema version.
    """
    table, said = read_table(path, "a shard of codes that 'antiphon data preprocess' wrote")
    try:
        footer = read_json(_Footer, said, str(path))
    except ConfigError as error:
        raise ConfigError(f"{path} is no shard of codes: {error}; preprocess again") from error
    if footer.schema_version != SCHEMA_VERSION:
        raise ConfigError(
            f"{path} has the schema version {footer.schema_version}; expected {SCHEMA_VERSION}: "
            "preprocess again"
        )
    if not table.schema.remove_metadata().equals(schema(_KINDS)):
        raise ConfigError(f"{path} has other columns than a shard of codes; preprocess again")
    if split is not None:
        import pyarrow.compute

        table = table.filter(pyarrow.compute.equal(table["split"], split))
    table = table.combine_chunks()
    ids = tuple(table["id"].to_pylist())
    return Shard(footer.codec, footer.content, ids, table["frames"].to_numpy(), table)


def made_from_of(path: Path) -> str | None:
    """What a shard was made from, as it was told; None for no shard."""
    said = said_of(path)
    try:
        return None if said is None else read_json(_Footer, said, str(path)).made_from
    except ConfigError:
        return None


def shard_paths(folder: Path) -> list[Path]:
    """The shards of a folder, in order. Raises ConfigError where there is none."""
    found = sorted(folder.glob(PATTERN))
    if not found:
        raise ConfigError(
            f"{folder} holds no shards ({PATTERN}); expected a folder that 'antiphon data "
            "preprocess' wrote"
        )
    return found
