"""The nucleus: the most likely tokens that together hold p of the probability."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from triptych.core.config import settings as core
from triptych.core.sampling import Candidates, Context
from triptych.core.sampling.candidates import Scores
from triptych.core.sampling.scratch import scratch

Places = npt.NDArray[np.intp]

_FEW = 256
"""So many are ranked by sorting them."""

_BIN_BITS = 12
"""Of the numbers of the bins that more are put into first."""

_MANY = 0.25
"""Share of likely tokens from which on it costs more to pick them out than to count all."""


class TopP:
    """Keeps the smallest set of most likely tokens that holds at least p (arXiv 1904.09751).

    A token stays when the tokens before it hold less than p, so the winner always does.
    As in transformers, except that of equal tokens at the edge the lowest ids stay
    (transformers keeps as many, of the highest ids), and that 1 keeps every token.
    """

    class Settings(core.Settings):
        """p: the probability to keep, above 0; 1 keeps every token."""

        p: float = Field(gt=0, le=1)

    keeps_winner = True
    neutral: ClassVar[Mapping[str, float]] = {"p": 1.0}

    def __init__(self, settings: Settings) -> None:
        self.p = settings.p

    def __call__(self, candidates: Candidates, context: Context) -> Candidates:
        """The nucleus."""
        if self.p == 1 or len(candidates) == 1:
            return candidates
        logits, size = candidates.logits, len(candidates)
        weights = candidates.weights(out=scratch("weights", size, np.float64))
        total = float(weights.sum())
        # The tokens no heavier than a given one weigh at most `len` times as much as it. Where
        # that fits into the 1 - p to leave out, it goes: few tokens of a peaked row stay.
        least = (1 - self.p) * total / size
        likely = weights > least
        if np.count_nonzero(likely) > size * _MANY:
            return candidates.at(_nucleus(logits, weights, self.p * total, least))
        places = np.flatnonzero(likely)
        return candidates.at(
            places[_nucleus(logits[places], weights[places], self.p * total, least)]
        )


def _nucleus(
    logits: Scores,
    weights: npt.NDArray[np.float64],
    enough: float,
    least: float,
    before: float = 0.0,
) -> Places:
    """Where the largest are, ascending, until `before` and their weights reach `enough`.

    least: those of no more weight are none of them. Only those in the bin in which the sum gets
    there are ranked, not the whole.
    """
    bins = _bins(weights, least) if weights.size > _FEW else None
    if bins is None:
        ranked = _ranked(logits)
        reached = before + np.cumsum(weights[ranked])
        return np.sort(ranked[: 1 + np.searchsorted(reached, enough)])
    mass = before + np.cumsum(np.bincount(bins, weights=weights))
    edge = min(int(np.searchsorted(mass, enough)), mass.size - 1)
    at_edge = np.flatnonzero(bins == edge)
    kept = bins < edge
    before = float(mass[edge - 1]) if edge else before
    # From here on the memory of `bins` is that of the ones within the edge.
    kept[at_edge[_nucleus(logits[at_edge], weights[at_edge], enough, least, before)]] = True
    return np.flatnonzero(kept)


def _bins(weights: npt.NDArray[np.float64], least: float) -> npt.NDArray[np.int64] | None:
    """The number of each one's bin, 0 for the heaviest; None when all weigh the same.

    The bits of floats that are not negative, read as integers, are ordered as the floats are; the
    leading ones of how far each is from the heaviest are its bin. Order between bins is order of
    weights, up to the last bin, which has all from `least` on.
    """
    bits = weights.view(np.int64)
    first, last = int(bits.max()), max(int(bits.min()), int(np.float64(least).view(np.int64)))
    if last >= first:
        return None
    depth: npt.NDArray[np.int64] = np.subtract(
        first, bits, out=scratch("bins", bits.size, np.int64)
    )
    np.minimum(depth, first - last, out=depth)
    depth >>= max((first - last).bit_length() - _BIN_BITS, 0)
    return depth


def _ranked(logits: Scores) -> Places:
    """Places from the largest to the smallest, equal ones in their order."""
    if logits.max() == logits.min():
        return np.arange(logits.size)
    return np.argsort(-logits, kind="stable")
