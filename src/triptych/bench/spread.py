"""Medians of repeated measurements, and between what bounds they lie."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

CONFIDENCE = 0.9
"""How sure an interval should at least be; of fewer than five values, none is."""


@dataclass(frozen=True)
class Spread:
    """Of n values: their median, the extremes, and an interval for the median they came from.

    The interval reaches from one order statistic to another, which holds for values of any
    distribution (Hettmansperger and Sheather, 1986): the median lies between the k-th smallest and
    the k-th largest of n independent values with probability 1 - 2 P(Binomial(n, 1/2) < k). It is
    the narrowest with at least `CONFIDENCE`, or the whole range. confidence: what it has.
    """

    median: float
    least: float
    most: float
    low: float
    high: float
    confidence: float
    count: int


def spread_of(values: Sequence[float]) -> Spread:
    """The spread of at least one value."""
    ordered = sorted(values)
    count = len(ordered)
    rank = 1
    while 2 * (rank + 1) <= count + 1 and confidence(count, rank + 1) >= CONFIDENCE:
        rank += 1
    return Spread(
        median(ordered),
        ordered[0],
        ordered[-1],
        ordered[rank - 1],
        ordered[count - rank],
        confidence(count, rank),
        count,
    )


def confidence(count: int, rank: int) -> float:
    """How likely the median lies between the `rank`-th smallest and largest of `count` values."""
    below = sum(math.comb(count, smaller) for smaller in range(rank)) / float(2**count)
    return max(0.0, 1 - 2 * below)
