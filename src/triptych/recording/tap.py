"""A short look at ports while they are written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from triptych.core.observer import Asked, Moment, Observer
from triptych.core.ports import Array
from triptych.recording.passes import Passes

FEW = 4
"""Numbers that are shown of a tensor, from its beginning."""


@dataclass(frozen=True)
class Seen:
    """What a port was, once.

    step: 0 is the prompt, n the n-th new token. minimum, mean, maximum: None where there are no
    numbers. values: the first few.
    """

    step: int
    phase: str
    writer: str
    port: str
    dtype: str
    shape: tuple[int, ...]
    minimum: float | None
    mean: float | None
    maximum: float | None
    values: tuple[float, ...]

    @classmethod
    def of(cls, step: int, moment: Moment, port: str, value: Array) -> Seen:
        """What `value` is."""
        few = tuple(np.asarray(value.reshape(-1)[:FEW], np.float64).tolist())
        some = value.size > 0
        return cls(
            step,
            moment.when.value,
            moment.writer,
            port,
            value.dtype.name,
            value.shape,
            float(value.min()) if some else None,
            float(value.mean(dtype=np.float64)) if some else None,
            float(value.max()) if some else None,
            few,
        )

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "step": self.step,
            "phase": self.phase,
            "writer": self.writer,
            "port": self.port,
            "dtype": self.dtype,
            "shape": list(self.shape),
            "min": self.minimum,
            "mean": self.mean,
            "max": self.maximum,
            "values": list(self.values),
        }

    def __str__(self) -> str:
        shape = ", ".join(map(str, self.shape))
        line = f"step {self.step}  {self.writer}  {self.port} {self.dtype} [{shape}]"
        if self.minimum is None:
            return f"{line}  empty"
        more = ", ..." if np.prod(self.shape) > len(self.values) else ""
        few = ", ".join(f"{value:.4g}" for value in self.values)
        return (
            f"{line}  min {self.minimum:.4g}  mean {self.mean:.4g}  max {self.maximum:.4g}  "
            f"[{few}{more}]"
        )


class Tap(Observer):
    """An observer that notes in few numbers what ports are.

    ports: their names. seen: what it noted, in order. told: called with each, as it comes.
    """

    ports: tuple[str, ...]

    def __init__(self, ports: Iterable[str], told: Callable[[Seen], None] | None = None) -> None:
        self.ports = tuple(ports)
        self.seen: list[Seen] = []
        self._told = told
        self._passes: Passes | None = None

    def begin(self, asked: Asked) -> None:
        """See `Observer`."""
        self._passes = Passes(asked.pipeline.wiring, len(asked.prompt.tokens))

    def saw(self, moment: Moment, written: Mapping[str, Array]) -> None:
        """See `Observer`."""
        assert self._passes is not None  # noqa: S101 - `begin` made it
        step = self._passes.enter(moment)[0].step
        for name, value in written.items():
            seen = Seen.of(step, moment, name, value)
            self.seen.append(seen)
            if self._told is not None:
                self._told(seen)
