"""As many likely tokens as hold a share of the entropy."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from triptych.core.config import settings as core
from triptych.core.sampling import Candidates, Context, log_softmax


class TopH:
    """Top-H decoding (arXiv 2509.02510), as transformers has it.

    Of the `among` most likely tokens, as a distribution of their own, keeps the likeliest whose
    terms -p log p add up to h times the entropy at the most. The winner always stays.
    """

    class Settings(core.Settings):
        """h: the share of the entropy. among: how many tokens are looked at."""

        h: float = Field(gt=0, le=1)
        among: int = Field(100, ge=1)

    keeps_winner = True

    def __init__(self, settings: Settings) -> None:
        self.h = settings.h
        self.among = settings.among

    def __call__(self, candidates: Candidates, context: Context) -> Candidates:
        """The likeliest."""
        # Stable, so that of equals the lowest ids come first.
        order = np.argsort(-candidates.logits, kind="stable")[: self.among]
        logs = log_softmax(candidates.logits[order])
        terms = -np.exp(logs) * logs
        kept = np.cumsum(terms) <= self.h * terms.sum()
        kept[0] = True
        mask = np.zeros(len(candidates), np.bool_)
        mask[order[kept]] = True
        return candidates.keep(mask)
