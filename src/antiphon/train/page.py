"""A page to look at while a run goes on: its curves and sounds, from its metrics. One file, no
scripts; the sounds lie beside it."""

from __future__ import annotations

import html
import json
import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from antiphon.files import atomic_write, storage_error

METRICS_NAME, PAGE_NAME = "metrics.jsonl", "report.html"
_WIDTH, _HEIGHT = 640, 230  # of a chart, in pixels
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 12, 10, 26  # its margins
_MOST_POINTS = 600  # of a curve
_MOST_SOUNDS = 20  # steps whose sounds are shown
_RECENT = 100  # losses that a mean is of
_LOG_FALL = 10  # a curve that spans more is drawn on a logarithmic scale
_BEGINNING = 0.05  # of the steps
_SMOOTH_FROM = 40  # points; fewer are drawn as they are
_LINE_SHARE = 40  # the smoothed line is a mean over every so-manieth part of the whole
_DOTS = 60  # a curve of up to so many points has a dot at each

Scale = Literal["from zero", "fitted", "may be log"]


@dataclass(frozen=True)
class _Measure:
    """A number of the metrics that has a chart of its own."""

    name: str
    title: str
    scale: Scale
    unit: str = ""
    factor: float = 1.0
    is_noisy: bool = True


_MEASURES = (
    _Measure("learning_rate", "learning rate", "from zero", is_noisy=False),
    _Measure("gradient_norm", "gradient norm", "may be log"),
    _Measure("waited_share", "waiting for data", "from zero", " %", 100.0),
    _Measure("memory_mb", "memory, at most", "from zero", " MB", is_noisy=False),
    _Measure("gpu_memory_mb", "memory of the GPU in use", "from zero", " MB", is_noisy=False),
    _Measure("gpu_use", "use of the GPU", "from zero", " %", 100.0),
)
_PACE = "_per_second"


@dataclass
class Point:
    """The mean of `count` neighbours, the last of them at `step`."""

    step: float
    value: float
    count: int = 1


class Curve:
    """A number over the steps. However many are added, it keeps at most 600 points: when there
    would be more, each two neighbours become their mean."""

    def __init__(self) -> None:
        self.points: list[Point] = []
        self.newest = math.nan
        self._size = 1

    def add(self, step: int, value: float) -> None:
        self.newest = value
        last = self.points[-1] if self.points else None
        if last is not None and last.count < self._size:
            last.count += 1
            last.value += (value - last.value) / last.count
            last.step = step
            return
        if len(self.points) == _MOST_POINTS:
            self.points = [_merged(*self.points[i : i + 2]) for i in range(0, _MOST_POINTS, 2)]
            self._size *= 2
        self.points.append(Point(step, value))


def _merged(first: Point, second: Point) -> Point:
    count = first.count + second.count
    value = (first.value * first.count + second.value * second.count) / count
    return Point(second.step, value, count)


@dataclass(frozen=True)
class Judged:
    """A validation loss, and the step it was of."""

    step: int
    loss: float


@dataclass(frozen=True)
class Heard:
    """A sound that a run made; `file` is relative to the run's folder."""

    name: str
    file: str


class Record:
    """What is shown of a run's metrics. Its size does not grow with the run."""

    def __init__(self) -> None:
        self.training: dict[str, Curve] = {}
        self.validation: dict[str, Curve] = {}
        self.numbers: dict[str, Curve] = {}
        self.sounds: dict[int, list[Heard]] = {}  # by step, the newest last
        self.step = 0
        self.judged: Judged | None = None
        self.best: Judged | None = None
        self.checkpoint: str | None = None
        self._recent: deque[float] = deque(maxlen=_RECENT)

    @property
    def mean_loss(self) -> float | None:
        """Of the total losses that were told last, up to 100 of them."""
        return sum(self._recent) / len(self._recent) if self._recent else None

    def add(self, entry: Mapping[str, object]) -> None:
        """One line of metrics; what is not understood of it is left out."""
        step = entry.get("step")
        if not isinstance(step, int):
            return
        self.step = max(self.step, step)
        for kind, curves in (("losses", self.training), ("validation", self.validation)):
            values = entry.get(kind)
            if isinstance(values, dict):
                _add_numbers(curves, step, values)
                self._judge(kind, step, values.get("total"))
        _add_numbers(self.numbers, step, entry)
        name = entry.get("checkpoint")
        if isinstance(name, str):
            self.checkpoint = name
        self._add_sounds(step, entry.get("sounds"))

    def _judge(self, kind: str, step: int, total: object) -> None:
        if not isinstance(total, int | float) or not math.isfinite(total):
            return
        if kind == "losses":
            self._recent.append(total)
            return
        self.judged = Judged(step, total)
        if self.best is None or total < self.best.loss:
            self.best = self.judged

    def _add_sounds(self, step: int, sounds: object) -> None:
        if not isinstance(sounds, Sequence):
            return
        # A step that comes again, of a run that went on, takes the place of the first.
        self.sounds.pop(step, None)
        self.sounds[step] = [
            Heard(str(one["name"]), str(one["file"]))
            for one in sounds
            if isinstance(one, Mapping) and {"name", "file"} <= one.keys()
        ]
        while len(self.sounds) > _MOST_SOUNDS:
            del self.sounds[next(iter(self.sounds))]


_NO_NUMBERS = frozenset({"step", "time"})
_REAL = (int, float)


def _add_numbers(curves: dict[str, Curve], step: int, values: Mapping[str, object]) -> None:
    for name, value in values.items():
        if name not in _NO_NUMBERS and isinstance(value, _REAL) and math.isfinite(value):
            curves.setdefault(name, Curve()).add(step, value)


def entry_of(line: bytes | str) -> Mapping[str, Any] | None:
    """What a line of metrics says; None for one that a kill has torn."""
    try:
        entry = json.loads(line)
    except ValueError:  # no JSON, no UTF-8
        return None
    return entry if isinstance(entry, dict) and isinstance(entry.get("step"), int) else None


def read_record(folder: Path) -> Record:
    """Of the `metrics.jsonl` in `folder`, line by line. Raises StorageError."""
    record = Record()
    path = folder / METRICS_NAME
    try:
        with path.open("rb") as lines:
            for line in lines:
                if (entry := entry_of(line)) is not None:
                    record.add(entry)
    except OSError as error:
        raise storage_error("read", path, error) from error
    return record


def write_page(folder: Path, title: str, record: Record | None = None) -> Path:
    """Draw `record` (None: what `metrics.jsonl` in `folder` holds) as the page in `folder`.

    Raises StorageError (DiskFullError).
    """
    path = folder / PAGE_NAME
    text = _page(read_record(folder) if record is None else record, title)
    atomic_write(path, text.encode("utf-8", "backslashreplace"))  # a name of no UTF-8
    return path


def _page(record: Record, title: str) -> str:
    name = html.escape(title)
    charts = "\n".join(_charts(record))
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{name}</title>
<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head>
<body><h1>{name}</h1>{_summary(record)}<main>
{charts}
</main>{_sounds(record)}</body></html>
"""


_STYLE = """
:root { color-scheme: light dark; --page: #fff; --plot: #f6f7f8; --ink: #1c1e21; --soft: #666b73;
  --grid: #dfe2e6; --c0: #2166ac; --c1: #c0510f }
@media (prefers-color-scheme: dark) { :root { --page: #16181b; --plot: #1f2226; --ink: #e6e8eb;
  --soft: #9aa1ab; --grid: #343941; --c0: #6aaef0; --c1: #f0934e } }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 88rem; padding: 0 1.5rem;
  background: var(--page); color: var(--ink) }
h1 { margin: 0; font-size: 1.6rem } h2 { margin: 2.5rem 0 .5rem; font-size: 1.2rem }
.summary { display: flex; flex-wrap: wrap; gap: .3rem 2.5rem; margin: .8rem 0 1.8rem }
.summary div { min-width: 6rem } dt, .soft { color: var(--soft); font-size: 13px }
dd { margin: 0; font-size: 1.15rem; font-variant-numeric: tabular-nums }
main { display: grid; gap: 1.5rem 2rem;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 30rem), 1fr)) }
figure { margin: 0 } figcaption { display: flex; gap: 1rem; align-items: baseline }
figcaption span { font-size: 13px; font-variant-numeric: tabular-nums } figcaption b { flex: 1 }
figure > svg { display: block; width: 100%; height: auto; background: var(--plot);
  border-radius: 6px }
text { font-size: 12px; fill: var(--soft) } .grid { stroke: var(--grid) }
polyline { fill: none; stroke-width: 1.75; stroke-linejoin: round }
.raw { stroke-width: 1; opacity: .35 }
.l0 { stroke: var(--c0) } .l1 { stroke: var(--c1) } .d0 { fill: var(--c0) } .d1 { fill: var(--c1) }
.t0 { color: var(--c0) } .t1 { color: var(--c1) }
.step { display: flex; flex-wrap: wrap; gap: .5rem 1.5rem; padding: .7rem 0;
  border-top: 1px solid var(--grid) } .step h3 { flex: 0 0 8rem; margin: 0; font-size: 15px }
.sound { flex: 0 1 20rem; min-width: 0 } .sound p { margin: 0 0 .2rem; overflow-wrap: anywhere }
audio { width: 100%; height: 36px }
"""


def _summary(record: Record) -> str:
    """The numbers that one looks for first."""
    facts = {"after step": f"{record.step:,}"}
    if record.mean_loss is not None:
        facts["training loss, lately"] = f"{record.mean_loss:.4g}"
    if record.judged is not None and record.best is not None:
        facts["validation loss"] = f"{record.judged.loss:.4g}"
        facts["best of them"] = f"{record.best.loss:.4g} after step {record.best.step:,}"
    if record.checkpoint is not None:
        facts["checkpoint"] = html.escape(record.checkpoint)
    facts["drawn"] = time.strftime("%Y-%m-%d %H:%M:%S")
    parts = (f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts.items())
    return f'<dl class="summary">{"".join(parts)}</dl>'


def _charts(record: Record) -> list[str]:
    """In the order in which one reads them; what was never told has none."""
    charts = []
    for name in dict.fromkeys([*record.training, *record.validation]):
        title = "loss" if name == "total" else name.replace("_", " ")
        both = {"training": record.training.get(name), "validation": record.validation.get(name)}
        curves = {label: curve for label, curve in both.items() if curve is not None}
        charts.append(_chart(_Measure(name, title, "may be log"), curves))
    paces = [name for name in record.numbers if name.endswith(_PACE)]
    of_pace = [_Measure(n, f"{n.removesuffix(_PACE)} a second", "from zero") for n in paces]
    for measure in (*_MEASURES[:2], *of_pace, *_MEASURES[2:]):
        curve = record.numbers.get(measure.name)
        if curve is not None:
            charts.append(_chart(measure, {measure.title: curve}))
    return charts


def _sounds(record: Record) -> str:
    if not record.sounds:
        return ""
    parts = ["<section><h2>Sounds</h2>"]
    for step in sorted(record.sounds, reverse=True):
        parts.append(f'<div class="step"><h3>step {step:,}</h3>')
        for heard in record.sounds[step]:
            name, source = html.escape(heard.name), quote(os.fsencode(heard.file))
            parts.append(
                f'<div class="sound"><p>{name}</p><audio controls preload="none" src="{source}" '
                f'aria-label="{name}, step {step:,}"></audio></div>'
            )
        parts.append("</div>")
    return "".join([*parts, "</section>"])


@dataclass(frozen=True)
class _Axis:
    """Where values lie between two ends, and the values that have a line."""

    low: float
    high: float
    ticks: tuple[float, ...]
    is_log: bool = False

    def share(self, value: float) -> float:
        """0 at the low end, 1 at the high."""
        if self.is_log:
            value = max(value, self.low / self.high * self.low)  # what is cut off may be 0
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


def _chart(measure: _Measure, curves: Mapping[str, Curve]) -> str:
    """A figure of some curves over the same steps."""
    drawn = {
        label: [Point(p.step, p.value * measure.factor) for p in curve.points]
        for label, curve in curves.items()
    }
    every = [point for points in drawn.values() for point in points]
    steps = [point.step for point in every]
    first, last = min(steps), max(max(steps), min(steps) + 1)
    across = _linear_axis(first, last, 6, is_tight=True)
    late = [point.value for point in every if point.step - first >= _BEGINNING * (last - first)]
    up, is_cut = _value_axis([point.value for point in every], late, measure.scale)

    def x_of(step: float) -> float:
        return _LEFT + across.share(step) * (_WIDTH - _LEFT - _RIGHT)

    def y_of(value: float) -> float:
        return _HEIGHT - _BOTTOM - up.share(value) * (_HEIGHT - _TOP - _BOTTOM)

    def place(point: Point) -> str:
        return f"{x_of(point.step):.1f},{y_of(point.value):.1f}"

    lines = []
    for number, points in enumerate(drawn.values()):
        lines += _curve_lines(points, number, place, is_noisy=measure.is_noisy)
    notes = ["logarithmic"] * up.is_log + ["beginning cut off"] * is_cut
    title = html.escape(measure.title)
    newest = " ".join(
        f'<span class="t{number}">{label if len(curves) > 1 else "now"} '
        f"{_number(curve.newest * measure.factor)}{measure.unit}</span>"
        for number, (label, curve) in enumerate(curves.items())
    )
    said = f' <span class="soft">{", ".join(notes)}</span>' if notes else ""
    return (
        f"<figure><figcaption><b>{title}</b>{said} {newest}</figcaption>"
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{title}">'
        f"{_value_lines(up, y_of, measure.unit)}{_step_labels(across, x_of)}"
        f"{_cut_to_plot(lines)}</svg></figure>"
    )


def _cut_to_plot(lines: Sequence[str]) -> str:
    """Without what lies above or below; a dot on the edge is whole."""
    x, y, edge = _LEFT - 4, _TOP - 4, 8
    width, height = _WIDTH - _LEFT - _RIGHT + edge, _HEIGHT - _TOP - _BOTTOM + edge
    box = f'x="{x}" y="{y}" width="{width}" height="{height}"'
    return f'<svg {box} viewBox="{x} {y} {width} {height}">{"".join(lines)}</svg>'


def _curve_lines(
    points: Sequence[Point], number: int, place: Callable[[Point], str], *, is_noisy: bool
) -> list[str]:
    """A line; of many points that jump, a smooth one over a faint one of them all."""

    def line(along: Iterable[Point], kind: str) -> str:
        return f'<polyline class="{kind}l{number}" points="{" ".join(map(place, along))}"/>'

    if is_noisy and len(points) >= _SMOOTH_FROM:
        return [line(points, "raw "), line(_smoothed(points), "")]
    found = [line(points, "")]
    if len(points) <= _DOTS:
        for point in points:
            x, y = place(point).split(",")
            found.append(f'<circle class="d{number}" cx="{x}" cy="{y}" r="2.5"/>')
    return found


def _smoothed(points: Sequence[Point]) -> list[Point]:
    """Each the mean of its neighbours: at the beginning, where a loss falls fast, of as many on
    either side; at the end, which shall not jump, of those that there are."""
    sums = [0.0]
    for point in points:
        sums.append(sums[-1] + point.value)
    most = max(2, len(points) // _LINE_SHARE)
    found = []
    for at, point in enumerate(points):
        reach = min(most, at)
        first, end = at - reach, min(at + reach + 1, len(points))
        found.append(Point(point.step, (sums[end] - sums[first]) / (end - first)))
    return found


def _value_lines(axis: _Axis, y_of: Callable[[float], float], unit: str) -> str:
    parts = []
    for tick in axis.ticks:
        y = f"{y_of(tick):.1f}"
        right = _WIDTH - _RIGHT
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{y}" y2="{y}"/>')
        label = f"{_number(tick)}{unit if unit == ' %' else ''}"
        where = f'x="{_LEFT - 8}" y="{y}" dy="4" text-anchor="end"'
        parts.append(f"<text {where}>{label}</text>")
    return "".join(parts)


def _step_labels(axis: _Axis, x_of: Callable[[float], float]) -> str:
    parts = []
    for tick in axis.ticks:
        x = x_of(tick)
        anchor = "end" if x > _WIDTH - _RIGHT - 20 else "middle"
        parts.append(
            f'<text x="{x:.1f}" y="{_HEIGHT - 8}" text-anchor="{anchor}">{_number(tick)}</text>'
        )
    return "".join(parts)


def _value_axis(values: Sequence[float], late: Sequence[float], scale: Scale) -> tuple[_Axis, bool]:
    """The axis for values of which `late` are those after the beginning; whether it leaves values
    out: what falls far in the first moments would squeeze all that comes after into a flat line."""
    low, high = min(values), max(values)
    is_cut = (
        scale == "may be log"
        and len(late) >= _SMOOTH_FROM
        and high - low > 3 * (max(late) - min(late)) > 0
    )
    if is_cut:
        low, high = min(late), max(late)
    if scale == "may be log" and low > 0 and high / low > _LOG_FALL:
        return _log_axis(low, high), is_cut
    if scale == "from zero":
        low, high = min(low, 0.0), max(high, 0.0)
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        low, high = low - (abs(low) or 1.0) / 2, high + (abs(high) or 1.0) / 2
    return _linear_axis(low, high, 5), is_cut


def _linear_axis(low: float, high: float, parts: int, *, is_tight: bool = False) -> _Axis:
    """Lines at 1, 2 or 5 times a power of ten; the ends are lines, too, unless it is tight."""
    rough = (high - low) / parts
    power = 10.0 ** math.floor(math.log10(rough))
    width = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first, last = math.floor(low / width + 1e-9), math.ceil(high / width - 1e-9)
    ticks = [width * number for number in range(first, last + 1)]
    if is_tight:
        return _Axis(low, high, tuple(tick for tick in ticks if low <= tick <= high))
    return _Axis(ticks[0], ticks[-1], tuple(ticks))


def _log_axis(low: float, high: float) -> _Axis:
    """Lines at powers of ten; between few of them at 2 and 5 times, too."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1, 2, 5) if len(decades) <= 4 else (1,)
    every = -(-len(decades) // 8)
    ticks = [factor * 10.0**decade for decade in decades[::every] for factor in factors]
    low, high = low / 1.1, high * 1.1
    return _Axis(low, high, tuple(tick for tick in ticks if low <= tick <= high), is_log=True)


def _number(value: float) -> str:
    """Short: 12,000, 0.25, 3e-05."""
    if value == 0 or abs(value) >= 1e7 or abs(value) < 1e-4:
        return f"{value:.3g}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"
