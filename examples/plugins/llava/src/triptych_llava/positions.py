"""Positions: tokens are counted."""

import numpy as np

import triptych


class Count:
    """`position_ids` i64 [S], and the position after each token."""

    when = triptych.When.INPUT
    whole = False
    reads = (
        triptych.Port("input_ids", "int64", ("S",)),
        triptych.Port("start_position", "int64", (1,)),
    )
    writes = (
        triptych.Port("position_ids", "int64", ("S",)),
        triptych.Port("next_position", "int64", ("S",)),
    )
    cache_pairs = ()

    def __call__(self, ports):
        """Count on from where the sequence stands."""
        positions = ports["start_position"] + np.arange(len(ports["input_ids"]))
        return {"position_ids": positions, "next_position": positions + 1}
