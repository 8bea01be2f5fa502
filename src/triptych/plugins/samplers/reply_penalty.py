"""Penalties that are taken from the logits of tokens which the reply has already."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from triptych.core.config import settings as core
from triptych.core.sampling import Candidates, Context
from triptych.plugins.samplers.places import places


class FrequencyPenalty:
    """Takes the penalty as often as the reply has the token (OpenAI's frequency_penalty).

    Tokens of the prompt do not count.
    """

    class Settings(core.Settings):
        """penalty: 0 changes nothing; less than 0 makes repetition likelier."""

        penalty: float = Field(allow_inf_nan=False)

    keeps_winner = False
    neutral: ClassVar[Mapping[str, float]] = {"penalty": 0.0}

    def __init__(self, settings: Settings) -> None:
        self.penalty = settings.penalty

    def __call__(self, candidates: Candidates, context: Context) -> Candidates:
        """The same tokens, those that were said with other logits."""
        said, counts = np.unique(context.generated, return_counts=True)
        at, which = places(candidates, said)
        if self.penalty == 0 or not at.size:
            return candidates
        logits = candidates.logits.astype(np.float64)
        logits[at] -= self.penalty * self._times(counts[which])
        return candidates.with_logits(logits)

    def _times(self, counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """How often the penalty is taken from tokens that were said so often."""
        return counts


class PresencePenalty(FrequencyPenalty):
    """Takes the penalty once from each token that the reply has (OpenAI's presence_penalty)."""

    def _times(self, counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        return np.ones_like(counts)
