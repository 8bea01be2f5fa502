r"""A sampler of one's own: min-p (arXiv 2407.01082).

To use it::

    triptych run --text "What is the capital of France?" --plugin examples/plugins/min_p.py \
        --set 'sampler=[{local/min_p: 0.1}, draw]'
"""

from __future__ import annotations

import math

from pydantic import Field

import triptych


@triptych.hookimpl
def samplers():
    """Offer `local/min_p`."""
    return [
        triptych.Component(
            name="min_p",
            target=":MinP",
            summary="Keeps tokens at least p times as likely as the likeliest.",
            main="p",
            role="warp",
        )
    ]


class MinP:
    """Keeps the tokens whose probability is at least `p` times the largest."""

    class Settings(triptych.Settings):
        """p: the least likely token kept, relative to the likeliest."""

        p: float = Field(gt=0, le=1)

    keeps_winner = True

    def __init__(self, settings):
        self.floor = math.log(settings.p)

    def __call__(self, candidates, context):
        """Compare in logits: log p below the largest is p times its probability."""
        return candidates.keep(candidates.logits >= candidates.logits.max() + self.floor)
