"""`token_random`: rows by lot, the baseline that a reducer has to beat."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from pydantic import Field

from triptych.core.ports import Array, Port
from triptych.plugins.reducers.reducer import Reducer, Share, mask


class TokenRandom(Reducer):
    """Keeps rows drawn without looking at them; many methods do no better (arXiv 2502.11501).

    The lot is the image's own: a picture keeps the same rows in every request, alone and in
    company.
    """

    class Settings(Share):
        """ratio: the share that stays. seed: another one draws other rows."""

        seed: int = Field(default=0, ge=0)

    reads = (Port("media_digest", "uint8", ("N", 16)),)

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.seed = settings.seed

    def __call__(self, ports: Mapping[str, Array]) -> Mapping[str, Array]:
        """Draw the rows of one image."""
        digests = ports["media_digest"]
        rows = len(digests)
        lot = np.random.default_rng([self.seed, *digests[0].tolist()])
        return {"keep_rows": mask(rows, lot.permutation(rows)[: self.count(rows)])}
