"""How far a run is, by steps or by the clock, and what that means for its pictures."""

from __future__ import annotations

import time
from dataclasses import dataclass

from triptych.core.errors import TriptychError

PHASES = ((0.0, 96, False), (0.33, 128, False), (0.47, 192, True))
"""From which progress on: longest side in pixels, and whether large and oblong ones are drawn."""

AUXILIARY_END = 0.2
"""The auxiliary loss starts with weight 1 and falls in a straight line to this."""


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


def pictures(progress: float) -> tuple[int, bool]:
    """Longest side, and whether any size is drawn, at this progress."""
    _, side, any_size = max(phase for phase in PHASES if phase[0] <= progress)
    return side, any_size


def auxiliary_weight(progress: float) -> float:
    """Weight of the auxiliary loss at this progress."""
    return 1.0 + (AUXILIARY_END - 1.0) * min(1.0, progress)
