"""What the statistics say of an ablation, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from triptych.workbench.results import ScoreKind
from triptych.workbench.statistics.estimate import Estimate
from triptych.workbench.statistics.mcnemar import McNemar

Correction = Literal["holm", "bonferroni", "fdr_bh"]
"""Of p values for how many there are, by statsmodels' names."""


@dataclass(frozen=True)
class Method:
    """How the numbers were made.

    alpha: intervals are at 1 - alpha. power: of the smallest detectable effects. correction: of p
    values, within a family. resamples: of the bootstrap.
    """

    alpha: float
    power: float
    correction: Correction
    resamples: int


@dataclass(frozen=True)
class Spread:
    """Where a variance comes from (Miller, arXiv 2411.00640, section 3).

    between: of questions, had each been asked forever. within: of one draw around its question's
    mean; more seeds make this part smaller. None with one draw for each question.
    """

    between: float
    within: float | None


@dataclass(frozen=True)
class Level:
    """One arm's mean of one score. task: None for all questions."""

    arm: str
    score: ScoreKind
    task: str | None
    estimate: Estimate
    spread: Spread


@dataclass(frozen=True)
class Difference:
    """One arm less the base arm, on the draws of the questions that both answered.

    task: None for all questions. unpaired: questions left out, since one of the two has no score.
    differing: questions on which the two are not the same. p: that the true mean is zero.
    corrected: p for the number of comparisons in its family: the scores that measure the same
    (quality, time or memory), over all arms; the tasks' differences are families of their own.
    bootstrap, mcnemar: for all questions only; mcnemar for scores that are 0 or 1. smallest: the
    true difference that would be found with the method's power at its alpha, for this comparison
    alone; None where the spread is unknown or none.
    """

    arm: str
    score: ScoreKind
    task: str | None
    estimate: Estimate
    spread: Spread
    unpaired: int
    differing: int
    p: float | None
    corrected: float | None = None
    bootstrap: tuple[float, float] | None = None
    mcnemar: McNemar | None = None
    smallest: float | None = None

    @property
    def verdict(self) -> Literal["better", "worse", "same", "unsure"]:
        """``"same"``: no question differs. Else by `corrected`, at the 0.05 that is customary."""
        if not self.differing:
            return "same"
        if self.corrected is None or self.corrected > 0.05:  # noqa: PLR2004 - see the docstring
            return "unsure"
        gained = (self.estimate.mean > 0) != self.score.lower_is_better
        return "better" if gained else "worse"


@dataclass(frozen=True)
class Comparison:
    """All of it. base: the arm that the others are compared with.

    levels, differences: by score, then task (None first), then arm, in the order of the results.
    failures: runs with an error, by arm. runs: all of them, by arm.
    """

    base: str
    method: Method
    levels: tuple[Level, ...]
    differences: tuple[Difference, ...]
    runs: Mapping[str, int]
    failures: Mapping[str, int]

    def level(self, arm: str, score: str, task: str | None = None) -> Level | None:
        """That arm's mean; None where it has no such score."""
        return self._levels.get((arm, score, task))

    def difference(self, arm: str, score: str, task: str | None = None) -> Difference | None:
        """That arm's difference; None where there is none to tell, as for the base."""
        return self._differences.get((arm, score, task))

    @cached_property
    def _levels(self) -> dict[tuple[str, str, str | None], Level]:
        return {(one.arm, one.score.name, one.task): one for one in self.levels}

    @cached_property
    def _differences(self) -> dict[tuple[str, str, str | None], Difference]:
        return {(one.arm, one.score.name, one.task): one for one in self.differences}
