"""A mean over questions with its standard error, where questions come in clusters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import t as student

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

ROUNDING = 1e-12
"""A standard error below this part of the values' size is rounding: they are all the same."""


@dataclass(frozen=True)
class Estimate:
    """A mean over questions.

    standard_error, low, high: None with fewer than two clusters, which say nothing of spread.
    items: questions behind it. clusters: independent groups of them.
    """

    mean: float
    standard_error: float | None
    low: float | None
    high: float | None
    items: int
    clusters: int


def estimate(values: Floats, clusters: Labels, *, alpha: float) -> Estimate:
    """The mean of values [n] and its interval at 1 - alpha; clusters [n] labels the values.

    Cluster-robust (Liang and Zeger 1986; Miller, arXiv 2411.00640, section 2.2), with the factor
    G / (G - 1) for G clusters (CR1) and quantiles of Student's t on G - 1 degrees of freedom. With
    one value per cluster that is the t interval of a mean.
    """
    mean = float(values.mean())
    groups = len(np.unique(clusters))
    if groups < 2:  # noqa: PLR2004 - the fewest that have a spread
        return Estimate(mean, None, None, None, len(values), groups)
    error = float(standard_error(values, clusters))
    if error <= ROUNDING * float(np.abs(values).max()):
        error = 0.0
    reach = error * float(student.ppf(1 - alpha / 2, groups - 1))
    return Estimate(mean, error, mean - reach, mean + reach, len(values), groups)


def standard_error(values: Floats, clusters: Labels) -> Floats:
    """Of the means of values [..., n] over the last axis, cluster-robust: [...]."""
    residuals = values - values.mean(axis=-1, keepdims=True)
    sums, counts = cluster_sums(residuals, clusters)
    groups = len(counts)
    variance = (sums**2).sum(axis=-1) * groups / (groups - 1) / values.shape[-1] ** 2
    return np.asarray(np.sqrt(variance), dtype=np.float64)


def cluster_sums(values: Floats, clusters: Labels) -> tuple[Floats, Labels]:
    """Sums of values [..., n] by cluster, [..., G], and how many values each has, [G]."""
    order = np.argsort(clusters, kind="stable")
    _, starts, counts = np.unique(clusters[order], return_index=True, return_counts=True)
    return np.add.reduceat(values[..., order], starts, axis=-1), counts.astype(np.int64)


def p_value(found: Estimate) -> float | None:
    """That the true mean is zero, two-sided; None where the spread is unknown.

    Where all clusters agree to the last digit, t has no scale: the sign test by clusters, which
    asks only how likely it is that all point the same way, stands in.
    """
    if found.standard_error is None:
        return None
    if found.standard_error == 0:
        return 1.0 if found.mean == 0 else 2.0 ** (1 - found.clusters)
    statistic = abs(found.mean) / found.standard_error
    return float(2 * student.sf(statistic, found.clusters - 1))
