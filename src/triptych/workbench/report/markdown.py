"""A report as Markdown, for a repository or a pull request."""

from __future__ import annotations

import re
from collections.abc import Iterator

from triptych.workbench.report.model import Report, Table

SPECIAL = re.compile(r"([\\`*\[\]<>|~$]|(?<!\w)_|_(?!\w))")
"""An underscore within a word is one."""
CONTROL = re.compile(r"[\x00-\x1f\x7f]+")


def markdown(report: Report) -> str:
    """The whole report but for pictures and plots."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Report) -> Iterator[str]:
    yield f"# {_safe(report.title)}"
    yield ""
    yield _safe(", ".join(report.facts)) + "."
    yield ""
    for finding in report.findings:
        yield f"- **{_safe(finding.score)}**: {_safe(finding.text)}"
    yield from _table(report.arms)
    for table in (*report.scores, *report.tasks):
        yield from _table(table)
    if report.failures:
        yield from _table(report.failures)
    yield ""
    yield "## How the numbers were made"
    yield ""
    for sentence in report.method:
        yield f"- {_safe(sentence)}"
    if report.about.rows:
        yield from _table(report.about)


def _table(table: Table) -> Iterator[str]:
    yield ""
    yield f"## {_safe(table.title)}"
    yield ""
    yield _row(table.header)
    rules = ["---" if column < table.words else "--:" for column in range(len(table.header))]
    yield f"| {' | '.join(rules)} |"
    for row in table.rows:
        yield _row(row.cells)
    if table.note:
        yield ""
        yield _safe(table.note)


def _row(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(_safe(cell) for cell in cells)} |"


def _safe(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return SPECIAL.sub(r"\\\1", CONTROL.sub(" ", text))
