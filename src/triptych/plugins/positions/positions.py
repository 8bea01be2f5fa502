"""`positions`: tokens are counted."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from triptych.core.ports import Array, CachePair, Port, When


class Positions:
    """`position_ids` i64 [S]: each token's place in its sequence, from 0."""

    when = When.INPUT
    whole = False
    reads = (Port("input_ids", "int64", ("S",)), Port("start_position", "int64", (1,)))
    writes = (Port("position_ids", "int64", ("S",)), Port("next_position", "int64", ("S",)))
    cache_pairs: tuple[CachePair, ...] = ()

    def __call__(self, ports: Mapping[str, Array]) -> Mapping[str, Array]:
        """Count on from the last position."""
        positions = ports["start_position"] + np.arange(len(ports["input_ids"]))
        return {"position_ids": positions, "next_position": positions + 1}
