"""Dropping and merging visual rows: one place applies it to every port that has them.

A reducer says which rows stay (`keep_rows`) or which row each one joins (`merge_rows`), and
nothing else. Features, each DeepStack layer, ids, positions and indices then stay together.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from triptych.core.errors import PluginError
from triptych.core.ports import Array, Port


def keep_rows(
    ports: Mapping[str, Array], declared: Mapping[str, Port], keep: npt.NDArray[np.bool_]
) -> dict[str, Array]:
    """All ports without the visual rows where `keep` (bool [N]) is false, nor their tokens."""
    visual = ports["visual_index"]
    tokens = (visual < 0) | keep[visual]
    kept: dict[str, Array] = {}
    for name, value in ports.items():
        axes = declared[name].axes
        if "N" in axes:
            kept[name] = np.compress(keep, value, axes.index("N"))
        elif "S" in axes:
            kept[name] = np.compress(tokens, value, axes.index("S"))
        else:
            kept[name] = value
    renumbered = np.cumsum(keep) - 1
    left = visual[tokens]
    kept["visual_index"] = np.where(left >= 0, renumbered[left], -1)
    return kept


def merge_rows(
    ports: Mapping[str, Array],
    declared: Mapping[str, Port],
    target: npt.NDArray[np.int64],
    weights: npt.NDArray[np.float32],
) -> dict[str, Array]:
    """All ports with each row n averaged into row ``target[n]``, weighted by ``weights[n]``.

    target: int64 [N]; a row that stays is its own target. weights: float32 [N], above zero.
    Integer ports keep the target's value; the tokens of the rows that joined another go.
    Raises PluginError when a target is itself merged away, or a weight is not positive.
    """
    rows = np.arange(len(target))
    if ((target < 0) | (target >= len(target))).any() or (target[target] != target).any():
        raise PluginError("merge_rows: each row must join a row that stays (its own target)")
    if not (weights > 0).all():
        raise PluginError("merge_weights: weights must be positive")
    total = np.bincount(target, weights, len(target))
    merged = dict(ports)
    for name, value in ports.items():
        axes = declared[name].axes
        if "N" not in axes or not np.issubdtype(value.dtype, np.floating):
            continue
        first = np.moveaxis(value, axes.index("N"), 0)
        shape = (-1, *(1,) * (first.ndim - 1))
        sums = np.zeros(first.shape, np.float64)
        np.add.at(sums, target, first * weights.reshape(shape))
        sums /= np.maximum(total, np.finfo(np.float64).tiny).reshape(shape)
        merged[name] = np.moveaxis(sums.astype(value.dtype), 0, axes.index("N"))
    return keep_rows(merged, declared, target == rows)
