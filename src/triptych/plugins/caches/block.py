"""A block of a pool: rows side by side, and what a stage is given of a range of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from triptych.core.ports import Array

Pasts = Mapping[str, Array]
"""For each past port, the rows of a range: [rows, heads, length, head_size]."""

MASK_STEP = 512
"""Columns by which the masks of several rows grow, so that they rarely change their shape."""

_MOST_VIEWS = 64
"""Ranges of rows whose views are kept; there are as many as rows in use come and go."""


class Block:
    """Buffers [rows, heads, length, head_size], one for each past port."""

    def __init__(self, buffers: dict[str, Array]) -> None:
        self.buffers = buffers
        self.rows, _, self.length, _ = next(iter(buffers.values())).shape
        self.free = list(range(self.rows))
        self._views: dict[tuple[int, int], Pasts] = {}
        self._masks = _Masks(self.rows, self.length)

    def pasts(self, first: int, last: int) -> Pasts:
        """Views of the rows from `first` until before `last`; the same objects every time."""
        views = self._views.get((first, last))
        if views is None:
            if len(self._views) >= _MOST_VIEWS:
                self._forget()
            views = {name: buffer[first:last] for name, buffer in self.buffers.items()}
            self._views[first, last] = views
        return views

    def mask(self, first: int, lengths: Sequence[int]) -> Array:
        """int64 [rows, total]: row `first` + i begins with ``lengths[i]`` ones, then zeros."""
        return self._masks.of(first, lengths)

    def _forget(self) -> None:
        """Drop the oldest range of several rows; a single row's belongs to its slot for life."""
        for first, last in self._views:
            if last - first > 1:
                del self._views[first, last]
                return


class _Masks:
    """One mask for all rows of a block, changed where a row has grown or shrunk.

    Its width is that of the longest row, rounded up: what is behind a row's ones are zeros and
    says nothing, and so its shape, and where it lies, stay from step to step.
    """

    def __init__(self, rows: int, length: int) -> None:
        self._rows = rows
        self._most = length
        self._memory = np.zeros(0, np.int64)
        self._mask = self._memory.reshape(rows, 0)
        self._ones = [0] * rows
        self._views: dict[tuple[int, int], Array] = {}

    def of(self, first: int, lengths: Sequence[int]) -> Array:
        longest = max(lengths)
        width = self._mask.shape[1]
        if longest > width or 4 * longest + MASK_STEP < width:
            self._widen(min(-(-longest // MASK_STEP) * MASK_STEP, self._most))
        mask, ones = self._mask, self._ones
        for row, length in enumerate(lengths, first):
            have = ones[row]
            if length == have + 1:
                mask[row, have] = 1
            elif length > have:
                mask[row, have:length] = 1
            elif length < have:
                mask[row, length:have] = 0
            ones[row] = length
        span = (first, first + len(lengths))
        view = self._views.get(span)
        if view is None:
            view = self._views[span] = mask[first : span[1]]
        return view

    def _widen(self, width: int) -> None:
        size = self._rows * width
        if size > len(self._memory):
            self._memory = np.zeros(max(size, 2 * len(self._memory)), np.int64)
        self._mask = self._memory[:size].reshape(self._rows, width)
        self._mask.fill(0)
        self._ones = [0] * self._rows
        self._views = {}
