"""`key_norm`: eviction by the norms of keys (Devoto et al., arXiv 2406.11430)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from pydantic import Field

from triptych.core.config import settings
from triptych.core.ports import Array, CachePair
from triptych.plugins.caches.block import Pasts
from triptych.plugins.caches.buffers import BufferCache, CacheError, Rows


class KeyNorm:
    """Keeps the `size` tokens whose keys have the smallest norms, the first and the last ones.

    Keys of small L2 norm are those that much attention goes to, the paper finds, so nothing else
    is needed to choose; a rotation leaves norms as they are. Each layer and each head chooses by
    itself, equally many. The paper spares the first layers, which one mask for all cannot.
    Models that normalise their keys (Qwen3's) leave less to tell them apart by.

    Between two evictions up to `slack` more tokens are kept. What a new token sees depends on
    where the forwards were cut, hence `exact` is False.

    Raises CacheError over keys in whole numbers: their scales are not the cache's to know.
    """

    exact = False

    class Settings(settings.Settings):
        """size, sinks (first tokens), recent (last ones) and slack in tokens.

        keep: which norms stay; `largest` is for comparison.
        """

        size: int = Field(ge=1)
        sinks: int = Field(default=4, ge=0)
        recent: int = Field(default=64, ge=1)
        slack: int = Field(default=64, ge=1)
        keep: Literal["smallest", "largest"] = "smallest"

    def __init__(self, settings: KeyNorm.Settings) -> None:
        self.settings = settings

    def make(
        self,
        pairs: Sequence[CachePair],
        max_length: int,
        allocate: Callable[[tuple[int, ...], str], Array],
    ) -> BufferCache:
        """A cache whose slots hold sinks, size, recent and twice the slack at the most."""
        del max_length
        keys = _keys(pairs)
        given = self.settings
        sign = 1 if given.keep == "smallest" else -1

        def chosen(key: Array, count: int) -> Rows:
            """int64 [heads, kept]; key: [heads, length, head_size]."""
            begin, end = given.sinks, count - given.recent
            norms = np.linalg.norm(key[:, begin:end].astype(np.float32), axis=-1)
            order = np.argsort(sign * norms, axis=1, kind="stable")[:, : given.size]
            ends = np.concatenate([np.arange(begin), np.arange(end, count)])
            always = np.broadcast_to(ends, (len(key), len(ends)))
            return np.sort(np.concatenate([always, begin + order], axis=1), axis=1)

        def evict(pasts: Pasts, count: int) -> dict[str, Rows]:
            by_key = {key: chosen(pasts[key][0], count) for key in set(keys.values())}
            return {name: by_key[key] for name, key in keys.items()}

        limit = given.sinks + given.size + given.recent + given.slack
        return BufferCache(pairs, limit - 1 + given.slack, allocate, evict=evict, limit=limit)


def _keys(pairs: Sequence[CachePair]) -> dict[str, str]:
    """The name of the past tensor that holds the keys of each one's layer."""
    by_layer = {pair.layer: pair.past for pair in pairs if pair.part == "key"}
    for pair in pairs:
        key = by_layer.get(pair.layer)
        if key is None:
            raise CacheError(
                f"key_norm looks at keys, and layer {pair.layer} has none; choose another cache"
            )
        if not key.dtype.startswith(("float", "bfloat")):
            raise CacheError(
                f"key_norm compares norms of keys, and {key.name} holds {key.dtype} whose scales "
                "the graph keeps; export with '--kv-cache fp32', or choose 'window'"
            )
    return {pair.past.name: by_layer[pair.layer].name for pair in pairs}
