"""`token_grid`: rows at even distances."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import Field

from triptych.core.ports import Array
from triptych.plugins.reducers.reducer import FEATURES, GRIDS, Reducer, Rows, Share, mask


class TokenGrid(Reducer):
    """Keeps rows that lie evenly in the picture, as one of less resolution has them.

    That pruning should be even in space is a result of arXiv 2502.11501.

    An image of h x w merged rows keeps about h * sqrt(ratio) lines of w * sqrt(ratio), each the
    nearest to the middle of its cell; each step of a video does so by itself. Where the rows are
    no whole grid (after another reducer, or of tiles), they are kept evenly in their order.
    """

    class Settings(Share):
        """ratio: the share that stays, about. merge_size: patches per side of a visual row."""

        merge_size: int = Field(default=2, ge=1)

    reads = (FEATURES, GRIDS)

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.merge_size = settings.merge_size

    def __call__(self, ports: Mapping[str, Array]) -> Mapping[str, Array]:
        """Choose the rows of one image."""
        rows = len(ports["image_features"])
        grids = (ports["image_grid_thw"] // [1, self.merge_size, self.merge_size]).tolist()
        if sum(math.prod(grid) for grid in grids) != rows:
            return {"keep_rows": mask(rows, middles(rows, self.count(rows)))}
        return {"keep_rows": np.concatenate([self._kept(grid) for grid in grids])}

    def _kept(self, grid: Sequence[int]) -> Array:
        """Bool [t * h * w] of a grid (t, h, w)."""
        steps, height, width = grid
        lines = min(height, max(1, round(height * math.sqrt(self.ratio))))
        # What rounding takes from the lines, their lengths give back.
        places = min(width, max(1, round(height * width * self.ratio / lines)))
        cells = np.outer(mask(height, middles(height, lines)), mask(width, middles(width, places)))
        return np.tile(cells.ravel(), steps)


def middles(length: int, count: int) -> Rows:
    """int64 [count]: the places nearest to the middles of `count` equal parts of `length`."""
    middle: Rows = ((2 * np.arange(count) + 1) * length) // (2 * count)
    return middle
