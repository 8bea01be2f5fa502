"""The files of a report."""

from __future__ import annotations

from pathlib import Path

from triptych.core.system.whole_file import whole
from triptych.workbench.report.compose import compose
from triptych.workbench.report.html import page
from triptych.workbench.report.markdown import markdown
from triptych.workbench.report.summary import summary
from triptych.workbench.results import Results
from triptych.workbench.statistics.compare import compare
from triptych.workbench.statistics.comparison import Comparison


def write(
    results: Results, folder: Path, comparison: Comparison | None = None
) -> tuple[Path, Path, Path]:
    """`report.md`, `report.html` and `summary.csv` into a folder that is there.

    The same results give the same bytes. comparison: of the results, where the caller has it.
    """
    comparison = comparison or compare(results)
    report = compose(results, comparison)
    texts = {
        "report.md": markdown(report),
        "report.html": page(results, comparison, report),
        "summary.csv": summary(comparison),
    }
    for name, text in texts.items():
        with whole(folder / name) as part:
            part.write_text(text, encoding="utf-8", newline="\n")
    return folder / "report.md", folder / "report.html", folder / "summary.csv"
