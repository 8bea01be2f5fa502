"""Which frames of a clip are looked at, and at which seconds they are said to be."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from triptych.core.dataclass import dataclass


@dataclass(frozen=True)
class Timeline:
    """When the frames of a clip are shown.

    count: how many there are. fps: frames per second, on average. starts: the second at which
    each begins, where they are not evenly spaced.
    """

    count: int
    fps: float
    starts: tuple[float, ...] | None = None

    def at(self, index: int) -> float:
        """The second at which a frame begins."""
        return index / self.fps if self.starts is None else self.starts[index]


@dataclass(frozen=True)
class Sampling:
    """How many frames are looked at, evenly spread from the first to the last (Qwen3-VL).

    fps: for each second this many; None: all. At least `fewest` and at most `most`, if the
    clip has them. number: this many, whatever the rest says.
    """

    fps: float | None
    fewest: int
    most: int
    number: int | None = None

    def indices(self, timeline: Timeline) -> list[int]:
        """The frames, in order. Rounding is transformers'."""
        if self.number is not None:
            wanted = self.number
        elif self.fps is None:
            wanted = timeline.count
        else:
            wanted = int(timeline.count / timeline.fps * self.fps)
            wanted = min(max(wanted, self.fewest), self.most)
        wanted = min(wanted, timeline.count)
        return [int(i) for i in np.linspace(0, timeline.count - 1, wanted).round()]


def whole_steps(indices: Sequence[int], steps: int) -> list[int]:
    """Frames by the temporal patch: the last one repeated until there is a multiple of `steps`."""
    return [*indices, *[indices[-1]] * (-len(indices) % steps)]


def seconds_of_patches(indices: Sequence[int], timeline: Timeline, steps: int) -> list[float]:
    """For each `steps` frames the mean of the first one's and the last one's second.

    indices: a multiple of `steps`.
    """
    times = [timeline.at(index) for index in indices]
    return [
        (first + last) / 2
        for first, last in zip(times[::steps], times[steps - 1 :: steps], strict=True)
    ]
