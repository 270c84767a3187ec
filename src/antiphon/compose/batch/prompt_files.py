"""Files of prompts: one row is one piece. Plain text, CSV and JSON lines.

Knows the names of the fields, and leaves their values to whoever makes pieces of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from antiphon.compose.options import NAMES, suggestion
from antiphon.csv_rows import CsvRow, csv_rows
from antiphon.errors import ConfigError
from antiphon.files import storage_error

FIELDS = ("prompt", "output", "seed", *NAMES)


@dataclass(frozen=True)
class Row:
    """One piece: `number` counts from 0, `line` of the file from 1.

    `fields` are those that were given, by name; `problem` says why a row cannot be understood.
    """

    number: int
    line: int
    fields: Mapping[str, object]
    problem: str | None = None


def read_rows(path: Path) -> tuple[Row, ...]:
    """The rows of a .txt, .csv or .jsonl file.

    Raises ConfigError for a file that is none of these, whose columns are not known, or without a
    row; StorageError if it cannot be read. A row that is not understood is in the result.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise ConfigError(
            f"{str(path)!r} is not known as a file of prompts; expected a name that ends in "
            f"{', '.join(_READERS)}"
        )
    try:
        data = path.read_bytes()
    except OSError as error:
        raise storage_error("read", path, error) from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{path} is not UTF-8, line {line}: {error.reason}; save it as UTF-8"
        ) from error
    found = reader(text, str(path))
    rows = tuple(
        Row(number, line, fields, problem) for number, (line, fields, problem) in enumerate(found)
    )
    if not rows:
        raise ConfigError(f"{path} holds no prompts; expected one in each line")
    return rows


def _text_rows(text: str, name: str) -> Iterator[CsvRow]:
    """Each line is a prompt; empty ones and comments are none."""
    for line, prompt in _lines(text):
        if prompt != "#" and not prompt.startswith("# "):  # `#1 hit` is a prompt
            yield line, {"prompt": prompt}, None


def _csv_rows(text: str, name: str) -> Iterator[CsvRow]:
    return csv_rows(text, name, lambda cells: _header(cells, name))


def _header(cells: list[str], name: str) -> list[str]:
    header = [_field_name(cell) for cell in cells]
    for field in header:
        if field not in FIELDS:
            raise ConfigError(
                f"{name}: {_unknown(field)}; a CSV file begins with the names of its columns, "
                "with commas between them"
            )
        if header.count(field) > 1:
            raise ConfigError(f"{name}: the column {field!r} is there twice; name each once")
    if "prompt" not in header:
        raise ConfigError(f"{name} has no column 'prompt'; expected one, beside {header}")
    return header


def _json_rows(text: str, name: str) -> Iterator[CsvRow]:
    for number, line in _lines(text):
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield number, {}, f"it is no JSON: {error}"
            continue
        if not isinstance(values, dict):
            yield number, {}, 'it is no JSON object; expected one such as {"prompt": "jazz"}'
            continue
        fields = {_field_name(name): value for name, value in values.items()}
        unknown = [field for field in fields if field not in FIELDS]
        # null and "" are what a table without a value becomes.
        given = {name: value for name, value in fields.items() if value not in (None, "")}
        yield number, given, _unknown(unknown[0]) if unknown else None


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Number and content of the lines that are not empty. Not `splitlines`, which also splits where
    no editor counts a line."""
    for number, line in enumerate(text.split("\n"), start=1):
        if line := line.strip():
            yield number, line


def _field_name(text: str) -> str:
    return text.strip().lower().replace("-", "_")


def _unknown(field: str) -> str:
    return (
        f"field {field!r} is not known{suggestion(field, FIELDS)}; expected some of "
        f"{', '.join(FIELDS)}"
    )


_READERS: Mapping[str, Callable[[str, str], Iterator[CsvRow]]] = {
    ".txt": _text_rows,
    ".csv": _csv_rows,
    ".jsonl": _json_rows,
}
