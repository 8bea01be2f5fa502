"""A report as one page of HTML that needs nothing but itself."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined

from triptych.workbench.report.model import Report
from triptych.workbench.results import Results
from triptych.workbench.statistics.comparison import Comparison

TEMPLATES = Environment(
    loader=PackageLoader("triptych.workbench.report"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def page(
    results: Results,  # noqa: ARG001
    comparison: Comparison,  # noqa: ARG001
    report: Report,
) -> str:
    """Questions and answers are untrusted: everything is escaped, and the page may run nothing."""
    return TEMPLATES.get_template("page.html").render(report=report)
