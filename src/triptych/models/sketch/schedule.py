"""How far a run is, by steps or by the clock, and what that means for its pictures."""

from __future__ import annotations

import time
from dataclasses import dataclass

from triptych.core.errors import TriptychError

LENGTH = 11_600
"""Steps of the run that made the shipped model; shorter and longer ones go by the same shares."""

RESTART = 9_000 / LENGTH
"""The progress at which rates fall for a second time: a warm restart (arXiv 1608.03983)."""

FIRST_GOAL = 10_000 / LENGTH
"""Where the first fall would have ended."""

RESTART_FROM = 0.6
"""How far down the second fall starts."""


@dataclass(frozen=True)
class Phase:
    """What is drawn and asked in a part of a run, from a progress between 0 and 1 on."""

    start: float
    side: int
    """Longest side of most pictures, in pixels."""
    any_size: bool
    """Whether large and oblong pictures are drawn too."""
    mix: str
    """What is asked; see `conversations.MIXES`."""


PHASES = (
    Phase(0.0, 96, any_size=False, mix="broad"),
    Phase(3_300 / LENGTH, 128, any_size=False, mix="broad"),
    Phase(4_700 / LENGTH, 192, any_size=True, mix="broad"),
    Phase(5_800 / LENGTH, 192, any_size=True, mix="drill"),
    Phase(RESTART, 192, any_size=True, mix="places"),
)

AUXILIARY_END = 0.2
"""The auxiliary loss starts with weight 1 and falls in a straight line to this, twice as rates."""


class ScheduleError(TriptychError):
    """A run without an end."""


@dataclass
class Schedule:
    """Progress from 0 to 1 of a run of `steps`, or of `minutes` where steps is None.

    By the clock a run ends on time on any machine; by steps it can be repeated. `spent` is the
    time in seconds that earlier parts of a resumed run took.
    """

    steps: int | None
    minutes: float | None
    spent: float = 0.0
    started: float = 0.0

    def start(self) -> None:
        """Start the clock."""
        self.started = time.monotonic()

    def elapsed(self) -> float:
        """Seconds, over all parts of the run."""
        return self.spent + time.monotonic() - self.started

    def progress(self, step: int) -> float:
        """How far the run is before this step, 0 to 1 (and over, when late)."""
        if self.steps is not None:
            return step / self.steps
        if self.minutes is None:
            raise ScheduleError("a run needs --steps or --minutes to know its end")
        return self.elapsed() / (60 * self.minutes)


def phase_at(progress: float) -> Phase:
    """The phase that a run is in at this progress."""
    return next(phase for phase in reversed(PHASES) if phase.start <= progress)


def descent(progress: float) -> float:
    """How far down rates are at this progress, 0 to 1; they fall twice."""
    if progress < RESTART:
        return progress / FIRST_GOAL
    left = (1 - progress) / (1 - RESTART)
    return 1 - (1 - RESTART_FROM) * left


def auxiliary_weight(progress: float) -> float:
    """Weight of the auxiliary loss at this progress."""
    return 1.0 + (AUXILIARY_END - 1.0) * min(1.0, descent(progress))
