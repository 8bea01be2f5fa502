"""What an ablation found, in a terminal."""

import io

from rich.console import Console

from tests.workbench.synthetic import made
from triptych.cli.ablation_table import ablation_table
from triptych.workbench.report.numbers import MINUS
from triptych.workbench.statistics import compare


def test_the_terminal_has_every_arm_under_every_score():
    effects, speeds = {"base": 0.0, "hot": -0.4, "min_p": 0.2}, {"base": 50, "hot": 60, "min_p": 40}
    results = made(effects, items=120, speeds=speeds, pictures=False)
    console = Console(file=io.StringIO(), width=120)
    console.print(ablation_table(results, compare(results, resamples=99)))
    said = console.file.getvalue()
    assert said.count("min_p") >= 4
    assert "p (Holm)" in said
    assert f"exact_match: Worse: hot by {MINUS}0." in said
