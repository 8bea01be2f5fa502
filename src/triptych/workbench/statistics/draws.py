"""Scores as arrays: arms by questions by draws."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from triptych.core.errors import TriptychError
from triptych.workbench.results import Question, Results
from triptych.workbench.statistics.estimate import Floats, Labels


class UnknownArm(TriptychError):
    """No arm has that name."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__(f"no arm is called {name!r}; there are {', '.join(map(repr, known))}")


def scores_of(results: Results, score: str) -> Floats:
    """[arms, questions, draws], in the results' order, draws by seed and repeat.

    NaN where there is no such run, where it failed, or where its score is not a finite number.
    """
    arms = {arm.name: index for index, arm in enumerate(results.arms)}
    items = {question.id: index for index, question in enumerate(results.questions)}
    drawn = sorted({(run.seed, run.repeat) for run in results.runs})
    draws = {draw: index for index, draw in enumerate(drawn)}
    values = np.full((len(arms), len(items), len(draws)), np.nan)
    for run in results.runs:
        value = run.scores.get(score, np.nan)
        if np.isfinite(value):
            values[arms[run.arm], items[run.item], draws[run.seed, run.repeat]] = value
    return values


def based_on(results: Results, arm: str) -> Results:
    """The same results with another base, for two arms that are to be compared directly.

    Raises UnknownArm.
    """
    chosen = [one for one in results.arms if one.name == arm]
    if not chosen:
        raise UnknownArm(arm, [one.name for one in results.arms])
    others = [one for one in results.arms if one.name != arm]
    return replace(results, arms=(*chosen, *others))


def clusters_of(questions: Iterable[Question]) -> Labels:
    """A number for each question [n], the same for those of one cluster."""
    numbers: dict[tuple[str, str], int] = {}
    return np.array([numbers.setdefault(cluster_of(q), len(numbers)) for q in questions], np.int64)


def cluster_of(question: Question) -> tuple[str, str]:
    """The question's cluster; one of its own where it names none."""
    return ("item", question.id) if question.cluster is None else ("cluster", question.cluster)


def tasks_of(questions: Iterable[Question]) -> list[str]:
    """The tasks there are, in the order of the data."""
    return list(dict.fromkeys(q.task for q in questions if q.task is not None))
