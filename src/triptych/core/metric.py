"""The interface of a metric: scores of an answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from triptych.core.dataset import Item
from triptych.core.reply import Reply

if TYPE_CHECKING:
    from triptych.core.pipeline import Pipeline

Measures = Literal["quality", "time", "memory"]


@dataclass(frozen=True)
class Base:
    """What the arm that others are compared with said to the same item, with the same seed.

    pipeline: that arm's, loaded. tokens: of its reply.
    """

    pipeline: Pipeline
    tokens: tuple[int, ...]


@dataclass(frozen=True)
class Answer:
    """A reply and whom a metric may ask more about it.

    reply: what the pipeline said. pipeline: who said it, for metrics that look at likelihoods.
    base: given to metrics that declare `needs_base`; None for the base arm itself.
    """

    reply: Reply
    pipeline: Pipeline | None = None
    base: Base | None = None


class Metric(Protocol):
    """Scores one answer against what is known. A component of the kind `metrics`.

    It may declare, as attributes:
    measures: ``"quality"`` (the default) is the same on every machine and every time; an arm with
        a metric of ``"time"`` or ``"memory"`` is run by a process of its own that shares nothing.
    lower_is_better: the names of the scores of which less is better; none by default.
    needs_base: True has `Answer.base` filled.
    """

    def __call__(self, item: Item, answer: Answer) -> Mapping[str, float]:
        """Scores by name, the same names for every item; finite numbers."""
        ...
