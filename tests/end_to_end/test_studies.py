"""The studies that ship run by the command at their head."""

import csv
import re
import shlex
from pathlib import Path

from triptych.cli.main import main

ROOT = Path(__file__).parents[2]
SAMPLERS = ROOT / "examples" / "studies" / "samplers"


def test_samplers_are_compared_by_one_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    sweep = (SAMPLERS / "sweep.yaml").read_text(encoding="utf-8")
    (command,) = re.findall(r"(?m)^#     triptych (.*)$", sweep)
    asked = shlex.split(command.replace("DIR", str(tmp_path)))
    assert main([*asked, "--limit", "3"]) == 0
    assert "min_p=0.1 t=2" in capsys.readouterr().out
    assert (tmp_path / "report.html").is_file()
    answers = {}
    with (tmp_path / "results.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            answers.setdefault(row["arm"], []).append((row["item"], row["seed"], row["text"]))
    # A temperature leaves ranks as they are, so that top-k does not see the order.
    assert answers["t=2 top_k=5"] == answers["top_k=5 t=2"]
    assert answers["t=2 top_p=0.9"] != answers["top_p=0.9 t=2"]


def test_the_report_beside_the_sweep_is_of_that_sweep():
    sweep = (SAMPLERS / "sweep.yaml").read_text(encoding="utf-8")
    report = (SAMPLERS / "report.md").read_text(encoding="utf-8")
    arms = re.findall(r"\{name: ([^,]+), set", sweep)
    assert len(arms) == 10
    assert re.findall(r"(?m)^\| \d+ \| ([^|]+) \|", report) == ["base", *arms]
