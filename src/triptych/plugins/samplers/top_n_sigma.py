"""A floor so many standard deviations below the winner."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from triptych.core.config import settings as core
from triptych.core.sampling import Candidates, Context


class TopNSigma:
    """Keeps the logits within n standard deviations of the largest (arXiv 2411.07641).

    The deviation is that of the candidates' own logits, over their count. A temperature changes
    nothing about who stays.
    """

    class Settings(core.Settings):
        """n: standard deviations, above 0; the paper uses 1."""

        n: float = Field(gt=0, allow_inf_nan=False)

    keeps_winner = True

    def __init__(self, settings: Settings) -> None:
        self.n = settings.n

    def __call__(self, candidates: Candidates, context: Context) -> Candidates:
        """Those above the floor."""
        logits = candidates.logits
        floor = float(logits.max()) - self.n * float(np.std(logits, dtype=np.float64))
        return candidates.keep(logits >= floor)
