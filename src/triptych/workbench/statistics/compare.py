"""Every arm of an ablation beside its base arm."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from statsmodels.stats.multitest import multipletests

from triptych.workbench.results import Results, ScoreKind
from triptych.workbench.statistics.bootstrap import RESAMPLES, bootstrap_interval
from triptych.workbench.statistics.comparison import (
    Comparison,
    Correction,
    Difference,
    Level,
    Method,
    Spread,
)
from triptych.workbench.statistics.draws import clusters_of, scores_of, tasks_of
from triptych.workbench.statistics.estimate import Floats, Labels, estimate, p_value
from triptych.workbench.statistics.mcnemar import mcnemar_of
from triptych.workbench.statistics.power import ALPHA, POWER, detectable
from triptych.workbench.statistics.proportion import bounded

Mask = npt.NDArray[np.bool_]


def compare(
    results: Results,
    *,
    alpha: float = ALPHA,
    power: float = POWER,
    correction: Correction = "holm",
    resamples: int = RESAMPLES,
) -> Comparison:
    """All arms, all scores, all tasks; the same results give the same comparison, to the bit.

    A sweep that is not finished is compared on what is there.
    """
    method = Method(alpha, power, correction, resamples)
    levels, differences = list[Level](), list[Difference]()
    for score in results.scores:
        found = _Score(results, score, method)
        levels += found.levels()
        differences += found.differences()
    return Comparison(
        base=results.arms[0].name,
        method=method,
        levels=tuple(levels),
        differences=tuple(_corrected(differences, method)),
        runs=Counter(run.arm for run in results.runs),
        failures=Counter(run.arm for run in results.runs if run.error is not None),
    )


class _Score:
    """One score of all arms."""

    def __init__(self, results: Results, score: ScoreKind, method: Method) -> None:
        self.score = score
        self.method = method
        self.arms = [arm.name for arm in results.arms]
        self.values = scores_of(results, score.name)
        self.binary = bool(np.isin(self.values[np.isfinite(self.values)], (0.0, 1.0)).all())
        self.clusters = clusters_of(results.questions)
        if score.measures == "memory":
            # All answers of an arm come from one process, whose memory is a single draw.
            self.clusters = np.zeros_like(self.clusters)
        tasks = np.array([question.task or "" for question in results.questions])
        self.parts: dict[str | None, Mask] = {None: np.ones(len(tasks), np.bool_)}
        self.parts |= {task: tasks == task for task in tasks_of(results.questions)}

    def levels(self) -> Iterator[Level]:
        for task, part in self.parts.items():
            for arm, given in zip(self.arms, self.values, strict=True):
                values, clusters = _answered(given[part], self.clusters[part])
                if not len(values):
                    continue
                found = estimate(np.nanmean(values, axis=1), clusters, alpha=self.method.alpha)
                if self.binary:
                    drawn = int(np.isfinite(values).sum())
                    found = bounded(found, drawn, alpha=self.method.alpha)
                yield Level(arm, self.score, task, found, _spread(values))

    def differences(self) -> Iterator[Difference]:
        for task, part in self.parts.items():
            for arm, values in zip(self.arms[1:], self.values[1:], strict=True):
                paired = values[part] - self.values[0][part]
                differences, clusters = _answered(paired, self.clusters[part])
                if len(differences):
                    unpaired = len(paired) - len(differences)
                    yield self._difference(arm, task, differences, clusters, unpaired)

    def _difference(
        self, arm: str, task: str | None, differences: Floats, clusters: Labels, unpaired: int
    ) -> Difference:
        method = self.method
        means = np.nanmean(differences, axis=1)
        found = estimate(means, clusters, alpha=method.alpha)
        result = Difference(
            arm=arm,
            score=self.score,
            task=task,
            estimate=found,
            spread=_spread(differences),
            unpaired=unpaired,
            differing=int((np.nan_to_num(differences) != 0).any(axis=1).sum()),
            p=p_value(found),
        )
        if found.standard_error:
            smallest = detectable(
                found.standard_error, found.clusters, alpha=method.alpha, power=method.power
            )
            result = replace(result, smallest=smallest)
        if task is not None:
            return result
        return replace(
            result,
            bootstrap=bootstrap_interval(
                means, clusters, alpha=method.alpha, resamples=method.resamples
            ),
            mcnemar=mcnemar_of(differences, clusters) if self.binary else None,
        )


def _answered(values: Floats, clusters: Labels) -> tuple[Floats, Labels]:
    """The questions, of values [n, draws], that have at least one."""
    there = np.isfinite(values).any(axis=1)
    return values[there], clusters[there]


def _spread(values: Floats) -> Spread:
    """Of values [n, draws]: each question's draws are a sample of what it would give."""
    drawn = np.isfinite(values).sum(axis=1)
    means = np.nanmean(values, axis=1)
    total = float(means.var(ddof=1)) if len(means) > 1 else 0.0
    several = drawn > 1
    if not several.any():
        return Spread(total, None)
    within = float(np.nanvar(values[several], axis=1, ddof=1).mean())
    return Spread(max(0.0, total - within * float((1 / drawn).mean())), within)


def _corrected(differences: list[Difference], method: Method) -> list[Difference]:
    """With p values corrected within each family."""
    families = defaultdict[tuple[str, bool], list[int]](list)
    for index, difference in enumerate(differences):
        if difference.p is not None:
            families[difference.score.measures, difference.task is None].append(index)
    result = list(differences)
    for family in families.values():
        raw = [differences[index].p for index in family]
        corrected = multipletests(raw, alpha=method.alpha, method=method.correction)[1]
        for index, p in zip(family, corrected, strict=True):
            result[index] = replace(result[index], corrected=float(p))
    return result
