"""`h2o`: eviction by the attention that tokens received (Zhang et al., arXiv 2306.14048)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from pydantic import Field

from triptych.core.cache import TokenIndex
from triptych.core.config import settings
from triptych.core.ports import Array, CachePair
from triptych.plugins.caches.block import Pasts
from triptych.plugins.caches.buffers import BufferCache, CacheError, Rows

ATTENTION = "attention.{layer}"
"""f32 [B, heads, S, total] of a layer, in the order of the cache's rows."""

TAKEN_BACK = 32
"""Tokens whose attention can be taken back: more than drafts have. What each of them paid is kept
by itself until then, which takes 32 times the memory of the sums."""


class H2O:
    """Keeps the heavy hitters: the `size` tokens that received most attention, and the last ones.

    What a token received is summed over all tokens that came since, itself included, in each layer
    and each head of keys by itself (over the heads of queries that share it). Each keeps equally
    many. Sums go on over evictions, as in the paper.

    The paper evicts with each token that is one too many: `slack: 1`. With more, what is one
    too many stays until there are `slack` of them, and rows are moved less often. Keys hold their
    own positions, so what stays keeps its place. What a token sees depends on where the forwards
    were cut, hence `exact` is False.

    Raises CacheError where keys and heads do not fit together.
    """

    exact = False
    neutral = {"size": 1 << 20}  # noqa: RUF012 - as a plugin writes it

    class Settings(settings.Settings):
        """size, recent (last ones), sinks (first ones) and slack in tokens.

        slice: how many tokens of a prompt one forward takes at least. For each of them the
        attention of all layers is held, [heads, slice, tokens in the cache].
        """

        size: int = Field(ge=1)
        recent: int = Field(default=64, ge=1)
        sinks: int = Field(default=0, ge=0)
        slack: int = Field(default=16, ge=1)
        slice: int = Field(default=128, ge=1)

    def __init__(self, settings: H2O.Settings) -> None:
        self.settings = settings

    def needs(self, pairs: Sequence[CachePair]) -> list[str]:
        """What each layer of the cache attends to."""
        return [ATTENTION.format(layer=layer) for layer in sorted({pair.layer for pair in pairs})]

    def make(
        self,
        pairs: Sequence[CachePair],
        max_length: int,
        allocate: Callable[[tuple[int, ...], str], Array],
    ) -> BufferCache:
        """A cache whose slots hold sinks, size, recent, slack and slice, or a whole sequence."""
        given = self.settings
        limit = given.sinks + given.size + given.recent + given.slack
        capacity = min(limit - 1 + given.slice, max_length)
        return BufferCache(
            pairs,
            capacity,
            allocate,
            notes=lambda: Received(given, pairs, capacity),
            limit=limit,
        )


class Received:
    """The attention that each row of one slot has received: by layer, f32 [heads, rows].

    What the last `TAKEN_BACK` tokens paid is kept apart, so that they can be taken back as if they
    had never been.
    """

    def __init__(self, given: H2O.Settings, pairs: Sequence[CachePair], capacity: int) -> None:
        self._given = given
        self._pasts = {pair.past.name: pair.layer for pair in pairs}
        heads = {pair.layer: pair.past.axes[1] for pair in pairs}
        self._sums = {
            layer: np.zeros((int(count), capacity), np.float32) for layer, count in heads.items()
        }
        self._paid: deque[tuple[int, dict[int, Array]]] = deque()
        """For each of the last tokens, by layer: f32 [heads, rows at the time]."""
        self._summed_until = 0

    def observe(self, seen: Mapping[str, Array], index: TokenIndex, count: int) -> None:
        """Count what the tokens `index` attended to among the first `count` rows."""
        by_layer = {layer: self._by_key_head(seen, layer, count) for layer in self._sums}
        early = max(0, len(index) - TAKEN_BACK)
        if early:
            self._sum_up(0)
            for layer, paid in by_layer.items():
                self._sums[layer][:, :count] += paid[:, :early].sum(axis=1)
            self._summed_until = int(index[early - 1]) + 1
        for place in range(early, len(index)):
            rows = {layer: paid[:, place].copy() for layer, paid in by_layer.items()}
            self._paid.append((int(index[place]), rows))
        self._sum_up(TAKEN_BACK)

    def evict(self, pasts: Pasts, count: int) -> dict[str, Rows]:
        """The first and the last rows, and between them those that received most."""
        del pasts
        self._sum_up(0)
        chosen = {}
        for layer, sums in self._sums.items():
            rows = chosen[layer] = self._chosen(sums, count)
            kept = rows.shape[1]
            sums[:, :kept] = np.take_along_axis(sums, rows, axis=1)
            sums[:, kept:] = 0
        return {name: chosen[layer] for name, layer in self._pasts.items()}

    def truncate(self, length: int) -> bool:
        """Forget what tokens from `length` on paid; what they received went with them."""
        if length < self._summed_until:
            return False
        while self._paid and self._paid[-1][0] >= length:
            self._paid.pop()
        return True

    def fork(self) -> Received:
        """A copy."""
        other = object.__new__(Received)
        other._given, other._pasts = self._given, self._pasts
        other._sums = {layer: sums.copy() for layer, sums in self._sums.items()}
        # What is in it is never written to.
        other._paid, other._summed_until = self._paid.copy(), self._summed_until
        return other

    def _chosen(self, sums: Array, count: int) -> Rows:
        """int64 [heads, kept], ascending; of equal sums the earlier one stays."""
        given = self._given
        begin, end = given.sinks, count - given.recent
        order = np.argsort(-sums[:, begin:end], axis=1, kind="stable")[:, : given.size]
        ends = np.concatenate([np.arange(begin), np.arange(end, count)])
        always = np.broadcast_to(ends, (len(sums), len(ends)))
        return np.sort(np.concatenate([always, begin + order], axis=1), axis=1)

    def _by_key_head(self, seen: Mapping[str, Array], layer: int, count: int) -> Array:
        """What each token pays each row, summed over the query heads of a key's: [heads, S, rows].

        A row of a batch may be followed by columns of longer ones, which it does not attend to.
        """
        name = ATTENTION.format(layer=layer)
        attention, heads = seen[name], len(self._sums[layer])
        if attention.ndim != len(("heads", "S", "total")) or attention.shape[0] % heads:
            raise CacheError(
                f"{name} has the shape {list(attention.shape)}; of {heads} heads of keys, it must "
                "be [heads, S, total] with a multiple of their number"
            )
        grouped = attention[:, :, :count].reshape(heads, -1, attention.shape[1], count)
        return np.asarray(grouped.sum(axis=1, dtype=np.float32))

    def _sum_up(self, left: int) -> None:
        """Add what was paid to the sums, but for the last `left` tokens."""
        while len(self._paid) > left:
            token, rows = self._paid.popleft()
            for layer, paid in rows.items():
                self._sums[layer][:, : paid.shape[1]] += paid
            self._summed_until = token + 1
