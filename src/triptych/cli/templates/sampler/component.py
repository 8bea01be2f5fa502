"""Keep the tokens whose logits are near the largest."""

import triptych
from pydantic import Field


class __CLASS__:
    """Drops candidates more than `width` below the largest logit."""

    class Settings(triptych.Settings):
        """width: in logits; e to the width is how much likelier the likeliest token may be."""

        width: float = Field(gt=0)

    # True: the most likely token is the most likely one afterwards, too.
    keeps_winner = True

    def __init__(self, settings):
        self.width = settings.width

    def __call__(self, candidates, context):
        """candidates.ids int64 [C], candidates.logits float [C]; neither is written to."""
        return candidates.keep(candidates.logits >= candidates.logits.max() - self.width)
