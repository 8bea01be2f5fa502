"""`window`: attention sinks and a sliding window (StreamingLLM, arXiv 2309.17453)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from pydantic import Field

from triptych.core.config import settings
from triptych.core.ports import Array, CachePair
from triptych.plugins.caches.block import Pasts
from triptych.plugins.caches.buffers import BufferCache, Rows


class Window:
    """Keeps the first `sinks` tokens and the last `size` ones.

    Between two evictions up to `slack` more are kept, so that rows move once in `slack` tokens
    and not with each. Keys hold their own positions, so what stays keeps its place. Which
    tokens a new one sees depends on where the forwards were cut, hence `exact` is False.
    """

    exact = False

    class Settings(settings.Settings):
        """size, sinks and slack in tokens; a slice forwards `slack` at the least."""

        size: int = Field(ge=1)
        sinks: int = Field(default=4, ge=0)
        slack: int = Field(default=64, ge=1)

    def __init__(self, settings: Window.Settings) -> None:
        self.settings = settings

    def make(
        self,
        pairs: Sequence[CachePair],
        max_length: int,
        allocate: Callable[[tuple[int, ...], str], Array],
    ) -> BufferCache:
        """A cache whose slots hold sinks, window and twice the slack, however long the sequence."""
        del max_length
        limit = self.settings.sinks + self.settings.size + self.settings.slack

        def evict(pasts: Pasts, count: int) -> dict[str, Rows]:
            last = np.arange(count - self.settings.size, count)
            return dict.fromkeys(pasts, np.concatenate([np.arange(self.settings.sinks), last]))

        capacity = limit - 1 + self.settings.slack
        return BufferCache(pairs, capacity, allocate, evict=evict, limit=limit)
