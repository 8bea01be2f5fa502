"""The questions on which an arm and the base differ most, with what both said."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from triptych.workbench.results import Question, Results, Run, ScoreKind
from triptych.workbench.statistics.draws import scores_of

SHOWN = 10
"""Of the worst and of the best, for each arm."""


@dataclass(frozen=True)
class Example:
    """One question, and both answers of the draw on which they differ most.

    change: of the mean over all draws, arm less base.
    """

    question: Question
    change: float
    base: Run
    arm: Run


@dataclass(frozen=True)
class Examples:
    """Of one arm. worst, best: the largest changes first. hidden: differing, but not among them."""

    arm: str
    worst: tuple[Example, ...]
    best: tuple[Example, ...]
    hidden: int

    @property
    def total(self) -> int:
        """Questions on which the arm and the base have different scores."""
        return len(self.worst) + len(self.best) + self.hidden


def examples_of(results: Results, score: ScoreKind, *, shown: int = SHOWN) -> list[Examples]:
    """For each arm but the base, in their order; arms that differ nowhere are left out."""
    values = scores_of(results, score.name)
    runs = {(run.arm, run.item, run.seed, run.repeat): run for run in results.runs}
    draws = sorted({(run.seed, run.repeat) for run in results.runs})
    gain = -1 if score.lower_is_better else 1
    found = list[Examples]()
    for number, arm in enumerate(results.arms[1:], 1):
        differences = values[number] - values[0]
        changes = {
            item: float(np.nanmean(row))
            for item, row in enumerate(differences)
            if np.isfinite(row).any()
        }
        ranked = sorted(
            (item for item, change in changes.items() if change),
            key=lambda item: (gain * changes[item], item),
        )
        worst = [item for item in ranked if gain * changes[item] < 0]
        best = [item for item in reversed(ranked) if gain * changes[item] > 0]

        def told(items: Iterable[int]) -> tuple[Example, ...]:
            return tuple(
                _example(results, runs, draws, item, changes[item], differences[item], arm.name)  # noqa: B023
                for item in items
            )

        if ranked:
            hidden = len(ranked) - len(worst[:shown]) - len(best[:shown])
            found.append(Examples(arm.name, told(worst[:shown]), told(best[:shown]), hidden))
    return found


def _example(
    results: Results,
    runs: Mapping[tuple[str, str, int, int], Run],
    draws: list[tuple[int, int]],
    item: int,
    change: float,
    differences: np.ndarray[tuple[int], np.dtype[np.float64]],
    arm: str,
) -> Example:
    question = results.questions[item]
    draw = draws[int(np.nanargmax(differences * np.sign(change)))]
    base = results.arms[0].name
    return Example(question, change, runs[base, question.id, *draw], runs[arm, question.id, *draw])
