"""The page of a run."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from antiphon.train.page import write_page

pytestmark = pytest.mark.unit


def figures(folder: Path) -> dict[str, ElementTree.Element]:
    text = write_page(folder, "a <run>").read_text()
    assert "a &lt;run&gt;" in text
    assert "<script" not in text
    found = {}
    for part in text.split("<figure>")[1:]:
        figure = ElementTree.fromstring(f"<figure>{part.partition('</figure>')[0]}</figure>")
        caption = figure.find("figcaption")
        assert caption is not None
        found[str(caption.text).partition(":")[0]] = figure
    return found


def test_curves_are_drawn(tmp_path: Path) -> None:
    entries: list[dict[str, object]] = []
    for step in range(1, 2001):
        losses = {"total": 3.0 - step / 1000, "mel": None if step == 7 else 0.5}
        entries.append({"step": step, "losses": losses, "learning_rate": 1e-3})
        if step % 500 == 0:
            entries.append({"step": step, "validation": {"total": 2.0}})
    lines = "".join(f"{json.dumps(entry)}\n" for entry in entries)
    (tmp_path / "metrics.jsonl").write_text(lines + '{"step": 2001, "los')
    found = figures(tmp_path)
    assert list(found) == ["total", "mel", "learning rate"]
    training, validation = found["total"].iter("polyline")
    points = [tuple(map(float, point.split(","))) for point in training.attrib["points"].split()]
    assert 400 < len(points) <= 600
    assert points[0][0] == pytest.approx(60, abs=1)
    assert points[-1][0] == 630
    assert all(a[1] <= b[1] for a, b in zip(points, points[1:], strict=False))  # y goes down
    assert len(validation.attrib["points"].split()) == 4
    (flat,) = found["mel"].iter("polyline")
    assert len(flat.attrib["points"].split()) > 400


def test_nothing_to_draw_yet(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text("")
    assert figures(tmp_path) == {}
