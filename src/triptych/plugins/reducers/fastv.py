"""`fastv`: visual tokens that nobody looks at are dropped inside the decoder."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from pydantic import Field

from triptych.core.ports import Array, Port, When
from triptych.plugins.reducers.reducer import Reducer, Share


class FastV(Reducer):
    """Drops visual tokens after some layers of the decoder (FastV, arXiv 2403.06764).

    It stands between the halves of a decoder that was exported with ``--split-decoder LAYER``, and
    ranks the prompt's visual tokens by the attention that the prompt's last token pays them in
    the last layer of the first half, averaged over heads. The others have no rows in the second
    half's cache; for what is computed this is what masking them from that layer on would be, as
    positions stay.

    It must see the whole prompt at once, so a later turn is ranked anew, by its own question.
    """

    class Settings(Share):
        """ratio: the share of the visual tokens that stays. layer: the first half's last one."""

        layer: int = Field(ge=0)

    when = When.SPAN
    whole = True
    writes = (Port("keep_tokens", "bool", ("B", "S")),)

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.attention = f"attention.{settings.layer}"
        self.reads = (
            Port(self.attention, "float32", ("B", "heads", "S", "total")),
            Port("visual_index", "int64", ("B", "S")),
        )

    def __call__(self, ports: Mapping[str, Array]) -> Mapping[str, Array]:
        """Rank the tokens of each row; of equal ones the first stay."""
        visual = ports["visual_index"] >= 0
        keep = np.ones(visual.shape, np.bool_)
        tokens = visual.shape[1]
        for row in np.flatnonzero(visual.any(axis=1)):
            at = np.flatnonzero(visual[row])
            seen = ports[self.attention][row, :, -1, -tokens:].mean(axis=0, dtype=np.float64)
            order = at[np.argsort(-seen[at], kind="stable")]
            keep[row, order[self.count(len(at)) :]] = False
        # What is asked last is what is answered.
        keep[:, -1] = True
        return {"keep_tokens": keep}
