"""The nucleus: the most likely tokens that together hold p of the probability."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from pydantic import Field

from triptych.core import settings as core
from triptych.core.sampling import Candidates, Context
from triptych.core.sampling.candidates import Mask

_TOKENS_PER_BIN = 16
_MOST_BINS = 4096
_DEEPEST = 60.0
"""In nats below the winner: exp(-60) of its weight cannot be seen in a float64 sum."""

_NARROWEST = 1e-30
"""In nats from first to last: logits that are equal, or as good as that, share a bin."""


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

    def __init__(self, settings: Settings) -> None:
        self.p = settings.p

    def __call__(self, candidates: Candidates, context: Context) -> Candidates:
        """The nucleus."""
        if self.p == 1 or len(candidates) == 1:
            return candidates
        weights = candidates.weights()
        total = weights.sum()
        # The tokens no heavier than a given one weigh at most `len` times as much as it. Where
        # that fits into the 1 - p to leave out, it goes: few tokens of a peaked row stay.
        likely = candidates.keep(weights > (1 - self.p) * total / len(candidates))
        return likely.keep(_nucleus(likely, self.p * total))


def _nucleus(candidates: Candidates, enough: float) -> Mask:
    """The largest, as bool [C], until their `weights()` reach `enough`.

    Only the bin in which the sum gets there is sorted, not the whole.
    """
    weights = candidates.weights()
    bins, count = _bins(candidates.logits)
    mass = np.cumsum(np.bincount(bins, weights=weights, minlength=count))
    edge = min(int(np.searchsorted(mass, enough)), count - 1)
    kept: Mask = bins < edge
    at_edge = np.flatnonzero(bins == edge)
    ranked = at_edge[np.argsort(-candidates.logits[at_edge], kind="stable")]
    reached = np.cumsum(weights[ranked])
    if edge:
        reached += mass[edge - 1]
    kept[ranked[: 1 + np.searchsorted(reached, enough)]] = True
    return kept


def _bins(logits: npt.NDArray[np.floating]) -> tuple[npt.NDArray[np.intp], int]:
    """A bin per candidate, 0 for the largest logits, and how many bins there are.

    Order between bins is order of logits. Few candidates are one bin.
    """
    count = min(max(logits.size // _TOKENS_PER_BIN, 1), _MOST_BINS)
    if count == 1:
        return np.zeros(logits.size, dtype=np.intp), 1
    depth = np.subtract(logits.max(), logits, dtype=np.float64)
    span = min(float(depth.max()), _DEEPEST)
    depth *= count / max(span, _NARROWEST)
    np.minimum(depth, count - 1, out=depth)
    return depth.astype(np.intp), count
