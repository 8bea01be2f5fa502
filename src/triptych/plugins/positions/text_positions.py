"""`text_positions`: images are counted as text is."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from triptych.core.ports import Array, CachePair, Port, When


class TextPositions:
    """Each token's place in its sequence, the same on all three axes of `position_ids` i64 [3, S].

    It stands in the place of `mrope`, to see what the rows and columns of images are worth: an
    image's rows are counted one after the other, and what follows comes after the last one.
    """

    when = When.INPUT
    whole = False
    reads = (Port("input_ids", "int64", ("S",)), Port("start_position", "int64", (1,)))
    writes = (Port("position_ids", "int64", (3, "S")), Port("next_position", "int64", ("S",)))
    cache_pairs: tuple[CachePair, ...] = ()

    def __call__(self, ports: Mapping[str, Array]) -> Mapping[str, Array]:
        """Count on from the last position."""
        positions = ports["start_position"] + np.arange(len(ports["input_ids"]))
        return {"position_ids": np.tile(positions, (3, 1)), "next_position": positions + 1}
