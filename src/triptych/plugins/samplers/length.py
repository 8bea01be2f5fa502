"""How long a reply gets: no end too early, and an end that becomes likelier."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from pydantic import Field

from triptych.core.config import settings as core
from triptych.core.sampling import Candidates, Context, Vocabulary
from triptych.plugins.samplers.places import places, without


class MinNewTokens:
    """Drops the EOS tokens until the reply has so many tokens."""

    class Settings(core.Settings):
        """count: of tokens, the EOS not among them."""

        count: int = Field(ge=0)

    keeps_winner = False
    neutral: ClassVar[Mapping[str, int]] = {"count": 0}

    def __init__(self, settings: Settings) -> None:
        self.count = settings.count
        self.ends: frozenset[int] = frozenset()

    def prepare(self, vocabulary: Vocabulary) -> None:
        """Learn which tokens end a reply."""
        self.ends = frozenset(vocabulary.eos_ids)

    def __call__(self, candidates: Candidates, context: Context) -> Candidates:
        """Those that do not end the reply; all of them, where none would be left."""
        if len(context.tokens) - context.prompt_length >= self.count:
            return candidates
        return without(candidates, self.ends)


class ExponentialDecayLength:
    """Makes the EOS tokens likelier with each token after `start`.

    Adds |logit| * (factor ** n - 1), n the tokens after `start`, as transformers'
    exponential_decay_length_penalty does.
    """

    class Settings(core.Settings):
        """start: tokens of the reply that cost nothing. factor: above 1 the end comes sooner."""

        start: int = Field(ge=0)
        factor: float = Field(gt=0, allow_inf_nan=False)

    keeps_winner = False
    neutral: ClassVar[Mapping[str, float]] = {"factor": 1.0}

    def __init__(self, settings: Settings) -> None:
        self.start = settings.start
        self.factor = settings.factor
        self.ends: frozenset[int] = frozenset()

    def prepare(self, vocabulary: Vocabulary) -> None:
        """Learn which tokens end a reply."""
        self.ends = frozenset(vocabulary.eos_ids)

    def __call__(self, candidates: Candidates, context: Context) -> Candidates:
        """The same tokens, the ends with other logits."""
        after = len(context.tokens) - context.prompt_length - self.start
        at, _ = places(candidates, sorted(self.ends))
        if after <= 0 or not at.size:
            return candidates
        logits = candidates.logits.astype(np.float64)
        with np.errstate(over="ignore"):
            grown = np.abs(logits[at]) * (np.power(self.factor, after) - 1)
        # Not inf, which would be certain: a sum of some must stay finite in float64.
        logits[at] += np.minimum(grown, _LARGEST)
        return candidates.with_logits(logits)


_LARGEST = 1e300
"""What may be added to a logit."""
