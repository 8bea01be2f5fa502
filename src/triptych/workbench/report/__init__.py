"""What an ablation found, for people: Markdown, CSV and one page of HTML.

`triptych.cli.ablation_table` shows the same in a terminal.
"""

from triptych.workbench.extra import workbench_extra

with workbench_extra("a report needs"):
    from triptych.workbench.report.write import write

__all__ = ["write"]
