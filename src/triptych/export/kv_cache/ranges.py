"""How large keys and values become: measured by a pipeline that keeps them as floats."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from triptych.core.components.catalog import Catalog
from triptych.core.ports import Array
from triptych.core.request import Request
from triptych.core.stages import Stage
from triptych.export.kv_cache.form import CacheFormError
from triptych.export.listening import forward_prompts


def cache_ranges(
    folder: Path, requests: Iterable[Request], *, catalog: Catalog | None = None
) -> dict[str, Array]:
    """How large each channel becomes, by the name of the past tensor: f32 [kv, head].

    Of values, the largest absolute value. A key's channels are turned in pairs by its position, by
    more in a longer prompt than in those at hand: both count as large as the pair ever is long.
    folder: an export whose cache holds floats. requests: what it is measured on; prompts are
    forwarded, nothing is generated. Those with pictures are left out for a model that takes none.
    Raises CacheFormError when there are none or the pipeline
    keeps no cache of floats, InputError for a request that it does not take.
    """
    found: dict[str, Array] = {}

    def hear(stage: Stage, ports: Mapping[str, Array]) -> None:
        total = ports["attention_mask"].shape[-1]
        for pair in stage.cache_pairs:
            name = pair.past.name
            rows = ports[name]
            if rows.dtype.kind != "f":
                continue
            sizes = np.abs(rows[0, :, :total].astype(np.float32))
            largest = (_turned(sizes) if name.endswith(".key") else sizes).max(axis=1)
            found[name] = np.maximum(found.get(name, largest), largest)

    for _ in forward_prompts(folder, requests, catalog=catalog or Catalog(), hear=hear):
        pass
    if not found:
        raise CacheFormError(
            f"{folder}: no ranges of a cache were found. Measuring them needs at least one prompt, "
            f"and a decoder whose cache holds floats."
        )
    return found


def _turned(keys: Array) -> Array:
    """The lengths of the pairs that rotary positions turn: a head's first half with its second."""
    first, second = np.split(keys, 2, axis=-1)
    lengths = np.hypot(first, second)
    return np.concatenate([lengths, lengths], axis=-1)
