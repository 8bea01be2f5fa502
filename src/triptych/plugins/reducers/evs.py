"""`evs`: what stands still in a video is seen once."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from pydantic import Field

from triptych.core.ports import Array
from triptych.plugins.reducers.reducer import FEATURES, GRIDS, SOURCE_ROW, Reducer, Share, mask


class EVS(Reducer):
    """Keeps the rows of a video that change, after Efficient Video Sampling (arXiv 2510.14624).

    Of all steps but the first, those rows stay whose `image_features` differ most, by cosine,
    from those of the same place one step before (the paper compares pixels); the first step stays
    whole. A row whose predecessor was dropped before counts as changed. Images, and clips of one
    step, stay as they are.
    """

    class Settings(Share):
        """ratio: the share of a video's rows that stays, the first step's and more.

        merge_size: patches per side of a visual row.
        """

        merge_size: int = Field(default=2, ge=1)

    reads = (FEATURES, GRIDS, SOURCE_ROW)

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.merge_size = settings.merge_size

    def __call__(self, ports: Mapping[str, Array]) -> Mapping[str, Array]:
        """Choose the rows of one image or video."""
        features, source = ports["image_features"], ports["source_row"]
        steps = _rows_by_step(ports["image_grid_thw"], self.merge_size)
        rows = len(source)
        if len(steps) <= 1 or len(set(steps)) > 1:
            return {"keep_rows": np.ones(rows, np.bool_)}
        # The first step is above all: its rows differ from nothing by more than any cosine.
        change = np.full(rows, np.inf)
        place = np.full(sum(steps), -1)
        place[source] = np.arange(rows)
        later = np.flatnonzero(source >= steps[0])
        before = place[source[later] - steps[0]]
        known = later[before >= 0]
        change[later] = _MOST
        change[known] = 1 - _cosines(features[known], features[before[before >= 0]])
        first = rows - len(later)
        order = np.argsort(-change, kind="stable")
        return {"keep_rows": mask(rows, order[: max(first, self.count(rows))])}


_MOST = 3.0
"""More than 1 - cosine can be."""

_TINY = 1e-12


def _rows_by_step(grids: Array, merge_size: int) -> list[int]:
    """How many rows each step has. grids: int64 [images, 3], of one image or video."""
    merged = (grids // [1, merge_size, merge_size]).tolist()
    return [height * width for times, height, width in merged for _ in range(times)]


def _cosines(one: Array, other: Array) -> Array:
    """Float64 [N], of the rows of two arrays [N, H]."""
    left, right = one.astype(np.float64), other.astype(np.float64)
    norms = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    products: Array = (left * right).sum(axis=1) / np.maximum(norms, _TINY)
    return products
