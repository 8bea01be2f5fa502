"""A report as Markdown."""

from __future__ import annotations

from triptych.bench.cells import header, remarks, rows
from triptych.bench.report import Report


def markdown(report: Report) -> str:
    """A table, and what one should know of it below."""
    columns = header(report)
    lines = [_row(columns), _row(["---"] * len(columns)), *map(_row, rows(report)), ""]
    return "\n".join([*lines, *(f"- {remark}" for remark in remarks(report)), ""])


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
