"""The page of a run."""

from __future__ import annotations

import json
import random
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from antiphon.errors import StorageError
from antiphon.train.page import Curve, Judged, Record, entry_of, read_record, write_page

pytestmark = pytest.mark.unit

Coordinates = list[tuple[float, float]]


def drawn(folder: Path, entries: Sequence[Mapping[str, object]], tail: str = "") -> str:
    lines = "".join(f"{json.dumps(entry)}\n" for entry in entries)
    (folder / "metrics.jsonl").write_text(lines + tail)
    return write_page(folder, "a <run>").read_text()


def figures(text: str) -> dict[str, ElementTree.Element]:
    """By what stands above them."""
    assert "a &lt;run&gt;" in text
    assert "<script" not in text
    found = {}
    for part in text.split("<figure>")[1:]:
        figure = ElementTree.fromstring(f"<figure>{part.partition('</figure>')[0]}</figure>")
        found[str(figure.findtext("figcaption/b"))] = figure
    return found


def curves(figure: ElementTree.Element) -> dict[str, Coordinates]:
    """By their classes."""
    found = {}
    for line in figure.iter("polyline"):
        pairs = [point.split(",") for point in line.attrib["points"].split()]
        found[line.attrib["class"]] = [(float(x), float(y)) for x, y in pairs]
    return found


def labels(figure: ElementTree.Element) -> set[str | None]:
    return {text.text for text in figure.iter("text")}


def test_curves_are_drawn(tmp_path: Path) -> None:
    entries: list[dict[str, object]] = []
    for step in range(1, 2001):
        losses = {"total": 3.0 - step / 1000, "mel": None if step == 7 else 0.5}
        entries.append({"step": step, "losses": losses, "learning_rate": 1e-3})
        if step % 500 == 0:
            entries.append({"step": step, "validation": {"total": 2.0}})
    found = figures(drawn(tmp_path, entries, '{"step": 2001, "los'))
    assert list(found) == ["loss", "mel", "learning rate"]
    total = curves(found["loss"])
    assert total.keys() == {"raw l0", "l0", "l1"}
    for points in (total["raw l0"], total["l0"]):
        assert 400 < len(points) <= 600
        assert points[0][0] == pytest.approx(58, abs=1)
        assert points[-1][0] == 628
        assert all(a[1] <= b[1] for a, b in zip(points, points[1:], strict=False))  # y goes down
    # The axis is from 1 to 3: 2 lies in the middle of it.
    assert [y for _, y in total["l1"]] == pytest.approx([(10 + 204) / 2] * 4)
    assert len(list(found["loss"].iter("circle"))) == 4
    assert {"1", "2", "3", "500", "2,000"} <= labels(found["loss"])
    caption = "".join(found["loss"].iter("figcaption").__next__().itertext())
    assert "training 1" in caption
    assert "validation 2" in caption
    assert len({y for _, y in curves(found["mel"])["l0"]}) == 1


def test_nothing_to_draw_yet(tmp_path: Path) -> None:
    assert figures(drawn(tmp_path, [])) == {}


def test_a_run_of_one_step_is_drawn(tmp_path: Path) -> None:
    found = figures(drawn(tmp_path, [{"step": 1, "losses": {"total": 0.0}, "memory_mb": 512.0}]))
    assert list(found) == ["loss", "memory, at most"]
    assert len(list(found["loss"].iter("circle"))) == 1


def test_there_is_no_page_of_a_folder_without_metrics(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="metrics.jsonl"):
        write_page(tmp_path, "x")


def test_a_loss_that_falls_by_powers_is_drawn_on_a_logarithmic_scale(tmp_path: Path) -> None:
    losses = [(step, 10.0 ** (1 - step / 10)) for step in range(31)]
    entries = [{"step": step, "losses": {"total": loss}} for step, loss in losses]
    figure = figures(drawn(tmp_path, entries))["loss"]
    assert "logarithmic" in "".join(figure.itertext())
    heights = [y for _, y in curves(figure)["l0"]]
    falls = [b - a for a, b in zip(heights, heights[1:], strict=False)]
    assert falls == pytest.approx([falls[0]] * 30, abs=0.11)  # a straight line
    assert {"10", "1", "0.1", "0.01"} <= labels(figure)


def test_a_steep_beginning_does_not_flatten_the_rest(tmp_path: Path) -> None:
    losses = [(step, 1 - step / 1000 + (50 if step < 5 else 0)) for step in range(400)]
    entries = [{"step": step, "losses": {"total": loss}} for step, loss in losses]
    figure = figures(drawn(tmp_path, entries))["loss"]
    assert "beginning cut off" in "".join(figure.itertext())
    heights = [y for _, y in curves(figure)["raw l0"]]
    assert heights[0] < 0  # above what is shown
    assert heights[-1] - heights[30] > 100


def test_a_beginning_at_zero_is_cut_off_from_a_logarithmic_scale(tmp_path: Path) -> None:
    losses = [(s, -1e6 if s < 5 else 10.0 ** (1 - s / 100)) for s in range(400)]
    entries = [{"step": step, "losses": {"total": loss}} for step, loss in losses]
    figure = figures(drawn(tmp_path, entries))["loss"]
    assert "logarithmic, beginning cut off" in "".join(figure.itertext())


def test_the_smooth_line_shows_what_noise_hides(tmp_path: Path) -> None:
    draws = random.Random(0)
    entries = [
        {"step": step, "losses": {"total": 3 - step / 1000 + draws.gauss(0, 0.2)}}
        for step in range(1000)
    ]
    found = curves(figures(drawn(tmp_path, entries))["loss"])

    def off(points: Coordinates) -> float:
        """How far points lie from the straight line that the loss is without the noise."""
        middle = len(points) // 2
        (x0, y0), (x1, y1) = points[middle // 2], points[-middle // 2]
        slope = (y1 - y0) / (x1 - x0)
        return sum(abs(y - y0 - slope * (x - x0)) for x, y in points) / len(points)

    assert off(found["l0"]) < off(found["raw l0"]) / 2
    assert [x for x, _ in found["l0"]] == [x for x, _ in found["raw l0"]]


def test_shares_are_percents_and_gpu_numbers_are_drawn(tmp_path: Path) -> None:
    entry = {"step": 1, "waited_share": 0.5, "gpu_memory_mb": 3000.0, "gpu_use": 0.97}
    found = figures(drawn(tmp_path, [entry, {**entry, "step": 2}]))
    assert list(found) == ["waiting for data", "memory of the GPU in use", "use of the GPU"]
    assert {"0 %", "50 %"} <= labels(found["waiting for data"])
    assert "now 97 %" in "".join(found["use of the GPU"].itertext())


@pytest.mark.parametrize("count", [1, 599, 600, 601, 12_345])
def test_a_curve_stays_small_and_keeps_its_mean(count: int) -> None:
    curve = Curve()
    for step in range(1, count + 1):
        curve.add(step, float(step))
    assert len(curve.points) <= 600
    assert count < 600 or len(curve.points) >= 300
    assert curve.points[-1].step == count
    assert sum(point.count for point in curve.points) == count
    assert len({point.count for point in curve.points[:-1]}) <= 1  # no part is finer than others
    total = sum(point.value * point.count for point in curve.points)
    assert total == pytest.approx(count * (count + 1) / 2)
    assert curve.newest == count


def test_what_a_long_run_is_shown_by_does_not_grow() -> None:
    def size(steps: int) -> int:
        record = Record()
        for step in range(steps):
            record.add({"step": step, "losses": {"total": 1.0}, "gradient_norm": 1.0})
            record.add({"step": step, "sounds": [{"name": "a", "file": "b"}]})
        held = [*record.training.values(), *record.numbers.values()]
        return sum(len(curve.points) for curve in held) + len(record.sounds)

    assert size(4800) == size(9600) <= 2 * 600 + 20


def test_a_record_knows_the_best_and_the_mean() -> None:
    record = Record()
    for step in range(1, 301):
        record.add({"step": step, "losses": {"total": float(step)}})
    assert record.mean_loss == pytest.approx(sum(range(201, 301)) / 100)
    for step, loss in ((100, 2.0), (200, 1.0), (300, None), (400, 1.5)):
        record.add({"step": step, "validation": {"total": loss}})
    assert record.best == Judged(200, 1.0)
    assert record.judged == Judged(400, 1.5)
    record.add({"step": 400, "checkpoint": "step-000000400.ckpt"})
    assert (record.checkpoint, record.step) == ("step-000000400.ckpt", 400)


@pytest.mark.parametrize(
    "line", [b"", b'{"step": 1', b"\x00\x00\x00", b'{"a": "\xff"}', b"[1]", b'{"step": "1"}', b"5"]
)
def test_a_torn_line_says_nothing(line: bytes, tmp_path: Path) -> None:
    assert entry_of(line) is None
    (tmp_path / "metrics.jsonl").write_bytes(line + b'\n{"step": 3, "checkpoint": "c"}\n')
    assert read_record(tmp_path).step == 3


def sounds_of(step: int) -> dict[str, object]:
    file = f"samples/step-{step:09}/0 a#b?.wav"
    return {"step": step, "sounds": [{"name": 'jazz <b> & "so"', "file": file}]}


def test_sounds_are_shown_the_newest_first(tmp_path: Path) -> None:
    text = drawn(tmp_path, [sounds_of(step) for step in range(100, 2600, 100)])
    steps = [part.partition("</h3>")[0] for part in text.split("<h3>step ")[1:]]
    assert steps == [f"{step:,}" for step in range(2500, 500, -100)]
    assert text.count("<audio") == 20
    assert '<audio controls preload="none" src="samples/step-000002500/0%20a%23b%3F.wav"' in text
    assert "<p>jazz &lt;b&gt; &amp; &quot;so&quot;</p>" in text
    assert "<b> &" not in text


def test_a_step_that_comes_again_is_shown_once(tmp_path: Path) -> None:
    text = drawn(tmp_path, [sounds_of(100), sounds_of(200), sounds_of(200)])
    assert text.count("<audio") == 2


def test_names_that_are_no_utf_8_do_not_keep_it_from_being_drawn(tmp_path: Path) -> None:
    listed = [{"name": "a\udcff", "file": "b\udcff.wav"}]
    text = drawn(tmp_path, [{"step": 1, "sounds": listed}])
    assert 'src="b%FF.wav"' in text
    assert "a\\udcff" in text
