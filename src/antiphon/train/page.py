"""A page to look at while a run goes on: its curves, from its metrics. One file, no scripts."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from antiphon.files import atomic_write

METRICS_NAME, PAGE_NAME = "metrics.jsonl", "report.html"
_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 640, 220, 60, 24  # pixels of a chart, and of its margins
_MOST_POINTS = 600
_COLOURS = ("#1b6ca8", "#c2571a", "#3c8031", "#8a4f9e", "#a8324a", "#5a5a5a")

Points = Sequence[tuple[float, float]]  # step, value


def write_page(folder: Path, title: str) -> Path:
    """Draw what `metrics.jsonl` in `folder` holds. Raises StorageError (DiskFullError)."""
    entries = []
    for line in (folder / METRICS_NAME).read_text(encoding="utf-8").splitlines():
        try:
            entries.append(json.loads(line))
        except ValueError:
            continue  # the line that is being written
    losses = _curves(entries, "losses")
    validation = _curves(entries, "validation")
    charts = []
    for name in dict.fromkeys([*losses, *validation]):
        curves = {"training": losses.get(name, []), "validation": validation.get(name, [])}
        charts.append(_chart(name, curves))
    for name in ("learning_rate", "gradient_norm", "waited_share", "memory_mb"):
        charts.append(_chart(name, {name: _values(entries, name)}))
    pace = next((n for e in entries for n in e if n.endswith("_per_second")), None)
    if pace is not None:
        charts.append(_chart(pace, {pace: _values(entries, pace)}))
    last = max((entry.get("step", 0) for entry in entries), default=0)
    body = "\n".join(charts)
    text = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>
<meta name="viewport" content="width=device-width"><style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 90rem }}
body {{ padding: 0 1rem }}
main {{ display: flex; flex-wrap: wrap; gap: 1.5rem }} figure {{ margin: 0 }}
svg {{ background: #fafafa; max-width: 100% }} text {{ font-size: 12px; fill: #444 }}
</style></head><body><h1>{html.escape(title)}</h1><p>After step {last:,}.</p><main>
{body}
</main></body></html>
"""
    path = folder / PAGE_NAME
    atomic_write(path, text.encode())
    return path


def _curves(entries: Sequence[Mapping[str, object]], kind: str) -> dict[str, Points]:
    """The curve of each loss under `losses` or `validation`."""
    found: dict[str, list[tuple[float, float]]] = {}
    for entry in entries:
        values = entry.get(kind)
        if isinstance(values, Mapping):
            for name, value in values.items():
                if isinstance(value, float | int):
                    found.setdefault(name, []).append((_step(entry), float(value)))
    return dict(found)


def _values(entries: Sequence[Mapping[str, object]], name: str) -> Points:
    return [
        (_step(entry), float(value))
        for entry in entries
        if isinstance(value := entry.get(name), float | int)
    ]


def _step(entry: Mapping[str, object]) -> float:
    return float(str(entry["step"]))


def _chart(name: str, curves: Mapping[str, Points]) -> str:
    """A figure of some curves over the same steps."""
    shown = {label: _thinned(points) for label, points in curves.items() if points}
    every = [point for points in shown.values() for point in points]
    if not every:
        return ""
    steps, values = zip(*every, strict=True)
    low, high = min(values), max(values)
    high = high if high > low else low + (abs(low) or 1.0)
    first, last = min(steps), max(max(steps), min(steps) + 1)

    def place(point: tuple[float, float]) -> str:
        x = _LEFT + (point[0] - first) / (last - first) * (_WIDTH - _LEFT - 10)
        y = 10 + (high - point[1]) / (high - low) * (_HEIGHT - _BOTTOM - 20)
        return f"{x:.1f},{y:.1f}"

    lines = []
    for number, (label, points) in enumerate(shown.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        along = " ".join(map(place, points))
        drawn = f'fill="none" stroke="{colour}" stroke-width="1.5"'
        lines.append(f'<polyline {drawn} points="{along}"/>')
        if len(shown) > 1:
            x = _WIDTH - 220 + 110 * number
            lines.append(f'<text x="{x}" y="22" style="fill:{colour}">{label}</text>')
    base = _HEIGHT - 8
    texts = (
        f'<text x="4" y="16">{high:.4g}</text><text x="4" y="{_HEIGHT - _BOTTOM - 6}">{low:.4g}'
        f'</text><text x="{_LEFT}" y="{base}">{first:,.0f}</text>'
        f'<text x="{_WIDTH - 10}" y="{base}" text-anchor="end">{last:,.0f} steps</text>'
    )
    title = html.escape(name.replace("_", " "))
    newest = next(iter(shown.values()))[-1][1]
    return (
        f'<figure><figcaption>{title}: {newest:.4g}</figcaption><svg viewBox="0 0 {_WIDTH} '
        f'{_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" role="img" aria-label="{title}">'
        f"{''.join(lines)}{texts}</svg></figure>"
    )


def _thinned(points: Points) -> Points:
    """At most so many, each the mean of its neighbours."""
    size = math.ceil(len(points) / _MOST_POINTS)
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    return [(group[-1][0], sum(value for _, value in group) / len(group)) for group in groups]
