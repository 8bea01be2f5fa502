"""`token_norm`: rows with large norms."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from triptych.core.ports import Array
from triptych.plugins.reducers.reducer import FEATURES, Reducer, mask


class TokenNorm(Reducer):
    """Keeps the rows of `image_features` with the largest L2 norms.

    Encoders put what concerns the whole picture into tokens of large norms (Darcet et al.,
    arXiv 2309.16588, section 2).
    """

    reads = (FEATURES,)

    def __call__(self, ports: Mapping[str, Array]) -> Mapping[str, Array]:
        """Rank the rows of one image; of equal ones the first stay."""
        features = ports["image_features"]
        norms = np.linalg.norm(features, axis=1)
        order = np.argsort(-norms, kind="stable")
        return {"keep_rows": mask(len(norms), order[: self.count(len(norms))])}
