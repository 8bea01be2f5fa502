"""How large keys and values become: measured by a pipeline that keeps them as floats."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from triptych.core.assembly import assemble
from triptych.core.catalog import Catalog
from triptych.core.clock import Clock
from triptych.core.config.load import load_spec
from triptych.core.execution import Executor
from triptych.core.ports import Array
from triptych.core.request import Request
from triptych.core.wired import Wired, Wiring
from triptych.export.kv_cache.form import CacheFormError


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
    assembly = assemble(load_spec(folder, catalog=catalog or Catalog()))
    loaded = assembly.load()
    found: dict[str, Array] = {}
    executor = Executor(
        _listening(loaded.wiring, found), loaded.offers, loaded.caches, loaded.max_length
    )
    for request in requests:
        if request.images and not loaded.offers:
            continue
        prompt = assembly.processor.prompt(request)
        sequence = executor.sequence()
        try:
            sequence.append(prompt.tokens, prompt.media)
            executor.enter(sequence, Clock())
            executor.forward(sequence, len(sequence), 1, Clock())
        finally:
            sequence.close()
    if not found:
        raise CacheFormError(
            f"{folder}: no ranges of a cache were found. Measuring them needs at least one prompt, "
            f"and a decoder whose cache holds floats."
        )
    return found


class _Listening:
    """A stage whose past tensors are looked at after each run; in all else it is the stage."""

    def __init__(self, wired: Wired, found: dict[str, Array]) -> None:
        self._wired, self._found = wired, found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wired.stage, name)

    def __call__(self, ports: Mapping[str, Array]) -> Mapping[str, Array]:
        given: Mapping[str, Array] = self._wired.stage(ports)
        total = ports["attention_mask"].shape[-1]
        for pair in self._wired.stage.cache_pairs:
            name = pair.past.name
            rows = ports[name]
            if rows.dtype.kind != "f":
                continue
            sizes = np.abs(rows[0, :, :total].astype(np.float32))
            largest = (_turned(sizes) if name.endswith(".key") else sizes).max(axis=1)
            self._found[name] = np.maximum(self._found.get(name, largest), largest)
        return given


def _turned(keys: Array) -> Array:
    """The lengths of the pairs that rotary positions turn: a head's first half with its second."""
    first, second = np.split(keys, 2, axis=-1)
    lengths = np.hypot(first, second)
    return np.concatenate([lengths, lengths], axis=-1)


def _listening(wiring: Wiring, found: dict[str, Array]) -> Wiring:
    def heard(wired: Wired) -> Wired:
        if not wired.stage.cache_pairs:
            return wired
        return replace(wired, stage=cast("Any", _Listening(wired, found)))

    return replace(wiring, span=tuple(map(heard, wiring.span)))
