"""A constant rate of surprise."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from pydantic import Field

from triptych.core.config import settings as core
from triptych.core.sampling import Candidates, Context, log_softmax


class Mirostat:
    """Mirostat 2.0 (arXiv 2007.14966, algorithm 2): keeps surprise near `tau`.

    Drops the tokens whose surprise, -log2 p, is above a limit that begins at 2 tau and that each
    committed token moves: by eta times what its surprise among those left differs from tau. Write
    it last, before `draw`, because that surprise is among what all warps left.
    """

    class Settings(core.Settings):
        """tau: the surprise aimed at, in bits. eta: how fast the limit follows."""

        tau: float = Field(5.0, gt=0, allow_inf_nan=False)
        eta: float = Field(0.1, ge=0, le=1)

    keeps_winner = True

    def __init__(self, settings: Settings) -> None:
        self.tau = settings.tau
        self.eta = settings.eta
        self.limit = 2 * settings.tau

    def __call__(self, candidates: Candidates, context: Context) -> Candidates:
        """Those under the limit, or the most likely of all."""
        surprise = _surprise(candidates)
        return candidates.keep(surprise <= max(self.limit, float(surprise.min())))

    def accept(self, token: int, candidates: Candidates) -> None:
        """Move the limit by the surprise of `token`."""
        at = np.flatnonzero(candidates.ids == token)
        if at.size:
            seen = float(_surprise(candidates)[at[0]])
            self.limit -= self.eta * (seen - self.tau)


def _surprise(candidates: Candidates) -> npt.NDArray[np.float64]:
    """float64 [C]: -log2 of each probability."""
    return log_softmax(candidates.logits) / -math.log(2)
