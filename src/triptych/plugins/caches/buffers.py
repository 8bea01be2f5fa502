"""Slots of preallocated buffers, the storage that `full` and `window` share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from triptych.core.cache import Binding, TokenIndex
from triptych.core.errors import TriptychError
from triptych.core.ports import Array, CachePair

Evict = Callable[[int], npt.NDArray[np.int64]]
"""Which of a full slot's `count` rows stay, in order."""


FIRST_ONES = 4096
"""How long the masks are that need no new memory at first; twice as long whenever one is longer."""

Pasts = Mapping[str, Array]
"""One buffer [1, heads, capacity, head_size] for each past port."""


class CacheError(TriptychError):
    """A past/present pair that no buffer can be reserved for."""


class BufferCache:
    """Slots whose rows lie in one buffer per past/present pair, in the order of their tokens.

    Raises CacheError when a buffer's shape or dtype is not known.
    """

    def __init__(
        self,
        pairs: Sequence[CachePair],
        capacity: int,
        allocate: Callable[[tuple[int, ...], str], Array],
        *,
        evict: Evict | None = None,
    ) -> None:
        self.shapes = {pair.past.name: (_shape(pair, capacity), pair.past.dtype) for pair in pairs}
        self.capacity = capacity
        self.allocate = allocate
        self.evict = evict
        self.free: list[Pasts] = []
        self.ones = _ones(min(capacity, FIRST_ONES))

    def lease(self) -> BufferSlot:
        """An empty slot; its memory may have served another sequence, whose rows are unseen."""
        return BufferSlot(self, self.free.pop() if self.free else self._reserve())

    def bind(self, slots: Sequence[BufferSlot], token_index: Sequence[TokenIndex]) -> Binding:
        """The buffers of the one slot, and a mask of ones over its rows and the new ones."""
        (slot,), (index,) = slots, token_index
        slot.writing = index
        total = len(slot.index) + len(index)
        if total > self.ones.shape[1]:
            self.ones = _ones(max(total, min(self.capacity, 2 * self.ones.shape[1])))
        return Binding(slot.pasts, {"attention_mask": self.ones[:, :total]})

    def settle(self, slots: Sequence[BufferSlot]) -> None:
        """Count the rows written since `bind`, and evict."""
        for slot in slots:
            slot.index.extend(slot.writing.tolist())
            slot.writing = slot.writing[:0]
            if self.evict is not None and slot.room == 0:
                slot.keep(self.evict(len(slot.index)))

    def _reserve(self) -> Pasts:
        return {name: self.allocate(shape, dtype) for name, (shape, dtype) in self.shapes.items()}


class BufferSlot:
    """One sequence's rows. `index` holds the token that each row belongs to, ascending."""

    def __init__(self, cache: BufferCache, pasts: Pasts) -> None:
        self.cache = cache
        self.pasts = pasts
        self.index: list[int] = []
        self.writing: npt.NDArray[np.int64] = np.zeros(0, np.int64)
        self.evicted_until = 0
        self.closed = False

    @property
    def room(self) -> int:
        """How many rows fit behind the ones that count."""
        return self.cache.capacity - len(self.index)

    def truncate(self, length: int) -> bool:
        """Drop the rows of tokens from `length` on.

        False when rows were evicted since `length`: the shorter sequence would still have them.
        """
        if length < self.evicted_until:
            return False
        while self.index and self.index[-1] >= length:
            self.index.pop()
        return True

    def keep(self, rows: npt.NDArray[np.int64]) -> None:
        """Keep only these rows (ascending), moved to the front."""
        for buffer in self.pasts.values():
            buffer[:, :, : len(rows)] = buffer[:, :, rows]
        self.evicted_until = self.index[-1] + 1
        self.index = [self.index[row] for row in rows]

    def fork(self) -> BufferSlot:
        """A copy of the rows in a slot of its own."""
        other = self.cache.lease()
        other.index = list(self.index)
        other.evicted_until = self.evicted_until
        for name, buffer in self.pasts.items():
            other.pasts[name][:, :, : len(self.index)] = buffer[:, :, : len(self.index)]
        return other

    def close(self) -> None:
        """Give the buffers back to the cache."""
        if not self.closed:
            self.closed = True
            self.cache.free.append(self.pasts)


def _ones(length: int) -> Array:
    """int64 [1, length], for masks to be views of."""
    ones = np.ones((1, length), np.int64)
    ones.flags.writeable = False
    return ones


def _shape(pair: CachePair, capacity: int) -> tuple[int, int, int, int]:
    """[1, heads, capacity, head_size] of the pair's buffer."""
    axes = pair.past.axes
    if len(axes) == len(("B", "heads", "max_len", "head_size")):
        _, heads, _, size = axes
        if isinstance(heads, int) and isinstance(size, int) and pair.past.dtype in np.sctypeDict:
            return (1, heads, capacity, size)
    raise CacheError(
        f"no cache can be reserved for {pair.past}; it must be [B, heads, max_len, head_size] of a "
        "dtype of numpy, with numbers for heads and head_size: export the graph with fixed ones"
    )
