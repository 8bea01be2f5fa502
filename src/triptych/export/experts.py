"""The experts of a sparse layer, as ONNX Runtime's operators `MoE` and `QMoE` want them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from triptych.export.checkpoint import Weight


@dataclass(frozen=True)
class Stack:
    """A matrix of each expert, all of the same shape; an operator holds them as one tensor.

    name: what that tensor is called, a name of the checkpoint's. Each matrix is read by itself.
    """

    name: str
    matrices: Sequence[Weight]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Experts, rows, columns."""
        rows, columns = self.matrices[0].shape
        return len(self.matrices), rows, columns


@dataclass(frozen=True)
class Experts:
    """The feed-forward networks of one layer, of which each token passes through some.

    gate_up: [experts, 2 * inner, hidden], a row of the gate and one of up in turn.
    down: [experts, hidden, inner]. chosen: how many experts serve one token.
    """

    gate_up: Stack
    down: Stack
    chosen: int
