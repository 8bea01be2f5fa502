"""What an ablation found, for people: a terminal table, Markdown, CSV and one page of HTML."""

from triptych.workbench.extra import workbench_extra

with workbench_extra("a report needs"):
    from triptych.workbench.report.terminal import table
    from triptych.workbench.report.write import write

__all__ = ["table", "write"]
