"""The interval of a share of right answers, which never leaves 0 to 1."""

from __future__ import annotations

from dataclasses import replace

from statsmodels.stats.proportion import proportion_confint

from triptych.workbench.statistics.estimate import Estimate


def bounded(found: Estimate, draws: int, *, alpha: float) -> Estimate:
    """Wilson's interval at the effective sample size (Korn and Graubard 1998; statsmodels).

    draws: 0/1 answers behind the mean. The effective size is the number of independent answers
    that would have the same standard error, at most `draws`; the number of clusters where nothing
    varies, so that twenty right answers of twenty do not claim to be certain.
    """
    share = found.mean
    if found.standard_error is None:
        return found
    if found.standard_error == 0:
        size = float(found.clusters)
    else:
        size = min(share * (1 - share) / found.standard_error**2, float(draws))
    low, high = proportion_confint(share * size, size, alpha=alpha, method="wilson")
    return replace(found, low=float(low), high=float(high))
