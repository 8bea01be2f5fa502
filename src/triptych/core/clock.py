"""Where the time of a generation goes."""

from __future__ import annotations

from triptych.core.dataclass import dataclass


@dataclass
class Clock:
    """Seconds spent on media (`vision`) and on slices (`forward`)."""

    vision: float = 0.0
    forward: float = 0.0
