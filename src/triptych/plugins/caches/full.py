"""`full`: every token stays."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from triptych.core.ports import Array, CachePair
from triptych.plugins.caches.buffers import BufferCache


class Full:
    """Keeps every token in one buffer per past/present pair.

    A slot reserves the longest context once; memory that no token has touched costs nothing,
    and nothing is copied while a sequence grows.
    """

    exact = True

    def make(
        self,
        pairs: Sequence[CachePair],
        max_length: int,
        allocate: Callable[[tuple[int, ...], str], Array],
    ) -> BufferCache:
        """A cache whose slots hold `max_length` tokens."""
        return BufferCache(pairs, max_length, allocate)
