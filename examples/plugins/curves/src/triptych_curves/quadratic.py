"""Quadratic sampling: near ones come nearer, far ones go further."""

import numpy as np
from pydantic import Field

import triptych


class Quadratic:
    """A token d below the largest logit is moved to factor * d squared below it."""

    class Settings(triptych.Settings):
        """factor: above 0; tokens 1 / factor below the largest logit stay where they are."""

        factor: float = Field(gt=0, le=10)

    keeps_winner = True

    def __init__(self, settings):
        self.factor = settings.factor

    def __call__(self, candidates, context):
        """The same tokens with other logits, in float64: a square may be large."""
        logits = candidates.logits.astype(np.float64)
        top = logits.max()
        return candidates.with_logits(top - self.factor * (logits - top) ** 2)
