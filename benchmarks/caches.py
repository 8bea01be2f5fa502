"""Cache policies on the built-in model: accuracy against how many tokens a cache keeps.

    python benchmarks/caches.py [--kept 40 28 16] [--per-task 40]

A row for each policy and number of tokens: exact match on held-out questions about pictures, in
percent, by groups of tasks as in `benchmarks/reducers.py`. Prompts have 50 tokens and more, 36 of
them a picture's; four more than are kept stay between two evictions. `h2o` looks at attention and
runs on an export made for it; `whole` lets the prompt attend to itself before any of it goes.
"""

from __future__ import annotations

import argparse
import atexit
import shutil
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from reducers import CHECKPOINT, FRESH, GROUPS, answers, percent, row

import triptych
from triptych.export import export_checkpoint
from triptych.models.sketch.accuracy import measure

KEPT = (40, 28, 16)
SINKS, RECENT, SLACK = 4, 8, 4
WHOLE = 128
"""More tokens than a prompt has."""


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Accuracy of cache policies.")
    parser.add_argument("--kept", nargs="+", type=int, default=KEPT)
    parser.add_argument("--per-task", type=int, default=40)
    given = parser.parse_args()
    row("policy", "kept", *GROUPS, "all")
    row(*["---"] * (3 + len(GROUPS)))
    row("`full`", "all", *accuracy("full", given.per_task))
    for kept in given.kept:
        for name, policy in policies(kept).items():
            row(name, str(kept), *accuracy(policy, given.per_task))
    print(f"\n{given.per_task} questions per task")


def policies(kept: int) -> dict[str, dict[str, Any]]:
    """Each policy with as many tokens to keep."""
    chosen = {"size": kept - SINKS - RECENT, "sinks": SINKS, "recent": RECENT, "slack": SLACK}
    return {
        "`window`": {"window": {"size": kept - SINKS, "sinks": SINKS, "slack": SLACK}},
        "`key_norm`": {"key_norm": chosen},
        "`h2o`": {"h2o": {**chosen, "slice": SLACK}},
        "`h2o`, whole": {"h2o": {**chosen, "slice": WHOLE}},
    }


def accuracy(policy: Any, per_task: int) -> list[str]:
    """Exact match in percent for each of GROUPS, and over all of their tasks."""
    tasks = [task for group in GROUPS.values() for task in group]
    pipe = triptych.load(exported(), overrides={"decoder.cache": policy, **FRESH})
    found = {one.task: one for one in measure(answers(pipe), per_task=per_task, tasks=tasks)}
    groups = [[found[task] for task in group] for group in GROUPS.values()]
    return [percent(scores) for scores in [*groups, list(found.values())]]


@cache
def exported() -> str:
    """An export of sketch's checkpoint that tells what is attended to."""
    out = Path(mkdtemp()) / "sketch"
    atexit.register(shutil.rmtree, out.parent)
    return str(export_checkpoint(CHECKPOINT, out, expose="attention:all"))


if __name__ == "__main__":
    main()
