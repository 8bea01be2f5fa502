"""McNemar's test: of the questions that two arms answered differently, who got more right?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import chi2
from statsmodels.stats.contingency_tables import mcnemar

from triptych.workbench.statistics.estimate import Floats, Labels, cluster_sums


@dataclass(frozen=True)
class McNemar:
    """wins, losses: answers that are right where the base's is wrong, and the other way round.

    variant: ``"exact"`` counts every question by itself; ``"clustered"`` is Obuchowski's.
    """

    wins: int
    losses: int
    p: float
    variant: Literal["exact", "clustered"]


def mcnemar_of(differences: Floats, clusters: Labels) -> McNemar | None:
    """differences: [n, draws] of 0/1 scores, so -1, 0 or 1, with NaN where there is no pair.

    With one draw for each question and one question in each cluster: exact, by the binomial
    distribution (statsmodels). Else draws are averaged within their question and the statistic is
    that of Obuchowski (Statistics in Medicine 17, 1998), which allows answers of one cluster to
    be alike: (sum of d)^2 / (G / (G - 1) sum of d^2) with d summed by cluster, as chi-squared with
    one degree of freedom. None where that has fewer than two clusters.
    """
    wins, losses = int((differences == 1).sum()), int((differences == -1).sum())
    drawn = np.isfinite(differences).sum(axis=1)
    sums, counts = cluster_sums(np.nanmean(differences, axis=1), clusters)
    if drawn.max() == 1 and counts.max() == 1:
        table = [[0, wins], [losses, 0]]
        return McNemar(wins, losses, float(mcnemar(table, exact=True).pvalue), "exact")
    groups = len(counts)
    if groups < 2:  # noqa: PLR2004 - the fewest that have a spread
        return None
    squares = float((sums**2).sum()) * groups / (groups - 1)
    p = float(chi2.sf(float(sums.sum()) ** 2 / squares, 1)) if squares else 1.0
    return McNemar(wins, losses, p, "clustered")
