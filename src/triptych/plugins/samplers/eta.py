"""A floor under every probability that sinks where the model is unsure."""

from __future__ import annotations

import math

from pydantic import Field

from triptych.core.config import settings as core
from triptych.core.sampling import Candidates, Context
from triptych.plugins.samplers.entropy import entropy


class Eta:
    """Keeps the tokens that have at least min(epsilon, sqrt(epsilon) exp(-entropy)).

    Eta sampling (arXiv 2210.15191). The winner and its equals always stay.
    """

    class Settings(core.Settings):
        """epsilon: a probability; the paper uses 0.0003 to 0.004."""

        epsilon: float = Field(gt=0, lt=1)

    keeps_winner = True

    def __init__(self, settings: Settings) -> None:
        self.epsilon = settings.epsilon

    def __call__(self, candidates: Candidates, context: Context) -> Candidates:
        """Those above the floor."""
        unsure = math.sqrt(self.epsilon) * math.exp(-entropy(candidates))
        weights = candidates.weights()
        floor = min(self.epsilon, unsure) * float(weights.sum())
        return candidates.keep(weights >= min(1.0, floor))
