"""Less of what was said already."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from pydantic import Field

from triptych.core.config import settings as core
from triptych.core.sampling import Candidates, Context
from triptych.plugins.samplers.places import places


class RepetitionPenalty:
    """Divides the positive logits of committed tokens by the penalty, multiplies negative ones.

    CTRL (arXiv 1909.05858). As in transformers the prompt counts, too, unless told otherwise.
    """

    class Settings(core.Settings):
        """penalty: 1 changes nothing, more makes repetition rarer. prompt: whether it counts."""

        penalty: float = Field(gt=0, allow_inf_nan=False)
        prompt: bool = True

    keeps_winner = False
    neutral: ClassVar[Mapping[str, float]] = {"penalty": 1.0}

    def __init__(self, settings: Settings) -> None:
        self.penalty = settings.penalty
        self.prompt = settings.prompt

    def __call__(self, candidates: Candidates, context: Context) -> Candidates:
        """The same tokens, those that were said with other logits."""
        said = np.unique(context.tokens if self.prompt else context.generated)
        at, _ = places(candidates, said)
        if self.penalty == 1 or not at.size:
            return candidates
        logits = candidates.logits.astype(np.float64)
        logits[at] = np.where(logits[at] < 0, logits[at] * self.penalty, logits[at] / self.penalty)
        return candidates.with_logits(logits)
