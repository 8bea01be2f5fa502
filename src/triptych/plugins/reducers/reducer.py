"""What the reducers have in common: when they run, and how many rows stay."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from triptych.core.config import settings
from triptych.core.ports import CachePair, Port, When

Rows = npt.NDArray[np.int64]

FEATURES = Port("image_features", "float", ("N", "H"))
GRIDS = Port("image_grid_thw", "int64", ("images", 3), absent=0)
SOURCE_ROW = Port("source_row", "int64", ("N",))
KEEP_ROWS = Port("keep_rows", "bool", ("N",))

_ROUNDING = 1e-9
"""Three tenths of ten rows are three rows, though 0.3 * 10 may be a little more as a float."""


class Share(settings.Settings):
    """ratio: the share of an image's visual rows that stays; at 1.0 nothing changes."""

    ratio: float = Field(gt=0, le=1)


class Reducer:
    """Says which rows of one image stay, or which join. It comes after the positions stage."""

    Settings: ClassVar[type[Share]] = Share
    neutral: ClassVar[dict[str, float]] = {"ratio": 1.0}

    when = When.INPUT
    whole = False
    writes: tuple[Port, ...] = (KEEP_ROWS,)
    cache_pairs: tuple[CachePair, ...] = ()

    def __init__(self, settings: Share) -> None:
        self.ratio = settings.ratio

    def count(self, rows: int) -> int:
        """How many of so many rows stay: the ratio of them, rounded up, and one at least."""
        return max(1, math.ceil(self.ratio * rows - _ROUNDING))


def mask(rows: int, kept: Rows) -> npt.NDArray[np.bool_]:
    """Bool [rows], true at `kept`."""
    keep = np.zeros(rows, np.bool_)
    keep[kept] = True
    return keep
