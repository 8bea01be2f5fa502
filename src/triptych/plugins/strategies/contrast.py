"""Two branches of one text, and logits that their difference makes.

Both branches have a cache of their own; what they say is combined before any sampling step.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Protocol

import numpy as np
import numpy.typing as npt

from triptych.core.prompt import Prompt
from triptych.core.spans import Generation, Logits, Span

Row = npt.NDArray[np.floating]
"""Logits [V]: of the model in float32, of a combination in float64."""


class Contrast(Protocol):
    """What a contrastive strategy says: how the other branch's prompt differs, and what to do."""

    branch: str
    """The name under which the other branch is kept over the turns of a chat."""

    def edit(self, prompt: Prompt) -> Prompt:
        """The other branch's prompt."""
        ...

    def combine(self, ours: Row, theirs: Row) -> Row:
        """The logits [V] to sample from; -inf for tokens that are out of the question."""
        ...


def contrasted(
    contrast: Contrast, generation: Generation
) -> Generator[list[Span], list[Logits], None]:
    """The strategy of one generation: each token enters both branches."""
    ours = generation.sequence
    theirs = generation.branch(contrast.branch, contrast.edit)
    while True:
        mine, other = yield [Span(ours), Span(theirs)]
        token = generation.chain.choose(contrast.combine(mine[-1], other[-1]))
        ours.append([token])
        theirs.append([token])
        if generation.emit(token):
            return
