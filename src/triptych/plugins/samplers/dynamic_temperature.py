"""Cooler where the model is sure, warmer where it is not."""

from __future__ import annotations

import math
from typing import Self

import numpy as np
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from triptych.core.config import settings as core
from triptych.core.sampling import Candidates, Context
from triptych.plugins.samplers.entropy import entropy


class DynamicTemperature:
    """Entropy-based dynamic temperature, as llama.cpp has it (arXiv 2309.02772 has the idea).

    low + (high - low) * (H / log C) ** exponent, H the entropy of the C candidates.
    """

    class Settings(core.Settings):
        """low, high: temperatures of a certain and of a uniform row.

        exponent: of the way between; above 1 it stays low for longer.
        """

        low: float = Field(ge=0.01, allow_inf_nan=False)
        high: float = Field(ge=0.01, allow_inf_nan=False)
        exponent: float = Field(1.0, gt=0, allow_inf_nan=False)

        @model_validator(mode="after")
        def _in_order(self) -> Self:
            if self.low > self.high:
                raise PydanticCustomError("temperatures", "low is above high; swap them")
            return self

    keeps_winner = True

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def __call__(self, candidates: Candidates, context: Context) -> Candidates:
        """The same tokens, scaled."""
        if len(candidates) == 1:
            return candidates
        ours = self.settings
        share = max(0.0, entropy(candidates) / math.log(len(candidates)))
        temperature = ours.low + (ours.high - ours.low) * share**ours.exponent
        return candidates.with_logits(np.divide(candidates.logits, temperature, dtype=np.float64))
