"""Every arm's difference from the base with its interval, around a line at none."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from triptych.workbench.report.compose import direction
from triptych.workbench.report.plots.drawing import COLORS, WIDTH, settings, short, svg
from triptych.workbench.results import ScoreKind
from triptych.workbench.statistics.comparison import Comparison

MARKERS = {"better": "^", "worse": "v", "unsure": "o", "same": "s"}
TONES = {"better": "better", "worse": "worse", "unsure": "unsure", "same": "unsure"}
ROW = 0.34
"""Inches for an arm."""


def differences(comparison: Comparison, arms: Sequence[str], score: ScoreKind) -> str:
    """SVG; nothing where there is nothing to compare."""
    found = [d for arm in arms if (d := comparison.difference(arm, score.name))]
    if not found:
        return ""
    name = f"differences-{score.name}"
    with settings(name):
        figure = Figure(figsize=(WIDTH, ROW * len(found) + 0.75), layout="constrained")
        axes = figure.add_subplot()
        axes.axvline(0, color=COLORS["muted"], linewidth=1)
        for row, difference in enumerate(found):
            estimate, color = difference.estimate, COLORS[TONES[difference.verdict]]
            if estimate.low is not None and estimate.high is not None:
                axes.hlines(
                    [row], [estimate.low], [estimate.high], color=color, linewidth=2.4, alpha=0.55
                )
            axes.plot(
                [estimate.mean],
                [row],
                marker=MARKERS[difference.verdict],
                markersize=8,
                color=color,
                markeredgecolor=COLORS["ground"],
            )
        numbers = [list(arms).index(difference.arm) for difference in found]
        labels = [f"{number} {short(d.arm)}" for number, d in zip(numbers, found, strict=True)]
        axes.set_yticks(range(len(found)), labels)
        axes.set_ylim(len(found) - 0.5, -0.5)
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(f"difference in {score.name} from {comparison.base} ({direction(score)})")
        return svg(figure, name=name, label=f"Differences in {score.name}, as in the table below")
