"""One run before and after: both can be pickled, and travel between processes."""

from __future__ import annotations

from dataclasses import dataclass

from triptych.core.dataset import Item
from triptych.workbench.results import ScoreKind


@dataclass(frozen=True)
class Task:
    """One arm is asked one item with one seed.

    seed: the sweep's. base_tokens: what the base arm said to the same with the same seed; None
    where that is not known yet, or not needed.
    """

    arm: str
    item: Item
    seed: int
    repeat: int = 0
    base_tokens: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Score:
    """A number that a metric gave.

    kind: with the metric's own name of it, which is another's, too, perhaps. place: among all
    scores that the metrics of the sweep may give.
    """

    kind: ScoreKind
    place: int
    value: float


@dataclass(frozen=True)
class Outcome:
    """What came of a task.

    run_seed: what the request drew with. text: None where there is no answer. error: why there is
    none, or why metrics failed, whose scores are then not among `scores`. Seconds and tokens are
    the reply's; wall: from the start of the request to its end, others that ran beside it included.
    """

    arm: str
    item: str
    seed: int
    repeat: int
    run_seed: int
    text: str | None = None
    tokens: tuple[int, ...] = ()
    finish_reason: str | None = None
    error: str | None = None
    prompt_tokens: int = 0
    image_tokens: int = 0
    cached_tokens: int = 0
    load: float = 0.0
    vision: float = 0.0
    prefill: float = 0.0
    decode: float = 0.0
    wall: float = 0.0
    scores: tuple[Score, ...] = ()
