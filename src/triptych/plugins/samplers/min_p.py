"""A floor that follows the winner."""

from __future__ import annotations

import math

from pydantic import Field

from triptych.core.config import settings as core
from triptych.core.sampling import Candidates, Context


class MinP:
    """Keeps the tokens with at least p times the winner's probability (arXiv 2407.01082)."""

    class Settings(core.Settings):
        """p: a share of the winner's probability, above 0; 1 keeps the winner and its equals."""

        p: float = Field(gt=0, le=1)

    keeps_winner = True

    def __init__(self, settings: Settings) -> None:
        self.floor = math.log(settings.p)

    def __call__(self, candidates: Candidates, context: Context) -> Candidates:
        """Those above the floor."""
        logits = candidates.logits
        return candidates.keep(logits >= float(logits.max()) + self.floor)
