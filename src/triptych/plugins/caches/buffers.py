"""Slots of preallocated buffers, the storage that all built-in policies share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Protocol, Self, TypeVar

import numpy as np
import numpy.typing as npt

from triptych.core.cache import Binding, TokenIndex
from triptych.core.errors import InputError, PluginError, TriptychError
from triptych.core.graphs.device import copy_rows
from triptych.core.ports import Array, CachePair
from triptych.plugins.caches.block import Block, Pasts

Rows = npt.NDArray[np.int64]
"""Rows of a slot, ascending: int64 [rows] of all heads alike, or [heads, rows] of each its own."""

Result = TypeVar("Result")

Evict = Callable[[Pasts, int], Mapping[str, Rows]]
"""For each past port, which of a full slot's first `count` rows stay; everywhere as many."""


class Notes(Protocol):
    """What a policy remembers of one slot beside its rows, for one that is shown what it needs."""

    def observe(self, seen: Mapping[str, Array], index: TokenIndex, count: int) -> None:
        """The tokens `index` were forwarded, the last of what are `count` rows now.

        seen: what the policy's `needs` name, without the axis B; valid during this call.
        """
        ...

    def evict(self, pasts: Pasts, count: int) -> Mapping[str, Rows]:
        """As `Evict`; what is remembered is of the rows that stay from then on."""
        ...

    def truncate(self, length: int) -> bool:
        """Forget the tokens from `length` on; False when what they left cannot be taken back."""
        ...

    def fork(self) -> Self:
        """An independent copy."""
        ...


FIRST_ONES = 4096
"""How long the masks are that need no new memory at first; twice as long whenever one is longer."""

FEWEST = 8
"""Slots that may be leased before idle ones are asked for, however few lie side by side."""

DEAD_ROW = 0.15
"""What a row that nobody uses costs a step of several rows, in steps of one row."""

DEAD_TOKENS = 4000
"""With so many tokens in it, it costs a whole step more: it is attended over, too."""


class CacheError(TriptychError):
    """A past/present pair that no buffer can be reserved for."""


class BufferCache:
    """Slots whose rows lie in one buffer per past/present pair, in the order of their tokens.

    The slots are a pool: they lie side by side in blocks, so that one run of a stage covers a
    range of them. A new slot is the free one nearest to those in use.

    A slot of a policy that evicts does so before a forward, when it has `limit` rows or more: until
    then all that was forwarded since the last time can be taken back.

    capacity: the rows of a slot; those above `limit` (by default none are) are what a forward may
    add at least. evict, or notes: which rows stay; the latter makes the `Notes` of a new slot.
    Raises CacheError when a buffer's shape or dtype is not known.
    """

    def __init__(
        self,
        pairs: Sequence[CachePair],
        capacity: int,
        allocate: Callable[[tuple[int, ...], str], Array],
        *,
        evict: Evict | None = None,
        notes: Callable[[], Notes] | None = None,
        limit: int | None = None,
    ) -> None:
        self.shapes = {pair.past.name: (_shape(pair), pair.past.dtype) for pair in pairs}
        self.capacity = capacity
        self.allocate = allocate
        self.evict = evict
        self.notes = notes
        self.limit = capacity if limit is None else limit
        self.evict_idle: Callable[[], bool] = _nothing_to_evict
        self.leased: list[BufferSlot] = []
        self._blocks: list[Block] = []
        self._rows = 1
        self._near = (0, 0)
        self.ones = _ones(min(capacity, FIRST_ONES))

    @property
    def bytes_per_token(self) -> int:
        """What one token of one sequence takes."""
        return sum(
            heads * size * np.dtype(dtype).itemsize for (heads, size), dtype in self.shapes.values()
        )

    @property
    def used(self) -> int:
        """Bytes of the tokens in all leased slots."""
        return self.bytes_per_token * sum(len(slot.index) for slot in self.leased)

    def lay_out(self, rows: int) -> None:
        """Reserve `rows` slots at a time, side by side."""
        self._rows = rows

    def lease(self) -> BufferSlot:
        """An empty slot; its memory may have served another sequence, whose rows are unseen."""
        if len(self.leased) >= max(self._rows, FEWEST) and not self._free():
            self.evict_idle()
        place = self._nearest()
        if place is None:
            place = len(self._blocks), 0
            self._blocks.append(self._reserve())
        number, row = place
        block = self._blocks[number]
        block.free.remove(row)
        slot = BufferSlot(self, block, number, row)
        self.leased.append(slot)
        return slot

    def release(self, slot: BufferSlot) -> None:
        """Take a slot back."""
        self.leased.remove(slot)
        slot.block.free.append(slot.row)

    def together(self, slots: Sequence[BufferSlot]) -> list[list[int]]:
        """Neighbours, with such rows between them as cost less than a run of their own."""
        order = sorted(range(len(slots)), key=lambda index: slots[index].place)
        first, last = slots[order[0]], slots[order[-1]]
        if first.block is last.block and last.row - first.row + 1 == len(order):
            return [order]
        lengths = {slot.place: len(slot.index) for slot in self.leased}
        groups = [[order[0]]]
        for before, index in pairwise(order):
            (number, row), (block, end) = slots[before].place, slots[index].place
            dead = [lengths.get((number, between), 0) for between in range(row + 1, end)]
            cost = DEAD_ROW * len(dead) + sum(dead) / DEAD_TOKENS
            if block == number and cost < 1:
                groups[-1].append(index)
            else:
                groups.append([index])
        return groups

    def bind(self, slots: Sequence[BufferSlot], token_index: Sequence[TokenIndex]) -> Binding:
        """The buffers of the slots, and a mask that is ones over their rows and the new ones.

        Of several slots, the rows that lie between them are covered, too.
        """
        for slot, index in zip(slots, token_index, strict=True):
            slot.make_room()
            slot.writing = index
        if len(slots) > 1:
            return self._bind_range(slots)
        slot, block = slots[0], slots[0].block
        self._near = slot.place
        total = len(slot.index) + len(slot.writing)
        if total > self.ones.shape[1]:
            self.ones = _ones(max(total, min(self.capacity, 2 * self.ones.shape[1])))
        return Binding(block.pasts(slot.row, slot.row + 1), {MASK: self.ones[:, :total]})

    def observe(self, slots: Sequence[BufferSlot], seen: Sequence[Mapping[str, Array]]) -> None:
        """Let each slot's notes see what the forward since `bind` has shown of it."""
        for slot, shown in zip(slots, seen, strict=True):
            if slot.notes is not None:
                count = len(slot.index) + len(slot.writing)
                _asked(slot.notes.observe, shown, slot.writing, count)

    def settle(self, slots: Sequence[BufferSlot]) -> None:
        """Count the rows written since `bind`."""
        for slot in slots:
            slot.index.extend(slot.writing.tolist())
            slot.writing = _NO_TOKENS

    def _bind_range(self, slots: Sequence[BufferSlot]) -> Binding:
        block = slots[0].block
        rows = [slot.row for slot in slots]
        first, last = min(rows), max(rows) + 1
        self._near = slots[0].place
        # A dead row's own length and one more: what it writes there, its next token overwrites.
        lengths = [1] * (last - first)
        for slot in self.leased if len(slots) < last - first else slots:
            if slot.block is block and first <= slot.row < last:
                lengths[slot.row - first] = len(slot.index) + 1
        return Binding(
            block.pasts(first, last),
            {MASK: block.mask(first, lengths)},
            tuple([row - first for row in rows]),
        )

    def _nearest(self) -> tuple[int, int] | None:
        """The free row nearest to the one that was bound last, in its block or another."""
        number, row = self._near
        near = [(abs(block - number), abs(free - row), block, free) for block, free in self._free()]
        return min(near)[2:] if near else None

    def _free(self) -> list[tuple[int, int]]:
        """The block and the row of each place that no slot has."""
        return [(number, row) for number, block in enumerate(self._blocks) for row in block.free]

    def _reserve(self) -> Block:
        """A new block, of fewer rows where the system refuses to promise so much at once."""
        while True:
            # One more, so that a dead row has a place to write to even when it is full.
            length = self.capacity + (self._rows > 1)
            try:
                return Block(
                    {
                        name: self.allocate((self._rows, heads, length, size), dtype)
                        for name, ((heads, size), dtype) in self.shapes.items()
                    }
                )
            except (InputError, MemoryError):
                if self._rows == 1:
                    raise
                self._rows //= 2


class BufferSlot:
    """One sequence's rows. `index` holds the token that each row belongs to, ascending.

    place: the number of its block, and its row there.
    """

    def __init__(self, cache: BufferCache, block: Block, number: int, row: int) -> None:
        self.cache = cache
        self.block = block
        self.row = row
        self.place = (number, row)
        self.index: list[int] = []
        self.writing = _NO_TOKENS
        self.evicted_until = 0
        self.closed = False
        self.notes = cache.notes() if cache.notes is not None else None

    @property
    def pasts(self) -> Pasts:
        """Its buffers, [1, heads, length, head_size], by past port."""
        return self.block.pasts(self.row, self.row + 1)

    @property
    def room(self) -> int:
        """How many rows fit behind the ones that count, once those are evicted that go."""
        self.make_room()
        return self.cache.capacity - len(self.index)

    def make_room(self) -> None:
        """Evict what the policy evicts, if there are as many rows as it waits for."""
        evict = self.notes.evict if self.notes is not None else self.cache.evict
        if evict is not None and len(self.index) >= self.cache.limit:
            rows = _asked(evict, self.pasts, len(self.index))
            _check_rows(evict, rows, self.cache.shapes)
            self.keep(rows)

    def truncate(self, length: int) -> bool:
        """Drop the rows of tokens from `length` on.

        False when rows were evicted since `length`, which the shorter sequence would still have,
        or when the policy's notes cannot go back so far.
        """
        if length < self.evicted_until:
            return False
        if self.notes is not None and not self.notes.truncate(length):
            return False
        while self.index and self.index[-1] >= length:
            self.index.pop()
        return True

    def keep(self, rows: Mapping[str, Rows]) -> None:
        """Keep only these rows of each past port, moved to the front.

        Ports and heads may keep the rows of different tokens, since keys hold their own positions
        and the mask only counts rows. `index` then has the first head's of the first port: of what
        was there before an eviction only the number matters, and later rows are everybody's.
        """
        for name, buffer in self.pasts.items():
            chosen = rows[name]
            count = chosen.shape[-1]
            if chosen.ndim == 1:
                buffer[:, :, :count] = buffer[:, :, chosen]
            else:
                buffer[0, :, :count] = np.take_along_axis(buffer[0], chosen[:, :, None], 1)
        self.evicted_until = self.index[-1] + 1
        first = np.atleast_2d(next(iter(rows.values())))[0]
        self.index = [self.index[row] for row in first]

    def fork(self) -> BufferSlot:
        """A copy of the rows in a slot of its own."""
        other = self.cache.lease()
        other.index = list(self.index)
        other.evicted_until = self.evicted_until
        other.notes = None if self.notes is None else self.notes.fork()
        pasts = other.pasts
        for name, buffer in self.pasts.items():
            copy_rows(buffer, pasts[name], len(self.index))
        return other

    def close(self) -> None:
        """Give the rows back to the cache."""
        if not self.closed:
            self.closed = True
            self.cache.release(self)


MASK = "attention_mask"

_NO_TOKENS: TokenIndex = np.zeros(0, np.int64)


def _asked(ask: Callable[..., Result], *given: object) -> Result:
    """What a policy says. Raises PluginError when it raises, for it may be anybody's."""
    try:
        return ask(*given)
    except TriptychError:
        raise
    except Exception as error:
        raise PluginError(f"{_named(ask)} raised {type(error).__name__}: {error}") from error


def _check_rows(
    evict: Callable[..., object], rows: Mapping[str, Rows], names: Iterable[str]
) -> None:
    """Raises PluginError unless as many rows of each past port stay, one at least."""
    counts = {name: np.shape(rows[name])[-1] if name in rows else 0 for name in names}
    fewest, most = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
    if not counts[fewest] or counts[fewest] != counts[most]:
        kept = f"keeps {counts[fewest]} rows of {fewest} and {counts[most]} of {most}"
        raise PluginError(f"{_named(evict)} {kept}; as many stay everywhere, one at least")


def _named(ask: Callable[..., object]) -> str:
    return f"the cache's {getattr(ask, '__qualname__', ask)}"


def _nothing_to_evict() -> bool:
    return False


def _ones(length: int) -> Array:
    """int64 [1, length], for masks to be views of."""
    ones = np.ones((1, length), np.int64)
    ones.flags.writeable = False
    return ones


def _shape(pair: CachePair) -> tuple[int, int]:
    """The heads and the head_size of the pair's buffer."""
    axes = pair.past.axes
    if len(axes) == len(("B", "heads", "max_len", "head_size")):
        _, heads, _, size = axes
        if isinstance(heads, int) and isinstance(size, int) and pair.past.dtype in np.sctypeDict:
            return heads, size
    raise CacheError(
        f"no cache can be reserved for {pair.past}; it must be [B, heads, max_len, head_size] of a "
        "dtype of numpy, with numbers for heads and head_size: export the graph with fixed ones"
    )
