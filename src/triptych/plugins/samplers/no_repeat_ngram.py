"""No run of n tokens twice."""

from __future__ import annotations

from numpy.lib.stride_tricks import sliding_window_view
from pydantic import Field

from triptych.core.config import settings as core
from triptych.core.sampling import Candidates, Context
from triptych.plugins.samplers.places import without


class NoRepeatNGram:
    """Drops what would complete a run of `size` tokens that was there before (arXiv 1705.04304).

    As in transformers the prompt's runs count, too.
    """

    class Settings(core.Settings):
        """size: the length of a run that must not come twice; 1 forbids every token seen."""

        size: int = Field(ge=1)

    keeps_winner = False

    def __init__(self, settings: Settings) -> None:
        self.size = settings.size

    def __call__(self, candidates: Candidates, context: Context) -> Candidates:
        """Those that complete no run; all of them, where none would be left."""
        tokens = context.tokens
        if len(tokens) < self.size:
            return candidates
        runs = sliding_window_view(tokens, self.size)
        last = tokens[len(tokens) - self.size + 1 :]
        again = (runs[:, :-1] == last).all(axis=1)
        return without(candidates, set(runs[again, -1].tolist()))
