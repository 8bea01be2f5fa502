"""What an ablation found as one table for the terminal."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from triptych.core.counted import counted
from triptych.workbench.report.compose import CORRECTIONS, MARKS, compose, digits_of
from triptych.workbench.report.model import Verdict
from triptych.workbench.report.numbers import NOTHING, chance, percent, plain, signed, span
from triptych.workbench.results import Results
from triptych.workbench.statistics.comparison import Comparison

STYLES: Mapping[Verdict, str] = {
    "better": "green",
    "worse": "red",
    "same": "dim",
    "unsure": "",
    "": "",
}


def ablation_table(results: Results, comparison: Comparison) -> RenderableType:
    """Every arm and score: its mean, how it differs from the base, and how sure that is.

    Below it what was found, and which runs failed, or lost a score, and why.
    """
    report = compose(results, comparison)
    sure, correction = (
        percent(1 - comparison.method.alpha),
        CORRECTIONS[comparison.method.correction],
    )
    shown = Table(title=Text(", ".join(report.facts)), title_justify="left", title_style="")
    shown.add_column("score")
    shown.add_column("arm", overflow="fold")
    for name in ("mean", "difference", sure, f"p ({correction})"):
        shown.add_column(name, justify="right")
    for score in results.scores:
        digits = digits_of(comparison, score)
        name = score.name
        for arm in results.arms:
            level = comparison.level(arm.name, score.name)
            if level is None:
                continue
            cells = [name, arm.name, plain(level.estimate.mean, digits)]
            name = ""
            difference = comparison.difference(arm.name, score.name)
            verdict: Verdict = ""
            if difference is None:
                cells += [NOTHING] * 3
            else:
                verdict, found = difference.verdict, difference.estimate
                mark = f"{signed(found.mean, digits)} {MARKS[verdict]}".rstrip()
                limits = span(found.low, found.high, digits, sign=True)
                cells += [mark, limits, chance(difference.corrected)]
            shown.add_row(*(Text(cell) for cell in cells), style=STYLES[verdict])
        shown.add_section()
    told = [Text(f"{finding.score}: {finding.text}") for finding in report.findings]
    if report.failures is not None:
        for name, error, runs in (row.cells for row in report.failures.rows):
            text = f"{name}: {error} ({counted(int(runs), 'run')})"
            told.append(Text(text, style=STYLES["worse"]))
    return Group(shown, *told)
