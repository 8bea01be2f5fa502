"""Dropping and merging visual rows: one place applies it to every port that has them.

A reducer says which rows stay (`keep_rows`) or which row each one joins (`merge_rows`), and
nothing else. Features, each DeepStack layer, ids, positions and indices then stay together.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from triptych.core.ports import Array, Port


class ReductionError(ValueError):
    """A reduction that means nothing; the message follows "the stage wrote"."""


def keep_rows(
    ports: Mapping[str, Array], declared: Mapping[str, Port], keep: npt.NDArray[np.bool_]
) -> dict[str, Array]:
    """All ports without the visual rows where `keep` (bool [N]) is false, nor their tokens."""
    visual = ports["visual_index"]
    tokens = visual < 0
    tokens[~tokens] = keep[visual[~tokens]]
    kept: dict[str, Array] = {}
    for name, value in ports.items():
        axes = declared[name].axes
        if "N" in axes:
            kept[name] = np.compress(keep, value, axes.index("N"))
        elif "S" in axes:
            kept[name] = np.compress(tokens, value, axes.index("S"))
        else:
            kept[name] = value
    # One place more, which is the last one and so -1's own.
    renumbered = np.append(np.cumsum(keep) - 1, -1)
    kept["visual_index"] = renumbered[visual[tokens]]
    return kept


def keep_tokens(
    ports: Mapping[str, Array], declared: Mapping[str, Port], keep: npt.NDArray[np.bool_]
) -> dict[str, Array]:
    """All ports of a slice without the tokens where `keep` (bool [S]) is false.

    Visual rows stay, and what is left of `visual_index` names them as before. Raises
    ReductionError when a token is dropped whose logits are wanted.
    """
    wanted = ports["logit_index"]
    if not keep[wanted].all():
        raise ReductionError("keep_tokens without a token whose logits are wanted")
    kept: dict[str, Array] = {}
    for name, value in ports.items():
        axes = declared[name].axes
        axis = axes.index("S") if "S" in axes else None
        # One value may stand for all tokens.
        whole = axis is None or value.shape[axis] != len(keep)
        kept[name] = value if whole else np.compress(keep, value, axis)
    kept["logit_index"] = np.cumsum(keep)[wanted] - 1
    return kept


def check_targets(target: npt.NDArray[np.int64]) -> None:
    """Raises ReductionError when a row joins one that is not there, or is merged away itself."""
    if ((target < 0) | (target >= len(target))).any() or (target[target] != target).any():
        raise ReductionError("merge_rows in which a row joins one that does not stay itself")


def merge_rows(
    ports: Mapping[str, Array],
    declared: Mapping[str, Port],
    target: npt.NDArray[np.int64],
    weights: npt.NDArray[np.float32],
) -> dict[str, Array]:
    """All ports with each row n averaged into row ``target[n]``, weighted by ``weights[n]``.

    target: int64 [N]; a row that stays is its own target. weights: float32 [N], above zero.
    Integer ports keep the target's value; the tokens of the rows that joined another go.
    Raises ReductionError when a target is itself merged away, or a weight is not positive.
    """
    rows = np.arange(len(target))
    check_targets(target)
    if not (np.isfinite(weights) & (weights > 0)).all():
        raise ReductionError("merge_weights that are not above zero")
    total = np.bincount(target, weights, len(target))
    joined = np.bincount(target, minlength=len(target)) > 1
    merged = dict(ports)
    for name, value in ports.items():
        axes = declared[name].axes
        if "N" not in axes or not np.issubdtype(value.dtype, np.floating):
            continue
        rows_first = np.moveaxis(value, axes.index("N"), 0)
        by_row = (-1, *(1,) * (rows_first.ndim - 1))
        sums = np.zeros(rows_first.shape, np.float64)
        np.add.at(sums, target, rows_first * weights.astype(np.float64).reshape(by_row))
        # A row that no other joins stays as it is, to the last bit.
        averages = rows_first.copy()
        averages[joined] = sums[joined] / total[joined].reshape(by_row)
        merged[name] = np.moveaxis(averages, 0, axes.index("N"))
    return keep_rows(merged, declared, target == rows)
