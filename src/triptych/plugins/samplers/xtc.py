"""Now and then, not the obvious."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from pydantic import Field

from triptych.core.config import settings as core
from triptych.core.sampling import Candidates, Context


class XTC:
    """Exclude top choices, as llama.cpp has it (proposed by p-e-w, 2024).

    With the given probability, of the tokens at or above the threshold only the least likely
    stays (of equals the highest id), and with it all that are below. Each choice takes one number
    from the generation's generator.
    """

    class Settings(core.Settings):
        """probability: how often. threshold: from which probability a token counts as a top choice.

        Above 0.5 no two tokens can reach the threshold, so nothing would ever happen.
        """

        probability: float = Field(0.5, ge=0, le=1)
        threshold: float = Field(0.1, gt=0, le=0.5)

    keeps_winner = False
    draws = True
    neutral: ClassVar[Mapping[str, float]] = {"probability": 0.0}

    def __init__(self, settings: Settings) -> None:
        self.probability = settings.probability
        self.threshold = settings.threshold

    def __call__(self, candidates: Candidates, context: Context) -> Candidates:
        """All of them, or those after the top choices."""
        if context.rng.random() >= self.probability:
            return candidates
        top = np.flatnonzero(candidates.probabilities() >= self.threshold)
        if len(top) < 2:  # noqa: PLR2004 - one top choice has no other to make room for
            return candidates
        mask = np.ones(len(candidates), np.bool_)
        mask[top] = False
        # The last of the smallest: argmin finds the first one.
        mask[top[::-1][np.argmin(candidates.logits[top[::-1]])]] = True
        return candidates.keep(mask)
