"""What a beam search is told."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from triptych.core.config import settings as core


class BeamSettings(core.Settings):
    """width: continuations in all, `groups` a divisor of it. See the class for the others.

    early_stopping: true ends as soon as `width` texts have ended; false, where the running ones
        score less than these now; "never", where they can never score more.
    """

    width: int = Field(default=4, ge=1)
    length_penalty: float = Field(default=1.0, allow_inf_nan=False)
    early_stopping: bool | Literal["never"] = False
    groups: int = Field(default=1, ge=1)
    diversity: float = Field(default=0.0, ge=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _whole_groups(self) -> Self:
        if self.width % self.groups:
            raise PydanticCustomError("groups", "width must be a multiple of groups")
        return self
