"""Shards of codes: Parquet files of clips as a codec has written them, with what is said of each.

A shard says in its footer which codec its codes are of and which text encoder its states of texts,
so that they are never taken for another's. Knows no codec and no model. Letters: K codebooks, F
code frames, L text tokens, W width.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from antiphon import __version__
from antiphon.data.manifest import Split
from antiphon.data.tables import read_table, said_of, schema, write_table
from antiphon.errors import ConfigError
from antiphon.plain import read_json

if TYPE_CHECKING:
    import pyarrow

SCHEMA_VERSION = 2
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
    "caption_states": "binary",
    "prompt_states": "binary",
}
_STATES = ("caption_states", "prompt_states")
_WORDS = ("id", "split", "caption", "controls", "licence")
_EXPECTED = "a shard of codes that 'antiphon data preprocess' wrote: remove it and run that again"
_DECODE = json.JSONDecoder().raw_decode
Codes = NDArray[np.uint16]
States = NDArray[np.float16]


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


@dataclass(frozen=True)
class TextEncoderIdentity:
    """Which text encoder states are of: the hash of its weights, and how wide they are."""

    checksum: str
    name: str
    width: int


class Said(NamedTuple):
    """What is said of a clip; `controls` by the option names of `Controls`."""

    caption: str | None
    controls: Mapping[str, object] | None


@dataclass(frozen=True, eq=False)
class CodedClip:
    """A clip as codes [K, F]; `score_frames` [F, W] are those of its score, in 1/127.

    `caption_states` [L, W] are a text encoder's of the caption, `prompt_states` those of the
    caption with the controls after it; None where that text is empty or is the caption itself.
    """

    id: str
    split: Split
    codes: Codes
    caption: str | None = None
    controls: Mapping[str, object] | None = None
    licence: str | None = None
    score_frames: NDArray[np.int8] | None = None
    caption_states: States | None = None
    prompt_states: States | None = None


@dataclass(frozen=True)
class _Footer:
    """What a shard says of itself; `content` is the hash of its rows."""

    schema_version: int
    made_with: str
    content: str
    codec: CodecIdentity
    made_from: str = ""
    text_encoder: TextEncoderIdentity | None = None


def write_shard(
    path: Path,
    codec: CodecIdentity,
    clips: Sequence[CodedClip],
    made_from: str = "",
    text_encoder: TextEncoderIdentity | None = None,
) -> None:
    """Write a shard; it appears whole or not at all. `made_from` is what `made_from_of` gives,
    `text_encoder` the one that the clips' states are of.

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
            "caption_states": _state_bytes(clip.caption_states, text_encoder),
            "prompt_states": _state_bytes(clip.prompt_states, text_encoder),
        }
        for name, value in row.items():
            columns[name].append(value)
            digest.update(repr(value).encode())
    made_with, content = f"antiphon {__version__}", digest.hexdigest()
    footer = _Footer(SCHEMA_VERSION, made_with, content, codec, made_from, text_encoder)
    write_table(path, columns, schema(_KINDS), json.dumps(asdict(footer)))


def _state_bytes(states: States | None, encoder: TextEncoderIdentity | None) -> bytes | None:
    if states is None:
        return None
    assert encoder is not None, "states are of a text encoder"
    assert states.shape[1] == encoder.width, f"states {states.shape}"
    return np.ascontiguousarray(states, np.float16).tobytes()


class _Bytes:
    """A column of bytes, whose rows are found without asking Arrow for each: a third of the time
    that a clip takes."""

    def __init__(self, column: pyarrow.ChunkedArray) -> None:
        """`column` is in one chunk."""
        self._data, self._ends, self._there = np.zeros(0, np.uint8), [0], [False] * len(column)
        if not column.num_chunks:
            return
        array = column.chunk(0)
        _, offsets, data = array.buffers()
        ends = np.frombuffer(offsets, np.int32)[array.offset : array.offset + len(array) + 1]
        self._ends = ends.tolist()
        self._there = array.is_valid().to_pylist()
        if data is not None:
            self._data = np.frombuffer(data, np.uint8)

    def of(self, row: int) -> NDArray[np.uint8] | None:
        """A view of a row; None where there is nothing."""
        if not self._there[row]:
            return None
        return self._data[self._ends[row] : self._ends[row + 1]]


@dataclass(frozen=True, eq=False)
class Outline:
    """What is known of a shard without its codes: `frames` [N] of each clip. `content` is the hash
    of all its rows."""

    codec: CodecIdentity
    text_encoder: TextEncoderIdentity | None
    content: str
    frames: NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Shard:
    """Clips of a shard, by number; codes are not copied. `content` is the hash of all its rows.

    `_rows` [N] are the clips' in what was read, other splits' among it: to take them out would copy
    the codes.
    """

    codec: CodecIdentity
    text_encoder: TextEncoderIdentity | None
    content: str
    ids: tuple[str, ...]
    frames: NDArray[np.int32]
    _rows: Sequence[int]
    _words: Mapping[str, list[str | None]]
    _bytes: Mapping[str, _Bytes]

    def __len__(self) -> int:
        return len(self.ids)

    def codes(self, number: int) -> Codes:
        """[K, F]"""
        data = self._bytes["codes"].of(self._rows[number])
        assert data is not None, "every clip has codes"
        return data.view(np.uint16).reshape(self.codec.codebooks, -1)

    def clip(self, number: int) -> CodedClip:
        words, row = self._words, self._rows[number]
        scored = self._bytes["score_frames"].of(row)
        frames = None
        if scored is not None:
            frames = scored.view(np.int8).reshape(-1, self.codec.score_width)
        return CodedClip(
            self.ids[number],
            words["split"][row],  # type: ignore[arg-type]  # as it was written
            self.codes(number),
            words["caption"][row],
            _controls(words["controls"][row]),
            words["licence"][row],
            frames,
            self._states("caption_states", row),
            self._states("prompt_states", row),
        )

    def _states(self, name: str, row: int) -> States | None:
        if self.text_encoder is None or name not in self._bytes:
            return None
        data = self._bytes[name].of(row)
        return None if data is None else data.view(np.float16).reshape(-1, self.text_encoder.width)


def read_shard(path: Path, split: Split | None = None, *, with_states: bool = True) -> Shard:
    """A shard, or its clips of one split; without states they are not read, and None in each clip.

    Raises StorageError if it cannot be read, ConfigError for a file that is none, cut short or of
    another schema version.
    """
    left_out = () if with_states else _STATES
    names = [name for name in _KINDS if name not in left_out]
    footer, table, rows = _read(path, split, names)
    table = table.combine_chunks()
    words = {name: table[name].to_pylist() for name in _WORDS}
    binary = [name for name in names if _KINDS[name] == "binary"]
    return Shard(
        footer.codec,
        footer.text_encoder,
        footer.content,
        tuple(words["id"][row] for row in rows),
        table["frames"].to_numpy()[rows],
        rows,
        words,
        {name: _Bytes(table[name]) for name in binary},
    )


def read_outline(path: Path, split: Split | None = None) -> Outline:
    """What a shard says of itself and how long its clips are; damage in other columns than these
    stays unseen. Raises as `read_shard` does."""
    footer, table, rows = _read(path, split, ("frames",))
    frames = table["frames"].to_numpy()[rows]
    return Outline(footer.codec, footer.text_encoder, footer.content, frames)


def read_said(path: Path, split: Split | None = None) -> list[Said]:
    """What is said of each clip. Raises as `read_shard` does."""
    _, table, rows = _read(path, split, ("caption", "controls"))
    captions, controls = table["caption"].to_pylist(), table["controls"].to_pylist()
    return [Said(captions[row], _controls(controls[row])) for row in rows]


def read_licences(path: Path, split: Split | None = None) -> list[str | None]:
    """The licence of each clip. Raises as `read_shard` does."""
    _, table, rows = _read(path, split, ("licence",))
    licences: list[str | None] = table["licence"].to_pylist()
    return [licences[row] for row in rows]


def _read(
    path: Path, split: Split | None, names: Sequence[str]
) -> tuple[_Footer, pyarrow.Table, list[int]]:
    """Some columns of a shard, and which of their rows are clips of one split, or of any."""
    wanted = [name for name in _KINDS if name in names or name == "split"]
    table, said = read_table(path, _EXPECTED, wanted)
    try:
        footer = read_json(_Footer, said, str(path))
    except ConfigError as error:
        raise ConfigError(f"{path} is no shard of codes: {error}; preprocess again") from error
    if footer.schema_version != SCHEMA_VERSION:
        raise ConfigError(
            f"{path} has the schema version {footer.schema_version}; expected {SCHEMA_VERSION}: "
            "preprocess again"
        )
    if not table.schema.remove_metadata().equals(schema({name: _KINDS[name] for name in wanted})):
        raise ConfigError(f"{path} has other columns than a shard of codes; preprocess again")
    splits = table["split"].to_pylist()
    return footer, table, [row for row, found in enumerate(splits) if split in (None, found)]


def _controls(text: str | None) -> Mapping[str, object] | None:
    return None if text is None else _DECODE(text)[0]  # half the time of `json.loads`


def made_from_of(path: Path) -> str | None:
    """What a shard was made from, as it was told; None for no shard, or one of another schema
    version."""
    said = said_of(path)
    try:
        footer = None if said is None else read_json(_Footer, said, str(path))
    except ConfigError:
        return None
    if footer is None or footer.schema_version != SCHEMA_VERSION:
        return None
    return footer.made_from


def shard_paths(folder: Path) -> list[Path]:
    """The shards of a folder, in order. Raises ConfigError where there is none."""
    found = sorted(folder.glob(PATTERN))
    if not found:
        raise ConfigError(
            f"{folder} holds no shards ({PATTERN}); expected a folder that 'antiphon data "
            "preprocess' wrote"
        )
    return found
