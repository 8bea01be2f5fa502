"""What is measured, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from triptych.bench.spread import Spread, spread_of

Topic = Literal["load", "vision", "prefill", "decode", "sequences", "memory"]
TOPICS: tuple[Topic, ...] = ("load", "vision", "prefill", "decode", "sequences", "memory")

DECODING = frozenset({"decode", "sequences"})
"""Topics in which tokens follow a prompt that is forwarded once."""

Unit = Literal["s", "tokens/s", "bytes"]


@dataclass(frozen=True)
class Measure:
    """One thing that is measured. name: ``decode at 32``.

    size: tokens of the prompt. sides: of a picture, width and height in pixels. sequences: how
    many at once.
    """

    topic: Topic
    name: str
    unit: Unit
    size: int = 0
    sequences: int = 1
    sides: tuple[int, int] = (0, 0)

    @property
    def more_is_better(self) -> bool:
        """Whether a higher value is."""
        return self.unit == "tokens/s"


@dataclass
class Result:
    """The values of one measure by contender, the pipeline's own first.

    Values at one place of two lists were measured right after each other. floor: the best that
    the machine allows the pipeline's graphs, in the measure's unit; None where it is not counted.
    nodes: which kinds of nodes of the pipeline's graphs take which share of their time, from most
    to least. missing: why a contender has no values.
    """

    measure: Measure
    values: dict[str, list[float]] = field(default_factory=dict)
    floor: float | None = None
    nodes: dict[str, float] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def spread(self, label: str) -> Spread | None:
        """Of one contender's values; None where it has none."""
        values = self.values.get(label)
        return spread_of(values) if values else None

    def ratio(self, label: str, other: str) -> Spread | None:
        """How many times better `label` did than `other`, pair by pair; None without pairs.

        Above 1, it was faster, or took less memory.
        """
        ours, theirs = self.values.get(label), self.values.get(other)
        if not ours or not theirs:
            return None
        better = self.measure.more_is_better
        return spread_of([a / b if better else b / a for a, b in zip(ours, theirs, strict=False)])

    def fraction(self, label: str) -> float | None:
        """How much of the floor's speed the median reaches, at the most 1 if the floor is one."""
        spread = self.spread(label)
        if spread is None or self.floor is None:
            return None
        better = self.measure.more_is_better
        return spread.median / self.floor if better else self.floor / spread.median
