"""The smallest effect that a set of questions can be expected to show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence

from scipy.optimize import brentq
from scipy.stats import nct
from scipy.stats import t as student

ALPHA = 0.05
POWER = 0.8

BETWEEN = 1 / 9
"""Variance between questions of the difference of two arms' chances to be right, where nothing is
measured yet: Miller's example (arXiv 2411.00640, section 5)."""
WITHIN = 1 / 6
"""Variance of one drawn 0/1 answer around its chance: the mean of x (1 - x) over all chances."""
ALIKE = 0.3
"""Correlation of differences within a cluster, where nothing is measured yet."""


def smallest_effect(
    clusters: Sequence[Hashable],
    *,
    draws: int = 1,
    between: float = BETWEEN,
    within: float = 0.0,
    alike: float = ALIKE,
    comparisons: int = 1,
    alpha: float = ALPHA,
    power: float = POWER,
) -> float | None:
    """The true mean difference that a test at `alpha` finds with a chance of `power`.

    clusters: one label for each question; questions with the same one hang together.
    draws: answers to each question by each arm, seeds times repeats.
    between: variance between questions of the paired difference (scores of 0 to 1: BETWEEN is a
        guess). within: variance of one paired difference around its question's: 0 for arms that
        leave nothing to chance, 2 * WITHIN where both arms sample. alike: correlation within a
        cluster. comparisons: arms that are compared, each at alpha / comparisons (the strictest
        step of Holm).
    Returns None with fewer than two clusters.

    The variance of the mean is (between + within / draws) / questions (Miller, section 5), times
    1 + (m - 1) alike for clusters of m (Kish 1965; m weighs each question the same).
    """
    sizes = list(Counter(clusters).values())
    items = sum(sizes)
    if len(sizes) < 2:  # noqa: PLR2004 - the fewest that have a spread
        return None
    mates = sum(size * size for size in sizes) / items
    variance = (between + within / draws) / items * (1 + (mates - 1) * alike)
    return detectable(variance**0.5, len(sizes), alpha=alpha / comparisons, power=power)


def detectable(error: float, clusters: int, *, alpha: float, power: float) -> float:
    """The same from a known standard error: where the noncentral t has `power` beyond the limit."""
    freedom = clusters - 1
    limit = float(student.ppf(1 - alpha / 2, freedom))

    def lacks(shift: float) -> float:
        # The other tail is beyond what doubles can tell from nothing.
        return float(nct.sf(limit, freedom, shift)) - power

    enough = limit
    while lacks(enough) < 0:
        enough += 1 + limit / 2
    return error * float(brentq(lacks, 0.0, enough))
