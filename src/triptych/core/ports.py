"""Ports: named tensors with named axes that pass between stages."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy.typing as npt

Array = npt.NDArray[Any]
Axis = str | int

AXES = {
    "B": "batch",
    "S": "tokens",
    "N": "merged visual rows",
    "K": "DeepStack layers",
    "H": "text hidden size",
    "V": "vocabulary",
    "R": "wanted rows",
    "patches": "image patches",
    "images": "images",
    "tiles": "tiles that images were cut into",
    "total": "tokens in the cache and the slice together",
}
"""The axis names that the scheduler knows, and what each counts."""


_FLOATS = frozenset({"float", "float16", "bfloat16", "float32", "float64"})


class When(Enum):
    """When a stage runs."""

    INPUT = "input"
    """Once on what enters a sequence."""
    SPAN = "span"
    """On every slice that is forwarded."""


@dataclass(frozen=True)
class Port:
    """A named tensor.

    dtype: a numpy name such as ``float32``; ``float`` takes any floating type.
    axes: one name from `AXES`, another name, or a fixed number per dimension.
    absent: the fill value a reader gets when nobody wrote the port; None: it must be there.
    on_demand: of an output: computed only where somebody reads it, so that nobody has to. A stage
        with such outputs has the method `want(names)`, which tells it which they are; it is called
        before its weights are read, and again when somebody looks at another.
    """

    name: str
    dtype: str
    axes: tuple[Axis, ...]
    absent: float | None = None
    on_demand: bool = False

    def __str__(self) -> str:
        axes = ", ".join(str(axis) for axis in self.axes)
        return f"{self.name} {self.dtype} [{axes}]"


@dataclass(frozen=True)
class CachePair:
    """A tensor that a stage reads as `past` and writes, longer, as `present`.

    layer counts from 0; part is ``key`` or ``value`` (or another name of the model's).
    Both ports have axes [B, heads, max_len, head_size]; heads and head_size are numbers.
    """

    past: Port
    present: Port
    layer: int
    part: str


def same_dtype(written: str, read: str) -> bool:
    """Whether a port of dtype `written` may be read as `read`."""
    if read == "float" or written == "float":
        return {written, read} <= _FLOATS
    return written == read
