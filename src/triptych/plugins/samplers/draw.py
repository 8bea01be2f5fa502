"""A token at random, by probability."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from triptych.core.sampling import Candidates, Context
from triptych.core.sampling.scratch import scratch

_BLOCK = 512
"""Tokens per block: a square root of the vocabulary, so both sums are short."""


class Draw:
    """Chooses token i with probability softmax(logits)[i], by inversion in float64.

    Every choice takes exactly one uniform number from the generation's generator, even
    among one candidate, so that runs with one seed stay comparable token by token.
    """

    draws = True

    def __call__(self, candidates: Candidates, context: Context) -> int:
        """The id of the token drawn."""
        weights = candidates.weights(out=scratch("weights", len(candidates), np.float64))
        # First a block, then a token of it: a running sum over the vocabulary is slow.
        blocks = np.add.reduceat(weights, np.arange(0, weights.size, _BLOCK))
        block, rest = _invert(blocks, context.rng.random() * blocks.sum())
        start = block * _BLOCK
        place, _ = _invert(weights[start : start + _BLOCK], rest)
        return int(candidates.ids[start + place])


def _invert(weights: npt.NDArray[np.float64], aim: float) -> tuple[int, float]:
    """Where the running sum of `weights` passes `aim`, and how far before the sum was.

    Never a weight of 0, which is what underflow makes of tokens that cannot be drawn.
    """
    reached = np.cumsum(weights)
    place = int(np.searchsorted(reached, aim, side="right"))
    # Rounding may put the aim at the total or past it; the first to reach that has weight.
    place = min(place, int(np.searchsorted(reached, reached[-1])))
    return place, aim - float(reached[place - 1]) if place else aim
