"""Intervals that assume no shape: whole clusters are drawn again, with replacement."""

from __future__ import annotations

import warnings

import numpy as np
from scipy.stats import DegenerateDataWarning, bootstrap

from triptych.workbench.statistics.estimate import Floats, Labels, cluster_sums

RESAMPLES = 4999
SEED = 20241101
"""Any number would do; one that stays makes a report come out the same again."""
BATCH = 500
"""Resamples at a time: 500 x 10,000 clusters are 80 MB."""


def bootstrap_interval(
    values: Floats, clusters: Labels, *, alpha: float, resamples: int = RESAMPLES
) -> tuple[float, float] | None:
    """Of the mean of values [n], at 1 - alpha: bias-corrected and accelerated (Efron 1987).

    The same for the same values. None with fewer than two clusters, or where too few of them
    differ for the method to say anything.
    """
    sums, counts = cluster_sums(values, clusters)
    if len(counts) < 2:  # noqa: PLR2004 - the fewest that have a spread
        return None
    if np.ptp(values) == 0:
        return float(values[0]), float(values[0])

    def mean(total: Floats, number: Floats, axis: int) -> Floats:
        return np.asarray(total.sum(axis=axis) / number.sum(axis=axis))

    with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):
        warnings.simplefilter("ignore", DegenerateDataWarning)
        found = bootstrap(
            (sums, counts.astype(np.float64)),
            mean,
            paired=True,
            vectorized=True,
            n_resamples=resamples,
            batch=BATCH,
            confidence_level=1 - alpha,
            method="BCa",
            rng=np.random.default_rng(SEED),
        ).confidence_interval
    low, high = float(found.low), float(found.high)
    return (low, high) if np.isfinite([low, high]).all() else None
