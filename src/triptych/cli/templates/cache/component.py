"""Keep the last tokens of a key/value cache."""

import numpy as np
import triptych
from pydantic import Field
from triptych.plugins.caches.buffers import BufferCache


class __CLASS__:
    """Keeps the last `size` tokens.

    `BufferCache` has the buffers, the mask, rollback and forks; a policy says which rows stay
    when a slot is full. Rows are addressed by their token, so what stays keeps its position.
    """

    class Settings(triptych.Settings):
        """size: how many tokens stay. slack: how many more are kept between two evictions."""

        size: int = Field(ge=1)
        slack: int = Field(default=64, ge=1)

    # Results depend on how tokens are split over forward passes, because eviction comes between.
    exact = False

    def __init__(self, settings):
        self.size = settings.size
        self.slack = settings.slack

    def make(self, pairs, max_length, allocate):
        """A cache for the past/present pairs of one stage."""
        return BufferCache(pairs, self.size + self.slack, allocate, evict=self.evict)

    def evict(self, pasts, count):
        """Which of a full slot's `count` rows stay, int64, ascending, for each past tensor.

        pasts: the tensors by name, [1, heads, length, head_size]; all may keep other rows, but
        equally many.
        """
        return dict.fromkeys(pasts, np.arange(count - self.size, count))
