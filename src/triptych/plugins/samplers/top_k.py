"""The k most likely tokens."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from triptych.core.config import settings as core
from triptych.core.sampling import Candidates, Context

_BLOCK = 64
"""Tokens per block of the first sieve: their maxima are few, and found in one pass."""


class TopK:
    """Keeps the k largest logits (Fan et al., arXiv 1805.04833).

    As in transformers, tokens that equal the k-th largest all stay, so more than k may.
    """

    class Settings(core.Settings):
        """k: how many tokens stay, at least 1; more than there are keeps all."""

        k: int = Field(ge=1)

    keeps_winner = True

    def __init__(self, settings: Settings) -> None:
        self.k = settings.k

    def __call__(self, candidates: Candidates, context: Context) -> Candidates:
        """The k largest and their equals."""
        sieved = _sieve(candidates, self.k)
        if len(sieved) <= self.k:
            return sieved
        place = len(sieved) - self.k
        return sieved.keep(sieved.logits >= np.partition(sieved.logits, place)[place])


def _sieve(candidates: Candidates, k: int) -> Candidates:
    """Fewer candidates with the same k largest, where one pass can tell.

    k blocks have a maximum that is no less than the k-th largest of all the maxima, so no
    fewer than k tokens reach that value, and whoever does not is not among the k largest.
    """
    blocks = len(candidates) // _BLOCK
    if 2 * k > blocks:
        return candidates
    logits = candidates.logits
    # A block is a column: maxima along the rows go at the speed of memory.
    maxima = logits[: blocks * _BLOCK].reshape(_BLOCK, blocks).max(axis=0)
    return candidates.keep(logits >= np.partition(maxima, blocks - k)[blocks - k])
