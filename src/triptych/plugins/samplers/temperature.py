"""Sharper or flatter distributions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from triptych.core.config import settings as core
from triptych.core.sampling import Candidates, Context

_COLDEST = 1e-100
"""Dividing float32 logits by less would overflow float64; this is the limit already."""


class Temperature:
    """Divides the logits by the temperature, in float64. 1 changes nothing."""

    class Settings(core.Settings):
        """temperature: above 0; below 1 sharper, above 1 flatter."""

        temperature: float = Field(gt=0, allow_inf_nan=False)

        @field_validator("temperature", mode="before")
        @classmethod
        def _zero_is_greedy(cls, value: Any) -> Any:
            if type(value) in (int, float) and value == 0:
                raise PydanticCustomError(
                    "temperature_zero",
                    "a temperature of 0 means the most likely token: "
                    "write `greedy` instead of `temperature` and `draw`",
                )
            return value

    keeps_winner = True
    neutral: ClassVar[Mapping[str, float]] = {"temperature": 1.0}

    def __init__(self, settings: Settings) -> None:
        self.temperature = max(settings.temperature, _COLDEST)

    def __call__(self, candidates: Candidates, context: Context) -> Candidates:
        """The same tokens, scaled."""
        if self.temperature == 1:
            return candidates
        return candidates.with_logits(
            np.divide(candidates.logits, self.temperature, dtype=np.float64)
        )
