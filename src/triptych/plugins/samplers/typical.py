"""Tokens that surprise as much as one expects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from pydantic import Field

from triptych.core.config import settings as core
from triptych.core.sampling import Candidates, Context, log_softmax
from triptych.plugins.samplers.entropy import entropy


class Typical:
    """Locally typical sampling (arXiv 2202.00666).

    Keeps the tokens whose surprise, -log p, is nearest to the entropy, until they hold `mass` of
    the probability. Tokens as near as the last one stay, too. The winner may go.
    """

    class Settings(core.Settings):
        """mass: the probability to keep, above 0; 1 keeps every token."""

        mass: float = Field(gt=0, le=1)

    keeps_winner = False
    neutral: ClassVar[Mapping[str, float]] = {"mass": 1.0}

    def __init__(self, settings: Settings) -> None:
        self.mass = settings.mass

    def __call__(self, candidates: Candidates, context: Context) -> Candidates:
        """The typical ones."""
        if self.mass == 1:
            return candidates
        probabilities = candidates.probabilities()
        surprise = -log_softmax(candidates.logits)
        distance = np.abs(surprise - entropy(candidates))
        order = np.argsort(distance, kind="stable")
        held = np.cumsum(probabilities[order])
        last = min(int(np.searchsorted(held, self.mass)), len(order) - 1)
        return candidates.keep(distance <= distance[order[last]])
