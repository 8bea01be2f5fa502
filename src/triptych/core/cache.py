"""The interface of key/value caches: a policy makes a cache, a cache leases slots."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self, TypeVar, runtime_checkable

import numpy as np
import numpy.typing as npt

from triptych.core.ports import Array, CachePair

TokenIndex = npt.NDArray[np.int64]
"""int64 [S]: for each row that a slice writes, which token of the sequence it belongs to."""


SlotType = TypeVar("SlotType", bound="Slot")


@dataclass(eq=False, slots=True)
class Binding:
    """What a stage is given for one run, by port name.

    pasts: its past tensors, which it extends in place; the same objects for all a slot's life,
        and whenever the same rows of a pool are bound.
    ports: what else the cache writes: `attention_mask` i64 [B, total].
    rows: which of the B rows is each slot's. The others are dead: they are fed zeros, write only
        past their own length, and what they give is dropped.
    """

    pasts: Mapping[str, Array]
    ports: Mapping[str, Array]
    rows: tuple[int, ...] = (0,)

    @property
    def batch(self) -> int:
        """B: how many rows a stage is given, dead ones too."""
        return len(next(iter(self.pasts.values())))


class Slot(Protocol):
    """The cache of one stage for one sequence."""

    @property
    def room(self) -> int:
        """How many tokens one forward may add now."""
        ...

    def truncate(self, length: int) -> bool:
        """Drop the rows of tokens from `length` on; False when that needs evicted rows."""
        ...

    def fork(self) -> Self:
        """An independent copy."""
        ...

    def close(self) -> None:
        """Give the memory back. Safe to call twice."""
        ...


class Cache(Protocol[SlotType]):
    """The slots of one stage."""

    def lease(self) -> SlotType:
        """An empty slot."""
        ...

    def bind(self, slots: Sequence[SlotType], token_index: Sequence[TokenIndex]) -> Binding:
        """Make room for the rows of one forward, and say what the stage reads.

        One slot, unless the cache is a `Pool`.
        """
        ...

    def settle(self, slots: Sequence[SlotType]) -> None:
        """A forward has been run: its rows count from now on; evict what the policy evicts."""
        ...


@runtime_checkable
class Watches(Protocol):
    """What a cache has whose policy needs to see what its stage wrote."""

    def observe(self, slots: Sequence[Any], seen: Sequence[Mapping[str, Array]]) -> None:
        """What the forward has shown of each slot, just before it is settled.

        seen: for each slot, what the policy's `needs` name, by port and without the axis B. An axis
        S counts the tokens that `bind` was told of, and `total` the slot's rows and these; of
        several slots bound at once, columns of longer ones may follow. Valid during this call.
        """
        ...


@runtime_checkable
class Pool(Protocol):
    """What a cache has that lays its slots side by side, so that several are bound at once.

    evict_idle: asked before a slot is leased beyond those that `lay_out` named: gives back what
        nobody is using now, and says whether there was any.
    """

    evict_idle: Callable[[], bool]

    @property
    def bytes_per_token(self) -> int:
        """What one token of one sequence takes."""
        ...

    @property
    def used(self) -> int:
        """Bytes of the tokens in all leased slots."""
        ...

    def lay_out(self, rows: int) -> None:
        """Reserve so many slots at a time from now on. Called once, before the first lease."""
        ...

    def together(self, slots: Sequence[Any]) -> list[list[int]]:
        """Which of `slots`, by index, one `bind` should take; every one is in one group.

        `bind` of a group takes one new token of each slot.
        """
        ...


class CachePolicy(Protocol):
    """What a stage's cache keeps: a component of the kind `caches`.

    exact: whether results are independent of how the tokens were split over forwards.

    A policy may have `needs`: names of ports that its stage, or one before it, writes for each span
    (``attention.0``), or that a sequence keeps of each token (``visual_index``). A tuple, or a
    method `needs(pairs)` that returns one. Its cache is then one that `Watches`. Checked before
    weights are read; what is written on demand is then written.
    """

    exact: bool

    def make(
        self,
        pairs: Sequence[CachePair],
        max_length: int,
        allocate: Callable[[tuple[int, ...], str], Array],
    ) -> Cache[Any]:
        """A cache for a stage's past/present `pairs` and sequences of up to `max_length` tokens.

        allocate(shape, dtype): zeroed memory that costs nothing until it is touched.
        """
        ...
