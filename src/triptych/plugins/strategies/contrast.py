"""Two branches of one text, and logits that their difference makes.

Both branches have a cache of their own; what they say is combined before any sampling step.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator

import numpy as np
import numpy.typing as npt

from triptych.core.prompt import Prompt
from triptych.core.spans import Generation, Logits, Span
from triptych.core.wiring.needs import carrying

Row = npt.NDArray[np.floating]
"""Logits [V]: of the model in float32, of a combination in float64."""


class Contrast(ABC):
    """A strategy of two branches: how the other one's prompt differs, and what both make."""

    branch: str
    """The name under which the other branch is kept over the turns of a chat."""
    speculates = False

    @abstractmethod
    def edit(self, prompt: Prompt) -> Prompt:
        """The other branch's prompt."""

    @abstractmethod
    def combine(self, ours: Row, theirs: Row) -> Row:
        """The logits [V] to sample from; -inf for tokens that are out of the question."""

    def run(self, generation: Generation) -> Generator[list[Span], list[Logits], None]:
        """The strategy of one generation: each token enters both branches."""
        ours = generation.sequence
        theirs = generation.branch(self.branch, self.edit)
        while True:
            mine, other = yield [Span(ours), Span(theirs)]
            combined = self.combine(mine[-1], other[-1])
            token = generation.chain.choose(carrying(combined, mine[-1]))
            ours.append([token])
            theirs.append([token])
            if generation.emit(token):
                return
