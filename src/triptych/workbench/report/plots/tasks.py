"""Bars by task: an arm's mean with its interval, in the colour of what it is beside the base."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from triptych.workbench.report.plots.drawing import COLORS, WIDTH, settings, short, svg
from triptych.workbench.results import ScoreKind
from triptych.workbench.statistics.comparison import Comparison

COLUMNS = 3
ROW = 0.24
"""Inches for an arm."""
NAME = 24
TONES = {"better": "better", "worse": "worse"}


def by_task(
    comparison: Comparison, arms: Sequence[str], score: ScoreKind, tasks: Sequence[str]
) -> str:
    """SVG: one panel for each task, all with the same scale."""
    if not tasks:
        return ""
    name = f"tasks-{score.name}"
    columns = min(COLUMNS, len(tasks))
    rows = -(-len(tasks) // columns)
    with settings(name):
        height = rows * (ROW * len(arms) + 0.45) + 0.3
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
        for axes, task in zip(panels, tasks, strict=False):
            axes.set_title(short(task))
            _bars(axes, comparison, arms, score, task)
        for axes in panels[len(tasks) :]:
            axes.set_visible(False)
        labels = [f"{number} {short(arm, NAME)}" for number, arm in enumerate(arms)]
        panels[0].set_yticks(range(len(arms)), labels)
        panels[0].set_ylim(len(arms) - 0.5, -0.5)
        return svg(figure, name=name, label=f"{score.name} by task, as in the table below")


def _bars(
    axes: Axes, comparison: Comparison, arms: Sequence[str], score: ScoreKind, task: str
) -> None:
    for row, arm in enumerate(arms):
        level = comparison.level(arm, score.name, task)
        if level is None:
            continue
        difference = comparison.difference(arm, score.name, task)
        tone = TONES.get(difference.verdict, "unsure") if difference else "base"
        found = level.estimate
        axes.barh([row], [found.mean], height=0.66, color=COLORS[tone], alpha=0.8)
        if found.low is not None and found.high is not None:
            axes.hlines([row], [found.low], [found.high], color=COLORS["ink"], linewidth=1.2)
    base = comparison.level(comparison.base, score.name, task)
    if base:
        axes.axvline(base.estimate.mean, color=COLORS["base"], linewidth=1, linestyle=":")
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10], prune="upper"))
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="x", labelbottom=True)
