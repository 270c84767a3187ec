"""Tables of captions, CSV and JSON lines, and the names that their columns go by.

Knows no audio and leaves values to whoever makes rows of them.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from antiphon.controls import OPTION_NAMES
from antiphon.csv_rows import csv_rows
from antiphon.errors import ConfigError
from antiphon.files import storage_error

# Names of a column or of a key of a per-track JSON (audiocraft's among them), and what they mean.
_ALIASES = {
    "file": "path", "audio": "path", "filename": "path", "file_name": "path",
    "text": "caption", "description": "caption", "license": "licence", "bpm": "tempo",
    "moods": "mood", "instrument": "instruments", "dataset": "source",
    "start": "start_seconds", "start_s": "start_seconds", "end": "end_seconds",
    "end_s": "end_seconds",
}  # fmt: skip
KNOWN_FIELDS = (
    "path", "caption", "start_seconds", "end_seconds", "artist", "album", "title", "licence",
    "source", "split", "music", "keywords", "ytid", "aspect_list", *OPTION_NAMES,
)  # fmt: skip
_MAX_CELL_BYTES = 1 << 24


@dataclass(frozen=True)
class Line:
    """A line of a table: what is given by meaning, or why it is not understood."""

    number: int
    fields: Mapping[str, object]
    problem: str | None = None


def is_table(path: Path) -> bool:
    return path.suffix.lower() in _READERS


def read_lines(path: Path) -> Iterator[Line]:
    """Raises ConfigError for a file that is no table or not UTF-8, StorageError."""
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise ConfigError(
            f"{str(path)!r} is not known as a table of captions; expected a name that ends in "
            f"{', '.join(_READERS)}"
        )
    return reader(read_text(path), str(path))


def read_text(path: Path) -> str:
    """A file in UTF-8, with or without a byte order mark. Raises ConfigError, StorageError."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise storage_error("read", path, error) from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{path} is not UTF-8: line {line} has the byte 0x{data[error.start]:02X} at offset "
            f"{error.start:,}, as Latin-1 would; save it as UTF-8 "
            "(iconv -f LATIN1 -t UTF-8 OLD > NEW)"
        ) from error


def by_meaning(values: Mapping[str, object]) -> dict[str, object]:
    """The fields of a JSON object by their meaning; of two with one meaning the first holds."""
    fields: dict[str, object] = {}
    for name, value in values.items():
        if value not in (None, ""):
            fields.setdefault(_field_name(name), value)
    return fields


def _field_name(name: str) -> str:
    plain = name.strip().lower().replace("-", "_").replace(" ", "_")
    return _ALIASES.get(plain, plain)


def _csv_lines(text: str, name: str) -> Iterator[Line]:
    csv.field_size_limit(_MAX_CELL_BYTES)
    for row in csv_rows(text, name, lambda cells: _header(cells, name)):
        yield Line(*row)


def _header(cells: list[str], name: str) -> list[str]:
    header = [_field_name(cell) for cell in cells]
    _check_header(header, name)
    return header


def _check_header(header: list[str], name: str) -> None:
    if not {"path", "ytid"} & set(header):
        raise ConfigError(
            f"{name} has no column path, file or audio (for musiccaps: ytid); its first line names "
            f"{', '.join(header)}; expected the names of its columns there"
        )
    for field in header:
        if header.count(field) > 1 and field in KNOWN_FIELDS:
            raise ConfigError(f"{name}: two columns mean {field!r}; name each once")


def _json_lines(text: str, name: str) -> Iterator[Line]:
    # Not `splitlines`, which also splits where no editor counts a line.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield Line(number, {}, f"it is no JSON: {error}")
            continue
        if isinstance(values, dict):
            yield Line(number, by_meaning(values))
        else:
            example = '{"path": "a.wav"}'
            yield Line(number, {}, f"it is no JSON object; expected one such as {example}")


_READERS: Mapping[str, Callable[[str, str], Iterator[Line]]] = {
    ".csv": _csv_lines,
    ".jsonl": _json_lines,
}
