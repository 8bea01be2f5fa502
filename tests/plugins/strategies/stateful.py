"""Warps that carry state from token to token, so that a wrong commit shows in what follows."""

import numpy as np


class RepetitionPenalty:
    """Divides positive and multiplies negative logits of committed tokens (arXiv 1909.05858)."""

    keeps_winner = False

    def __init__(self, penalty):
        self.penalty = penalty

    def __call__(self, candidates, context):
        seen = np.isin(candidates.ids, context.tokens)
        logits = candidates.logits.astype(np.float64)
        worse = np.where(logits > 0, logits / self.penalty, logits * self.penalty)
        return candidates.with_logits(np.where(seen, worse, logits))


class Mirostat:
    """Keeps tokens no more surprising than a bound that follows what was drawn.

    Source: mirostat 2.0, arXiv 2007.14966, algorithm 2.
    """

    keeps_winner = True

    def __init__(self, surprise, rate):
        self.surprise, self.rate = surprise, rate
        self.bound = 2 * surprise

    def __call__(self, candidates, context):
        bits = -np.log2(candidates.probabilities())
        return candidates.keep(bits <= max(self.bound, bits.min()))

    def accept(self, token, candidates):
        bits = -np.log2(candidates.probabilities()[candidates.ids == token][0])
        self.bound -= self.rate * (bits - self.surprise)


class Alternates:
    """Bans odd and even ids in turn, as a grammar would: position by position."""

    keeps_winner = False

    def __init__(self):
        self.count = 0

    def __call__(self, candidates, context):
        return candidates.keep(candidates.ids % 2 == self.count % 2)

    def accept(self, token, candidates):
        self.count += 1
