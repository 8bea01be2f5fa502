"""`token_merge`: rows that are alike become one."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from triptych.core.ports import Array, Port
from triptych.plugins.reducers.reducer import FEATURES, Reducer, Rows

_TINY = 1e-12
"""The norm of a row of zeros, which is like no other."""


class TokenMerge(Reducer):
    """Merges rows by bipartite soft matching (ToMe, arXiv 2210.09461, section 3).

    Every other row looks for the row most like it, by the cosine of their `image_features`, among
    those between them; the pairs most alike are averaged, each row weighing as many rows as it
    stands for. One pass merges half of the rows at the most, so smaller ratios take several.
    What is averaged are the features and their DeepStack layers; a merged row stands in the
    place of the row that the other joined.
    """

    reads = (FEATURES,)
    writes = (Port("merge_rows", "int64", ("N",)), Port("merge_weights", "float32", ("N",)))

    def __call__(self, ports: Mapping[str, Array]) -> Mapping[str, Array]:
        """Match the rows of one image."""
        features = ports["image_features"].astype(np.float64)
        target = merged(features, self.count(len(features)))
        # A row joins by itself and not by its pair, so that each weighs the same.
        return {"merge_rows": target, "merge_weights": np.ones(len(features), np.float32)}


def merged(features: npt.NDArray[np.float64], count: int) -> Rows:
    """int64 [N]: the row that each row joins, `count` of which stay.

    features: float64 [N, H].
    """
    rows = len(features)
    target, stay = np.arange(rows), np.arange(rows)
    sums, sizes = features.copy(), np.ones(rows)
    while len(stay) > count:
        means = sums[stay] / sizes[stay, None]
        units = means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), _TINY)
        likeness = units[::2] @ units[1::2].T
        alike = np.argsort(-likeness.max(axis=1), kind="stable")
        pairs = alike[: min(len(stay) - count, len(stay) // 2)]
        gone, joined = stay[::2][pairs], stay[1::2][likeness[pairs].argmax(axis=1)]
        np.add.at(sums, joined, sums[gone])
        np.add.at(sizes, joined, sizes[gone])
        joins = np.arange(rows)
        joins[gone] = joined
        target = joins[target]
        stay = np.setdiff1d(stay, gone, assume_unique=True)
    return target
