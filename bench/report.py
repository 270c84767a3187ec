"""How a result is stated: rows with limits, tables, and a section of docs/bench.md for each part.

Knows no measurement.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "bench.md"


@dataclass(frozen=True)
class Row:
    """A figure against its limit: at least, or at most; None where nothing was asked for.

    `measured` is None where it could not be taken, and `beside` says why, or names the peer.
    """

    what: str
    measured: float | None
    unit: str = ""
    at_least: float | None = None
    at_most: float | None = None
    goal: float | None = None
    must: bool = False
    beside: str = ""
    digits: int = 3

    @property
    def is_missed(self) -> bool:
        if self.measured is None:
            return self.at_least is not None or self.at_most is not None
        too_low = self.at_least is not None and self.measured < self.at_least
        too_high = self.at_most is not None and self.measured > self.at_most
        return too_low or too_high

    def cells(self) -> list[str]:
        asked = ""
        if self.at_least is not None:
            asked = f"≥ {self._number(self.at_least)}"
        elif self.at_most is not None:
            asked = f"≤ {self._number(self.at_most)}"
        if self.goal is not None:
            asked += f" (goal {self._number(self.goal)})"
        measured = "not measured" if self.measured is None else self._number(self.measured)
        outcome = ("**missed**" if self.is_missed else "ok") if asked else ""
        return ["!" if self.must else "", self.what, asked, measured, self.beside, outcome]

    def _number(self, value: float) -> str:
        return f"{value:.{self.digits}f}{self.unit}"


ROW_HEADER = ("", "what", "asked", "measured", "beside it", "")


@dataclass(frozen=True)
class Table:
    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        lines = [self.header, ["---"] * len(self.header), *self.rows]
        body = "\n".join("| " + " | ".join(line) + " |" for line in lines)
        return f"### {self.title}\n\n{body}" if self.title else body


@dataclass(frozen=True)
class Part:
    """What one part of the bench found; `notes` say how it was measured."""

    name: str
    title: str
    notes: str
    rows: Sequence[Row] = ()
    tables: Sequence[Table] = ()

    @property
    def has_failed(self) -> bool:
        """Whether a figure that must hold does not."""
        return any(row.must and row.is_missed for row in self.rows)

    def markdown(self) -> str:
        today = datetime.date.today().isoformat()
        blocks = [f"## {self.title}", f"{self.notes} Measured on {today}."]
        if self.rows:
            blocks.append(Table("", ROW_HEADER, [row.cells() for row in self.rows]).markdown())
        blocks += [table.markdown() for table in self.tables]
        return "\n\n".join(blocks)


def update_page(head: str, part: Part, order: Sequence[str]) -> None:
    """Write `head` and `part` into the page; sections of other parts stay as they are.

    `order` names all parts there are, as they follow each other on the page.
    """
    text = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    sections = dict(re.findall(r"<!-- (\w+) -->\n\n(.*?)\n\n<!-- end -->", text, re.DOTALL))
    sections[part.name] = part.markdown()
    blocks = [f"<!-- {n} -->\n\n{sections[n]}\n\n<!-- end -->" for n in order if n in sections]
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text("\n\n".join([head, *blocks]) + "\n", encoding="utf-8")
