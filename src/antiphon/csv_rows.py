"""CSV as people write it: rows by the names of their columns, each with the line it begins on."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator

from antiphon.errors import ConfigError

CsvRow = tuple[int, dict[str, object], str | None]  # line, cells by column, what is wrong with it


def csv_rows(text: str, name: str, header_of: Callable[[list[str]], list[str]]) -> Iterator[CsvRow]:
    """The rows below the header, without empty ones and empty cells; `name` is the file's.

    `header_of` makes columns of the cells of the header, and may refuse them. A row of another
    length is told. Raises ConfigError for a text that is no CSV, at its row.
    """
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] | None = None
    before = 0  # lines that are read: a quoted cell may hold several
    try:
        for cells in reader:
            line, before = before + 1, reader.line_num
            cells = [cell.strip() for cell in cells]
            if not any(cells):
                continue
            if header is None:
                header = header_of(cells)
            elif len(cells) != len(header):
                problem = f"it has {len(cells)} cells, and the header {len(header)}"
                yield line, {}, f"{problem}; is a text with commas not in quotes?"
            else:
                given = zip(header, cells, strict=True)
                yield line, {column: cell for column, cell in given if cell}, None
    except csv.Error as error:
        raise ConfigError(f"{name}, line {before + 1}, is no CSV: {error}") from error
