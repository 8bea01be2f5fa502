"""`visionzip`: the rows that an encoder looks at, and what the others have in common."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from pydantic import Field

from triptych.core.ports import Array, Port
from triptych.plugins.reducers.reducer import FEATURES, Reducer, Rows, Share

_TINY = 1e-12


class VisionZip(Reducer):
    """Dominant and contextual tokens (VisionZip, arXiv 2412.04467, section 3).

    The rows that receive most attention in a layer of the encoder stay as they are; of the others,
    some at even distances stay, and each of the rest joins the one that it is most like, by the
    cosine of their `image_features` (the paper compares keys). What is averaged are the features
    and their DeepStack layers. Attention is `vision_attention.{layer}` f32 [N], which an export
    writes that was made with ``--expose vision_attention:LAYER``.
    """

    class Settings(Share):
        """ratio: the share that stays, contextual rows included. layer: of the encoder, from 0.

        contextual: the share of what stays that others join; 10 of 64 in the paper.
        """

        layer: int = Field(ge=0)
        contextual: float = Field(default=10 / 64, gt=0, le=1)

    writes = (Port("merge_rows", "int64", ("N",)), Port("merge_weights", "float32", ("N",)))

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.attention = f"vision_attention.{settings.layer}"
        self.contextual = settings.contextual
        self.reads = (FEATURES, Port(self.attention, "float32", ("N",)))

    def __call__(self, ports: Mapping[str, Array]) -> Mapping[str, Array]:
        """Choose the rows of one image; of equal ones the first stay."""
        features = ports["image_features"].astype(np.float64)
        received = ports[self.attention]
        target = self._targets(features, np.argsort(-received, kind="stable"))
        return {"merge_rows": target, "merge_weights": np.ones(len(target), np.float32)}

    def _targets(self, features: Array, order: Rows) -> Rows:
        """int64 [N]: the row that each row joins. order: the most attended one first."""
        rows = len(order)
        target = np.arange(rows)
        count = self.count(rows)
        if count == rows:
            return target
        contextual = min(count, max(1, round(self.contextual * count)))
        others = np.sort(order[count - contextual :])
        # At even distances, as the paper takes them: the first of each of as many parts.
        stay = others[(np.arange(contextual) * len(others)) // contextual]
        rest = np.setdiff1d(others, stay, assume_unique=True)
        units = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), _TINY)
        target[rest] = stay[(units[rest] @ units[stay].T).argmax(axis=1)]
        return target
