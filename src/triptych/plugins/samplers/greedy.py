"""The most likely token."""

from __future__ import annotations

import numpy as np

from triptych.core.sampling import Candidates, Context
from triptych.core.sampling.candidates import Scores


class Greedy:
    """Chooses the largest logit, the lowest id among equals. Draws nothing."""

    draws = False

    def pick(self, row: Scores) -> int:
        """The same of a whole row."""
        return int(row.argmax())

    def __call__(self, candidates: Candidates, context: Context) -> int:
        """The id of the winner."""
        return int(candidates.ids[np.argmax(candidates.logits)])
