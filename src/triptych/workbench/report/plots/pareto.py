"""How good against how fast: an arm on the front is beaten by no other in both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from triptych.workbench.report.compose import direction
from triptych.workbench.report.plots.drawing import COLORS, WIDTH, settings, short, svg
from triptych.workbench.results import ScoreKind
from triptych.workbench.statistics.comparison import Comparison
from triptych.workbench.statistics.estimate import Estimate

HEIGHT = 4.6
LABEL = 26
"""Letters of a name beside its point."""
PLACES = ((9, 0), (-9, 0), (0, 10), (0, -10), (8, 9), (8, -9), (-8, 9), (-8, -9))
"""Points from a point to its label, the best places first."""


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Which points no other one beats in one coordinate without losing in the other."""
    return [
        index
        for index, (x, y) in enumerate(points)
        if not any(a >= x and b >= y and (a, b) != (x, y) for a, b in points)
    ]


def pareto(comparison: Comparison, arms: Sequence[str], good: ScoreKind, fast: ScoreKind) -> str:
    """SVG; nothing where fewer than two arms have both scores."""
    points = [
        _Point(number, arm, x.estimate, y.estimate)
        for number, arm in enumerate(arms)
        if (x := comparison.level(arm, fast.name)) and (y := comparison.level(arm, good.name))
    ]
    if len(points) < 2:  # noqa: PLR2004 - one point is no plot
        return ""
    signs = [-1 if score.lower_is_better else 1 for score in (fast, good)]
    leading = front([(p.x.mean * signs[0], p.y.mean * signs[1]) for p in points])
    leaders = [points[index] for index in leading]
    name = f"front-{good.name}-{fast.name}"
    with settings(name):
        figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
        axes = figure.add_subplot()
        if len(leaders) > 1:
            ends = sorted(point.place for point in leaders)
            color = COLORS["accent"]
            axes.plot(*zip(*ends, strict=True), color=color, linewidth=1.2, linestyle="--")
        for point in points:
            _draw(axes, point, COLORS["accent" if point in leaders else "unsure"])
        axes.set_xlabel(f"{fast.name} ({direction(fast)})")
        axes.set_ylabel(f"{good.name} ({direction(good)})")
        axes.margins(0.12)
        # Who is in front has the first choice of places.
        _labels(figure, axes, [*leaders, *(point for point in points if point not in leaders)])
        said = ", ".join(point.arm for point in leaders)
        return svg(figure, name=name, label=f"{good.name} against {fast.name}. In front: {said}")


@dataclass(frozen=True)
class _Point:
    """An arm: x as fast, y as good."""

    number: int
    arm: str
    x: Estimate
    y: Estimate

    @property
    def place(self) -> tuple[float, float]:
        return self.x.mean, self.y.mean

    @property
    def bars(self) -> Iterator[tuple[tuple[float, float], tuple[float, float]]]:
        """Ends of the intervals that there are."""
        if self.x.low is not None and self.x.high is not None:
            yield (self.x.low, self.y.mean), (self.x.high, self.y.mean)
        if self.y.low is not None and self.y.high is not None:
            yield (self.x.mean, self.y.low), (self.x.mean, self.y.high)


def _draw(axes: Axes, point: _Point, color: str) -> None:
    for start, end in point.bars:
        axes.plot(*zip(start, end, strict=True), color=color, linewidth=1, alpha=0.5)
    axes.plot(
        *([value] for value in point.place),
        marker="o" if point.number else "D",
        markersize=8,
        color=color,
        markeredgecolor=COLORS["ground"],
    )


def _labels(figure: Figure, axes: Axes, points: Sequence[_Point]) -> None:
    """Each beside its point, where it hides no other; where it is crowded, its number alone."""
    figure.draw_without_rendering()
    marks, bars = list[Bbox](), list[Bbox]()
    for point in points:
        x, y = axes.transData.transform(point.place)
        marks.append(Bbox.from_extents(x - 6, y - 6, x + 6, y + 6))
        for bar in point.bars:
            (left, low), (right, high) = axes.transData.transform(bar)
            bars.append(Bbox.from_extents(left - 1, low - 1, right + 1, high + 1))
    for point in points:
        number = str(point.number)
        for text, taken in (
            (f"{number} {short(point.arm, LABEL)}", marks + bars),
            (number, marks + bars),
            (number, marks),
        ):
            box = _placed(axes, point, text, taken)
            if box:
                marks.append(box)
                break


def _placed(axes: Axes, point: _Point, text: str, taken: Sequence[Bbox]) -> Bbox | None:
    """Where the text is now; None where there was no room."""
    frame = axes.get_window_extent()
    for right, up in PLACES:
        note = axes.annotate(
            text,
            point.place,
            (right, up),
            textcoords="offset points",
            ha="left" if right > 0 else "right" if right < 0 else "center",
            va="center" if abs(up) < 9 else "bottom" if up > 0 else "top",  # noqa: PLR2004
            fontsize=9,
            bbox={"facecolor": COLORS["ground"], "edgecolor": "none", "alpha": 0.75, "pad": 1},
        )
        box = note.get_window_extent()
        inside = frame.x0 <= box.x0 and box.x1 <= frame.x1
        inside = inside and frame.y0 <= box.y0 and box.y1 <= frame.y1
        if inside and not any(box.overlaps(other) for other in taken):
            return box
        note.remove()
    return None
