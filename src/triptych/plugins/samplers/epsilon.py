"""A floor under every probability."""

from __future__ import annotations

from pydantic import Field

from triptych.core.config import settings as core
from triptych.core.sampling import Candidates, Context


class Epsilon:
    """Keeps the tokens that have at least the probability epsilon (arXiv 2210.15191).

    The winner and its equals always stay.
    """

    class Settings(core.Settings):
        """epsilon: a probability; the paper uses 0.0003 to 0.0009."""

        epsilon: float = Field(gt=0, lt=1)

    keeps_winner = True

    def __init__(self, settings: Settings) -> None:
        self.epsilon = settings.epsilon

    def __call__(self, candidates: Candidates, context: Context) -> Candidates:
        """Those above the floor."""
        # In units of the winner's probability, which are what `weights` has.
        weights = candidates.weights()
        return candidates.keep(weights >= min(1.0, self.epsilon * float(weights.sum())))
