"""Measure exact match on held-out questions: `python -m triptych.models.sketch.evaluate`.

By default the built-in pipeline answers, through its graphs and without torch. Another pipeline
may be named, or a checkpoint folder, which transformers runs.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from triptych.models.sketch.accuracy import Answer, Score, measure, table
from triptych.models.sketch.conversations import TASKS


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Exact match of sketch on held-out scenes.")
    parser.add_argument(
        "source", nargs="?", default="sketch", help="a pipeline (default: sketch), or a checkpoint"
    )
    parser.add_argument("--sides", type=int, nargs="+", default=[192], help="longest sides")
    parser.add_argument("--any-size", action="store_true", help="also up to 448, and oblong")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--per-task", type=int, default=200)
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=TASKS)
    parser.add_argument("--misses", type=int, default=0, help="wrong answers to show per task")
    given = parser.parse_args(arguments)
    answer = _answerer(given.source)
    columns: dict[str, list[Score]] = {}
    started = time.monotonic()
    asked = [(f"up to {side} px", side, False) for side in given.sides]
    if given.any_size:
        asked.append(("any size", max(given.sides), True))
    for title, side, any_size in asked:
        columns[title] = measure(
            answer, per_task=given.per_task, tasks=given.tasks, seed=given.seed,
            side=side, any_size=any_size,
        )  # fmt: skip
    out = sys.stdout
    out.write(table(columns) + "\n")
    out.write(f"{given.per_task} questions per task, {time.monotonic() - started:.0f} s\n")
    for title, scores in columns.items():
        for score in scores:
            for question, said in score.misses[: given.misses]:
                asked_last = question.messages[-1]["content"]
                out.write(f"{title} {score.task}: {asked_last}\n")
                out.write(f"  right {question.answer!r}{os.linesep}  said  {said!r}\n")


def _answerer(source: str) -> Answer:
    """Who answers: a checkpoint folder through transformers, anything else as a pipeline."""
    if (Path(source) / "model.safetensors").is_file():
        from triptych.models.sketch.reference import Reference

        return Reference(Path(source)).answer
    from triptych.models.sketch.exported import Exported

    return Exported(source).answer


if __name__ == "__main__":
    main()
