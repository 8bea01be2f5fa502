"""How unsure a distribution is."""

from __future__ import annotations

import math

from triptych.core.sampling import Candidates


def entropy(candidates: Candidates) -> float:
    """The entropy of the candidates' softmax, in nats."""
    weights = candidates.weights()
    total = float(weights.sum())
    # With p = w / total and log w = logit - the largest: H = log total - sum(w log w) / total.
    depths = candidates.logits - candidates.logits.max()
    return math.log(total) - float(weights @ depths) / total
