"""Weights of a checkpoint by their names below a prefix."""

from __future__ import annotations

from dataclasses import dataclass

from triptych.export.checkpoint import Checkpoint, Weight


@dataclass(frozen=True)
class Weights:
    """The tensors whose names start with `prefix.`."""

    checkpoint: Checkpoint
    prefix: str

    def under(self, name: str) -> Weights:
        """The tensors below `prefix.name`."""
        return Weights(self.checkpoint, f"{self.prefix}.{name}")

    def get(self, name: str, *shape: int) -> Weight:
        """The tensor `prefix.name`. Raises CheckpointError if absent or of another shape."""
        return self.checkpoint.weight(f"{self.prefix}.{name}", shape)
