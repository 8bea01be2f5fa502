"""A report as a drawing: for each measure a bar per contender, longer where it did better."""

from __future__ import annotations

from collections.abc import Iterator
from xml.sax.saxutils import escape

from triptych.bench.cells import measured
from triptych.bench.measurement import Result
from triptych.bench.report import Report

WIDTH, LEFT, BAR, GAP = 960, 380, 18, 14
"""Pixels: of the whole, of the column of names, of a bar's height, between measures."""
LONGEST = 330
"""Of a bar."""
COLORS = ("#3b6ea8", "#c8803a", "#5f9460", "#96669c", "#8a8d3c", "#a05a5a")


def plot(report: Report) -> str:
    """An SVG. Bars of one measure are in proportion to each other, the best one the longest."""
    parts, top = list[str](), GAP
    for result in report.results:
        for label, share, text in _bars(report, result):
            color = COLORS[list(report.runtimes).index(label) % len(COLORS)]
            name = f"{result.measure.name}, {label}"
            middle, length = top + BAR - 5, share * LONGEST
            parts += [
                f'<text x="{LEFT - 8}" y="{middle}" text-anchor="end">{escape(name)}</text>',
                _rectangle(LEFT, top, length, BAR - 3, color),
                f'<text x="{LEFT + length + 6:.1f}" y="{middle}">{escape(text)}</text>',
            ]
            top += BAR
        top += GAP
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{top}" '
        f'viewBox="0 0 {WIDTH} {top}" font-family="sans-serif" font-size="12">\n'
        f"{_rectangle(0, 0, WIDTH, top, 'white')}\n" + "\n".join(parts) + "\n</svg>\n"
    )


def _rectangle(left: float, top: float, width: float, height: float, color: str) -> str:
    sides = f'x="{left}" y="{top}" width="{width:.1f}" height="{height}"'
    return f'<rect {sides} fill="{color}"/>'


def _bars(report: Report, result: Result) -> Iterator[tuple[str, float, str]]:
    """(contender, share of the longest bar, text) of those that have values."""
    found = [(label, spread) for label in report.runtimes if (spread := result.spread(label))]
    better = result.measure.more_is_better
    speeds = [spread.median if better else 1 / max(spread.median, 1e-12) for _, spread in found]
    for (label, spread), speed in zip(found, speeds, strict=True):
        yield label, speed / max(speeds), measured(spread, result.measure.unit)
