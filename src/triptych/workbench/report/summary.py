"""A report as CSV: one row for each arm, score and task, for other programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from triptych.workbench.statistics.comparison import Comparison, Difference, Level

COLUMNS = (
    *("arm", "score", "metric", "measures", "lower_is_better", "task"),
    *("questions", "clusters", "mean", "standard_error", "low", "high", "between", "within"),
    *("difference", "difference_standard_error", "difference_low", "difference_high"),
    *("bootstrap_low", "bootstrap_high", "p", "p_corrected", "correction"),
    *("mcnemar", "mcnemar_p", "wins", "losses", "detectable"),
    *("paired", "unpaired", "differing", "runs", "failures"),
)


def summary(comparison: Comparison) -> str:
    """With a header; empty cells where there is nothing; numbers to nine figures."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for level in comparison.levels:
        difference = comparison.difference(level.arm, level.score.name, level.task)
        cells = [*_level(level), *_difference(difference, comparison)]
        cells += [comparison.runs.get(level.arm, 0), comparison.failures.get(level.arm, 0)]
        writer.writerow([_cell(cell) for cell in cells])
    return text.getvalue()


def _level(level: Level) -> Iterator[str | float | None]:
    score, found = level.score, level.estimate
    yield from (level.arm, score.name, score.metric, score.measures)
    yield str(score.lower_is_better).lower()
    yield level.task
    yield from (found.items, found.clusters, found.mean, found.standard_error)
    yield from (found.low, found.high, level.spread.between, level.spread.within)


def _difference(
    difference: Difference | None, comparison: Comparison
) -> Iterator[str | float | None]:
    if difference is None:
        yield from [None] * 17
        return
    found, mcnemar = difference.estimate, difference.mcnemar
    yield from (found.mean, found.standard_error, found.low, found.high)
    yield from difference.bootstrap or (None, None)
    yield from (difference.p, difference.corrected, comparison.method.correction)
    if mcnemar is None:
        yield from [None] * 4
    else:
        yield from (mcnemar.variant, mcnemar.p, mcnemar.wins, mcnemar.losses)
    yield from (difference.smallest, found.items, difference.unpaired, difference.differing)


def _cell(value: str | float | None) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else f"{value:.9g}"
