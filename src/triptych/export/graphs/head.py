"""The weight that turns hidden states into scores of tokens."""

from __future__ import annotations

from triptych.export.checkpoint import Checkpoint, Weight

HEAD = "lm_head.weight"


def head(checkpoint: Checkpoint, table: Weight, *, tied: bool) -> Weight:
    """The table of embeddings [V, H] where tied, else a weight of its own of that shape."""
    return table if tied else checkpoint.weight(HEAD, table.shape)
