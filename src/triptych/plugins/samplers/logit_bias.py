"""Some words likelier, others rarer."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from triptych.core.config import settings as core
from triptych.core.sampling import Candidates, Context, Vocabulary
from triptych.plugins.samplers.places import places
from triptych.plugins.samplers.runs import Run, TokenRun, completes


class LogitBias:
    """Adds to the logits of tokens, or of the last token of a run of them.

    A bias of several tokens counts where all but the last were just committed, as in
    transformers' sequence_bias; biases that meet in one token add up.
    """

    class Settings(core.Settings):
        """bias: items such as `{text: " cat", bias: 2}` or `{ids: [42, 7], bias: -5}`."""

        class Item(TokenRun):
            """A run, and what is added to the logit of its last token."""

            bias: float = Field(allow_inf_nan=False)

        bias: list[Item] = Field(min_length=1, examples=[[{"text": " cat", "bias": 2}]])

    keeps_winner = False

    def __init__(self, settings: Settings) -> None:
        self.items = settings.bias
        self.runs: list[tuple[Run, float]] = []
        self.longest = 0

    def prepare(self, vocabulary: Vocabulary) -> None:
        """Find the tokens of the texts."""
        self.runs = [(item.tokens(vocabulary), item.bias) for item in self.items]
        self.longest = max(len(run) for run, _ in self.runs)

    def __call__(self, candidates: Candidates, context: Context) -> Candidates:
        """The same tokens, some with other logits."""
        before = context.tokens[-self.longest :].tolist()
        due = [(run[-1], bias) for run, bias in self.runs if completes(run, before)]
        at, which = places(candidates, [token for token, _ in due])
        if not at.size:
            return candidates
        logits = candidates.logits.astype(np.float64)
        np.add.at(logits, at, np.array([bias for _, bias in due])[which])
        return candidates.with_logits(logits)
