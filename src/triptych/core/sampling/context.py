"""What a sampling step may know besides the candidates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False, slots=True)
class Context:
    """The generation so far, from the view of one choice.

    tokens: int64 [T], the committed tokens: the prompt and what was accepted since. Drafted
        tokens are not among them. Read-only, and valid during the call only.
    prompt_length: how many of them are the prompt.
    rng: the generation's own random generator; steps use no other.
    needs: a row of each port that a component declared in its `needs`, by the port's name: of
        `hidden.3` [H], of `attention.3` [heads, total]. They belong to the token whose logits
        the candidates are.
    """

    tokens: npt.NDArray[np.int64]
    prompt_length: int
    rng: np.random.Generator
    needs: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)

    @property
    def generated(self) -> npt.NDArray[np.int64]:
        """int64: the committed tokens after the prompt."""
        return self.tokens[self.prompt_length :]
