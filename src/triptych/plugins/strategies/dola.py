"""Away from what an early layer would say already."""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from triptych.core.config import settings as core
from triptych.core.sampling import log_softmax
from triptych.core.spans import Generation, Logits, Span
from triptych.core.wiring.needs import carried, carrying

Scores = npt.NDArray[np.float64]


class DoLa:
    """Decoding by contrasting layers (Chuang et al., arXiv 2309.03883, section 2).

    For each token, that one of the early layers is taken whose distribution is farthest, by the
    Jensen-Shannon divergence, from the last one's: log p - scale * log q, of the tokens that have
    at least `relative_top` of the winner's probability. Early layers' logits are those of the final
    norm and the head over what the layer leaves; an export writes them that was made with
    ``--expose early_logits:LAYERS``. With scale and relative_top 0 nothing changes.
    """

    class Settings(core.Settings):
        """See the class. layers: the candidates, from 0; every second one of a range in the paper.

        relative_top: 0.1 in the paper, scale: 1.
        """

        layers: tuple[int, ...] = Field(min_length=1, examples=[[1, 3]])
        relative_top: float = Field(default=0.1, ge=0, le=1)
        scale: float = Field(default=1.0, ge=0, allow_inf_nan=False)

    speculates = False
    neutral: ClassVar[Mapping[str, object]] = {"relative_top": 0.0, "scale": 0.0}

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @property
    def needs(self) -> tuple[str, ...]:
        """The early layers' logits, where they change anything."""
        layers = self.settings.layers if self.settings.scale else ()
        return tuple(f"early_logits.{layer}" for layer in layers)

    def run(self, generation: Generation) -> Generator[list[Span], list[Logits], None]:
        """The strategy of one generation."""
        while True:
            [rows] = yield [Span(generation.sequence)]
            last, early = rows[-1], carried(rows[-1])
            combined = self.combine(last, [early[name] for name in self.needs])
            token = generation.chain.choose(carrying(combined, last))
            generation.sequence.append([token])
            if generation.emit(token):
                return

    def combine(
        self, last: npt.NDArray[np.floating], early: list[npt.NDArray[np.floating]]
    ) -> npt.NDArray[np.floating]:
        """The logits [V] to sample from; -inf for tokens that are out of the question."""
        scale, top = self.settings.scale, self.settings.relative_top
        if not scale and not top:
            return last
        ours = log_softmax(last)
        contrast = ours
        if early:
            theirs = [log_softmax(one) for one in early]
            farthest = int(np.argmax([divergence(ours, one) for one in theirs]))
            contrast = ours - scale * theirs[farthest]
        if not top:
            return contrast
        return np.where(ours >= float(ours.max()) + math.log(top), contrast, -np.inf)


def divergence(one: Scores, other: Scores) -> float:
    """The Jensen-Shannon divergence of two distributions, given as logarithms [V], in nats."""
    mean = np.logaddexp(one, other) - math.log(2)
    halves = (np.exp(side) @ (side - mean) for side in (one, other))
    return float(sum(halves)) / 2
